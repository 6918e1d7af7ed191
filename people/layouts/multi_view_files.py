"""Files of datasets of many views: videos, silhouettes, true keypoints, empty scenes, and their index.

A location is the path of a file or a folder from the dataset's root, and after a `!` the name inside a packed file.
"""

import json
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped, UInt8

from people.layouts import files, image_files, limits, video_files, zip_files
from people.layouts.multi_view import Layout
from people.records import Motion, Rendered, Split, Take

ID_LISTS: dict[Split, str] = {split: f"ids-{split}.txt" for split in get_args(Split)}
RECORDING = "recording.json"  # frame rate, sex and age of rendered people, for which the official layouts have no file
EMPTY_FRAMES = 8
BEHIND_M = 100.0
_UNREADABLE = (KeyError, OSError, ValueError, MemoryError, EOFError, zlib.error, zipfile.BadZipFile, limits.UNREADABLE_ZIP)

Render = Callable[[Take], Iterator[Rendered]]
_Key = tuple[str, str, int]  # subject, sequence, view in degrees


@dataclass(frozen=True)
class Locations:
    """Locations of one clip's files in a layout; `image` is the file name of a silhouette by its number, from 1."""

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
    locations: Callable[[Take], Locations],
    *,
    jpeg_quality: int,
    executor: Executor | None,
    done: Callable[[], object],
) -> None:
    """Render the takes into the files that `locations` names, and the empty scene of every subject and view.

    Subjects are written in parallel, `done()` is called after each. `root` appears only when it is complete.
    """
    if not takes:
        raise ValueError(f"expected takes to write to {root}, got none; plan some")
    by_subject = defaultdict(list)
    for take in takes:
        by_subject[take.subject_id].append(take)
    jobs: list[Future] = []
    with image_files.atomic_folder(root, jobs) as partial:
        write_metadata(partial, {subject: recorded[0] for subject, recorded in sorted(by_subject.items())})
        work = [(partial, by_subject[subject], render, locations, jpeg_quality) for subject in sorted(by_subject)]
        jobs += [executor.submit(_write_subject, *arguments) for arguments in work] if executor else []
        for number, arguments in enumerate(work):
            jobs[number].result() if jobs else _write_subject(*arguments)
            done()


def write_metadata(root: Path, subjects: Mapping[str, Take]) -> None:
    """The id lists, frame rate, sexes and ages; of every subject one take."""
    for split, name in ID_LISTS.items():
        (root / name).write_text("".join(f"{subject}\n" for subject, take in subjects.items() if take.split == split))
    if without_split := [subject for subject, take in subjects.items() if take.split not in ID_LISTS]:
        raise ValueError(
            f"expected a split of {', '.join(ID_LISTS)} for every take, {without_split[0]} has none; set Take.split"
        )
    rates = {take.motion.frame_rate_hz for take in subjects.values()}
    if len(rates) > 1:
        raise ValueError(f"expected one frame rate in all takes, got {sorted(rates)} Hz; resample the motions")
    people = {name: {"gender": take.motion.sex, "age_years": take.motion.age_years} for name, take in subjects.items()}
    recording = {"frame_rate_hz": float(rates.pop()), "subjects": people}
    (root / RECORDING).write_text(json.dumps(recording, indent=1) + "\n")


def _write_subject(
    root: Path, takes: Sequence[Take], render: Render, locations: Callable[[Take], Locations], jpeg_quality: int
) -> None:
    """Write all files of one subject; videos, silhouettes and keypoints that share a file are written at once."""
    packed: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    keypoints: dict[str, dict[str, Float[np.ndarray, "frame 17 3"]]] = defaultdict(dict)
    empty_scenes: set[str] = set()
    for take in takes:
        clip, recorded = locations(take), list(render(take))
        videos = {clip.frames: recorded}
        if clip.background not in empty_scenes:
            videos[clip.background] = list(render(empty_scene(take)))
            empty_scenes.add(clip.background)
        for location, shown in videos.items():
            file, _, inside = location.partition("!")
            if inside:
                packed[file].append((inside, video_bytes(take, shown, jpeg_quality)))
            else:
                write_video(root / file, take, shown, jpeg_quality)
        file, _, inside = clip.masks.partition("!")
        prefix = f"{inside}/" if inside else ""
        for number, rendered in enumerate(recorded, start=1):
            mask = np.where(rendered.mask, np.uint8(255), np.uint8(0))
            packed[file].append((prefix + clip.image.format(number), image_files.encode_png(mask)))
        file, _, inside = clip.keypoints.partition("!")
        keypoints[file][inside] = np.stack([rendered.keypoints_px for rendered in recorded]).astype(np.float32)
    for file, members in packed.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        image_files.write(root / file.removesuffix(".zip"), members, packed=file.endswith(".zip"))
    for file, arrays in keypoints.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        np.savez(root / file, **arrays)  # pyright: ignore[reportArgumentType]


