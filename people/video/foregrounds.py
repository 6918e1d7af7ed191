"""A person on black: the frame's colours round the person, multiplied by the silhouette as a soft mask.

A box is (x0, y0, x1, y1) in px, with the edges of pixels at whole numbers: the first pixel of a row reaches from 0 to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Shaped, UInt8


@dataclass(frozen=True)
class Config:
    """The size at which foregrounds are stored; its aspect ratio is that of the region of the frame that they show."""

    size_hw: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_hw", tuple(self.size_hw))
        if len(self.size_hw) != 2 or min(self.size_hw) < 8:
            raise ValueError(
                f"foregrounds: size_hw must be [height, width] of at least 8 px, got {self.size_hw}; correct params.yaml"
            )


class Foreground(NamedTuple):
    """A person on black, and the soft mask that the frame was multiplied by, 255 where all of it is shown."""

    picture: UInt8[np.ndarray, "height width 3"]
    mask: UInt8[np.ndarray, "height width"]


def region(box_xyxy_px: Float32[np.ndarray, " 4"], size_hw: Sequence[int]) -> Float32[np.ndarray, " 4"]:
    """The box with the rows and the middle column of another one, and the aspect ratio of `size_hw`; it may leave the frame."""
    x0, y0, x1, y1 = box_xyxy_px.astype(np.float64)
    half_width = (y1 - y0) * size_hw[1] / size_hw[0] / 2
    middle = (x0 + x1) / 2
    return np.array([middle - half_width, y0, middle + half_width, y1], np.float32)


def foreground(
    frame_rgb: UInt8[np.ndarray, "rows columns 3"],
    silhouette: UInt8[np.ndarray, "silhouette_height silhouette_width"],
    silhouette_box_xyxy_px: Float32[np.ndarray, " 4"],
    shown_xyxy_px: Float32[np.ndarray, " 4"],
    size_hw: Sequence[int],
) -> Foreground:
    """What the frame shows in the box `shown_xyxy_px`, times silhouette / 255, rounded once; black outside of either.

    The silhouette shows the frame's box `silhouette_box_xyxy_px`. Both are resampled to `size_hw` by `resample`.
    """
    x0, y0, x1, y1 = silhouette_box_xyxy_px.astype(np.float64)
    origin, extent = np.array([x0, y0, x0, y0]), np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
    height, width = silhouette.shape
    shown = shown_xyxy_px.astype(np.float64)
    shown_in_silhouette = (shown - origin) / extent * np.array([width, height, width, height])
    mask = resample(silhouette, shown_in_silhouette, size_hw)
    picture = np.rint(resample(frame_rgb, shown, size_hw) * (mask[..., None] / 255)).astype(np.uint8)
    return Foreground(picture, np.rint(mask).astype(np.uint8))


def resample(
    image: Shaped[np.ndarray, "rows columns *channels"], box_xyxy_px: Float64[np.ndarray, " 4"], size_hw: Sequence[int]
) -> Float64[np.ndarray, "height width *channels"]:
    """An image's box at another size; 0 outside of the image.

    Along each axis a pixel is the mean of the image over the pixel's extent where the box shrinks (no aliasing), and over one
    pixel of the image round its centre where the box grows: linear interpolation.
    """
    x0, y0, x1, y1 = box_xyxy_px.tolist()
    top, left = (max(math.floor(start) - 1, 0) for start in (y0, x0))
    bottom, right = (max(math.ceil(stop) + 1, 0) for stop in (y1, x1))
    seen = image[top:bottom, left:right].astype(np.float64)  # the sums below need no more of a large frame
    rows = _means(seen, y0 - top, y1 - top, size_hw[0])
    return _means(rows.swapaxes(0, 1), x0 - left, x1 - left, size_hw[1]).swapaxes(0, 1)


def _means(
    values: Float64[np.ndarray, "length *axes"], start: float, stop: float, count: int
) -> Float64[np.ndarray, "count *axes"]:
    """The means of values, constant over each unit of the first axis and 0 elsewhere, round `count` centres in an interval."""
    if not len(values):
        return np.zeros((count, *values.shape[1:]))
    step = (stop - start) / count
    width = max(step, 1.0)
    centres = start + (np.arange(count) + 0.5) * step
    sums = np.concatenate([np.zeros_like(values[:1]), values.cumsum(axis=0)])

    def integral(positions: Float[np.ndarray, " count"]) -> Float64[np.ndarray, "count *axes"]:
        """The integral of the values from 0 to each position."""
        positions = np.clip(positions, 0, len(values))
        index = np.minimum(positions.astype(np.int64), len(values) - 1)
        return sums[index] + (positions - index).reshape(-1, *[1] * (values.ndim - 1)) * values[index]

    return (integral(centres + width / 2) - integral(centres - width / 2)) / width
