"""Somebody who stands."""

import numpy as np

from people.synth.activities.arms import STANDING, draw_styles, place_arms
from people.synth.activities.limbs import Joints, Trunk, ankle_height_m, place_foot, place_leg, place_trunk, raise_body
from people.synth.activities.proportions import SIDES, Proportions


def pose(body: Proportions, rng: np.random.Generator) -> Joints:
    """Weight on both legs, on one leg, or with a foot set forward as in a short step; the trunk sways a little.

    Quiet standing keeps the trunk within a few degrees of the vertical and the feet about hip-wide; on one leg the pelvis
    moves over the standing foot and falls by some degrees on the other side (textbook ranges of posture).
    """
    weight_side = int(rng.choice((-1, 0, 1), p=(0.3, 0.4, 0.3)))
    is_step = bool(rng.random() < 0.22)
    trunk = Trunk(
        lean=np.radians(rng.normal(1.5, 3)),
        stoop=np.radians(rng.uniform(2, 14)),
        roll=np.radians(rng.normal(0, 1.5) - 1.5 * weight_side),
        pelvis_roll=np.radians(weight_side * rng.uniform(1, 5)),
        pelvis_turn=np.radians(rng.normal(0, 6)),
        shoulder_turn=np.radians(rng.normal(0, 9)),
        head_forward=np.radians(rng.uniform(4, 26)),
    )
    joints = place_trunk(body, trunk)
    ankles = _ankles(body, weight_side, is_step, rng)
    pelvis_m = _pelvis_height_m(joints, body, ankles) * float(rng.uniform(0.995, 1.0))
    for side, sign in SIDES:
        toe_out = sign * np.radians(rng.uniform(2, 24))
        pole = np.array([1.0, 0.6 * np.sin(toe_out), 0.0])
        place_leg(joints, body, side, ankles[side] - np.array([0.0, 0.0, pelvis_m]), pole)
        place_foot(joints, body, side, 0.0, toe_out)
    joints = raise_body(joints, pelvis_m)
    place_arms(joints, body, draw_styles(STANDING, ("hanging", "pocket"), rng), rng)
    return joints


def _ankles(body: Proportions, weight_side: int, is_step: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Positions of the ankles above the soles, relative to the ground below the pelvis (m)."""
    half_m, height_m = body.height_m * rng.uniform(0.035, 0.10), body.height_m
    shift_m = weight_side * 0.5 * half_m
    apart_m = height_m * (rng.uniform(0.08, 0.19) if is_step else abs(rng.normal(0, 0.02))) * rng.choice((-1, 1))
    ankles = {}
    for side, sign in SIDES:
        forward_m = 0.5 * sign * apart_m - (0.0 if is_step else 0.015 * height_m)
        if weight_side == -sign:  # the leg without weight stands a little forward and outwards
            forward_m += height_m * rng.uniform(0.0, 0.07)
        ankles[side] = np.array([forward_m, sign * half_m - shift_m, ankle_height_m(body, 0.0)])
    return ankles


def _pelvis_height_m(joints: Joints, body: Proportions, ankles: dict[str, np.ndarray]) -> float:
    """The highest pelvis that the legs reach, each leg almost straight at most."""
    limits_m = []
    for side, _ in SIDES:
        hip, ankle = joints[f"{side}_hip"], ankles[side]
        leg_m = 0.997 * (body.length_m[f"{side}_knee"] + body.length_m[f"{side}_ankle"])
        vertical_m = np.sqrt(max(leg_m**2 - float(np.sum((hip - ankle)[:2] ** 2)), 0.01))
        limits_m.append(float(ankle[2] - hip[2] + vertical_m))
    return min(limits_m)