def write_video(path: Path, take: Take, recorded: Sequence[Rendered], jpeg_quality: int) -> None:
    """The rendered frames of a take as a video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames_rgb = [rendered.frame_rgb for rendered in recorded]
    video_files.write(path, frames_rgb, frame_rate_hz=take.motion.frame_rate_hz, jpeg_quality=jpeg_quality)


def video_bytes(take: Take, recorded: Sequence[Rendered], jpeg_quality: int) -> bytes:
    """The same as the content of a file."""
    with TemporaryDirectory(prefix="people-") as folder:
        path = Path(folder, "video.avi")
        write_video(path, take, recorded, jpeg_quality)
        return path.read_bytes()


def empty_scene(take: Take) -> Take:
    """A take by the same camera, with another exposure, in which the person stands far behind it, out of view."""
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

    Without a video the frames are the silhouettes. `official` lists the subjects of the splits, for a root without id lists. A
    clip without a frame, and a subject without a split, have their row: validation names and removes them.
    """
    listed = id_lists(root)
    splits = listed or {split: set(subjects) for split, subjects in official.items()}
    recording_file = files.find(root, RECORDING)
    recording = json.loads(files.read_text(recording_file)) if recording_file else {}
    keypoints = keypoint_locations(root)
    measured = _measure(root, videos, masks)
    rows = []
    for key in sorted({*videos, *masks}):
        subject, sequence, view = key
        location, names = masks.get(key, ("", ()))
        layout.check(sequence, view, f"{root / (videos.get(key) or location)}")
        labels = recording.get("subjects", {}).get(subject, {})
        row = {
            "dataset": layout.dataset,
            "clip_id": f"{subject}/{sequence}/{view:03d}",
            "subject_id": subject,
            "sequence": sequence,
            "condition": layout.code(sequence),
            "session": 0,
            "view_deg": float(view),
            "gender": labels.get("gender"),
            "age_years": labels.get("age_years"),
            "frames": videos.get(key, location),
            "masks": location if names else "",
            "keypoints": keypoints.get((subject, keypoint_name.format(sequence=sequence, view=view)), ""),
            "background": backgrounds.get((subject, view), ""),
            "frame_rate_hz": float(recording.get("frame_rate_hz", frame_rate_hz)),
            **measured[key],
            "root": str(root),
        }
        rows += [{**row, "split": split} for split in [split for split in splits if subject in splits[split]] or [None]]
    clips = pd.DataFrame(rows)
    check_id_lists(root, set(clips["subject_id"]), listed)
    return clips.astype({"gender": "str", "split": "str", "age_years": float})


def _measure(
    root: Path, videos: Mapping[_Key, str], masks: Mapping[_Key, tuple[str, Sequence[str]]]
) -> dict[_Key, dict[str, int]]:
    """Number and size of the frames of every clip: of its video, or of its silhouettes where it has none."""
    measured = {
        key: {"frame_count": len(names), **image_files.size(root, location)}
        for key, (location, names) in masks.items()
        if key not in videos
    }
    with ThreadPoolExecutor() as executor:
        infos = executor.map(video_files.decoded_info, [root / location for location in videos.values()])
        return measured | {key: info._asdict() for key, info in zip(videos, infos, strict=True)}


