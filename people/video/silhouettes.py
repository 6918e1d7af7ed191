"""The walking person's silhouette in every frame of a clip, and the normalised picture of it that gait networks look at.

A mask is uint8 (height, width): 0 background, 255 person, values between where it is soft.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int32, Shaped, UInt8

from people.video import background
from people.video.flow import one_thread

LEAST_SUM, LEAST_SUM_OF_HW = 10_000, (240, 320)  # the published limit, and the frames that it was published for
HALF = 128  # of 255: where a soft mask turns from background to person

METHODS = ("background", "maskrcnn", "layout")


@dataclass(frozen=True)
class Config:
    """How silhouettes are made: by which method, whether grey values are kept, and the size of the normalised picture.

    `soft` keeps the method's grey values; otherwise masks are binary, as in the published pretreatment. `weights` is the file
    that Mask R-CNN is read from ("": torch's cache of downloaded weights).
    """

    method: str
    size_hw: Sequence[int]
    soft: bool
    weights: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_hw", tuple(self.size_hw))
        rules = {
            "method": (self.method in METHODS, f"one of {', '.join(METHODS)}"),
            "size_hw": (len(self.size_hw) == 2 and min(self.size_hw) >= 8, "[height, width] of at least 8 px"),
        }
        for name, (kept, rule) in rules.items():
            if not kept:
                raise ValueError(f"silhouettes: {name} must be {rule}, got {getattr(self, name)!r}; correct params.yaml")


class Silhouettes(NamedTuple):
    """Normalised pictures of the frames that show a person, what part of its frame each shows, and which frames they are."""

    silhouette: UInt8[np.ndarray, "kept height width"]
    box: Float[np.ndarray, "kept 4"]
    frame: Int32[np.ndarray, "kept 1"]


def found_masks(
    frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]],
    empty_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]],
    config: Config,
) -> Iterator[UInt8[np.ndarray, "_ _"]]:
    """The person's mask in every frame, by background subtraction (`empty_rgb`: the empty scene, or nothing) or Mask R-CNN."""
    if config.method == "maskrcnn":
        from people.video import detectors  # torchvision takes seconds to import

        shares = detectors.person_masks(frames_rgb, detectors.weights_file("maskrcnn", config.weights))
    else:
        with one_thread():
            shares = background.person_masks(_stacked(frames_rgb), _stacked(empty_rgb))
    for share in shares:
        grey = np.rint(255 * share).astype(np.uint8)
        yield grey if config.soft else binary(grey)


def normalised(masks: Iterable[Shaped[np.ndarray, "..."]], config: Config) -> Silhouettes:
    """The published pretreatment of every mask; frames without a person are left out, so there may be none."""
    kept = []
    with one_thread():
        for index, mask in enumerate(masks):
            checked = checked_mask(mask, index)
            picture = normalised_mask(checked if config.soft else binary(checked), config.size_hw)
            kept += [(*picture, index)] if picture else []
    height, width = config.size_hw
    pictures, boxes, frames = zip(*kept, strict=True) if kept else ((), (), ())
    return Silhouettes(
        np.array(pictures, np.uint8).reshape(-1, height, width),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(frames, np.int32).reshape(-1, 1),
    )


def normalised_mask(
    mask: UInt8[np.ndarray, "rows columns"], size_hw: Sequence[int]
) -> tuple[UInt8[np.ndarray, "height width"], Float[np.ndarray, " 4"]] | None:
    """The rows that show the person, resized to `height`, and `width` columns round the one where half of the mass is reached.

    With it the box (x0, y0, x1, y1) of the frame, in pixels, that the picture shows; it may leave the frame. None where the
    mask's sum is at most 10,000 for a frame of 240x320, in proportion for others.
    """
    height, width = size_hw
    if int(cv2.sumElems(mask)[0]) <= LEAST_SUM * mask.size / (LEAST_SUM_OF_HW[0] * LEAST_SUM_OF_HW[1]):
        return None
    rows = np.flatnonzero(cv2.reduce(mask, 1, cv2.REDUCE_MAX))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = mask.shape[1]
    wide = max(int(height * columns / (bottom - top)), 1)
    tall = cv2.resize(mask[top:bottom], (wide, height), interpolation=cv2.INTER_CUBIC)
    mass = tall.sum(axis=0, dtype=np.int64).cumsum()
    left = int(np.argmax(mass > mass[-1] / 2)) - width // 2
    picture = np.pad(tall, ((0, 0), (width, width)))[:, width + left : 2 * width + left]
    per_column = columns / wide
    return picture, np.array([left * per_column, top, (left + width) * per_column, bottom], np.float32)


def overlap(
    found: Iterable[UInt8[np.ndarray, "_ _"]], true: Iterable[Shaped[np.ndarray, "..."]]
) -> Float[np.ndarray, " frame"]:
    """Intersection over union of two masks of each frame, NaN where neither shows anybody."""
    ratios = []
    for index, (one, other) in enumerate(zip(found, true, strict=True)):
        expected = checked_mask(other, index)
        if one.shape != expected.shape:
            raise ValueError(
                f"frame {index} is {one.shape} px and its mask in the layout {expected.shape}: expected one size; replace the "
                "masks, or leave them out of the dataset's folder"
            )
        first, second = one >= HALF, expected >= HALF
        union = np.count_nonzero(first | second)
        ratios.append(np.count_nonzero(first & second) / union if union else np.nan)
    return np.array(ratios, np.float64)


def binary(mask: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """255 where a mask has at least half of it, else 0."""
    return np.where(mask >= HALF, np.uint8(255), np.uint8(0))


def checked_mask(mask: Shaped[np.ndarray, "..."], index: int) -> UInt8[np.ndarray, "height width"]:
    """The mask, refused where it is no grey picture of 8 bits."""
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError(
            f"mask {index} is {mask.dtype} of shape {mask.shape}: expected uint8 (height, width), 0 for background and 255 for "
            "the person; convert the files"
        )
    return mask


def _stacked(frames: Iterable[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "frame height width 3"]:
    listed = list(frames)
    sizes = {frame.shape for frame in listed}
    if len(sizes) > 1:
        raise ValueError(f"the frames of a clip have one size, got {sorted(sizes)}; replace the ones that differ")
    return np.stack(listed) if listed else np.zeros((0, 1, 1, 3), np.uint8)
