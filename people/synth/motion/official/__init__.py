"""The official archive of a dataset: it has frames of its own, so that there is no motion to render."""

from people.synth.motion import Wanted


def walks(wanted: Wanted) -> None:
    """Nothing to render."""
