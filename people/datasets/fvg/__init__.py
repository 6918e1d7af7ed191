"""Front-View Gait, FVG [Zhang et al., CVPR 2019]: 226 people walk towards a camera, from three directions, in three sessions.

<root>/session1/001_01/00001.png       subject and video, frame; sessions 1, 2 and 3; or session1/001_01.avi (or mp4)
<root>/session1_001.zip                the same tree in zip files
<root>/masks/, keypoints/session1_001.npz, background/session1.avi, ids-train.txt, …, recording.json     beside it: docs/data.md
"""

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from people.datasets.fvg.recordings import GALLERY_VIDEO, SEQUENCES, SPEEDS, VIDEOS, plan, recording
from people.layouts import files, image_files, multi_view_files, video_files
from people.layouts.multi_view_files import Render, keypoints, masks
from people.records import Rendered, Split, Take

__all__ = ["SEQUENCES", "SPEEDS", "background", "frames", "keypoints", "left_out", "masks", "plan", "protocol", "read", "write"]

SUBJECTS, TRAINING, VALIDATION = 226, 136, 14  # of those who train the last ones validate
OFFICIAL_FRAME_RATE_HZ = 15.0
VIDEO_ENDINGS = (".avi", ".mp4")
BACKGROUND_FOLDER, MASK_FOLDER, KEYPOINT_FOLDER = "background", "masks", "keypoints"

_WITHOUT_GALLERY = tuple(video for video in VIDEOS if video != GALLERY_VIDEO)
CLUTTERED: dict[str, dict[int, Collection[int]]] = {"paper": {1: range(10, 13)}, "code": {0: range(10, 13)}}  # probes of CBG
PROBES: dict[str, dict[int, Collection[int]]] = {  # by session, the videos
    "WS": {0: range(4, 10), 1: range(4, 7)},
    "CB": {0: range(10, 13)},
    "CL": {1: range(7, 10)},
    "CBG": CLUTTERED["paper"],
    "ALL": {0: _WITHOUT_GALLERY, 1: _WITHOUT_GALLERY, 2: VIDEOS},
}

_CLIP = re.compile(  # a zip file may repeat the name of its clip inside
    r".*\bsession(?P<session>[1-3])(?:_\d{3})?/(?P<subject>\d{3})_(?P<video>\d{2})(?:/(?P=subject)_(?P=video))?/?",
    re.IGNORECASE,
)
_SESSION = re.compile(r"session[1-3](?:_\d{3})?(?:\.zip)?", re.IGNORECASE)
_EXPECTED = "session1/001_01 (subject, video)"
_Ids = tuple[str, ...]
_Key = tuple[int, str, int]  # session from 0, subject, video


def official_split(order: str = "paper") -> dict[Split, list[str]]:
    """The numbers of each split: 122 train, 14 validate, 90 test.

    With `order` paper the first 136 numbers train and validate; with code those that the authors' public code has first after
    shuffling all numbers. A root without id lists has the split of the paper.
    """
    if order not in CLUTTERED:
        raise ValueError(f"expected an order of {', '.join(CLUTTERED)}, got {order!r}")
    numbers = list(range(1, SUBJECTS + 1))
    if order == "code":
        random.Random(1).shuffle(numbers)
    names = [f"{number:03d}" for number in numbers]
    parts = (names[: TRAINING - VALIDATION], names[TRAINING - VALIDATION : TRAINING], names[TRAINING:])
    return {"train": sorted(parts[0]), "validation": sorted(parts[1]), "test": sorted(parts[2])}


