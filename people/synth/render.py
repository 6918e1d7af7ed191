"""From 3-D joints to frames: a dressed body with volume walks through a room, with mask, keypoints and box as ground truth."""

from collections.abc import Iterator
from typing import get_args

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from people.records import COCO_KEYPOINTS, JOINTS, Condition, Motion, Rendered, Take
from people.synth.body.shape import COLUMNS, Shape, Skeleton, skeleton, unit
from people.synth.clothing.figure import Figure
from people.synth.clothing.outfit import Outfit
from people.synth.clothing.textures import texture
from people.synth.clothing.wardrobe import check_appearance, dressed
from people.synth.scene.camera import FIELD_M, NEAR_M, Camera, camera_at
from people.synth.scene.raster import Fragments, rasterise
from people.synth.scene.room import ROOM, Light, sensor_noise, shadow
from people.synth.scene.street import STREET

FINE = 2  # pixels are sampled at FINE x FINE places and averaged
_BATCH_PIXELS = 160 * 120 * 8


def render(take: Take, *, size_hw: tuple[int, int]) -> Iterator[Rendered]:
    """The frames of one recording and their ground truth, in order; the same take gives the same bytes.

    The camera stands still and looks at the middle of the path; a body with no part in view gives frames of the empty room.
    """
    if take.condition not in get_args(Condition):
        raise ValueError(
            f"condition must be one of {', '.join(get_args(Condition))}, came {take.condition!r} ({take.sequence})"
        )
    if len(take.motion) == 0:
        raise ValueError(f"the motion of {take.subject_id} {take.sequence} has no frames; give at least one")
    if not (np.isfinite(take.motion.joints_m).all() and np.isfinite(take.motion.forward_m).all()):
        raise ValueError(f"the motion of {take.subject_id} {take.sequence} has joints that are not finite; repair it first")
    if take.appearance is not None:
        check_appearance(take.appearance, take.condition)
    camera_at(take.view_deg, size_hw)
    return _frames(take, size_hw)


