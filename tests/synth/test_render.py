import hashlib
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from people.records import COCO_KEYPOINTS, Take
from people.synth.body.shape import draw_shape
from people.synth.motion.parametric import motions
from people.synth.render import render
from people.synth.scene.camera import camera_at
from people.synth.scene.raster import rasterise

SIZE = (120, 160)
K = {name: i for i, name in enumerate(COCO_KEYPOINTS)}
PEOPLE = motions(6, walks=1, frames=12, frame_rate_hz=30, seed=5)


def _take(person=1, **changes):
    take = Take("p001", "n01", PEOPLE[person], "normal", 0, 90.0, identity_seed=10 + person, seed=77)
    return replace(take, **changes)


def _frames(size_hw=SIZE, **changes):
    return list(render(_take(**changes), size_hw=size_hw))


def _digest(frames):
    digest = hashlib.sha256()
    for frame in frames:
        for values in (frame.frame_rgb, frame.mask, frame.keypoints_px, frame.box_xyxy_px):
            digest.update(values.tobytes())
    return digest.hexdigest()


def test_the_same_take_gives_the_same_bytes_in_another_process(root):
    code = (
        "import sys; sys.path[:0] = ['.', 'tests/synth']\n"
        "import test_render as t\n"
        "print(t._digest(t._frames(condition='bag', view_deg=36.0)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == _digest(_frames(condition="bag", view_deg=36.0))


def test_frames_do_not_depend_on_their_batch():
    motion = PEOPLE[1]
    # Nine frames of a path with the same middle: the batches start at other frames.
    middle = motion.forward_m[0] + motion.forward_m[-1]
    first = replace(motion.piece(0, 9), forward_m=np.append(motion.forward_m[:8], middle - motion.forward_m[0]))
    np.testing.assert_array_equal([f.mask for f in _frames()[:8]], [f.mask for f in _frames(motion=first)[:8]])


def test_another_seed_changes_noise_but_neither_person_nor_keypoints():
    a, b = _frames(), _frames(seed=78)
    assert (a[3].frame_rgb != b[3].frame_rgb).any()
    np.testing.assert_array_equal(a[3].mask, b[3].mask)
    np.testing.assert_array_equal(a[3].keypoints_px, b[3].keypoints_px)


def test_a_point_is_projected_as_worked_by_hand():
    # Camera 6 m to the left of the path, 1.15 m high, looking at 0.95 m: the line of sight falls 0.2 m in 6 m.
    camera = camera_at(90.0, (120, 160))
    np.testing.assert_allclose(camera.project(np.array([0.0, 0.0, 0.95])), [80, 60, np.hypot(6, 0.2)], atol=1e-4)
    # One metre forward is 240 px * 1 m / 6.003 m to the image's left.
    column, row, _ = camera.project(np.array([1.0, 0.0, 0.95]))
    assert column == pytest.approx(80 - 240 / np.hypot(6, 0.2), abs=1e-3)
    assert row == pytest.approx(60, abs=1e-3)
    # Higher is further up.
    assert camera.project(np.array([0.0, 0.0, 1.95]))[1] < 25


def test_one_triangle_covers_the_pixels_whose_middles_it_holds_and_the_nearer_one_wins():
    # Counter-clockwise on the screen, from (0, 0) down to (0, 4) and over to (4, 0): the pixels' middles with x + y < 4.
    near = np.array([[[0, 0, 2], [0, 4, 2], [4, 0, 2]]], np.float32)
    fragments = rasterise(near, np.array([[0, 1, 2]]), (4, 4), 0.1)
    covered = np.zeros((4, 4), bool)
    covered.reshape(-1)[fragments.pixel] = True
    rows, columns = np.mgrid[0:4, 0:4]
    np.testing.assert_array_equal(covered, rows + columns + 1 < 4.01)
    triangles = np.concatenate([near, near * np.array([1, 1, 0.5], np.float32)], axis=1)
    nearest = rasterise(triangles, np.array([[0, 1, 2], [3, 4, 5]]), (4, 4), 0.1)
    assert set(nearest.corners[:, 0]) == {3}
    backwards = rasterise(near, np.array([[0, 2, 1]]), (4, 4), 0.1)
    assert len(backwards.pixel) == 0


@pytest.mark.parametrize("view_deg", [0.0, 54.0, 90.0, 180.0, 270.0])
@pytest.mark.parametrize("condition", ["normal", "bag", "coating_shoes", "coat", "other_clothes"])
def test_box_bounds_the_mask_and_visible_keypoints_lie_on_it(view_deg, condition):
    for frame in _frames(view_deg=view_deg, condition=condition)[::4]:
        rows, columns = np.nonzero(frame.mask)
        np.testing.assert_array_equal(frame.box_xyxy_px, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert 0.45 * SIZE[0] < rows.max() - rows.min() < 0.85 * SIZE[0]
        near = cv2.dilate(frame.mask.astype(np.uint8), np.ones((5, 5), np.uint8))
        for x, y, visibility in frame.keypoints_px:
            assert visibility in (1, 2)
            assert near[int(y), int(x)] or visibility == 1


def test_the_face_is_seen_from_the_front_and_hidden_from_behind():
    face = [K["nose"], K["left_eye"], K["right_eye"]]
    assert (_frames(view_deg=0.0)[4].keypoints_px[face, 2] == 2).all()
    assert (_frames(view_deg=180.0)[4].keypoints_px[face, 2] == 1).all()
    side = _frames(view_deg=90.0)[4].keypoints_px[:, 2]
    assert side[K["left_ear"]] == 2
    assert side[K["right_ear"]] == 1
    assert side[K["left_shoulder"]] == 2


def test_walking_direction_follows_the_view():
    def travelled(view_deg):
        frames = _frames(view_deg=view_deg)
        return frames[-1].box_xyxy_px - frames[0].box_xyxy_px

    assert travelled(90.0)[[0, 2]].mean() < -4
    assert travelled(270.0)[[0, 2]].mean() > 4
    # Coming nearer makes taller: the feet move down the image.
    assert travelled(0.0)[3] > 0
    assert travelled(180.0)[3] < 0


def test_left_and_right_are_the_persons_own():
    front, back = _frames(view_deg=0.0)[0].keypoints_px, _frames(view_deg=180.0)[0].keypoints_px
    assert front[K["left_shoulder"], 0] > front[K["right_shoulder"], 0]
    assert back[K["left_shoulder"], 0] < back[K["right_shoulder"], 0]


def _colours(frame):
    return frame.frame_rgb[frame.mask].astype(float).mean(axis=0)


@pytest.mark.parametrize("changes", [{"condition": "other_clothes"}, {"session": 1}])
def test_other_clothes_change_the_texture_but_not_the_motion(changes):
    before, after = _frames(), _frames(**changes)
    np.testing.assert_allclose(before[5].keypoints_px[:, :2], after[5].keypoints_px[:, :2], atol=1.5)
    both = before[5].mask & after[5].mask
    assert both.sum() > 0.75 * before[5].mask.sum()
    difference = before[5].frame_rgb[both].astype(float) - after[5].frame_rgb[both].astype(float)
    assert np.abs(difference).mean() > 12


def test_clothes_of_one_day_stay_the_same_from_take_to_take():
    before, after = _frames(), _frames(condition="coating_shoes", seed=5)
    top = slice(0, 60)
    both = before[5].mask[top] & after[5].mask[top]
    a, b = before[5].frame_rgb[top][both].astype(float), after[5].frame_rgb[top][both].astype(float)
    assert np.abs(a / a.mean() - b / b.mean()).mean() < 0.06


def test_coat_and_bag_add_to_the_silhouette_and_shoe_covers_to_the_feet():
    plain = np.mean([f.mask.sum() for f in _frames()])
    for condition in ("coat", "bag", "coating_shoes"):
        assert np.mean([f.mask.sum() for f in _frames(condition=condition)]) > plain * 1.02
    covers, shoes = _frames(condition="coating_shoes")[5], _frames()[5]
    low = int(shoes.box_xyxy_px[3]) - 4
    bright = [f.frame_rgb[low:][f.mask[low:]].mean() for f in (covers, shoes)]
    assert bright[0] > bright[1] + 30


def test_a_heavier_person_of_the_same_height_is_broader():
    def width(weight_kg):
        motion = replace(PEOPLE[1], weight_kg=weight_kg)
        return np.mean([f.mask.sum() for f in _frames(motion=motion, view_deg=0.0)])

    assert width(110.0) > 1.15 * width(60.0)


def test_bodies_without_sex_age_height_and_weight_are_drawn_from_the_identity():
    unknown = replace(PEOPLE[0], sex=None, age_years=None, height_m=None, weight_kg=None)
    shapes = [draw_shape(unknown, seed) for seed in range(40)]
    assert {shape.sex for shape in shapes} == {"female", "male"}
    assert shapes[0].height_m == pytest.approx(PEOPLE[0].height_m, abs=0.1)
    assert len({round(shape.bmi, 3) for shape in shapes}) == 40
    assert _frames(motion=unknown)[0].mask.any()


def test_coincident_joints_do_not_break_the_rendering():
    joints = PEOPLE[0].joints_m.copy()
    joints[:, 7] = joints[:, 6]  # a hand in the wrist
    joints[3:, 15] = joints[3:, 14]  # a foot in the ankle
    frames = _frames(motion=replace(PEOPLE[0], joints_m=joints))
    assert all(frame.mask.any() for frame in frames)


def test_frames_are_empty_after_walking_out_of_view():
    motion = replace(PEOPLE[0], forward_m=np.linspace(0, 14, 12, dtype=np.float32))
    frames = _frames(motion=motion)
    for frame in (frames[0], frames[-1]):
        assert not frame.mask.any()
        np.testing.assert_array_equal(frame.box_xyxy_px, np.zeros(4))
        np.testing.assert_array_equal(frame.keypoints_px[:, 2], np.zeros(17))
    assert frames[6].mask.any()
    # Walking past the camera is no error.
    assert not _frames(motion=motion, view_deg=0.0)[-1].mask.any()


def test_the_background_is_static_except_for_noise():
    frames = _frames()
    corner = np.stack([f.frame_rgb[:25, :25] for f in frames]).astype(float)
    assert 0.5 < corner.std(axis=0).mean() < 3.0
    assert corner.mean(axis=0).std() > 2


def test_optical_flow_at_80x60_follows_the_body_and_is_zero_in_the_background():
    frames = _frames()
    small = [cv2.resize(cv2.cvtColor(f.frame_rgb, cv2.COLOR_RGB2GRAY), (80, 60), interpolation=cv2.INTER_AREA) for f in frames]
    inside, outside = [], []
    for i in range(len(frames) - 1):
        flow = cv2.calcOpticalFlowFarneback(small[i], small[i + 1], np.zeros((60, 80, 2), np.float32), 0.5, 3, 9, 3, 5, 1.1, 0)
        shift = (frames[i + 1].keypoints_px[11:13, 0] - frames[i].keypoints_px[11:13, 0]).mean() / 2
        mask = cv2.resize(frames[i].mask.astype(np.uint8), (80, 60), interpolation=cv2.INTER_AREA) > 0
        trunk = mask & (np.arange(60)[:, None] < 34) & (np.arange(60)[:, None] > 20)
        inside.append(np.median(flow[..., 0][cv2.erode(trunk.astype(np.uint8), np.ones((3, 3))) > 0]) / shift)
        outside.append(np.abs(flow[cv2.dilate(mask.astype(np.uint8), np.ones((15, 15))) == 0]).mean())
    assert 0.6 < np.mean(inside) < 1.3
    assert np.mean(outside) < 0.15


def test_an_unknown_condition_an_empty_or_infinite_motion_and_an_empty_image_are_refused():
    swimming = _take()
    object.__setattr__(swimming, "condition", "swimming")  # as a caller without type checks would
    with pytest.raises(ValueError, match="condition must be one of normal, bag"):
        render(swimming, size_hw=SIZE)
    empty = replace(PEOPLE[0], joints_m=np.zeros((0, 20, 3), np.float32), forward_m=np.zeros(0, np.float32))
    with pytest.raises(ValueError, match="no frames"):
        render(_take(motion=empty), size_hw=SIZE)
    broken = replace(PEOPLE[0], joints_m=np.full((3, 20, 3), np.nan, np.float32), forward_m=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="not finite"):
        render(_take(motion=broken), size_hw=SIZE)
    with pytest.raises(ValueError, match="size_hw"):
        render(_take(), size_hw=(0, 160))
