"""How well people are followed in a video of one person at a time, by each way of finding them, and how fast.

    python -m benchmarks.tracking VIDEO VISITS.csv [--finders background-384 maskrcnn]

VISITS.csv has the columns visit, first_frame, last_frame: the frames, counted from 0, that show any part of the visitor, as
tests/tracking/intel_video_visits.csv has them of Intel's one-by-one-person-detection.mp4. By frame: precision, of the frames
with a confirmed track those in a visit, and recall, of the frames in a visit those with a confirmed track. Switches: how often
the track's number changes within a visit. Joined: tracks that lie in two visits. Frames per second of one core: of processor
time, decoding and the empty scene included.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from people.tracking import moving_people
from people.tracking.finders import Detector, Finder
from people.tracking.sources import Source, open_source
from people.tracking.tracker import Config, Track, Tracker

TRACKING = Config(high_score=0.5, low_score=0.1, min_iou=0.1, confirm_frames=3, lost_s=1.0)
SCENE_PICTURES = 40
Visit = tuple[int, int]  # its first and its last frame


def background(side_px: int) -> Callable[[Source], Finder]:
    """Background subtraction on frames of this size."""
    config = moving_people.Config(side_px=side_px, min_height_share=0.15, absorb_s=60.0)
    return lambda source: moving_people.MovingPeople(source.spread(SCENE_PICTURES), config)


FINDERS: dict[str, Callable[[Source], Finder]] = {
    "background-384": background(384),
    "background-640": background(640),
    "fasterrcnn": lambda source: Detector("fasterrcnn", ""),
    "maskrcnn": lambda source: Detector("maskrcnn", ""),
}


@dataclass(frozen=True)
class Figures:
    """What a way of finding people reaches on a video."""

    precision: float
    recall: float
    tracks: int
    switches: int
    joined: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("video")
    parser.add_argument("visits", type=Path)
    parser.add_argument("--finders", nargs="+", choices=list(FINDERS), default=list(FINDERS))
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    table = pd.read_csv(asked.visits)
    visits = list(zip(table["first_frame"], table["last_frame"], strict=True))
    print(f"{'finder':16} {'precision':>9} {'recall':>7} {'tracks':>7} {'switches':>9} {'joined':>7} {'frames/s and core':>18}")
    for name in asked.finders:
        source, start = open_source(asked.video), time.process_time()
        try:
            finder = FINDERS[name](source)
        except ValueError as error:
            print(f"{name:16} not here: {error}")
            continue
        tracks, frame_count = follow(source, finder)
        rate = frame_count / (time.process_time() - start)
        figures = judge(tracks, visits, frame_count)
        print(
            f"{name:16} {figures.precision:9.4f} {figures.recall:7.4f} {figures.tracks:7} {figures.switches:9} "
            f"{figures.joined:7} {rate:18.1f}"
        )


def follow(source: Source, finder: Finder) -> tuple[list[Track], int]:
    """The confirmed tracks of a video, and the number of its frames."""
    tracker, tracks, frame_count = Tracker(TRACKING, source.rate_hz), [], 0
    for frame in source.frames():
        found = finder.find(frame.rgb, frame.time_s)
        _, ended = tracker.update(found.boxes_xyxy_px, found.scores, frame=frame.number, time_s=frame.time_s)
        tracks, frame_count = tracks + ended, frame.number + 1
    return [track for track in tracks + tracker.close() if track.confirmed], frame_count


def judge(tracks: list[Track], visits: list[Visit], frame_count: int) -> Figures:
    """Tracks against the visits of which there is one at a time; where tracks are there at once, the largest box counts."""
    true, number, area = np.zeros(frame_count, bool), np.zeros(frame_count, int), np.zeros(frame_count)
    for first, last in visits:
        true[first : last + 1] = True
    for track in tracks:
        for frame, (x0, y0, x1, y1) in zip(track.frames, track.boxes_xyxy_px, strict=True):
            if (size := (x1 - x0) * (y1 - y0)) > area[frame]:
                number[frame], area[frame] = track.number, size
    within = [number[first : last + 1] for first, last in visits]
    return Figures(
        precision=float((true & (number > 0)).sum() / max((number > 0).sum(), 1)),
        recall=float((true & (number > 0)).sum() / true.sum()),
        tracks=len(tracks),
        switches=sum(int(np.count_nonzero(np.diff(each[each > 0]))) for each in within),
        joined=sum(
            sum(track.frames[0] <= last and track.frames[-1] >= first for first, last in visits) > 1 for track in tracks
        ),
    )


if __name__ == "__main__":
    main()
