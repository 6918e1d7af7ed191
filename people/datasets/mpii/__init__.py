"""MPII Human Pose [Andriluka et al., CVPR 2014]: images of people in everyday activities, with 16 joints of each.

<root>/mpii_human_pose_v1_u12_1.mat   the official labels, or in the folder mpii_human_pose_v1_u12_2
<root>/mpii_joints_activities.csv     or a table of them
<root>/images/015601864.jpg           may be missing where only the labels are of use (`poses`)

Only the images of the official training set have labels: they are divided into train, validation and test by a hash of their
video, or of their name where no file says from which video they are. Nobody is rendered into this layout.
"""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8

from people.datasets.mpii.activities import activity_of
from people.datasets.mpii.labels import JOINTS, Person, Poses, find, label_file, poses
from people.layouts import files, image_files, image_sets, limits
from people.records import COCO_KEYPOINTS, Annotation, Split

__all__ = ["JOINTS", "Poses", "activity_of", "frames", "people", "poses", "protocol", "read"]

IMAGES = "images"
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2
HEIGHT_PX = 200  # of a person of scale 1
MARGIN = 0.1  # of a person's height, between the joints and the edge of the box, which MPII does not have
AREA_OF_BOX = 0.53  # the share of a box that the person covers, as is usual for layouts without masks
_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")  # MPII has no keypoints of the face
_SAME_JOINTS = [name for name in COCO_KEYPOINTS if name.rpartition("_")[2] in _LIMBS]
_HEADER_BYTES = 1 << 20  # in which an image file states its size
_LOG = logging.getLogger(__name__)


# --- read ------------------------------------------------------------------------------------------------------------


def read(root: Path) -> pd.DataFrame:
    """The index: one row per image with labels, in order of their names; what is left out is counted in a warning.

    Where there are no images the rows are there too, for their labels.
    """
    path, folder = find(root), _folder(root)
    labels = label_file(path)
    rows = []
    for image, listed in sorted(labels.people.items()):
        path_of_image = _image(folder, image)
        height_px, width_px = _size_px(path_of_image)
        rows.append(
            {
                "dataset": "mpii",
                "clip_id": Path(image).stem,
                "subject_id": Path(image).stem,  # nobody is known by name
                "split": _split(f"video {labels.videos[image]}" if labels.videos[image] else image),
                "sequence": IMAGES,
                "condition": "scene",
                "session": 0,
                "view_deg": float("nan"),
                "gender": None,
                "age_years": float("nan"),
                "frames": path_of_image.relative_to(root).as_posix(),
                "people": f"{path.relative_to(root).as_posix()}!{image}",
                "person_count": len(listed),
                "frame_count": 1,
                "frame_rate_hz": float("nan"),
                "height_px": height_px,
                "width_px": width_px,
                "license": "",
                "root": str(root),
            }
        )
    if not rows:
        raise ValueError(f"{path}: expected images with labelled people, it has none; fetch the file again")
    without_file = sum(row["height_px"] == 0 for row in rows)
    for what, count in {**labels.left_out, f"images without a readable file in {IMAGES}": without_file}.items():
        if count:
            _LOG.warning("%s: %d %s", path, count, what)
    return pd.DataFrame(rows).astype({"gender": "str", **dict.fromkeys(("view_deg", "age_years", "frame_rate_hz"), float)})


def _split(key: str) -> Split:
    fraction = int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) / (1 << 48)
    if fraction < TEST_SHARE:
        return "test"
    return "validation" if fraction < TEST_SHARE + VALIDATION_SHARE else "train"


def _folder(root: Path) -> Path:
    """The folder of images, where there is one."""
    return files.find(root, IMAGES) or root / IMAGES


def _image(folder: Path, name: str) -> Path:
    """The file of an image, whose ending may be in upper or lower case."""
    path = folder / name
    endings = (path.suffix, path.suffix.lower(), path.suffix.upper())
    return next((each for each in map(path.with_suffix, endings) if each.is_file()), path)


def _size_px(path: Path) -> tuple[int, int]:
    """Height and width as an image file states them; both 0 where there is none."""
    if not path.is_file():
        return 0, 0
    with path.open("rb") as file:
        return limits.image_size_px(file.read(_HEADER_BYTES)) or (0, 0)


def frames(root: Path, clip_frames: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The one frame of an image, always RGB; an error where only the labels are there."""
    folder = _folder(files.located(root))
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: expected the images of MPII Human Pose, there are none, only labels; unpack mpii_human_pose_v1.tar.gz "
            "there"
        )
    return image_files.frames(root, clip_frames)


# --- people ----------------------------------------------------------------------------------------------------------


def people(root: Path, location: str, *, masks: bool = False) -> list[Annotation]:
    """The people labelled in an image: twelve joints of COCO's keypoints, in boxes around all joints; MPII has no `masks`.

    Who has a position without joints has a box around it, as high as the person, and no labelled keypoints.
    """
    root = files.located(root)
    name, _, image = location.partition("!")
    labels = label_file(root / name)
    if image not in labels.people:
        raise ValueError(f"{root / name}: expected labels of the image {image}, it has none; ingest the dataset again")
    height_px, width_px = _size_px(_image(_folder(root), image))
    bounds_px = np.array([width_px or np.inf, height_px or np.inf], dtype=float)
    activity = activity_of(*labels.activities[image])
    annotations = []
    for number, person in enumerate(labels.people[image], start=1):
        box = _box_xyxy_px(person, bounds_px)
        if (box[2:] <= box[:2]).any():
            raise ValueError(
                f"{root / name}: image {image}, person {number}: expected joints or a position within the image of "
                f"{width_px}x{height_px} pixels, got a box {box.tolist()}; correct it, or remove the image"
            )
        area_px = AREA_OF_BOX * float(np.prod(box[2:] - box[:2]))
        annotations.append(Annotation(number, box, _keypoints_px(person), area_px, activity=activity))
    return annotations


def _box_xyxy_px(person: Person, bounds_px: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 4"]:
    height_px = HEIGHT_PX * person.scale
    if np.isnan(person.joints_px).all():
        low, high = person.position_px - height_px / 2, person.position_px + height_px / 2
    else:
        low, high = np.nanmin(person.joints_px, axis=0), np.nanmax(person.joints_px, axis=0)
        margin_px = MARGIN * (max(high - low) if np.isnan(height_px) else height_px)
        low, high = low - margin_px, high + margin_px
    return np.concatenate([np.clip(low, 0, bounds_px), np.clip(high, 0, bounds_px)])


def _keypoints_px(person: Person) -> Float[np.ndarray, "17 3"]:
    keypoints = np.zeros((len(COCO_KEYPOINTS), 3))
    for name in _SAME_JOINTS:
        joint = JOINTS.index(name)
        if not np.isnan(person.joints_px[joint]).any():
            keypoints[COCO_KEYPOINTS.index(name)] = *person.joints_px[joint], 1 if person.is_hidden[joint] else 2
    return keypoints


# --- protocol --------------------------------------------------------------------------------------------------------


def protocol(clips: pd.DataFrame, split: str) -> list[Any]:
    """`all` images, `sparse` with one or two labelled people and `crowded` with more."""
    return image_sets.by_person_count(clips, split)
