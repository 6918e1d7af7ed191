"""Arrays as RGB pictures: optical flow, filters of a first layer, silhouettes with keypoints, people with skeletons, confusion
matrices.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from people.records import COCO_KEYPOINTS, SKELETON

Picture = UInt8[np.ndarray, "_ _ 3"]  # height, width, RGB
GREY = 200
BOX_RGB, LEFT_RGB, RIGHT_RGB, MIDDLE_RGB = (250, 210, 60), (230, 60, 60), (60, 200, 80), (90, 150, 250)


def flow_colours(flow_px: Float[np.ndarray, "2 height width"], full_px: float) -> Picture:
    """Optical flow on the colour wheel: hue is direction, saturation speed (full at `full_px` a frame)."""
    angle = np.arctan2(flow_px[1], flow_px[0])
    speed = np.clip(np.hypot(flow_px[0], flow_px[1]) / max(full_px, 1e-9), 0, 1)
    hue = np.round((angle + np.pi) / (2 * np.pi) * 179)
    hsv = np.stack([hue, np.round(255 * speed), np.full_like(hue, 255)], axis=-1)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)


def signed_colours(values: Float[np.ndarray, "height width"], full: float) -> Picture:
    """Red above zero, blue below, white at zero; full colour at ±`full`."""
    share = np.clip(values / max(full, 1e-12), -1, 1)
    red, blue = 1 - np.maximum(-share, 0), 1 - np.maximum(share, 0)
    return np.round(255 * np.stack([red, 1 - np.abs(share), blue], axis=-1)).astype(np.uint8)


def enlarged(picture: Picture, factor: int) -> Picture:
    """Every pixel as a square of `factor` pixels."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def tiled(pictures: Sequence[Picture], columns: int, gap: int = 2) -> Picture:
    """Pictures of one size in rows of `columns`, on a grey background."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), GREY, dtype=np.uint8)
    for number, picture in enumerate(pictures):
        top, left = gap + number // columns * (height + gap), gap + number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def labelled(rows: Sequence[Picture], labels: Sequence[str], margin_px: int = 60) -> Picture:
    """Pictures of one width below each other, each with its name to the left."""
    lines = []
    for picture, label in zip(rows, labels, strict=True):
        line = np.full((picture.shape[0], picture.shape[1] + margin_px, 3), 255, dtype=np.uint8)
        line[:, margin_px:] = picture
        cv2.putText(line, label, (4, picture.shape[0] // 2 + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        lines.append(line)
    return np.concatenate(lines)


def spatial_filters(weight: Float[np.ndarray, "filter channel height width"], columns: int = 8) -> Picture:
    """Each filter's maps of x-flow (left) and y-flow (right) in the middle frame; channels are x, y, x, y, ... over frames."""
    middle = weight.shape[1] // 4 * 2
    pictures = [np.concatenate([maps[middle], np.zeros((maps.shape[1], 1)), maps[middle + 1]], axis=1) for maps in weight]
    coloured = [signed_colours(picture, float(np.abs(picture).max())) for picture in pictures]
    return tiled([enlarged(picture, 5) for picture in coloured], columns, gap=6)


