"""Age classes: an adult's walk is rescaled to the proportions and posture of a child, a teenager or an old person."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from people.records import JOINTS, Motion, Sex
from people.synth.body.shape import estimate_height_m

_LEGS = [i for i, name in enumerate(JOINTS) if name.split("_")[-1] in ("hip", "knee", "ankle", "foot")]
_ARMS = {side: [JOINTS.index(f"{side}_{name}") for name in ("elbow", "wrist", "hand")] for side in ("left", "right")}
_TRUNK = [JOINTS.index(name) for name in ("spine", "neck", "head", "left_shoulder", "right_shoulder")]
_PELVIS = JOINTS.index("pelvis")


@dataclass(frozen=True)
class AgeProfile:
    """Uniform ranges of an age class; ratios are relative to the adult walker, `head_ratio` to an adult of equal height."""

    age_years: tuple[float, float]
    stature_ratio: tuple[float, float]
    leg_ratio: tuple[float, float]
    head_ratio: tuple[float, float]
    bmi: tuple[float, float] | None  # kg/m2; None: as adults of that sex
    stoop_deg: tuple[float, float]


AGE_PROFILES = {
    "young": AgeProfile((5.0, 11.0), (0.62, 0.76), (0.80, 0.88), (1.38, 1.50), (19.0, 22.0), (0.0, 0.0)),
    "teenager": AgeProfile((13.0, 18.0), (0.90, 0.98), (0.98, 1.02), (1.05, 1.12), (17.0, 20.0), (0.0, 0.0)),
    "adult": AgeProfile((24.0, 48.0), (0.98, 1.02), (0.98, 1.02), (1.0, 1.0), None, (0.0, 0.0)),
    "old": AgeProfile((68.0, 85.0), (0.94, 0.99), (0.96, 1.0), (1.0, 1.04), None, (6.0, 14.0)),
}


def apply_age(motion: Motion, age: str, sex: Sex, rng: np.random.Generator) -> tuple[Motion, float]:
    """The walk of a person of that age and sex, and the head's size relative to an adult of the same height.

    Joints are scaled by the stature, legs also by the leg ratio, and the trunk leans forward by the stoop. The distance walked
    is scaled with leg length, so that standing feet do not slide.
    """
    profile = AGE_PROFILES[age]
    age_years, stature_ratio, leg_ratio, head_ratio = (
        float(rng.uniform(*span)) for span in (profile.age_years, profile.stature_ratio, profile.leg_ratio, profile.head_ratio)
    )
    stoop_rad = np.radians(rng.uniform(*profile.stoop_deg))
    height_m = stature_ratio * (motion.height_m or estimate_height_m(motion))
    bmi = float(rng.uniform(*profile.bmi)) if profile.bmi else None
    joints_m = _lean_trunk(_scale_legs(motion.joints_m.astype(np.float32) * np.float32(stature_ratio), leg_ratio), stoop_rad)
    return replace(
        motion,
        joints_m=joints_m,
        forward_m=(motion.forward_m * (stature_ratio * leg_ratio)).astype(np.float32),
        sex=sex,
        age_years=age_years,
        height_m=height_m,
        weight_kg=None if bmi is None else bmi * height_m**2,
    ), head_ratio


def _scale_legs(joints_m: Float[np.ndarray, "frame joint 3"], leg_ratio: float) -> Float[np.ndarray, "frame joint 3"]:
    """Legs scaled towards the ground below the pelvis, all other joints lowered to match."""
    scaled_m = joints_m.copy()
    scaled_m[..., 2] -= joints_m[:, _PELVIS, 2, None] * np.float32(1 - leg_ratio)
    scaled_m[:, _LEGS] = joints_m[:, _LEGS] * np.array([leg_ratio, 1, leg_ratio], np.float32)
    return scaled_m


def _lean_trunk(joints_m: Float[np.ndarray, "frame joint 3"], stoop_rad: float) -> Float[np.ndarray, "frame joint 3"]:
    """The trunk rotated forward about the pelvis; arms are translated with the shoulders."""
    leaned_m = joints_m.copy()
    rotation = np.array(
        [[np.cos(stoop_rad), 0, -np.sin(stoop_rad)], [0, 1, 0], [np.sin(stoop_rad), 0, np.cos(stoop_rad)]], np.float32
    )
    pelvis = joints_m[:, [_PELVIS]]
    leaned_m[:, _TRUNK] = pelvis + (joints_m[:, _TRUNK] - pelvis) @ rotation
    for side, arm_joints in _ARMS.items():
        shoulder = JOINTS.index(f"{side}_shoulder")
        leaned_m[:, arm_joints] += leaned_m[:, [shoulder]] - joints_m[:, [shoulder]]
    return leaned_m
