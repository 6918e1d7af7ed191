"""Poses in boxes: sides, neck, similarity against COCO's, grids, blur against scipy, assignment by brute force, vectors."""

import itertools

import numpy as np
import pytest
import torch
from pycocotools.cocoeval import COCOeval
from scipy.ndimage import gaussian_filter

from people.records import COCO_KEYPOINTS
from people.systems.multipose.model import poses


def drawn(people: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    position = 100 * draw.random((people, 17, 2))
    return np.concatenate([position, draw.integers(0, 3, (people, 17, 1))], axis=2).astype(np.float32)


@pytest.mark.parametrize("joints", [17, 18])
def test_swapping_sides_twice_changes_nothing_and_swaps_left_with_right_alone(joints: int):
    swap = poses.swapped_sides(joints)
    names = [*COCO_KEYPOINTS, "neck"][:joints]
    assert [swap[other] for other in swap] == list(range(joints))
    for name, other in zip(names, (names[index] for index in swap), strict=True):
        expected = name.replace("left_", "right_") if name.startswith("left_") else name.replace("right_", "left_")
        assert other == expected


def test_there_is_a_neck_where_both_shoulders_are_labelled():
    keypoints = np.zeros((4, 17, 3), np.float32)
    left, right = (COCO_KEYPOINTS.index(f"{side}_shoulder") for side in ("left", "right"))
    keypoints[:, left] = [(10, 20, 2), (10, 20, 2), (10, 20, 0), (10, 20, 1)]
    keypoints[:, right] = [(30, 26, 2), (30, 26, 0), (30, 26, 2), (30, 26, 2)]
    with_neck = poses.with_neck(keypoints)
    assert with_neck[:, 17].tolist() == [[20, 23, 2], [0, 0, 0], [0, 0, 0], [20, 23, 1]]
    np.testing.assert_array_equal(with_neck[:, :17], keypoints)
    assert poses.with_neck(keypoints[:0]).shape == (0, 18, 3)


def test_keypoint_similarity_is_that_of_pycocotools():
    true, area = drawn(6, 1), np.random.default_rng(2).uniform(50, 5000, 6).astype(np.float32)
    true[:, 0, 2] = 2
    found = true + np.random.default_rng(3).normal(0, 4, true.shape).astype(np.float32)
    similarity = poses.keypoint_similarity(torch.from_numpy(true), torch.from_numpy(area), torch.from_numpy(found)).numpy()
    for row in range(6):
        evaluation = COCOeval(iouType="keypoints")
        evaluation._gts[0, 1] = [
            {"keypoints": true[row].ravel().tolist(), "bbox": [0, 0, 1, 1], "area": float(area[row]), "ignore": 0}
        ]
        evaluation._dts[0, 1] = [{"keypoints": found[row].ravel().tolist(), "score": 1.0}]
        assert similarity[row] == pytest.approx(evaluation.computeOks(0, 1)[0, 0], rel=2e-5)


def test_similarity_reads_neither_the_neck_nor_what_is_not_labelled_and_is_nan_of_nobody_labelled():
    true = torch.from_numpy(poses.with_neck(drawn(3, 1)))
    true[1, :, 2] = 0
    found, area = true.clone(), torch.full((3,), 400.0)
    found[:, 17, :2] += 50
    found[..., :2] += 50 * (true[..., 2:] == 0)
    similarity = poses.keypoint_similarity(true, area, found)
    assert similarity[[0, 2]].tolist() == [1.0, 1.0]
    assert similarity[1].isnan()


def test_the_grid_spans_the_box_and_there_and_back_is_the_same_place():
    box = torch.tensor([10.0, 20.0, 46.0, 76.0])
    corners = torch.tensor([[10.0, 20.0], [46.0, 76.0], [28.0, 48.0], [5.0, 90.0]])
    grid = poses.to_grid(corners, box.expand(4, 4), (56, 36))
    torch.testing.assert_close(grid, torch.tensor([[0.0, 0.0], [36.0, 56.0], [18.0, 28.0], [-5.0, 70.0]]))
    torch.testing.assert_close(poses.from_grid(grid, box.expand(4, 4), (56, 36)), corners)
    boxes = torch.rand(5, 1, 4) + torch.tensor([0.0, 0.0, 3.0, 7.0])
    position = torch.rand(5, 17, 2)
    torch.testing.assert_close(poses.from_grid(poses.to_grid(position, boxes, (14, 9)), boxes, (14, 9)), position)


def test_impulses_lie_in_the_points_cells_and_points_outside_have_none():
    position = torch.tensor([[0.0, 0.0], [8.99, 13.99], [9.0, 3.0], [-0.01, 3.0], [4.5, 6.5], [4.9, 6.1], [3.0, 2.0]])
    is_there, joint = torch.tensor([True] * 6 + [False]), torch.tensor([0, 1, 1, 1, 2, 2, 2])
    both = poses.impulses(torch.stack([position, position + 1]), torch.stack([is_there, is_there]), joint, 3, (14, 9))
    assert both[0].nonzero().tolist() == [[0, 0, 0], [1, 13, 8], [2, 6, 4]]
    assert both[1].nonzero().tolist() == [[0, 1, 1], [1, 4, 0], [2, 7, 5]]
    assert both.max().item() == 1
    assert poses.impulses(torch.zeros(2, 0, 2), torch.ones(2, 0, dtype=torch.bool), joint[:0], 3, (14, 9)).sum() == 0


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_the_blur_is_scipys_with_zeros_outside_and_stays_within_a_joint(sigma: float):
    maps = (torch.rand(3, 4, 14, 9, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    maps[:, 2] = 0
    blurred = poses.blurred(maps, sigma)
    for person, joint in itertools.product(range(3), range(4)):
        expected = gaussian_filter(maps[person, joint].double().numpy(), sigma, mode="constant")
        np.testing.assert_allclose(blurred[person, joint].numpy(), expected, atol=1e-6)
    assert not blurred[:, 2].any()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(poses.blurred(maps, sigma), blurred)
    assert poses.blurred(maps[:0], sigma).shape == (0, 4, 14, 9)


@pytest.mark.parametrize(("sigma", "peak"), [(1.0, 0.159), (2.0, 0.0398)])
def test_the_peak_of_a_blurred_joint_is_the_published_one(sigma: float, peak: float):
    maps = torch.zeros(17, 56, 36)
    maps[3, 28, 18] = 1
    blurred = poses.blurred(maps, sigma)
    assert blurred[3, 28, 18].item() == pytest.approx(peak, abs=6e-4 if sigma == 1 else 6e-5)
    assert blurred[3].sum().item() == pytest.approx(1, abs=1e-4)
    assert blurred.sum().item() == pytest.approx(1, abs=1e-4)


def test_the_strongest_cell_of_each_map():
    maps = torch.zeros(1, 2, 14, 9)
    maps[0, 0, 3, 8], maps[0, 1, 13, 0] = 1, 1
    assert poses.strongest(maps).tolist() == [[[8.5, 3.5], [0.5, 13.5]]]


def test_window_sums_are_those_of_loops():
    maps = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(0))
    sums = poses.window_sums(maps, 3)
    for number, row, column in itertools.product(range(2), range(6), range(5)):
        expected = maps[number, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].sum()
        assert sums[number, row, column].item() == pytest.approx(expected.item(), rel=1e-5)


def brute_force(score: np.ndarray, allowed: np.ndarray) -> tuple[int, float]:
    """The greatest number of allowed pairs, and the greatest sum with so many, over all ways to pair."""
    people, peaks = score.shape
    choices = [[-1, *(peak for peak in range(peaks) if allowed[person, peak])] for person in range(people)]
    best = (0, 0.0)
    for chosen in itertools.product(*choices):
        used = [peak for peak in chosen if peak >= 0]
        if len(set(used)) == len(used):
            best = max(best, (len(used), sum(score[person, peak] for person, peak in enumerate(chosen) if peak >= 0)))
    return best


def test_assignment_pairs_as_many_as_can_be_then_the_best_ones():
    draw = np.random.default_rng(0)
    for number in range(300):
        shape = draw.integers(1, 5, 2)
        score = draw.normal(size=shape) * 10.0 ** draw.integers(-4, 4)
        allowed = draw.random(shape) < draw.choice([0.3, 0.7, 1.0])
        assigned = poses.assign(score, allowed)
        people = np.flatnonzero(assigned >= 0)
        assert len(set(assigned[people])) == len(people), f"case {number}: a peak is used twice"
        assert allowed[people, assigned[people]].all()
        count, total = brute_force(score, allowed)
        assert len(people) == count
        if count:
            assert score[people, assigned[people]].sum() == pytest.approx(total, rel=1e-6, abs=1e-9)


def test_without_people_peaks_or_allowed_pairs_nobody_is_assigned():
    assert poses.assign(np.zeros((0, 3)), np.zeros((0, 3), bool)).tolist() == []
    assert poses.assign(np.zeros((2, 0)), np.zeros((2, 0), bool)).tolist() == [-1, -1]
    assert poses.assign(np.ones((2, 3)), np.zeros((2, 3), bool)).tolist() == [-1, -1]


@pytest.mark.parametrize("aspect", poses.ASPECTS)
def test_coordinates_span_0_to_1_and_depend_on_neither_place_nor_size(aspect: str):
    keypoints = torch.from_numpy(drawn(8, 1))
    vectors = poses.coordinates(keypoints, aspect)
    assert vectors.shape == (8, 34)
    assert vectors.min().item() == 0
    assert vectors.max(1).values.tolist() == pytest.approx([1] * 8)
    moved = keypoints.clone()
    moved[..., :2] = 3.7 * moved[..., :2] + torch.tensor([-40.0, 900.0])
    torch.testing.assert_close(poses.coordinates(moved, aspect), vectors, atol=1e-4, rtol=0)
    stretched = keypoints * torch.tensor([2.0, 1.0, 1.0])
    assert torch.allclose(poses.coordinates(stretched, aspect), vectors, atol=1e-4) == (aspect == "lost")


def test_coordinates_by_hand_with_missing_joints_at_0():
    keypoints = torch.zeros(1, 4, 3)
    keypoints[0] = torch.tensor([[10.0, 30.0, 2.0], [15.0, 50.0, 1.0], [99.0, 99.0, 0.0], [12.0, 40.0, 2.0]])
    assert poses.coordinates(keypoints, "kept")[0].tolist() == pytest.approx([0, 0, 0.25, 1, 0, 0, 0.1, 0.5])
    assert poses.coordinates(keypoints, "lost")[0].tolist() == pytest.approx([0, 0, 1, 1, 0, 0, 0.4, 0.5])
    keypoints[..., 2] = 0
    assert not poses.coordinates(keypoints, "kept").any()
    assert poses.coordinates(keypoints[:0], "kept").shape == (0, 8)
