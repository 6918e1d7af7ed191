"""Heat maps of keypoints: Gaussian targets against loops and by hand, peaks between cells, mirrored maps, peaks in boxes."""

import math

import numpy as np
import pytest
import torch

from people.systems.multipose.model import heatmaps, poses

STRIDE, SIGMA = 4, 4.0


def drawn(people: int, seed: int, size_px: tuple[float, float] = (96.0, 64.0)) -> torch.Tensor:
    """Keypoints within an image of this width and height, a third of them not labelled."""
    draw = np.random.default_rng(seed)
    position = draw.random((people, 17, 2)) * size_px
    return torch.tensor(np.concatenate([position, draw.integers(0, 3, (people, 17, 1))], axis=2), dtype=torch.float32)


def naive(people: torch.Tensor, size_hw: tuple[int, int], sigma: float) -> np.ndarray:
    maps = np.zeros((people.shape[1] + 1, *size_hw))
    for person in people.double().numpy():
        for joint, (x, y, visibility) in enumerate(person):
            for row in range(size_hw[0]):
                for column in range(size_hw[1]):
                    distance = (STRIDE * column + 2 - x) ** 2 + (STRIDE * row + 2 - y) ** 2
                    exponent = distance / (2 * sigma**2)
                    if visibility and exponent <= 4.6052:
                        maps[joint, row, column] = maps[joint, row, column] + math.exp(-exponent)
    maps[:-1] = np.minimum(maps[:-1], 1)
    maps[-1] = 1 - maps[:-1].max(axis=0)
    return maps


def maps_of(*points: tuple[float, float, float], size_hw: tuple[int, int] = (8, 10), sigma: float = SIGMA) -> torch.Tensor:
    """The maps of one joint with a person at each of these points, and the background."""
    return heatmaps.gaussian_maps([torch.tensor(points).reshape(-1, 1, 3)], size_hw, STRIDE, sigma)[0]


@pytest.mark.parametrize("sigma", [4.0, 7.0])
def test_target_maps_are_those_of_four_loops(sigma: float):
    images = [drawn(3, 1), drawn(0, 2), drawn(1, 3)]
    maps = heatmaps.gaussian_maps(images, (16, 24), STRIDE, sigma)
    assert maps.shape == (3, 18, 16, 24)
    for found, people in zip(maps, images, strict=True):
        np.testing.assert_allclose(found.numpy(), naive(people, (16, 24), sigma), atol=2e-6)


def test_a_peak_at_the_centre_of_a_cell_is_1_there_and_falls_by_hand():
    maps = maps_of((14.0, 10.0, 2.0))
    assert maps[0, 2, 3].item() == 1
    assert maps[0, 2, 4].item() == pytest.approx(math.exp(-0.5))
    assert maps[0, 3, 4].item() == pytest.approx(math.exp(-1.0))
    torch.testing.assert_close(maps[1], 1 - maps[0])


def test_a_gaussian_ends_at_a_hundredth_of_its_peak():
    maps = maps_of((14.0, 10.0, 1.0))
    assert maps[0, 2, 6].item() == pytest.approx(math.exp(-4.5))  # three deviations away
    assert maps[0, 3, 6].item() == 0  # exponent 5
    assert maps[0][maps[0] > 0].min().item() >= 0.0099


def test_overlapping_peaks_are_added_and_end_at_1():
    first, second = maps_of((14.0, 10.0, 2.0)), maps_of((22.0, 10.0, 2.0))
    both = maps_of((14.0, 10.0, 2.0), (22.0, 10.0, 2.0))
    torch.testing.assert_close(both[0], (first[0] + second[0]).clamp(max=1))
    assert both[0, 2, 4].item() == 1  # twice 0.61
    assert both[1, 2, 4].item() == 0


def test_joints_that_are_not_labelled_have_no_peak_and_nobody_is_all_background():
    for maps in (maps_of((14.0, 10.0, 0.0)), maps_of()):
        assert not maps[0].any()
        assert (maps[1] == 1).all()


def test_peaks_are_found_between_cells_to_a_fifth_of_a_pixel():
    draw = np.random.default_rng(0)
    for sigma in (4.0, 7.0):
        for x, y in draw.uniform([14, 14], [66, 50], (40, 2)).tolist():
            maps = maps_of((x, y, 2.0), size_hw=(16, 20), sigma=sigma)
            peaks = heatmaps.find_peaks(maps[:1], STRIDE, threshold=0.1, window=5, most=5)
            assert peaks.joint.tolist() == [0]
            assert (peaks.position_px[0] - torch.tensor([x, y])).abs().max() < 0.2
            assert 0.7 < peaks.score.item() <= 1


