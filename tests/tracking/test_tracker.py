"""Boxes of several people joined into tracks: who keeps the number, who gets a new one, and where a box is expected."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from people.tracking.tracker import Config, Track, Tracker, iou

CONFIG = Config(high_score=0.5, low_score=0.1, min_iou=0.2, confirm_frames=3, lost_s=1.05)
RATE_HZ = 10.0
Seen = tuple[tuple[float, float, float, float], float]  # a box and its score


def box(x: float, y: float = 50.0, height: float = 100.0, score: float = 0.9) -> Seen:
    """A box four tenths as wide as high, whose middle is at (x, y)."""
    return (x - 0.2 * height, y - height / 2, x + 0.2 * height, y + height / 2), score


def arrays(seen: Sequence[Seen]) -> tuple[np.ndarray, np.ndarray]:
    boxes = np.array([corners for corners, _ in seen], np.float32).reshape(-1, 4)
    return boxes, np.array([score for _, score in seen], np.float32)


def numbers(tracks: Iterable[Track | None]) -> list[int | None]:
    return [None if track is None else track.number for track in tracks]


def follow(film: Sequence[Sequence[Seen]], config: Config = CONFIG) -> tuple[list[list[int | None]], list[Track]]:
    """The numbers of the boxes in each frame, and all tracks of the film."""
    tracker, given, tracks = Tracker(config, RATE_HZ), [], []
    for frame, seen in enumerate(film):
        found, ended = tracker.update(*arrays(seen), frame=frame, time_s=frame / RATE_HZ)
        given.append(numbers(found))
        tracks += ended
    return given, sorted(tracks + tracker.close(), key=lambda track: track.number)


# --- who is who ------------------------------------------------------------------------------------------------------


def test_two_people_who_walk_past_each_other_at_different_heights_keep_their_numbers() -> None:
    given, tracks = follow([[box(40 + 4 * n, 60), box(240 - 4 * n, 90)] for n in range(50)])
    assert given == [[1, 2]] * 50
    assert [track.frames for track in tracks] == [list(range(50))] * 2


def test_two_people_who_meet_at_the_same_height_keep_their_numbers_for_the_filter_knows_where_they_were_going() -> None:
    hidden = {24, 25, 26}  # one of them is before the other
    film = [[box(40 + 4 * n, 60)] + ([] if n in hidden else [box(240 - 4 * n, 62)]) for n in range(50)]
    given, _ = follow(film)
    assert given == [[1] if n in hidden else [1, 2] for n in range(50)]


@pytest.mark.parametrize(("hidden_frames", "expected"), [(1, 1), (9, 1), (10, 2), (30, 2)])
def test_who_is_hidden_for_less_than_lost_s_keeps_the_number_and_for_more_gets_a_new_one(
    hidden_frames: int, expected: int
) -> None:
    seen = [[box(20 + 3 * n)] for n in range(60)]
    seen[20 : 20 + hidden_frames] = [[]] * hidden_frames
    given, tracks = follow(seen)  # with h frames hidden, h + 1 frames of 0.1 s lie between two boxes
    assert given[19] == [1]
    assert given[20 + hidden_frames :] == [[expected]] * (40 - hidden_frames)
    assert len(tracks) == expected


def test_a_track_that_is_lost_ends_in_the_first_frame_after_lost_s() -> None:
    tracker = Tracker(CONFIG, RATE_HZ)
    tracker.update(*arrays([box(50)]), frame=0, time_s=0.0)
    for frame in range(1, 11):
        assert tracker.update(*arrays([]), frame=frame, time_s=frame / RATE_HZ) == ([], [])
    _, ended = tracker.update(*arrays([]), frame=11, time_s=1.1)
    assert [(track.number, track.frames, track.confirmed) for track in ended] == [(1, [0], False)]
    assert tracker.close() == []


def test_boxes_of_low_score_continue_a_track_and_begin_none() -> None:
    film = [[box(20 + 3 * n, score=0.9 if n < 5 else 0.2), box(200, score=0.2)] for n in range(40)]
    given, tracks = follow(film)
    assert given == [[1, None]] * 40
    assert len(tracks) == 1
    np.testing.assert_allclose(tracks[0].scores, [0.9] * 5 + [0.2] * 35, rtol=1e-6)


def test_a_box_of_low_score_finds_back_only_who_was_seen_in_the_frame_before() -> None:
    given, _ = follow([[box(50)], [], [box(50, score=0.3)], [box(50)]])
    assert given == [[1], [], [None], [1]]


def test_a_box_of_high_score_takes_the_track_from_a_nearer_one_of_low_score() -> None:
    given, _ = follow([[box(50)], [box(50, score=0.3), box(56, score=0.7)]])
    assert given == [[1], [None, 1]]


def test_a_box_below_low_score_is_ignored() -> None:
    given, tracks = follow([[box(50)], [box(50, score=0.09)], [box(50, score=0.1)], [box(50, score=0.5)]])
    assert given == [[1], [None], [None], [1]]  # 0.1 comes one frame too late
    assert tracks[0].frames == [0, 3]


def test_a_track_is_confirmed_by_its_third_box_and_says_so_at_once() -> None:
    tracker = Tracker(CONFIG, RATE_HZ)
    confirmed = []
    for frame, x in enumerate([50, None, 52, 54, 56]):
        tracks, _ = tracker.update(*arrays([] if x is None else [box(x)]), frame=frame, time_s=frame / RATE_HZ)
        confirmed.append([track.confirmed for track in tracks if track is not None])
    assert confirmed == [[False], [], [False], [True], [True]]


def test_a_track_keeps_its_boxes_as_they_were_seen() -> None:
    film = [[box(20 + 3 * n, score=0.8)] for n in range(5)]
    _, (track,) = follow(film)
    np.testing.assert_array_equal(track.boxes_xyxy_px, np.concatenate([arrays(seen)[0] for seen in film]))
    assert track.frames == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(track.times_s, [0, 0.1, 0.2, 0.3, 0.4])


def test_frames_without_anybody_have_no_tracks() -> None:
    given, tracks = follow([[]] * 5)
    assert given == [[]] * 5
    assert tracks == []


def test_close_ends_every_track_and_those_after_it_are_new() -> None:
    tracker = Tracker(CONFIG, RATE_HZ)
    tracker.update(*arrays([box(50), box(150)]), frame=0, time_s=0.0)
    assert numbers(tracker.close()) == [1, 2]
    assert tracker.close() == []
    found, ended = tracker.update(*arrays([box(50)]), frame=1, time_s=0.1)
    assert (numbers(found), ended) == ([3], [])


# --- invariances -----------------------------------------------------------------------------------------------------


def crowd(frames: int = 40) -> list[list[Seen]]:
    """Six people who walk across each other with a trembling detector that misses some and sees some twice."""
    draw = np.random.default_rng(8)
    start, step = draw.uniform(0, 400, (6, 2)), draw.uniform(-6, 6, (6, 2))
    film = []
    for frame in range(frames):
        places = start + frame * step + draw.normal(0, 1, start.shape)
        heights, scores = draw.normal(100, 2, 6), draw.uniform(0.3, 1, 6)
        seen = [box(*place, height, score) for place, height, score in zip(places.tolist(), heights, scores, strict=True)]
        film.append([each for each in seen if draw.uniform() > 0.1] + [box(*places[0], 104, 0.6)])
    return film


def test_the_order_of_the_boxes_in_a_frame_changes_nothing() -> None:
    film, draw = crowd(), np.random.default_rng(1)
    orders = [draw.permutation(len(seen)) for seen in film]
    given, tracks = follow(film)
    shuffled, same = follow([[seen[i] for i in order] for seen, order in zip(film, orders, strict=True)])
    assert shuffled == [[frame[i] for i in order] for frame, order in zip(given, orders, strict=True)]
    assert [track.frames for track in same] == [track.frames for track in tracks]
    assert len(tracks) > 6


@pytest.mark.parametrize("factor", [0.5, 2.0, 16.0])
def test_a_film_of_another_size_has_the_same_tracks(factor: float) -> None:
    film = crowd()
    scaled = [[(tuple(factor * corner for corner in corners), score) for corners, score in seen] for seen in film]
    assert follow(scaled)[0] == follow(film)[0]


def test_a_film_of_another_rate_has_the_same_tracks_as_time_counts_in_frames() -> None:
    film = crowd()
    slow, fast = (Tracker(replace(CONFIG, lost_s=10 / rate_hz), rate_hz) for rate_hz in (5.0, 50.0))
    for frame, seen in enumerate(film):
        found, _ = slow.update(*arrays(seen), frame=frame, time_s=frame / 5)
        same, _ = fast.update(*arrays(seen), frame=frame, time_s=frame / 50)
        assert numbers(found) == numbers(same)


# --- where a box is expected -----------------------------------------------------------------------------------------

# Boxes of 40 x 100 px that are 4 px apart have an IoU of 36 / 44 = 0.82, those 5 px apart of 0.78.
NARROW = replace(CONFIG, min_iou=0.8)


@pytest.mark.parametrize("gap", [1, 2, 5, 9])
def test_after_a_gap_who_walks_steadily_is_expected_within_four_pixels_of_where_they_are(gap: int) -> None:
    places = [[box(20 + 3 * n, 80 + n)] for n in range(60)]
    given, _ = follow([seen if n < 40 or n >= 40 + gap else [] for n, seen in enumerate(places)], NARROW)
    assert {number for numbers in given for number in numbers} == {1}
    waiting, _ = follow([places[min(n, 39)] if n < 40 or n >= 40 + gap else [] for n in range(60)], NARROW)
    assert waiting[40 + gap] == [2]  # who stops meanwhile is not where they are expected


def test_what_is_expected_follows_the_time_of_the_frames_and_not_their_number() -> None:
    steps_s = np.random.default_rng(3).choice([0.05, 0.1, 0.3, 0.4], 40)
    times_s = np.cumsum(np.concatenate([np.full(20, 0.1), steps_s]))  # steadily first, so that the velocity is known
    by_time, by_number = Tracker(NARROW, RATE_HZ), Tracker(NARROW, RATE_HZ)
    given: tuple[set, set] = set(), set()
    for frame, time_s in enumerate(times_s.tolist()):
        seen = arrays([box(20 + 30 * time_s)])
        given[0].update(numbers(by_time.update(*seen, frame=frame, time_s=time_s)[0]))
        given[1].update(numbers(by_number.update(*seen, frame=frame, time_s=frame / RATE_HZ)[0]))
    assert given[0] == {1}
    assert len(given[1]) > 1


def test_who_sinks_behind_a_table_is_expected_as_high_as_last_seen_and_not_ever_smaller() -> None:
    sinking = [[((30.0, 0.0, 70.0, 100.0 - 8 * n), 0.9)] for n in range(8)]  # their feet go up, 8 px a frame
    given, _ = follow([*([sinking[0]] * 10), *sinking, *([[]] * 6), sinking[-1]])
    assert given[-1] == [1]


def test_a_box_that_comes_long_after_the_one_before_does_not_send_the_track_out_of_the_picture() -> None:
    tracker = Tracker(replace(CONFIG, lost_s=1000.0), RATE_HZ)
    for frame in range(20):
        tracker.update(*arrays([box(20 + 3 * frame)]), frame=frame, time_s=frame / RATE_HZ)
    found, _ = tracker.update(*arrays([box(20 + 3 * 49)]), frame=20, time_s=600.0)  # thirty frames on, and no further
    assert numbers(found) == [1]


# --- overlap and assignment ------------------------------------------------------------------------------------------


def random_boxes(draw: np.random.Generator, count: int, spread_px: float = 60) -> np.ndarray:
    low = draw.uniform(0, spread_px, (count, 2))
    return np.concatenate([low, low + draw.uniform(10, 60, (count, 2))], axis=1).astype(np.float32)


def test_iou_is_that_of_torchvision() -> None:
    draw = np.random.default_rng(4)
    first, second = random_boxes(draw, 40), random_boxes(draw, 30)
    np.testing.assert_allclose(iou(first, second), box_iou(*map(torch.from_numpy, (first, second))).numpy(), rtol=1e-5)
    np.testing.assert_allclose(np.diag(iou(first, first)), 1, rtol=1e-6)


def test_iou_by_hand_and_of_boxes_without_area() -> None:
    square, half, point = np.array([[0.0, 0, 10, 10]]), np.array([[5.0, 0, 15, 10]]), np.array([[3.0, 3, 3, 3]])
    assert iou(square, half) == pytest.approx(50 / 150)
    assert iou(square, point) == iou(point, point) == 0
    assert iou(square, np.zeros((0, 4))).shape == (1, 0)


@pytest.mark.parametrize("seed", range(20))
def test_boxes_are_assigned_so_that_the_sum_of_overlaps_is_the_largest_of_all_permutations(seed: int) -> None:
    draw = np.random.default_rng(seed)
    before, after = random_boxes(draw, 5, 40), random_boxes(draw, 5, 40)
    scores = np.ones(5, np.float32)
    tracker = Tracker(CONFIG, RATE_HZ)
    begun, _ = tracker.update(before, scores, frame=0, time_s=0.0)
    found, _ = tracker.update(after, scores, frame=1, time_s=0.1)  # at rest until a second box tells of a velocity
    overlap = iou(before, after)
    overlap[overlap < CONFIG.min_iou] = 0
    row = {number: index for index, number in enumerate(numbers(begun))}
    assigned = sum(overlap[row[number], column] for column, number in enumerate(numbers(found)) if number in row)
    best = max(sum(overlap[i, j] for i, j in enumerate(order)) for order in permutations(range(5)))
    assert assigned == pytest.approx(best)


# --- configuration ---------------------------------------------------------------------------------------------------

REFUSED = [
    ("low_score", -0.1, r"in \[0, 1\], got -0.1"),
    ("low_score", 1.5, r"in \[0, 1\], got 1.5"),
    ("high_score", 0.05, r"in \[low_score, 1\], got 0.05"),
    ("high_score", 1.1, r"in \[low_score, 1\], got 1.1"),
    ("min_iou", 0.0, r"in \(0, 1\), got 0.0"),
    ("min_iou", 1.0, r"in \(0, 1\), got 1.0"),
    ("confirm_frames", 0, "at least 1, got 0"),
    ("lost_s", 0.0, "above 0, got 0.0"),
    ("lost_s", float("nan"), "above 0, got nan"),
]


@pytest.mark.parametrize(("key", "value", "rule"), REFUSED)
def test_a_value_out_of_range_is_refused_by_its_key(key: str, value: float, rule: str) -> None:
    with pytest.raises(ValueError, match=rf"identify\.tracking\.{key} must be {rule}"):
        replace(CONFIG, **{key: value})
