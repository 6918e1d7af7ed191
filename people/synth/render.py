"""Renderer: frames of a dressed body that walks through a scene, with mask, keypoints and box as ground truth."""

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from people.records import COCO_KEYPOINTS, JOINTS, Condition, Motion, PasserBy, Rendered, Take
from people.synth.body.shape import COLUMNS, Shape, Skeleton, build_skeleton, unit_vectors
from people.synth.clothing.figure import Figure
from people.synth.clothing.outfit import Outfit
from people.synth.clothing.textures import part_texture
from people.synth.clothing.wardrobe import build_person, check_appearance
from people.synth.scene.camera import FIELD_HEIGHT_M, NEAR_M, Camera, camera_at
from people.synth.scene.outdoors import outdoors
from people.synth.scene.raster import Fragments, rasterise
from people.synth.scene.room import ROOM, Light, Scene, sensor_noise, shadow_factor
from people.synth.scene.street import STREET

SUPERSAMPLE = 2  # samples per pixel in each direction, averaged
_BATCH_PIXELS = 160 * 120 * 8


def render(take: Take, *, size_hw: tuple[int, int]) -> Iterator[Rendered]:
    """The frames of one recording and their ground truth, in order; the same take gives the same bytes.

    The static camera looks at the middle of the path; a body out of view gives frames of the empty scene.
    """
    if take.condition not in get_args(Condition):
        raise ValueError(f"condition must be one of {', '.join(get_args(Condition))}, got {take.condition!r} ({take.sequence})")
    if len(take.motion) == 0:
        raise ValueError(f"the motion of {take.subject_id} {take.sequence} has no frames; give at least one")
    for motion in (take.motion, *(passer_by.motion for passer_by in _passers_by(take))):
        if not (np.isfinite(motion.joints_m).all() and np.isfinite(motion.forward_m).all()):
            raise ValueError(f"the motion of {take.subject_id} {take.sequence} has joints that are not finite; repair it first")
    if take.appearance is not None:
        check_appearance(take.appearance, take.condition)
    camera_at(take.view_deg, size_hw)
    return _frames(take, size_hw)


