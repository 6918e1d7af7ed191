"""Poses of people in boxes: maps of joints on a grid over the box, peaks assigned to people, similarity, coordinate vectors."""

import functools
import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from people.nn.device_frames import on_device
from people.records import COCO_KEYPOINTS, KEYPOINT_SIGMAS, MIRRORED_KEYPOINTS

GAUSSIAN = 1.0  # deviation in cells of the maps that go into the pose residual network
SHOULDERS = (COCO_KEYPOINTS.index("left_shoulder"), COCO_KEYPOINTS.index("right_shoulder"))


def swapped_sides(joints: int) -> list[int]:
    """For each joint the one that a mirrored image has in its place: left for right; the nose and the neck stay."""
    return [*MIRRORED_KEYPOINTS, *range(len(MIRRORED_KEYPOINTS), joints)]


def with_neck(keypoints_px: Float[np.ndarray, "person 17 3"]) -> Float[np.ndarray, "person 18 3"]:
    """The keypoints and behind them the neck, midway between the shoulders; not labelled unless both shoulders are."""
    left, right = (keypoints_px[:, index] for index in SHOULDERS)
    neck = (left + right) / 2
    neck[:, 2] = np.minimum(left[:, 2], right[:, 2])
    return np.concatenate([keypoints_px, np.where(neck[:, 2:] > 0, neck, 0)[:, None]], axis=1)


def keypoint_similarity(
    true_px: Float[Tensor, "person joint 3"], area_px: Float[Tensor, " person"], found_px: Float[Tensor, "person joint _"]
) -> Float[Tensor, " person"]:
    """COCO's object keypoint similarity (OKS) of each person: the mean over labelled keypoints of exp(-d² / (2 k² area)), with
    k twice the keypoint's sigma; NaN for people without labelled keypoints. Joints behind COCO's 17 do not count.
    """
    count = len(KEYPOINT_SIGMAS)
    distance = (true_px[:, :count, :2] - found_px[:, :count, :2]).square().sum(2)
    spread = (2 * torch.tensor(KEYPOINT_SIGMAS, device=true_px.device)).square()
    similarity = (-distance / (2 * spread * area_px.clamp(min=1e-6)[:, None])).exp()
    is_labelled = true_px[:, :count, 2] > 0
    return (similarity * is_labelled).sum(1) / torch.where(is_labelled.any(1), is_labelled.sum(1), torch.nan)


# --- grid over a box -------------------------------------------------------------------------------------------------


def width_height(grid_hw: tuple[int, int], like: Tensor) -> Shaped[Tensor, " 2"]:
    """Columns and rows of a grid, on the device and in the number type of `like`."""
    return on_device(torch.tensor(grid_hw[::-1], dtype=like.dtype), like.device)


def to_grid(
    position_px: Float[Tensor, "*#batch 2"], box_xyxy_px: Float[Tensor, "*#batch 4"], grid_hw: tuple[int, int]
) -> Float[Tensor, "*_ 2"]:
    """Column and row on the grid over the box, which spans 0 to the grid's width and height."""
    size = (box_xyxy_px[..., 2:] - box_xyxy_px[..., :2]).clamp(min=1e-6)
    return (position_px - box_xyxy_px[..., :2]) / size * width_height(grid_hw, position_px)


def from_grid(
    position: Float[Tensor, "*#batch 2"], box_xyxy_px: Float[Tensor, "*#batch 4"], grid_hw: tuple[int, int]
) -> Float[Tensor, "*_ 2"]:
    """The pixels of positions on the grid: the inverse of `to_grid`."""
    size = box_xyxy_px[..., 2:] - box_xyxy_px[..., :2]
    return box_xyxy_px[..., :2] + position / width_height(grid_hw, position) * size


def impulses(
    position: Float[Tensor, "person point 2"],
    is_there: Bool[Tensor, "person point"],
    joint: Int[Tensor, " point"],
    joints: int,
    grid_hw: tuple[int, int],
) -> Float[Tensor, "person joint row column"]:
    """Of each person, 1 in the cells of the points that are there and lie on the grid, one map a joint; two points of one cell
    are one.
    """
    rows, columns = grid_hw
    cell = position.floor().long()
    inside = is_there & ((cell >= 0) & (cell < width_height(grid_hw, cell))).all(2)
    index = (joint * rows + cell[..., 1]) * columns + cell[..., 0]
    maps = position.new_zeros(len(position), joints * rows * columns + 1)  # the last cell is that of points outside
    maps.scatter_(1, torch.where(inside, index, maps.shape[1] - 1), 1.0)
    return maps[:, :-1].reshape(-1, joints, rows, columns)


