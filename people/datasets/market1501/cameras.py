"""What a street camera makes of a frame: the box that a detector cuts out, more or less well, and the camera's own look.

Boxes are x0, y0, x1, y1 in pixels of the frame, twice as high as wide; a photo shows one box in `SIZE_HW`.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIZE_HW = (128, 64)
MARGIN = 0.04  # of a person's height, that a good box leaves above and below
FOUND, MISSED = 0.5, 0.3  # intersection over union with the good box: of a detection that counts, and the most of junk
_TRIES = 1000


@dataclass(frozen=True)
class Look:
    """How a camera shows the world: light, colour cast, sharpness, noise, compression, and how well people are cut out."""

    gain: float
    gamma: float
    cast_rgb: tuple[float, float, float]
    blur_px: float
    noise_levels: float  # standard deviation, of 255
    quality_lost: int  # of the JPEG quality
    box_error: float  # times the error that a detector's boxes have

    def photo(
        self, image_rgb: UInt8[np.ndarray, "height width 3"], rng: np.random.Generator
    ) -> UInt8[np.ndarray, "height width 3"]:
        """The image as this camera delivers it; `rng` draws the light of the moment and the noise."""
        light = self.gain * rng.normal(1.0, 0.05) * np.array(self.cast_rgb)
        levels = np.clip((np.arange(256)[:, None] / 255) ** self.gamma * light, 0, 1).astype(np.float32) * 255
        seen = np.stack([levels[image_rgb[..., channel], channel] for channel in range(3)], axis=-1)
        if self.blur_px > 0:
            seen = cv2.GaussianBlur(seen, (0, 0), self.blur_px)
        noisy = seen + np.float32(self.noise_levels) * rng.standard_normal(seen.shape, dtype=np.float32)
        return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


LOOKS = (
    Look(1.0, 1.0, (1.0, 1.0, 1.0), 0.4, 2.0, 0, 0.8),
    Look(1.12, 0.85, (1.04, 1.0, 0.93), 0.6, 2.5, 4, 1.0),
    Look(0.86, 1.1, (0.94, 1.0, 1.06), 0.5, 3.5, 8, 1.1),
    Look(1.05, 1.15, (0.97, 1.03, 0.98), 0.8, 2.0, 4, 0.9),
    Look(0.92, 0.9, (1.06, 0.98, 1.0), 0.0, 4.5, 10, 1.2),
    Look(0.8, 0.8, (1.0, 0.98, 0.95), 1.1, 5.0, 15, 1.4),  # Market-1501's sixth camera is the one of low resolution
)


def good_box(person_xyxy_px: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
    """The box in which a careful annotator draws a person."""
    x0, y0, x1, y1 = person_xyxy_px.tolist()
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"expected the box of a person in the frame, got {person_xyxy_px}; render the person in view")
    height = max((1 + 2 * MARGIN) * (y1 - y0), 2.0 * (x1 - x0))
    return _box((x0 + x1) / 2, (y0 + y1) / 2, height)


def detected_box(good_xyxy_px: Float[np.ndarray, " 4"], error: float, rng: np.random.Generator) -> Float[np.ndarray, " 4"]:
    """What a detector finds instead: shifted and scaled with a standard deviation of `error` times the height, but `FOUND`."""
    x0, y0, x1, y1 = good_xyxy_px.tolist()
    height = y1 - y0
    for _ in range(_TRIES):
        right, down, larger = (rng.normal(0, error, 3) * (0.5, 1.0, 1.0)).tolist()
        box = _box((x0 + x1) / 2 + right * height, (y0 + y1) / 2 + down * height, height * math.exp(larger))
        if iou(box, good_xyxy_px) > FOUND:
            return box
    raise ValueError(f"expected an error of boxes with which some are found, got {error}; take one below 0.2")


def astray_box(
    good_xyxy_px: Float[np.ndarray, " 4"], frame_hw: tuple[int, int], rng: np.random.Generator
) -> Float[np.ndarray, " 4"]:
    """A false alarm in the frame: every second time of the person's surroundings, else of a fragment of the person."""
    height = float(good_xyxy_px[3] - good_xyxy_px[1])
    fragment = bool(rng.random() < 0.5)
    least, most = (0.1, MISSED) if fragment else (0.0, 0.03)
    for _ in range(_TRIES):
        tall = height * rng.uniform(0.3, 1.0)
        x, y = (
            rng.uniform(half, max(whole - half, half)) for whole, half in zip(frame_hw[::-1], (tall / 4, tall / 2), strict=True)
        )
        box = _box(x, y, tall)
        if least <= iou(box, good_xyxy_px) <= most:
            return box
    raise ValueError(f"a person {height:.0f} px high leaves no room for a false alarm in a frame of {frame_hw}; widen size_hw")


def iou(first_xyxy: Float[np.ndarray, " 4"], second_xyxy: Float[np.ndarray, " 4"]) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(first_xyxy[:2], second_xyxy[:2]), np.minimum(first_xyxy[2:], second_xyxy[2:])
    both = float(np.prod(np.maximum(high - low, 0)))
    return both / float(np.prod(first_xyxy[2:] - first_xyxy[:2]) + np.prod(second_xyxy[2:] - second_xyxy[:2]) - both)


def cut(frame_rgb: UInt8[np.ndarray, "_ _ 3"], box_xyxy_px: Float[np.ndarray, " 4"]) -> UInt8[np.ndarray, "128 64 3"]:
    """What the frame shows in a box, in `SIZE_HW`; beyond the frame its border goes on."""
    x0, y0, x1, y1 = (round(float(edge)) for edge in box_xyxy_px)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    height, width = frame_rgb.shape[:2]
    around = max(-x0, -y0, x1 - width, y1 - height, 0)
    wide = cv2.copyMakeBorder(frame_rgb, around, around, around, around, cv2.BORDER_REPLICATE)
    part = wide[y0 + around : y1 + around, x0 + around : x1 + around]
    shrinks = part.shape[0] > SIZE_HW[0]
    return cv2.resize(part, SIZE_HW[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _box(x: float, y: float, height: float) -> Float[np.ndarray, " 4"]:
    return np.array([x - height / 4, y - height / 2, x + height / 4, y + height / 2])
