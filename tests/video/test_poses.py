"""Keypoints in the coordinates of silhouettes, and the student that predicts them."""

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

from people.records import COCO_KEYPOINTS, KEYPOINT_SIGMAS
from people.video import poses
from people.video.keypoints import interpolate, object_keypoint_similarity, to_silhouette
from people.video.mean_overlap import MeanOverlap

TINY = poses.Config(
    teacher="truth", weights="", enlarge=1, widths=[8, 8], head=[8], frames=100, epochs=8, batch_size=16,
    learning_rate=0.01, every=1,
)  # fmt: skip


def keypoints(frames: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.stack([draw.uniform(5, 35, (frames, 17)), draw.uniform(5, 60, (frames, 17)), np.full((frames, 17), 2)], axis=2)


# --- keypoints -------------------------------------------------------------------------------------------------------


def test_similarity_of_one_joint_is_that_of_cocos_formula():
    true, found = np.zeros((1, 17, 3)), np.zeros((1, 17, 3))
    true[0, 9], found[0, 9] = (10, 20, 2), (13, 24, 0.5)  # 5 px off, of the left wrist, whose sigma is 0.062
    assert object_keypoint_similarity(found, true, np.array([900.0]))[0] == pytest.approx(np.exp(-25 / (2 * 900 * 0.124**2)))


def test_similarity_is_1_for_the_truth_whatever_the_size_and_falls_alike_for_all_sizes():
    true = keypoints(3)
    np.testing.assert_allclose(object_keypoint_similarity(true, true, np.array([10.0, 100.0, 1000.0])), 1)
    off = true + np.array([1.0, 0, 0])
    scaled = np.array([3.0, 3.0, 1.0])
    areas = np.array([200.0, 300.0, 400.0])
    np.testing.assert_allclose(
        object_keypoint_similarity(off, true, areas), object_keypoint_similarity(off * scaled, true * scaled, 9 * areas)
    )


def test_joints_without_a_label_do_not_count_and_labelled_ones_not_found_count_0():
    true = keypoints(2)
    found = true.copy()
    found[0, 0, 2], true[0, 1:3] = 0, 0  # one of the fifteen labelled is not found
    true[1] = 0
    np.testing.assert_allclose(object_keypoint_similarity(found, true, np.array([300.0, 300.0])), [14 / 15, np.nan])
    assert len(KEYPOINT_SIGMAS) == len(COCO_KEYPOINTS)


def test_keypoints_are_where_their_box_is_in_the_picture_and_those_outside_it_are_gone():
    seen = keypoints(2).astype(np.float32)
    box = np.array([[10, 4, 32, 68], [0, 0, 44, 64]], np.float32)
    placed = to_silhouette(seen, box, (64, 44))
    inside = placed[..., 2] > 0
    assert inside[1].all()
    assert 0 < inside[0].sum() < 17
    assert not placed[~inside].any()
    np.testing.assert_allclose(placed[0, :, :2][inside[0]], (seen[0, :, :2][inside[0]] - [10, 4]) * [2, 1], atol=1e-4)
    np.testing.assert_allclose(placed[1], seen[1], rtol=1e-6)


def test_between_two_frames_joints_lie_on_a_straight_line_by_the_frames_numbers():
    keypoints = np.zeros((2, 17, 3))
    keypoints[0, :2], keypoints[1, :2] = (10, 20, 0.5), (20, 40, 1.0)
    keypoints[1, 1] = 0  # visible in the first only
    made = interpolate(keypoints, np.array([3, 8]), np.array([3, 5, 8]))
    np.testing.assert_allclose(made[:, 0], [[10, 20, 0.5], [14, 28, 0.7], [20, 40, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(made[:, 1], [[10, 20, 0.5], [0, 0, 0], [0, 0, 0]])


def test_a_mirrored_left_wrist_is_a_right_wrist_and_mirrored_twice_is_as_before():
    seen = keypoints(4).astype(np.float32)
    seen[0, 3] = 0
    turned = poses.mirror_keypoints(seen, 44)
    left, right = (COCO_KEYPOINTS.index(f"{side}_wrist") for side in ("left", "right"))
    np.testing.assert_allclose(turned[:, right, 0], 44 - seen[:, left, 0], rtol=1e-5)
    np.testing.assert_allclose(poses.mirror_keypoints(turned, 44), seen, atol=1e-4)


def test_agreement_is_averaged_over_all_frames_and_by_condition_and_none_without_any():
    mean_oks = MeanOverlap("oks")
    assert mean_oks.facts() == {"oks": None, "oks_by_condition": {}}
    mean_oks.add("nm", np.array([1.0, np.nan, 0.5]))
    mean_oks.add("cl", np.array([0.0]))
    mean_oks.add("bg", np.array([np.nan]))
    assert mean_oks.facts() == {"oks": 0.5, "oks_by_condition": {"cl": 0.0, "nm": 0.75}}


# --- heat maps -------------------------------------------------------------------------------------------------------


def bumps(centres: torch.Tensor, sharpness: float = 1.0) -> torch.Tensor:
    cells = torch.arange(56) + 0.5
    x, y = (centres[..., axis, None] * 56 - cells for axis in (0, 1))
    return -sharpness * (x[..., None, :].square() + y[..., :, None].square())


def test_the_peak_of_a_heat_map_is_found_between_its_cells():
    centres = 0.1 + 0.8 * torch.rand((5, 17, 2), generator=torch.manual_seed(1))
    found = poses.heat_map_peaks(bumps(centres))
    torch.testing.assert_close(found[..., :2], centres, atol=0.002, rtol=0)
    assert (found[..., 2] > 0.95).all()


def test_peaks_agree_with_torchvisions_to_a_cell_in_a_box_of_the_maps_own_shape():
    centres = 0.1 + 0.8 * torch.rand((3, 17, 2), generator=torch.manual_seed(2))
    reference, _ = heatmaps_to_keypoints(bumps(centres), torch.tensor([[0.0, 0.0, 56.0, 56.0]] * 3))
    torch.testing.assert_close(poses.heat_map_peaks(bumps(centres))[..., :2] * 56, reference[..., :2], atol=1.01, rtol=0)


def test_confidence_is_the_probability_near_the_peak():
    flat = poses.heat_map_peaks(torch.zeros(1, 17, 56, 56))
    torch.testing.assert_close(flat[..., 2], torch.full((1, 17), 9 / 56**2))  # its peak is a corner: 3 x 3 cells are inside
    two = torch.full((1, 17, 56, 56), -100.0)
    two[..., 10, 10], two[..., 40, 40] = np.log(0.7), np.log(0.3)
    torch.testing.assert_close(poses.heat_map_peaks(two)[..., 2], torch.full((1, 17), 0.7))


# --- the student -----------------------------------------------------------------------------------------------------


def figures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Upright blocks somewhere in the picture, with joints at fixed places of the block."""
    draw = np.random.default_rng(3)
    pictures, labels = np.zeros((count, 64, 44), np.uint8), np.zeros((count, 17, 3), np.float32)
    places = np.stack([np.full(17, 5.0), np.linspace(2, 38, 17), np.full(17, 2.0)], axis=1)
    for picture, label in zip(pictures, labels, strict=True):
        left, top = draw.integers(4, 30), draw.integers(4, 20)
        picture[top : top + 40, left : left + 10] = 255
        label[:] = places + np.array([left, top, 0])
    return pictures, labels


@pytest.fixture(scope="module")
def taught() -> tuple[poses.KeypointRCNN, float]:
    return poses.train_student(*figures(128), TINY, seed=1)


def test_the_student_learns_where_the_joints_are(taught: tuple[poses.KeypointRCNN, float]):
    pictures, labels = figures(160)
    found = poses.predict(taught[0], pictures[128:], 1)
    distance_px = np.linalg.norm(found[..., :2] - labels[128:, :, :2], axis=2)
    assert np.median(distance_px) < 2
    assert taught[1] < np.log(56**2) - 3
    assert ((found[..., 2] > 0) & (found[..., 2] <= 1)).all()


def test_an_empty_picture_has_no_joints_and_a_picture_does_not_depend_on_the_others(taught: tuple[poses.KeypointRCNN, float]):
    pictures, _ = figures(3)
    pictures[1] = 0
    together = poses.predict(taught[0], pictures, 1)
    assert not together[1].any()
    np.testing.assert_allclose(poses.predict(taught[0], pictures[2:], 1), together[2:], atol=1e-3)


def test_frames_between_key_frames_are_interpolated(taught: tuple[poses.KeypointRCNN, float]):
    pictures, _ = figures(6)
    numbers = np.array([0, 1, 2, 3, 4, 9], np.int32)
    all_frames, every_second = (
        poses.predict_clip(taught[0], pictures, numbers, poses.Config(**{**TINY.__dict__, "every": step})) for step in (1, 2)
    )
    np.testing.assert_allclose(every_second[[0, 2, 4, 5]], all_frames[[0, 2, 4, 5]], atol=1e-3)
    np.testing.assert_allclose(every_second[1], (every_second[0] + every_second[2]) / 2, atol=1e-4)


def test_the_same_seed_gives_the_same_student_and_does_not_change_the_random_state():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    config = poses.Config(**{**TINY.__dict__, "epochs": 1})
    (first, _), (second, _), (third, _) = (poses.train_student(*figures(32), config, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), third.state_dict().values(), strict=True))


def test_without_any_labelled_joint_training_is_an_error():
    pictures, labels = figures(4)
    with pytest.raises(ValueError, match="expected labelled joints"):
        poses.train_student(pictures, np.zeros_like(labels), TINY, seed=1)


@pytest.mark.parametrize("change", [{"teacher": "alphapose"}, {"widths": [8]}, {"head": []}, {"every": 0}, {"epochs": 0}])
def test_settings_out_of_range_are_refused(change: dict):
    with pytest.raises(ValueError, match=f"poses: {next(iter(change))} must be"):
        poses.Config(**{**TINY.__dict__, **change})
