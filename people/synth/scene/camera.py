"""A pinhole camera that stands still and looks at the middle of the path from a given view angle."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

DISTANCE_M = 6.0
HEIGHT_M = 1.15
TARGET_HEIGHT_M = 0.95
FIELD_M = 3.0  # what the image's height covers at the path
NEAR_M = 0.3


@dataclass(frozen=True, eq=False)
class Camera:
    """Where the camera is (metres; the world's origin is the path's middle, x the walking direction, z up) and what it sees."""

    place_m: Float[np.ndarray, " 3"]
    axes: Float[np.ndarray, "3 3"]  # rows: the image's right, down, and the line of sight
    focal_px: float
    size_hw: tuple[int, int]

    def project(self, points_m: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """Column, row (pixels, the first pixel spans 0..1) and depth in metres: x = f X / Z + width / 2, y alike."""
        seen = (points_m - self.place_m) @ self.axes.T
        depth = np.maximum(seen[..., 2:], 1e-3)
        height, width = self.size_hw
        centre = np.array([width / 2, height / 2], dtype=seen.dtype)
        return np.concatenate([seen[..., :2] / depth * seen.dtype.type(self.focal_px) + centre, seen[..., 2:]], axis=-1)

    def rays(self) -> Float[np.ndarray, "height width 3"]:
        """Directions through the middles of all pixels, of depth 1."""
        height, width = self.size_hw
        rows, columns = np.mgrid[0:height, 0:width] + 0.5
        across, down = (columns - width / 2) / self.focal_px, (rows - height / 2) / self.focal_px
        return across[..., None] * self.axes[0] + down[..., None] * self.axes[1] + self.axes[2]


def camera_at(view_deg: float, size_hw: tuple[int, int]) -> Camera:
    """The camera from which somebody walking along x is seen at `view_deg` (0 comes nearer, 90 goes left, 270 goes right)."""
    height, width = size_hw
    if height < 1 or width < 1:
        raise ValueError(f"size_hw must be at least (1, 1), came {size_hw}; give the image's height and width in pixels")
    if not np.isfinite(view_deg):
        raise ValueError(f"view_deg must be a finite angle in degrees, came {view_deg}")
    angle = np.radians(view_deg)
    place = np.array([DISTANCE_M * np.cos(angle), DISTANCE_M * np.sin(angle), HEIGHT_M])
    sight = np.array([0.0, 0.0, TARGET_HEIGHT_M]) - place
    sight /= np.linalg.norm(sight)
    right = np.cross(sight, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(sight, right), sight])
    return Camera(place.astype(np.float32), axes.astype(np.float32), height * DISTANCE_M / FIELD_M, size_hw)
