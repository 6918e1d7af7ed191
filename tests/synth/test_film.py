import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from people.records import Take
from people.synth.body.shape import draw_shape
from people.synth.clothing.wardrobe import build_person
from people.synth.film import Film, render_film
from people.synth.motion.parametric import motions
from people.synth.passages import NEAREST_M, Passage, crossing_frames, enter_at
from people.synth.render import render
from people.synth.scene.camera import camera_at
from people.synth.scenes.backgrounds import background_at

SIZE = (96, 128)
WALKS = motions(4, walks=1, frames=190, frame_rate_hz=15, seed=5)
EMPTY_PLACE = next(number for number in range(40) if not background_at(number, 9.0, SIZE).inverse_depth.any())
CLUTTERED_PLACE = next(number for number in range(40) if background_at(number, 12.0, SIZE).inverse_depth.any())
TO_THE_LEFT, TO_THE_RIGHT = 90.0, 270.0


def _passage(person=1, frame=2, **changes):
    passage = Passage(f"w{person}", WALKS[person].piece(0, 90), 10 + person, 0, TO_THE_LEFT, away_m=0.0, right_m=0.0)
    return enter_at(replace(passage, **changes), frame, size_hw=SIZE)


def _film(*passages, **changes):
    last = max((crossing_frames(passage, size_hw=SIZE).stop for passage in passages), default=8)
    return replace(Film(passages, last + 2, 15.0, EMPTY_PLACE, 3), **changes)


def _frames(film):
    return list(render_film(film, size_hw=SIZE))


def _two_who_meet():
    return _passage(1), _passage(3, view_deg=TO_THE_RIGHT, away_m=1.5, identity_seed=7)


def _digest(frames):
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(frame.image_rgb.tobytes())
        for person in frame.people:
            digest.update(bytes([person.passage]))
            for values in (person.mask, person.visible_mask, person.box_xyxy_px):
                digest.update(values.tobytes())
    return digest.hexdigest()


def _largest(frames):
    """The frame in which the first passage's person has most pixels."""
    return max(
        (frame for frame in frames if any(person.passage == 0 for person in frame.people)),
        key=lambda frame: frame.people[0].visible_mask.sum(),
    )


