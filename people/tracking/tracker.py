"""Several people followed through a video: the boxes of one person joined from frame to frame into a track.

As in ByteTrack (Zhang et al., ECCV 2022): boxes are predicted by a Kalman filter of constant velocity (state and noise of Wojke
et al., ICIP 2017) and assigned by their overlap, those of high score first, then those of low score to tracks without one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from people.config import check

POSITION_NOISE, VELOCITY_NOISE = 1 / 20, 1 / 160  # of the box's height, for a frame
ASPECT_NOISE, ASPECT_VELOCITY_NOISE, ASPECT_MEASUREMENT_NOISE = 1e-2, 1e-5, 1e-1
LONGEST_STEP_FRAMES = 30.0  # of a prediction: a gap in the video says nothing of the velocity after it


@dataclass(frozen=True)
class Config:
    """When a box belongs to a track, and when a track begins and ends.

    A box of at least `high_score` is assigned first and can begin a track; one below `low_score` is not looked at. `min_iou`:
    of a box and a track's predicted box. A track is `confirmed` once it has `confirm_frames` boxes, and ends `lost_s` seconds
    after its last one.
    """

    high_score: float
    low_score: float
    min_iou: float
    confirm_frames: int
    lost_s: float

    def __post_init__(self) -> None:
        rules = {
            "low_score": (0 <= self.low_score <= 1, "in [0, 1]"),
            "high_score": (self.low_score <= self.high_score <= 1, "in [low_score, 1]"),
            "min_iou": (0 < self.min_iou < 1, "in (0, 1)"),
            "confirm_frames": (self.confirm_frames >= 1, "at least 1"),
            "lost_s": (self.lost_s > 0, "above 0"),
        }
        check("identify.tracking.", self, rules)


@dataclass(eq=False)
class Track:
    """One person's boxes: when each was seen (number of the frame, seconds), (x0, y0, x1, y1; px), and its score."""

    number: int  # from 1, in the order in which tracks begin, those of one frame from left to right, confirmed or not
    frames: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    boxes_xyxy_px: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    confirmed: bool = False


@dataclass(eq=False)
class _Followed:
    """A track with the state of its filter: (x, y) of the middle, aspect ratio, height, and their velocities per frame."""

    track: Track
    mean: np.ndarray
    covariance: np.ndarray


