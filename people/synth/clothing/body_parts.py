"""The tubes of the body itself - trunk, head, hair, limbs - in body heights, for an average adult, then personal."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from people.synth.body.shape import COLUMNS, FRONT, HEAD, LEFT, Rings, Shape, Skeleton, hair_region, limb, trunk, unit
from people.synth.clothing.outfit import Outfit

# share of the way from neck to hips, half width (man, woman), half depth (man, woman), shift forward
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
# bones from the hip, radius (man, woman), shift forward
_LEG = np.array([
    (-0.06, 0.044, 0.046, -0.004), (0.08, 0.051, 0.055, -0.002), (0.25, 0.050, 0.054, 0.0), (0.50, 0.044, 0.046, 0.0),
    (0.75, 0.037, 0.037, 0.0), (0.93, 0.033, 0.032, 0.001), (1.00, 0.0325, 0.0315, 0.002), (1.08, 0.031, 0.030, 0.0),
    (1.25, 0.0335, 0.0325, -0.006), (1.40, 0.0325, 0.0315, -0.006), (1.65, 0.026, 0.0245, -0.003), (1.86, 0.0205, 0.019, 0.0),
    (2.04, 0.0205, 0.019, 0.0),
])  # fmt: skip
# in front of the ankle, half width, height of the upper side above the sole
_FOOT = np.array([
    (-0.038, 0.004, 0.020), (-0.031, 0.015, 0.040), (-0.014, 0.019, 0.056), (0.018, 0.021, 0.056), (0.045, 0.024, 0.042),
    (0.078, 0.027, 0.030), (0.102, 0.024, 0.023), (0.117, 0.015, 0.016), (0.122, 0.004, 0.008),
])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Part:
    """One tube: its rings' nominal distances from its upper end, its girth (both metres), its swelling, where its rings are."""

    name: str
    along_m: Float[np.ndarray, " ring"]
    around_m: float
    swell: Float[np.ndarray, "ring column"]
    rings: Callable[[Skeleton], Rings]


def round_swell(count: int) -> Float[np.ndarray, "ring column"]:
    """Rings that are plain ellipses."""
    return np.ones((count, COLUMNS + 1), np.float32)


def torso(shape: Shape, outfit: Outfit) -> Part:
    """Neck, shoulders, chest, belly and seat; weight gathers round the waist, on men in front of it."""
    size, woman = shape.height_m, shape.sex == "female"
    share = _TORSO[:, 0]
    fat = shape.bmi / 22.5
    chest, waist, hips, _, _ = shape.girth
    own = np.interp(share, [0.2, 0.64, 1.0], [chest, waist, hips])
    power = np.interp(share, [-0.2, 0.06, 0.64, 1.0], [0.25, 0.35, 0.9, 0.65])
    ease = outfit.torso_ease(share)
    side = (_TORSO[:, 2 if woman else 1] * own * fat**power + ease) * size
    front = (_TORSO[:, 4 if woman else 3] * own * fat ** (1.2 * power) + ease) * size
    belly = np.exp(-(((share - 0.66) / 0.22) ** 2)) * (0.006 if woman else 0.016) * max(fat - 0.95, 0) * 3
    swell = round_swell(len(share))
    bust = np.exp(-(((share - 0.33) / 0.09) ** 2))[:, None] * (0.26 if woman else 0.04)
    swell = swell + bust * sum(
        np.exp(-(((np.arctan2(FRONT, LEFT) - at) / 0.38) ** 2)) for at in (np.pi / 2 - 0.42, np.pi / 2 + 0.42)
    )
    seat = np.exp(-(((share - 1.03) / 0.1) ** 2))[:, None] * (0.10 if woman else 0.07)
    swell = swell + seat * np.exp(-(((np.arctan2(-FRONT, LEFT) - np.pi / 2) / 0.7) ** 2))
    rings = partial(trunk, share=share, half_side_m=side, half_front_m=front, forward_m=(_TORSO[:, 5] + belly) * size)
    return Part("torso", (share - share[0]) * 0.283 * size, float(5.5 * side.mean()), swell, rings)


def head(shape: Shape) -> Part:
    """Skull and face, hair included where it lies on the skull."""
    size = shape.height_m
    reach, thick = hair_region(shape.hair_style)
    from_back = np.abs(np.arctan2(LEFT, -FRONT))
    swell = 1 + thick * np.clip((reach[:, None] - from_back) / 0.3 + 0.5, 0, 1)
    front = np.argmax(FRONT)
    swell[5, front] += 0.16
    swell[6, front] += 0.10
    swell[4, front] += 0.03
    rings = partial(head_rings, table=HEAD * shape.head_m)
    return Part("head", (HEAD[0, 0] - HEAD[:, 0]) * 1.35 * size, 0.28 * size, swell, rings)


def head_rings(frame: Skeleton, *, table: Float[np.ndarray, "ring 4"]) -> Rings:
    left, up, forward = (axis[:, None] for axis in frame.head)
    table = table.astype(np.float32)[:, :, None]
    middle = frame.joint["skull"][:, None] + table[:, 0] * up + table[:, 3] * forward
    return Rings(middle, table[:, 1] * left, table[:, 2] * forward)


