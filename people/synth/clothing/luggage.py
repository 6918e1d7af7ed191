"""The tubes of what people carry: a backpack, a bag over the shoulder, a handbag."""

from functools import partial

import numpy as np

from people.synth.body.shape import FRONT, LEFT, Rings, Shape, Skeleton, trunk
from people.synth.clothing.body_parts import Part
from people.synth.clothing.outfit import Accessory

_BOX = (np.abs(LEFT) ** 5 + np.abs(FRONT) ** 5) ** -0.2
# way down, half thickness, half length; all in body heights
_BAG = np.array([
    (0.0, 0.004, 0.03), (0.006, 0.020, 0.066), (0.02, 0.026, 0.074), (0.06, 0.030, 0.078), (0.10, 0.030, 0.078),
    (0.12, 0.024, 0.070), (0.125, 0.004, 0.03),
])  # fmt: skip
_HANDBAG = np.array([
    (0.0, 0.004, 0.012), (0.03, 0.005, 0.026), (0.045, 0.006, 0.034), (0.05, 0.016, 0.058), (0.07, 0.022, 0.066),
    (0.12, 0.028, 0.074), (0.145, 0.026, 0.074), (0.15, 0.006, 0.04),
])  # fmt: skip


def backpack(shape: Shape) -> Part:
    """A box on the back, from the shoulders to the small of the back."""
    depth = 0.066 * (shape.bmi / 22.5) * shape.height_m
    rings = partial(_pack, size=shape.height_m, back=depth)
    return Part("pack", np.array([0.0, 0.03, 0.06, 0.2, 0.34, 0.46, 0.5, 0.52]), 0.9, np.tile(_BOX, (8, 1)), rings)


def _pack(frame: Skeleton, *, size: float, back: float) -> Rings:
    """A backpack: it swings a little sideways with each step and bounces between the steps."""
    share = np.array([0.0, 0.02, 0.06, 0.2, 0.36, 0.5, 0.56, 0.58], np.float32)
    half = np.array([0.1, 0.75, 0.95, 1.0, 1.0, 1.0, 0.9, 0.1]) * size
    bulge = np.array([0.05, 0.5, 0.75, 0.9, 1.0, 1.0, 0.9, 0.1]) * size
    rings = trunk(frame, share, 0.078 * half, 0.045 * bulge, np.full(8, -(back + 0.036 * size)))
    stride = (frame.joint["left_ankle"] - frame.joint["right_ankle"])[:, 0] / np.float32(0.4 * size)
    swing = np.clip(stride, -1, 1)[:, None, None] * np.float32(0.009 * size) * frame.chest[0][:, None]
    bounce = (np.abs(np.clip(stride, -1, 1)) - 0.5)[:, None, None] * np.float32(0.008 * size) * frame.chest[1][:, None]
    hang = (share / 0.58)[:, None]
    return Rings(rings.middle + hang * swing - bounce, rings.side, rings.front)


def bag(shape: Shape, worn: Accessory) -> Part:
    """A bag at the hip, its strap (painted on the trunk) over a shoulder."""
    hips = 0.098 * (shape.bmi / 22.5) ** 0.65 * shape.girth[2]
    rings = partial(_hung, side=worn.side, size=shape.height_m, aside=float(hips) + 0.03)
    return _box("bag", _BAG, shape.height_m, rings)


def _hung(frame: Skeleton, *, side: int, size: float, aside: float) -> Rings:
    left, up, forward = frame.pelvis
    top = frame.joint["hips"] + np.float32(size) * (side * np.float32(aside) * left + np.float32(0.055) * up)
    return _below(top + np.float32(0.012 * size) * forward, _BAG, size, left, forward)


def handbag(shape: Shape, worn: Accessory) -> Part:
    """A bag that hangs from a hand by its handles."""
    side = "left" if worn.side > 0 else "right"
    return _box("handbag", _HANDBAG, shape.height_m, partial(_held, side=side, out=worn.side, size=shape.height_m))


def _held(frame: Skeleton, *, side: str, out: int, size: float) -> Rings:
    left, _, forward = frame.pelvis
    grip = 0.4 * frame.joint[f"{side}_wrist"] + 0.6 * frame.joint[f"{side}_tip"]
    return _below(grip + np.float32(out * 0.012 * size) * left, _HANDBAG, size, left, forward)


def _below(top: np.ndarray, table: np.ndarray, size: float, left: np.ndarray, forward: np.ndarray) -> Rings:
    """Level rings that hang below a point, thin to the side and long to the front."""
    down, thick, long = (np.float32(size) * table[:, i].astype(np.float32)[:, None] for i in range(3))
    middle = top[:, None] - down * np.array([0, 0, 1], np.float32)
    return Rings(middle, thick * left[:, None], long * forward[:, None])


def _box(name: str, table: np.ndarray, size: float, rings: partial[Rings]) -> Part:
    around_m = 5 * float(table[:, 2].mean()) * size
    return Part(name, table[:, 0] * size, around_m, np.tile(_BOX, (len(table), 1)), rings)
