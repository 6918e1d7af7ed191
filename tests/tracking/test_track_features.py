"""Features of a track are those that the stages make of a clip."""

from typing import Any

import numpy as np
import pytest

from people.tracking.track_features import PHOTOS, Config, Features, FrameRate, photo
from people.video import crops, flow, foregrounds, silhouettes
from people.video.masks import crop as cropped

SILHOUETTE = silhouettes.Config(method="background", size_hw=[64, 44], soft=False, pretreatment="scaled", weights="")
SOFT = silhouettes.Config(method="background", size_hw=[64, 32], soft=True, pretreatment="scaled", weights="")
CROP = crops.Config(size_hw=[32, 16])
FLOW = flow.Config(method="farneback", compute_size_hw=[60, 80], size_hw=[60, 80])
HEIGHT, WIDTH = 120, 160


def walk(count: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Frames of a striped figure that moves to the right before noise, its masks, and its boxes."""
    rng = np.random.default_rng(1)
    background = rng.integers(60, 120, (HEIGHT, WIDTH, 3), np.uint8)
    frames, masks, boxes = np.repeat(background[None], count, axis=0), [], []
    for index, frame in enumerate(frames):
        x = 20 + 3 * index
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[20:100, x : x + 30] = 255
        mask[70:100, x + 10 + index % 5 : x + 18] = 0
        frame[mask > 0] = np.indices((HEIGHT, WIDTH)).sum(0)[mask > 0, None] % 256
        masks.append(mask)
        boxes.append((x, 20, x + 30, 100))
    return frames, masks, np.array(boxes, np.float32)


def features_of(frames: np.ndarray, masks: list[Any], boxes: np.ndarray, *, numbers: Any = None, **config: Any) -> Features:
    features = Features(Config(**config))
    for index, number in enumerate(range(len(frames)) if numbers is None else numbers):
        mask = None if masks[index] is None else cropped(masks[index])
        features.add(frames[index], boxes[index], mask, number)
    return features


@pytest.mark.parametrize("config", [SILHOUETTE, SOFT])
def test_silhouettes_are_those_of_a_clip_with_these_masks(config: silhouettes.Config):
    frames, masks, boxes = walk(6)
    made = features_of(frames, masks, boxes, silhouette=config).arrays("silhouettes")
    expected = silhouettes.normalise_masks([cropped(mask) for mask in masks], config)
    assert set(made) == set(expected._fields)
    for name, values in expected._asdict().items():
        np.testing.assert_array_equal(made[name], values)
        assert made[name].dtype == values.dtype


def test_foregrounds_show_the_frame_within_the_silhouette():
    frames, masks, boxes = walk(3)
    features = features_of(frames, masks, boxes, silhouette=SOFT, foreground=foregrounds.Config(size_hw=[64, 32]))
    silhouette, pictures = features.arrays("silhouettes"), features.arrays("foregrounds")["foreground"]
    for index, frame in enumerate(frames):
        box = silhouette["box"][index]
        shown = foregrounds.region(box, [64, 32])
        expected = foregrounds.foreground(frame, silhouette["silhouette"][index], box, shown, [64, 32]).picture
        np.testing.assert_array_equal(pictures[index], expected)


def test_flow_is_that_of_the_frames_and_runs_over_no_gap():
    frames, masks, boxes = walk(9)
    whole = features_of(frames, masks, boxes, flow=FLOW).arrays("flow")
    np.testing.assert_array_equal(whole["flow"], flow.clip_flow(list(frames), FLOW).flow)
    np.testing.assert_allclose(whole["box"], boxes[1:] / 2)  # at half the size; box i is of frame i + 1
    chosen = [0, 1, 3, 4, 5, 6, 8]
    broken = features_of(frames[chosen], masks, boxes[chosen], numbers=chosen, flow=FLOW).arrays("flow")
    np.testing.assert_array_equal(broken["flow"], flow.clip_flow(list(frames[3:7]), FLOW).flow)
    assert features_of(frames[:1], masks, boxes, flow=FLOW).arrays("flow") == {}


def test_who_is_cut_off_by_the_border_counts_only_if_never_seen_whole():
    frames, masks, boxes = walk(4)
    boxes[0, 0], boxes[2, 3] = 0, HEIGHT
    config = {"silhouette": SOFT, "foreground": foregrounds.Config(size_hw=[64, 32])}
    made = features_of(frames, masks, boxes, **config)
    assert made.arrays("silhouettes")["frame"][:, 0].tolist() == [1, 3]
    assert len(made.arrays("foregrounds")["foreground"]) == 2
    boxes[:, 0] = 0
    assert len(features_of(frames, masks, boxes, **config).arrays("silhouettes")["frame"]) == 4


def test_what_is_not_asked_for_or_not_seen_is_not_there():
    frames, masks, boxes = walk(3)
    assert features_of(frames, masks, boxes, crop=CROP).arrays("silhouettes") == {}
    assert features_of(frames, [None] * 3, boxes, silhouette=SILHOUETTE).arrays("silhouettes") == {}
    empty = [np.zeros_like(mask) for mask in masks]
    empty[0][50, 50] = 255
    assert features_of(frames[:1], empty, boxes, silhouette=SILHOUETTE).arrays("silhouettes") == {}


@pytest.mark.parametrize("count", [1, PHOTOS, 2 * PHOTOS - 1, 2 * PHOTOS, 5 * PHOTOS + 3])
def test_photos_are_spread_over_the_whole_track_and_are_not_many(count: int):
    frames = np.full((count, 8, 8, 3), 0, np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    boxes = np.tile(np.array([0, 0, 8, 8], np.float32), (count, 1))
    images = features_of(frames, [None] * count, boxes, crop=CROP).arrays("crops")["image"]
    seen = images[:, 0, 0, 0].astype(int)
    assert min(count, PHOTOS) <= len(seen) < 2 * PHOTOS
    assert seen[0] == 0
    assert len(set(np.diff(seen))) <= 1
    assert count - 1 - seen[-1] < max(np.diff(seen), default=1)


def test_memory_is_bounded_by_max_frames():
    frames, masks, boxes = walk(9)
    features = features_of(frames, masks, boxes, silhouette=SILHOUETTE, flow=FLOW, max_frames=4)
    assert len(features.arrays("silhouettes")["frame"]) == 4
    assert len(features.arrays("flow")["flow"]) == 3
    assert features.frame_count == 9


def test_a_photo_has_the_person_in_the_middle_at_its_own_aspect_ratio():
    frame = np.zeros((100, 100, 3), np.uint8)
    frame[30:70, 40:60] = 255
    square = photo(frame, np.array([40, 30, 60, 70], np.float32), crops.Config(size_hw=[44, 44]))
    white = np.argwhere(square[..., 0] > 127)
    np.testing.assert_array_equal(white.min(0) + white.max(0), [43, 43])  # in the middle
    assert np.ptp(white[:, 0]) + 1 == 40
    assert np.ptp(white[:, 1]) + 1 == 20  # not stretched
    beyond = photo(frame[:, :50], np.array([40, 30, 60, 70], np.float32), crops.Config(size_hw=[44, 22]))
    assert (beyond[10:30, 11:] == 255).all()  # what the frame does not show goes on as its edge


@pytest.mark.parametrize(
    ("source_hz", "rate_hz", "taken"),
    [(25, 15, 60), (30, 25, 100), (25, 25, 100), (10, 25, 40), (30, 15, 60), (29.97, 30, 120)],
)
def test_of_four_seconds_of_a_video_so_many_frames_are_taken_evenly(source_hz: float, rate_hz: float, taken: int):
    draw = np.random.default_rng(3)
    times_s = np.arange(round(4 * source_hz)) / source_hz
    times_s = np.round(times_s + draw.uniform(-0.0005, 0.0005, len(times_s)), 3)  # as Matroska rounds them
    rate = FrameRate(float(rate_hz))
    chosen = np.array([time_s for time_s in times_s if rate.takes(float(time_s))])
    assert len(chosen) == rate.taken == pytest.approx(taken, abs=1)
    assert np.diff(chosen).max() <= max(1 / source_hz, 1 / rate_hz) + 1 / source_hz
