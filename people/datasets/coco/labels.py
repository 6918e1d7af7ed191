"""The people annotated in one image, checked: boxes, keypoints, activities and masks."""

from array import array
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pycocotools import mask as coco_mask

from people.datasets.coco.annotations import Image, LabelFile
from people.records import ACTIVITIES, COCO_KEYPOINTS, Activity, Annotation

_LARGEST = 1e9
_MOST_SHIFT = 30  # bits of a run length: more than any image has pixels


def annotations(labels: LabelFile, image_id: int, *, masks: bool) -> list[Annotation]:
    """The annotations of an image in the file's order; a faulty one is an error that names it."""
    if image_id not in labels.images:
        raise ValueError(f"{labels.path}: expected image {image_id}, the file does not list it; ingest the dataset again")
    image, people = labels.images[image_id], []
    for entry in labels.annotations.get(image_id, ()):
        try:
            if entry["id"] in labels.repeated_ids:
                raise ValueError("expected an id of its own, another annotation has the same")
            people.append(_annotation(entry, image, masks))
        except ValueError as error:
            raise ValueError(
                f"{labels.path}: image {image_id}, annotation {entry['id']}: {error}; correct it in the file, or remove the "
                "image from it"
            ) from None
    return people


def _annotation(entry: dict[str, Any], image: Image, masks: bool) -> Annotation:
    area_px = float(_numbers([entry.get("area")], 1, "area")[0])
    if area_px <= 0:
        raise ValueError(f"expected an area of more than 0 pixels, got {area_px}")
    if (is_crowd := entry.get("iscrowd", 0)) not in (0, 1):
        raise ValueError(f"expected iscrowd 0 or 1, got {is_crowd!r}")
    return Annotation(
        annotation_id=entry["id"],
        box_xyxy_px=_box_xyxy_px(entry.get("bbox"), image),
        keypoints_px=_keypoints_px(entry),
        area_px=area_px,
        is_crowd=bool(is_crowd),
        activity=_activity(entry.get("activity")),
        mask=decode_mask(entry.get("segmentation"), image.height_px, image.width_px) if masks else None,
    )


def _numbers(value: Any, count: int, what: str) -> Float[np.ndarray, " count"]:
    is_list = isinstance(value, list) and all(type(each) in (int, float) for each in value)
    if not is_list and not isinstance(value, array):
        raise ValueError(f"expected {what} as {count} numbers, got {str(value)[:80]!r}")
    if len(value) != count:
        raise ValueError(f"expected {what} as {count} numbers, got {len(value)}")
    if wrong := [each for each in value if not abs(each) < _LARGEST]:  # NaN too
        raise ValueError(f"expected finite numbers below {_LARGEST:g} in {what}, got {str(wrong[0])[:80]}")
    return np.array(value, dtype=float)


def _box_xyxy_px(value: Any, image: Image) -> Float[np.ndarray, " 4"]:
    """The box of [left, top, width, height], without what lies outside the image."""
    left, top, width, height = _numbers(value, 4, "bbox")
    if width <= 0 or height <= 0:
        raise ValueError(f"expected a bbox with a width and a height of more than 0, got {list(value)}")
    bounds = np.array([image.width_px, image.height_px] * 2)
    box = np.clip([left, top, left + width, top + height], 0, bounds)
    if (box[2:] <= box[:2]).any():
        raise ValueError(
            f"expected a bbox that overlaps the image of {image.width_px}x{image.height_px} pixels, got {list(value)}"
        )
    return box


def _keypoints_px(entry: dict[str, Any]) -> Float[np.ndarray, "17 3"]:
    """Keypoints outside the image remain where they are; those that are not labelled are (0, 0, 0)."""
    keypoints = _numbers(entry.get("keypoints"), 3 * len(COCO_KEYPOINTS), "keypoints").reshape(-1, 3)
    visibility = keypoints[:, 2]
    if not np.isin(visibility, (0, 1, 2)).all():
        wrong = visibility[~np.isin(visibility, (0, 1, 2))][0]
        raise ValueError(f"expected visibility 0, 1 or 2 of every keypoint, got {wrong:g}")
    labelled = visibility > 0
    count = entry.get("num_keypoints", int(labelled.sum()))
    if count == 0:
        return np.zeros_like(keypoints)
    if count != labelled.sum():
        raise ValueError(f"expected num_keypoints {labelled.sum()}, the keypoints of visibility 1 and 2, or 0, got {count!r}")
    return np.where(labelled[:, None], keypoints, 0.0)


def _activity(value: Any) -> Activity | None:
    if value is None:
        return None
    for activity in ACTIVITIES:
        if value == activity:
            return activity
    raise ValueError(f"expected an activity of {', '.join(ACTIVITIES)}, got {value!r}")


# --- masks -----------------------------------------------------------------------------------------------------------


def decode_mask(segmentation: Any, height_px: int, width_px: int) -> Bool[np.ndarray, "height width"] | None:
    """The mask of polygons, of run lengths or of their compressed text; None where there is none."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size != [height_px, width_px]:
            raise ValueError(f"expected a segmentation of size {[height_px, width_px]}, got {size}")
        lengths = _run_lengths(counts) if isinstance(counts, str) else counts
        return _decode_runs(lengths, height_px, width_px)
    if not isinstance(segmentation, list):
        raise ValueError(f"expected a segmentation of polygons or of run lengths, got {str(segmentation)[:80]!r}")
    polygons: Any = [_polygon(polygon, height_px, width_px) for polygon in segmentation]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height_px, width_px))).astype(bool)


def _polygon(value: Any, height_px: int, width_px: int) -> list[float]:
    if not isinstance(value, list | array) or len(value) < 6 or len(value) % 2:
        raise ValueError(f"expected polygons of at least 3 points x, y, got {str(value)[:80]!r}")
    corners = _numbers(value, len(value), "a polygon").reshape(-1, 2)
    size = np.array([width_px, height_px])
    if ((corners < -size) | (corners > 2 * size)).any():  # its outline would be drawn pixel by pixel
        raise ValueError(
            f"expected polygons within the image of {width_px}x{height_px} pixels, got one that reaches far outside"
        )
    return corners.ravel().tolist()


def _decode_runs(lengths: Any, height_px: int, width_px: int) -> Bool[np.ndarray, "height width"]:
    """The mask of run lengths of background and foreground in turn, down the columns from left to right."""
    numbers = _numbers(lengths, len(lengths), "run lengths") if isinstance(lengths, list | array) else None
    if numbers is None or (numbers < 0).any() or (numbers % 1).any() or numbers.sum() != height_px * width_px:
        raise ValueError(
            f"expected run lengths (whole numbers, not below 0) of {height_px * width_px} pixels in all, got "
            f"{'other data' if numbers is None else f'{numbers.sum():g}'}"
        )
    foreground = np.repeat(np.arange(len(numbers)) % 2 == 1, numbers.astype(np.int64))
    return np.ascontiguousarray(foreground.reshape(width_px, height_px).T)


def _run_lengths(text: str) -> list[int]:
    """Run lengths of COCO's text: five bits a character, lowest first; from the fourth on differences to the last but one."""
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > _MOST_SHIFT:
            raise ValueError(f"expected the text of run lengths, got {character!r} in it")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("expected the text of run lengths, it ends inside a number")
    return lengths
