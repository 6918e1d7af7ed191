"""MediaPipe's models of people, run by LiteRT: the mask and the keypoints of one person, in a box, a frame or a clip.

Bazarevsky et al., BlazePose, 2020. A detector finds the middle of the hips and a circle round the whole person. A landmark
model looks at the square round that circle, turned so that the person stands upright; it gives 39 landmarks, a mask and the
probability that a person is there. In a clip the square of a frame follows from two of the landmarks in the frame before.

Of the landmarks 17 are COCO's keypoints (`LANDMARKS_OF_COCO`); left and right are the person's own, as in COCO. A keypoint's
confidence is the landmark's visibility: that it is there and nothing hides it. Pixels are sampled, landmarks refined by their
heat maps, and detections averaged as in MediaPipe's own graphs; landmarks are not smoothed over time.

Nothing is downloaded here: `python -m stages.models fetch mediapipe` does it.
"""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.special import expit

from people.records import COCO_KEYPOINTS
from people.storage import trained_weights
from people.storage.trained_weights import Published
from people.video import litert
from people.video.litert import Model

_FETCH = "run python -m stages.models fetch mediapipe"
LANDMARK_MODEL = Model(
    Published(
        "pose_landmark_full-e9a5c5cb.tflite",
        "MediaPipe's landmark model",
        f"{_FETCH}, or set the file's path as `weights` in params.yaml",
    ),
    256,
    {
        "Identity": (195,),  # 39 landmarks: x, y, z (px of the input), logits of visibility and of presence
        "Identity_1": (1,),  # probability of a person
        "Identity_2": (256, 256, 1),  # logits of the mask
        "Identity_3": (64, 64, 39),  # logits of the landmarks' heat maps
    },
)
DETECTOR = Model(
    Published(
        "pose_detection-9ba9dd3d.tflite", "MediaPipe's person detector", f"{_FETCH}, or copy it beside the landmark model"
    ),
    224,
    {"Identity": (2254, 12), "Identity_1": (2254, 1)},  # box and four points (px of the input); logit of the score
)
SELFIE_MODEL = Model(
    Published("selfie_segmentation-9ee168ec.tflite", "MediaPipe's foreground model", _FETCH),
    256,
    {"activation_10": (256, 256, 1)},
)

LANDMARKS_OF_COCO = {
    "nose": 0, "left_eye": 2, "right_eye": 5, "left_ear": 7, "right_ear": 8, "left_shoulder": 11, "right_shoulder": 12,
    "left_elbow": 13, "right_elbow": 14, "left_wrist": 15, "right_wrist": 16, "left_hip": 23, "right_hip": 24, "left_knee": 25,
    "right_knee": 26, "left_ankle": 27, "right_ankle": 28,
}  # fmt: skip
_COCO = [LANDMARKS_OF_COCO[name] for name in COCO_KEYPOINTS]
_CIRCLE_MIDDLE, _CIRCLE_POINT = (
    33,
    34,
)  # landmarks: the middle of the hips, and a point on the circle, above it in the body's frame

MARGIN = 1.25  # of the square's side to the circle's diameter, or to a box's longer side
MIN_PROBABILITY = 0.5  # of a person, by the landmark model
MIN_CONFIDENCE = 0.5  # of a keypoint that counts as labelled
# MediaPipe's default is 0.5; furniture in an empty room has up to 0.57, people who are not cut off from 0.6 on
MIN_DETECTOR_SCORE = 0.6
_SAME_PERSON_IOU = 0.3  # detections of this overlap with the best are averaged
_ANCHOR_GRIDS = ((28, 2), (14, 2), (7, 6))  # cells along a side of the detector's input, and anchors in each cell
_REFINED_CELLS, _REFINED_LEVEL = 7, 0.5  # side of the neighbourhood in a heat map, and the least that its largest value must be


class Models(NamedTuple):
    """The files of the detector and of the landmark model."""

    detector: Path
    landmarks: Path


class Region(NamedTuple):
    """A square of a frame: its middle, its side, and how far it is turned clockwise. It may leave the frame."""

    x_px: float
    y_px: float
    side_px: float
    angle_rad: float


class Person(NamedTuple):
    """What the landmark model sees: the mask of the frame, 0 to 1, and COCO's keypoints (x, y, px; confidence, 0 to 1).

    `probability` says whether anybody is there, `following` is the region in which to look in the next frame.
    """

    mask: Float[np.ndarray, "height width"]
    keypoints_px: Float[np.ndarray, "17 3"]
    probability: float
    following: Region


def landmark_file(file: str) -> Path:
    """The landmark model's `file`, or where it is empty MediaPipe's in torch's cache; see `people.storage.trained_weights`."""
    return trained_weights.weights_file(LANDMARK_MODEL.published, file)


def weights_files(file: str) -> Models:
    """`landmark_file`, and the detector's, which lies beside it."""
    landmarks = landmark_file(file)
    return Models(
        trained_weights.weights_file(DETECTOR.published, str(landmarks.with_name(DETECTOR.published.name))), landmarks
    )


