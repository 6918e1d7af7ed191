"""Background subtraction for a camera that does not move: where a frame differs from the empty scene by more than noise.

Brightness and colour are compared separately (YCrCb): a shadow changes brightness only, and JPEG blurs colour more than
brightness. A change of exposure is compensated.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

NOISE_SIGMAS = 5.0  # a difference beyond this many deviations of the camera's noise is foreground
NOISE_FRAMES = 8  # noise is measured on this many frames, hundreds of thousands of pixels
MIN_NOISE_LEVELS = 2.0  # of 255; differences between JPEG blocks stay below it
SHADOW_BRIGHTNESS = (0.8, 0.98)  # of the empty scene's brightness: the range of a shadow ...
SHADOW_SIGMAS = 2.0  # ... whose colour differs by no more than this
MAX_HOLE_SHARE = 0.03  # of the person's area; larger holes, as between arm and body, are kept


def person_masks(
    frames_rgb: UInt8[np.ndarray, "frame height width 3"], empty_rgb: UInt8[np.ndarray, "empty rows columns 3"]
) -> Iterator[Float[np.ndarray, "height width"]]:
    """Foreground score of each pixel in every frame: at least 0.5 in the largest region that differs from the background.

    The background is the median of `empty_rgb`, frames of the empty scene, or if there are none of the clip itself; the latter
    loses parts of a person who walks towards the camera.
    """
    if len(frames_rgb) == 0:
        raise ValueError("a clip has at least one frame, got none; let validate quarantine it (min_frames)")
    if len(empty_rgb) and empty_rgb.shape[1:] != frames_rgb.shape[1:]:
        raise ValueError(
            f"the empty scene is {empty_rgb.shape[1:3]} px and the clip {frames_rgb.shape[1:3]}: expected one camera and one "
            "size; correct the layout's background"
        )
    background_rgb = empty_rgb if len(empty_rgb) else frames_rgb
    scene = scene_of(background_rgb)
    noise = noise_of(background_rgb, scene)
    for frame in frames_rgb:
        yield person_region(*background_difference(luma_chroma(frame), scene, noise))


def scene_of(frames_rgb: UInt8[np.ndarray, "frame height width 3"]) -> Float[np.ndarray, "height width 3"]:
    """The median of frames, as luma and chroma."""
    return luma_chroma(np.rint(np.median(frames_rgb, axis=0)).astype(np.uint8))


def noise_of(
    frames_rgb: UInt8[np.ndarray, "frame height width 3"], scene: Float[np.ndarray, "height width 3"]
) -> Float[np.ndarray, " 3"]:
    """The camera's noise in luma and chroma, by its first frames of a scene."""
    deviation = np.median([np.abs(luma_chroma(frame) - scene) for frame in frames_rgb[:NOISE_FRAMES]], axis=(0, 1, 2))
    return np.maximum(1.4826 * deviation, MIN_NOISE_LEVELS).astype(np.float32)


def background_difference(
    frame: Float[np.ndarray, "height width 3"], scene: Float[np.ndarray, "height width 3"], noise: Float[np.ndarray, " 3"]
) -> tuple[Float[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """Distance of each pixel from the empty scene, in units of the noise threshold, and the mask of shadows."""
    ratio = frame[..., 0] / np.maximum(scene[..., 0], 1)
    exposure = max(float(np.median(ratio)), 1e-3)  # most of the frame is background
    sigmas = np.abs(frame / np.float32(exposure) - scene) / noise
    brightness, colour = sigmas[..., 0], np.maximum(sigmas[..., 1], sigmas[..., 2])
    shadow = (ratio > SHADOW_BRIGHTNESS[0] * exposure) & (ratio < SHADOW_BRIGHTNESS[1] * exposure) & (colour < SHADOW_SIGMAS)
    return np.maximum(brightness, colour) / np.float32(NOISE_SIGMAS), shadow


def person_region(
    distance: Float[np.ndarray, "height width"], shadow: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width"]:
    """The largest region beyond noise, small holes filled: at least 0.5 in it, less on its rim, 0 elsewhere."""
    foreground = (distance > 1) & ~shadow
    closed = cv2.morphologyEx(foreground.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    if count < 2:
        return np.zeros(distance.shape, np.float32)
    body = _fill_holes(foreground & (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())))
    rim = cv2.dilate(body.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    score = np.minimum(distance / 2, 1).astype(np.float32)
    return np.where(body, np.maximum(score, 0.5), np.where(rim & ~shadow, np.minimum(score, 0.49), 0)).astype(np.float32)


def _fill_holes(body: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~body).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < MAX_HOLE_SHARE * np.count_nonzero(body)
    return body | small[np.asarray(labels, np.intp)]


def luma_chroma(frame_rgb: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width 3"]:
    """Luma and the two chroma differences from grey (YCrCb): all three scale with the exposure."""
    return cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2YCrCb).astype(np.float32) - np.array([0, 128, 128], np.float32)
