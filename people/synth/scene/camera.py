"""A static pinhole camera that looks at the middle of the walking path from a given view angle."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from people.synth.body.shape import unit_vectors

DISTANCE_M = 6.0
HEIGHT_M = 1.15
TARGET_HEIGHT_M = 0.95
FIELD_HEIGHT_M = 3.0  # extent that the image's height covers at the path
NEAR_M = 0.3


@dataclass(frozen=True, eq=False)
class Camera:
    """Pose and intrinsics; the world's origin is the middle of the path, x the walking direction, z up, in metres."""

    position_m: Float[np.ndarray, " 3"]
    axes: Float[np.ndarray, "3 3"]  # rows: image right, image down, line of sight
    focal_px: float
    size_hw: tuple[int, int]

    def project(self, points_m: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """Column and row (pixels, the first one spans 0..1) and depth (m): x = f X / Z + width / 2, y likewise."""
        camera_m = (points_m - self.position_m) @ self.axes.T
        depth = np.maximum(camera_m[..., 2:], 1e-3)
        height, width = self.size_hw
        centre = np.array([width / 2, height / 2], dtype=camera_m.dtype)
        return np.concatenate(
            [camera_m[..., :2] / depth * camera_m.dtype.type(self.focal_px) + centre, camera_m[..., 2:]], axis=-1
        )

    def rays(self) -> Float[np.ndarray, "height width 3"]:
        """Directions through the centres of all pixels, scaled to depth 1."""
        height, width = self.size_hw
        rows, columns = np.mgrid[0:height, 0:width] + 0.5
        x_m, y_m = (columns - width / 2) / self.focal_px, (rows - height / 2) / self.focal_px
        return x_m[..., None] * self.axes[0] + y_m[..., None] * self.axes[1] + self.axes[2]


def camera_at(view_deg: float, size_hw: tuple[int, int]) -> Camera:
    """The camera that sees a person walking along x at `view_deg` (0: towards it, 90: to the left, 270: to the right)."""
    height, width = size_hw
    if height < 1 or width < 1:
        raise ValueError(f"size_hw must be at least (1, 1), got {size_hw}; give the image's height and width in pixels")
    if not np.isfinite(view_deg):
        raise ValueError(f"view_deg must be a finite angle in degrees, got {view_deg}")
    azimuth_rad = np.radians(view_deg)
    position_m = np.array([DISTANCE_M * np.cos(azimuth_rad), DISTANCE_M * np.sin(azimuth_rad), HEIGHT_M])
    view_axis = np.array([0.0, 0.0, TARGET_HEIGHT_M]) - position_m
    view_axis /= np.linalg.norm(view_axis)
    right = np.cross(view_axis, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(view_axis, right), view_axis])
    return Camera(position_m.astype(np.float32), axes.astype(np.float32), height * DISTANCE_M / FIELD_HEIGHT_M, size_hw)


def ground_offset_m(camera: Camera, away_m: float, right_m: float) -> Float[np.ndarray, " 3"]:
    """From the middle of the picture `away_m` farther from the camera and `right_m` to the image's right, along the ground."""
    away = unit_vectors(camera.axes[2] * np.array([1, 1, 0], np.float32))
    return np.float32(away_m) * away + np.float32(right_m) * camera.axes[0]