def _frames(take: Take, size_hw: tuple[int, int]) -> Iterator[Rendered]:
    """Renders in batches of frames: many small array operations cost more than few large ones."""
    motion, shape, outfit = dressed(take)
    figure = Figure(shape, outfit)
    painted = _Atlas(figure, outfit, FIELD_M / size_hw[0] / 3)
    place = ROOM if take.appearance is None else STREET
    camera = camera_at(take.view_deg, size_hw)
    rng = np.random.default_rng([take.seed, 31])
    gain = float(rng.uniform(0.93, 1.06))
    room = (place.background(take.session, float(take.view_deg), size_hw) * np.float32(gain)).astype(np.float32)
    noise = sensor_noise(rng, size_hw)
    joints = _placed(motion, outfit, shape)
    batch = max(_BATCH_PIXELS // (size_hw[0] * size_hw[1]), 1)
    for start in range(0, len(joints), batch):
        frame = skeleton(joints[start : start + batch], shape)
        _add_tips(frame, shape)
        seen = _Seen(figure, painted, frame, camera, place.light, gain)
        keypoints = _keypoints(frame, shape, seen, camera)
        for i in range(len(keypoints)):
            offset = int(rng.integers(len(noise) - room.size))
            yield seen.rendered(i, room, noise[offset : offset + room.size].reshape(room.shape), keypoints[i])


def _placed(motion: Motion, outfit: Outfit, shape: Shape) -> Float[np.ndarray, "frame joint 3"]:
    """Joints in the world: along the path, centred on its middle, with arms held off a body that is wider than the skeleton."""
    joints = motion.joints_m.astype(np.float32).copy()
    middle = (motion.forward_m[0] + motion.forward_m[-1]) / 2
    size, index = shape.height_m, JOINTS.index
    hips = 0.098 * (shape.bmi / 22.5) ** 0.65 * shape.girth[2] + outfit.torso_ease(np.array([1.0]))[0]
    for side, sign in (("left", 1), ("right", -1)):
        # An arm hangs outside a bag at the hip.
        bag = 0.05 if outfit.bag is not None and outfit.bag.side == sign else 0.0
        clear = (hips + 0.026 + outfit.ease_sleeve + bag) * size
        room = sign * (joints[:, index(f"{side}_wrist"), 1] - joints[:, index("pelvis"), 1])
        push = sign * np.float32(np.clip(clear - np.median(room), 0, 0.12))
        for name, share in (("elbow", 0.6), ("wrist", 1.0), ("hand", 1.0)):
            joints[:, index(f"{side}_{name}"), 1] += share * push
    joints[..., 0] += (motion.forward_m - middle).astype(np.float32)[:, None]
    return joints


def _add_tips(frame: Skeleton, shape: Shape) -> None:
    """Finger tips: mostly on from the forearm, for a recorded hand lies close to the wrist and is noisy."""
    for side in ("left", "right"):
        elbow, wrist, hand = (frame.joint[f"{side}_{name}"] for name in ("elbow", "wrist", "hand"))
        frame.joint[f"{side}_tip"] = wrist + 0.1 * np.float32(shape.height_m) * unit(
            unit(wrist - elbow) + 0.5 * unit(hand - wrist)
        )


class _Atlas:
    """The textures of all parts in one image, and every vertex's place in it."""

    def __init__(self, figure: Figure, outfit: Outfit, texel_m: float) -> None:
        pieces, columns, rows, first = [], [], [], 0
        for part in figure.parts:
            height = max(round(part.along_m[-1] / texel_m), 8)
            width = max(round(part.around_m / texel_m), 8)
            stations = part.along_m / part.along_m[-1]
            pieces.append(texture(part.name, figure.shape, outfit, (height, width), stations, texel_m))
            rows.append(np.repeat(first + 0.01 + stations * (height - 0.02), COLUMNS + 1))
            columns.append(np.tile(np.linspace(0.01, width - 0.01, COLUMNS + 1), len(stations)))
            first += height
        self.width = max(piece.shape[1] for piece in pieces)
        image = np.zeros((first, self.width, 3), np.float32)
        first = 0
        for piece in pieces:
            image[first : first + len(piece), : piece.shape[1]] = piece
            first += len(piece)
        self.texels = np.clip(image, 6, 250).reshape(-1, 3)
        self.row, self.column = np.concatenate(rows).astype(np.float32), np.concatenate(columns).astype(np.float32)

    def colours(self, vertex: np.ndarray, share: Float[np.ndarray, "2 pixel"]) -> Float[np.ndarray, "pixel 3"]:
        """Texels between three vertices each."""
        row, column = _between(self.row[vertex], share), _between(self.column[vertex], share)
        # On a face seen edge-on the shares may point a little beyond its corners, and there out of the image.
        row = np.clip(row, 0, len(self.texels) // self.width - 1)
        column = np.clip(column, 0, self.width - 1)
        return self.texels[row.astype(np.int32) * self.width + column.astype(np.int32)]


def _between(corner: Float[np.ndarray, "pixel 3"], share: Float[np.ndarray, "2 pixel"]) -> Float[np.ndarray, " pixel"]:
    return corner[:, 0] + share[0] * (corner[:, 1] - corner[:, 0]) + share[1] * (corner[:, 2] - corner[:, 0])


class _Seen:
    """Some frames of a figure as the camera sees it: colour and cover of the pixels round the body."""

    def __init__(self, figure: Figure, painted: _Atlas, frame: Skeleton, camera: Camera, light: Light, gain: float) -> None:
        places, normals = figure.vertices(frame)
        frames = len(places)
        places, normals = places.reshape(frames, -1, 3), normals.reshape(frames, -1, 3)
        points = camera.project(places)
        self.camera, self.frame = camera, frame
        self.origin, self.crop_hw = _crop(points, camera.size_hw)
        points[..., :2] = (points[..., :2] - self.origin[:, None, ::-1]) * FINE
        height, width = self.crop_hw
        self.fragments = rasterise(points, figure.faces, (height * FINE, width * FINE), NEAR_M)
        self.pictures = self._coloured(painted, _light(normals, camera, light) * np.float32(gain), places.shape[1], frames)

    def _coloured(
        self, painted: _Atlas, light: Float[np.ndarray, "frame vertex"], vertices: int, frames: int
    ) -> UInt8[np.ndarray, "frame row column 4"]:
        """Red, green, blue and cover of the fine pixels."""
        found: Fragments = self.fragments
        height, width = self.crop_hw
        buffer = np.zeros((frames * height * FINE * width * FINE, 4), np.uint8)
        shade = _between(light.reshape(-1)[found.corner], found.share)
        vertex = found.corner - (found.frame * vertices)[:, None]
        colour = painted.colours(vertex, found.share) * shade[:, None]
        buffer[found.pixel, :3] = np.minimum(colour, 255)
        buffer[found.pixel, 3] = 255
        return buffer.reshape(frames, height * FINE, width * FINE, 4)

    def rendered(self, i: int, room: Float[np.ndarray, "height width 3"], noise: np.ndarray, keypoints: np.ndarray) -> Rendered:
        """Frame `i` over the room."""
        top, left = (int(v) for v in self.origin[i])
        height, width = self.crop_hw
        small = cv2.resize(self.pictures[i], (width, height), interpolation=cv2.INTER_AREA)
        part = (slice(top, top + height), slice(left, left + width))
        cover = small[..., 3:].astype(np.float32) * np.float32(1 / 255)
        filled = room.copy()
        feet = np.stack([self.frame.joint[name][i] for name in ("left_ankle", "left_foot", "right_ankle", "right_foot")])
        _darken(filled, self.camera, feet)
        filled[part] = filled[part] * (1 - cover) + small[..., :3]
        frame_rgb = cv2.add(filled, noise, dtype=cv2.CV_8U)
        mask = np.zeros(room.shape[:2], bool)
        mask[part] = small[..., 3] >= 128
        return Rendered(frame_rgb=frame_rgb, mask=mask, keypoints_px=keypoints, box_xyxy_px=_bounds(mask, part))


def _crop(points: Float[np.ndarray, "frame vertex 3"], size_hw: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Top left corners of equally large patches of the image that hold the body in each frame."""
    size = np.array(size_hw)
    low = np.clip(np.floor(points[..., 1::-1].min(axis=1)).astype(int), 0, size - 1)
    high = np.clip(np.ceil(points[..., 1::-1].max(axis=1)).astype(int), low + 1, size)
    extent = (high - low).max(axis=0)
    return np.minimum(low, size - extent), (int(extent[0]), int(extent[1]))


def _light(normals: Float[np.ndarray, "frame vertex 3"], camera: Camera, light: Light) -> Float[np.ndarray, "frame vertex"]:
    """Lambert's law for a lamp above and left of the camera, and a ceiling or sky that is brighter than the floor."""
    lamp = -0.55 * camera.axes[0] - 0.75 * camera.axes[1] - 0.65 * camera.axes[2]
    lamp = (lamp / np.linalg.norm(lamp)).astype(np.float32)
    even, above, beam = (np.float32(share) for share in light)
    return even + above * normals[..., 2] + beam * np.maximum(normals @ lamp, 0)


def _darken(filled: Float[np.ndarray, "height width 3"], camera: Camera, feet_m: Float[np.ndarray, "foot 3"]) -> None:
    """Shadows on the floor round the feet."""
    seen = camera.project(feet_m * np.array([1, 1, 0], np.float32))
    if seen[:, 2].min() < 0.5:
        return
    reach = camera.focal_px / seen[:, 2].min() * 0.45
    low = np.maximum(np.floor(seen[:, 1::-1].min(axis=0) - reach * np.array([0.5, 1])), 0).astype(int)
    high = np.minimum(np.ceil(seen[:, 1::-1].max(axis=0) + reach * np.array([0.5, 1])), camera.size_hw).astype(int)
    if (high <= low).any():
        return
    patch = filled[low[0] : high[0], low[1] : high[1]]
    patch *= shadow(camera, (int(low[0]), int(low[1])), patch.shape[:2], feet_m)[..., None]


def _bounds(mask: np.ndarray, part: tuple[slice, slice]) -> Float[np.ndarray, " 4"]:
    """The box of the mask, its right and lower edges beyond the last pixels."""
    inside = mask[part]
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows) == 0:
        return np.zeros(4, np.float32)
    top, left = part[0].start, part[1].start
    return np.array([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1], np.float32)


def _keypoints(frame: Skeleton, shape: Shape, seen: _Seen, camera: Camera) -> Float[np.ndarray, "frame 17 3"]:
    """COCO's keypoints: hidden where the surface in their pixel is nearer than the body round the joint is thick."""
    left, up, forward = frame.head
    skull, size = frame.joint["skull"], np.float32(shape.height_m * shape.head)
    place = dict(frame.joint)
    place["nose"] = skull + size * (0.06 * forward - 0.016 * up)
    for side, sign in (("left", 1), ("right", -1)):
        place[f"{side}_eye"] = skull + size * (0.049 * forward + 0.004 * up + sign * 0.02 * left)
        place[f"{side}_ear"] = skull + size * (-0.002 * forward - 0.006 * up + sign * 0.043 * left)
    points = camera.project(np.stack([place[name] for name in COCO_KEYPOINTS], axis=1))
    thick = np.array([0.03, 0.03, 0.03, 0.05, 0.05, 0.14, 0.14, 0.09, 0.09, 0.075, 0.075, 0.18, 0.18, 0.11, 0.11, 0.09, 0.09])
    height, width = camera.size_hw
    column, row, depth = (points[..., i] for i in range(3))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (depth > NEAR_M)
    fine = np.floor((points[..., 1::-1] - seen.origin[:, None]) * FINE).astype(int)
    fine = np.clip(fine, 0, np.array(seen.crop_hw) * FINE - 1)
    inverse = seen.fragments.inverse_depth[np.arange(len(points))[:, None], fine[..., 0], fine[..., 1]]
    hidden = (inverse > 0) & (1 / np.maximum(inverse, 1e-6) < depth - thick)
    return np.stack([column, row, np.where(inside, np.where(hidden, 1, 2), 0)], axis=-1).astype(np.float32)