def _frames(take: Take, size_hw: tuple[int, int]) -> Iterator[Rendered]:
    """Render in batches of frames, because few large array operations cost less than many small ones."""
    scene, camera = _scene(take), camera_at(take.view_deg, size_hw)
    rng = np.random.default_rng([take.seed, 31])
    gain = float(rng.uniform(0.93, 1.06))
    background = (scene.background(take.session, float(take.view_deg), size_hw) * np.float32(gain)).astype(np.float32)
    noise = sensor_noise(rng, size_hw)
    person = _Walker(take, camera)
    passers_by = [_walker_behind(passer_by, take, size_hw) for passer_by in _passers_by(take)]
    batch_frames = max(_BATCH_PIXELS // (size_hw[0] * size_hw[1]), 1)
    for start in range(0, len(take.motion), batch_frames):
        numbers = range(start, min(start + batch_frames, len(take.motion)))
        batch, *behind = (walker.batch(numbers, scene.light, gain) for walker in (person, *passers_by))
        keypoints = _keypoints(batch.skeleton, person.shape, batch, camera)
        for index in range(len(keypoints)):
            offset = int(rng.integers(len(noise) - background.size))
            image = background.copy()
            for of_passer_by in behind:
                of_passer_by.compose(index, image)
            yield batch.rendered(
                index, image, noise[offset : offset + background.size].reshape(background.shape), keypoints[index]
            )


def _scene(take: Take) -> Scene:
    if take.surroundings is not None:
        return outdoors(take.session, take.surroundings.is_cluttered)
    return ROOM if take.appearance is None else STREET


def _passers_by(take: Take) -> tuple[PasserBy, ...]:
    return take.surroundings.passers_by if take.surroundings else ()


class _Walker:
    """A dressed person who walks before a camera."""

    def __init__(self, take: Take, camera: Camera) -> None:
        motion, self.shape, outfit = build_person(take)
        self.camera, self.figure = camera, Figure(self.shape, outfit)
        self.atlas = _TextureAtlas(self.figure, outfit, FIELD_HEIGHT_M / camera.size_hw[0] / 3)
        self.joints_m = _world_joints(motion, outfit, self.shape)

    def batch(self, numbers: range, light: Light, gain: float) -> "_FrameBatch":
        """The frames of these numbers; after the last one the person stands still."""
        joints_m = self.joints_m[np.minimum(numbers, len(self.joints_m) - 1)]
        skeleton = build_skeleton(joints_m, self.shape)
        _add_fingertips(skeleton, self.shape)
        return _FrameBatch(self.figure, self.atlas, skeleton, self.camera, light, gain)


def _walker_behind(passer_by: PasserBy, take: Take, size_hw: tuple[int, int]) -> _Walker:
    """A passer-by before the take's camera; seen from the passer-by's own path, which is moved to its place."""
    own = {"motion": passer_by.motion, "identity_seed": passer_by.identity_seed, "view_deg": passer_by.view_deg}
    walker = _Walker(replace(take, **own, condition="normal", surroundings=None), camera_at(passer_by.view_deg, size_hw))
    away = walker.camera.axes[2] * np.array([1, 1, 0], np.float32)
    walker.joints_m += passer_by.away_m * unit_vectors(away) + passer_by.right_m * walker.camera.axes[0]
    return walker


def _world_joints(motion: Motion, outfit: Outfit, shape: Shape) -> Float[np.ndarray, "frame joint 3"]:
    """Joints in world coordinates, centred on the middle of the path, with arms moved outwards beside the hips' surface."""
    joints_m = motion.joints_m.astype(np.float32).copy()
    middle = (motion.forward_m[0] + motion.forward_m[-1]) / 2
    height_m, joint_index = shape.height_m, JOINTS.index
    hip_half_width = 0.098 * (shape.bmi / 22.5) ** 0.65 * shape.girth[2] + outfit.torso_ease(np.array([1.0]))[0]
    for side, sign in (("left", 1), ("right", -1)):
        # The arm hangs outside a bag at the hip.
        bag_width = 0.05 if outfit.bag is not None and outfit.bag.side == sign else 0.0
        clearance_m = (hip_half_width + 0.026 + outfit.ease_sleeve + bag_width) * height_m
        distance_m = sign * (joints_m[:, joint_index(f"{side}_wrist"), 1] - joints_m[:, joint_index("pelvis"), 1])
        shift_m = sign * np.float32(np.clip(clearance_m - np.median(distance_m), 0, 0.12))
        for name, weight in (("elbow", 0.6), ("wrist", 1.0), ("hand", 1.0)):
            joints_m[:, joint_index(f"{side}_{name}"), 1] += weight * shift_m
    joints_m[..., 0] += (motion.forward_m - middle).astype(np.float32)[:, None]
    return joints_m


def _add_fingertips(skeleton: Skeleton, shape: Shape) -> None:
    """Add fingertips, mainly along the forearm, because recorded hands are noisy and close to the wrist."""
    for side in ("left", "right"):
        elbow, wrist, hand = (skeleton.joint[f"{side}_{name}"] for name in ("elbow", "wrist", "hand"))
        skeleton.joint[f"{side}_tip"] = wrist + 0.1 * np.float32(shape.height_m) * unit_vectors(
            unit_vectors(wrist - elbow) + 0.5 * unit_vectors(hand - wrist)
        )


class _TextureAtlas:
    """The textures of all tubes in one image and the texture coordinates of all vertices."""

    def __init__(self, figure: Figure, outfit: Outfit, texel_m: float) -> None:
        textures, column_parts, row_parts, first_row = [], [], [], 0
        for tube in figure.tubes:
            height = max(round(tube.along_m[-1] / texel_m), 8)
            width = max(round(tube.girth_m / texel_m), 8)
            ring_positions = tube.along_m / tube.along_m[-1]
            textures.append(part_texture(tube.name, figure.shape, outfit, (height, width), ring_positions, texel_m))
            row_parts.append(np.repeat(first_row + 0.01 + ring_positions * (height - 0.02), COLUMNS + 1))
            column_parts.append(np.tile(np.linspace(0.01, width - 0.01, COLUMNS + 1), len(ring_positions)))
            first_row += height
        self.width = max(tube_texture.shape[1] for tube_texture in textures)
        image = np.zeros((first_row, self.width, 3), np.float32)
        first_row = 0
        for tube_texture in textures:
            image[first_row : first_row + len(tube_texture), : tube_texture.shape[1]] = tube_texture
            first_row += len(tube_texture)
        self.texels = np.clip(image, 6, 250).reshape(-1, 3)
        self.row, self.column = np.concatenate(row_parts).astype(np.float32), np.concatenate(column_parts).astype(np.float32)

    def colours(self, vertex: np.ndarray, weights: Float[np.ndarray, "2 pixel"]) -> Float[np.ndarray, "pixel 3"]:
        """Texels at barycentric positions in triangles of three vertices each."""
        row, column = _interpolate(self.row[vertex], weights), _interpolate(self.column[vertex], weights)
        # On a face seen edge-on, barycentric weights may lead slightly outside of the image.
        row = np.clip(row, 0, len(self.texels) // self.width - 1)
        column = np.clip(column, 0, self.width - 1)
        return self.texels[row.astype(np.int32) * self.width + column.astype(np.int32)]


def _interpolate(values: Float[np.ndarray, "pixel 3"], weights: Float[np.ndarray, "2 pixel"]) -> Float[np.ndarray, " pixel"]:
    return values[:, 0] + weights[0] * (values[:, 1] - values[:, 0]) + weights[1] * (values[:, 2] - values[:, 0])


class _FrameBatch:
    """A batch of rendered frames of a figure: colour and coverage of the pixels round the body."""

    def __init__(
        self, figure: Figure, atlas: _TextureAtlas, skeleton: Skeleton, camera: Camera, light: Light, gain: float
    ) -> None:
        vertices_m, normals = figure.vertices(skeleton)
        frame_count = len(vertices_m)
        vertices_m, normals = vertices_m.reshape(frame_count, -1, 3), normals.reshape(frame_count, -1, 3)
        points = camera.project(vertices_m)
        self.camera, self.skeleton = camera, skeleton
        self.origin, self.crop_hw = _crop(points, camera.size_hw)
        points[..., :2] = (points[..., :2] - self.origin[:, None, ::-1]) * SUPERSAMPLE
        height, width = self.crop_hw
        self.fragments = rasterise(points, figure.faces, (height * SUPERSAMPLE, width * SUPERSAMPLE), NEAR_M)
        self.images = self._shaded(
            atlas, _vertex_light(normals, camera, light) * np.float32(gain), vertices_m.shape[1], frame_count
        )

    def _shaded(
        self, atlas: _TextureAtlas, light: Float[np.ndarray, "frame vertex"], vertex_count: int, frame_count: int
    ) -> UInt8[np.ndarray, "frame row column 4"]:
        """Red, green, blue and coverage of the supersampled pixels."""
        fragments: Fragments = self.fragments
        height, width = self.crop_hw
        buffer = np.zeros((frame_count * height * SUPERSAMPLE * width * SUPERSAMPLE, 4), np.uint8)
        shade = _interpolate(light.reshape(-1)[fragments.corners], fragments.weights)
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
        return Rendered(frame_rgb=frame_rgb, mask=mask, keypoints_px=keypoints, box_xyxy_px=_mask_box(mask, window))

    def compose(
        self, index: int, image: Float[np.ndarray, "height width 3"]
    ) -> tuple[tuple[slice, slice], UInt8[np.ndarray, "row column 4"]]:
        """Draw frame `index` over an image in place; also returns where, and the colours and coverage drawn there."""
        top, left = (int(coordinate) for coordinate in self.origin[index])
        height, width = self.crop_hw
        foreground = cv2.resize(self.images[index], (width, height), interpolation=cv2.INTER_AREA)
        window = (slice(top, top + height), slice(left, left + width))
        alpha = foreground[..., 3:].astype(np.float32) * np.float32(1 / 255)
        feet = np.stack([self.skeleton.joint[name][index] for name in ("left_ankle", "left_foot", "right_ankle", "right_foot")])
        _cast_shadows(image, self.camera, feet)
        image[window] = image[window] * (1 - alpha) + foreground[..., :3]
        return window, foreground


def _crop(points: Float[np.ndarray, "frame vertex 3"], size_hw: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Top left corners (row, column) and common size of image patches that contain the body in each frame."""
    size = np.array(size_hw)
    lower = np.clip(np.floor(points[..., 1::-1].min(axis=1)).astype(int), 0, size - 1)
    upper = np.clip(np.ceil(points[..., 1::-1].max(axis=1)).astype(int), lower + 1, size)
    extent = (upper - lower).max(axis=0)
    return np.minimum(lower, size - extent), (int(extent[0]), int(extent[1]))


def _vertex_light(
    normals: Float[np.ndarray, "frame vertex 3"], camera: Camera, light: Light
) -> Float[np.ndarray, "frame vertex"]:
    """Lambertian shading by a lamp above and left of the camera, plus light from above and ambient light."""
    lamp = -0.55 * camera.axes[0] - 0.75 * camera.axes[1] - 0.65 * camera.axes[2]
    lamp = (lamp / np.linalg.norm(lamp)).astype(np.float32)
    ambient, overhead, lamp_weight = (np.float32(weight) for weight in light)
    return ambient + overhead * normals[..., 2] + lamp_weight * np.maximum(normals @ lamp, 0)


def _cast_shadows(image: Float[np.ndarray, "height width 3"], camera: Camera, feet_m: Float[np.ndarray, "foot 3"]) -> None:
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


def _mask_box(mask: np.ndarray, window: tuple[slice, slice]) -> Float[np.ndarray, " 4"]:
    """The bounding box of the mask (x, y, x, y), right and lower edges exclusive, or zeros for an empty mask."""
    inside = mask[window]
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows) == 0:
        return np.zeros(4, np.float32)
    top, left = window[0].start, window[1].start
    return np.array([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1], np.float32)


def _keypoints(skeleton: Skeleton, shape: Shape, batch: _FrameBatch, camera: Camera) -> Float[np.ndarray, "frame 17 3"]:
    """COCO keypoints; one is hidden if the visible surface is nearer than the joint by more than the body's thickness there."""
    left, up, forward = skeleton.head
    skull, head_height_m = skeleton.joint["skull"], np.float32(shape.height_m * shape.head)
    landmarks = dict(skeleton.joint)
    landmarks["nose"] = skull + head_height_m * (0.06 * forward - 0.016 * up)
    for side, sign in (("left", 1), ("right", -1)):
        landmarks[f"{side}_eye"] = skull + head_height_m * (0.049 * forward + 0.004 * up + sign * 0.02 * left)
        landmarks[f"{side}_ear"] = skull + head_height_m * (-0.002 * forward - 0.006 * up + sign * 0.043 * left)
    points = camera.project(np.stack([landmarks[name] for name in COCO_KEYPOINTS], axis=1))
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
