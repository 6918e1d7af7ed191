"""Street cameras: the boxes of a pedestrian detector with its errors, and each camera's image style.

Boxes are x0, y0, x1, y1 in pixels of the frame, twice as high as wide; a photo shows one box in `SIZE_HW`.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIZE_HW = (128, 64)
MARGIN = 0.04  # of a person's height, above and below the person in an annotated box
DETECTION_IOU, JUNK_IOU = 0.5, 0.3  # intersection over union with the annotated box: least of a detection, most of junk
_MAX_TRIES = 1000


@dataclass(frozen=True)
class CameraStyle:
    """Image style of a camera: light, colour cast, blur, noise, compression, and the error of its boxes."""

    gain: float
    gamma: float
    cast_rgb: tuple[float, float, float]
    blur_px: float
    noise_levels: float  # standard deviation, of 255
    quality_lost: int  # of the JPEG quality
    box_error: float  # factor of the error of a detector's boxes

    def apply(
        self, image_rgb: UInt8[np.ndarray, "height width 3"], rng: np.random.Generator
    ) -> UInt8[np.ndarray, "height width 3"]:
        """The image in this camera's style; `rng` draws the photo's light and the noise."""
        light = self.gain * rng.normal(1.0, 0.05) * np.array(self.cast_rgb)
        levels = np.clip((np.arange(256)[:, None] / 255) ** self.gamma * light, 0, 1).astype(np.float32) * 255
        shaded = np.stack([levels[image_rgb[..., channel], channel] for channel in range(3)], axis=-1)
        if self.blur_px > 0:
            shaded = cv2.GaussianBlur(shaded, (0, 0), self.blur_px)
        noisy = shaded + np.float32(self.noise_levels) * rng.standard_normal(shaded.shape, dtype=np.float32)
        return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


CAMERA_STYLES = (
    CameraStyle(1.0, 1.0, (1.0, 1.0, 1.0), 0.4, 2.0, 0, 0.8),
    CameraStyle(1.12, 0.85, (1.04, 1.0, 0.93), 0.6, 2.5, 4, 1.0),
    CameraStyle(0.86, 1.1, (0.94, 1.0, 1.06), 0.5, 3.5, 8, 1.1),
    CameraStyle(1.05, 1.15, (0.97, 1.03, 0.98), 0.8, 2.0, 4, 0.9),
    CameraStyle(0.92, 0.9, (1.06, 0.98, 1.0), 0.0, 4.5, 10, 1.2),
    CameraStyle(0.8, 0.8, (1.0, 0.98, 0.95), 1.1, 5.0, 15, 1.4),  # Market-1501's sixth camera is the one of low resolution
)


def annotated_box(person_xyxy_px: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
    """The box of a person as an annotator draws it."""
    x0, y0, x1, y1 = person_xyxy_px.tolist()
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"expected the box of a person in the frame, got {person_xyxy_px}; render the person in view")
    height = max((1 + 2 * MARGIN) * (y1 - y0), 2.0 * (x1 - x0))
    return _box((x0 + x1) / 2, (y0 + y1) / 2, height)


def detected_box(annotated_xyxy_px: Float[np.ndarray, " 4"], error: float, rng: np.random.Generator) -> Float[np.ndarray, " 4"]:
    """A detector's box: shifted and scaled with a standard deviation of `error` times the height, above `DETECTION_IOU`."""
    x0, y0, x1, y1 = annotated_xyxy_px.tolist()
    height = y1 - y0
    for _ in range(_MAX_TRIES):
        right, down, larger = (rng.normal(0, error, 3) * (0.5, 1.0, 1.0)).tolist()
        box = _box((x0 + x1) / 2 + right * height, (y0 + y1) / 2 + down * height, height * math.exp(larger))
        if iou(box, annotated_xyxy_px) > DETECTION_IOU:
            return box
    raise ValueError(f"expected an error of boxes with which some are detections, got {error}; choose one below 0.2")


def false_alarm_box(
    annotated_xyxy_px: Float[np.ndarray, " 4"], frame_hw: tuple[int, int], rng: np.random.Generator
) -> Float[np.ndarray, " 4"]:
    """A false alarm in the frame: half of them show the person's surroundings, half a fragment of the person."""
    height = float(annotated_xyxy_px[3] - annotated_xyxy_px[1])
    fragment = bool(rng.random() < 0.5)
    min_iou, max_iou = (0.1, JUNK_IOU) if fragment else (0.0, 0.03)
    for _ in range(_MAX_TRIES):
        box_height = height * rng.uniform(0.3, 1.0)
        x, y = (
            rng.uniform(half, max(size - half, half))
            for size, half in zip(frame_hw[::-1], (box_height / 4, box_height / 2), strict=True)
        )
        box = _box(x, y, box_height)
        if min_iou <= iou(box, annotated_xyxy_px) <= max_iou:
            return box
    raise ValueError(f"a person {height:.0f} px high leaves no room for a false alarm in a frame of {frame_hw}; widen size_hw")


def iou(first_xyxy: Float[np.ndarray, " 4"], second_xyxy: Float[np.ndarray, " 4"]) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(first_xyxy[:2], second_xyxy[:2]), np.minimum(first_xyxy[2:], second_xyxy[2:])
    intersection = float(np.prod(np.maximum(high - low, 0)))
    return intersection / float(
        np.prod(first_xyxy[2:] - first_xyxy[:2]) + np.prod(second_xyxy[2:] - second_xyxy[:2]) - intersection
    )


def crop(frame_rgb: UInt8[np.ndarray, "_ _ 3"], box_xyxy_px: Float[np.ndarray, " 4"]) -> UInt8[np.ndarray, "128 64 3"]:
    """The frame inside a box, resized to `SIZE_HW`; beyond the frame its border is replicated."""
    x0, y0, x1, y1 = (round(float(edge)) for edge in box_xyxy_px)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    height, width = frame_rgb.shape[:2]
    padding = max(-x0, -y0, x1 - width, y1 - height, 0)
    padded_rgb = cv2.copyMakeBorder(frame_rgb, padding, padding, padding, padding, cv2.BORDER_REPLICATE)
    box_rgb = padded_rgb[y0 + padding : y1 + padding, x0 + padding : x1 + padding]
    shrinks = box_rgb.shape[0] > SIZE_HW[0]
    return cv2.resize(box_rgb, SIZE_HW[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _box(x: float, y: float, height: float) -> Float[np.ndarray, " 4"]:
    return np.array([x - height / 4, y - height / 2, x + height / 4, y + height / 2])
