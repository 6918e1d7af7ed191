"""Places where pictures of several people are taken: rooms, and streets with or without objects."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from people.synth.scene.camera import DISTANCE_M
from people.synth.scene.outdoors import FIRST_STREET, LIGHTS, draw_objects
from people.synth.scene.room import ROOM, Light, draw_room
from people.synth.scene.street import draw_street

_ROOM_SHARE, _CLUTTER_SHARE = 0.35, 0.5  # of all places, and of the streets
_ROOM_WALLS_M, _STREET_WALLS_M, _DEEP_WALLS_M = (9.0, 13.0), (10.0, 17.0), (22.0, 30.0)  # distances from the camera
_BEFORE_WALL_M = 0.8  # least distance of people from the wall
_OBJECT_DISTANCES_M = (1.5, 8.0)  # behind the middle of the picture


@dataclass(frozen=True, eq=False)
class Background:
    """An empty place (0 to 255), the inverse depths (1/m) of the objects in it (0: none), and its light."""

    image_rgb: Float[np.ndarray, "height width 3"]
    inverse_depth: Float[np.ndarray, "height width"]
    light: Light


def background_at(number: int, farthest_m: float, size_hw: tuple[int, int]) -> Background:
    """The empty place of this number; if somebody is `farthest_m` away, behind its wall, the wall stands farther away."""
    rng = np.random.default_rng([67, number])
    is_room, is_cluttered = bool(rng.random() < _ROOM_SHARE), bool(rng.random() < _CLUTTER_SHARE)
    near_m, deep_m = rng.uniform(*(_ROOM_WALLS_M if is_room else _STREET_WALLS_M)), rng.uniform(*_DEEP_WALLS_M)
    wall_m = near_m if farthest_m + _BEFORE_WALL_M < near_m else max(deep_m, float(np.ceil(farthest_m + _BEFORE_WALL_M)))
    return _draw(number, is_room, is_cluttered, float(wall_m), size_hw)


@lru_cache(maxsize=64)
def _draw(number: int, is_room: bool, is_cluttered: bool, wall_m: float, size_hw: tuple[int, int]) -> Background:
    depth_m = np.full(size_hw, np.inf, np.float32)
    if is_room:
        image, light = draw_room(number, 0.0, size_hw, wall_m), ROOM.light
    else:
        brightness, light = LIGHTS[number % len(LIGHTS)]
        image = draw_street(FIRST_STREET + number, size_hw, wall_m) * np.float32(brightness)
        if is_cluttered:
            nearest_m, farthest_m = _OBJECT_DISTANCES_M
            distances_m = nearest_m, min(farthest_m, wall_m - DISTANCE_M - _BEFORE_WALL_M)
            image, depth_m = draw_objects(image, number, size_hw, distances_m)
    background = Background(np.clip(image, 0, 255).astype(np.float32), (1 / depth_m).astype(np.float32), light)
    for values in (background.image_rgb, background.inverse_depth):
        values.setflags(write=False)
    return background
