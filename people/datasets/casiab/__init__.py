"""CASIA-B [Yu, Tan and Tan, ICPR 2006]: 124 people, ten walks each from eleven views: normal, with a bag, in a coat.

<root>/video/001-nm-01-090.avi                                    subject, sequence and view; 001-bkgrd-090.avi: empty scene
                                                                  or in zip files, video/001.zip
<root>/silhouettes/001/nm-01/090/001-nm-01-090-001.png            or the same tree in zip files, silhouettes/001.zip
<root>/keypoints/001.npz, ids-train.txt, …, recording.json        beside the official layout, see docs/data.md
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

VIEWS_DEG = tuple(range(0, 181, 18))
GALLERY = ("nm-01", "nm-02", "nm-03", "nm-04")
PROBES = {"NM": ("nm-05", "nm-06"), "BG": ("bg-01", "bg-02"), "CL": ("cl-01", "cl-02")}
CROSS_VIEW_GALLERY = ("nm-02", "bg-02", "cl-02")
PROTOCOLS: multi_view.Protocols = {
    "single_view": {name: (GALLERY, probes) for name, probes in PROBES.items()},
    "cross_view": {name: (CROSS_VIEW_GALLERY, (f"{name.lower()}-01",)) for name in PROBES},
}
SIDE_GALLERY, SIDE_DEG = "nm-01", 90.0
SIDE_PROTOCOL: multi_view.Protocols = {"from_90": {"NM": ((SIDE_GALLERY,), ("nm-02",))}}
# Within a group no two sequences are compared by any protocol.
_GROUPS = (GALLERY[1:], ("nm-05", "nm-06", "bg-01", "cl-01"), GALLERY[:1], ("bg-02", "cl-02"))

_NUMBERS = [f"{number:03d}" for number in range(1, 125)]
OFFICIAL: dict[Split, list[str]] = {"train": _NUMBERS[:64], "validation": _NUMBERS[64:74], "test": _NUMBERS[74:]}
OFFICIAL_FRAME_RATE_HZ = 25.0
VIDEO_FOLDER, SILHOUETTE_FOLDERS = "video", ("silhouettes", "GaitDatasetB-silh")
EMPTY_SCENE = "bkgrd"  # in the place of a sequence

_VIDEO = re.compile(r"(?P<subject>\d{3})-(?P<sequence>[a-z]{2}-\d{2}|bkgrd)-(?P<view>\d{3})\.avi", re.IGNORECASE)
_SILHOUETTES = re.compile(r"(?P<subject>\d{3})/(?P<sequence>[a-z]{2}-\d{2})/(?P<view>\d{3})$", re.IGNORECASE)


def _code(sequence: str) -> str:
    return sequence[:2]


LAYOUT = multi_view.Layout("casiab", 3, _GROUPS, VIEWS_DEG, _code)
SEQUENCES = LAYOUT.sequences


def plan(
    motions: list[Motion],
    *,
    subjects: Mapping[Split, int],
    frames_per_sequence: int,
    views_deg: Sequence[int],
    seed: int,
) -> list[Take]:
    """Six normal walks, two with a bag and two in a coat of every subject, each from all of `views_deg` (`multi_view.plan`)."""
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
    """Render the takes into the official layout; `packed` keeps a subject's videos in one zip file, silhouettes in another."""
    options = {"jpeg_quality": jpeg_quality, "executor": executor, "done": done}
    multi_view_files.write(root, takes, render, partial(_locations, packed=packed), **options)


def _locations(take: Take, packed: bool) -> Locations:
    subject, sequence, view = take.subject_id, take.sequence, f"{round(take.view_deg):03d}"
    videos = f"video/{subject}.zip!" if packed else "video/"
    return Locations(
        frames=f"{videos}{subject}-{sequence}-{view}.avi",
        masks=f"silhouettes/{subject}{'.zip!' if packed else '/'}{sequence}/{view}",
        image=f"{subject}-{sequence}-{view}-{{:03d}}.png",
        keypoints=f"keypoints/{subject}.npz!{sequence}-{view}",
        background=f"{videos}{subject}-bkgrd-{view}.avi",
    )


