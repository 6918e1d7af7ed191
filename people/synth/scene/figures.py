"""Frames of a dressed body drawn before a camera, with mask, keypoints and box as ground truth."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from people.records import COCO_KEYPOINTS, Rendered
from people.synth.body.shape import Shape, Skeleton
from people.synth.clothing.atlas import TextureAtlas, interpolate
from people.synth.clothing.figure import Figure
from people.synth.scene.camera import NEAR_M, Camera
from people.synth.scene.raster import Fragments, rasterise
from people.synth.scene.room import Light
from people.synth.scene.shading import cast_shadows, vertex_light

SUPERSAMPLE = 2  # samples per pixel in each direction, averaged


class DrawnFigure:
    """A batch of drawn frames of a figure: colour and coverage (`images`) and depth of the samples round the body."""

    def __init__(
        self, figure: Figure, atlas: TextureAtlas, skeleton: Skeleton, camera: Camera, light: Light, gain: float
    ) -> None:
        vertices_m, normals = figure.vertices(skeleton)
        frame_count = len(vertices_m)
        vertices_m, normals = vertices_m.reshape(frame_count, -1, 3), normals.reshape(frame_count, -1, 3)
        points = camera.project(vertices_m)
        self.camera, self.skeleton = camera, skeleton
        self.origin, self.crop_hw = crop_to_image(points, camera.size_hw)
        points[..., :2] = (points[..., :2] - self.origin[:, None, ::-1]) * SUPERSAMPLE
        height, width = self.crop_hw
        self.fragments = rasterise(points, figure.faces, (height * SUPERSAMPLE, width * SUPERSAMPLE), NEAR_M)
        self.images = self._shaded(
            atlas, vertex_light(normals, camera, light) * np.float32(gain), vertices_m.shape[1], frame_count
        )

    def _shaded(
        self, atlas: TextureAtlas, light: Float[np.ndarray, "frame vertex"], vertex_count: int, frame_count: int
    ) -> UInt8[np.ndarray, "frame row column 4"]:
        """Red, green, blue and coverage of the supersampled pixels."""
        fragments: Fragments = self.fragments
        height, width = self.crop_hw
        buffer = np.zeros((frame_count * height * SUPERSAMPLE * width * SUPERSAMPLE, 4), np.uint8)
        shade = interpolate(light.reshape(-1)[fragments.corners], fragments.weights)
        vertex = fragments.corners - (fragments.frame * vertex_count)[:, None]
        colour = atlas.colours(vertex, fragments.weights) * shade[:, None]
        buffer[fragments.pixel, :3] = np.minimum(colour, 255)
        buffer[fragments.pixel, 3] = 255
        return buffer.reshape(frame_count, height * SUPERSAMPLE, width * SUPERSAMPLE, 4)

    def rendered(
        self, index: int, image: Float[np.ndarray, "height width 3"], noise: np.ndarray, keypoints: np.ndarray
    ) -> Rendered:
        """Frame `index` drawn over the image of what is behind, in place."""
        window, foreground = self.compose(index, image)
        frame_rgb = cv2.add(image, noise, dtype=cv2.CV_8U)
        mask = np.zeros(image.shape[:2], bool)
        mask[window] = foreground[..., 3] >= 128
        return Rendered(frame_rgb=frame_rgb, mask=mask, keypoints_px=keypoints, box_xyxy_px=mask_box(mask, window))

    def compose(
        self, index: int, image: Float[np.ndarray, "height width 3"]
    ) -> tuple[tuple[slice, slice], UInt8[np.ndarray, "row column 4"]]:
        """Draw frame `index` over an image in place; also returns where, and the colours and coverage drawn there."""
        top, left = (int(coordinate) for coordinate in self.origin[index])
        height, width = self.crop_hw
        foreground = cv2.resize(self.images[index], (width, height), interpolation=cv2.INTER_AREA)
        window = (slice(top, top + height), slice(left, left + width))
        alpha = foreground[..., 3:].astype(np.float32) * np.float32(1 / 255)
        cast_shadows(image, self.camera, self.feet_m(index))
        image[window] = image[window] * (1 - alpha) + foreground[..., :3]
        return window, foreground

    def feet_m(self, index: int) -> Float[np.ndarray, "4 3"]:
        """Ankles and balls of both feet in frame `index`."""
        return np.stack(
            [self.skeleton.joint[f"{side}_{name}"][index] for side in ("left", "right") for name in ("ankle", "foot")]
        )


def crop_to_image(points: Float[np.ndarray, "frame vertex 3"], size_hw: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Top left corners (row, column) and common size of image patches that contain the body in each frame."""
    size = np.array(size_hw)
    lower = np.clip(np.floor(points[..., 1::-1].min(axis=1)).astype(int), 0, size - 1)
    upper = np.clip(np.ceil(points[..., 1::-1].max(axis=1)).astype(int), lower + 1, size)
    extent = (upper - lower).max(axis=0)
    return np.minimum(lower, size - extent), (int(extent[0]), int(extent[1]))


def mask_box(mask: np.ndarray, window: tuple[slice, slice]) -> Float[np.ndarray, " 4"]:
    """The bounding box of the mask (x, y, x, y), right and lower edges exclusive, or zeros for an empty mask."""
    inside = mask[window]
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows) == 0:
        return np.zeros(4, np.float32)
    top, left = window[0].start, window[1].start
    return np.array([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1], np.float32)


def coco_keypoints(skeleton: Skeleton, shape: Shape, batch: DrawnFigure, camera: Camera) -> Float[np.ndarray, "frame 17 3"]:
    """COCO keypoints; one is hidden if the visible surface is nearer than the joint by more than the body's thickness there."""
    points = project_landmarks(skeleton, shape, camera)
    thickness = np.array(
        [0.03, 0.03, 0.03, 0.05, 0.05, 0.14, 0.14, 0.09, 0.09, 0.075, 0.075, 0.18, 0.18, 0.11, 0.11, 0.09, 0.09]
    )
    height, width = camera.size_hw
    column, row, depth = (points[..., axis] for axis in range(3))
    is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (depth > NEAR_M)
    sample = np.floor((points[..., 1::-1] - batch.origin[:, None]) * SUPERSAMPLE).astype(int)
    sample = np.clip(sample, 0, np.array(batch.crop_hw) * SUPERSAMPLE - 1)
    inverse_depth = batch.fragments.inverse_depth[np.arange(len(points))[:, None], sample[..., 0], sample[..., 1]]
    is_hidden = (inverse_depth > 0) & (1 / np.maximum(inverse_depth, 1e-6) < depth - thickness)
    return np.stack([column, row, np.where(is_inside, np.where(is_hidden, 1, 2), 0)], axis=-1).astype(np.float32)


def project_landmarks(skeleton: Skeleton, shape: Shape, camera: Camera) -> Float[np.ndarray, "frame 17 3"]:
    """Column, row (pixels) and depth (m) of the COCO keypoints."""
    left, up, forward = skeleton.head
    skull, head_height_m = skeleton.joint["skull"], np.float32(shape.height_m * shape.head)
    landmarks = dict(skeleton.joint)
    landmarks["nose"] = skull + head_height_m * (0.06 * forward - 0.016 * up)
    for side, sign in (("left", 1), ("right", -1)):
        landmarks[f"{side}_eye"] = skull + head_height_m * (0.049 * forward + 0.004 * up + sign * 0.02 * left)
        landmarks[f"{side}_ear"] = skull + head_height_m * (-0.002 * forward - 0.006 * up + sign * 0.043 * left)
    return camera.project(np.stack([landmarks[name] for name in COCO_KEYPOINTS], axis=1))