# --- write -----------------------------------------------------------------------------------------------------------


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
    """Render the takes into the official layout, and the empty scenes of every session.

    Frames are JPEG files. `packed` keeps a subject's session in one zip file, session1_001.zip. Subjects are written in
    parallel, `done()` is called after each. `root` appears only when it is complete.
    """
    if not takes:
        raise ValueError(f"expected takes to write to {root}, got none; plan some")
    by_subject = defaultdict(list)
    for take in takes:
        by_subject[take.subject_id].append(take)
    jobs: list[Future] = []
    with image_files.atomic_folder(root, jobs) as partial:
        multi_view_files.write_metadata(partial, {name: recorded[0] for name, recorded in sorted(by_subject.items())})
        for folder in (BACKGROUND_FOLDER, MASK_FOLDER, KEYPOINT_FOLDER):
            (partial / folder).mkdir()
        work = [(partial, by_subject[name], render, jpeg_quality, packed) for name in sorted(by_subject)]
        jobs += [executor.submit(_write_subject, *arguments) for arguments in work] if executor else []
        _write_backgrounds(partial / BACKGROUND_FOLDER, takes, render, jpeg_quality)
        for number, arguments in enumerate(work):
            jobs[number].result() if jobs else _write_subject(*arguments)
            done()


def _write_subject(root: Path, takes: Sequence[Take], render: Render, jpeg_quality: int, packed: bool) -> None:
    by_session = defaultdict(list)
    for take in takes:
        by_session[take.session].append(take)
    for session, recorded in by_session.items():
        images: list[tuple[str, bytes]] = []
        silhouettes: list[tuple[str, bytes]] = []
        arrays: dict[str, np.ndarray] = {}
        for take in recorded:
            clip, rendered = f"{take.subject_id}_{take.sequence[-2:]}", list(render(take))
            images += _images(f"session{session + 1}/{clip}", "jpg", rendered, jpeg_quality)
            silhouettes += _images(f"session{session + 1}/{clip}", "png", rendered, jpeg_quality)
            arrays[clip] = np.stack([frame.keypoints_px for frame in rendered]).astype(np.float32)
        name = f"session{session + 1}_{recorded[0].subject_id}"
        image_files.write(root / name if packed else root, images, packed=packed)
        image_files.write(root / MASK_FOLDER / name if packed else root / MASK_FOLDER, silhouettes, packed=packed)
        np.savez(root / KEYPOINT_FOLDER / f"{name}.npz", **arrays)  # pyright: ignore[reportArgumentType]


def _images(folder: str, ending: str, rendered: Sequence[Rendered], jpeg_quality: int) -> Iterator[tuple[str, bytes]]:
    """The frames (jpg) or the masks (png) of a clip as files."""
    for number, frame in enumerate(rendered, start=1):
        if ending == "jpg":
            content = image_files.encode_jpeg(frame.frame_rgb, jpeg_quality)
        else:
            content = image_files.encode_png(np.where(frame.mask, np.uint8(255), np.uint8(0)))
        yield f"{folder}/{number:05d}.{ending}", content


def _write_backgrounds(folder: Path, takes: Sequence[Take], render: Render, jpeg_quality: int) -> None:
    """The empty scene of every session, and the cluttered one without the people who pass by."""
    scenes = {_scene(take.session, int(take.sequence[-2:])): take for take in reversed(takes)}
    for name, take in sorted(scenes.items()):
        empty = multi_view_files.empty_scene(take)
        if empty.surroundings is not None:
            empty = replace(empty, surroundings=replace(empty.surroundings, passers_by=()))
        multi_view_files.write_video(folder / f"{name}.avi", take, list(render(empty)), jpeg_quality)


def _scene(session: int, video: int) -> str:
    """The name of a video's empty scene."""
    return f"session{session + 1}" + ("-clutter" if recording(session, video).code == "clutter" else "")


# --- read ------------------------------------------------------------------------------------------------------------


