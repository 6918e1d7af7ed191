"""Tubes of garments that do not follow the body: skirts and hats."""

from functools import partial

import numpy as np
from jaxtyping import Float

from people.synth.body.shape import FRONT, LEFT, Rings, Shape, Skeleton, cross, unit_vectors
from people.synth.clothing.body_parts import Tube, head_rings
from people.synth.clothing.outfit import Accessory, Outfit

# height above the skull's middle, half width, half depth, shift forward, in body heights; from crown to underside of the brim
_HATS = {
    "cap": np.array([
        (0.088, 0.004, 0.005, -0.005), (0.084, 0.022, 0.028, -0.005), (0.070, 0.040, 0.051, -0.004),
        (0.046, 0.051, 0.063, -0.002), (0.024, 0.054, 0.067, 0.0), (0.016, 0.054, 0.067, 0.0),
        (0.011, 0.054, 0.067, 0.0), (0.008, 0.050, 0.062, 0.0),
    ]),
    "brimmed": np.array([
        (0.096, 0.004, 0.005, -0.004), (0.094, 0.034, 0.044, -0.004), (0.086, 0.041, 0.052, -0.003),
        (0.050, 0.049, 0.061, -0.002), (0.026, 0.054, 0.067, 0.0), (0.021, 0.088, 0.102, 0.0),
        (0.016, 0.088, 0.102, 0.0), (0.014, 0.050, 0.062, 0.0),
    ]),
    "woolly": np.array([
        (0.122, 0.003, 0.003, -0.006), (0.117, 0.015, 0.015, -0.006), (0.107, 0.018, 0.018, -0.006),
        (0.097, 0.012, 0.013, -0.006), (0.091, 0.026, 0.033, -0.006), (0.074, 0.043, 0.054, -0.004),
        (0.050, 0.053, 0.066, -0.002), (0.037, 0.055, 0.069, 0.0), (0.034, 0.059, 0.073, 0.0),
        (0.014, 0.059, 0.073, 0.0), (0.012, 0.052, 0.065, 0.0),
    ]),
}  # fmt: skip


def skirt(shape: Shape, outfit: Outfit) -> Tube:
    """A skirt or the lower part of a coat, from the waist to `hem` bones down the leg, wide enough for both legs."""
    height = shape.height_m
    along = np.concatenate([[-0.42, -0.2], np.linspace(0.0, outfit.hem, 7)])
    flare = 0.03 * outfit.flare * np.maximum(along, 0)
    is_female = shape.sex == "female"
    hips = (0.104 if is_female else 0.098) * shape.girth[2] * (shape.bmi / 22.5) ** 0.65 + outfit.skirt_ease
    width = np.interp(along, [-0.42, -0.1, 0.1], [0.84, 0.96, 1.0]) * hips * height + flare * height
    depth = np.interp(along, [-0.42, -0.1, 0.1], [0.72, 0.93, 1.0]) * (hips * 0.84) * height + flare * height
    folds = 1 + 0.035 * np.cos(5 * np.arctan2(FRONT, LEFT) + 0.7) * np.maximum(along / outfit.hem, 0)[:, None]
    rings = partial(
        _skirt_rings,
        along=along.astype(np.float32),
        width=width.astype(np.float32),
        depth=depth.astype(np.float32),
        height=height,
    )
    return Tube("skirt", (along - along[0]) * 0.245 * height, float(5 * width.mean()), folds, rings)


def _skirt_rings(skeleton: Skeleton, *, along: np.ndarray, width: np.ndarray, depth: np.ndarray, height: float) -> Rings:
    left, up, forward = (axis[:, None] for axis in skeleton.pelvis)
    fraction = np.maximum(along, 0)[:, None]
    legs = []
    for side in ("left", "right"):
        hip, knee, ankle = (skeleton.joint[f"{side}_{name}"][:, None] for name in ("hip", "knee", "ankle"))
        legs.append(hip + np.minimum(fraction, 1) * (knee - hip) + np.maximum(fraction - 1, 0) * (ankle - knee))
    middle = (legs[0] + legs[1]) / 2 - np.minimum(along, 0)[:, None] * np.float32(0.245 * height) * up
    forward = _seated_forward(skeleton, fraction, left, forward)
    distance = legs[0] - legs[1]
    reach_side = np.abs(np.einsum("frk,fgk->fr", distance, left)) / 2
    reach_front = np.abs(np.einsum("frk,frk->fr", distance, forward)) / 2
    side = np.maximum(width, reach_side + np.float32(0.05 * height))
    front = depth + np.maximum(reach_front - np.float32(0.01 * height), 0)
    return Rings(middle, side[..., None] * left, front[..., None] * forward)


def _seated_forward(
    skeleton: Skeleton, fraction: np.ndarray, left: np.ndarray, forward: np.ndarray
) -> Float[np.ndarray, "frame ring 3"]:
    """The front axis of the rings: the pelvis's, or square to thighs and shanks where the thighs are about horizontal."""
    hips, knees, ankles = (
        skeleton.joint[f"left_{name}"] + skeleton.joint[f"right_{name}"] for name in ("hip", "knee", "ankle")
    )
    thigh, shank = unit_vectors(knees - hips)[:, None], unit_vectors(ankles - knees)[:, None]
    is_seated = thigh[..., 2:] > -0.5
    forward = np.broadcast_to(forward, (len(thigh), len(fraction), 3))
    if not is_seated.any():
        return forward
    beyond_knee = np.clip(2.5 * (fraction - 0.8), 0, 1)
    along = unit_vectors(thigh * (1 - beyond_knee) + shank * beyond_knee)
    front = cross(along, np.broadcast_to(left, along.shape))
    beyond_hip = np.clip(4 * fraction, 0, 1)
    return np.where(is_seated, unit_vectors(front * beyond_hip + forward * (1 - beyond_hip)), forward)


def hat(shape: Shape, accessory: Accessory) -> Tube:
    """A cap with a visor, a brimmed hat or a woolly hat over skull and hair."""
    profile = _HATS[accessory.kind]
    radial_scale = np.ones((len(profile), len(FRONT)))
    if accessory.kind == "cap":
        radial_scale[-2] += 0.8 * np.exp(-(((np.arctan2(FRONT, LEFT) - np.pi / 2) / 0.65) ** 2))
    along_m = (profile[0, 0] - profile[:, 0]) * 1.35 * shape.head_m
    return Tube("hat", along_m, 0.33 * shape.head_m, radial_scale, partial(head_rings, profile=profile * shape.head_m))
