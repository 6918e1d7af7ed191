"""Triangles to pixels with a depth buffer, many frames at once, in array operations only."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt64


@dataclass(frozen=True, eq=False)
class Fragments:
    """The visible pixels of several frames: where they are, which triangle is seen and where in it.

    `pixel` counts through (frame, row, column) of the crop, `corner` are the triangle's three vertices (of one frame's),
    `share` the weights of the second and third one.
    """

    pixel: Int[np.ndarray, " pixel"]
    frame: Int[np.ndarray, " pixel"]
    corner: Int[np.ndarray, "pixel 3"]
    share: Float[np.ndarray, "2 pixel"]
    inverse_depth: Float[np.ndarray, "frame row column"]


def rasterise(
    points: Float[np.ndarray, "frame vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    crop_hw: tuple[int, int],
    near_m: float,
) -> Fragments:
    """Visible pixels of triangles whose front sides turn counter-clockwise on the screen (y down).

    `points` are column, row and depth; a pixel belongs to a triangle that covers its middle, and the nearest triangle wins.
    """
    frames, vertices, _ = points.shape
    flat = points.reshape(-1, 3)
    corner = _facing(points, faces, crop_hw, near_m)
    a, b, c = (flat[corner[:, i]] for i in range(3))
    row_of, row_y, start, stop = _spans(a, b, c, crop_hw)
    # 1 / depth is linear on the screen.
    inverse = [1 / p[:, 2] for p in (a, b, c)]
    gradient = _gradients(a, b, c)
    wx = gradient[:, 0] * (inverse[1] - inverse[0]) + gradient[:, 2] * (inverse[2] - inverse[0])
    wy = gradient[:, 1] * (inverse[1] - inverse[0]) + gradient[:, 3] * (inverse[2] - inverse[0])
    at_row = inverse[0][row_of] + wy[row_of] * (row_y + 0.5 - a[row_of, 1]) + wx[row_of] * (start + 0.5 - a[row_of, 0])
    count = stop - start
    span = np.repeat(np.arange(len(count), dtype=np.int32), count)
    along = np.arange(len(span), dtype=np.int32) - np.repeat(np.cumsum(count, dtype=np.int32) - count, count)
    inverse_depth = at_row[span] + wx[row_of][span] * along
    height, width = crop_hw
    base = (corner[row_of, 0] // vertices * height + row_y) * width + start
    nearest = _nearest(base[span] + along, inverse_depth, row_of[span], frames * height * width)
    pixel = np.flatnonzero(nearest)
    seen = (nearest[pixel] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    x = (pixel % width + 0.5).astype(np.float32) - a[seen, 0]
    y = (pixel // width % height + 0.5).astype(np.float32) - a[seen, 1]
    g = gradient[seen].T
    share = np.clip(np.stack([g[0] * x + g[1] * y, g[2] * x + g[3] * y]), 0, 1)
    depths = (nearest >> np.uint64(32)).astype(np.uint32).view(np.float32).reshape(frames, height, width)
    return Fragments(pixel, pixel // (height * width), corner[seen], share, depths)


def _facing(
    points: Float[np.ndarray, "frame vertex 3"], faces: Int[np.ndarray, "face 3"], crop_hw: tuple[int, int], near_m: float
) -> Int[np.ndarray, "triangle 3"]:
    """The triangles, as indices into all frames' vertices, that face the camera and touch the crop."""
    x, y, depth = (np.ascontiguousarray(points[..., i]) for i in range(3))
    xs, ys = x[:, faces], y[:, faces]
    turn = (xs[..., 1] - xs[..., 0]) * (ys[..., 2] - ys[..., 0]) - (ys[..., 1] - ys[..., 0]) * (xs[..., 2] - xs[..., 0])
    keep = turn < -1e-4
    if depth.min() < near_m:
        keep &= depth[:, faces].min(axis=-1) > near_m
    height, width = crop_hw
    if x.min() < 0 or y.min() < 0 or x.max() > width or y.max() > height:
        keep &= (xs.max(axis=-1) > 0) & (xs.min(axis=-1) < width) & (ys.max(axis=-1) > 0) & (ys.min(axis=-1) < height)
    frame, face = np.nonzero(keep)
    return faces[face] + (frame * points.shape[1])[:, None]


def _spans(
    a: Float[np.ndarray, "triangle 3"],
    b: Float[np.ndarray, "triangle 3"],
    c: Float[np.ndarray, "triangle 3"],
    crop_hw: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of pixels that triangles cover: the triangle, the row, the first column and the one after the last."""
    height, width = crop_hw
    low = np.minimum(np.minimum(a[:, 1], b[:, 1]), c[:, 1])
    high = np.maximum(np.maximum(a[:, 1], b[:, 1]), c[:, 1])
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int32)
    rows = np.maximum(np.clip(np.ceil(high - 0.5), 0, height).astype(np.int32) - first, 0)
    triangle = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
    row = np.arange(len(triangle), dtype=np.int32) - np.repeat(np.cumsum(rows, dtype=np.int32) - rows - first, rows)
    middle = row + np.float32(0.5)
    left, right = np.full(len(row), -1e6, np.float32), np.full(len(row), 1e6, np.float32)
    for p, q in ((a, b), (b, c), (c, a)):
        down = q[:, 1] - p[:, 1]
        flat = np.abs(down) < 1e-6
        slope = (q[:, 0] - p[:, 0]) / np.where(flat, 1, down)
        origin = p[:, 0] - slope * p[:, 1]
        # Going round a front side, edges that go down the screen bound it on the left.
        at = origin[triangle] + slope[triangle] * middle
        left = np.maximum(left, np.where(((down > 0) & ~flat)[triangle], at, -1e6))
        right = np.minimum(right, np.where(((down < 0) & ~flat)[triangle], at, 1e6))
    # Neighbours overlap by a thousandth of a pixel: rounding leaves no hole between them.
    start = np.clip(np.ceil(left - 0.501), 0, width).astype(np.int32)
    stop = np.clip(np.ceil(right - 0.499), 0, width).astype(np.int32)
    keep = stop > start
    return triangle[keep], row[keep], start[keep], stop[keep]


def _gradients(
    a: Float[np.ndarray, "triangle 3"], b: Float[np.ndarray, "triangle 3"], c: Float[np.ndarray, "triangle 3"]
) -> Float[np.ndarray, "triangle 4"]:
    """d share_b / dx, d share_b / dy, d share_c / dx, d share_c / dy on the screen."""
    ab, ac = b - a, c - a
    scale = 1 / (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    return np.stack([ac[:, 1] * scale, -ac[:, 0] * scale, -ab[:, 1] * scale, ab[:, 0] * scale], axis=1)


def _nearest(
    pixel: Int[np.ndarray, " fragment"],
    inverse_depth: Float[np.ndarray, " fragment"],
    triangle: Int[np.ndarray, " fragment"],
    size: int,
) -> UInt64[np.ndarray, " pixel"]:
    """For every pixel the largest (1 / depth, triangle), packed: the bits of positive floats are ordered like the floats."""
    bits = np.maximum(inverse_depth, np.float32(1e-6)).astype(np.float32).view(np.uint32).astype(np.uint64)
    nearest = np.zeros(size, np.uint64)
    np.maximum.at(nearest, pixel, (bits << np.uint64(32)) | triangle.astype(np.uint64))
    return nearest