def read(root: Path) -> pd.DataFrame:
    """The index of an archive, official or written: one row per clip, in order of session, subject and video.

    Without id lists in the root the split is `official_split()`. A clip without a frame, and a subject without a split, have
    their row: validation names and removes them.
    """
    clips, videos = _located(root, root)
    if twice := sorted(set(clips) & set(videos)):
        raise ValueError(f"{root} has {clips[twice[0]][0]} and {videos[twice[0]]}, which are one clip; remove one of them")
    if not clips and not videos:
        raise ValueError(
            f"expected FVG at {root}: images session1/001_01/*.png, or session1_001.zip with the same tree, found neither; "
            "correct the dataset's archive in params.yaml, or unpack them there"
        )
    measured = {
        key: {"frame_count": len(names), **image_files.size(root, location)} for key, (location, names) in clips.items()
    }
    measured |= {key: video_files.decoded_info(root / location)._asdict() for key, location in videos.items()}
    locations = {key: location for key, (location, _) in clips.items()} | videos
    id_lists = multi_view_files.id_lists(root)
    table = pd.DataFrame(_rows(root, locations, measured, id_lists or official_split()))
    multi_view_files.check_id_lists(root, set(table["subject_id"]), id_lists)
    return table.astype({"gender": "str", "split": "str", "age_years": float})


def _rows(
    root: Path, locations: Mapping[_Key, str], measured: Mapping[_Key, dict[str, int]], splits: Mapping[Split, Collection[str]]
) -> Iterator[dict[str, Any]]:
    recording_file = files.find(root, multi_view_files.RECORDING)
    metadata = json.loads(files.read_text(recording_file)) if recording_file else {}
    keypoint_locations = multi_view_files.keypoint_locations(root)
    mask_locations = {
        key: location for folder in files.named(root, MASK_FOLDER) for key, (location, _) in _located(root, folder)[0].items()
    }
    scenes = {
        path.stem.lower(): path.relative_to(root).as_posix()
        for folder in files.named(root, BACKGROUND_FOLDER)
        for path in files.children(folder)
        if path.name.lower().endswith(VIDEO_ENDINGS)
    }
    for key in sorted(locations):
        session, subject, video = key
        record, labels = recording(session, video), metadata.get("subjects", {}).get(subject, {})
        row = {
            "dataset": "fvg",
            "clip_id": f"s{session + 1}/{subject}_{video:02d}",
            "subject_id": subject,
            "sequence": record.sequence,
            "condition": record.code,
            "session": session,
            "view_deg": record.view_deg,
            "gender": labels.get("gender"),
            "age_years": labels.get("age_years"),
            "frames": locations[key],
            "masks": mask_locations.get(key, ""),
            "keypoints": keypoint_locations.get((f"session{session + 1}_{subject}", f"{subject}_{video:02d}"), ""),
            "background": scenes.get(_scene(session, video), ""),
            "frame_rate_hz": float(metadata.get("frame_rate_hz", OFFICIAL_FRAME_RATE_HZ)),
            **measured[key],
            "root": str(root),
        }
        for split in [split for split in splits if subject in splits[split]] or [None]:
            yield {**row, "split": split}


def _located(root: Path, top: Path) -> tuple[dict[_Key, tuple[str, list[str]]], dict[_Key, str]]:
    """The clips in `top`, in folders and zip files of sessions: location and names of the images, or location of the video."""
    images: dict[_Key, tuple[str, list[str]]] = {}
    videos: dict[_Key, str] = {}
    for path in (path for path in files.children(top) if _SESSION.fullmatch(path.name)):
        for location, names in _list_images(root, path).items():
            key = _key(root, location)
            if key in images:
                raise ValueError(f"{root} has {images[key][0]} and {location}, which are one clip; remove one of them")
            images[key] = (location, names)
        for location in _list_videos(root, path):
            key = _key(root, location.rpartition(".")[0])
            if key in videos:
                raise ValueError(f"{root} has {videos[key]} and {location}, which are one clip; remove one of them")
            videos[key] = location
    return images, videos


def _list_images(root: Path, path: Path) -> dict[str, list[str]]:
    """The folders of images at or below a path, and the empty ones in which there is nothing else."""
    locations = image_files.list_images(root, path)
    parents = {location[:index] for location in locations for index, character in enumerate(location) if character in "/!"}
    with_videos = {location.rpartition("/")[0] for location in _list_videos(root, path)}
    inside = parents | with_videos | {path.relative_to(root).as_posix()}
    return {location: names for location, names in locations.items() if names or location not in inside}


