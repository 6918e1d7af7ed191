"""A street: pavement in front of a facade or a hedge, under an even sky. Each scene is one camera's and stands still."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from people.synth.scene.camera import DISTANCE_M, camera_at
from people.synth.scene.room import Light, Place, cloudy

_BEHIND_M = (4.0, 11.0)  # how far behind the path's middle the facade or hedge stands
Plane = Float[np.ndarray, "height width"]
Colours = Float[np.ndarray, "height width 3"]


def background(scene: int, view_deg: float, size_hw: tuple[int, int]) -> Colours:
    """The empty street before a camera, 0 to 255: the same from wherever people walk to."""
    del view_deg  # the camera stands where it stands: people turn, the street does not
    return _empty(scene, size_hw)


@lru_cache(maxsize=32)
def _empty(scene: int, size_hw: tuple[int, int]) -> Colours:
    rng = np.random.default_rng([43, scene])
    camera = camera_at(0.0, size_hw)
    rays = camera.rays()
    far_m = DISTANCE_M + rng.uniform(*_BEHIND_M)
    to_wall = far_m / -rays[..., 0]
    to_floor = np.where(rays[..., 2] < -1e-6, camera.place_m[2] / np.maximum(-rays[..., 2], 1e-6), np.inf)
    x, z = rays[..., 1] * to_wall, camera.place_m[2] + rays[..., 2] * to_wall
    behind = (_facade, _hedge)[scene % 2](rng, x, z)
    near = np.where(np.isfinite(to_floor), to_floor, 0)
    ground = (_slabs, _asphalt, _grass)[scene % 3](rng, rays[..., 1] * near, rays[..., 0] * near)
    street = np.clip(np.where((to_floor < to_wall)[..., None], ground, behind), 0, 255).astype(np.float32)
    street.setflags(write=False)
    return street


def _facade(rng: np.random.Generator, x: Plane, z: Plane) -> Colours:
    """A wall of plaster or brick with rows of dark windows."""
    colour = rng.uniform(110, 200) + np.array([14, 0, -16]) * rng.uniform(-0.3, 1.3)
    course = (np.mod(z, 0.09) < 0.014) * 10.0 * rng.integers(2)
    wall = colour + (6 * cloudy(rng, x, z, 0.6) + 4 * cloudy(rng, x, z, 0.07) - course)[..., None]
    every_m, wide_m, sill_m = rng.uniform(1.8, 3.0), rng.uniform(0.8, 1.4), rng.uniform(0.5, 1.1)
    beside, above = np.mod(x + rng.uniform(0, 3), every_m), np.mod(z, 3.1)
    frame = (beside < wide_m + 0.16) & (above > sill_m - 0.08) & (above < sill_m + 1.5)
    pane = (beside > 0.08) & (beside < wide_m + 0.08) & (above > sill_m) & (above < sill_m + 1.42)
    glass = rng.uniform(45, 90) + 18 * cloudy(rng, x, z, 0.5)[..., None] + np.array([-4, 2, 8])
    return np.where(pane[..., None], glass, np.where(frame[..., None], colour * 0.7 + 60, wall))


def _hedge(rng: np.random.Generator, x: Plane, z: Plane) -> Colours:
    """Leaves up to an uneven top, and a pale sky over them."""
    leaves = 1 + 0.28 * cloudy(rng, x, z, 0.22) + 0.22 * cloudy(rng, x, z, 0.08) + 0.12 * cloudy(rng, x, z, 0.9)
    green = np.array([72, 92, 56]) * rng.uniform(0.75, 1.2)
    top_m = rng.uniform(1.6, 4.5) + 0.18 * cloudy(rng, x, 0 * x, 0.5)
    sky = np.array([196, 204, 214]) * rng.uniform(0.85, 1.05) + 3 * cloudy(rng, x, z, 2.5)[..., None]
    return np.where((z < top_m)[..., None], green * leaves[..., None], sky)


def _slabs(rng: np.random.Generator, x: Plane, y: Plane) -> Colours:
    """Paving slabs with joints."""
    size_m = rng.uniform(0.35, 0.6)
    shade = rng.normal(0, 6, (64, 64))
    slab = shade[tuple(np.mod(np.floor(c / size_m), 64).astype(int) for c in (x, y))]
    joint = (np.mod(x, size_m) < 0.016) | (np.mod(y, size_m) < 0.016)
    grain = slab + 4 * cloudy(rng, x, y, 0.3) + 3 * cloudy(rng, x, y, 0.06) - 22 * joint
    return rng.uniform(125, 165) + np.array([5, 1, -5]) + grain[..., None]


def _asphalt(rng: np.random.Generator, x: Plane, y: Plane) -> Colours:
    """Asphalt with a kerb's pale line."""
    grain = 5 * cloudy(rng, x, y, 0.5) + 6 * cloudy(rng, x, y, 0.04)
    line = np.abs(y - rng.uniform(7.5, 9.5)) < 0.09
    return np.where(line[..., None], 175.0, rng.uniform(85, 115) + np.array([-2, 0, 3]) + grain[..., None])


def _grass(rng: np.random.Generator, x: Plane, y: Plane) -> Colours:
    """A path through a lawn."""
    lawn = np.array([98, 116, 66]) * (1 + 0.14 * cloudy(rng, x, y, 0.12) + 0.08 * cloudy(rng, x, y, 0.7))[..., None]
    path = rng.uniform(140, 170) + np.array([8, 0, -14]) + (5 * cloudy(rng, x, y, 0.2) + 4 * cloudy(rng, x, y, 0.04))[..., None]
    edge_m = 1.5 + 0.08 * cloudy(rng, 0 * x, y, 0.4)
    return np.where((np.abs(y - DISTANCE_M) < edge_m)[..., None], path, lawn)


STREET = Place(background, Light(even=0.66, above=0.16, lamp=0.40))
