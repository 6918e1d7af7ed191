"""The scene before a camera outdoors: a street by number, with a light of its own, and on request with objects in it."""

from functools import lru_cache, partial

import numpy as np
from jaxtyping import Bool

from people.synth.scene import street
from people.synth.scene.camera import DISTANCE_M, camera_at
from people.synth.scene.room import Light, Scene, noise
from people.synth.scene.street import Plane, RgbImage

FIRST_STREET = 100  # numbers of the streets: others than those of `street.STREET` in datasets of few cameras
LIGHTS = (  # of one session after the other: the street's brightness, and the light on people
    (1.0, Light(ambient=0.66, overhead=0.16, lamp=0.40)),
    (0.84, Light(ambient=0.62, overhead=0.12, lamp=0.22)),  # overcast
    (1.04, Light(ambient=0.50, overhead=0.20, lamp=0.62)),  # low sun
)
_OBJECTS = 7
OBJECT_DISTANCES_M = (2.4, 3.9)  # behind the middle of the path


def outdoors(session: int, is_cluttered: bool) -> Scene:
    """The scene of one session, the same for all its people and directions of walking; a cluttered one has objects in it."""
    return Scene(partial(_background, is_cluttered), LIGHTS[session % len(LIGHTS)][1])


def _background(is_cluttered: bool, session: int, view_deg: float, size_hw: tuple[int, int]) -> RgbImage:
    """The empty street (0 to 255), independent of the view angle: the camera stands still, people come from other sides."""
    del view_deg
    return _draw(session, is_cluttered, size_hw)


@lru_cache(maxsize=32)
def _draw(session: int, is_cluttered: bool, size_hw: tuple[int, int]) -> RgbImage:
    scene = street.background(FIRST_STREET + session, 0.0, size_hw) * np.float32(LIGHTS[session % len(LIGHTS)][0])
    if is_cluttered:
        scene, _ = draw_objects(scene, session, size_hw, OBJECT_DISTANCES_M)
    scene = np.clip(scene, 0, 255).astype(np.float32)
    scene.setflags(write=False)
    return scene


def draw_objects(
    scene: RgbImage, session: int, size_hw: tuple[int, int], distances_m: tuple[float, float]
) -> tuple[RgbImage, Plane]:
    """The scene with objects at random distances behind the middle of the path, and their depths (infinite elsewhere)."""
    rng = np.random.default_rng([53, session])
    camera = camera_at(0.0, size_hw)
    rays = camera.rays()
    depth_m = np.full(size_hw, np.inf, np.float32)
    for distance_m in sorted(rng.uniform(*distances_m, _OBJECTS), reverse=True):
        to_plane = (DISTANCE_M + distance_m) / -rays[..., 0]
        x_m, z_m = rays[..., 1] * to_plane, camera.position_m[2] + rays[..., 2] * to_plane
        is_object, object_rgb = _object(rng, x_m, z_m)
        scene = np.where(is_object[..., None], object_rgb, scene)
        depth_m[is_object] = to_plane[is_object]
    return scene, depth_m


def _object(rng: np.random.Generator, x: Plane, z: Plane) -> tuple[Bool[np.ndarray, "height width"], RgbImage]:
    """A board, bin or pillar that stands on the ground, up to as high as people and sometimes of clothes' colours."""
    middle_m, half_m, height_m = rng.uniform(-2.6, 2.6), rng.uniform(0.1, 0.45), rng.uniform(0.45, 1.75)
    colour = rng.uniform(45, 190) + rng.uniform(-32, 32, 3)
    band_m = rng.uniform(0.15, 0.5)
    shade = 14 * (np.mod(z, band_m) < 0.4 * band_m) * rng.integers(2) + 6 * noise(rng, x, z, 0.3) - 18 * (x - middle_m) / half_m
    return (np.abs(x - middle_m) < half_m) & (z < height_m) & (z > 0), colour + shade[..., None]
