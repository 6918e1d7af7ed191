"""A dressed body as one list of tubes: which rings, how wide, where; in body heights, for an average adult, then personal."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from people.synth.body import (
    COLUMNS,
    FRONT,
    HEAD,
    LEFT,
    Rings,
    Shape,
    Skeleton,
    faces,
    hair_region,
    limb,
    normals,
    surface,
    trunk,
    unit,
)
from people.synth.clothes import Outfit

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
_BOX = (np.abs(LEFT) ** 5 + np.abs(FRONT) ** 5) ** -0.2


@dataclass(frozen=True, eq=False)
class Part:
    """One tube: its rings' nominal distances from its upper end, its girth (both metres), its swelling, where its rings are."""

    name: str
    along_m: Float[np.ndarray, " ring"]
    around_m: float
    swell: Float[np.ndarray, "ring column"]
    rings: Callable[[Skeleton], Rings]


class Figure:
    """All tubes of a dressed person, and their triangles."""

    def __init__(self, shape: Shape, outfit: Outfit) -> None:
        self.shape = shape
        self.parts = _parts(shape, outfit)
        counts = [len(part.along_m) for part in self.parts]
        self.faces: Int[np.ndarray, "face 3"] = faces(counts)
        first = np.cumsum([0, *counts])
        ring = np.arange(first[-1])
        start, stop = np.repeat(first[:-1], counts), np.repeat(first[1:] - 1, counts)
        self._before, self._after = np.maximum(ring - 1, start), np.minimum(ring + 1, stop)
        self._swell = np.concatenate([part.swell for part in self.parts]).astype(np.float32)
        feet = [i for i, part in enumerate(self.parts) if part.name.endswith("foot")]
        self._feet = np.concatenate([np.arange(first[i], first[i + 1]) for i in feet])

    def vertices(
        self, frame: Skeleton
    ) -> tuple[Float[np.ndarray, "frame ring column 3"], Float[np.ndarray, "frame ring column 3"]]:
        """Places and outward normals of all vertices in some frames."""
        tubes = [part.rings(frame) for part in self.parts]
        rings = Rings(
            *(np.concatenate([getattr(tube, name) for tube in tubes], axis=1) for name in ("middle", "side", "front"))
        )
        places = surface(rings, self._swell)
        # Toes bend on the ground instead of passing through it.
        places[:, self._feet, :, 2] = np.maximum(places[:, self._feet, :, 2], 0.004)
        return places, normals(places, self._before, self._after)


def _parts(shape: Shape, outfit: Outfit) -> list[Part]:
    """The tubes of one person in one outfit."""
    size, woman = shape.height_m, shape.sex == "female"
    fat = shape.bmi / 22.5
    _, _, _, legs, arms = shape.girth
    parts = [_torso(shape, outfit), _head(shape), *_hair(shape)]
    leg = _LEG.copy()
    radius = (leg[:, 2] if woman else leg[:, 1]) * fat ** np.interp(leg[:, 0], [0, 1, 2], [0.6, 0.45, 0.3]) * legs
    radius = (radius + outfit.leg_ease(leg[:, 0])) * size
    arm = _ARM.copy()
    bare = fat ** np.interp(arm[:, 0], [0, 1, 2], [0.6, 0.5, 0.2])[:, None] * arms * (0.92 if woman else 1.0)
    half = (arm[:, 1:] * bare + outfit.sleeve_ease(arm[:, 0])[:, None]) * size
    for side in ("left", "right"):
        place = partial(_limb_of, side=side, bones=("hip", "knee", "ankle"), frame_of="pelvis", along=leg[:, 0])
        rings = partial(place, half=np.stack([radius, radius], axis=1), forward=leg[:, 3] * size)
        parts.append(
            Part(f"{side}_leg", (leg[:, 0] - leg[0, 0]) * 0.245 * size, float(6 * radius.mean()), _round(len(leg)), rings)
        )
        place = partial(_limb_of, side=side, bones=("shoulder", "elbow", "wrist", "tip"), frame_of="chest", along=arm[:, 0])
        rings = partial(place, half=half, forward=np.zeros(len(arm)))
        parts.append(
            Part(f"{side}_arm", (arm[:, 0] - arm[0, 0]) * 0.15 * size, float(6 * half.mean()), _round(len(arm)), rings)
        )
        parts.append(_foot(side, shape, outfit))
    if outfit.hem > 0:
        parts.append(_skirt(shape, outfit))
    if outfit.pack is not None:
        depth = 0.066 * fat * size
        rings = partial(_pack, size=size, back=depth)
        parts.append(Part("pack", np.array([0.0, 0.03, 0.06, 0.2, 0.34, 0.46, 0.5, 0.52]), 0.9, np.tile(_BOX, (8, 1)), rings))
    return parts


def _round(count: int) -> Float[np.ndarray, "ring column"]:
    return np.ones((count, COLUMNS + 1), np.float32)


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


def _torso(shape: Shape, outfit: Outfit) -> Part:
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
    swell = _round(len(share))
    bust = np.exp(-(((share - 0.33) / 0.09) ** 2))[:, None] * (0.26 if woman else 0.04)
    swell = swell + bust * sum(
        np.exp(-(((np.arctan2(FRONT, LEFT) - at) / 0.38) ** 2)) for at in (np.pi / 2 - 0.42, np.pi / 2 + 0.42)
    )
    seat = np.exp(-(((share - 1.03) / 0.1) ** 2))[:, None] * (0.10 if woman else 0.07)
    swell = swell + seat * np.exp(-(((np.arctan2(-FRONT, LEFT) - np.pi / 2) / 0.7) ** 2))
    rings = partial(trunk, share=share, half_side_m=side, half_front_m=front, forward_m=(_TORSO[:, 5] + belly) * size)
    return Part("torso", (share - share[0]) * 0.283 * size, float(5.5 * side.mean()), swell, rings)


