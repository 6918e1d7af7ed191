"""From a video to finished tracks, one after the other: memory is bounded by the tracks that are open, not by the video."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from threading import Event
from typing import Any, NamedTuple

import numpy as np

from people import systems
from people.config import build, check
from people.tracking import moving_people
from people.tracking.finders import Finder, FoundPeople, MediapipeMasks
from people.tracking.sources import Frame, Source, SourceError
from people.tracking.track_features import Config as FeatureConfig
from people.tracking.track_features import Features, FrameRate
from people.tracking.tracker import Config as TrackerConfig
from people.tracking.tracker import Track, Tracker

FINDERS = ("background", "fasterrcnn", "maskrcnn", "multipose")
MASKS = ("finder", "mediapipe")
PARTS: dict[str, type] = {"background": moving_people.Config, "tracking": TrackerConfig}
SCENE_PICTURES = 40  # from which the empty scene is made
CAMERA_SCENE_S = 2.0  # of a camera, which cannot be looked at in advance


@dataclass(frozen=True)
class Config:
    """Who finds people, and how their boxes become tracks.

    `masks`: whose, from which silhouettes are made: the finder's own where it has some, or MediaPipe's in its boxes.
    `finder_weights` and `mask_weights`: files of torchvision's detectors and of MediaPipe ("": torch's cache). `max_frames`: of
    a track, of which features are kept. `systems`: whose champions describe the tracks, where there are some.
    `false_accept_rate`: with a gallery, the share of strangers who may be taken for somebody in it.
    """

    finder: str
    finder_weights: str
    masks: str
    mask_weights: str
    max_frames: int
    systems: list[str]
    false_accept_rate: float
    background: Any  # moving_people.Config, or its block in params.yaml
    tracking: Any  # TrackerConfig, or its block

    def __post_init__(self) -> None:
        for name, kind in PARTS.items():
            if isinstance(block := getattr(self, name), Mapping):
                object.__setattr__(self, name, build(kind, block))
        rules = {
            **{name: (isinstance(getattr(self, name), kind), "a block") for name, kind in PARTS.items()},
            "finder": (self.finder in FINDERS, f"one of {', '.join(FINDERS)}"),
            "masks": (self.masks in MASKS, f"one of {', '.join(MASKS)}"),
            "max_frames": (self.max_frames >= 1, "at least 1"),
            "false_accept_rate": (0 < self.false_accept_rate < 1, "between 0 and 1"),
            "systems": (set(self.systems) <= set(systems.names()), f"some of {', '.join(systems.names())}"),
        }
        check("identify.", self, rules)


class Person(NamedTuple):
    """A track with its features, by the dataset of whose clips they are made alike, and the probabilities of its activities."""

    track: Track
    features: dict[str, Features]
    activities: list[np.ndarray]


@dataclass(eq=False)
class Progress:
    """What is known while a video is read: its frames so far, the tracks in the newest one, and why it ended early."""

    frames: int = 0
    size_hw: tuple[int, int] = (0, 0)
    fault: str = ""
    open_people: dict[int, Person] = field(default_factory=dict)


class Shown(NamedTuple):
    """One frame with the boxes in it and the numbers of their tracks."""

    frame: Frame
    boxes_xyxy_px: np.ndarray
    numbers: list[int]


def follow(
    source: Source,
    config: Config,
    features: Mapping[str, FeatureConfig],
    progress: Progress,
    stopped: Event,
    *,
    detector: Finder | None = None,
    until_s: float | None = None,
) -> Iterator[Shown | Person]:
    """Every frame, and every confirmed track when it has ended; the video ends early once `stopped` is set, or at `until_s`.

    `detector` finds people in single frames; without one it is background subtraction.

    A source that ends before its end is told in `progress.fault`; what was seen before is answered.
    """
    tracker = Tracker(config.tracking, source.rate_hz)
    rates = {dataset: FrameRate(each.frame_rate_hz) for dataset, each in features.items()}
    try:
        for frame, found in _found(source, config, detector):
            taken = [dataset for dataset, rate in rates.items() if rate.takes(frame.time_s)]
            progress.frames, progress.size_hw = frame.number + 1, (frame.rgb.shape[0], frame.rgb.shape[1])
            tracks, ended = tracker.update(found.boxes_xyxy_px, found.scores, frame=frame.number, time_s=frame.time_s)
            yield from _finished(ended, progress)
            for row, track in enumerate(tracks):
                if track is not None:
                    person = progress.open_people.get(track.number) or _begun(track, features, progress)
                    mask = found.masks[row] if found.masks is not None else None
                    for dataset in taken:
                        person.features[dataset].add(frame.rgb, found.boxes_xyxy_px[row], mask, rates[dataset].taken)
                    if found.activities is not None:
                        person.activities.append(found.activities[row])
            yield _shown(frame, tracks, found)
            if stopped.is_set():
                progress.fault = f"stopped after {progress.frames} frames"
                break
            if until_s is not None and frame.time_s >= until_s:
                break
    except SourceError as error:
        progress.fault = str(error)
    yield from _finished(tracker.close(), progress)


def _begun(track: Track, features: Mapping[str, FeatureConfig], progress: Progress) -> Person:
    person = Person(track, {dataset: Features(config) for dataset, config in features.items()}, [])
    progress.open_people[track.number] = person
    return person


def _finished(ended: list[Track], progress: Progress) -> Iterator[Person]:
    for track in ended:
        person = progress.open_people.pop(track.number)
        if track.confirmed:
            yield person


def _shown(frame: Frame, tracks: list[Track | None], found: FoundPeople) -> Shown:
    shown = {row: track.number for row, track in enumerate(tracks) if track is not None and track.confirmed}
    return Shown(frame, found.boxes_xyxy_px[list(shown)], list(shown.values()))


def _found(source: Source, config: Config, detector: Finder | None) -> Iterator[tuple[Frame, FoundPeople]]:
    """Every frame with the people in it."""
    frames = source.frames()
    first: list[Frame] = []
    if detector is None:
        pictures = list(_reduced(source.spread(SCENE_PICTURES), config.background.side_px))
        if not pictures:
            first = list(_until(frames, CAMERA_SCENE_S))
            pictures = [frame.rgb for frame in first]
        if not pictures:
            return
        detector = moving_people.MovingPeople(pictures, config.background)
    finder = MediapipeMasks(detector, config.mask_weights) if config.masks == "mediapipe" else detector
    for frame in chain(first, frames):
        yield frame, finder.find(frame.rgb, frame.time_s)


def _until(frames: Iterator[Frame], time_s: float) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        if frame.time_s >= time_s:
            return


def _reduced(pictures: Iterator[np.ndarray], side_px: int) -> Iterator[np.ndarray]:
    """The pictures as the finder reduces them: forty of 4K would fill a gigabyte."""
    for picture in pictures:
        yield moving_people.reduced(picture, side_px)
