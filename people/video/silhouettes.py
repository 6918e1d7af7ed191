"""The walking person's mask in every frame of a clip, and its normalised silhouette, the input of gait networks.

A mask is uint8 (height, width): 0 background, 255 person, values between where it is soft.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int32, UInt8

from people.video import background
from people.video.flow import single_threaded
from people.video.masks import Fault, Mask, binarise, person_threshold

MIN_MASK_SUM, MIN_MASK_SUM_HW = 10_000, (240, 320)  # the published limit, and the frame size that it holds for when scaled
MAX_CLIP_BYTES = 4 << 30  # of a clip's frames, which background subtraction holds in memory

METHODS = ("background", "maskrcnn", "mediapipe", "layout")
PRETREATMENTS = ("scaled", "published")


@dataclass(frozen=True)
class Config:
    """How silhouettes are computed: the method, whether grey values are kept, the pretreatment and the normalised size.

    `pretreatment: published` is that of GaitSet and OpenGait, pixel by pixel: masks as they are, frames whose mask sums to at
    most 10,000 left out whatever their size. `scaled` makes masks binary and scales that limit from 240x320 to the size of the
    frame. `soft` keeps the grey values that the method computes, and with `scaled` those of the layout's masks. `weights` is
    the file with the weights of Mask R-CNN, or of MediaPipe's landmark model ("": torch's cache of downloaded weights).
    """

    method: str
    size_hw: Sequence[int]
    soft: bool
    pretreatment: str
    weights: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_hw", tuple(self.size_hw))
        rules = {
            "method": (self.method in METHODS, f"one of {', '.join(METHODS)}"),
            "size_hw": (len(self.size_hw) == 2 and min(self.size_hw) >= 8, "[height, width] of at least 8 px"),
            "pretreatment": (self.pretreatment in PRETREATMENTS, f"one of {', '.join(PRETREATMENTS)}"),
        }
        for name, (is_valid, rule) in rules.items():
            if not is_valid:
                raise ValueError(f"silhouettes: {name} must be {rule}, got {getattr(self, name)!r}; correct params.yaml")

    def min_sum(self, mask: Mask) -> float:
        """The sum that a mask of this size has to exceed, or its frame is left out."""
        share = mask.height * mask.width / (MIN_MASK_SUM_HW[0] * MIN_MASK_SUM_HW[1]) if self.pretreatment == "scaled" else 1.0
        return MIN_MASK_SUM * share


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
    """The person's mask in every frame, by a trained model or by background subtraction (`empty_rgb`: empty scene, or none)."""
    if config.method == "maskrcnn":
        from people.video import detectors  # torchvision takes seconds to import

        scores = detectors.person_masks(frames_rgb, detectors.weights_file("maskrcnn", config.weights))
    elif config.method == "mediapipe":
        from people.video import mediapipe  # its models are not needed otherwise

        scores = mediapipe.person_masks(frames_rgb, mediapipe.weights_files(config.weights))
    else:
        with single_threaded():
            scores = background.person_masks(_stack(frames_rgb), _stack(empty_rgb))
    for score in scores:
        grey = np.rint(255 * score).astype(np.uint8)
        yield grey if config.soft else binarise(grey)


def normalise_masks(masks: Sequence[Mask], config: Config) -> Silhouettes:
    """The normalised silhouettes of all masks (`normalise_mask`) but those without a person; there may be none left."""
    samples = []
    threshold = person_threshold(masks) if config.pretreatment == "scaled" and not config.soft else None
    with single_threaded():
        for index, mask in enumerate(masks):
            binary = mask if threshold is None else mask._replace(pixels=binarise(mask.pixels, threshold))
            silhouette = normalise_mask(binary, config)
            samples += [(*silhouette, index)] if silhouette else []
    height, width = config.size_hw
    silhouettes, boxes, frames = zip(*samples, strict=True) if samples else ((), (), ())
    return Silhouettes(
        np.array(silhouettes, np.uint8).reshape(-1, height, width),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(frames, np.int32).reshape(-1, 1),
    )


def normalise_mask(mask: Mask, config: Config) -> tuple[UInt8[np.ndarray, "height width"], Float[np.ndarray, " 4"]] | None:
    """The published pretreatment: the person's rows resized to `height`, `width` columns around the median of the mass.

    With it the box (x0, y0, x1, y1; px) of the frame that the silhouette shows; it may leave the frame. None where the mask's
    sum is not above `config.min_sum`.
    """
    height, width = config.size_hw
    if mask.pixels.size == 0 or int(cv2.sumElems(mask.pixels)[0]) <= config.min_sum(mask):
        return None
    rows = np.flatnonzero(mask.pixels.any(axis=1))
    person = mask.pixels[rows[0] : rows[-1] + 1]
    top, bottom = mask.top + int(rows[0]), mask.top + int(rows[-1]) + 1
    whole_rows = np.zeros((bottom - top, mask.width), np.uint8)  # resized as a whole: the grid of columns depends on the width
    whole_rows[:, mask.left : mask.left + person.shape[1]] = person
    resized_width = max(int(height * (mask.width / (bottom - top))), 1)  # in the published order of operations
    resized = cv2.resize(whole_rows, (resized_width, height), interpolation=cv2.INTER_CUBIC)
    mass = resized.sum(axis=0, dtype=np.int64).cumsum()
    centre = int(np.argmax(mass > mass[-1] / 2)) if mass[-1] else resized_width // 2
    left = centre - width // 2
    silhouette = np.pad(resized, ((0, 0), (width, width)))[:, width + left : 2 * width + left]
    scale = mask.width / resized_width
    return silhouette, np.array([left * scale, top, (left + width) * scale, bottom], np.float32)


def too_small(masks: Sequence[Mask], config: Config) -> Fault:
    """The fault of a clip whose masks all sum to too little for a silhouette."""
    largest = max(masks, key=lambda mask: mask.pixels.sum())
    return Fault(
        f"a mask of the clip sums to more than {config.min_sum(largest):,.0f} for {largest.width}x{largest.height} pixels",
        f"at most {largest.pixels.sum():,}",
        "add frames that show the person larger"
        + ("" if config.pretreatment == "scaled" else ", or choose `pretreatment: scaled`, made for small frames"),
    )


def _stack(frames: Iterable[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "frame height width 3"]:
    stacked: list[np.ndarray] = []
    for frame in frames:
        stacked.append(frame)
        if len(stacked) * frame.nbytes > MAX_CLIP_BYTES:
            raise ValueError(
                f"its first {len(stacked)} frames take {MAX_CLIP_BYTES >> 30} GiB, more than background subtraction holds in "
                "memory; cut it into shorter clips"
            )
    sizes = {frame.shape for frame in stacked}
    if len(sizes) > 1:
        raise ValueError(f"the frames of a clip have one size, got {sorted(sizes)}; replace the ones that differ")
    return np.stack(stacked) if stacked else np.zeros((0, 1, 1, 3), np.uint8)
