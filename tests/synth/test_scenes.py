import hashlib
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from people.records import ACTIVITIES, COCO_KEYPOINTS, PasserBy, Scene, ScenePerson, Surroundings, Take
from people.synth.activities import SEAT_HEIGHT_M
from people.synth.body.shape import draw_shape
from people.synth.motion import cmumocap
from people.synth.motion.parametric import motions
from people.synth.render import render
from people.synth.scene.camera import camera_at
from people.synth.scenes import render_scene
from people.synth.scenes.backgrounds import background_at
from people.synth.scenes.canvas import Canvas
from people.synth.scenes.furniture import build_furniture

SIZE = (120, 160)
K = {name: i for i, name in enumerate(COCO_KEYPOINTS)}
PEOPLE = motions(6, walks=1, frames=12, frame_rate_hz=30, seed=5)
STANDING = ScenePerson(PEOPLE[1], "standing", 11, 0, 3, view_deg=0.0, away_m=0.0, right_m=0.0)
SITTING = replace(STANDING, activity="sitting", seat="chair")
PLACES = range(40)
EMPTY_PLACE = next(number for number in PLACES if not background_at(number, 6.0, SIZE).inverse_depth.any())


def _scene(*people, **changes):
    return replace(Scene("000000001", people, EMPTY_PLACE, 5, "train"), **changes)


def _crowd(seed=0, count=5):
    rng = np.random.default_rng(seed)
    people = []
    for index in range(count):
        activity, away_m = ACTIVITIES[index % 4], float(rng.uniform(-3, 8))
        where = {
            "away_m": away_m,
            "right_m": float(rng.uniform(-0.3, 0.3) * (6 + away_m)),
            "view_deg": float(rng.uniform(0, 360)),
        }
        seat = "bench" if activity == "sitting" else None
        people.append(ScenePerson(PEOPLE[index % 6], activity, index, 0, int(rng.integers(1000)), seat=seat, **where))
    return _scene(*people, place=int(rng.integers(40)), seed=seed)


def _digest(rendered):
    digest = hashlib.sha256(rendered.image_rgb.tobytes())
    for person in rendered.people:
        for values in (person.mask, person.visible_mask, person.keypoints_px, person.box_xyxy_px):
            digest.update(values.tobytes())
    return digest.hexdigest()


