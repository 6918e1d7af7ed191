"""COCO 2017 person keypoints [Lin et al., ECCV 2014]: photos of everyday scenes with any number of people, or nobody.

<root>/train2017/000000000139.jpg, val2017/                        the folders, or zip files of them; one may be missing
<root>/annotations/person_keypoints_{train,val}2017.json           or beside the folders
<root>/validation_ids.txt         optional: the numbers of the images in train2017 that validate, one a line

val2017 is the test split; of train2017 a fixed share validates. An annotation may have a further key `activity`, which rendered
scenes have. Images that have no people are kept: whether they train is for the reader of the index to say.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from people.datasets.coco import labels
from people.datasets.coco.annotations import Image, LabelFile, label_file, load, save
from people.datasets.coco.rendering import Photo, Render, content, photograph
from people.datasets.coco.scenes import SEQUENCES, plan
from people.layouts import files as archive_files
from people.layouts import image_files, image_sets
from people.records import Annotation, Scene, Split

__all__ = ["SEQUENCES", "frames", "load", "people", "plan", "protocol", "read", "save", "write"]

TRAIN, VAL = "train2017", "val2017"
VALIDATION_IDS = "validation_ids.txt"
VALIDATION_SHARE = 0.05  # of train2017

_CHUNK = 16
_LOG = logging.getLogger(__name__)


# --- write -----------------------------------------------------------------------------------------------------------


def write(
    root: Path,
    takes: Sequence[Scene],
    render: Render,
    *,
    jpeg_quality: int,
    packed: bool = True,
    executor: Executor | None = None,
    done: Callable[[], object] = lambda: None,
) -> None:
    """Render scenes into the layout; `packed` keeps each folder of images in one zip file.

    Scenes are rendered in parallel, `done()` is called after each. `root` appears only when it is complete.
    """
    ordered = sorted(takes, key=lambda scene: scene.subject_id)
    numbers = {scene.subject_id for scene in ordered}
    if not ordered or len(numbers) < len(ordered) or not all(number.isdecimal() for number in numbers):
        raise ValueError(
            f"expected scenes to write to {root}, each with a number of its own as subject_id, got {len(ordered)} scenes with "
            f"{len(numbers)} of them; plan them again"
        )
    work = [(ordered[start : start + _CHUNK], render, jpeg_quality) for start in range(0, len(ordered), _CHUNK)]
    photos: list[Photo] = []
    jobs: list[Future] = []
    with image_files.atomic_folder(root, jobs) as partial:
        jobs += [executor.submit(photograph, *arguments) for arguments in work] if executor else []
        for number, arguments in enumerate(work):
            photos += jobs[number].result() if jobs else photograph(*arguments)
            for _ in arguments[0]:
                done()
        for folder in (TRAIN, VAL):
            if of_folder := [photo for photo in photos if photo.folder == folder]:
                save(partial / "annotations" / f"person_keypoints_{folder}.json", content(of_folder))
                images = [(f"{folder}/{photo.image['file_name']}", photo.jpeg) for photo in of_folder]
                image_files.write(partial / folder if packed else partial, images, packed=packed)
        validation = [scene.subject_id for scene in ordered if scene.split == "validation"]
        (partial / VALIDATION_IDS).write_text("".join(f"{number}\n" for number in validation))


# --- read ------------------------------------------------------------------------------------------------------------


def read(root: Path) -> pd.DataFrame:
    """The index of an archive: one row per image that an annotation file lists, train2017 first, in order of their ids.

    An image that is listed and not there is in the index, so that validation finds it missing; images that no file lists are
    not. What is left out or missing is counted in a warning.
    """
    rows: list[dict[str, Any]] = []
    for folder in (TRAIN, VAL):
        place, path = _images_at(root, folder), _labels_at(root, folder)
        if place and not path:
            raise ValueError(
                f"{place}: expected the annotations of these images at {root}/annotations/person_keypoints_{folder}.json, "
                "there are none; unpack annotations_trainval2017.zip there"
            )
        if path and not place:
            _LOG.warning("%s: the images of %s are not there, they are not in the index", root, folder)
        if path and place:
            rows += _rows(root, folder, place, label_file(path), path)
    if not rows:
        raise ValueError(
            f"expected COCO 2017 at {root}: images in {TRAIN} or {VAL} (folders or zip files of them), and annotations/"
            f"person_keypoints_{TRAIN}.json, found none; correct the dataset's archive in params.yaml, or put them there"
        )
    return pd.DataFrame(rows).astype({"gender": "str", **dict.fromkeys(("view_deg", "age_years", "frame_rate_hz"), float)})


def _images_at(root: Path, folder: str) -> Path | None:
    """The folder of this name, or the zip file of it."""
    packed = [path for path in archive_files.named(root, f"{folder}.zip") if path.is_file()]
    places = [path for path in archive_files.named(root, folder) if path.is_dir()] + packed
    if len(places) > 1:
        raise ValueError(
            f"expected the folder {folder} or {folder}.zip in {root}, {' and '.join(path.name for path in places)} exist; "
            "remove one"
        )
    return places[0] if places else None


def _labels_at(root: Path, folder: str) -> Path | None:
    name = f"person_keypoints_{folder}.json"
    below = archive_files.find(root, "annotations")
    paths = [path for place in (below, root) if place and (path := archive_files.find(place, name))]
    if len(paths) > 1:
        raise ValueError(f"expected one {name}, got {paths[0]} and {paths[1]}; remove one")
    return paths[0] if paths else None


def _rows(root: Path, folder: str, place: Path, labelled: LabelFile, path: Path) -> Iterator[dict[str, Any]]:
    there = _locations(root, place)
    at = place.relative_to(root).as_posix() + (f"!{folder}" if place.is_file() else "")
    splits = _splits(root, folder, labelled.images)
    names = {image_id: Path(image.file_name).name for image_id, image in labelled.images.items()}
    wanted = {name.lower() for name in names.values()}
    counts = {
        **labelled.left_out,
        "images without a file (validation puts them into quarantine)": len(wanted - there.keys()),
        "files of images that the annotations do not list": len(there.keys() - wanted),
    }
    for what, count in counts.items():
        if count:
            _LOG.warning("%s: %d %s", path, count, what)
    for image_id, image in sorted(labelled.images.items()):
        location = there.get(names[image_id].lower(), f"{at}/{names[image_id]}")
        people = labelled.annotations.get(image_id, ())
        yield {
            "dataset": "coco",
            "clip_id": Path(location).stem,
            "subject_id": Path(location).stem,  # nobody is known by name
            "split": splits[image_id],
            "sequence": folder,
            "condition": "scene",
            "session": 0,
            "view_deg": float("nan"),
            "gender": None,
            "age_years": float("nan"),
            "frames": location,
            "people": f"{path.relative_to(root).as_posix()}!{image_id}",
            "person_count": sum(not person.get("iscrowd", 0) for person in people),
            "frame_count": 1,
            "frame_rate_hz": float("nan"),
            **_size(image),
            "license": image.license_url,
            "root": str(root),
        }


def _size(image: Image) -> dict[str, int]:
    """Height and width as the annotations have them: to read 118,000 image files takes long, and validation compares them."""
    return {"height_px": image.height_px, "width_px": image.width_px}


def _locations(root: Path, place: Path) -> dict[str, str]:
    """The location of every image of a folder or zip file, by its name in lower case."""
    locations: dict[str, str] = {}
    for parent, names in image_files.list_images(root, place).items():
        for name in names:
            location = f"{parent}/{name}" if not parent.endswith("!") else f"{parent}{name}"
            if other := locations.get(name.lower()):
                raise ValueError(f"{root}: expected one image {name}, got {other} and {location}; remove one")
            locations[name.lower()] = location
    return locations


def _splits(root: Path, folder: str, images: Collection[int]) -> Mapping[int, Split]:
    if folder == VAL:
        return dict.fromkeys(images, "test")
    if not (path := archive_files.find(root, VALIDATION_IDS)):
        return {image_id: "validation" if _fraction(image_id) < VALIDATION_SHARE else "train" for image_id in images}
    lines = archive_files.read_text(path).split()
    if wrong := [line for line in lines if not line.isdecimal() or int(line) not in images]:
        raise ValueError(
            f"{path}: expected numbers of images in {folder}, one a line, {', '.join(wrong[:5])} are none; correct the list"
        )
    listed = {int(line) for line in lines}
    return {image_id: "validation" if image_id in listed else "train" for image_id in images}


def _fraction(image_id: int) -> float:
    """A number from 0 to 1 that depends on the image's id alone."""
    return int.from_bytes(hashlib.sha256(str(image_id).encode()).digest()[:6]) / (1 << 48)


def frames(root: Path, clip_frames: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The one frame of a photo, always RGB: a grey image has three equal channels, an alpha channel is dropped."""
    return image_files.frames(root, clip_frames)


def people(root: Path, location: str, *, masks: bool = False) -> list[Annotation]:
    """The people annotated in an image and its regions of many people, at the location that the index has in `people`.

    Boxes are clipped to the image. Masks are decoded, and checked, only where they are asked for. A faulty annotation is a
    `ValueError`.
    """
    path, _, image_id = location.partition("!")
    return labels.annotations(label_file(archive_files.located(root) / path), int(image_id), masks=masks)


# --- protocol --------------------------------------------------------------------------------------------------------


def protocol(clips: pd.DataFrame, split: str) -> list[Any]:
    """`all` images, `sparse` with one or two people and `crowded` with more; annotated regions of many people do not count."""
    return image_sets.by_person_count(clips, split)
