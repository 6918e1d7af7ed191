"""Tubes of luggage: a backpack, a shoulder bag and a handbag."""

from functools import partial

import numpy as np

from people.synth.body.shape import FRONT, LEFT, Rings, Shape, Skeleton, trunk_rings
from people.synth.clothing.body_parts import Tube
from people.synth.clothing.outfit import Accessory

_BOX_SCALE = (np.abs(LEFT) ** 5 + np.abs(FRONT) ** 5) ** -0.2
# distance below the upper end, half thickness, half length; in body heights
_BAG_PROFILE = np.array([
    (0.0, 0.004, 0.03), (0.006, 0.020, 0.066), (0.02, 0.026, 0.074), (0.06, 0.030, 0.078), (0.10, 0.030, 0.078),
    (0.12, 0.024, 0.070), (0.125, 0.004, 0.03),
])  # fmt: skip
_HANDBAG_PROFILE = np.array([
    (0.0, 0.004, 0.012), (0.03, 0.005, 0.026), (0.045, 0.006, 0.034), (0.05, 0.016, 0.058), (0.07, 0.022, 0.066),
    (0.12, 0.028, 0.074), (0.145, 0.026, 0.074), (0.15, 0.006, 0.04),
])  # fmt: skip


def backpack(shape: Shape) -> Tube:
    """A box on the back from the shoulders to the lumbar region."""
    trunk_depth = 0.066 * (shape.bmi / 22.5) * shape.height_m
    rings = partial(_backpack_rings, height=shape.height_m, trunk_depth=trunk_depth)
    return Tube("pack", np.array([0.0, 0.03, 0.06, 0.2, 0.34, 0.46, 0.5, 0.52]), 0.9, np.tile(_BOX_SCALE, (8, 1)), rings)


def _backpack_rings(skeleton: Skeleton, *, height: float, trunk_depth: float) -> Rings:
    """Rings of a backpack, which swings sideways with each stride and bounces with each step."""
    level = np.array([0.0, 0.02, 0.06, 0.2, 0.36, 0.5, 0.56, 0.58], np.float32)
    width = np.array([0.1, 0.75, 0.95, 1.0, 1.0, 1.0, 0.9, 0.1]) * height
    depth = np.array([0.05, 0.5, 0.75, 0.9, 1.0, 1.0, 0.9, 0.1]) * height
    rings = trunk_rings(skeleton, level, 0.078 * width, 0.045 * depth, np.full(8, -(trunk_depth + 0.036 * height)))
    stride = (skeleton.joint["left_ankle"] - skeleton.joint["right_ankle"])[:, 0] / np.float32(0.4 * height)
    swing = np.clip(stride, -1, 1)[:, None, None] * np.float32(0.009 * height) * skeleton.chest[0][:, None]
    bounce = (np.abs(np.clip(stride, -1, 1)) - 0.5)[:, None, None] * np.float32(0.008 * height) * skeleton.chest[1][:, None]
    hang = (level / 0.58)[:, None]
    return Rings(rings.middle + hang * swing - bounce, rings.side, rings.front)


def bag(shape: Shape, accessory: Accessory) -> Tube:
    """A bag at the hip; its strap is painted on the trunk's texture."""
    hip_half_width = 0.098 * (shape.bmi / 22.5) ** 0.65 * shape.girth[2]
    rings = partial(_bag_rings, side=accessory.side, height=shape.height_m, side_offset=float(hip_half_width) + 0.03)
    return _box_tube("bag", _BAG_PROFILE, shape.height_m, rings)


def _bag_rings(skeleton: Skeleton, *, side: int, height: float, side_offset: float) -> Rings:
    left, up, forward = skeleton.pelvis
    top = skeleton.joint["hips"] + np.float32(height) * (side * np.float32(side_offset) * left + np.float32(0.055) * up)
    return _hanging_rings(top + np.float32(0.012 * height) * forward, _BAG_PROFILE, height, left, forward)


def handbag(shape: Shape, accessory: Accessory) -> Tube:
    """A bag held in a hand by its handles."""
    side = "left" if accessory.side > 0 else "right"
    rings = partial(_handbag_rings, side=side, sign=accessory.side, height=shape.height_m)
    return _box_tube("handbag", _HANDBAG_PROFILE, shape.height_m, rings)


def _handbag_rings(skeleton: Skeleton, *, side: str, sign: int, height: float) -> Rings:
    left, _, forward = skeleton.pelvis
    grip = 0.4 * skeleton.joint[f"{side}_wrist"] + 0.6 * skeleton.joint[f"{side}_tip"]
    return _hanging_rings(grip + np.float32(sign * 0.012 * height) * left, _HANDBAG_PROFILE, height, left, forward)


def _hanging_rings(top: np.ndarray, profile: np.ndarray, height: float, left: np.ndarray, forward: np.ndarray) -> Rings:
    """Horizontal rings below a point, thin to the side and long to the front."""
    down, thickness, length = (np.float32(height) * profile[:, i].astype(np.float32)[:, None] for i in range(3))
    middle = top[:, None] - down * np.array([0, 0, 1], np.float32)
    return Rings(middle, thickness * left[:, None], length * forward[:, None])


def _box_tube(name: str, profile: np.ndarray, height: float, rings: partial[Rings]) -> Tube:
    girth_m = 5 * float(profile[:, 2].mean()) * height
    return Tube(name, profile[:, 0] * height, girth_m, np.tile(_BOX_SCALE, (len(profile), 1)), rings)
