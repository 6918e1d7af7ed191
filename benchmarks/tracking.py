"""People found and followed in a video of which somebody has noted who is in it when; frames per second of one core.

python -m benchmarks.tracking path/to/one-by-one-person-detection.mp4 tests/video/intel_video_visits.csv

The table has the columns visit, first_frame, last_frame: from the first to the last frame in which any part of a person can be
seen. A detector whose weights are not there is named with the reason.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from people.video import moving_people
from people.video.finders import Detector, Finder
from people.video.sources import Source, open_source
from people.video.tracking import Config, Track, Tracker

TRACKING = Config(high_score=0.5, low_score=0.1, min_iou=0.1, confirm_frames=3, lost_s=1.0)
SCENE_PICTURES = 40
DETECTORS = ("fasterrcnn", "maskrcnn")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("visits", type=Path, help="a CSV file: visit, first_frame, last_frame")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    source, visits = open_source(str(arguments.video)), pd.read_csv(arguments.visits)
    finders: dict[str, Callable[[], Finder]] = {
        f"background, {side_px} px": of_background(source, side_px) for side_px in (384, 640)
    }
    finders |= {name: of_detector(name) for name in DETECTORS}
    print(f"{'finder':22} {'precision':>9} {'recall':>7} {'switches':>9} {'tracks':>7} {'of several':>11} {'frames/s':>9}")
    for name, make in finders.items():
        start = time.perf_counter()
        try:
            finder = make()
        except ValueError as error:
            print(f"{name:22} {error}")
            continue
        tracks, frames = followed(source, finder)
        seconds = time.perf_counter() - start
        facts = judged(tracks, visits, frames)
        print(
            f"{name:22} {facts[0]:9.3f} {facts[1]:7.3f} {facts[2]:9d} {len(tracks):7d} {facts[3]:11d} {frames / seconds:9.1f}"
        )


def of_background(source: Source, side_px: int) -> Callable[[], Finder]:
    config = moving_people.Config(side_px=side_px, min_height_share=0.15, absorb_s=60.0)
    return lambda: moving_people.MovingPeople(source.spread(SCENE_PICTURES), config)


def of_detector(name: str) -> Callable[[], Finder]:
    return lambda: Detector(name, "")


def followed(source: Source, finder: Finder) -> tuple[list[Track], int]:
    """The confirmed tracks of a video, and how many frames it has."""
    tracker, tracks, frames = Tracker(TRACKING, source.rate_hz), [], 0
    for frame in source.frames():
        found = finder.find(frame.rgb, frame.time_s)
        tracks += tracker.update(found.boxes_xyxy_px, found.scores, frame=frame.number, time_s=frame.time_s)[1]
        frames = frame.number + 1
    return [track for track in tracks + tracker.close() if track.confirmed], frames


def judged(tracks: list[Track], visits: pd.DataFrame, frames: int) -> tuple[float, float, int, int]:
    """Precision and recall by frame, changes of the track's number within a visit, and tracks that are in several visits."""
    visit, number = np.zeros(frames, int), np.zeros(frames, int)
    for row, (first, last) in enumerate(visits[["first_frame", "last_frame"]].to_numpy(int), start=1):
        visit[first : last + 1] = row
    for track in tracks:
        number[track.frames] = track.number
    right = ((visit > 0) & (number > 0)).sum()
    switches = sum(
        np.count_nonzero(np.diff(seen[seen > 0])) for row in range(1, len(visits) + 1) for seen in [number[visit == row]]
    )
    several = sum(len(set(visit[track.frames]) - {0}) > 1 for track in tracks)
    return right / max((number > 0).sum(), 1), right / max((visit > 0).sum(), 1), int(switches), several


if __name__ == "__main__":
    main()
