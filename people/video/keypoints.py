"""Keypoints as arrays (joint; x, y, visibility or confidence): silhouette coordinates, similarity, interpolation.

A joint without visibility or confidence is (0, 0, 0).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from people.records import KEYPOINT_SIGMAS


def to_silhouette(
    keypoints_px: Float[np.ndarray, "frame 17 3"], box_xyxy_px: Float[np.ndarray, "frame 4"], size_hw: Sequence[int]
) -> Float[np.ndarray, "frame 17 3"]:
    """Keypoints of a frame in the pixels of the silhouette that shows the frame's box; those outside become (0, 0, 0)."""
    height, width = size_hw
    x0, y0, x1, y1 = (side[:, None] for side in box_xyxy_px.T)
    x = (keypoints_px[..., 0] - x0) / (x1 - x0) * width
    y = (keypoints_px[..., 1] - y0) / (y1 - y0) * height
    inside = (keypoints_px[..., 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return (np.stack([x, y, keypoints_px[..., 2]], axis=-1) * inside[..., None]).astype(np.float32)


def object_keypoint_similarity(
    predicted: Float[np.ndarray, "frame 17 3"], true: Float[np.ndarray, "frame 17 3"], area_px: Float[np.ndarray, " frame"]
) -> Float[np.ndarray, " frame"]:
    """OKS of each frame: the mean over the labelled joints of exp(-d^2 / (2 s^2 k^2)), s^2 the person's area, k = 2 sigma.

    A labelled joint that is not predicted counts 0. NaN where no joint is labelled.
    """
    distance2 = ((predicted[..., :2] - true[..., :2]).astype(np.float64) ** 2).sum(axis=-1)
    joint_similarity = np.exp(-distance2 / (2 * np.maximum(area_px, 1)[:, None] * (2 * np.array(KEYPOINT_SIGMAS)) ** 2)) * (
        predicted[..., 2] > 0
    )
    labelled = true[..., 2] > 0
    count = labelled.sum(axis=1)
    return np.where(count > 0, (joint_similarity * labelled).sum(axis=1) / np.maximum(count, 1), np.nan)


def interpolate(
    keypoints: Float[np.ndarray, "key_frame 17 3"], key_frames: Int[np.ndarray, " key_frame"], frames: Int[np.ndarray, " frame"]
) -> Float[np.ndarray, "frame 17 3"]:
    """Keypoints of `frames` by linear interpolation between `key_frames`; (0, 0, 0) where a joint lacks a neighbour."""
    columns = keypoints.reshape(len(key_frames), -1).T
    lines = np.stack([np.interp(frames, key_frames, values) for values in columns], axis=1)
    lines = lines.reshape(len(frames), *keypoints.shape[1:])
    return (lines * _visible_in_neighbours(keypoints[..., 2] > 0, key_frames, frames)[..., None]).astype(np.float32)


def _visible_in_neighbours(
    visible: Bool[np.ndarray, "key_frame 17"], key_frames: Int[np.ndarray, " key_frame"], frames: Int[np.ndarray, " frame"]
) -> Bool[np.ndarray, "frame 17"]:
    after = np.clip(np.searchsorted(key_frames, frames), 0, len(key_frames) - 1)
    before = np.clip(np.searchsorted(key_frames, frames, side="right") - 1, 0, len(key_frames) - 1)
    return visible[before] & visible[after]
