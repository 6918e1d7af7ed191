"""The scene before a camera outdoors: a street by number, with a light of its own, and on request with objects in it."""

from functools import lru_cache, partial

import numpy as np

from people.synth.scene import street
from people.synth.scene.camera import DISTANCE_M, camera_at
from people.synth.scene.room import Light, Scene, noise
from people.synth.scene.street import Plane, RgbImage

_FIRST_STREET = 100  # numbers of the streets: others than those of `street.STREET` in datasets of few cameras
_LIGHTS = (  # of one session after the other: the street's brightness, and the light on people
    (1.0, Light(ambient=0.66, overhead=0.16, lamp=0.40)),
    (0.84, Light(ambient=0.62, overhead=0.12, lamp=0.22)),  # overcast
    (1.04, Light(ambient=0.50, overhead=0.20, lamp=0.62)),  # low sun
)
_OBJECTS = 7
_OBJECT_DISTANCES_M = (2.4, 3.9)  # behind the middle of the path


def outdoors(session: int, is_cluttered: bool) -> Scene:
    """The scene of one session, the same for all its people and directions of walking; a cluttered one has objects in it."""
    return Scene(partial(_background, is_cluttered), _LIGHTS[session % len(_LIGHTS)][1])


def _background(is_cluttered: bool, session: int, view_deg: float, size_hw: tuple[int, int]) -> RgbImage:
    """The empty street (0 to 255), independent of the view angle: the camera stands still, people come from other sides."""
    del view_deg
    return _draw(session, is_cluttered, size_hw)


@lru_cache(maxsize=32)
def _draw(session: int, is_cluttered: bool, size_hw: tuple[int, int]) -> RgbImage:
    scene = street.background(_FIRST_STREET + session, 0.0, size_hw) * np.float32(_LIGHTS[session % len(_LIGHTS)][0])
    if is_cluttered:
        rng = np.random.default_rng([53, session])
        camera = camera_at(0.0, size_hw)
        rays = camera.rays()
        for distance_m in sorted(rng.uniform(*_OBJECT_DISTANCES_M, _OBJECTS), reverse=True):
            to_plane = (DISTANCE_M + distance_m) / -rays[..., 0]
            x_m, z_m = rays[..., 1] * to_plane, camera.position_m[2] + rays[..., 2] * to_plane
            scene = _with_object(scene, rng, x_m, z_m)
    scene = np.clip(scene, 0, 255).astype(np.float32)
    scene.setflags(write=False)
    return scene


def _with_object(scene: RgbImage, rng: np.random.Generator, x: Plane, z: Plane) -> RgbImage:
    """A board, bin or pillar that stands on the ground, up to as high as people and sometimes of clothes' colours."""
    middle_m, half_m, height_m = rng.uniform(-2.6, 2.6), rng.uniform(0.1, 0.45), rng.uniform(0.45, 1.75)
    colour = rng.uniform(45, 190) + rng.uniform(-32, 32, 3)
    band_m = rng.uniform(0.15, 0.5)
    shade = 14 * (np.mod(z, band_m) < 0.4 * band_m) * rng.integers(2) + 6 * noise(rng, x, z, 0.3) - 18 * (x - middle_m) / half_m
    is_object = (np.abs(x - middle_m) < half_m) & (z < height_m) & (z > 0)
    return np.where(is_object[..., None], colour + shade[..., None], scene)
