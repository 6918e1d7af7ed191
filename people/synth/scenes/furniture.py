"""Benches and chairs made of boxes, in the coordinates of the person who sits on them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from people.records import Seat
from people.synth.activities.sitting import MAX_RECLINE, SEAT_HEIGHT_M
from people.synth.body.shape import Shape

_COLOURS_RGB = (
    (150, 112, 72), (176, 140, 98), (104, 74, 50), (66, 84, 66), (120, 122, 126), (58, 60, 66), (196, 192, 184), (150, 52, 46),
    (52, 82, 128),
)  # fmt: skip
_FRAMES_RGB = ((52, 54, 58), (128, 130, 134), (96, 70, 48))
_BACK_SLOPE = np.tan(MAX_RECLINE + np.radians(1.5))  # a back leans this far for each metre of height
# the six sides of a box: outward normal's axis and sign, and the corners counter-clockwise from outside
_CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
_SIDES = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])


Span = tuple[float, float]
Rgb = tuple[int, int, int]


class Box(NamedTuple):
    """Extent in the sitter's coordinates (m), whether it belongs to a leaning back, and its colour."""

    x: Span
    y: Span
    z: Span
    leans: bool
    rgb: Rgb


@dataclass(frozen=True, eq=False)
class Furniture:
    """A mesh with a colour for each vertex, and where it stands on the ground."""

    vertices_m: Float[np.ndarray, "vertex 3"]
    normals: Float[np.ndarray, "vertex 3"]
    colours_rgb: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    feet_m: Float[np.ndarray, "foot 3"]


def build_furniture(seat: Seat, seed: int, shape: Shape) -> Furniture:
    """A bench, with or without a back, or a chair; its back stands behind the person's own, its edge before the knees."""
    rng = np.random.default_rng([seed, 83])
    height_m = SEAT_HEIGHT_M[seat]
    back_m = -shape.height_m * (0.092 * (shape.bmi / 22.5) ** 0.78 + 0.022)
    front_m = 0.175 * shape.height_m
    plate_rgb, frame_rgb = (colours[int(rng.integers(len(colours)))] for colours in (_COLOURS_RGB, _FRAMES_RGB))
    if seat == "chair":
        half_m = max(0.21, 0.135 * shape.height_m * (shape.bmi / 22.5) ** 0.5) + float(rng.uniform(0, 0.03))
        boxes = _chair(back_m, front_m, half_m, height_m, plate_rgb, frame_rgb)
        span_m = (-half_m, half_m)
    else:
        width_m, shift_m = rng.uniform(1.2, 1.9), rng.uniform(-0.35, 0.35)
        span_m = (float(shift_m - width_m / 2), float(shift_m + width_m / 2))
        boxes = _bench(back_m, front_m, span_m, height_m, bool(rng.random() < 0.55), plate_rgb, frame_rgb)
    feet_m = np.array([(x, y, 0.03) for x in (back_m + 0.05, front_m - 0.05) for y in (span_m[0] + 0.05, span_m[1] - 0.05)])
    return _mesh(boxes, feet_m.astype(np.float32), height_m)


def _chair(
    back_m: float,
    front_m: float,
    half_m: float,
    height_m: float,
    plate_rgb: Rgb,
    frame_rgb: Rgb,
) -> list[Box]:
    boxes = [
        Box((back_m, front_m), (-half_m, half_m), (height_m - 0.04, height_m), False, plate_rgb),
        Box((back_m - 0.03, back_m - 0.005), (-half_m, half_m), (height_m + 0.16, height_m + 0.44), True, plate_rgb),
    ]
    for left in (-half_m, half_m - 0.035):
        y = (left, left + 0.035)
        boxes.append(Box((front_m - 0.04, front_m - 0.005), y, (0.0, height_m - 0.04), False, frame_rgb))
        boxes.append(Box((back_m - 0.005, back_m + 0.03), y, (0.0, height_m - 0.04), False, frame_rgb))
        boxes.append(Box((back_m - 0.035, back_m - 0.005), y, (height_m - 0.04, height_m + 0.42), True, frame_rgb))
    return boxes


def _bench(
    back_m: float,
    front_m: float,
    span_m: Span,
    height_m: float,
    has_back: bool,
    plate_rgb: Rgb,
    frame_rgb: Rgb,
) -> list[Box]:
    """Slats along the bench on two frames."""
    edges_m = np.linspace(back_m - 0.02, front_m, 5)
    boxes = [
        Box((x, x_end - 0.012), span_m, (height_m - 0.035, height_m), False, plate_rgb)
        for x, x_end in pairwise(edges_m.tolist())
    ]
    if has_back:
        for low in (0.12, 0.25, 0.38):
            z = (height_m + low, height_m + low + 0.1)
            boxes.append(Box((back_m - 0.03, back_m - 0.005), span_m, z, True, plate_rgb))
    for left in (span_m[0] + 0.1, span_m[1] - 0.15):
        y = (left, left + 0.05)
        boxes.append(Box((back_m, front_m - 0.02), y, (height_m - 0.09, height_m - 0.035), False, frame_rgb))
        for x in (back_m, front_m - 0.07):
            boxes.append(Box((x, x + 0.05), y, (0.0, height_m - 0.09), False, frame_rgb))
        if has_back:
            boxes.append(Box((back_m - 0.07, back_m - 0.03), y, (height_m - 0.09, height_m + 0.46), True, frame_rgb))
    return boxes


def _mesh(boxes: list[Box], feet_m: Float[np.ndarray, "foot 3"], height_m: float) -> Furniture:
    """Six quadrilaterals for each box; boxes of a back lean backwards with height above the seat."""
    bounds = np.array([(box.x, box.y, box.z) for box in boxes])
    corners = bounds[:, np.arange(3)[None], _CORNERS]  # box, corner, axis
    leans = np.array([box.leans for box in boxes])
    corners[..., 0] -= leans[:, None] * _BACK_SLOPE * (corners[..., 2] - height_m)
    quads = corners[:, _SIDES]  # box, side, corner, axis
    normals = np.cross(quads[:, :, 1] - quads[:, :, 0], quads[:, :, 2] - quads[:, :, 0])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    count = quads.shape[0] * quads.shape[1]
    first = 4 * np.arange(count)[:, None]
    colours = np.repeat(np.array([box.rgb for box in boxes], np.float32), 24, axis=0)
    return Furniture(
        quads.reshape(-1, 3).astype(np.float32),
        np.repeat(normals.reshape(-1, 3), 4, axis=0).astype(np.float32),
        colours,
        np.concatenate([first + np.array([0, 1, 2]), first + np.array([0, 2, 3])]),
        feet_m,
    )