def test_the_same_scene_gives_the_same_bytes_in_another_process(root):
    code = (
        "import sys; sys.path[:0] = ['.', 'tests/synth']\n"
        "import test_scenes as t\n"
        "print(t._digest(t.render_scene(t._crowd(3), size_hw=t.SIZE)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    rendered = [_digest(render_scene(_crowd(3), size_hw=SIZE)) for _ in range(2)]
    assert [done.stdout.strip()] * 2 == rendered


def test_takes_are_rendered_as_before_there_were_scenes():
    passer_by = PasserBy(PEOPLE[2].piece(0, 6), 5, 270.0, 3.0, 0.5)
    take = Take("p001", "n01", PEOPLE[1].piece(0, 4), "bag", 2, 30.0, 11, 77, surroundings=Surroundings(True, (passer_by,)))
    digest = hashlib.sha256()
    for frame in render(take, size_hw=(64, 48)):
        # Masks only: the last bits of colours and positions differ between processors.
        digest.update(np.packbits(frame.mask).tobytes())
    assert digest.hexdigest()[:16] == "17d146e36b21dc39"


def test_a_picture_of_nobody_is_the_place_with_noise():
    rendered = render_scene(_scene(), size_hw=SIZE)
    assert rendered.people == ()
    assert rendered.image_rgb.shape == (*SIZE, 3)
    ratio = rendered.image_rgb.astype(float) / background_at(EMPTY_PLACE, 6.0, SIZE).image_rgb
    assert 0.8 < np.median(ratio) < 1.15
    assert 0.001 < np.std(ratio) < 0.05


def test_a_nearer_person_hides_a_farther_one_whatever_their_order():
    near, far = STANDING, replace(STANDING, motion=PEOPLE[3], identity_seed=4, seed=8, away_m=2.0, right_m=0.25)
    for order in ((near, far), (far, near)):
        people = dict(zip(order, render_scene(_scene(*order), size_hw=SIZE).people, strict=True))
        front, behind = people[near], people[far]
        assert not (front.visible_mask & behind.visible_mask).any()
        np.testing.assert_array_equal(front.visible_mask | behind.visible_mask, front.mask | behind.mask)
        assert (front.visible_mask == front.mask).mean() > 0.999
        assert 0.1 < behind.visible_mask.sum() / behind.mask.sum() < 0.9
        covered = [front.mask[int(y), int(x)] for x, y, _ in behind.keypoints_px]
        assert any(covered)
        deep = cv2.erode(front.mask.astype(np.uint8), np.ones((3, 3)))
        for x, y, visibility in behind.keypoints_px:
            if deep[int(y), int(x)]:
                assert visibility == 1
        alone = render_scene(_scene(far), size_hw=SIZE).people[0]
        np.testing.assert_array_equal(alone.mask, behind.mask)
        assert (alone.keypoints_px[:, 2] == 2).sum() > (behind.keypoints_px[:, 2] == 2).sum()


@pytest.mark.parametrize("seed", range(6))
def test_visible_masks_are_disjoint_parts_of_the_masks_and_boxes_bound_them(seed):
    people = render_scene(_crowd(seed), size_hw=SIZE).people
    assert np.sum([person.visible_mask for person in people], axis=0).max() <= 1
    for person in people:
        assert not (person.visible_mask & ~person.mask).any()
        if not person.visible_mask.any():
            np.testing.assert_array_equal(person.box_xyxy_px, np.zeros(4))
            continue
        rows, columns = np.nonzero(person.visible_mask)
        np.testing.assert_array_equal(person.box_xyxy_px, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("activity", ACTIVITIES)
@pytest.mark.parametrize("view_deg", [0.0, 70.0, 180.0, 250.0])
def test_keypoints_of_a_fully_visible_person_lie_on_the_mask(activity, view_deg):
    for seed in range(4):
        seat = "bench" if activity == "sitting" else None
        person = replace(STANDING, motion=PEOPLE[seed], activity=activity, seat=seat, seed=seed, view_deg=view_deg)
        shown = render_scene(_scene(person), size_hw=SIZE).people[0]
        assert shown.activity == activity
        near = cv2.dilate(shown.mask.astype(np.uint8), np.ones((5, 5), np.uint8))
        for x, y, visibility in shown.keypoints_px:
            assert visibility in (1, 2)
            assert near[int(y), int(x)]


def test_whom_the_images_edge_cuts_has_joints_outside_and_a_mask_inside():
    shown = render_scene(_scene(replace(STANDING, right_m=2.0)), size_hw=SIZE).people[0]
    outside = shown.keypoints_px[:, 0] >= SIZE[1]
    assert 0 < outside.sum() < 17
    np.testing.assert_array_equal(shown.keypoints_px[:, 2] == 0, outside)
    assert shown.mask[:, -1].any()
    away = render_scene(_scene(replace(STANDING, right_m=9.0), replace(STANDING, away_m=-9.0)), size_hw=SIZE)
    for person in away.people:
        assert not person.mask.any()
        np.testing.assert_array_equal(person.keypoints_px[:, 2], np.zeros(17))
        np.testing.assert_array_equal(person.box_xyxy_px, np.zeros(4))


def test_a_person_farther_away_is_smaller_in_proportion():
    def height_px(away_m):
        box = render_scene(_scene(replace(STANDING, away_m=away_m)), size_hw=(240, 320)).people[0].box_xyxy_px
        return box[3] - box[1]

    assert height_px(6.0) / height_px(0.0) == pytest.approx(0.5, abs=0.03)
    assert height_px(14.0) / height_px(0.0) == pytest.approx(0.3, abs=0.03)


def test_feet_are_where_the_ground_is():
    for away_m in (-1.0, 0.0, 6.0, 14.0):
        for person in (replace(STANDING, away_m=away_m), replace(STANDING, activity="walking", away_m=away_m)):
            box = render_scene(_scene(person), size_hw=(240, 320)).people[0].box_xyxy_px
            ground = camera_at(0.0, (240, 320)).project(np.array([-away_m, 0.0, 0.0]))
            assert box[3] == pytest.approx(ground[1], abs=0.45 * 480 / ground[2])


def test_a_chairs_back_hides_the_person_seen_from_behind_and_not_from_the_front():
    front, back = (render_scene(_scene(replace(SITTING, view_deg=view)), size_hw=SIZE).people[0] for view in (0.0, 180.0))
    assert front.visible_mask.sum() > 0.97 * front.mask.sum()
    assert back.visible_mask.sum() < 0.9 * back.mask.sum()


def test_a_joint_behind_an_object_is_hidden_and_one_in_front_of_it_is_not():
    canvas = Canvas(np.full((4, 4), 1 / 4.0, np.float32))  # an object 4 m from the camera
    keypoints_px = np.tile(np.float32([1.5, 2.5, 2]), (17, 1))
    keypoints_px[2, 2] = 0  # outside of the image
    canvas.hide(keypoints_px, np.linspace(3.0, 5.0, 17, dtype=np.float32), owner=0)
    np.testing.assert_array_equal(keypoints_px[:, 2], [2, 2, 0] + 6 * [2] + 8 * [1])


def test_hips_of_somebody_who_sits_are_lower_in_the_picture_than_of_the_same_person_standing():
    hips = [K["left_hip"], K["right_hip"]]
    rows = [render_scene(_scene(person), size_hw=SIZE).people[0].keypoints_px[hips, 1].mean() for person in (STANDING, SITTING)]
    assert rows[1] > rows[0] + 8


@pytest.mark.parametrize("seat", ["bench", "chair"])
def test_furniture_stands_on_the_ground_with_its_seat_at_the_sitters_height(seat):
    shape = draw_shape(PEOPLE[1], 11)
    for seed in range(10):
        furniture = build_furniture(seat, seed, shape)
        assert furniture.vertices_m[:, 2].min() == 0
        is_seat = (furniture.normals[:, 2] > 0.99) & (furniture.vertices_m[:, 2] < SEAT_HEIGHT_M[seat] + 0.05)
        assert furniture.vertices_m[is_seat, 2].max() == pytest.approx(SEAT_HEIGHT_M[seat])
        corners = furniture.vertices_m[furniture.faces]
        outwards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert (np.einsum("fi,fi->f", outwards, furniture.normals[furniture.faces[:, 0]]) > 0).all()


def test_objects_of_a_place_hide_people_behind_them():
    number = next(number for number in PLACES if background_at(number, 18.0, SIZE).inverse_depth.any())
    inverse_depth = background_at(number, 18.0, SIZE).inverse_depth
    far = [replace(STANDING, away_m=12.0, right_m=float(right_m), seed=seed) for seed, right_m in enumerate(np.arange(-7, 8))]
    people = render_scene(_scene(*far, place=number), size_hw=SIZE).people
    for person in people:
        assert not (person.visible_mask & (inverse_depth > 0)).any()
    assert any((person.mask & (inverse_depth > 0)).any() for person in people)


def test_people_before_the_same_place_are_never_behind_its_wall():
    near, far = background_at(EMPTY_PLACE, 6.0, SIZE), background_at(EMPTY_PLACE, 20.0, SIZE)
    assert (near.image_rgb != far.image_rgb).any()


def test_the_light_differs_from_picture_to_picture():
    means = [render_scene(_scene(seed=seed), size_hw=SIZE).image_rgb.mean() for seed in range(8)]
    assert np.ptp(means) > 5


def test_unknown_activities_seats_that_do_not_fit_and_images_without_pixels_are_refused():
    flying = replace(STANDING)
    object.__setattr__(flying, "activity", "flying")  # as a caller without type checks would
    with pytest.raises(ValueError, match="activity must be one of walking, running, sitting, standing, got 'flying'"):
        render_scene(_scene(flying), size_hw=SIZE)
    with pytest.raises(ValueError, match="needs a seat"):
        render_scene(_scene(replace(SITTING, seat=None)), size_hw=SIZE)
    with pytest.raises(ValueError, match="seat must be None"):
        render_scene(_scene(replace(STANDING, seat="bench")), size_hw=SIZE)
    empty = replace(PEOPLE[0], joints_m=np.zeros((0, 20, 3), np.float32), forward_m=np.zeros(0, np.float32))
    with pytest.raises(ValueError, match="no frames"):
        render_scene(_scene(STANDING, replace(STANDING, motion=empty)), size_hw=SIZE)
    broken = replace(PEOPLE[0], joints_m=np.full((3, 20, 3), np.nan, np.float32), forward_m=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="not finite"):
        render_scene(_scene(replace(STANDING, motion=broken)), size_hw=SIZE)
    with pytest.raises(ValueError, match="must be finite"):
        render_scene(_scene(replace(STANDING, away_m=float("nan"))), size_hw=SIZE)
    for size_hw in ((0, 160), (120, 0)):
        with pytest.raises(ValueError, match="size_hw"):
            render_scene(_scene(), size_hw=size_hw)


def test_people_recorded_while_walking_are_shown_in_every_activity(real_data):
    walks = cmumocap.read(real_data / "cmu-walks/cmu-walks.tar.xz")[::9]
    for walk in walks:
        for activity in ACTIVITIES:
            seat = "chair" if activity == "sitting" else None
            person = replace(STANDING, motion=walk.piece(3, 9), activity=activity, seat=seat, view_deg=40.0)
            shown = render_scene(_scene(person), size_hw=SIZE).people[0]
            assert shown.mask.sum() > 300
            assert (shown.keypoints_px[:, 2] > 0).all()
