"""Background subtraction for a camera that does not move: where a frame differs from the empty scene by more than noise.

Brightness and colour are compared apart (YCrCb), for a shadow darkens the floor and leaves its colour, and JPEG blurs colour
more than brightness. A change of exposure is no difference.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

NOISE_SIGMAS = 5.0  # a difference beyond this many deviations of the camera's noise is foreground
NOISE_FRAMES = 8  # noise is measured on these: hundreds of thousands of pixels
LEAST_NOISE_LEVELS = 2.0  # of 255: below this, JPEG blocks flicker
SHADOW = (0.8, 0.98)  # of the empty scene's brightness: this much is left in a shadow ...
SHADOW_SIGMAS = 2.0  # ... where colour differs by no more than this
LARGEST_HOLE = 0.03  # of the person's area: a larger one is the gap between arm and body


def person_masks(
    frames_rgb: UInt8[np.ndarray, "frame height width 3"], empty_rgb: UInt8[np.ndarray, "empty rows columns 3"]
) -> Iterator[Float[np.ndarray, "height width"]]:
    """For every frame, how much each pixel is the person's: at least one half on the largest region that is no background.

    The background is the median of `empty_rgb`, frames of the empty scene, or without any that of the clip itself: then who
    does not walk across the picture, but towards the camera, is half lost.
    """
    if len(frames_rgb) == 0:
        raise ValueError("a clip has at least one frame, got none; let validate quarantine it (min_frames)")
    if len(empty_rgb) and empty_rgb.shape[1:] != frames_rgb.shape[1:]:
        raise ValueError(
            f"the empty scene is {empty_rgb.shape[1:3]} px and the clip {frames_rgb.shape[1:3]}: expected one camera and one "
            "size; correct the layout's background"
        )
    seen = empty_rgb if len(empty_rgb) else frames_rgb
    scene = _compared(np.rint(np.median(seen, axis=0)).astype(np.uint8))
    deviation = np.median([np.abs(_compared(frame) - scene) for frame in seen[:NOISE_FRAMES]], axis=(0, 1, 2))
    noise = np.maximum(1.4826 * deviation, LEAST_NOISE_LEVELS).astype(np.float32)
    for frame in frames_rgb:
        yield person(*difference(_compared(frame), scene, noise))


def difference(
    frame: Float[np.ndarray, "height width 3"], scene: Float[np.ndarray, "height width 3"], noise: Float[np.ndarray, " 3"]
) -> tuple[Float[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """How far each pixel is from the empty scene, 1 where the difference is just beyond noise; and where a shadow falls."""
    left = frame[..., 0] / np.maximum(scene[..., 0], 1)
    exposure = max(float(np.median(left)), 1e-3)  # most of the picture is background
    sigmas = np.abs(frame / np.float32(exposure) - scene) / noise
    brightness, colour = sigmas[..., 0], np.maximum(sigmas[..., 1], sigmas[..., 2])
    shadow = (left > SHADOW[0] * exposure) & (left < SHADOW[1] * exposure) & (colour < SHADOW_SIGMAS)
    return np.maximum(brightness, colour) / np.float32(NOISE_SIGMAS), shadow


def person(
    distance: Float[np.ndarray, "height width"], shadow: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width"]:
    """The largest region beyond noise, without small holes: at least one half in it, less on its rim, 0 elsewhere."""
    beyond = (distance > 1) & ~shadow
    joined = cv2.morphologyEx(beyond.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, facts, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    if count < 2:
        return np.zeros(distance.shape, np.float32)
    body = _without_holes(beyond & (labels == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())))
    rim = cv2.dilate(body.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    share = np.minimum(distance / 2, 1).astype(np.float32)
    return np.where(body, np.maximum(share, 0.5), np.where(rim & ~shadow, np.minimum(share, 0.49), 0)).astype(np.float32)


def _without_holes(body: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    _, labels, facts, _ = cv2.connectedComponentsWithStats((~body).astype(np.uint8), connectivity=4)
    small = facts[:, cv2.CC_STAT_AREA] < LARGEST_HOLE * np.count_nonzero(body)
    return body | small[np.asarray(labels, np.intp)]


def _compared(frame_rgb: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width 3"]:
    """Brightness and, as differences from grey, the two colours: all three grow with the exposure."""
    return cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2YCrCb).astype(np.float32) - np.array([0, 128, 128], np.float32)
