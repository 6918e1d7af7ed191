"""What datasets of many views keep on the disk: videos, silhouettes, true keypoints, empty scenes, and the index of it all.

A place is a file or a folder seen from the dataset's root, or what lies inside of a packed file after a `!`.
"""

import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8

from people.layouts import image_files, video_files
from people.layouts.multi_view import Layout
from people.records import Motion, Rendered, Split, Take

ID_LISTS: dict[Split, str] = {split: f"ids-{split}.txt" for split in get_args(Split)}
RECORDING = "recording.json"  # what the official layouts cannot say of rendered people: frame rate, sex and age
EMPTY_FRAMES = 8
BEHIND_M = 100.0

Render = Callable[[Take], Iterator[Rendered]]
_Key = tuple[str, str, int]  # subject, sequence, view in degrees


@dataclass(frozen=True)
class Places:
    """Where a layout keeps one clip; `image` names a silhouette by its number, which counts from 1."""

    frames: str
    masks: str
    image: str
    keypoints: str
    background: str


# --- write -----------------------------------------------------------------------------------------------------------


def write(
    root: Path,
    takes: Sequence[Take],
    render: Render,
    places: Callable[[Take], Places],
    *,
    jpeg_quality: int,
    executor: Executor | None,
    done: Callable[[], object],
) -> None:
    """Render the takes into the files that `places` names, and the empty scene of every subject and view.

    Subjects are written in parallel, `done()` is called after each. `root` appears only when everything is there.
    """
    if not takes:
        raise ValueError(f"expected takes to write to {root}, got none; plan some")
    by_subject = defaultdict(list)
    for take in takes:
        by_subject[take.subject_id].append(take)
    jobs: list[Future] = []
    with image_files.whole_or_nothing(root, jobs) as partial:
        _write_facts(partial, {who: of[0] for who, of in sorted(by_subject.items())})
        work = [(partial, by_subject[who], render, places, jpeg_quality) for who in sorted(by_subject)]
        jobs += [executor.submit(_write_subject, *each) for each in work] if executor else []
        for number, each in enumerate(work):
            jobs[number].result() if jobs else _write_subject(*each)
            done()


def _write_facts(root: Path, subjects: Mapping[str, Take]) -> None:
    for split, name in ID_LISTS.items():
        (root / name).write_text("".join(f"{who}\n" for who, take in subjects.items() if take.split == split))
    if homeless := [who for who, take in subjects.items() if take.split not in ID_LISTS]:
        raise ValueError(f"expected a split of {', '.join(ID_LISTS)} for every take, {homeless[0]} has none; set Take.split")
    rates = {take.motion.frame_rate_hz for take in subjects.values()}
    if len(rates) > 1:
        raise ValueError(f"expected one frame rate in all takes, got {sorted(rates)} Hz; resample the motions")
    people = {who: {"gender": take.motion.sex, "age_years": take.motion.age_years} for who, take in subjects.items()}
    facts = {"frame_rate_hz": float(rates.pop()), "subjects": people}
    (root / RECORDING).write_text(json.dumps(facts, indent=1) + "\n")


def _write_subject(
    root: Path, takes: Sequence[Take], render: Render, places: Callable[[Take], Places], jpeg_quality: int
) -> None:
    """All that is recorded of one subject; silhouettes and keypoints that share a file are written at once."""
    masks: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    keypoints: dict[str, dict[str, Float[np.ndarray, "frame 17 3"]]] = defaultdict(dict)
    for take in takes:
        where, recorded = places(take), list(render(take))
        _write_video(root / where.frames, take, recorded, jpeg_quality)
        if not (root / where.background).exists():
            _write_video(root / where.background, take, list(render(without_person(take))), jpeg_quality)
        file, _, inside = where.masks.partition("!")
        prefix = f"{inside}/" if inside else ""
        for number, each in enumerate(recorded, start=1):
            mask = np.where(each.mask, np.uint8(255), np.uint8(0))
            masks[file].append((prefix + where.image.format(number), image_files.png(mask)))
        file, _, inside = where.keypoints.partition("!")
        keypoints[file][inside] = np.stack([each.keypoints_px for each in recorded]).astype(np.float32)
    for file, images in masks.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        image_files.write(root / file.removesuffix(".zip"), images, packed=file.endswith(".zip"))
    for file, arrays in keypoints.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        np.savez(root / file, **arrays)  # pyright: ignore[reportArgumentType]


