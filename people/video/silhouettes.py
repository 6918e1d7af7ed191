"""The walking person's mask in every frame of a clip, and its normalised silhouette, the input of gait networks.

A mask is uint8 (height, width): 0 background, 255 person, values between where it is soft.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int32, Shaped, UInt8

from people.video import background
from people.video.flow import single_threaded

MIN_MASK_SUM, MIN_MASK_SUM_HW = 10_000, (240, 320)  # the published limit, and the frame size that it holds for
MASK_THRESHOLD = 128  # of 255: least value of the person in a soft mask

METHODS = ("background", "maskrcnn", "layout")


@dataclass(frozen=True)
class Config:
    """How silhouettes are computed: the method, whether grey values are kept, and the normalised size.

    `soft` keeps the method's grey values; otherwise masks are binary, as in the published pretreatment. `weights` is the file
    with the weights of Mask R-CNN ("": torch's cache of downloaded weights).
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
        for name, (is_valid, rule) in rules.items():
            if not is_valid:
                raise ValueError(f"silhouettes: {name} must be {rule}, got {getattr(self, name)!r}; correct params.yaml")


class Silhouettes(NamedTuple):
    """Normalised silhouettes of the frames that show a person, with box (x0, y0, x1, y1; px) and number of each frame."""

    silhouette: UInt8[np.ndarray, "silhouette height width"]
    box: Float[np.ndarray, "silhouette 4"]
    frame: Int32[np.ndarray, "silhouette 1"]


def segment_person(
    frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]],
    empty_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]],
    config: Config,
) -> Iterator[UInt8[np.ndarray, "_ _"]]:
    """The person's mask in every frame, by background subtraction (`empty_rgb`: empty scene, or no frames) or Mask R-CNN."""
    if config.method == "maskrcnn":
        from people.video import detectors  # torchvision takes seconds to import

        scores = detectors.person_masks(frames_rgb, detectors.weights_file("maskrcnn", config.weights))
    else:
        with single_threaded():
            scores = background.person_masks(_stack(frames_rgb), _stack(empty_rgb))
    for score in scores:
        grey = np.rint(255 * score).astype(np.uint8)
        yield grey if config.soft else binarise(grey)


def normalise_masks(masks: Iterable[Shaped[np.ndarray, "..."]], config: Config) -> Silhouettes:
    """The normalised silhouettes of all masks (`normalise_mask`) but those without a person; there may be none left."""
    samples = []
    with single_threaded():
        for index, mask in enumerate(masks):
            validated = validate_mask(mask, index)
            silhouette = normalise_mask(validated if config.soft else binarise(validated), config.size_hw)
            samples += [(*silhouette, index)] if silhouette else []
    height, width = config.size_hw
    silhouettes, boxes, frames = zip(*samples, strict=True) if samples else ((), (), ())
    return Silhouettes(
        np.array(silhouettes, np.uint8).reshape(-1, height, width),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(frames, np.int32).reshape(-1, 1),
    )


def normalise_mask(
    mask: UInt8[np.ndarray, "rows columns"], size_hw: Sequence[int]
) -> tuple[UInt8[np.ndarray, "height width"], Float[np.ndarray, " 4"]] | None:
    """The published pretreatment: the person's rows resized to `height`, `width` columns around the median of the mass.

    With it the box (x0, y0, x1, y1; px) of the frame that the silhouette shows; it may leave the frame. None where the
    mask's sum is at most 10,000 for a frame of 240x320, in proportion for others.
    """
    height, width = size_hw
    if int(cv2.sumElems(mask)[0]) <= MIN_MASK_SUM * mask.size / (MIN_MASK_SUM_HW[0] * MIN_MASK_SUM_HW[1]):
        return None
    rows = np.flatnonzero(cv2.reduce(mask, 1, cv2.REDUCE_MAX))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = mask.shape[1]
    resized_width = max(int(height * columns / (bottom - top)), 1)
    resized = cv2.resize(mask[top:bottom], (resized_width, height), interpolation=cv2.INTER_CUBIC)
    mass = resized.sum(axis=0, dtype=np.int64).cumsum()
    left = int(np.argmax(mass > mass[-1] / 2)) - width // 2
    silhouette = np.pad(resized, ((0, 0), (width, width)))[:, width + left : 2 * width + left]
    scale = columns / resized_width
    return silhouette, np.array([left * scale, top, (left + width) * scale, bottom], np.float32)


def mask_iou(
    predicted: Iterable[UInt8[np.ndarray, "_ _"]], true: Iterable[Shaped[np.ndarray, "..."]]
) -> Float[np.ndarray, " frame"]:
    """Intersection over union of the predicted and the true mask of each frame, NaN where both are empty."""
    ratios = []
    for index, (mask, true_mask) in enumerate(zip(predicted, true, strict=True)):
        expected = validate_mask(true_mask, index)
        if mask.shape != expected.shape:
            raise ValueError(
                f"frame {index} is {mask.shape} px and its mask in the layout {expected.shape}: expected one size; replace the "
                "masks, or leave them out of the dataset's folder"
            )
        first, second = mask >= MASK_THRESHOLD, expected >= MASK_THRESHOLD
        union = np.count_nonzero(first | second)
        ratios.append(np.count_nonzero(first & second) / union if union else np.nan)
    return np.array(ratios, np.float64)


def binarise(mask: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """255 where the mask is at least `MASK_THRESHOLD`, else 0."""
    return np.where(mask >= MASK_THRESHOLD, np.uint8(255), np.uint8(0))


def validate_mask(mask: Shaped[np.ndarray, "..."], index: int) -> UInt8[np.ndarray, "height width"]:
    """The mask itself; ValueError where it is not a grey image of 8 bits."""
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise ValueError(
            f"mask {index} is {mask.dtype} of shape {mask.shape}: expected uint8 (height, width), 0 for background and 255 for "
            "the person; convert the files"
        )
    return mask


def _stack(frames: Iterable[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "frame height width 3"]:
    frames = list(frames)
    sizes = {frame.shape for frame in frames}
    if len(sizes) > 1:
        raise ValueError(f"the frames of a clip have one size, got {sorted(sizes)}; replace the ones that differ")
    return np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8)