def _head(shape: Shape) -> Part:
    """Skull and face, hair included where it lies on the skull."""
    size = shape.height_m
    reach, thick = hair_region(shape.hair_style)
    from_back = np.abs(np.arctan2(LEFT, -FRONT))
    swell = 1 + thick * np.clip((reach[:, None] - from_back) / 0.3 + 0.5, 0, 1)
    front = np.argmax(FRONT)
    swell[5, front] += 0.16
    swell[6, front] += 0.10
    swell[4, front] += 0.03
    scale = size * (0.97 if shape.sex == "female" else 1.0)
    rings = partial(_head_rings, table=HEAD * scale)
    return Part("head", (HEAD[0, 0] - HEAD[:, 0]) * 1.35 * size, 0.28 * size, swell, rings)


def _head_rings(frame: Skeleton, *, table: Float[np.ndarray, "ring 4"]) -> Rings:
    left, up, forward = (axis[:, None] for axis in frame.head)
    table = table.astype(np.float32)[:, :, None]
    middle = frame.joint["skull"][:, None] + table[:, 0] * up + table[:, 3] * forward
    return Rings(middle, table[:, 1] * left, table[:, 2] * forward)


def _hair(shape: Shape) -> list[Part]:
    """Hair that hangs: a bob round the neck, long hair down the back, a tail."""
    if shape.hair_style in ("bald", "short"):
        return []
    size = shape.height_m
    length, wide, deep = {"bob": (0.045, 0.044, 0.027), "long": (0.17, 0.046, 0.022), "tail": (0.12, 0.017, 0.018)}[
        shape.hair_style
    ]
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
    return [Part("hair", along / 2 * (length + 0.08) * size, 6 * wide * size, _round(len(along)), rings)]


def _hair_rings(
    frame: Skeleton, *, size: float, length: float, style: str, along: np.ndarray, wide: np.ndarray, deep: np.ndarray
) -> Rings:
    left, up, forward = frame.head
    back = {"bob": 0.034, "long": 0.045, "tail": 0.062}[style] * size
    top = frame.joint["skull"] + 0.02 * size * up - back * forward
    nape = frame.joint["skull"] - 0.055 * size * up - (back + 0.004 * size) * forward
    end = nape - length * size * frame.chest[1] - (0.1 * length * size) * frame.chest[2]
    return limb([top, nape, end], left, along, wide, deep, np.zeros(len(along)))


def _foot(side: str, shape: Shape, outfit: Outfit) -> Part:
    size = shape.height_m
    table = _FOOT * size
    wide, high = outfit.shoe_scale
    swell = _round(len(table))
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


def _skirt(shape: Shape, outfit: Outfit) -> Part:
    """A skirt or a coat's skirts: from the waist down to `hem` bones of the leg, as wide as both legs need."""
    size = shape.height_m
    along = np.concatenate([[-0.42, -0.2], np.linspace(0.0, outfit.hem, 7)])
    flare = 0.03 * outfit.flare * np.maximum(along, 0)
    woman = shape.sex == "female"
    hips = (0.104 if woman else 0.098) * shape.girth[2] * (shape.bmi / 22.5) ** 0.65 + outfit.skirt_ease
    wide = np.interp(along, [-0.42, -0.1, 0.1], [0.84, 0.96, 1.0]) * hips * size + flare * size
    deep = np.interp(along, [-0.42, -0.1, 0.1], [0.72, 0.93, 1.0]) * (hips * 0.84) * size + flare * size
    folds = 1 + 0.035 * np.cos(5 * np.arctan2(FRONT, LEFT) + 0.7) * np.maximum(along / outfit.hem, 0)[:, None]
    rings = partial(
        _skirt_rings, along=along.astype(np.float32), wide=wide.astype(np.float32), deep=deep.astype(np.float32), size=size
    )
    return Part("skirt", (along - along[0]) * 0.245 * size, float(5 * wide.mean()), folds, rings)


def _skirt_rings(frame: Skeleton, *, along: np.ndarray, wide: np.ndarray, deep: np.ndarray, size: float) -> Rings:
    left, up, forward = (axis[:, None] for axis in frame.pelvis)
    share = np.maximum(along, 0)[:, None]
    legs = []
    for side in ("left", "right"):
        hip, knee, ankle = (frame.joint[f"{side}_{name}"][:, None] for name in ("hip", "knee", "ankle"))
        legs.append(hip + np.minimum(share, 1) * (knee - hip) + np.maximum(share - 1, 0) * (ankle - knee))
    middle = (legs[0] + legs[1]) / 2 - np.minimum(along, 0)[:, None] * np.float32(0.245 * size) * up
    apart = legs[0] - legs[1]
    reach_side = np.abs(np.einsum("frk,fgk->fr", apart, left)) / 2
    reach_front = np.abs(np.einsum("frk,fgk->fr", apart, forward)) / 2
    side = np.maximum(wide, reach_side + np.float32(0.05 * size))
    front = deep + np.maximum(reach_front - np.float32(0.01 * size), 0)
    return Rings(middle, side[..., None] * left, front[..., None] * forward)


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