def hair(shape: Shape) -> list[Part]:
    """Hair that hangs: a bob round the neck, long hair down the back, a tail."""
    if shape.hair_style in ("bald", "short"):
        return []
    size = shape.height_m * shape.head
    length, wide, deep = {
        "bob": (0.045, 0.044, 0.027),
        "long": (0.17, 0.046, 0.022),
        "tail": (0.12, 0.017, 0.018),
        "flowing": (0.18, 0.064, 0.034),
    }[shape.hair_style]
    along = np.array([0.0, 0.15, 0.5, 1.0, 1.4, 1.8, 2.0])
    profile = np.array([0.2, 0.8, 1.0, 1.0, 1.0, 0.8, 0.2])
    rings = partial(
        _hair_rings,
        size=size,
        length=length,
        style=shape.hair_style,
        along=along,
        wide=wide * size * profile,
        deep=deep * size * profile,
    )
    return [Part("hair", along / 2 * (length + 0.08) * size, 6 * wide * size, round_swell(len(along)), rings)]


def _hair_rings(
    frame: Skeleton, *, size: float, length: float, style: str, along: np.ndarray, wide: np.ndarray, deep: np.ndarray
) -> Rings:
    left, up, forward = frame.head
    back = {"bob": 0.034, "long": 0.045, "tail": 0.062, "flowing": 0.036}[style] * size
    top = frame.joint["skull"] + 0.02 * size * up - back * forward
    nape = frame.joint["skull"] - 0.055 * size * up - (back + 0.004 * size) * forward
    # Much hair lies on the shoulder blades instead of hanging straight from the nape.
    trail = {"flowing": 0.42}.get(style, 0.1)
    end = nape - length * size * frame.chest[1] - (trail * length * size) * frame.chest[2]
    return limb([top, nape, end], left, along, wide, deep, np.zeros(len(along)))


def leg(side: str, shape: Shape, outfit: Outfit) -> Part:
    """Thigh, knee and shank, as thick as the trousers that cover them."""
    size, woman = shape.height_m, shape.sex == "female"
    along = _LEG[:, 0]
    fat = (shape.bmi / 22.5) ** np.interp(along, [0, 1, 2], [0.6, 0.45, 0.3])
    radius = ((_LEG[:, 2] if woman else _LEG[:, 1]) * fat * shape.girth[3] + outfit.leg_ease(along)) * size
    place = partial(_limb_of, side=side, bones=("hip", "knee", "ankle"), frame_of="pelvis", along=along)
    rings = partial(place, half=np.stack([radius, radius], axis=1), forward=_LEG[:, 3] * size)
    return Part(f"{side}_leg", (along - along[0]) * 0.245 * size, float(6 * radius.mean()), round_swell(len(along)), rings)


def arm(side: str, shape: Shape, outfit: Outfit) -> Part:
    """Upper arm, forearm and hand, as thick as the sleeve that covers them."""
    size, woman = shape.height_m, shape.sex == "female"
    along = _ARM[:, 0]
    bare = (shape.bmi / 22.5) ** np.interp(along, [0, 1, 2], [0.6, 0.5, 0.2])[:, None] * shape.girth[4]
    half = (_ARM[:, 1:] * (bare * (0.92 if woman else 1.0)) + outfit.sleeve_ease(along)[:, None]) * size
    place = partial(_limb_of, side=side, bones=("shoulder", "elbow", "wrist", "tip"), frame_of="chest", along=along)
    rings = partial(place, half=half, forward=np.zeros(len(along)))
    return Part(f"{side}_arm", (along - along[0]) * 0.15 * size, float(6 * half.mean()), round_swell(len(along)), rings)


def _limb_of(
    frame: Skeleton,
    *,
    side: str,
    bones: tuple[str, ...],
    frame_of: str,
    along: Float[np.ndarray, " ring"],
    half: Float[np.ndarray, "ring 2"],
    forward: Float[np.ndarray, " ring"],
) -> Rings:
    points = [frame.joint[f"{side}_{bone}"] for bone in bones]
    return limb(points, getattr(frame, frame_of)[0], along, half[:, 0], half[:, 1], forward)


def foot(side: str, shape: Shape, outfit: Outfit) -> Part:
    """A shoe on the ground from heel to toes."""
    size = shape.height_m
    table = _FOOT * size
    wide, high = outfit.shoe_scale
    swell = round_swell(len(table))
    # The sole is flatter than the upper.
    swell = swell * np.where(FRONT < -0.2, 1.08, 1.0)
    rings = partial(_foot_rings, side=side, size=size, table=table, wide=wide, high=high)
    return Part(f"{side}_foot", table[:, 0] - table[0, 0], 0.16 * size, swell, rings)


def _foot_rings(
    frame: Skeleton, *, side: str, size: float, table: Float[np.ndarray, "ring 3"], wide: float, high: float
) -> Rings:
    ankle, ball = frame.joint[f"{side}_ankle"], frame.joint[f"{side}_foot"]
    bone = unit(ball - ankle)
    heading = unit(bone * np.array([1, 1, 0], np.float32) + np.array([0.3, 0, 0], np.float32))
    # The bone from ankle to ball slopes down by 0.38 rad against the sole.
    pitch = np.clip(np.arctan2(bone[:, 2], np.hypot(bone[:, 0], bone[:, 1])) + 0.376, -1.2, 0.6)[:, None]
    up = np.array([0, 0, 1], np.float32)
    toes = heading * np.cos(pitch) + up * np.sin(pitch)
    top = up * np.cos(pitch) - heading * np.sin(pitch)
    across = np.stack([-heading[:, 1], heading[:, 0], np.zeros_like(heading[:, 0])], axis=1)
    table = table.astype(np.float32)[:, :, None]
    sole = (ankle - 0.044 * size * top)[:, None]
    half = table[:, 2] * high / 2
    middle = sole + table[:, 0] * (0.5 + 0.5 * wide) * toes[:, None] + half * top[:, None]
    return Rings(middle, table[:, 1] * wide * across[:, None], half * top[:, None] * np.ones_like(toes[:, None]))