# --- in a box, in a frame, in a clip ---------------------------------------------------------------------------------


def person_in_box(
    frame_rgb: UInt8[np.ndarray, "height width 3"], box_xyxy_px: Float[np.ndarray, " 4"], landmarks: Path
) -> Person:
    """The person in a box, seen in an upright square round it, and where one is there again in the square that follows."""
    person = person_in_region(frame_rgb, region_of_box(box_xyxy_px), landmarks)
    if person.probability < MIN_PROBABILITY:
        return person
    again = person_in_region(frame_rgb, person.following, landmarks)
    return again if again.probability >= MIN_PROBABILITY else person


def person_in_frame(frame_rgb: UInt8[np.ndarray, "height width 3"], models: Models) -> Person | None:
    """The likeliest person of a frame; None where the detector finds nobody or the landmark model does not confirm it."""
    region = _detected_region(frame_rgb, models.detector)
    person = None if region is None else person_in_region(frame_rgb, region, models.landmarks)
    return None if person is None or person.probability < MIN_PROBABILITY else person


def person_in_clip(
    frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], models: Models
) -> Iterator[tuple[UInt8[np.ndarray, "_ _ 3"], Person | None]]:
    """Each frame of a clip with one person, who is followed; the detector looks in a frame in which nobody can be followed."""
    person = None
    for frame in frames_rgb:
        person = None if person is None else person_in_region(frame, person.following, models.landmarks)
        if person is None or person.probability < MIN_PROBABILITY:
            person = person_in_frame(frame, models)
        yield frame, person


def person_masks(frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], models: Models) -> Iterator[Float[np.ndarray, "_ _"]]:
    """The mask, 0 to 1, of the person who is followed through a clip; 0 throughout where there is nobody."""
    for frame, person in person_in_clip(frames_rgb, models):
        yield np.zeros(frame.shape[:2], np.float32) if person is None else person.mask


def person_keypoints(
    frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], boxes_xyxy_px: Iterable[Float[np.ndarray, " 4"]], landmarks: Path
) -> Iterator[Float[np.ndarray, "17 3"]]:
    """Keypoints of the person in each frame's box: x, y (px) and 2 where their confidence suffices, else 0, 0, 0."""
    for frame, box in zip(frames_rgb, boxes_xyxy_px, strict=True):
        person = person_in_box(frame, box, landmarks)
        labelled = (person.keypoints_px[:, 2] >= MIN_CONFIDENCE) & (person.probability >= MIN_PROBABILITY)
        keypoints = np.where(labelled[:, None], person.keypoints_px, 0)
        keypoints[:, 2] = 2 * labelled
        yield keypoints


def foreground_mask(frame_rgb: UInt8[np.ndarray, "height width 3"], selfie: Path) -> Float[np.ndarray, "height width"]:
    """The mask, 0 to 1, of everybody in a frame, by MediaPipe's model of the foreground."""
    small = cv2.resize(frame_rgb, (SELFIE_MODEL.side, SELFIE_MODEL.side))
    mask = litert.outputs(SELFIE_MODEL, selfie, small.astype(np.float32) / 255)["activation_10"][..., 0]
    return np.asarray(cv2.resize(mask, frame_rgb.shape[1::-1]))


# --- the landmark model ----------------------------------------------------------------------------------------------


def person_in_region(frame_rgb: UInt8[np.ndarray, "height width 3"], region: Region, landmarks: Path) -> Person:
    """What the landmark model sees in a region of a frame, whether or not a person is there."""
    to_input, side = _to_square(region, LANDMARK_MODEL.side), LANDMARK_MODEL.side
    square = cv2.warpAffine(frame_rgb, to_input, (side, side), borderMode=cv2.BORDER_REPLICATE)
    outputs = litert.outputs(LANDMARK_MODEL, landmarks, square.astype(np.float32) / 255)
    values, to_frame = outputs["Identity"].reshape(-1, 5), cv2.invertAffineTransform(to_input)
    places_px = refined(values[:, :2], outputs["Identity_3"]) @ to_frame[:, :2].T + to_frame[:, 2]
    mask = cv2.warpAffine(expit(outputs["Identity_2"][..., 0]), to_frame, frame_rgb.shape[1::-1])
    keypoints_px = np.column_stack([places_px[_COCO], expit(values[_COCO, 3])]).astype(np.float32)
    following = region_of_circle(places_px[_CIRCLE_MIDDLE], places_px[_CIRCLE_POINT])
    return Person(np.asarray(mask), keypoints_px, float(outputs["Identity_1"][0]), following)