def test_the_same_film_gives_the_same_bytes_in_another_process(root):
    code = (
        "import sys; sys.path[:0] = ['.', 'tests/synth']\n"
        "import test_film as t\n"
        "print(t._digest(t._frames(t._film(*t._two_who_meet()))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert [done.stdout.strip()] * 2 == [_digest(_frames(_film(*_two_who_meet()))) for _ in range(2)]


def test_frames_are_drawn_one_after_the_other_however_long_the_film_is():
    film = _film(_passage(1), frame_count=10**9)
    frames = render_film(film, size_hw=SIZE)
    first = [next(frames) for _ in range(60)]
    np.testing.assert_array_equal(first[-1].image_rgb, _frames(replace(film, frame_count=90))[59].image_rgb)


def test_boxes_bound_the_visible_masks_and_what_differs_from_the_empty_place():
    ground_row = camera_at(0.0, SIZE).project(np.float32([-1.5, 0.0, 0.0]))[1]
    above = slice(0, int(ground_row) - 6)  # shadows lie below
    for passages in ((_passage(2),), _two_who_meet()):
        film = _film(*passages)
        for frame, nobody in zip(_frames(film), _frames(replace(film, passages=())), strict=True):
            # Both have the same noise.
            differs = np.abs(frame.image_rgb.astype(int) - nobody.image_rgb).max(axis=2)[above] > 4
            inside = np.zeros(SIZE, bool)
            for person in frame.people:
                x0, y0, x1, y1 = person.box_xyxy_px.astype(int)
                rows, columns = np.nonzero(person.visible_mask)
                assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                inside[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = True
                upper = person.visible_mask[above]
                assert differs[upper].sum() >= 0.85 * upper.sum()
            assert not (differs & ~inside[above]).any()


def test_a_frame_without_people_is_the_place_in_the_light_of_the_film_with_noise_of_its_own():
    frames = _frames(_film())
    assert all(frame.people == () for frame in frames)
    place = background_at(EMPTY_PLACE, 6.0, SIZE).image_rgb
    gains = [np.median(frame.image_rgb / np.maximum(place, 1)) for frame in frames]
    assert np.ptp(gains) < 0.01
    assert (frames[0].image_rgb != frames[1].image_rgb).mean() > 0.3
    other = _frames(_film(seed=8))
    assert abs(np.median(other[0].image_rgb / np.maximum(place, 1)) - gains[0]) > 0.01


def test_a_nearer_person_covers_a_farther_one_whatever_their_order():
    near, far = _two_who_meet()
    for order in ((near, far), (far, near)):
        covered = []
        for frame in _frames(_film(*order)):
            people = {order[person.passage]: person for person in frame.people}
            if len(people) < 2:
                continue
            front, behind = people[near], people[far]
            assert not (front.visible_mask & behind.visible_mask).any()
            np.testing.assert_array_equal(front.visible_mask | behind.visible_mask, front.mask | behind.mask)
            assert (front.visible_mask == front.mask).mean() > 0.998
            covered.append(1 - behind.visible_mask.sum() / behind.mask.sum())
        assert max(covered) > 0.4
        assert min(covered) == 0


def test_objects_of_the_place_cover_people_behind_them():
    film = _film(_passage(1, away_m=5.0), place=CLUTTERED_PLACE)
    frames = _frames(film)
    is_object = background_at(CLUTTERED_PLACE, 11.0, SIZE).inverse_depth > 1 / 10.0
    assert is_object.any()
    assert any((person.mask & is_object).any() for frame in frames for person in frame.people)
    for frame in frames:
        for person in frame.people:
            assert not (person.visible_mask & is_object).any()


@pytest.mark.parametrize(
    ("view_deg", "away_m"),
    [(TO_THE_LEFT, 0.0), (TO_THE_RIGHT, -2.0), (TO_THE_RIGHT, 3.0), (70.0, 1.0), (110.0, 0.0), (290.0, 0.5)],
)
def test_a_person_enters_at_one_border_and_leaves_at_the_other(view_deg, away_m):
    passage = _passage(2, view_deg=view_deg, away_m=away_m)
    frames = _frames(_film(passage))
    boxes = {number: frame.people[0].box_xyxy_px for number, frame in enumerate(frames) if frame.people}
    in_view = crossing_frames(passage, size_hw=SIZE)
    assert in_view.start == 2
    assert set(boxes) <= set(in_view)
    numbers = sorted(boxes)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    first, last = boxes[numbers[0]], boxes[numbers[-1]]
    if view_deg < 180:
        first, last = last, first
    assert first[0] == 0
    assert last[2] == SIZE[1]
    widths = [box[2] - box[0] for box in (first, last)]
    assert max(widths) < 0.12 * SIZE[1]
    assert any(box[0] > 5 and box[2] < SIZE[1] - 5 for box in boxes.values())


def test_frames_before_and_after_a_passage_do_not_show_its_shadow():
    film = _film(_passage(1, away_m=-1.0))
    empty, frames = _frames(replace(film, passages=())), _frames(film)
    in_view = crossing_frames(film.passages[0], size_hw=SIZE)
    for number in (in_view.start, in_view.stop - 1):  # nothing appears or vanishes at once
        assert np.abs(frames[number].image_rgb.astype(int) - empty[number].image_rgb).max() <= 4
    for number in (in_view.start - 1, in_view.stop):
        np.testing.assert_array_equal(frames[number].image_rgb, empty[number].image_rgb)


def test_a_person_has_the_body_of_a_take_in_all_films_and_other_clothes_in_another_session():
    take = Take("w1", "n01", WALKS[1], "normal", 0, TO_THE_LEFT, identity_seed=11, seed=1)
    _, shape, outfit = build_person(take)
    np.testing.assert_array_equal(shape.girth, draw_shape(WALKS[1].piece(20, 90), 11).girth)
    first, again, later = (
        _largest(_frames(_film(_passage(1, session=session), seed=seed, place=place)))
        for session, seed, place in ((0, 3, EMPTY_PLACE), (0, 9, CLUTTERED_PLACE), (1, 3, EMPTY_PLACE))
    )
    masks = [frame.people[0].mask for frame in (first, again, later)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] & masks[2]).sum() > 0.8 * masks[0].sum()  # the same body in the same pose

    def colours(frame):
        person = frame.image_rgb[masks[0] & masks[2]].astype(float)
        return person / person.mean()

    assert np.abs(colours(first) - colours(again)).mean() < 0.2 * np.abs(colours(first) - colours(later)).mean()
    assert (outfit.top.rgb[0] != build_person(replace(take, session=1))[2].top.rgb[0]).any()


def test_somebody_in_the_middle_of_the_path_is_drawn_as_in_a_take():
    motion = WALKS[1].piece(0, 91)
    passage = _passage(1, motion=motion)
    frames = _frames(_film(passage))
    number = passage.start_frame + 45
    take = Take("w1", "n01", motion, "normal", 0, TO_THE_LEFT, identity_seed=11, seed=1)
    rendered = list(render(take, size_hw=SIZE))[45]
    assert (frames[number].people[0].mask == rendered.mask).mean() > 0.999


def test_a_walk_that_is_too_short_is_repeated_until_it_crosses_the_picture():
    short = Passage("w1", WALKS[1].piece(0, 40), 11, 0, TO_THE_LEFT, 0.0, 0.0)
    with pytest.raises(ValueError, match="in view in its first and last frame: 40 frames"):
        crossing_frames(short, size_hw=SIZE)
    crossing = enter_at(short, 7, size_hw=SIZE)
    assert crossing_frames(crossing, size_hw=SIZE).start == 7
    assert len(crossing.motion) > 60
    long = _passage(1)
    assert len(long.motion) == 90  # crosses as it is


def test_passages_that_do_not_cross_the_picture_or_not_within_the_film_are_refused():
    passage = _passage(1)
    in_view = crossing_frames(passage, size_hw=SIZE)
    for start_frame, frame_count in ((passage.start_frame, in_view.stop - 1), (passage.start_frame - 3, 500)):
        with pytest.raises(ValueError, match="in view within the film's frames"):
            render_film(_film(replace(passage, start_frame=start_frame), frame_count=frame_count), size_hw=SIZE)
    with pytest.raises(ValueError, match="in view in its first and last frame"):
        crossing_frames(replace(passage, view_deg=0.0, away_m=4.0), size_hw=SIZE)
    with pytest.raises(ValueError, match="never in view"):
        crossing_frames(replace(passage, right_m=30.0), size_hw=SIZE)
    with pytest.raises(ValueError, match=f"at least {NEAREST_M:g} m from the camera"):
        crossing_frames(replace(passage, away_m=-5.5), size_hw=SIZE)
    with pytest.raises(ValueError, match="from out of view on one side to out of view on the other"):
        enter_at(replace(passage, view_deg=180.0), 0, size_hw=SIZE)


def test_bad_values_are_refused_before_the_first_frame():
    passage = _passage(1)
    for change, message in (
        ({"view_deg": float("nan")}, "view_deg must be finite, got nan of w1"),
        ({"away_m": float("inf")}, "away_m must be finite"),
        ({"identity_seed": -1}, "identity_seed must be at least 0, got -1"),
        ({"session": -2}, "session must be at least 0, got -2"),
        ({"motion": replace(passage.motion, height_m=None)}, "expected a motion with height_m, got None of w1"),
        ({"motion": passage.motion.piece(0, 1)}, "at least 2 frames, got 1"),
        ({"motion": replace(passage.motion, joints_m=np.full_like(passage.motion.joints_m, np.nan))}, "expected finite joints"),
        (
            {"motion": replace(passage.motion, frame_rate_hz=30.0)},
            "expected motions of 15 Hz, the film's frame rate, got 30 Hz",
        ),
    ):
        film = replace(_film(passage), passages=(replace(passage, **change),))
        with pytest.raises(ValueError, match=message):
            render_film(film, size_hw=SIZE)
    swimming = replace(passage)
    object.__setattr__(swimming, "condition", "swimming")  # as a caller without type checks would
    with pytest.raises(ValueError, match="condition must be one of normal, bag"):
        render_film(replace(_film(passage), passages=(swimming,)), size_hw=SIZE)
    for name, value in (("frame_count", 0), ("frame_rate_hz", 0.0), ("place", -1), ("seed", -1)):
        with pytest.raises(ValueError, match=f"{name} of a film must be"):
            render_film(_film(**{name: value}), size_hw=SIZE)
    with pytest.raises(ValueError, match="size_hw"):
        render_film(_film(), size_hw=(0, 128))
