"""What age does to proportions and posture: a grown walker's motion becomes a child's, a teenager's or an old person's."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from people.records import JOINTS, Motion, Sex
from people.synth.body.shape import height_of

_LEGS = [i for i, name in enumerate(JOINTS) if name.split("_")[-1] in ("hip", "knee", "ankle", "foot")]
_ARMS = {side: [JOINTS.index(f"{side}_{name}") for name in ("elbow", "wrist", "hand")] for side in ("left", "right")}
_TRUNK = [JOINTS.index(name) for name in ("spine", "neck", "head", "left_shoulder", "right_shoulder")]
_PELVIS = JOINTS.index("pelvis")


@dataclass(frozen=True)
class Growth:
    """One age's spans: years, height and legs against the grown walker's, head against its height's, kg/m2, stoop."""

    age_years: tuple[float, float]
    stature: tuple[float, float]
    legs: tuple[float, float]
    head: tuple[float, float]
    bmi: tuple[float, float] | None  # None: as adults of that sex
    stoop_deg: tuple[float, float]


GROWTH = {
    "young": Growth((5.0, 11.0), (0.62, 0.76), (0.80, 0.88), (1.38, 1.50), (19.0, 22.0), (0.0, 0.0)),
    "teenager": Growth((13.0, 18.0), (0.90, 0.98), (0.98, 1.02), (1.05, 1.12), (17.0, 20.0), (0.0, 0.0)),
    "adult": Growth((24.0, 48.0), (0.98, 1.02), (0.98, 1.02), (1.0, 1.0), None, (0.0, 0.0)),
    "old": Growth((68.0, 85.0), (0.94, 0.99), (0.96, 1.0), (1.0, 1.04), None, (6.0, 14.0)),
}


def aged(motion: Motion, age: str, sex: Sex, rng: np.random.Generator) -> tuple[Motion, float]:
    """The walk of a person of that age and sex, and the head's size against an adult's of the same height.

    Joints shrink with the height, legs by their own share more, and the trunk leans about the pelvis by the stoop; the person
    walks on by as much less as the legs are shorter, so that feet stay where they step.
    """
    growth = GROWTH[age]
    years, stature, legs, head = (
        float(rng.uniform(*span)) for span in (growth.age_years, growth.stature, growth.legs, growth.head)
    )
    stoop = np.radians(rng.uniform(*growth.stoop_deg))
    height_m = stature * (motion.height_m or height_of(motion))
    bmi = float(rng.uniform(*growth.bmi)) if growth.bmi else None
    joints_m = _stooped(_short_legged(motion.joints_m.astype(np.float32) * np.float32(stature), legs), stoop)
    return replace(
        motion,
        joints_m=joints_m,
        forward_m=(motion.forward_m * (stature * legs)).astype(np.float32),
        sex=sex,
        age_years=years,
        height_m=height_m,
        weight_kg=None if bmi is None else bmi * height_m**2,
    ), head


def _short_legged(joints_m: Float[np.ndarray, "frame joint 3"], legs: float) -> Float[np.ndarray, "frame joint 3"]:
    """Legs scaled towards the ground below the pelvis, the rest let down onto them."""
    moved = joints_m.copy()
    moved[..., 2] -= joints_m[:, _PELVIS, 2, None] * np.float32(1 - legs)
    moved[:, _LEGS] = joints_m[:, _LEGS] * np.array([legs, 1, legs], np.float32)
    return moved


def _stooped(joints_m: Float[np.ndarray, "frame joint 3"], stoop: float) -> Float[np.ndarray, "frame joint 3"]:
    """The trunk turned forward about the pelvis; arms hang from the shoulders as before."""
    moved = joints_m.copy()
    turn = np.array([[np.cos(stoop), 0, -np.sin(stoop)], [0, 1, 0], [np.sin(stoop), 0, np.cos(stoop)]], np.float32)
    pelvis = joints_m[:, [_PELVIS]]
    moved[:, _TRUNK] = pelvis + (joints_m[:, _TRUNK] - pelvis) @ turn
    for side, arm in _ARMS.items():
        shoulder = JOINTS.index(f"{side}_shoulder")
        moved[:, arm] += moved[:, [shoulder]] - joints_m[:, [shoulder]]
    return moved