def _list_videos(root: Path, path: Path) -> list[str]:
    return [
        (folder / name).relative_to(root).as_posix()
        for folder, names in (files.walk(path) if path.is_dir() else ())
        for name in names
        if name.lower().endswith(VIDEO_ENDINGS)
    ]


def _key(root: Path, location: str) -> _Key:
    match = _CLIP.fullmatch(re.sub(r"\.zip!", "/", location, flags=re.IGNORECASE))
    if not match:
        raise ValueError(f"{root / location}: expected frames in {_EXPECTED}; move, rename or remove them")
    if int(match["video"]) not in VIDEOS:
        raise ValueError(f"{root / location}: fvg has no video {match['video']}, it has 01 to 12; rename or remove it")
    return int(match["session"]) - 1, match["subject"], int(match["video"])


def frames(root: Path, clip_frames: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """One clip's frames in order, RGB; `clip_frames` is the index's column `frames`: images, or a video."""
    if clip_frames.lower().endswith(VIDEO_ENDINGS):
        return video_files.video_frames(files.located(root) / clip_frames)
    return image_files.frames(root, clip_frames)


def background(root: Path, clip_background: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Frames of the scene without the person, and without who passes by, RGB."""
    return multi_view_files.background(root, clip_background)


# --- protocol --------------------------------------------------------------------------------------------------------


def protocol(clips: pd.DataFrame, split: str, clutter: str = "paper") -> list[Any]:
    """Gallery: video 2 of every person's earliest session. Probes WS, CB, CL, CBG and ALL (`PROBES`), in one group.

    `clutter` says which clips are probes of CBG: session 2's (paper), or those of CB (code). ALL has every other clip but the
    second ones of sessions 1 and 2. Probes of a subject who is not in the gallery are left out (`left_out` lists them), and so
    are sets without any probe.
    """
    from people.protocols.probe_set import ProbeSet  # here, so that reading a dataset does not depend on protocols

    return [ProbeSet(name, "fvg", gallery, probes) for name, gallery, probes, _ in _sets(clips, split, clutter) if probes]


def left_out(clips: pd.DataFrame, split: str, clutter: str = "paper") -> dict[str, _Ids]:
    """The probes by set that `protocol` leaves out, because their subject has no clip in the gallery."""
    return {name: excluded for name, _, _, excluded in _sets(clips, split, clutter)}


def _sets(clips: pd.DataFrame, split: str, clutter: str) -> Iterator[tuple[str, _Ids, _Ids, _Ids]]:
    if clutter not in CLUTTERED:
        raise ValueError(f"expected clutter to be one of {', '.join(CLUTTERED)}, got {clutter!r}")
    columns = (clips[name] for name in ("clip_id", "subject_id", "session", "sequence", "split"))
    rows = sorted((*row[:3], int(row[3][-2:])) for row in zip(*columns, strict=True) if row[4] == split)
    if not rows:
        raise ValueError(
            f"expected clips of split {split!r}, the index has {sorted(set(clips['split'].dropna()))}; ingest again"
        )
    earliest = {subject: session for _, subject, session, _ in sorted(rows, key=lambda row: -row[2])}
    enrolled = {
        clip: subject for clip, subject, session, video in rows if video == GALLERY_VIDEO and session == earliest[subject]
    }
    subjects = set(enrolled.values())
    for name, videos in {**PROBES, "CBG": CLUTTERED[clutter]}.items():
        probed = {
            clip: subject for clip, subject, session, video in rows if clip not in enrolled and video in videos.get(session, ())
        }
        included = tuple(clip for clip, subject in probed.items() if subject in subjects)
        yield name, tuple(enrolled), included, tuple(clip for clip, subject in probed.items() if subject not in subjects)
