"""The indoor scene: wall and floor textures, soft shadows of feet and sensor noise."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int16

from people.synth.scene.camera import DISTANCE_M, Camera, camera_at

WALL_BEHIND_M = 3.5  # behind the path's middle
NOISE_LEVELS = 1.6  # standard deviation of the sensor's noise, of 255
_GRID_CELLS = 64


class Light(NamedTuple):
    """Shading coefficients: ambient light, light from above, and a lamp."""

    ambient: float
    overhead: float
    lamp: float


class Scene(NamedTuple):
    """A scene: its background image by number, view angle and image size, and its light."""

    background: Callable[[int, float, tuple[int, int]], Float[np.ndarray, "height width 3"]]
    light: Light


@lru_cache(maxsize=32)
def background(session: int, view_deg: float, size_hw: tuple[int, int]) -> Float[np.ndarray, "height width 3"]:
    """The empty room of one session (0 to 255), the same for all subjects."""
    return draw_room(session, view_deg, size_hw, DISTANCE_M + WALL_BEHIND_M)


def draw_room(session: int, view_deg: float, size_hw: tuple[int, int], wall_m: float) -> Float[np.ndarray, "height width 3"]:
    """The empty room of this number with its wall `wall_m` from the camera."""
    rng = np.random.default_rng([41, session])
    camera = camera_at(view_deg, size_hw)
    rays = camera.rays()
    horizontal_axis = camera.axes[2] * np.array([1, 1, 0])
    horizontal_axis /= np.linalg.norm(horizontal_axis)
    to_wall = wall_m / (rays @ horizontal_axis)
    to_floor = np.where(rays[..., 2] < -1e-6, camera.position_m[2] / np.maximum(-rays[..., 2], 1e-6), np.inf)
    lateral = rays @ camera.axes[0]
    wall = _wall(rng, lateral * to_wall, camera.position_m[2] + rays[..., 2] * to_wall)
    floor_m = camera.position_m + rays * np.where(np.isfinite(to_floor), to_floor, 0)[..., None]
    floor = _floor(rng, floor_m[..., 0], floor_m[..., 1])
    room = np.where((to_floor < to_wall)[..., None], floor, wall)
    rows, columns = np.mgrid[0 : size_hw[0], 0 : size_hw[1]] / np.array(size_hw).reshape(2, 1, 1)
    brightness = 1.06 - 0.16 * columns - 0.06 * rows
    room = (room * brightness[..., None]).astype(np.float32)
    room.setflags(write=False)
    return room


ROOM = Scene(background, Light(ambient=0.46, overhead=0.1, lamp=0.56))


def noise(
    rng: np.random.Generator, x: Float[np.ndarray, "height width"], y: Float[np.ndarray, "height width"], period_m: float
) -> Float[np.ndarray, "height width"]:
    """Smooth noise at surface coordinates (m), periodic after 64 periods."""
    grid = np.pad(rng.standard_normal((_GRID_CELLS, _GRID_CELLS)).astype(np.float32), (0, 1), mode="wrap")
    coordinates = [np.mod(coordinate / period_m + 7, _GRID_CELLS).astype(np.float32) for coordinate in (x, y)]
    return cv2.remap(grid, coordinates[0], coordinates[1], cv2.INTER_LINEAR)


def _wall(
    rng: np.random.Generator, x: Float[np.ndarray, "height width"], z: Float[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width 3"]:
    """A plastered wall with panels, a skirting board and some pictures."""
    colour = rng.uniform(130, 200) + rng.uniform(-6, 6, 3)
    grain = 5 * noise(rng, x, z, 0.35) + 4 * noise(rng, x, z, 0.09) + 3 * noise(rng, x, z, 0.035)
    wall = colour + grain[..., None]
    is_joint = np.abs(np.mod(x + rng.random(), 1.25) - 0.6) < 0.018
    wall = np.where(is_joint[..., None], wall - 28, wall)
    for _ in range(4):
        left, bottom = rng.uniform(-4, 3.5), rng.uniform(0.9, 1.7)
        width_m, height_m = rng.uniform(0.4, 1.0), rng.uniform(0.4, 0.9)
        is_picture = (x > left) & (x < left + width_m) & (z > bottom) & (z < bottom + height_m)
        picture = rng.uniform(80, 200) + rng.uniform(-30, 30, 3) + 22 * noise(rng, x, z, 0.12)[..., None]
        wall = np.where(is_picture[..., None], picture, wall)
    return np.where((z < 0.12)[..., None], colour * 0.55, wall)


def _floor(
    rng: np.random.Generator, x: Float[np.ndarray, "height width"], y: Float[np.ndarray, "height width"]
) -> Float[np.ndarray, "height width 3"]:
    """Tiles of half a metre with individual shades."""
    colour = rng.uniform(95, 150) + rng.uniform(-7, 7, 3)
    tile_shades = rng.normal(0, 7, (_GRID_CELLS, _GRID_CELLS))
    tile = tile_shades[np.mod(np.floor(x * 2), _GRID_CELLS).astype(int), np.mod(np.floor(y * 2), _GRID_CELLS).astype(int)]
    grain = tile + 4 * noise(rng, x, y, 0.25) + 4 * noise(rng, x, y, 0.06)
    is_joint = (np.mod(x, 0.5) < 0.014) | (np.mod(y, 0.5) < 0.014)
    return colour + (grain - 18 * is_joint)[..., None]


def shadow_factor(
    camera: Camera, top_left: tuple[int, int], size_hw: tuple[int, int], feet_m: Float[np.ndarray, "foot 3"]
) -> Float[np.ndarray, "height width"]:
    """The fraction of light left by soft shadows under the feet on a patch of floor: 1 - sum of Gaussian spots."""
    rows = np.arange(size_hw[0], dtype=np.float32)[:, None] + np.float32(top_left[0] + 0.5)
    columns = np.arange(size_hw[1], dtype=np.float32)[None] + np.float32(top_left[1] + 0.5)
    projected = camera.project(feet_m * np.array([1, 1, 0], np.float32))
    factor = np.ones(size_hw, np.float32)
    for (column, row, depth), height in zip(projected, feet_m[:, 2], strict=True):
        if depth < 0.5:
            continue
        # A shadow is wider and weaker the higher the foot is; the low camera foreshortens it.
        spot_width = camera.focal_px / depth * (0.13 + 0.25 * height)
        spot_height = spot_width * (camera.position_m[2] / depth + 0.08)
        spot_x, spot_y = np.exp(-(((columns - column) / spot_width) ** 2)), np.exp(-(((rows - row) / spot_height) ** 2))
        factor -= (0.42 / (1 + 6 * height)) * spot_y * spot_x
    return np.maximum(factor, 0.25)


def sensor_noise(rng: np.random.Generator, size_hw: tuple[int, int]) -> Int16[np.ndarray, " value"]:
    """Gaussian noise for four frames; each frame reads it from a random offset."""
    return np.round(NOISE_LEVELS * rng.standard_normal(size_hw[0] * size_hw[1] * 4, dtype=np.float32)).astype(np.int16)


def frame_noise(rng: np.random.Generator, size_hw: tuple[int, int]) -> Int16[np.ndarray, "height width 3"]:
    """Noise of one picture: a piece at a random offset of noise that is drawn once."""
    pool, size = _noise_pool(size_hw), size_hw[0] * size_hw[1] * 3
    offset = int(rng.integers(len(pool) - size))
    return pool[offset : offset + size].reshape(*size_hw, 3)


@lru_cache(maxsize=4)
def _noise_pool(size_hw: tuple[int, int]) -> Int16[np.ndarray, " value"]:
    pool = sensor_noise(np.random.default_rng(97), size_hw)
    pool.setflags(write=False)
    return pool