def test_peaks_at_the_edge_are_the_centres_of_their_cells():
    maps = maps_of((1.0, 1.0, 2.0))
    peaks = heatmaps.find_peaks(maps[:1], STRIDE, threshold=0.1, window=5, most=5)
    assert peaks.position_px.tolist() == [[2.0, 2.0]]


def test_a_plateau_is_one_peak_its_first_cell_and_nothing_is_none():
    maps = torch.zeros(2, 8, 10)
    maps[1, 3:5, 4:6] = 1
    peaks = heatmaps.find_peaks(maps, STRIDE, threshold=0.1, window=3, most=5)
    assert peaks.joint.tolist() == [1]
    assert [int(each) // STRIDE for each in peaks.position_px[0]] in ([4, 3], [5, 4])
    assert peaks.score.tolist() == [1.0]


def test_threshold_window_and_number_bound_the_peaks():
    maps = torch.zeros(1, 9, 21)
    for column, value in ((2, 0.5), (4, 0.9), (10, 0.2), (18, 0.1)):
        maps[0, 4, column] = value

    def found(**changes: float) -> list[float]:
        options = {"threshold": 0.1, "window": 3, "most": 9} | changes
        peaks = heatmaps.find_peaks(
            maps, STRIDE, threshold=options["threshold"], window=int(options["window"]), most=int(options["most"])
        )
        return sorted(round(value, 4) for value in peaks.score.tolist())

    assert found() == [0.2, 0.5, 0.9]  # above the threshold, not at it
    assert found(threshold=0.05) == [0.1, 0.2, 0.5, 0.9]
    assert found(window=5) == [0.2, 0.9]
    assert found(most=2) == [0.5, 0.9]


def test_maps_smaller_than_the_window_have_peaks():
    peaks = heatmaps.find_peaks(torch.full((2, 1, 1), 0.5), STRIDE, threshold=0.1, window=5, most=5)
    assert peaks.joint.tolist() == [0, 1]
    assert peaks.position_px.tolist() == [[2.0, 2.0], [2.0, 2.0]]


@pytest.mark.parametrize("joints", [17, 18])
def test_mirrored_maps_are_those_of_mirrored_people_and_twice_mirrored_the_first_ones(joints: int):
    swap = torch.tensor([*poses.swapped_sides(joints), joints])
    people = drawn(2, 4)
    if joints == 18:
        people = torch.from_numpy(poses.with_neck(people.numpy()))
    mirrored = people.clone()
    mirrored[..., 0] = 96 - people[..., 0]
    mirrored = mirrored[:, poses.swapped_sides(joints)]
    maps, expected = (heatmaps.gaussian_maps([each], (16, 24), STRIDE, SIGMA) for each in (people, mirrored))
    torch.testing.assert_close(heatmaps.mirrored(maps, swap), expected, atol=2e-6, rtol=0)
    torch.testing.assert_close(heatmaps.mirrored(heatmaps.mirrored(maps, swap), swap), maps, atol=0, rtol=0)
    assert (heatmaps.mirrored(maps, swap) - maps).abs().max() > 0.1


def test_the_strongest_cell_in_a_box_is_that_of_a_loop():
    draw = torch.Generator().manual_seed(0)
    maps = torch.rand(17, 12, 15, generator=draw)
    corners = torch.rand(20, 2, 2, generator=draw) * torch.tensor([60.0, 48.0])
    boxes = torch.cat([corners.amin(1), corners.amax(1) + 0.5], dim=1)
    found = heatmaps.strongest_in_boxes(maps, boxes, STRIDE)
    for box, of_box in zip(boxes.tolist(), found, strict=True):
        for joint in range(17):
            best, place = -1.0, (0.0, 0.0)
            for row in range(12):
                for column in range(15):
                    touched = 4 * column < box[2] and 4 * column + 4 > box[0] and 4 * row < box[3] and 4 * row + 4 > box[1]
                    if touched and maps[joint, row, column].item() > best:
                        best, place = maps[joint, row, column].item(), (4 * column + 2.0, 4 * row + 2.0)
            assert of_box[joint].tolist() == list(place)
    assert heatmaps.strongest_in_boxes(maps, torch.zeros(0, 4), STRIDE).shape == (0, 17, 2)
