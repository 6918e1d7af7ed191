"""The moving person's box in every frame of a clip taken by a camera that does not move.

Frames differ from the clip's median image where a person is; of these regions the one with most optical flow is taken.
Rendered and official frames go through the same function, because the official archives have no boxes.
"""

import cv2
import numpy as np
import scipy  # its parts are imported at their first use
from jaxtyping import Bool, Float, Int16, UInt8

from people.video.flow import decode

BACKGROUND_FRAMES = 100  # evenly spread; a median over more frames costs memory and changes nothing
NOISE_SIGMAS = 6.0  # a difference of grey beyond this many deviations of the camera's noise ...
MIN_GREY_LEVELS = 10.0  # ... and beyond this, more than JPEG blocks flicker, is foreground
MIN_SPEED = 1 / 400  # image widths per frame: a fifth of a pixel at 80 px; walking is four times as fast
MIN_AREA = 1 / 400  # of the image: smaller blobs are noise
MIN_MOTION = 0.1  # of the clip's 95 % quantile: less is a flickering screen, or a person who has stopped
MIN_DIFFERENCE_FOR_OUTLINE = 0.2  # of the moving pixels: if so many differ from the median image, the outline is from these
MIN_DIFFERENCE = 0.02  # of the moving pixels: if fewer differ, the flow is noise
SMOOTHING_FRAMES = 9


def person_boxes_xyxy_px(
    flow: Int16[np.ndarray, "flow 2 height width"], grey: UInt8[np.ndarray, "flow+1 height width"]
) -> Float[np.ndarray, "flow 4"]:
    """Box i is the moving person's in frame i + 1, from flow i (as stored) and the clip's frames at the same size.

    Detected frame by frame, outliers dropped, interpolated where nothing moves, smoothed over time. Of several people the one
    with most motion is followed. A clip without motion gets the box of the full frame throughout.
    """
    height, width = grey.shape[1:]
    speed_px = np.linalg.norm(decode(flow), axis=1)
    differs = foreground(grey)
    boxes, motion = zip(*(moving_box(mask, speed) for mask, speed in zip(differs[1:], speed_px, strict=True)), strict=True)
    boxes, motion = np.stack(boxes), np.array(motion)
    boxes[motion < MIN_MOTION * np.quantile(motion, 0.95)] = np.nan
    boxes[outliers(boxes, width)] = np.nan
    if np.isnan(boxes).all():
        return np.tile(np.array([0, 0, width, height], np.float32), (len(flow), 1))
    return np.clip(smooth_boxes(interpolate_boxes(boxes)), 0, [width, height, width, height]).astype(np.float32)


def foreground(grey: UInt8[np.ndarray, "frame height width"]) -> Bool[np.ndarray, "frame height width"]:
    """Where a frame differs from the clip's median image by more than noise; a change of exposure is compensated."""
    frames = np.unique(np.linspace(0, len(grey) - 1, BACKGROUND_FRAMES).round().astype(int))
    background = np.median(grey[frames], axis=0).astype(np.float32)
    difference = grey.astype(np.float32) - background
    difference -= np.median(difference, axis=(1, 2), keepdims=True)
    difference = np.abs(difference)
    noise_sigma = 1.4826 * np.median(difference)
    return difference > max(NOISE_SIGMAS * noise_sigma, MIN_GREY_LEVELS)


def moving_box(
    differs: Bool[np.ndarray, "height width"], speed_px: Float[np.ndarray, "height width"]
) -> tuple[Float[np.ndarray, " 4"], float]:
    """Box (x0, y0, x1, y1) of the region with most motion in one frame, NaN where nothing moves, and the sum of its speeds.

    A region is joined with those above and below it: people are upright, and a belt can look like the wall behind it.
    """
    height, width = differs.shape
    still_px = float(np.quantile(speed_px, 0.25))  # noise only: a person and the flow around them may fill half the image
    moves = speed_px > max(MIN_SPEED * width, 8 * still_px)
    # Flow extends beyond the person's outline, the difference does not; but a person who stays is part of the median image.
    solid = moves & (speed_px > np.quantile(speed_px[moves], 0.9) / 2) if moves.any() else moves
    differing_share = np.count_nonzero(differs & solid) / max(np.count_nonzero(solid), 1)
    # A standing foot is near moving pixels; a position that a person has left after a long stay is not.
    near = cv2.dilate(moves.astype(np.uint8), np.ones((2 * (height // 8) + 1,) * 2, np.uint8)) > 0
    mask = cv2.medianBlur((differs & near if differing_share >= MIN_DIFFERENCE_FOR_OUTLINE else solid).astype(np.uint8), 3)
    bridge = np.ones((max(3, height // 10 | 1), 3), np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, bridge), connectivity=8)
    motion = np.bincount(labels[moves], weights=speed_px[moves], minlength=count)
    motion[0] = 0
    large = stats[:, cv2.CC_STAT_AREA] >= max(4, MIN_AREA * height * width)
    motion[~large] = 0
    if differing_share < MIN_DIFFERENCE or not motion.any():
        return np.full(4, np.nan, np.float32), 0.0
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    best = int(motion.argmax())
    middle = (left + right) / 2
    joined = large & (middle >= left[best]) & (middle <= right[best])
    joined[0] = False
    box = np.array([left[joined].min(), top[joined].min(), right[joined].max(), bottom[joined].max()], np.float32)
    return box, float(motion[best])


def outliers(boxes_xyxy_px: Float[np.ndarray, "frame 4"], width: int) -> Bool[np.ndarray, " frame"]:
    """Boxes whose centre is more than an eighth of the image width from the median of their neighbours in time."""
    valid = np.flatnonzero(~np.isnan(boxes_xyxy_px[:, 0]))
    middle = boxes_xyxy_px[valid][:, [0, 2]].mean(axis=1)
    is_outlier = np.zeros(len(boxes_xyxy_px), bool)
    if len(valid) > 2:
        smooth = scipy.ndimage.median_filter(middle, size=SMOOTHING_FRAMES, mode="nearest")
        is_outlier[valid] = np.abs(middle - smooth) > width / 8
    return is_outlier


def interpolate_boxes(boxes_xyxy_px: Float[np.ndarray, "frame 4"]) -> Float[np.ndarray, "frame 4"]:
    """Missing boxes by linear interpolation; before the first and after the last box these are repeated."""
    frame = np.arange(len(boxes_xyxy_px))
    valid = ~np.isnan(boxes_xyxy_px[:, 0])
    return np.stack([np.interp(frame, frame[valid], side[valid]) for side in boxes_xyxy_px.T], axis=1)


def smooth_boxes(boxes_xyxy_px: Float[np.ndarray, "frame 4"]) -> Float[np.ndarray, "frame 4"]:
    """Median of each side over five frames, then a Savitzky-Golay filter of order 2, which preserves steady walking."""
    window = min(SMOOTHING_FRAMES, (len(boxes_xyxy_px) - 1) // 2 * 2 + 1)
    if window < 5:
        return boxes_xyxy_px
    filtered = scipy.ndimage.median_filter(boxes_xyxy_px, size=(5, 1), mode="nearest")
    return np.asarray(scipy.signal.savgol_filter(filtered, window, polyorder=2, axis=0, mode="interp"))
