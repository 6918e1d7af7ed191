"""OU-MVLP [Takemura et al., IPSJ CVA 2018]: silhouettes of 10,307 people, two walks each from 14 views.

<root>/Silhouette_000-00/00001/0001.png       view and sequence, subject, frame; or zip files Silhouette_000-00/00001.zip
<root>/Video_000-00/00001.avi                 not in the official release; Video_000-bkgrd/00001.avi: empty scene
<root>/keypoints/00001.npz, ids-train.txt, …, recording.json        likewise, see docs/data.md
"""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from people.layouts import files, multi_view, multi_view_files
from people.layouts.multi_view_files import Locations, Render, background, frames, keypoints, masks
from people.records import Motion, Split, Take

__all__ = ["SEQUENCES", "background", "frames", "keypoints", "left_out", "masks", "plan", "protocol", "read", "write"]

VIEWS_DEG = (*range(0, 91, 15), *range(180, 271, 15))
GALLERY, PROBE = "01", "00"
PROTOCOLS: multi_view.Protocols = {group: {PROBE: ((GALLERY,), (PROBE,))} for group in ("single_view", "cross_view")}

_NUMBERS = [f"{number:05d}" for number in range(1, 10308)]
_TRAIN = _NUMBERS[:-1:2]  # odd, but for the last one
VALIDATION = 515  # the last tenth of those who train
OFFICIAL: dict[Split, list[str]] = {
    "train": _TRAIN[:-VALIDATION],
    "validation": _TRAIN[-VALIDATION:],
    "test": [*_NUMBERS[1::2], _NUMBERS[-1]],
}
OFFICIAL_FRAME_RATE_HZ = 25.0

_FOLDER = re.compile(r"(?P<kind>silhouette|video)_(?P<view>\d{3})-(?P<sequence>\d{2}|bkgrd)", re.IGNORECASE)
_SUBJECT = re.compile(r"(?P<subject>\d{5})$")


def _code(sequence: str) -> str:
    return "nm"


LAYOUT = multi_view.Layout("oumvlp", 5, ((GALLERY,), (PROBE,)), VIEWS_DEG, _code)
SEQUENCES = LAYOUT.sequences


def plan(
    motions: list[Motion],
    *,
    subjects: Mapping[Split, int],
    frames_per_sequence: int,
    views_deg: Sequence[int],
    seed: int,
) -> list[Take]:
    """Two walks of every subject, each from all of `views_deg` (`multi_view.plan`)."""
    options = {"frames_per_sequence": frames_per_sequence, "views_deg": views_deg, "seed": seed}
    return multi_view.plan(motions, LAYOUT, subjects=subjects, **options)


def write(
    root: Path,
    takes: Sequence[Take],
    render: Render,
    *,
    jpeg_quality: int,
    packed: bool = True,
    executor: Executor | None = None,
    done: Callable[[], object] = lambda: None,
) -> None:
    """Render the takes into the official layout, with videos beside it; `packed` keeps a clip's silhouettes in a zip file."""
    options = {"jpeg_quality": jpeg_quality, "executor": executor, "done": done}
    multi_view_files.write(root, takes, render, partial(_locations, packed=packed), **options)


def _locations(take: Take, packed: bool) -> Locations:
    subject, sequence, view = take.subject_id, take.sequence, f"{round(take.view_deg):03d}"
    return Locations(
        frames=f"Video_{view}-{sequence}/{subject}.avi",
        masks=f"Silhouette_{view}-{sequence}/{subject}{f'.zip!{subject}' if packed else ''}",
        image="{:04d}.png",
        keypoints=f"keypoints/{subject}.npz!{sequence}-{view}",
        background=f"Video_{view}-bkgrd/{subject}.avi",
    )


def read(root: Path) -> pd.DataFrame:
    """The index of an archive, official or written: one row per clip, in order of subject, sequence and view.

    Without id lists in the root the split is the official one: odd numbers train, even ones and 10307 test; the last 515 of
    the training people validate.
    """
    videos: dict[tuple[str, str, int], str] = {}
    backgrounds: dict[tuple[str, int], str] = {}
    silhouettes: dict[tuple[str, str, int], tuple[str, list[str]]] = {}
    for folder in files.children(root):
        if not folder.is_dir() or not folder.name.lower().startswith(("silhouette_", "video_")):
            continue
        view, sequence = _view_and_sequence(folder)
        if folder.name.lower().startswith("silhouette_"):
            _add_silhouettes(silhouettes, root, folder, sequence, view)
            continue  # zip files there hold silhouettes: to look for videos in them would open each once more
        for path in multi_view_files.list_videos(folder):
            subject, location = _subject(Path(multi_view_files.video_name(path)).stem, path), path.relative_to(root).as_posix()
            if sequence == "bkgrd":
                backgrounds[subject, view] = location
            else:
                videos[subject, sequence, view] = location
    if not silhouettes and not videos:
        raise ValueError(
            f"expected OU-MVLP at {root}: silhouettes Silhouette_000-00/00001/*.png, found none; correct the dataset's archive "
            "in params.yaml, or unpack them there"
        )
    return multi_view_files.index(
        root,
        LAYOUT,
        videos=videos,
        masks=silhouettes,
        backgrounds=backgrounds,
        keypoint_name="{sequence}-{view:03d}",
        official=OFFICIAL,
        frame_rate_hz=OFFICIAL_FRAME_RATE_HZ,
    )


def _view_and_sequence(folder: Path) -> tuple[int, str]:
    match = _FOLDER.fullmatch(folder.name)
    if not match:
        raise ValueError(f"{folder}: expected a name such as Silhouette_000-00 (view, sequence); rename or remove it")
    return int(match["view"]), match["sequence"].lower()


def _subject(name: str, where: Path) -> str:
    match = _SUBJECT.search(name)
    if not match:
        raise ValueError(f"{where}: expected a subject's number of five digits, such as 00001; rename or remove it")
    return match["subject"]


def _add_silhouettes(
    clips: dict[tuple[str, str, int], tuple[str, list[str]]], root: Path, folder: Path, sequence: str, view: int
) -> None:
    for location, names in multi_view_files.list_silhouettes(root, folder).items():
        key = (_subject(location, root / location), sequence, view)
        if key in clips:
            raise ValueError(f"{root} has {folder.name}/{key[0]} twice, as {clips[key][0]} and {location}; remove one of them")
        clips[key] = (location, names)


def protocol(clips: pd.DataFrame, split: str) -> list[Any]:
    """Gallery 01 and probes 00, in both groups: against each other view alone (`single_view`), or all clips together.

    From all clips those of the probe's own person and view are left out.
    """
    return multi_view.protocol(clips, split, PROTOCOLS)


def left_out(clips: pd.DataFrame, split: str) -> dict[str, tuple[str, ...]]:
    """The probes by `group/name` that `protocol` leaves out, because their subject has no clip in the gallery."""
    return multi_view.left_out(clips, split, PROTOCOLS)