def temporal_filters(weight: Float[np.ndarray, "filter channel height width"]) -> Picture:
    """Each filter's profile over the frames, one row a filter: its weights along their first spatial singular vector.

    The maps of one filter, frame by frame, are a matrix of frames by places; its first singular vector on the frames' side
    is the strength and sign of the filter's main pattern over time. The sign is chosen so that the peak is red.
    """
    profiles = []
    for maps in weight.astype(np.float64):
        left, values, _ = np.linalg.svd(maps.reshape(maps.shape[0] // 2, -1), full_matrices=False)
        profile = left[:, 0] * values[0]
        profiles.append(profile * np.sign(profile[np.abs(profile).argmax()]))
    rows = [signed_colours(profile[None], float(np.abs(profile).max())) for profile in profiles]
    return tiled([enlarged(row, 10) for row in rows], columns=2, gap=6)


def with_keypoints(
    silhouette: Float[np.ndarray, "height width"], keypoints: Float[np.ndarray, "joint 3"], factor: int = 3
) -> Picture:
    """A silhouette in [0, 1], enlarged, with a red dot for each joint of confidence > 0: x, y in [-1, 1] over the picture."""
    picture = enlarged(np.round(255 * silhouette).astype(np.uint8)[..., None].repeat(3, axis=2), factor)
    height, width = picture.shape[:2]
    for x, y, confidence in keypoints:
        if confidence > 0:
            centre_px = (int((x + 1) / 2 * width), int((y + 1) / 2 * height))
            cv2.circle(picture, centre_px, max(1, factor // 2), (230, 40, 40), -1)
    return picture


def flow_strip(windows_px: Float[np.ndarray, "window frame 2 height width"], labels: Sequence[str], shown: int = 6) -> Picture:
    """One row a window: `shown` frames of its flow, evenly spaced; one scale of speed for all rows."""
    full = float(np.percentile([np.hypot(window[:, 0], window[:, 1]).max() for window in windows_px], 50))
    rows = []
    for window in windows_px:
        chosen = np.linspace(0, len(window) - 1, min(shown, len(window))).round().astype(int)
        rows.append(tiled([enlarged(flow_colours(window[frame], full), 2) for frame in chosen], columns=len(chosen)))
    return labelled(rows, labels)


def with_people(
    picture: Picture,
    boxes_xyxy_px: Float[np.ndarray, "person 4"],
    keypoints_px: Float[np.ndarray, "person joint 3"],
    labels: Sequence[str],
) -> Picture:
    """A picture with everybody's box, label above it, and skeleton: left limbs red, right ones green; joints of value 0 or less
    are left out. Of more than COCO's seventeen joints the first seventeen are drawn.
    """
    drawn = picture.copy()
    line = max(1, round(max(picture.shape[:2]) / 400))
    for box, joints, label in zip(boxes_xyxy_px, keypoints_px, labels, strict=True):
        left, top, right, bottom = np.round(box).astype(int).tolist()
        cv2.rectangle(drawn, (left, top), (right, bottom), BOX_RGB, line)
        _draw_skeleton(drawn, joints, line)
        place = (left + 2, top - 3 if top >= 12 else top + 11)
        for rgb, thickness in (((255, 255, 255), 3 * line), ((0, 0, 0), line)):
            cv2.putText(drawn, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36 * line, rgb, thickness, cv2.LINE_AA)
    return drawn


def _draw_skeleton(picture: Picture, joints_px: Float[np.ndarray, "joint 3"], line: int) -> None:
    place = {name: np.round(joint[:2]).astype(int).tolist() for name, joint in zip(COCO_KEYPOINTS, joints_px, strict=False)}
    is_there = {name: joint[2] > 0 for name, joint in zip(COCO_KEYPOINTS, joints_px, strict=False)}
    for first, second in SKELETON:
        if is_there[first] and is_there[second]:
            cv2.line(picture, place[first], place[second], _side_rgb(first, second), line, cv2.LINE_AA)
    for name in COCO_KEYPOINTS:
        if is_there[name]:
            cv2.circle(picture, place[name], line + 1, _side_rgb(name, name), -1, cv2.LINE_AA)


def _side_rgb(first: str, second: str) -> tuple[int, int, int]:
    sides = {name.partition("_")[0] for name in (first, second)}
    return LEFT_RGB if sides == {"left"} else RIGHT_RGB if sides == {"right"} else MIDDLE_RGB


def heat_colours(values: Float[np.ndarray, "height width"]) -> Picture:
    """Values in [0, 1] from black over red to white."""
    share = np.clip(values, 0, 1)[..., None]
    return np.round(255 * np.clip(share * 3 - np.arange(3), 0, 1)).astype(np.uint8)


def framed(picture: Picture, rgb: tuple[int, int, int], width_px: int = 3) -> Picture:
    """A picture with a frame of one colour around it."""
    height, width = picture.shape[:2]
    sheet = np.full((height + 2 * width_px, width + 2 * width_px, 3), rgb, dtype=np.uint8)
    sheet[width_px : width_px + height, width_px : width_px + width] = picture
    return sheet


def confusion(share: Float[np.ndarray, "row column"], names: Sequence[str], cell_px: int = 44, margin_px: int = 76) -> Picture:
    """A square table of shares, darker where larger, in % from 0.5 on; names of rows at the left, of columns above."""
    size_px = margin_px + cell_px * len(names)
    sheet = np.full((size_px, size_px, 3), 255, dtype=np.uint8)

    def put_text(text: str, x: int, y: int, level: int) -> None:
        cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (level,) * 3, 1, cv2.LINE_AA)

    for row, name in enumerate(names):
        middle = margin_px + cell_px * row + cell_px // 2
        put_text(name, 4, middle + 4, 0)
        put_text(name, middle - cell_px // 2 + 2, margin_px - (8 if row % 2 else 24), 0)
        for column, value in enumerate(share[row]):
            top, left = margin_px + cell_px * row, margin_px + cell_px * column
            filled = float(np.nan_to_num(value))
            sheet[top : top + cell_px - 1, left : left + cell_px - 1] = np.round(255 - filled * np.array([220, 160, 60]))
            if filled >= 0.005:
                put_text(f"{100 * filled:.0f}", left + 10, top + cell_px // 2 + 4, 255 if filled > 0.6 else 0)
    return sheet
