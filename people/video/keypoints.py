"""Keypoints as arrays (joint, x y and visibility or confidence): from a frame into its silhouette picture, and how similar.

A joint without visibility or confidence is (0, 0, 0).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from people.records import COCO_KEYPOINTS

# Of each joint, the deviation of COCO's annotators from each other, in units of the square root of the person's area.
COCO_SIGMAS = np.array(
    [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089]
)

_OTHER_SIDE = {"left": "right", "right": "left"}
MIRRORED = [  # where each joint is found after left and right have been exchanged
    COCO_KEYPOINTS.index("_".join([_OTHER_SIDE.get(side, side), *rest]))
    for side, *rest in (name.split("_") for name in COCO_KEYPOINTS)
]


def in_picture(
    keypoints_px: Float[np.ndarray, "frame 17 3"], box_xyxy_px: Float[np.ndarray, "frame 4"], size_hw: Sequence[int]
) -> Float[np.ndarray, "frame 17 3"]:
    """Keypoints of a frame in the pixels of the picture that shows the frame's box; those outside of it become (0, 0, 0)."""
    height, width = size_hw
    x0, y0, x1, y1 = (side[:, None] for side in box_xyxy_px.T)
    x = (keypoints_px[..., 0] - x0) / (x1 - x0) * width
    y = (keypoints_px[..., 1] - y0) / (y1 - y0) * height
    inside = (keypoints_px[..., 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return (np.stack([x, y, keypoints_px[..., 2]], axis=-1) * inside[..., None]).astype(np.float32)


def similarity(
    found: Float[np.ndarray, "frame 17 3"], true: Float[np.ndarray, "frame 17 3"], area_px: Float[np.ndarray, " frame"]
) -> Float[np.ndarray, " frame"]:
    """OKS of each frame: the mean over the labelled joints of exp(-d^2 / (2 s^2 k^2)), s^2 the person's area, k = 2 sigma.

    A labelled joint that was not found counts 0. NaN where no joint is labelled.
    """
    distance2 = ((found[..., :2] - true[..., :2]).astype(np.float64) ** 2).sum(axis=-1)
    each = np.exp(-distance2 / (2 * np.maximum(area_px, 1)[:, None] * (2 * COCO_SIGMAS) ** 2)) * (found[..., 2] > 0)
    labelled = true[..., 2] > 0
    count = labelled.sum(axis=1)
    return np.where(count > 0, (each * labelled).sum(axis=1) / np.maximum(count, 1), np.nan)


def between(
    keypoints: Float[np.ndarray, "known 17 3"], known: Int[np.ndarray, " known"], wanted: Int[np.ndarray, " frame"]
) -> Float[np.ndarray, "frame 17 3"]:
    """Keypoints of the frames `wanted` on the straight line between those that are `known`; (0, 0, 0) beside one not found."""
    flat = keypoints.reshape(len(known), -1)
    lines = np.stack([np.interp(wanted, known, values) for values in flat.T], axis=1).reshape(len(wanted), *keypoints.shape[1:])
    return (lines * _found_beside(keypoints[..., 2] > 0, known, wanted)[..., None]).astype(np.float32)


def _found_beside(
    found: Bool[np.ndarray, "known 17"], known: Int[np.ndarray, " known"], wanted: Int[np.ndarray, " frame"]
) -> Bool[np.ndarray, "frame 17"]:
    after = np.clip(np.searchsorted(known, wanted), 0, len(known) - 1)
    before = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(known) - 1)
    return found[before] & found[after]
