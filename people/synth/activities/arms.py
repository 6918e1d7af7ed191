"""Arms of people who stand or sit; targets of the wrists are in body heights along the chest's axes.

The positions are everyday ones, with joints within the ranges of motion that textbooks of anatomy give (elbow flexion up to
about 145 degrees, shoulder abduction without a raised shoulder up to about 90 degrees).
"""

import numpy as np

from people.synth.activities.limbs import Joints, Vector, bend_limb, chest_axes, limb_direction, unit
from people.synth.activities.proportions import SIDES, Proportions

# style, and the shares among people who stand and who sit
STANDING = {
    "hanging": 0.34,
    "folded": 0.12,
    "pocket": 0.13,
    "akimbo": 0.08,
    "phone": 0.13,
    "reading": 0.08,
    "clasped": 0.07,
    "back": 0.05,
}
SITTING = {"thigh": 0.36, "clasped": 0.16, "seat": 0.14, "phone": 0.10, "reading": 0.14, "folded": 0.10}
_ONE_HANDED = ("phone", "reading")  # the other arm may do something else


def draw_styles(shares: dict[str, float], resting: tuple[str, ...], rng: np.random.Generator) -> tuple[str, str]:
    """Styles of the left and the right arm; besides a hand that is busy, the other one rests."""
    names = list(shares)
    weights = np.array([shares[name] for name in names])
    style = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    if style in _ONE_HANDED and not (style == "reading" and rng.random() < 0.4):
        other = resting[int(rng.integers(len(resting)))]
        return (style, other) if rng.random() < 0.5 else (other, style)
    if style in ("hanging", "pocket", "akimbo", "thigh") and rng.random() < 0.25:
        other = resting[int(rng.integers(len(resting)))]
        return (style, other) if rng.random() < 0.5 else (other, style)
    return style, style


def place_arms(joints: Joints, body: Proportions, styles: tuple[str, str], rng: np.random.Generator) -> None:
    """Elbows, wrists and hands of both sides."""
    shared = rng.uniform(-1, 1, 3)  # both arms of one style differ little
    for (side, sign), style in zip(SIDES, styles, strict=True):
        vary = shared + 0.3 * rng.uniform(-1, 1, 3)
        if style == "hanging":
            _hang(joints, body, side, sign, vary)
            continue
        target, pole = _target(joints, body, side, sign, style, vary)
        _reach(joints, body, side, target, pole)


def _hang(joints: Joints, body: Proportions, side: str, sign: int, vary: Vector) -> None:
    """The arm hangs beside the hips, far enough out not to touch them, with the elbow a little bent."""
    upper_m, lower_m = body.length_m[f"{side}_elbow"], body.length_m[f"{side}_wrist"]
    gap_m = body.hip_half_width_m + 0.032 * body.height_m - abs(joints[f"{side}_shoulder"][1])
    outwards = np.arcsin(np.clip(gap_m / (upper_m + lower_m), 0.03, 0.5)) + np.radians(3 + 2.5 * vary[0])
    pitch, elbow = np.radians(-4 + 7 * vary[1]), np.radians(16 + 10 * vary[2])
    joints[f"{side}_elbow"] = joints[f"{side}_shoulder"] + upper_m * limb_direction(pitch, sign * 1.2 * outwards)
    forearm = limb_direction(pitch + elbow, sign * 0.6 * outwards)
    joints[f"{side}_wrist"] = joints[f"{side}_elbow"] + lower_m * forearm
    joints[f"{side}_hand"] = joints[f"{side}_wrist"] + body.length_m[f"{side}_hand"] * forearm


def _reach(joints: Joints, body: Proportions, side: str, target: Vector, pole: Vector) -> None:
    lengths_m = body.length_m[f"{side}_elbow"], body.length_m[f"{side}_wrist"]
    elbow, wrist = bend_limb(joints[f"{side}_shoulder"], target, lengths_m, pole)
    joints[f"{side}_elbow"], joints[f"{side}_wrist"] = elbow, wrist
    joints[f"{side}_hand"] = wrist + body.length_m[f"{side}_hand"] * unit(wrist - elbow)


def _target(joints: Joints, body: Proportions, side: str, sign: int, style: str, vary: Vector) -> tuple[Vector, Vector]:
    """Where the wrist goes, and the direction to which the elbow bends."""
    forward, left, up = chest_axes(joints)
    out, height_m = sign * left, body.height_m
    depth = (body.bmi / 22.5) ** 0.7  # thickness of the trunk relative to an average one's
    neck, pelvis = joints["neck"], joints["pelvis"]
    half_width = body.hip_half_width_m / height_m
    a, b, c = vary
    offsets = {  # from the neck or the pelvis: forward, outwards and up; then the pole's
        "folded": (
            neck,
            (0.085 * depth + 0.02 + 0.012 * sign, 0.01 + 0.01 * a, -0.155 + 0.012 * sign + 0.02 * b),
            (0.2, 0.9, -0.5),
        ),
        "pocket": (pelvis, (0.035 + 0.015 * a, half_width - 0.005, 0.035 + 0.012 * b), (-0.8, 0.6, 0.0)),
        "akimbo": (pelvis, (0.015 + 0.02 * a, half_width + 0.012, 0.085 + 0.012 * b), (-0.35, 0.9, 0.1)),
        "phone": (neck, (0.055 + 0.012 * a, 0.088 + 0.01 * b, 0.008 + 0.01 * c), (0.5, 0.6, -0.7)),
        "reading": (neck, (0.17 + 0.035 * a, 0.03 + 0.015 * b, -0.10 + 0.04 * c), (-0.1, 0.5, -0.9)),
        "clasped": (pelvis, (0.09 * depth + 0.025 + 0.012 * a, 0.035, 0.02 + 0.035 * b), (-0.4, 0.8, -0.2)),
        "back": (pelvis, (-0.085 * depth - 0.03, 0.03, 0.045 + 0.03 * b), (-0.3, 0.9, 0.0)),
        "seat": (pelvis, (-0.02 + 0.045 * a, half_width + 0.035, -0.015), (-0.8, 0.5, 0.0)),
    }
    if style == "thigh":
        hip, knee = joints[f"{side}_hip"], joints[f"{side}_knee"]
        above = np.array([0.0, 0.0, 0.058 * height_m * np.sqrt(depth)])
        return hip + (0.60 + 0.2 * a) * (knee - hip) + above, unit(-0.5 * forward + 0.8 * out - 0.2 * up)
    origin, (x, y, z), pole = offsets[style]
    return (
        origin + height_m * (x * forward + y * out + z * up),
        unit(pole[0] * forward + pole[1] * out + pole[2] * up),
    )
