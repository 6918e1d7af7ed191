"""Scenes rendered into images and annotations as COCO has them.

An annotation has the further keys `activity`, and `amodal`: bbox and segmentation of the whole person, also where others cover
it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from pycocotools import mask as coco_mask

from people.layouts import image_files
from people.records import COCO_KEYPOINTS, SKELETON, RenderedPerson, RenderedScene, Scene, Split

Render = Callable[[Scene], RenderedScene]

FOLDERS: dict[Split, str] = {"train": "train2017", "validation": "train2017", "test": "val2017"}
FEWEST_PIXELS = 30  # of somebody who is annotated
UNLABELLED_HEIGHT_PX = 16  # of a box: keypoints of a person who is smaller are not labelled, as in COCO
CROWD_PEOPLE = 3  # so many such people beside each other, or more, are one region
PERSON_ID = LICENSE_ID = 1
CATEGORY: dict[str, Any] = {
    "supercategory": "person",
    "id": PERSON_ID,
    "name": "person",
    "keypoints": list(COCO_KEYPOINTS),
    "skeleton": [[COCO_KEYPOINTS.index(name) + 1 for name in limb] for limb in SKELETON],
}

_Mask = Bool[np.ndarray, "height width"]


class Photo(NamedTuple):
    """A rendered image: its folder, JPEG file, entry in the annotation file, and annotations, not yet numbered."""

    folder: str
    jpeg: bytes
    image: dict[str, Any]
    annotations: list[dict[str, Any]]


def photograph(scenes: Sequence[Scene], render: Render, jpeg_quality: int) -> list[Photo]:
    """The photos of scenes, in order."""
    return [_photo(scene, render(scene), jpeg_quality) for scene in scenes]


def content(photos: Sequence[Photo]) -> dict[str, Any]:
    """The annotation file of photos."""
    entries = [entry for photo in photos for entry in photo.annotations]
    return {
        "info": {
            "description": "Rendered scenes in the layout of COCO 2017",
            "url": "",
            "version": "1.0",
            "year": 2017,
            "contributor": "",
            "date_created": "",
        },
        "licenses": [{"url": "", "id": LICENSE_ID, "name": "Rendered, no rights reserved"}],
        "images": [photo.image for photo in photos],
        "annotations": [{**entry, "id": number} for number, entry in enumerate(entries, start=1)],
        "categories": [CATEGORY],
    }


def _photo(scene: Scene, rendered: RenderedScene, jpeg_quality: int) -> Photo:
    height_px, width_px = rendered.image_rgb.shape[:2]
    image = {
        "license": LICENSE_ID,
        "file_name": f"{scene.subject_id}.jpg",
        "coco_url": "",
        "height": height_px,
        "width": width_px,
        "date_captured": "",
        "flickr_url": "",
        "id": int(scene.subject_id),
    }
    annotations = [{**entry, "image_id": image["id"]} for entry in annotate(rendered.people)]
    return Photo(FOLDERS[scene.split], image_files.encode_jpeg(rendered.image_rgb, jpeg_quality), image, annotations)


def annotate(people: Sequence[RenderedPerson]) -> list[dict[str, Any]]:
    """The annotations of the people of whom enough is visible, in their order, and then the regions of many small people."""
    visible = [person for person in people if person.visible_mask.sum() >= FEWEST_PIXELS]
    boxes = [_box_xywh_px(person.visible_mask) for person in visible]
    small = [index for index, box in enumerate(boxes) if box[3] < UNLABELLED_HEIGHT_PX]
    crowds = [group for group in _beside_each_other(small, boxes) if len(group) >= CROWD_PEOPLE]
    in_crowds = {index for group in crowds for index in group}
    entries = [_person(visible[index], index in small) for index in range(len(visible)) if index not in in_crowds]
    return entries + [_crowd([visible[index].visible_mask for index in group]) for group in crowds]


def _beside_each_other(indices: Sequence[int], boxes: Sequence[list[float]]) -> list[list[int]]:
    """Boxes (by their indices) in groups: of one group are those between which there is less than the greater one's height."""
    groups: list[list[int]] = []
    for index in indices:
        near = [group for group in groups if any(_gap_px(boxes[index], boxes[other]) < 0 for other in group)]
        groups = [group for group in groups if group not in near] + [
            sorted([index, *(each for group in near for each in group)])
        ]
    return sorted(groups)


def _gap_px(first: list[float], second: list[float]) -> float:
    """The distance of two boxes along the axis on which it is greater, less the greater height."""
    gaps = [
        max(first[axis], second[axis]) - min(first[axis] + first[axis + 2], second[axis] + second[axis + 2]) for axis in (0, 1)
    ]
    return max(gaps) - max(first[3], second[3])


def _person(person: RenderedPerson, is_small: bool) -> dict[str, Any]:
    keypoints = np.where(person.keypoints_px[:, 2:] > 0, person.keypoints_px, 0.0) * (not is_small)
    return {
        **_region(person.visible_mask, keypoints),
        "iscrowd": 0,
        "activity": person.activity,
        "amodal": {"bbox": _box_xywh_px(person.mask), "segmentation": encode_mask(person.mask)},
    }


def _crowd(masks: Sequence[_Mask]) -> dict[str, Any]:
    return {**_region(np.logical_or.reduce(masks), np.zeros((len(COCO_KEYPOINTS), 3))), "iscrowd": 1}


def _region(mask: _Mask, keypoints_px: Float[np.ndarray, "17 3"]) -> dict[str, Any]:
    rows = [[round(float(x), 2), round(float(y), 2), int(visibility)] for x, y, visibility in keypoints_px]
    return {
        "segmentation": encode_mask(mask),
        "num_keypoints": int((keypoints_px[:, 2] > 0).sum()),
        "area": int(mask.sum()),
        "keypoints": [number for row in rows for number in row],
        "bbox": _box_xywh_px(mask),
        "category_id": PERSON_ID,
    }


def encode_mask(mask: _Mask) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths."""
    encoded: Any = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(map(int, encoded["size"])), "counts": encoded["counts"].decode("ascii")}


def _box_xywh_px(mask: _Mask) -> list[float]:
    """Left, top, width and height of the mask's bounds."""
    return [float(number) for number in coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)))]
