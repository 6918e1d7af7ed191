"""The outdoor scene: a pavement in front of a facade or a hedge, one static background per camera."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from people.synth.scene.camera import DISTANCE_M, camera_at
from people.synth.scene.room import Light, Scene, noise

_WALL_BEHIND_M = (4.0, 11.0)  # distance of facade or hedge behind the middle of the path
Plane = Float[np.ndarray, "height width"]
RgbImage = Float[np.ndarray, "height width 3"]


def background(scene: int, view_deg: float, size_hw: tuple[int, int]) -> RgbImage:
    """The empty street of a camera (0 to 255), independent of the view angle."""
    del view_deg  # the walking direction changes relative to a fixed camera, the background does not
    return draw_street(scene, size_hw)


@lru_cache(maxsize=32)
def draw_street(scene: int, size_hw: tuple[int, int], wall_m: float | None = None) -> RgbImage:
    """The empty street of this number; its facade or hedge is `wall_m` from the camera, or at a distance of its own."""
    rng = np.random.default_rng([43, scene])
    camera = camera_at(0.0, size_hw)
    rays = camera.rays()
    wall_distance_m = DISTANCE_M + rng.uniform(*_WALL_BEHIND_M)
    to_wall = (wall_distance_m if wall_m is None else wall_m) / -rays[..., 0]
    to_floor = np.where(rays[..., 2] < -1e-6, camera.position_m[2] / np.maximum(-rays[..., 2], 1e-6), np.inf)
    x, z = rays[..., 1] * to_wall, camera.position_m[2] + rays[..., 2] * to_wall
    wall = (_facade, _hedge)[scene % 2](rng, x, z)
    floor_distance_m = np.where(np.isfinite(to_floor), to_floor, 0)
    ground = (_slabs, _asphalt, _grass)[scene % 3](rng, rays[..., 1] * floor_distance_m, rays[..., 0] * floor_distance_m)
    street = np.clip(np.where((to_floor < to_wall)[..., None], ground, wall), 0, 255).astype(np.float32)
    street.setflags(write=False)
    return street


def _facade(rng: np.random.Generator, x: Plane, z: Plane) -> RgbImage:
    """A wall of plaster or brick with rows of dark windows."""
    colour = rng.uniform(110, 200) + np.array([14, 0, -16]) * rng.uniform(-0.3, 1.3)
    course_shade = (np.mod(z, 0.09) < 0.014) * 10.0 * rng.integers(2)
    wall = colour + (6 * noise(rng, x, z, 0.6) + 4 * noise(rng, x, z, 0.07) - course_shade)[..., None]
    period_m, width_m, sill_m = rng.uniform(1.8, 3.0), rng.uniform(0.8, 1.4), rng.uniform(0.5, 1.1)
    window_x, window_z = np.mod(x + rng.uniform(0, 3), period_m), np.mod(z, 3.1)
    is_frame = (window_x < width_m + 0.16) & (window_z > sill_m - 0.08) & (window_z < sill_m + 1.5)
    is_pane = (window_x > 0.08) & (window_x < width_m + 0.08) & (window_z > sill_m) & (window_z < sill_m + 1.42)
    glass = rng.uniform(45, 90) + 18 * noise(rng, x, z, 0.5)[..., None] + np.array([-4, 2, 8])
    return np.where(is_pane[..., None], glass, np.where(is_frame[..., None], colour * 0.7 + 60, wall))


def _hedge(rng: np.random.Generator, x: Plane, z: Plane) -> RgbImage:
    """A hedge with an uneven top below a pale sky."""
    leaves = 1 + 0.28 * noise(rng, x, z, 0.22) + 0.22 * noise(rng, x, z, 0.08) + 0.12 * noise(rng, x, z, 0.9)
    green = np.array([72, 92, 56]) * rng.uniform(0.75, 1.2)
    top_m = rng.uniform(1.6, 4.5) + 0.18 * noise(rng, x, 0 * x, 0.5)
    sky = np.array([196, 204, 214]) * rng.uniform(0.85, 1.05) + 3 * noise(rng, x, z, 2.5)[..., None]
    return np.where((z < top_m)[..., None], green * leaves[..., None], sky)


def _slabs(rng: np.random.Generator, x: Plane, y: Plane) -> RgbImage:
    """Paving slabs with joints."""
    size_m = rng.uniform(0.35, 0.6)
    slab_shades = rng.normal(0, 6, (64, 64))
    slab = slab_shades[tuple(np.mod(np.floor(coordinate / size_m), 64).astype(int) for coordinate in (x, y))]
    is_joint = (np.mod(x, size_m) < 0.016) | (np.mod(y, size_m) < 0.016)
    grain = slab + 4 * noise(rng, x, y, 0.3) + 3 * noise(rng, x, y, 0.06) - 22 * is_joint
    return rng.uniform(125, 165) + np.array([5, 1, -5]) + grain[..., None]


def _asphalt(rng: np.random.Generator, x: Plane, y: Plane) -> RgbImage:
    """Asphalt with the pale line of a kerb."""
    grain = 5 * noise(rng, x, y, 0.5) + 6 * noise(rng, x, y, 0.04)
    is_kerb = np.abs(y - rng.uniform(7.5, 9.5)) < 0.09
    return np.where(is_kerb[..., None], 175.0, rng.uniform(85, 115) + np.array([-2, 0, 3]) + grain[..., None])


def _grass(rng: np.random.Generator, x: Plane, y: Plane) -> RgbImage:
    """A path through a lawn."""
    lawn_rgb = np.array([98, 116, 66]) * (1 + 0.14 * noise(rng, x, y, 0.12) + 0.08 * noise(rng, x, y, 0.7))[..., None]
    path_rgb = (
        rng.uniform(140, 170) + np.array([8, 0, -14]) + (5 * noise(rng, x, y, 0.2) + 4 * noise(rng, x, y, 0.04))[..., None]
    )
    edge_m = 1.5 + 0.08 * noise(rng, 0 * x, y, 0.4)
    return np.where((np.abs(y - DISTANCE_M) < edge_m)[..., None], path_rgb, lawn_rgb)


STREET = Scene(background, Light(ambient=0.66, overhead=0.16, lamp=0.40))