def refined(
    places: Float[np.ndarray, "landmark 2"], heat_map_logits: Float[np.ndarray, "rows columns landmark"]
) -> Float[np.ndarray, "landmark 2"]:
    """Places (x, y; px of the input) moved to the mean of the heat map's 7x7 cells round them, where it is sure of itself.

    Its largest value there has to be at least 0.5; a landmark outside of the map stays.
    """
    rows, columns, count = heat_map_logits.shape
    px_per_cell = LANDMARK_MODEL.side / columns
    column, row = np.trunc(places / px_per_cell).astype(int).T
    offset = np.arange(_REFINED_CELLS) - _REFINED_CELLS // 2
    near_rows, near_columns = row[:, None, None] + offset[:, None], column[:, None, None] + offset
    inside = (near_rows >= 0) & (near_rows < rows) & (near_columns >= 0) & (near_columns < columns)
    cells = near_rows.clip(0, rows - 1), near_columns.clip(0, columns - 1), np.arange(count)[:, None, None]
    weights = np.where(inside, expit(heat_map_logits[cells].astype(np.float64)), 0)
    total = np.maximum(weights.sum((1, 2)), 1e-9)
    means = np.stack([(weights * near).sum((1, 2)) / total for near in (near_columns, near_rows)], axis=1) * px_per_cell
    is_sure = weights.max((1, 2)) >= _REFINED_LEVEL
    within = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    return np.where((is_sure & within)[:, None], means, places.astype(np.float64))


def region_of_circle(middle_xy_px: Float[np.ndarray, " 2"], point_xy_px: Float[np.ndarray, " 2"]) -> Region:
    """The square round a circle, turned so that the line from the middle to the point on the circle is upright."""
    across, down = (point_xy_px - middle_xy_px).tolist()
    side_px = max(2 * MARGIN * float(np.hypot(across, down)), 1.0)
    return Region(float(middle_xy_px[0]), float(middle_xy_px[1]), side_px, float(np.arctan2(across, -down)))


def region_of_box(box_xyxy_px: Float[np.ndarray, " 4"]) -> Region:
    """The upright square round a box's middle."""
    x0, y0, x1, y1 = np.asarray(box_xyxy_px, np.float64).tolist()
    return Region((x0 + x1) / 2, (y0 + y1) / 2, max(MARGIN * max(x1 - x0, y1 - y0), 1.0), 0.0)


def _to_square(region: Region, side: int) -> Float[np.ndarray, "2 3"]:
    """The affine map from a frame's pixels to those of the region, `side` pixels wide."""
    scale = side / region.side_px
    cosine, sine = scale * np.cos(region.angle_rad), scale * np.sin(region.angle_rad)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    return np.column_stack([turn, side / 2 - turn @ [region.x_px, region.y_px]])


# --- the detector ----------------------------------------------------------------------------------------------------


def _detected_region(frame_rgb: UInt8[np.ndarray, "height width 3"], detector: Path) -> Region | None:
    """The region of the person with the highest score, None below `MIN_DETECTOR_SCORE`."""
    (height, width), side = frame_rgb.shape[:2], DETECTOR.side
    to_input = _to_square(Region(width / 2, height / 2, max(height, width), 0.0), side)
    square = cv2.warpAffine(frame_rgb, to_input, (side, side))  # black round the frame
    outputs = litert.outputs(DETECTOR, detector, square.astype(np.float32) / 127.5 - 1)
    every_score = expit(outputs["Identity_1"][:, 0].astype(np.float64))
    candidates = np.flatnonzero(every_score >= MIN_DETECTOR_SCORE)
    if not len(candidates):
        return None
    scores, anchors, values = every_score[candidates], anchors_xy_px()[candidates], outputs["Identity"][candidates]
    middle, half = anchors + values[:, :2], values[:, 2:4] / 2
    is_same = _iou(np.concatenate([middle - half, middle + half], axis=1), int(scores.argmax())) > _SAME_PERSON_IOU
    circles = anchors[:, None] + values[:, 4:8].reshape(-1, 2, 2)  # the middle and a point
    circle = np.average(circles[is_same], axis=0, weights=scores[is_same])
    to_frame = cv2.invertAffineTransform(to_input)
    return region_of_circle(*(circle @ to_frame[:, :2].T + to_frame[:, 2]))


@functools.cache
def anchors_xy_px() -> Float[np.ndarray, "2254 2"]:
    """The middles of the detector's anchors, in pixels of its input: cell by cell, row by row, grid by grid."""
    grids = []
    for cells, anchors in _ANCHOR_GRIDS:
        middles = (np.arange(cells) + 0.5) * DETECTOR.side / cells
        places = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        grids.append(np.repeat(places, anchors, axis=0))
    return np.concatenate(grids)


def _iou(boxes_xyxy: Float[np.ndarray, "box 4"], row: int) -> Float[np.ndarray, " box"]:
    """Intersection over union of each box with the one in a row; 1 with itself."""
    box = boxes_xyxy[row]
    low, high = np.maximum(boxes_xyxy[:, :2], box[:2]), np.minimum(boxes_xyxy[:, 2:], box[2:])
    shared = (high - low).clip(min=0).prod(1)
    areas = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(1)
    ratios = shared / np.maximum(areas + areas[row] - shared, 1e-9)
    ratios[row] = 1
    return ratios
