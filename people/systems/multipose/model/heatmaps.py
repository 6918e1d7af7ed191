"""Heat maps of keypoints: Gaussian targets, the background, and the peaks of predicted maps.

Positions are continuous pixels: the first pixel of an image spans 0 to 1. Cell i of a map of stride s has its centre at
s (i + 1/2).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

MAP_STRIDE = 4  # pixels of the image in a cell of a map, in each direction
CUT = 4.6052  # exponent beyond which a Gaussian is 0: below a hundredth of its peak


class Peaks(NamedTuple):
    """The peaks of one image's maps: the joint of each, x and y in the image's pixels, and the map's value there."""

    joint: Int[Tensor, " peak"]
    position_px: Float[Tensor, "peak 2"]
    score: Float[Tensor, " peak"]


def gaussian_maps(
    keypoints_px: Sequence[Float[Tensor, "_ joint 3"]], size_hw: tuple[int, int], stride: int, sigma_px: float | int
) -> Float[Tensor, "sample joint_and_background height width"]:
    """The target maps of each image: a Gaussian peak of height 1 for every labelled joint of every person (S*, with σ in the
    image's pixels), where several overlap their sum, at most 1; behind the joints the background, 1 - the maximum over joints.

    `keypoints_px`: of each image (person, joint, 3), x, y and visibility; a joint of visibility 0 has no peak. `size_hw` is
    that of the maps.
    """
    return torch.stack([_maps_of_image(people, size_hw, stride, sigma_px) for people in keypoints_px])


def _maps_of_image(
    people: Float[Tensor, "person joint 3"], size_hw: tuple[int, int], stride: int, sigma_px: float | int
) -> Float[Tensor, "joint_and_background height width"]:
    rows, columns = (stride * (torch.arange(size, device=people.device) + 0.5) for size in size_hw)
    exponent = (columns - people[..., 0, None]).square()[..., None, :] + (rows - people[..., 1, None]).square()[..., None]
    exponent = exponent / (2 * sigma_px**2)
    peaks = torch.where((exponent <= CUT) & (people[..., 2] > 0)[..., None, None], (-exponent).exp(), 0)
    maps = peaks.sum(0).clamp(max=1)
    return torch.cat([maps, 1 - maps.amax(0, keepdim=True)])


def find_peaks(
    maps: Float[Tensor, "joint height width"], stride: int, *, threshold: float | int, window: int, most: int
) -> Peaks:
    """The cells that are the maximum of the `window` x `window` cells round them and above `threshold`, the `most` highest of
    each joint; positions between cells by a parabola through the neighbours in each direction.

    `maps` have no background. Of equal neighbours, as on a plateau, the first in reading order is the peak.
    """
    height, width = maps.shape[1:]
    highest, where = functional.max_pool2d(maps[None], window, stride=1, padding=window // 2, return_indices=True)
    own = torch.arange(height * width, device=maps.device).view(height, width)
    is_peak = (where[0] == own) & (highest[0] > threshold)
    score = torch.where(is_peak, maps, -torch.inf).flatten(1)
    best, cell = score.topk(min(most, height * width), dim=1)
    joint, rank = (best > -torch.inf).nonzero(as_tuple=True)
    cells = cell[joint, rank]
    row, column = cells // width, cells % width
    position = torch.stack([column + _offset(maps, joint, row, column, 1), row + _offset(maps, joint, row, column, 0)], dim=1)
    return Peaks(joint, stride * (position + 0.5), best[joint, rank])


def strongest_in_boxes(
    maps: Float[Tensor, "joint height width"], box_xyxy_px: Float[Tensor, "box 4"], stride: int
) -> Float[Tensor, "box joint 2"]:
    """x and y of the highest cell of each joint's map among those that a box touches, in the image's pixels."""
    height, width = maps.shape[1:]
    rows, columns = (torch.arange(size, device=maps.device) for size in (height, width))
    low, high = (box_xyxy_px / stride)[:, :2].floor(), (box_xyxy_px / stride)[:, 2:].ceil()
    in_rows = (rows >= low[:, 1:]) & (rows < high[:, 1:])
    in_columns = (columns >= low[:, :1]) & (columns < high[:, :1])
    inside = in_rows[:, :, None] & in_columns[:, None]
    best = torch.where(inside[:, None], maps, -torch.inf).flatten(2).argmax(2)
    return stride * (torch.stack([best % width, best // width], dim=2) + 0.5)


def _offset(
    maps: Float[Tensor, "joint height width"],
    joint: Int[Tensor, " peak"],
    row: Int[Tensor, " peak"],
    column: Int[Tensor, " peak"],
    axis: int,
) -> Float[Tensor, " peak"]:
    """The top of the parabola through a cell and its neighbours along an axis, in [-1/2, 1/2]; 0 at the map's edge."""
    size = maps.shape[1 + axis]
    place = (row, column)[axis]
    before, after = ((place + step).clamp(0, size - 1) for step in (-1, 1))

    def value(along: Int[Tensor, " peak"]) -> Float[Tensor, " peak"]:
        return maps[joint, along, column] if axis == 0 else maps[joint, row, along]

    low, middle, high = value(before), value(place), value(after)
    curvature = low - 2 * middle + high
    offset = torch.where(curvature < 0, (low - high) / (2 * curvature.clamp(max=-1e-12)), 0).clamp(-0.5, 0.5)
    return torch.where((place == 0) | (place == size - 1), 0, offset)


def mirrored(
    maps: Float[Tensor, "*batch joint height width"], swap: Int[Tensor, " joint"]
) -> Float[Tensor, "*batch joint height width"]:
    """The maps of a mirrored image: columns in reverse order, left joints as right ones."""
    return maps.flip(-1).index_select(-3, swap.to(maps.device))
