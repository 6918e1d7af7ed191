"""The moving person's box in every frame of a clip taken by a camera that does not move.

Frames differ from the clip's median image where somebody stands or walks; of these regions the one with most optical flow
is the person. Rendered and official frames go through the same function, because the official archives have no boxes.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int16, UInt8
from scipy.ndimage import median_filter
from scipy.signal import savgol_filter

from people.video.flow import decode

BACKGROUND_FRAMES = 100  # a median over more, evenly spread, costs memory and changes nothing
NOISE_SIGMAS = 6.0  # a difference of grey beyond this many deviations of the camera's noise ...
LEAST_GREY_LEVELS = 10.0  # ... and beyond this, below which JPEG blocks flicker, is foreground
LEAST_SPEED = 1 / 400  # image widths per frame: a fifth of a pixel at 80 px; walking is four times as fast
LEAST_AREA = 1 / 400  # of the image: smaller blobs are noise
LEAST_MOTION = 0.1  # of what the clip's liveliest frames show: less is a flickering screen, or a person who has stopped
OUTLINE_SHOWN = 0.2  # of what moves differs from the median image: the person's outline is taken from that, else from the flow
LEAST_SHOWN = 0.02  # flow where nothing differs is noise
SMOOTHING_FRAMES = 9


def person_boxes_xyxy_px(
    flow: Int16[np.ndarray, "flow 2 height width"], grey: UInt8[np.ndarray, "flow+1 height width"]
) -> Float[np.ndarray, "flow 4"]:
    """Box i is the moving person's in frame i + 1, from flow i (as stored) and the clip's frames at the same size.

    Found frame by frame, outliers dropped, interpolated where nothing moves, smoothed over time. The largest mover is
    followed, whoever it is. A clip in which nothing moves at all gets the box of the whole frame throughout.
    """
    height, width = grey.shape[1:]
    speed_px = np.linalg.norm(decode(flow), axis=1)
    differs = foreground(grey)
    boxes, motion = zip(*(moving_box(mask, speed) for mask, speed in zip(differs[1:], speed_px, strict=True)), strict=True)
    found, motion = np.stack(boxes), np.array(motion)
    found[motion < LEAST_MOTION * np.quantile(motion, 0.95)] = np.nan
    found[outliers(found, width)] = np.nan
    if np.isnan(found).all():
        return np.tile(np.array([0, 0, width, height], np.float32), (len(flow), 1))
    return np.clip(smoothed(interpolated(found)), 0, [width, height, width, height]).astype(np.float32)


def foreground(grey: UInt8[np.ndarray, "frame height width"]) -> Bool[np.ndarray, "frame height width"]:
    """Where a frame differs from the clip's median image by more than noise; a change of exposure is no difference."""
    chosen = np.unique(np.linspace(0, len(grey) - 1, BACKGROUND_FRAMES).round().astype(int))
    background = np.median(grey[chosen], axis=0).astype(np.float32)
    difference = grey.astype(np.float32) - background
    difference -= np.median(difference, axis=(1, 2), keepdims=True)
    difference = np.abs(difference)
    noise_sigma = 1.4826 * np.median(difference)
    return difference > max(NOISE_SIGMAS * noise_sigma, LEAST_GREY_LEVELS)


def moving_box(
    differs: Bool[np.ndarray, "height width"], speed_px: Float[np.ndarray, "height width"]
) -> tuple[Float[np.ndarray, " 4"], float]:
    """Box (x0, y0, x1, y1) of the region with most motion in one frame, NaN where nothing moves, and the sum of its speeds.

    A region is joined with those above and below it: people are upright, and a belt can look like the wall behind it.
    """
    height, width = differs.shape
    still_px = float(np.quantile(speed_px, 0.25))  # of noise alone: a person and the flow around them may fill half the image
    moves = speed_px > max(LEAST_SPEED * width, 8 * still_px)
    # Flow bleeds over a person's outline, the difference does not; but one who stays in place is part of the median image.
    solid = moves & (speed_px > np.quantile(speed_px[moves], 0.9) / 2) if moves.any() else moves
    shown = np.count_nonzero(differs & solid) / max(np.count_nonzero(solid), 1)
    # Nobody's standing foot is far from what moves; the place that somebody stood in for long, and has left, is.
    near = cv2.dilate(moves.astype(np.uint8), np.ones((2 * (height // 8) + 1,) * 2, np.uint8)) > 0
    mask = cv2.medianBlur((differs & near if shown >= OUTLINE_SHOWN else solid).astype(np.uint8), 3)
    bridge = np.ones((max(3, height // 10 | 1), 3), np.uint8)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, bridge), connectivity=8)
    motion = np.bincount(labels[moves], weights=speed_px[moves], minlength=count)
    motion[0] = 0
    large = facts[:, cv2.CC_STAT_AREA] >= max(4, LEAST_AREA * height * width)
    motion[~large] = 0
    if shown < LEAST_SHOWN or not motion.any():
        return np.full(4, np.nan, np.float32), 0.0
    left, top = facts[:, cv2.CC_STAT_LEFT], facts[:, cv2.CC_STAT_TOP]
    right, bottom = left + facts[:, cv2.CC_STAT_WIDTH], top + facts[:, cv2.CC_STAT_HEIGHT]
    best = int(motion.argmax())
    middle = (left + right) / 2
    joined = large & (middle >= left[best]) & (middle <= right[best])
    joined[0] = False
    box = np.array([left[joined].min(), top[joined].min(), right[joined].max(), bottom[joined].max()], np.float32)
    return box, float(motion[best])


def outliers(boxes_xyxy_px: Float[np.ndarray, "frame 4"], width: int) -> Bool[np.ndarray, " frame"]:
    """Boxes whose middle is more than an eighth of the image away from the median of their neighbours in time."""
    there = np.flatnonzero(~np.isnan(boxes_xyxy_px[:, 0]))
    middle = boxes_xyxy_px[there][:, [0, 2]].mean(axis=1)
    wrong = np.zeros(len(boxes_xyxy_px), bool)
    if len(there) > 2:
        wrong[there] = np.abs(middle - median_filter(middle, size=SMOOTHING_FRAMES, mode="nearest")) > width / 8
    return wrong


def interpolated(boxes_xyxy_px: Float[np.ndarray, "frame 4"]) -> Float[np.ndarray, "frame 4"]:
    """Missing boxes on the straight line between their neighbours; before the first and after the last those are kept."""
    frame = np.arange(len(boxes_xyxy_px))
    there = ~np.isnan(boxes_xyxy_px[:, 0])
    return np.stack([np.interp(frame, frame[there], side[there]) for side in boxes_xyxy_px.T], axis=1)


def smoothed(boxes_xyxy_px: Float[np.ndarray, "frame 4"]) -> Float[np.ndarray, "frame 4"]:
    """Each side's median over five frames, then a local parabola (Savitzky and Golay), which leaves steady walking as it is."""
    window = min(SMOOTHING_FRAMES, (len(boxes_xyxy_px) - 1) // 2 * 2 + 1)
    if window < 5:
        return boxes_xyxy_px
    steady = median_filter(boxes_xyxy_px, size=(5, 1), mode="nearest")
    return np.asarray(savgol_filter(steady, window, polyorder=2, axis=0, mode="interp"))