def _write_video(path: Path, take: Take, recorded: Sequence[Rendered], jpeg_quality: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frames_rgb = [each.frame_rgb for each in recorded]
    video_files.write(path, frames_rgb, frame_rate_hz=take.motion.frame_rate_hz, jpeg_quality=jpeg_quality)


def without_person(take: Take) -> Take:
    """The same camera at another moment, with another exposure, when the person stands far behind it: the empty scene."""
    angle = np.radians(take.view_deg)
    behind_m = BEHIND_M * np.array([np.cos(angle), np.sin(angle), 0.0])
    joints_m = np.repeat(take.motion.joints_m[:1] + behind_m, EMPTY_FRAMES, axis=0)
    motion: Motion = replace(take.motion, joints_m=joints_m, forward_m=np.zeros(EMPTY_FRAMES))
    seed = np.random.SeedSequence((take.identity_seed, round(take.view_deg))).generate_state(1)[0]
    return replace(take, sequence="empty", motion=motion, condition="normal", seed=int(seed))


# --- read ------------------------------------------------------------------------------------------------------------


def index(
    root: Path,
    layout: Layout,
    *,
    videos: Mapping[_Key, str],
    masks: Mapping[_Key, tuple[str, Sequence[str]]],
    backgrounds: Mapping[tuple[str, int], str],
    keypoint_name: str,
    official: Mapping[Split, Collection[str]],
    frame_rate_hz: float,
) -> pd.DataFrame:
    """One row per clip of which there is a video or silhouettes, in order of subject, sequence and view.

    Without a video the silhouettes stand in for the frames. `official` says who belongs to which split where no id lists lie
    in the root. A clip without a frame, and a subject without a split, have their row: validation names and removes them.
    """
    splits = _splits(root, official)
    facts = json.loads((root / RECORDING).read_text()) if (root / RECORDING).is_file() else {}
    keypoints = _keypoints(root)
    rows = []
    for key in sorted({*videos, *masks}):
        subject, sequence, view = key
        place, names = masks.get(key, ("", ()))
        layout.check(sequence, view, f"{root / (videos.get(key) or place)}")
        pose = f"keypoints/{subject}.npz!{keypoint_name.format(sequence=sequence, view=view)}"
        known = facts.get("subjects", {}).get(subject, {})
        row = {
            "dataset": layout.dataset,
            "clip_id": f"{subject}/{sequence}/{view:03d}",
            "subject_id": subject,
            "sequence": sequence,
            "condition": layout.code(sequence),
            "session": 0,
            "view_deg": float(view),
            "gender": known.get("gender"),
            "age_years": known.get("age_years"),
            "frames": videos.get(key, place),
            "masks": place if names else "",
            "keypoints": pose if pose in keypoints else "",
            "background": backgrounds.get((subject, view), ""),
            "frame_rate_hz": float(facts.get("frame_rate_hz", frame_rate_hz)),
            **(_of_video(root / videos[key]) if key in videos else _of_images(root, place, names)),
            "root": str(root),
        }
        rows += [{**row, "split": split} for split in [split for split in splits if subject in splits[split]] or [None]]
    clips = pd.DataFrame(rows)
    _refuse_gaps(root, set(clips["subject_id"]), splits)
    return clips.astype({"gender": "str", "split": "str", "age_years": float})


def _of_video(path: Path) -> dict[str, int]:
    return video_files.measure(path)._asdict()


def _of_images(root: Path, place: str, names: Sequence[str]) -> dict[str, int]:
    return {"frame_count": len(names), **image_files.size(root, place)}


def _splits(root: Path, official: Mapping[Split, Collection[str]]) -> dict[Split, set[str]]:
    """Who belongs to which split: by the id lists in the root, or else by the official rule."""
    there: dict[Split, Path] = {split: root / name for split, name in ID_LISTS.items() if (root / name).is_file()}
    if there and len(there) < len(ID_LISTS):
        lost = ", ".join(name for split, name in ID_LISTS.items() if split not in there)
        raise ValueError(f"{root} has some id lists, but not {lost}; add them, or remove all for the official split")
    if there:
        return {split: set(path.read_text().split()) for split, path in there.items()}
    return {split: set(subjects) for split, subjects in official.items()}


def _refuse_gaps(root: Path, there: set[str], splits: Mapping[Split, set[str]]) -> None:
    if (root / ID_LISTS["train"]).is_file():
        for split, listed in splits.items():
            if lost := sorted(listed - there):
                raise ValueError(f"{ID_LISTS[split]} lists {', '.join(lost[:5])}, without clips in {root}; shorten the list")


def _keypoints(root: Path) -> set[str]:
    """The places of all true keypoints."""
    found = set()
    for path in sorted((root / "keypoints").glob("*.npz")):
        with zipfile.ZipFile(path) as file:
            found |= {f"keypoints/{path.name}!{name.removesuffix('.npy')}" for name in file.namelist()}
    return found


def pictures(root: Path, folder: Path) -> dict[str, list[str]]:
    """Every place of silhouettes at or below a folder, and their names; a tar file there is refused with what to do."""
    if packed := sorted(folder.glob("*.tar*")):
        raise ValueError(
            f"{packed[0]}: silhouettes are read from folders and zip files, for a tar file has to be read from its start for "
            f"every clip; unpack the {len(packed)} tar files there (tar -xf) and remove them"
        )
    places = image_files.listing(root, folder)
    above = {place[:at] for place in places for at, sign in enumerate(place) if sign == "/"}
    above.add(folder.relative_to(root).as_posix())
    return {place: names for place, names in places.items() if names or place not in above}


def frames(root: Path, clip_frames: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """One clip's frames in order, RGB; `clip_frames` is the index's column `frames`: a video, or silhouettes."""
    return (
        video_files.video_frames(root / clip_frames) if clip_frames.endswith(".avi") else image_files.frames(root, clip_frames)
    )


def masks(root: Path, clip_masks: str) -> Iterator[UInt8[np.ndarray, "height width"]]:
    """One clip's silhouettes in order, as the dataset has them: 0 is background, 255 the person."""
    return (image_rgb[..., 0] for image_rgb in image_files.frames(root, clip_masks))


def background(root: Path, clip_background: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Frames of the scene without the person, RGB."""
    return video_files.video_frames(root / clip_background)


def keypoints(root: Path, clip_keypoints: str) -> Float[np.ndarray, "frame 17 3"]:
    """One clip's true keypoints in pixels of its frames: x, y and COCO visibility, ordered as `COCO_KEYPOINTS`."""
    path, _, name = clip_keypoints.partition("!")
    try:
        with np.load(root / path) as file:
            return file[name]
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{root / path}: expected the keypoints {name}, but {error}; ingest the dataset again") from None
