"""Tubes of the body: trunk, head, hair and limbs; tables are in body heights of an average adult."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from people.synth.body.shape import (
    COLUMNS,
    FRONT,
    HEAD_PROFILE,
    LEFT,
    Rings,
    Shape,
    Skeleton,
    hair_region,
    limb_rings,
    trunk_rings,
    unit_vectors,
)
from people.synth.clothing.outfit import Outfit

# level from neck (0) to hips (1), half width (male, female), half depth (male, female), shift forward
_TORSO = np.array([
    (-0.24, 0.034, 0.029, 0.034, 0.030, 0.012), (-0.10, 0.037, 0.031, 0.037, 0.032, 0.006),
    (-0.05, 0.048, 0.042, 0.042, 0.037, 0.0), (0.00, 0.080, 0.071, 0.046, 0.041, -0.004),
    (0.06, 0.104, 0.093, 0.054, 0.048, -0.004), (0.16, 0.106, 0.093, 0.066, 0.060, 0.000),
    (0.32, 0.101, 0.088, 0.071, 0.066, 0.004), (0.48, 0.093, 0.079, 0.067, 0.059, 0.004),
    (0.64, 0.087, 0.075, 0.063, 0.056, 0.003), (0.80, 0.091, 0.087, 0.064, 0.064, 0.000),
    (0.94, 0.097, 0.101, 0.068, 0.073, -0.004), (1.06, 0.093, 0.100, 0.067, 0.074, -0.006),
    (1.15, 0.080, 0.088, 0.056, 0.062, -0.004), (1.24, 0.020, 0.020, 0.020, 0.020, 0.0),
])  # fmt: skip
# bones from the shoulder, half width, half depth
_ARM = np.array([
    (-0.13, 0.003, 0.003), (-0.085, 0.015, 0.017), (0.03, 0.0285, 0.031), (0.20, 0.0295, 0.032), (0.50, 0.026, 0.029),
    (0.80, 0.0235, 0.025), (1.00, 0.0225, 0.0235), (1.20, 0.023, 0.0245), (1.50, 0.0195, 0.021), (1.85, 0.0155, 0.017),
    (2.00, 0.0135, 0.0165), (2.25, 0.013, 0.021), (2.55, 0.012, 0.022), (2.85, 0.009, 0.016), (3.00, 0.002, 0.004),
])  # fmt: skip
# bones from the hip, radius (male, female), shift forward
_LEG = np.array([
    (-0.06, 0.044, 0.046, -0.004), (0.08, 0.051, 0.055, -0.002), (0.25, 0.050, 0.054, 0.0), (0.50, 0.044, 0.046, 0.0),
    (0.75, 0.037, 0.037, 0.0), (0.93, 0.033, 0.032, 0.001), (1.00, 0.0325, 0.0315, 0.002), (1.08, 0.031, 0.030, 0.0),
    (1.25, 0.0335, 0.0325, -0.006), (1.40, 0.0325, 0.0315, -0.006), (1.65, 0.026, 0.0245, -0.003), (1.86, 0.0205, 0.019, 0.0),
    (2.04, 0.0205, 0.019, 0.0),
])  # fmt: skip
# distance in front of the ankle, half width, height of the upper side above the sole
_FOOT = np.array([
    (-0.038, 0.004, 0.020), (-0.031, 0.015, 0.040), (-0.014, 0.019, 0.056), (0.018, 0.021, 0.056), (0.045, 0.024, 0.042),
    (0.078, 0.027, 0.030), (0.102, 0.024, 0.023), (0.117, 0.015, 0.016), (0.122, 0.004, 0.008),
])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tube:
    """One tube: nominal distances of its rings from the upper end, girth, radial scale of each vertex, and ring placement."""

    name: str
    along_m: Float[np.ndarray, " ring"]
    girth_m: float
    radial_scale: Float[np.ndarray, "ring column"]
    rings: Callable[[Skeleton], Rings]


def elliptic_rings(count: int) -> Float[np.ndarray, "ring column"]:
    """Radial scale 1 everywhere: the rings are ellipses."""
    return np.ones((count, COLUMNS + 1), np.float32)


def torso(shape: Shape, outfit: Outfit) -> Tube:
    """Neck, shoulders, chest, belly and seat; body mass index widens the waist most, in men mainly the belly."""
    height, is_female = shape.height_m, shape.sex == "female"
    level = _TORSO[:, 0]
    bmi_ratio = shape.bmi / 22.5
    chest, waist, hips, _, _ = shape.girth
    girth = np.interp(level, [0.2, 0.64, 1.0], [chest, waist, hips])
    bmi_exponent = np.interp(level, [-0.2, 0.06, 0.64, 1.0], [0.25, 0.35, 0.9, 0.65])
    ease = outfit.torso_ease(level)
    half_side_m = (_TORSO[:, 2 if is_female else 1] * girth * bmi_ratio**bmi_exponent + ease) * height
    half_front_m = (_TORSO[:, 4 if is_female else 3] * girth * bmi_ratio ** (1.2 * bmi_exponent) + ease) * height
    belly = np.exp(-(((level - 0.66) / 0.22) ** 2)) * (0.006 if is_female else 0.016) * max(bmi_ratio - 0.95, 0) * 3
    radial_scale = elliptic_rings(len(level))
    bust = np.exp(-(((level - 0.33) / 0.09) ** 2))[:, None] * (0.26 if is_female else 0.04)
    radial_scale = radial_scale + bust * sum(
        np.exp(-(((np.arctan2(FRONT, LEFT) - angle) / 0.38) ** 2)) for angle in (np.pi / 2 - 0.42, np.pi / 2 + 0.42)
    )
    seat = np.exp(-(((level - 1.03) / 0.1) ** 2))[:, None] * (0.10 if is_female else 0.07)
    radial_scale = radial_scale + seat * np.exp(-(((np.arctan2(-FRONT, LEFT) - np.pi / 2) / 0.7) ** 2))
    rings = partial(
        trunk_rings, level=level, half_side_m=half_side_m, half_front_m=half_front_m, forward_m=(_TORSO[:, 5] + belly) * height
    )
    return Tube("torso", (level - level[0]) * 0.283 * height, float(5.5 * half_side_m.mean()), radial_scale, rings)


def head(shape: Shape) -> Tube:
    """Skull and face, hair included where it lies on the skull."""
    height = shape.height_m
    reach, thickness = hair_region(shape.hair_style)
    from_back = np.abs(np.arctan2(LEFT, -FRONT))
    radial_scale = 1 + thickness * np.clip((reach[:, None] - from_back) / 0.3 + 0.5, 0, 1)
    front_column = np.argmax(FRONT)
    radial_scale[5, front_column] += 0.16
    radial_scale[6, front_column] += 0.10
    radial_scale[4, front_column] += 0.03
    rings = partial(head_rings, profile=HEAD_PROFILE * shape.head_m)
    return Tube("head", (HEAD_PROFILE[0, 0] - HEAD_PROFILE[:, 0]) * 1.35 * height, 0.28 * height, radial_scale, rings)


def head_rings(skeleton: Skeleton, *, profile: Float[np.ndarray, "ring 4"]) -> Rings:
    """Rings round the skull; rows of `profile` (m) are height, half width, half depth and shift forward."""
    left, up, forward = (axis[:, None] for axis in skeleton.head)
    profile = profile.astype(np.float32)[:, :, None]
    middle = skeleton.joint["skull"][:, None] + profile[:, 0] * up + profile[:, 3] * forward
    return Rings(middle, profile[:, 1] * left, profile[:, 2] * forward)


def hair(shape: Shape) -> list[Tube]:
    """Hanging hair: a bob round the neck, long hair on the back or a ponytail."""
    if shape.hair_style in ("bald", "short"):
        return []
    scale_m = shape.height_m * shape.head
    length, width, depth = {
        "bob": (0.045, 0.044, 0.027),
        "long": (0.17, 0.046, 0.022),
        "tail": (0.12, 0.017, 0.018),
        "flowing": (0.18, 0.064, 0.034),
    }[shape.hair_style]
    along = np.array([0.0, 0.15, 0.5, 1.0, 1.4, 1.8, 2.0])
    profile = np.array([0.2, 0.8, 1.0, 1.0, 1.0, 0.8, 0.2])
    rings = partial(
        _hair_rings,
        scale_m=scale_m,
        length=length,
        style=shape.hair_style,
        along=along,
        width=width * scale_m * profile,
        depth=depth * scale_m * profile,
    )
    return [Tube("hair", along / 2 * (length + 0.08) * scale_m, 6 * width * scale_m, elliptic_rings(len(along)), rings)]


def _hair_rings(
    skeleton: Skeleton, *, scale_m: float, length: float, style: str, along: np.ndarray, width: np.ndarray, depth: np.ndarray
) -> Rings:
    left, up, forward = skeleton.head
    offset_m = {"bob": 0.034, "long": 0.045, "tail": 0.062, "flowing": 0.036}[style] * scale_m
    top = skeleton.joint["skull"] + 0.02 * scale_m * up - offset_m * forward
    nape = skeleton.joint["skull"] - 0.055 * scale_m * up - (offset_m + 0.004 * scale_m) * forward
    # Thick hair rests on the shoulder blades instead of hanging vertically from the nape.
    backward_ratio = {"flowing": 0.42}.get(style, 0.1)
    end = nape - length * scale_m * skeleton.chest[1] - (backward_ratio * length * scale_m) * skeleton.chest[2]
    return limb_rings([top, nape, end], left, along, width, depth, np.zeros(len(along)))


def leg(side: str, shape: Shape, outfit: Outfit) -> Tube:
    """Thigh, knee and shank with the ease of trousers."""
    height, is_female = shape.height_m, shape.sex == "female"
    along = _LEG[:, 0]
    bmi_scale = (shape.bmi / 22.5) ** np.interp(along, [0, 1, 2], [0.6, 0.45, 0.3])
    radius_m = ((_LEG[:, 2] if is_female else _LEG[:, 1]) * bmi_scale * shape.girth[3] + outfit.leg_ease(along)) * height
    limb = partial(_limb_rings, side=side, joints=("hip", "knee", "ankle"), axes_of="pelvis", along=along)
    rings = partial(limb, half_m=np.stack([radius_m, radius_m], axis=1), forward_m=_LEG[:, 3] * height)
    return Tube(
        f"{side}_leg", (along - along[0]) * 0.245 * height, float(6 * radius_m.mean()), elliptic_rings(len(along)), rings
    )


def arm(side: str, shape: Shape, outfit: Outfit) -> Tube:
    """Upper arm, forearm and hand with the ease of the sleeve."""
    height, is_female = shape.height_m, shape.sex == "female"
    along = _ARM[:, 0]
    girth = (shape.bmi / 22.5) ** np.interp(along, [0, 1, 2], [0.6, 0.5, 0.2])[:, None] * shape.girth[4]
    half_m = (_ARM[:, 1:] * (girth * (0.92 if is_female else 1.0)) + outfit.sleeve_ease(along)[:, None]) * height
    limb = partial(_limb_rings, side=side, joints=("shoulder", "elbow", "wrist", "tip"), axes_of="chest", along=along)
    rings = partial(limb, half_m=half_m, forward_m=np.zeros(len(along)))
    return Tube(f"{side}_arm", (along - along[0]) * 0.15 * height, float(6 * half_m.mean()), elliptic_rings(len(along)), rings)


def _limb_rings(
    skeleton: Skeleton,
    *,
    side: str,
    joints: tuple[str, ...],
    axes_of: str,
    along: Float[np.ndarray, " ring"],
    half_m: Float[np.ndarray, "ring 2"],
    forward_m: Float[np.ndarray, " ring"],
) -> Rings:
    points = [skeleton.joint[f"{side}_{joint}"] for joint in joints]
    return limb_rings(points, getattr(skeleton, axes_of)[0], along, half_m[:, 0], half_m[:, 1], forward_m)


def foot(side: str, shape: Shape, outfit: Outfit) -> Tube:
    """A shoe from heel to toes."""
    height = shape.height_m
    profile = _FOOT * height
    width_scale, height_scale = outfit.shoe_scale
    radial_scale = elliptic_rings(len(profile))
    # The sole is flatter than the upper.
    radial_scale = radial_scale * np.where(FRONT < -0.2, 1.08, 1.0)
    rings = partial(_foot_rings, side=side, height=height, profile=profile, width_scale=width_scale, height_scale=height_scale)
    return Tube(f"{side}_foot", profile[:, 0] - profile[0, 0], 0.16 * height, radial_scale, rings)


def _foot_rings(
    skeleton: Skeleton,
    *,
    side: str,
    height: float,
    profile: Float[np.ndarray, "ring 3"],
    width_scale: float,
    height_scale: float,
) -> Rings:
    ankle, ball = skeleton.joint[f"{side}_ankle"], skeleton.joint[f"{side}_foot"]
    bone = unit_vectors(ball - ankle)
    heading = unit_vectors(bone * np.array([1, 1, 0], np.float32) + np.array([0.3, 0, 0], np.float32))
    # The bone from ankle to ball slopes down by 0.38 rad against the sole.
    pitch = np.clip(np.arctan2(bone[:, 2], np.hypot(bone[:, 0], bone[:, 1])) + 0.376, -1.2, 0.6)[:, None]
    up = np.array([0, 0, 1], np.float32)
    toes = heading * np.cos(pitch) + up * np.sin(pitch)
    upward = up * np.cos(pitch) - heading * np.sin(pitch)
    side_axis = np.stack([-heading[:, 1], heading[:, 0], np.zeros_like(heading[:, 0])], axis=1)
    profile = profile.astype(np.float32)[:, :, None]
    sole = (ankle - 0.044 * height * upward)[:, None]
    half_height = profile[:, 2] * height_scale / 2
    middle = sole + profile[:, 0] * (0.5 + 0.5 * width_scale) * toes[:, None] + half_height * upward[:, None]
    return Rings(
        middle, profile[:, 1] * width_scale * side_axis[:, None], half_height * upward[:, None] * np.ones_like(toes[:, None])
    )
