"""What the commands about videos are asked alike."""

import argparse

from stages.identification import following


def add(parser: argparse.ArgumentParser) -> None:
    """The options --finder and --checkpoint."""
    parser.add_argument("--finder", choices=following.FINDERS, help="who finds people; identify.finder in params.yaml")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        type=system_and_file,
        metavar="SYSTEM=FILE",
        help="this one in place of the registered champion",
    )


def system_and_file(text: str) -> tuple[str, str]:
    """SYSTEM=FILE in its two parts."""
    system, equals, file = text.partition("=")
    if not (system and equals and file):
        raise argparse.ArgumentTypeError(f"expected SYSTEM=FILE, such as reid=data/models/reid/checkpoint.pt, got {text!r}")
    return system, file


def settings(finder: str | None, masks: str | None = None) -> dict[str, str]:
    """What the command line says in place of params.yaml."""
    return {name: value for name, value in (("finder", finder), ("masks", masks)) if value}
