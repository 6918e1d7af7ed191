"""People before a camera that does not move: found in painted scenes where they were painted, and in a real video."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from people.tracking.finders import FoundPeople
from people.tracking.moving_people import Config, MovingPeople, edge_along
from people.tracking.sources import open_source
from people.tracking.tracker import Config as TrackerConfig
from people.tracking.tracker import Tracker

SIZE = (240, 320)
RATE_HZ = 10.0
CONFIG = Config(side_px=320, min_height_share=0.2, absorb_s=60.0)
DARK, PALE, AS_BRIGHT_AS_THE_WALL = (60, 40, 90), (100, 92, 78), (90, 170, 140)
VISITS = Path(__file__).with_name("intel_video_visits.csv")


def wall() -> np.ndarray:
    """A coloured scene with a texture, as bright in the mean as a wall in a lit room."""
    grain = cv2.GaussianBlur(np.random.default_rng(5).normal(size=(*SIZE, 1)).astype(np.float32), (0, 0), 3)[..., None]
    return np.array([150, 140, 120]) + 12 * grain / grain.std()


WALL = wall()


def seen(scene: np.ndarray, seed: int) -> np.ndarray:
    """A scene as the camera takes it, with the noise of its sensor."""
    return np.clip(scene + np.random.default_rng(seed).normal(0, 1.5, scene.shape), 0, 255).astype(np.uint8)


def figure(left: int, top: int = 60, height: int = 140) -> np.ndarray:
    """Where somebody is: head, trunk and two legs, a third as wide as high."""
    width, mask = height // 3, np.zeros(SIZE, np.uint8)
    middle = left + width // 2
    cv2.ellipse(mask, (middle, top + height // 10), (height // 12, height // 10), 0, 0, 360, 1, -1)
    cv2.ellipse(mask, (middle, top + height * 5 // 12), (width // 2, height // 4), 0, 0, 360, 1, -1)
    for leg in (left + width // 4, left + width * 11 // 20):
        cv2.rectangle(mask, (leg, top + height // 2), (leg + width // 5, top + height), 1, -1)
    return mask > 0


def painted(*people: np.ndarray, colour: tuple[int, int, int] = DARK, scene: np.ndarray = WALL) -> np.ndarray:
    scene = scene.copy()
    for person in people:
        scene[person] = colour
    return scene


def box_of(mask: np.ndarray) -> np.ndarray:
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return np.array([left, top, left + width, top + height])


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    return np.count_nonzero(found & true) / np.count_nonzero(found | true)


def empty_pictures(count: int = 10) -> list[np.ndarray]:
    return [seen(WALL, 1000 + number) for number in range(count)]


def watch(
    pictures: Sequence[np.ndarray], film: Sequence[np.ndarray], config: Config = CONFIG, rate_hz: float = RATE_HZ
) -> list[FoundPeople]:
    """Who is found in each scene of a film."""
    finder = MovingPeople(pictures, config)
    return [finder.find(seen(scene, number), number / rate_hz) for number, scene in enumerate(film)]


def counts(found: Sequence[FoundPeople]) -> list[int]:
    return [len(each.boxes_xyxy_px) for each in found]


def person(found: FoundPeople, row: int = 0) -> np.ndarray:
    assert found.masks is not None
    return found.masks[row].full() >= 128


# --- where people are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("colour", "least_overlap"), [(DARK, 0.95), (AS_BRIGHT_AS_THE_WALL, 0.95), (PALE, 0.8)])
def test_who_walks_before_a_wall_is_found_where_they_are(colour: tuple[int, int, int], least_overlap: float) -> None:
    where = [figure(20 + 9 * number) for number in range(24)]
    found = watch(empty_pictures(), [painted(each, colour=colour) for each in where])
    assert counts(found) == [1] * 24
    for each, true in zip(found, where, strict=True):
        assert np.abs(each.boxes_xyxy_px[0] - box_of(true)).max() <= 2
        assert overlap(person(each), true) > least_overlap
        assert each.scores.tolist() == [1.0]


def test_the_scene_need_not_be_empty_where_somebody_walks_through_all_pictures_of_it() -> None:
    pictures = [seen(painted(figure(5 + 13 * number)), 1000 + number) for number in range(20)]
    where = [figure(20 + 20 * number) for number in range(10)]
    found = watch(pictures, [painted(each) for each in where])
    assert min(overlap(person(each), true) for each, true in zip(found, where, strict=True)) > 0.95


def test_two_people_have_two_boxes_and_a_box_shows_only_one_of_them() -> None:
    tall, small = figure(60, top=40, height=180), figure(150, top=130, height=90)
    tall[70:82, 90:200] = True  # an arm above the child
    (found,) = watch(empty_pictures(), [painted(tall, small)])
    assert counts([found]) == [2]
    first = int(np.argmax(found.boxes_xyxy_px[:, 3] - found.boxes_xyxy_px[:, 1]))
    x0, y0, x1, y1 = found.boxes_xyxy_px[first].astype(int)
    assert small[y0:y1, x0:x1].sum() > 0.9 * small.sum()
    assert overlap(person(found, first), tall) > 0.95
    assert overlap(person(found, 1 - first), small) > 0.95


def test_masks_lie_within_their_boxes() -> None:
    film = [painted(figure(20 + 30 * number), figure(250 - 30 * number, top=20)) for number in range(3)]
    large = [cv2.resize(scene, (480, 360), interpolation=cv2.INTER_CUBIC) for scene in film]
    pictures = [cv2.resize(picture, (480, 360)) for picture in empty_pictures()]
    for found in watch(pictures, large):
        assert found.masks is not None
        for mask, (x0, y0, x1, y1) in zip(found.masks, found.boxes_xyxy_px, strict=True):
            rows, columns = mask.pixels.shape
            assert (mask.height, mask.width) == (360, 480)
            assert (mask.top, mask.left) == (int(np.floor(y0)), int(np.floor(x0)))
            assert (mask.top + rows, mask.left + columns) == (int(np.ceil(y1)), int(np.ceil(x1)))


@pytest.mark.parametrize(("left", "touched"), [(-20, 0), (295, 2)])
def test_who_is_cut_by_the_border_is_found_up_to_it(left: int, touched: int) -> None:
    true = np.roll(figure(max(left, 0) if left < 0 else 200), left if left < 0 else left - 200, axis=1)
    true[:, 160:] &= left > 0
    true[:, :160] &= left < 0
    (found,) = watch(empty_pictures(), [painted(true)])
    assert counts([found]) == [1]
    assert found.boxes_xyxy_px[0][touched] == (0 if touched == 0 else SIZE[1])
    assert overlap(person(found), true) > 0.9


@pytest.mark.parametrize("factor", [2, 3])
def test_a_larger_frame_of_the_same_scene_has_the_same_boxes_in_its_own_pixels(factor: int) -> None:
    size = SIZE[1] * factor, SIZE[0] * factor
    where = [figure(20 + 23 * number) for number in range(10)]
    film = [painted(each) for each in where]
    small = watch(empty_pictures(), film)
    finder = MovingPeople([cv2.resize(each, size) for each in empty_pictures()], CONFIG)
    for number, (scene, same, true) in enumerate(zip(film, small, where, strict=True)):
        found = finder.find(cv2.resize(seen(scene, number), size), number / RATE_HZ)
        assert np.abs(found.boxes_xyxy_px - factor * same.boxes_xyxy_px).max() <= 2 * factor
        assert overlap(person(found), cv2.resize(true.astype(np.uint8), size) > 0) > 0.9


def test_of_the_mirrored_film_the_boxes_are_mirrored() -> None:
    scene = seen(painted(figure(40)), 1)
    ((x0, y0, x1, y1),) = MovingPeople(empty_pictures(), CONFIG).find(scene, 0.0).boxes_xyxy_px
    mirrored = MovingPeople([each[:, ::-1].copy() for each in empty_pictures()], CONFIG).find(scene[:, ::-1].copy(), 0.0)
    np.testing.assert_allclose(mirrored.boxes_xyxy_px, [[SIZE[1] - x1, y0, SIZE[1] - x0, y1]], atol=1)


# --- what is nobody --------------------------------------------------------------------------------------------------


def test_an_empty_scene_has_nobody_and_what_is_too_small_is_nobody() -> None:
    found = watch(empty_pictures(), [WALL, painted(figure(100, height=40)), painted(figure(100, height=60))])
    assert counts(found) == [0, 0, 1]  # a fifth of 240 px are 48
    assert found[0].boxes_xyxy_px.shape == (0, 4)
    assert found[0].masks == []


@pytest.mark.parametrize("colour", [DARK, PALE])
def test_light_that_changes_slowly_by_a_fifth_is_nobody_and_hides_nobody(colour: tuple[int, int, int]) -> None:
    light = np.linspace(0.9, 1.1, 80)
    pictures = [seen(WALL * each, 1000 + number) for number, each in enumerate(light[::3])]
    film = [WALL * each if n < 20 else painted(figure(20 + 3 * n), colour=colour) * each for n, each in enumerate(light)]
    found = watch(pictures, film)
    assert counts(found) == [0] * 20 + [1] * 60
    assert min(overlap(person(each), figure(20 + 3 * n)) for n, each in enumerate(found) if n >= 20) > 0.8


def test_light_that_moves_to_one_side_within_minutes_is_nobody() -> None:
    across = np.linspace(-1, 1, SIZE[1])[None, :, None]
    tilts = np.linspace(0, 0.2, 60)
    assert counts(watch(empty_pictures(), [WALL * (1 + tilt * across) for tilt in tilts], rate_hz=0.25)) == [0] * 60


@pytest.mark.parametrize("darkness", [0.12, 0.4])
def test_a_soft_shadow_is_nobody(darkness: float) -> None:
    def shadow(left: int) -> np.ndarray:
        return cv2.GaussianBlur(figure(left).astype(np.float32), (0, 0), 16)[..., None]

    film = [WALL * (1 - darkness * shadow(20 + 20 * number)) for number in range(12)]
    assert counts(watch(empty_pictures(), film)) == [0] * 12


def test_who_stands_in_every_picture_of_the_scene_and_leaves_is_no_ghost() -> None:
    pictures = [seen(painted(figure(100)), 1000 + number) for number in range(10)]
    assert counts(watch(pictures, [WALL] * 20)) == [0] * 20
    leaving = [figure(100 + 12 * number) for number in range(14)]
    back = [figure(100 + number) for number in range(10)]
    found = watch(pictures, [painted(each) for each in leaving] + [WALL] * 5 + [painted(each) for each in back])
    assert counts(found)[6:14] == [1] * 8  # until then the figure covers part of its own picture
    assert counts(found)[14:] == [0] * 5 + [1] * 10
    assert min(overlap(person(each), true) for each, true in zip(found[-10:], back, strict=True)) > 0.95


def test_what_stands_still_longer_than_absorb_s_becomes_part_of_the_scene_and_who_moves_does_not() -> None:
    film = [painted(figure(30), figure(120 + number % 40)) for number in range(60)] + [painted(figure(30))] * 3
    found = counts(watch(empty_pictures(), film, replace(CONFIG, absorb_s=2.0)))
    assert set(found[:20]) == {2}
    assert set(found[24:60]) == {1}
    assert found[60:] == [0] * 3


def test_what_was_absorbed_and_is_carried_away_is_no_ghost() -> None:
    film = [painted(figure(30))] * 40 + [WALL] * 10
    found = counts(watch(empty_pictures(), film, replace(CONFIG, absorb_s=2.0)))
    assert (found[0], found[30], found[40:]) == (1, 0, [0] * 10)


def test_the_edge_along_a_square_is_that_of_sobel_on_a_step() -> None:
    picture, square = np.zeros((20, 20, 3), np.float32), np.zeros((20, 20), np.uint8)
    square[5:15, 5:15] = 1
    picture[square > 0] = (3, 0, 4)  # a step of 5 in all
    band = cv2.dilate(square, np.ones((5, 5))) - cv2.erode(square, np.ones((5, 5)))
    # On a straight step Sobel answers four times its height on two of the band's four pixels, so half of that in the mean.
    assert edge_along(picture, square) == pytest.approx(10, rel=0.1)
    assert band.sum() == 14 * 14 - 6 * 6
    assert edge_along(picture, np.zeros_like(square)) == 0


# --- what is refused -------------------------------------------------------------------------------------------------


def test_pictures_of_another_size_do_not_count_and_none_at_all_or_frames_of_another_size_are_refused() -> None:
    turned = np.zeros((320, 240, 3), np.uint8)
    finder = MovingPeople([*empty_pictures(), turned, turned], CONFIG)
    assert counts([finder.find(seen(painted(figure(100)), 1), 0.0)]) == [1]
    with pytest.raises(ValueError, match="the scene is of 320x240 px and a frame of 240x320"):
        finder.find(turned, 0.1)
    with pytest.raises(ValueError, match="expected pictures of the scene, got none"):
        MovingPeople([], CONFIG)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("side_px", 63, "at least 64, got 63"),
        ("min_height_share", 0.0, r"in \(0, 1\), got 0.0"),
        ("min_height_share", 1.0, r"in \(0, 1\), got 1.0"),
        ("absorb_s", 0.0, "above 0, got 0.0"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(key: str, value: float, rule: str) -> None:
    with pytest.raises(ValueError, match=rf"identify\.background\.{key} must be {rule}"):
        replace(CONFIG, **{key: value})


# --- a real video ----------------------------------------------------------------------------------------------------


def test_six_people_who_come_one_by_one_in_a_real_video_are_six_or_seven_tracks(real_data: Path) -> None:
    source = open_source(str(real_data / "intel-video" / "one-by-one-person-detection.mp4"))
    finder = MovingPeople(source.spread(40), Config(side_px=384, min_height_share=0.15, absorb_s=60.0))
    tracker = Tracker(TrackerConfig(0.5, 0.1, 0.1, confirm_frames=3, lost_s=1.0), source.rate_hz)
    tracks, frame_count = [], 0
    for frame in source.frames():
        found = finder.find(frame.rgb, frame.time_s)
        _, ended = tracker.update(found.boxes_xyxy_px, found.scores, frame=frame.number, time_s=frame.time_s)
        tracks, frame_count = tracks + ended, frame.number + 1
    tracks = [track for track in tracks + tracker.close() if track.confirmed]
    visits = pd.read_csv(VISITS)  # by looking at the frames: the first and the last that show any part of the person
    true, predicted = np.zeros(frame_count, bool), np.zeros(frame_count, bool)
    for visit in visits.itertuples():
        true[visit.first_frame : visit.last_frame + 1] = True
    for track in tracks:
        predicted[track.frames] = True
    assert (true & predicted).sum() / predicted.sum() >= 0.99
    assert (true & predicted).sum() / true.sum() >= 0.98
    assert 6 <= len(tracks) <= 7
    for track in tracks:
        assert (
            sum(track.frames[0] <= visit.last_frame and track.frames[-1] >= visit.first_frame for visit in visits.itertuples())
            == 1
        )
