"""Images of several people at one size, with the regions of people whose keypoints are not labelled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from people.records import ACTIVITIES, Annotation

MASK_STRIDE = 4  # of the stored regions: a cell for so many pixels of the image in each direction
FIELDS = ("box", "keypoints", "area", "is_crowd", "activity", "annotation")


@dataclass(frozen=True)
class Config:
    """The size at which images are stored: larger ones are reduced to fit, smaller ones are not enlarged; the rest is black."""

    size_hw: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_hw", tuple(self.size_hw))
        if len(self.size_hw) != 2 or min(self.size_hw) < 32 or any(side % MASK_STRIDE for side in self.size_hw):
            raise ValueError(
                f"scenes: size_hw must be [height, width] of at least 32 px, multiples of {MASK_STRIDE}, got {self.size_hw}; "
                "correct params.yaml"
            )


class Scene(NamedTuple):
    """An image as it is stored, how many stored pixels one of its own has become, and the stored size of its content."""

    image: UInt8[np.ndarray, "height width 3"]
    scale: float
    content_hw: tuple[int, int]


def fit(image_rgb: UInt8[np.ndarray, "_ _ 3"], size_hw: tuple[int, int]) -> Scene:
    """The image in the upper left corner of one of this size, reduced as far as it must be (each pixel the mean of its own)."""
    height, width = image_rgb.shape[:2]
    scale = min(1.0, size_hw[0] / height, size_hw[1] / width)
    content_hw = (max(1, round(scale * height)), max(1, round(scale * width)))
    if scale < 1:
        image_rgb = cv2.resize(image_rgb, content_hw[::-1], interpolation=cv2.INTER_AREA)
    stored = np.zeros((*size_hw, 3), np.uint8)
    stored[: content_hw[0], : content_hw[1]] = image_rgb
    return Scene(stored, scale, content_hw)


def ignored(people: Sequence[Annotation], scene: Scene) -> UInt8[np.ndarray, "row column"]:
    """How much of each cell of `MASK_STRIDE` pixels a side people, or a crowd, without labelled keypoints cover, 255 for all of
    it: by their masks where they have some, else their boxes.
    """
    height, width = scene.image.shape[:2]
    covered = np.zeros((height, width), np.uint8)
    for person in people:
        if (person.keypoints_px[:, 2] > 0).any():
            continue
        if person.mask is not None:
            mask = cv2.resize(person.mask.astype(np.uint8), scene.content_hw[::-1], interpolation=cv2.INTER_AREA)
            covered[: scene.content_hw[0], : scene.content_hw[1]] |= np.asarray(mask, np.uint8)
        else:
            left, top, right, bottom = np.round(scene.scale * person.box_xyxy_px).astype(int)
            covered[top:bottom, left:right] = 1
    cells = covered.reshape(height // MASK_STRIDE, MASK_STRIDE, width // MASK_STRIDE, MASK_STRIDE)
    return np.round(255 * cells.mean(axis=(1, 3))).astype(np.uint8)


def arrays(people: Sequence[Annotation], scale: float) -> dict[str, np.ndarray]:
    """The people of an image as arrays with one row each, in pixels of the stored image; activity -1 is not known."""
    return {
        "box": _stacked([scale * person.box_xyxy_px for person in people], (4,)),
        "keypoints": _stacked([_scaled(person.keypoints_px, scale) for person in people], (17, 3)),
        "area": _stacked([[scale**2 * person.area_px] for person in people], (1,)),
        "is_crowd": np.array([[person.is_crowd] for person in people], np.uint8).reshape(-1, 1),
        "activity": np.array([[_code(person)] for person in people], np.int8).reshape(-1, 1),
        "annotation": np.array([[person.annotation_id] for person in people], np.int64).reshape(-1, 1),
    }


def _scaled(keypoints_px: Float[np.ndarray, "17 3"], scale: float) -> Float[np.ndarray, "17 3"]:
    return np.concatenate([scale * keypoints_px[:, :2], keypoints_px[:, 2:]], axis=1)


def _code(person: Annotation) -> int:
    return -1 if person.activity is None else ACTIVITIES.index(person.activity)


def _stacked(rows: Sequence[np.ndarray | list[float]], shape: tuple[int, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, *shape)