def blurred(maps: Float[Tensor, "*batch row column"], sigma: float | int) -> Float[Tensor, "*batch row column"]:
    """Each map convolved with a Gaussian of deviation `sigma` cells, cut at four deviations; zeros outside.

    As two products of matrices, in the maps' own precision also where networks compute in another.
    """
    with torch.autocast(maps.device.type, enabled=False):
        rows, columns = (_gaussian_weights(size, sigma, maps.device, maps.dtype) for size in maps.shape[-2:])
        return rows @ maps @ columns


@functools.lru_cache(maxsize=16)
def _gaussian_weights(size: int, sigma: float | int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "cell cell"]:
    """What each cell of a line has of each other after a convolution with the Gaussian."""
    radius = math.ceil(4 * sigma)
    weight = torch.exp(-torch.arange(size, dtype=torch.float64).square() / (2 * sigma**2))
    total = 2 * torch.exp(-torch.arange(1, radius + 1, dtype=torch.float64).square() / (2 * sigma**2)).sum() + 1
    distance = (torch.arange(size)[:, None] - torch.arange(size)).abs()
    return torch.where(distance <= radius, weight[distance] / total, 0).to(device, dtype)


def strongest(maps: Float[Tensor, "person joint row column"]) -> Float[Tensor, "person joint 2"]:
    """The centre of the highest cell of each map: column and row on the grid."""
    columns = maps.shape[3]
    cell = maps.flatten(2).argmax(2)
    return torch.stack([cell % columns, cell // columns], dim=2) + 0.5


def window_sums(maps: Float[Tensor, "*batch row column"], window: int) -> Float[Tensor, "*batch row column"]:
    """The sum of each map over the `window` x `window` cells round every cell; zeros outside."""
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    rows = functional.avg_pool2d(
        flat, (window, 1), stride=1, padding=(window // 2, 0)
    )  # one axis at a time: a tenth of the cost
    return (functional.avg_pool2d(rows, (1, window), stride=1, padding=(0, window // 2)) * window**2).view_as(maps)


# --- assignment ------------------------------------------------------------------------------------------------------


def assign(score: Float[np.ndarray, "person peak"], allowed: Bool[np.ndarray, "person peak"]) -> Int[np.ndarray, " person"]:
    """For each person the peak, -1 for none: one to one, of the greatest sum of scores over allowed pairs, as many as can be.

    Scores are finite. (The Hungarian method; a pair that is not allowed costs more than all others together.)
    """
    assigned = np.full(len(score), -1)
    if allowed.any():
        span = np.abs(score[allowed]).max() + 1
        cost = np.where(allowed, -score, 2 * span * (min(score.shape) + 1))
        people, peaks = linear_sum_assignment(cost)
        kept = allowed[people, peaks]
        assigned[people[kept]] = peaks[kept]
    return assigned


# --- vectors ---------------------------------------------------------------------------------------------------------

ASPECTS = ("kept", "lost")


def coordinates(keypoints_px: Float[Tensor, "person joint 3"], aspect: str) -> Float[Tensor, "person coordinate"]:
    """[K0 x, K0 y, K1 x, ...] of each pose, the joints that are there scaled to [0, 1]: from the least to the greatest, of both
    axes by the longer of the two (`aspect` kept), or of each axis by its own (lost). Joints of visibility 0 are at 0, 0.
    """
    is_there = (keypoints_px[..., 2] > 0)[..., None]
    position = keypoints_px[..., :2]
    low = torch.where(is_there, position, torch.inf).amin(1, keepdim=True)
    high = torch.where(is_there, position, -torch.inf).amax(1, keepdim=True)
    extent = (high - low).clamp(min=1e-6)
    if aspect == "kept":
        extent = extent.amax(2, keepdim=True).expand_as(extent)
    return torch.where(is_there, (position - low) / extent, 0).flatten(1)
