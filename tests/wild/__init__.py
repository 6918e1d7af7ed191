"""Archives as they lie on people's disks, built by hand for every layout, and what the readers make of them.

python -m tests.wild
"""

from pathlib import Path
from typing import NamedTuple

from people import datasets, schemas
from people.layouts import contents
from tests.wild.layouts import LAYOUTS, Layout
from tests.wild.variations import VARIATIONS, Variation

__all__ = ["LAYOUTS", "VARIATIONS", "Layout", "Outcome", "Variation", "build", "read"]


class Outcome(NamedTuple):
    """Clips of the index, those of them that pass validation, files left unread; or the reader's error."""

    clips: int = 0
    valid: int = 0
    unread: tuple[str, ...] = ()
    error: str = ""


def build(folder: Path, layout: Layout, variation: Variation) -> Path:
    """The archive of a layout, changed; its folder."""
    root = folder / "archive"
    for name, content in layout.files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    variation.change(root, layout)
    return root


def read(root: Path, layout: Layout) -> Outcome:
    """What comes out of an archive."""
    dataset = datasets.find(layout.dataset)
    try:
        clips = dataset.read(root)
        clips["content"] = contents.of_clips(root, clips, {})
        unread = tuple(contents.unread(root, clips))
    except (ValueError, OSError) as error:
        return Outcome(error=f"{type(error).__name__}: {error}")
    labelled = [schemas.labelled(dataset.people)] if "people" in clips else []
    good, _ = schemas.check(clips, schemas.decodable(dataset.frames), *labelled)
    return Outcome(len(clips), len(good), unread)