def id_lists(root: Path) -> dict[Split, set[str]]:
    """The subjects of every split by the id lists in the root; empty where it has none."""
    lists: dict[Split, Path] = {split: path for split, name in ID_LISTS.items() if (path := files.find(root, name))}
    if lists and len(lists) < len(ID_LISTS):
        missing = ", ".join(name for split, name in ID_LISTS.items() if split not in lists)
        raise ValueError(f"{root} has some id lists, but not {missing}; add them, or remove all for the official split")
    return {split: set(files.read_text(path).split()) for split, path in lists.items()}


def check_id_lists(root: Path, recorded: set[str], listed: Mapping[Split, set[str]]) -> None:
    """Refuse lists with a subject of whom there is no clip."""
    for split, subjects in listed.items():
        if missing := sorted(subjects - recorded):
            raise ValueError(f"{ID_LISTS[split]} lists {', '.join(missing[:5])}, without clips in {root}; shorten the list")


def keypoint_locations(root: Path) -> dict[tuple[str, str], str]:
    """The locations of all true keypoints, by the name of the file (a subject) and of the array."""
    locations = {}
    for path in (path for folder in files.named(root, "keypoints") for path in files.children(folder)):
        if path.suffix.lower() == ".npz":
            try:
                with zipfile.ZipFile(path) as file:
                    names = [name.removesuffix(".npy") for name in file.namelist()]
            except zipfile.BadZipFile as error:
                raise ValueError(f"{path}: expected an npz file of keypoints, but {error}; restore or remove it") from None
            locations |= {(path.stem, name): f"{path.relative_to(root).as_posix()}!{name}" for name in names}
    return locations


def list_videos(folder: Path) -> list[Path]:
    """The videos in a folder and in the zip files there, in order."""
    found = []
    for path in files.children(folder):
        if path.suffix.lower() == ".zip":
            names = sorted(name for inside in zip_files.opened(path).folders.values() for name in inside)
            found += [path.with_name(f"{path.name}!{name}") for name in names if name.lower().endswith(".avi")]
        elif path.suffix.lower() == ".avi":
            found.append(path)
    return found


def video_name(path: Path) -> str:
    """The name of a video's file, also of one in a zip file."""
    return path.name.rpartition("!")[2]


def list_silhouettes(root: Path, folder: Path) -> dict[str, list[str]]:
    """Every location of silhouettes at or below a folder, and their names; an error if there are tar files."""
    if packed := [path for path in files.children(folder) if ".tar" in path.name.lower()]:
        raise ValueError(
            f"{packed[0]}: silhouettes are read from folders and zip files, a tar file would be read from its start for "
            f"every clip; unpack the {len(packed)} tar files there (tar -xf) and remove them"
        )
    locations = image_files.list_images(root, folder)
    parents = {location[:index] for location in locations for index, character in enumerate(location) if character == "/"}
    parents.add(folder.relative_to(root).as_posix())
    return {location: names for location, names in locations.items() if names or location not in parents}


def frames(root: Path, clip_frames: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """One clip's frames in order, RGB; `clip_frames` is the index's column `frames`: a video, or silhouettes."""
    if clip_frames.lower().endswith(".avi"):  # on the disk or in a zip file
        return video_files.video_frames(files.located(root) / clip_frames)
    return image_files.frames(root, clip_frames)


def masks(root: Path, clip_masks: str) -> Iterator[Shaped[np.ndarray, "height width *channels"]]:
    """One clip's silhouettes in order, with the channels and bits of their files (`people/video/masks.py` reads them)."""
    return image_files.stored_images(root, clip_masks)


def background(root: Path, clip_background: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Frames of the scene without the person, RGB."""
    return video_files.video_frames(files.located(root) / clip_background)


def keypoints(root: Path, clip_keypoints: str) -> Float[np.ndarray, "frame 17 3"]:
    """One clip's true keypoints in pixels of its frames: x, y and COCO visibility, ordered as `COCO_KEYPOINTS`."""
    path, _, name = clip_keypoints.partition("!")
    file = files.located(root) / path
    try:
        with np.load(file) as arrays:
            limits.check_file_bytes(arrays.zip.getinfo(f"{name}.npy").file_size, f"{name}.npy")
            return arrays[name]
    except _UNREADABLE as error:
        raise ValueError(f"{file}: expected the keypoints {name}, but {error}; ingest the dataset again") from None
