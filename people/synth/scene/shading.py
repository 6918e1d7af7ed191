"""Light on surfaces and soft shadows on the ground."""

import numpy as np
from jaxtyping import Float

from people.synth.scene.camera import Camera
from people.synth.scene.room import Light, shadow_factor


def vertex_light(normals: Float[np.ndarray, "*batch 3"], camera: Camera, light: Light) -> Float[np.ndarray, "*batch"]:
    """Lambertian shading by a lamp above and left of the camera, plus light from above and ambient light."""
    lamp = -0.55 * camera.axes[0] - 0.75 * camera.axes[1] - 0.65 * camera.axes[2]
    lamp = (lamp / np.linalg.norm(lamp)).astype(np.float32)
    ambient, overhead, lamp_weight = (np.float32(weight) for weight in light)
    return ambient + overhead * normals[..., 2] + lamp_weight * np.maximum(normals @ lamp, 0)


def cast_shadows(image: Float[np.ndarray, "height width 3"], camera: Camera, feet_m: Float[np.ndarray, "foot 3"]) -> None:
    """Darken the floor round the feet in place."""
    projected = camera.project(feet_m * np.array([1, 1, 0], np.float32))
    if projected[:, 2].min() < 0.5:
        return
    reach = camera.focal_px / projected[:, 2].min() * 0.45
    lower = np.maximum(np.floor(projected[:, 1::-1].min(axis=0) - reach * np.array([0.5, 1])), 0).astype(int)
    upper = np.minimum(np.ceil(projected[:, 1::-1].max(axis=0) + reach * np.array([0.5, 1])), camera.size_hw).astype(int)
    if (upper <= lower).any():
        return
    patch = image[lower[0] : upper[0], lower[1] : upper[1]]
    patch *= shadow_factor(camera, (int(lower[0]), int(lower[1])), patch.shape[:2], feet_m)[..., None]
