"""Official dataset archives: they contain frames, so that no motion is rendered."""

from people.synth.motion import WalkRequest


def walks(request: WalkRequest) -> None:
    """No motion: the archive contains frames."""