def read(root: Path) -> pd.DataFrame:
    """The index of an archive, official or written: one row per clip, in order of subject, sequence and view.

    Without id lists in the root the people up to 074 train, the last ten of them validate, and those from 075 on test.
    """
    videos, backgrounds = _videos(root)
    silhouettes = _silhouettes(root)
    if not videos and not silhouettes:
        raise ValueError(
            f"expected CASIA-B at {root}: videos video/001-nm-01-090.avi or silhouettes silhouettes/001/nm-01/090/*.png, found "
            "neither; correct the dataset's archive in params.yaml, or unpack them there"
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


def _videos(root: Path) -> tuple[dict[tuple[str, str, int], str], dict[tuple[str, int], str]]:
    """The locations of each clip's video, and of each subject's and view's empty scene."""
    videos: dict[tuple[str, str, int], str] = {}
    for path in (path for folder in files.named(root, VIDEO_FOLDER) for path in multi_view_files.list_videos(folder)):
        match = _VIDEO.fullmatch(multi_view_files.video_name(path))
        if not match:
            raise ValueError(f"{path}: expected a name such as 001-nm-01-090.avi or 001-bkgrd-090.avi; rename or remove it")
        key, location = (match["subject"], match["sequence"].lower(), int(match["view"])), path.relative_to(root).as_posix()
        if key in videos:
            raise ValueError(f"{root} has {match[0]} twice, as {videos[key]} and {location}; remove one of them")
        videos[key] = location
    backgrounds = {(subject, view): videos[subject, name, view] for subject, name, view in videos if name == EMPTY_SCENE}
    return {key: location for key, location in videos.items() if key[1] != EMPTY_SCENE}, backgrounds


def _silhouettes(root: Path) -> dict[tuple[str, str, int], tuple[str, list[str]]]:
    clips: dict[tuple[str, str, int], tuple[str, list[str]]] = {}
    for folder in (path for name in SILHOUETTE_FOLDERS for path in files.named(root, name)):
        for location, names in multi_view_files.list_silhouettes(root, folder).items():
            match = _SILHOUETTES.search(re.sub(r"\.zip!", "/", location, flags=re.IGNORECASE))
            if not match:
                raise ValueError(f"{root / location}: expected silhouettes in {folder.name}/001/nm-01/090; move or remove them")
            key = (match["subject"], match["sequence"].lower(), int(match["view"]))
            if key in clips:
                raise ValueError(f"{root} has {match[0]} twice, as {clips[key][0]} and {location}; remove one of them")
            clips[key] = (location, names)
    return clips


def protocol(clips: pd.DataFrame, split: str) -> list[Any]:
    """`single_view`: gallery nm-01 to nm-04, probes NM (nm-05, nm-06), BG (bg-01, bg-02), CL (cl-01, cl-02).

    `cross_view`: one gallery of nm-02, bg-02 and cl-02, probes NM (nm-01), BG (bg-01), CL (cl-01). `from_90`: gallery nm-01
    from 90 degrees, probes NM (nm-02) from all views, as GaitNet is judged across views.
    """
    return multi_view.protocol(clips, split, PROTOCOLS) + multi_view.protocol(_side_gallery(clips), split, SIDE_PROTOCOL)


def left_out(clips: pd.DataFrame, split: str) -> dict[str, tuple[str, ...]]:
    """The probes by `group/name` that `protocol` leaves out, because their subject has no clip in the gallery."""
    side = multi_view.left_out(_side_gallery(clips), split, SIDE_PROTOCOL)
    return multi_view.left_out(clips, split, PROTOCOLS) | side


def _side_gallery(clips: pd.DataFrame) -> pd.DataFrame:
    """Without the clips of nm-01 from other views than 90 degrees."""
    return clips.loc[(clips["sequence"] != SIDE_GALLERY) | (clips["view_deg"] == SIDE_DEG)]
