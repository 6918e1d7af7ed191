"""Rasterisation of triangles with a depth buffer, vectorised over frames."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt64


@dataclass(frozen=True, eq=False)
class Fragments:
    """The covered pixels of several frames, each with the visible triangle and the position in it.

    `pixel` is the flat index over (frame, row, column) of the crop, `corners` the triangle's vertices as indices over (frame,
    vertex), `weights` the barycentric weights of its second and third corner. `inverse_depth` is 0 in uncovered pixels.
    """

    pixel: Int[np.ndarray, " pixel"]
    frame: Int[np.ndarray, " pixel"]
    corners: Int[np.ndarray, "pixel 3"]
    weights: Float[np.ndarray, "2 pixel"]
    inverse_depth: Float[np.ndarray, "frame row column"]


def rasterise(
    points: Float[np.ndarray, "frame vertex 3"], faces: Int[np.ndarray, "face 3"], crop_hw: tuple[int, int], near_m: float
) -> Fragments:
    """Visible pixels of triangles whose front sides are counter-clockwise on the screen (y down).

    `points` are column, row and depth; a pixel takes the nearest triangle that covers its centre.
    """
    frames, vertices, _ = points.shape
    flat = points.reshape(-1, 3)
    corners = _front_facing(points, faces, crop_hw, near_m)
    a, b, c = (flat[corners[:, i]] for i in range(3))
    triangle_of, row, start, stop = _pixel_spans(a, b, c, crop_hw)
    # 1 / depth is linear on the screen.
    inverse_corners = [1 / p[:, 2] for p in (a, b, c)]
    gradient = _barycentric_gradients(a, b, c)
    slope_x = gradient[:, 0] * (inverse_corners[1] - inverse_corners[0]) + gradient[:, 2] * (
        inverse_corners[2] - inverse_corners[0]
    )
    slope_y = gradient[:, 1] * (inverse_corners[1] - inverse_corners[0]) + gradient[:, 3] * (
        inverse_corners[2] - inverse_corners[0]
    )
    start_inverse = (
        inverse_corners[0][triangle_of]
        + slope_y[triangle_of] * (row + 0.5 - a[triangle_of, 1])
        + slope_x[triangle_of] * (start + 0.5 - a[triangle_of, 0])
    )
    lengths = stop - start
    span_of = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    offset = np.arange(len(span_of), dtype=np.int32) - np.repeat(np.cumsum(lengths, dtype=np.int32) - lengths, lengths)
    inverse_depth = start_inverse[span_of] + slope_x[triangle_of][span_of] * offset
    height, width = crop_hw
    start_pixel = (corners[triangle_of, 0] // vertices * height + row) * width + start
    buffer = _depth_buffer(start_pixel[span_of] + offset, inverse_depth, triangle_of[span_of], frames * height * width)
    pixel = np.flatnonzero(buffer)
    triangle = (buffer[pixel] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    x = (pixel % width + 0.5).astype(np.float32) - a[triangle, 0]
    y = (pixel // width % height + 0.5).astype(np.float32) - a[triangle, 1]
    gradient_t = gradient[triangle].T
    weights = np.clip(np.stack([gradient_t[0] * x + gradient_t[1] * y, gradient_t[2] * x + gradient_t[3] * y]), 0, 1)
    depths = (buffer >> np.uint64(32)).astype(np.uint32).view(np.float32).reshape(frames, height, width)
    return Fragments(pixel, pixel // (height * width), corners[triangle], weights, depths)


def _front_facing(
    points: Float[np.ndarray, "frame vertex 3"], faces: Int[np.ndarray, "face 3"], crop_hw: tuple[int, int], near_m: float
) -> Int[np.ndarray, "triangle 3"]:
    """The triangles, as indices over (frame, vertex), that face the camera and touch the crop."""
    x, y, depth = (np.ascontiguousarray(points[..., i]) for i in range(3))
    xs, ys = x[:, faces], y[:, faces]
    signed_area = (xs[..., 1] - xs[..., 0]) * (ys[..., 2] - ys[..., 0]) - (ys[..., 1] - ys[..., 0]) * (xs[..., 2] - xs[..., 0])
    keep = signed_area < -1e-4
    if depth.min() < near_m:
        keep &= depth[:, faces].min(axis=-1) > near_m
    height, width = crop_hw
    if x.min() < 0 or y.min() < 0 or x.max() > width or y.max() > height:
        keep &= (xs.max(axis=-1) > 0) & (xs.min(axis=-1) < width) & (ys.max(axis=-1) > 0) & (ys.min(axis=-1) < height)
    frame, face = np.nonzero(keep)
    return faces[face] + (frame * points.shape[1])[:, None]


def _pixel_spans(
    a: Float[np.ndarray, "triangle 3"],
    b: Float[np.ndarray, "triangle 3"],
    c: Float[np.ndarray, "triangle 3"],
    crop_hw: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Horizontal spans of pixels that triangles cover: triangle, row, first column and end column (exclusive)."""
    height, width = crop_hw
    lowest = np.minimum(np.minimum(a[:, 1], b[:, 1]), c[:, 1])
    highest = np.maximum(np.maximum(a[:, 1], b[:, 1]), c[:, 1])
    first = np.clip(np.ceil(lowest - 0.5), 0, height).astype(np.int32)
    rows = np.maximum(np.clip(np.ceil(highest - 0.5), 0, height).astype(np.int32) - first, 0)
    triangle = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
    row = np.arange(len(triangle), dtype=np.int32) - np.repeat(np.cumsum(rows, dtype=np.int32) - rows - first, rows)
    centre = row + np.float32(0.5)
    left, right = np.full(len(row), -1e6, np.float32), np.full(len(row), 1e6, np.float32)
    for tail, head in ((a, b), (b, c), (c, a)):
        rise = head[:, 1] - tail[:, 1]
        is_horizontal = np.abs(rise) < 1e-6
        slope = (head[:, 0] - tail[:, 0]) / np.where(is_horizontal, 1, rise)
        origin = tail[:, 0] - slope * tail[:, 1]
        # On a front side, edges that point down the screen bound the triangle on the left.
        edge_x = origin[triangle] + slope[triangle] * centre
        left = np.maximum(left, np.where(((rise > 0) & ~is_horizontal)[triangle], edge_x, -1e6))
        right = np.minimum(right, np.where(((rise < 0) & ~is_horizontal)[triangle], edge_x, 1e6))
    # Adjacent triangles overlap by a thousandth of a pixel, so that rounding leaves no gap between them.
    start = np.clip(np.ceil(left - 0.501), 0, width).astype(np.int32)
    stop = np.clip(np.ceil(right - 0.499), 0, width).astype(np.int32)
    keep = stop > start
    return triangle[keep], row[keep], start[keep], stop[keep]


def _barycentric_gradients(
    a: Float[np.ndarray, "triangle 3"], b: Float[np.ndarray, "triangle 3"], c: Float[np.ndarray, "triangle 3"]
) -> Float[np.ndarray, "triangle 4"]:
    """d share_b / dx, d share_b / dy, d share_c / dx, d share_c / dy on the screen."""
    ab, ac = b - a, c - a
    scale = 1 / (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    return np.stack([ac[:, 1] * scale, -ac[:, 0] * scale, -ab[:, 1] * scale, ab[:, 0] * scale], axis=1)


def _depth_buffer(
    pixel: Int[np.ndarray, " fragment"],
    inverse_depth: Float[np.ndarray, " fragment"],
    triangle: Int[np.ndarray, " fragment"],
    size: int,
) -> UInt64[np.ndarray, " pixel"]:
    """The largest packed (1 / depth, triangle) of every pixel; the bits of positive floats are ordered like the floats."""
    bits = np.maximum(inverse_depth, np.float32(1e-6)).astype(np.float32).view(np.uint32).astype(np.uint64)
    buffer = np.zeros(size, np.uint64)
    np.maximum.at(buffer, pixel, (bits << np.uint64(32)) | triangle.astype(np.uint64))
    return buffer
