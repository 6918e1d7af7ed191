"""The room: a wall and a floor that stand still, soft shadows on the floor, a little noise in the sensor."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int16

from people.synth.scene.camera import DISTANCE_M, Camera, camera_at

WALL_BEHIND_M = 3.5  # behind the path's middle
NOISE_LEVELS = 1.6  # standard deviation of the sensor's noise, of 255
_LEVELS = 64


class Light(NamedTuple):
    """How bright a surface is: everywhere, more if it faces upwards, more if it faces the lamp."""

    even: float
    above: float
    lamp: float


class Place(NamedTuple):
    """Where people are recorded: the picture of the empty place by number, view and size, and its light."""

    background: Callable[[int, float, tuple[int, int]], Float[np.ndarray, "height width 3"]]
    light: Light


@lru_cache(maxsize=32)
def background(session: int, view_deg: float, size_hw: tuple[int, int]) -> Float[np.ndarray, "height width 3"]:
    """The empty room of one recording day: everybody of that day is recorded in it."""
    rng = np.random.default_rng([41, session])
    camera = camera_at(view_deg, size_hw)
    rays = camera.rays()
    level = camera.axes[2] * np.array([1, 1, 0])
    level /= np.linalg.norm(level)
    to_wall = (DISTANCE_M + WALL_BEHIND_M) / (rays @ level)
    to_floor = np.where(rays[..., 2] < -1e-6, camera.place_m[2] / np.maximum(-rays[..., 2], 1e-6), np.inf)
    across = rays @ camera.axes[0]
    wall = _wall(rng, across * to_wall, camera.place_m[2] + rays[..., 2] * to_wall)
    place = camera.place_m + rays * np.where(np.isfinite(to_floor), to_floor, 0)[..., None]
    floor = _floor(rng, place[..., 0], place[..., 1])
    room = np.where((to_floor < to_wall)[..., None], floor, wall)
    rows, columns = np.mgrid[0 : size_hw[0], 0 : size_hw[1]] / np.array(size_hw).reshape(2, 1, 1)
    light = 1.06 - 0.16 * columns - 0.06 * rows
    room = (room * light[..., None]).astype(np.float32)
    room.setflags(write=False)
    return room


ROOM = Place(background, Light(even=0.46, above=0.1, lamp=0.56))


def cloudy(
    rng: np.random.Generator, x: Float[np.ndarray, "height width"], y: Float[np.ndarray, "height width"], period_m: float
) -> Float[np.ndarray, "height width"]:
    """Smooth noise fixed to the surface's coordinates (metres), repeating after 64 periods."""
    grid = np.pad(rng.standard_normal((_LEVELS, _LEVELS)).astype(np.float32), (0, 1), mode="wrap")
    at = [np.mod(c / period_m + 7, _LEVELS).astype(np.float32) for c in (x, y)]
    return cv2.remap(grid, at[0], at[1], cv2.INTER_LINEAR)


def _wall(
    rng: np.random.Generator, x: Float[np.ndarray, "height width"], z: Float[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width 3"]:
    """A plastered wall with panels, a skirting board and some pictures."""
    colour = rng.uniform(130, 200) + rng.uniform(-6, 6, 3)
    grain = 5 * cloudy(rng, x, z, 0.35) + 4 * cloudy(rng, x, z, 0.09) + 3 * cloudy(rng, x, z, 0.035)
    wall = colour + grain[..., None]
    joint = np.abs(np.mod(x + rng.random(), 1.25) - 0.6) < 0.018
    wall = np.where(joint[..., None], wall - 28, wall)
    for _ in range(4):
        left, low = rng.uniform(-4, 3.5), rng.uniform(0.9, 1.7)
        wide, high = rng.uniform(0.4, 1.0), rng.uniform(0.4, 0.9)
        inside = (x > left) & (x < left + wide) & (z > low) & (z < low + high)
        picture = rng.uniform(80, 200) + rng.uniform(-30, 30, 3) + 22 * cloudy(rng, x, z, 0.12)[..., None]
        wall = np.where(inside[..., None], picture, wall)
    return np.where((z < 0.12)[..., None], colour * 0.55, wall)


def _floor(
    rng: np.random.Generator, x: Float[np.ndarray, "height width"], y: Float[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width 3"]:
    """Tiles of half a metre, no two alike."""
    colour = rng.uniform(95, 150) + rng.uniform(-7, 7, 3)
    shade = rng.normal(0, 7, (_LEVELS, _LEVELS))
    tile = shade[np.mod(np.floor(x * 2), _LEVELS).astype(int), np.mod(np.floor(y * 2), _LEVELS).astype(int)]
    grain = tile + 4 * cloudy(rng, x, y, 0.25) + 4 * cloudy(rng, x, y, 0.06)
    joint = (np.mod(x, 0.5) < 0.014) | (np.mod(y, 0.5) < 0.014)
    return colour + (grain - 18 * joint)[..., None]


def shadow(
    camera: Camera, top_left: tuple[int, int], size_hw: tuple[int, int], feet_m: Float[np.ndarray, "foot 3"]
) -> Float[np.ndarray, "height width"]:
    """How much light soft shadows under feet (and what is above them) leave on a patch of floor: 1 - sum of Gaussian spots."""
    rows = np.arange(size_hw[0], dtype=np.float32)[:, None] + np.float32(top_left[0] + 0.5)
    columns = np.arange(size_hw[1], dtype=np.float32)[None] + np.float32(top_left[1] + 0.5)
    seen = camera.project(feet_m * np.array([1, 1, 0], np.float32))
    light = np.ones(size_hw, np.float32)
    for (column, row, depth), height in zip(seen, feet_m[:, 2], strict=True):
        if depth < 0.5:
            continue
        # A foot's shadow is wider and weaker the higher the foot is; the floor is seen from low, so spots are flat.
        wide = camera.focal_px / depth * (0.13 + 0.25 * height)
        tall = wide * (camera.place_m[2] / depth + 0.08)
        spot_x, spot_y = np.exp(-(((columns - column) / wide) ** 2)), np.exp(-(((rows - row) / tall) ** 2))
        light -= (0.42 / (1 + 6 * height)) * spot_y * spot_x
    return np.maximum(light, 0.25)


def sensor_noise(rng: np.random.Generator, size_hw: tuple[int, int]) -> Int16[np.ndarray, " value"]:
    """A store of noise from which each frame takes a stretch of its own."""
    return np.round(NOISE_LEVELS * rng.standard_normal(size_hw[0] * size_hw[1] * 4, dtype=np.float32)).astype(np.int16)
