"""One person of a picture: dressed, posed, placed before the camera and drawn with what the person sits on."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from people.records import JOINTS, Activity, Condition, Motion, ScenePerson, Sex
from people.synth.activities import perform
from people.synth.body.shape import Shape, Skeleton, cross, draw_shape, estimate_height_m
from people.synth.clothing.atlas import TextureAtlas
from people.synth.clothing.figure import Figure
from people.synth.clothing.outfit import Outfit, draw_outfit
from people.synth.clothing.posture import pose_skeleton, world_joints
from people.synth.scene.camera import FIELD_HEIGHT_M, NEAR_M, Camera, camera_at, ground_offset_m
from people.synth.scene.figures import SUPERSAMPLE, DrawnFigure, coco_keypoints, crop_to_image, project_landmarks
from people.synth.scene.raster import rasterise
from people.synth.scene.room import Light
from people.synth.scene.shading import vertex_light
from people.synth.scenes.canvas import FURNITURE, Layer
from people.synth.scenes.furniture import Furniture, build_furniture

_COAT_SHARE = 0.15  # of a person's sessions; who sits has taken it off
_HEAD_TURNS_DEG = {"walking": 9.0, "running": 7.0, "sitting": 22.0, "standing": 22.0}  # standard deviations


_Traits = tuple[Sex | None, float | None, float, float | None]  # sex, age (years), height (m), weight (kg)


class DrawnPerson:
    """The layers of a person (the index `owner` of a scene) and of the furniture, with the keypoints."""

    def __init__(self, owner: int, person: ScenePerson, size_hw: tuple[int, int], light: Light, gain: float) -> None:
        self.activity: Activity = person.activity
        self.camera = camera_at(person.view_deg, size_hw)
        body = _dressed(person, FIELD_HEIGHT_M / size_hw[0] / 3)
        shift_m = ground_offset_m(self.camera, person.away_m, person.right_m)
        joints_m = _joints(person, body) + shift_m
        skeleton = _turn_head(pose_skeleton(joints_m, body.shape), person)
        figure = DrawnFigure(body.figure, body.atlas, skeleton, self.camera, light, gain)
        self.layer = _layer(owner, figure)
        self.layers = [self.layer]
        self.keypoints_px = coco_keypoints(skeleton, body.shape, figure, self.camera)[0]
        self.keypoint_depths_m = project_landmarks(skeleton, body.shape, self.camera)[0, :, 2]
        self.depth_m = float(self.camera.project(shift_m)[2])
        self.ground_contacts_m = figure.feet_m(0)
        if person.seat is not None:
            furniture = build_furniture(person.seat, person.seed, body.shape)
            self.layers.append(_draw_furniture(furniture, shift_m, self.camera, light, gain))
            self.ground_contacts_m = np.concatenate([self.ground_contacts_m, furniture.feet_m + shift_m])


@dataclass(frozen=True, eq=False)
class _Body:
    shape: Shape
    outfit: Outfit
    figure: Figure
    atlas: TextureAtlas


def _dressed(person: ScenePerson, texel_m: float) -> _Body:
    """The person's body in the clothes of the session, kept from picture to picture."""
    motion = person.motion
    height_m = motion.height_m or round(estimate_height_m(motion), 2)
    has_coat = np.random.default_rng([person.identity_seed, 89, person.session]).random() < _COAT_SHARE
    condition = "coat" if has_coat and person.activity != "sitting" else "normal"
    traits = motion.sex, motion.age_years, height_m, motion.weight_kg
    return _build_body(traits, condition, person.identity_seed, person.session, texel_m)


@lru_cache(maxsize=256)
def _build_body(traits: _Traits, condition: Condition, identity_seed: int, session: int, texel_m: float) -> _Body:
    no_joints = np.zeros((0, len(JOINTS), 3), np.float32)
    shape = draw_shape(Motion("", "", no_joints, no_joints[:, 0, 0], 1.0, *traits), identity_seed)
    outfit = draw_outfit(shape, condition, session, identity_seed)
    figure = Figure(shape, outfit)
    return _Body(shape, outfit, figure, TextureAtlas(figure, outfit, texel_m))


def _joints(person: ScenePerson, body: _Body) -> Float[np.ndarray, "1 joint 3"]:
    """The joints of the activity, in the person's own coordinates; a walker's arms are kept off the hips."""
    shape = body.shape
    known_body = replace(person.motion, height_m=shape.height_m, weight_kg=shape.bmi * shape.height_m**2)
    motion = perform(known_body, person.activity, person.seed, person.seat)
    return world_joints(motion, body.outfit, shape) if person.activity == "walking" else motion.joints_m


def _turn_head(skeleton: Skeleton, person: ScenePerson) -> Skeleton:
    """The head turned to a side by a random angle."""
    rng = np.random.default_rng([person.seed, 71])
    turn = np.radians(np.clip(rng.normal(0, _HEAD_TURNS_DEG[person.activity]), -50, 50))
    left, up, forward = skeleton.head
    turned = (np.cos(turn) * forward + np.sin(turn) * left).astype(np.float32)
    return replace(skeleton, head=(cross(up, turned), up, turned))


def _layer(owner: int, figure: DrawnFigure) -> Layer:
    top, left = (int(coordinate) for coordinate in figure.origin[0])
    return Layer(owner, (top, left), figure.images[0], figure.fragments.inverse_depth[0])


def _draw_furniture(furniture: Furniture, shift_m: Float[np.ndarray, " 3"], camera: Camera, light: Light, gain: float) -> Layer:
    """Flat faces in the light of the place."""
    points = camera.project(furniture.vertices_m + shift_m)[None]
    origin, (height, width) = crop_to_image(points, camera.size_hw)
    points[..., :2] = (points[..., :2] - origin[:, None, ::-1]) * SUPERSAMPLE
    size_hw = height * SUPERSAMPLE, width * SUPERSAMPLE
    fragments = rasterise(points, furniture.faces, size_hw, NEAR_M)
    shade = vertex_light(furniture.normals, camera, light) * np.float32(gain)
    colours = np.minimum(furniture.colours_rgb * shade[:, None], 255)
    rgba = np.zeros((size_hw[0] * size_hw[1], 4), np.uint8)
    rgba[fragments.pixel, :3] = colours[fragments.corners[:, 0]]
    rgba[fragments.pixel, 3] = 255
    top, left = (int(coordinate) for coordinate in origin[0])
    return Layer(FURNITURE, (top, left), rgba.reshape(*size_hw, 4), fragments.inverse_depth[0])