class Tracker:
    """Joins the boxes of a video, frame by frame, into tracks."""

    def __init__(self, config: Config, frame_rate_hz: float) -> None:
        self.config, self.frame_rate_hz = config, frame_rate_hz
        self._followed: list[_Followed] = []
        self._begun = 0
        self._time_s: float | None = None
        self._last_frame = -1

    def update(
        self,
        boxes_xyxy_px: Float[np.ndarray, "person 4"],
        scores: Float[np.ndarray, " person"],
        *,
        frame: int,
        time_s: float,
    ) -> tuple[list[Track | None], list[Track]]:
        """One frame: the track of each box (None for a box that begins none), and the tracks that have ended before it."""
        ended = self._end_lost(time_s)
        self._predict(time_s)
        tracks: list[Track | None] = [None] * len(boxes_xyxy_px)
        is_high = scores >= self.config.high_score
        seen_last_frame = [each for each in self._followed if each.track.frames[-1] == self._last_frame]
        self._last_frame = frame
        rows, waiting = np.flatnonzero(is_high), list(self._followed)
        for each, row in self._assign(waiting, boxes_xyxy_px, rows):
            tracks[row] = self._append(each, boxes_xyxy_px[row], float(scores[row]), frame, time_s)
            waiting.remove(each)
        rows = np.flatnonzero(~is_high & (scores >= self.config.low_score))
        for each, row in self._assign([each for each in waiting if each in seen_last_frame], boxes_xyxy_px, rows):
            tracks[row] = self._append(each, boxes_xyxy_px[row], float(scores[row]), frame, time_s)
        for row in sorted(np.flatnonzero(is_high).tolist(), key=lambda row: boxes_xyxy_px[row].tolist()):
            if tracks[row] is None:
                tracks[row] = self._begin(boxes_xyxy_px[row], float(scores[row]), frame, time_s)
        return tracks, ended

    def close(self) -> list[Track]:
        """The tracks that have not ended yet, at the end of the video."""
        tracks, self._followed = [each.track for each in self._followed], []
        return tracks

    def _end_lost(self, time_s: float) -> list[Track]:
        is_lost = [time_s - each.track.times_s[-1] > self.config.lost_s for each in self._followed]
        ended = [each.track for each, lost in zip(self._followed, is_lost, strict=True) if lost]
        self._followed = [each for each, lost in zip(self._followed, is_lost, strict=True) if not lost]
        return ended

    def _predict(self, time_s: float) -> None:
        """Every filter's state at this time; while somebody is not seen the height stays: it shrank as they were hidden."""
        step = 1.0 if self._time_s is None else (time_s - self._time_s) * self.frame_rate_hz
        step, self._time_s = min(max(step, 0.0), LONGEST_STEP_FRAMES), time_s
        transition = np.eye(8)
        transition[:4, 4:] = step * np.eye(4)
        for each in self._followed:
            height = max(each.mean[3], 1.0)
            deviation = height * np.array([POSITION_NOISE] * 4 + [VELOCITY_NOISE] * 4)
            deviation[[2, 6]] = ASPECT_NOISE, ASPECT_VELOCITY_NOISE
            if each.track.frames[-1] != self._last_frame:
                each.mean[7] = 0
            each.mean = transition @ each.mean
            each.covariance = transition @ each.covariance @ transition.T + step * np.diag(deviation**2)

    def _assign(
        self, followed: Sequence[_Followed], boxes_xyxy_px: Float[np.ndarray, "person 4"], rows: np.ndarray
    ) -> list[tuple[_Followed, int]]:
        """Tracks and the rows of boxes that go together: of all assignments the one with the largest sum of overlaps."""
        if not followed or not len(rows):
            return []
        overlap = iou(np.stack([_box(each.mean) for each in followed]), boxes_xyxy_px[rows])
        matched, column = linear_sum_assignment(np.where(overlap >= self.config.min_iou, -overlap, 0.0))
        pairs = zip(matched.tolist(), column.tolist(), strict=True)
        return [(followed[i], int(rows[j])) for i, j in pairs if overlap[i, j] >= self.config.min_iou]

    def _append(self, each: _Followed, box_xyxy_px: np.ndarray, score: float, frame: int, time_s: float) -> Track:
        """Correct a filter by the box that was seen, and keep the box."""
        deviation = max(each.mean[3], 1.0) * np.full(4, POSITION_NOISE)
        deviation[2] = ASPECT_MEASUREMENT_NOISE
        innovation = each.covariance[:4, :4] + np.diag(deviation**2)
        gain = np.linalg.solve(innovation, each.covariance[:4]).T
        each.mean = each.mean + gain @ (_measured(box_xyxy_px) - each.mean[:4])
        each.covariance = each.covariance - gain @ each.covariance[:4]
        return self._keep(each.track, box_xyxy_px, score, frame, time_s)

    def _begin(self, box_xyxy_px: np.ndarray, score: float, frame: int, time_s: float) -> Track:
        self._begun += 1
        measured = _measured(box_xyxy_px)
        deviation = max(measured[3], 1.0) * np.array([2 * POSITION_NOISE] * 4 + [10 * VELOCITY_NOISE] * 4)
        deviation[[2, 6]] = ASPECT_NOISE, ASPECT_VELOCITY_NOISE
        followed = _Followed(Track(self._begun), np.concatenate([measured, np.zeros(4)]), np.diag(deviation**2))
        self._followed.append(followed)
        return self._keep(followed.track, box_xyxy_px, score, frame, time_s)

    def _keep(self, track: Track, box_xyxy_px: np.ndarray, score: float, frame: int, time_s: float) -> Track:
        track.frames.append(frame)
        track.times_s.append(time_s)
        track.boxes_xyxy_px.append(np.asarray(box_xyxy_px, np.float32))
        track.scores.append(score)
        track.confirmed = len(track.frames) >= self.config.confirm_frames
        return track


def iou(first_xyxy: Float[np.ndarray, "a 4"], second_xyxy: Float[np.ndarray, "b 4"]) -> Float[np.ndarray, "a b"]:
    """Intersection over union of every box of one list with every box of another; 0 where both are empty."""
    low = np.maximum(first_xyxy[:, None, :2], second_xyxy[None, :, :2])
    high = np.minimum(first_xyxy[:, None, 2:], second_xyxy[None, :, 2:])
    intersection = np.clip(high - low, 0, None).prod(2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) for boxes in (first_xyxy, second_xyxy)]
    union = areas[0][:, None] + areas[1][None] - intersection
    return intersection / np.maximum(union, 1e-9)


def _measured(box_xyxy_px: np.ndarray) -> np.ndarray:
    """(x, y) of the middle, aspect ratio, height."""
    x0, y0, x1, y1 = np.asarray(box_xyxy_px, np.float64)
    height = max(y1 - y0, 1e-3)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / height, height])


def _box(mean: np.ndarray) -> np.ndarray:
    """(x0, y0, x1, y1) of a filter's state."""
    x, y, aspect, height = mean[:4]
    half = np.array([aspect * height, height]) / 2
    return np.array([x - half[0], y - half[1], x + half[0], y + half[1]])
