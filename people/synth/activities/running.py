"""A frame of a running cycle."""

import numpy as np

from people.synth.activities.limbs import (
    Joints,
    Trunk,
    limb_direction,
    lowest_sole_m,
    place_foot,
    place_trunk,
    raise_body,
)
from people.synth.activities.proportions import SIDES, Proportions

TOE_OFF = 0.38  # end of a foot's stance, as a fraction of the cycle; both feet are off the ground after each toe-off
# Percent of the cycle (0: the foot strikes) and degrees, of a moderate run: thigh to the vertical (forward positive), knee
# flexion, sole to the ground (toes up positive). The ranges are those that textbooks of running biomechanics give, among them
# Novacheck, "The biomechanics of running", Gait and Posture 7 (1998).
_CURVES_DEG = {
    "thigh": ((0, 28), (10, 19), (20, 4), (30, -13), (38, -23), (46, -24), (55, -9), (65, 17), (76, 41), (86, 43), (94, 34)),
    "knee": ((0, 17), (8, 32), (15, 41), (25, 33), (38, 17), (46, 34), (55, 75), (65, 106), (74, 100), (84, 62), (94, 22)),
    "foot": ((0, 7), (5, 0), (18, 0), (25, -8), (32, -30), (38, -50), (46, -62), (58, -66), (70, -52), (82, -18), (94, 6)),
}


def pose(body: Proportions, rng: np.random.Generator) -> Joints:
    """A random phase of the cycle of somebody between a slow jog and a sprint."""
    phase, pace = float(rng.random()), float(rng.uniform(0.0, 1.0))
    lean = np.radians(3 + 9 * pace + rng.normal(0, 2.5))
    counter_turn = np.radians(4 + 9 * pace) * np.cos(2 * np.pi * (phase - 0.05))
    trunk = Trunk(
        lean=lean,
        stoop=np.radians(rng.uniform(0, 10)),
        pelvis_turn=-0.5 * counter_turn,
        shoulder_turn=counter_turn,
        roll=np.radians(rng.normal(0, 2)),
        head_forward=np.radians(rng.uniform(2, 14)),
    )
    joints = place_trunk(body, trunk)
    narrowing, toe_out = np.radians(rng.uniform(1.0, 5.0)), np.radians(rng.uniform(0, 10))
    for side, sign in SIDES:
        own_phase = (phase + (0.0 if sign > 0 else 0.5)) % 1.0
        _place_leg(joints, body, side, own_phase, pace, (-sign * narrowing, sign * toe_out))
    _place_arms(joints, body, phase, pace, lean, rng)
    return raise_body(joints, _height_m(joints, body, phase, pace))


def _angle(name: str, phase: float) -> float:
    percent, degrees = np.array(_CURVES_DEG[name], float).T
    return float(np.radians(np.interp(100 * phase, percent, degrees, period=100)))


def _place_leg(
    joints: Joints, body: Proportions, side: str, phase: float, pace: float, tilt_and_toe_out: tuple[float, float]
) -> None:
    """Thigh and shank by the cycle's angles; a faster runner swings thighs further and lifts the heel higher."""
    sideways, toe_out = tilt_and_toe_out
    thigh = _angle("thigh", phase) * (0.72 + 0.5 * pace)
    is_swing = phase > TOE_OFF
    knee = _angle("knee", phase) * ((0.72 + 0.44 * pace) if is_swing else 1.0)
    hip = joints[f"{side}_hip"]
    joints[f"{side}_knee"] = hip + body.length_m[f"{side}_knee"] * limb_direction(thigh, sideways)
    joints[f"{side}_ankle"] = joints[f"{side}_knee"] + body.length_m[f"{side}_ankle"] * limb_direction(
        thigh - knee, 0.3 * sideways
    )
    place_foot(joints, body, side, _angle("foot", phase), toe_out)


def _place_arms(joints: Joints, body: Proportions, phase: float, pace: float, lean: float, rng: np.random.Generator) -> None:
    """Elbows near a right angle; each arm swings against the leg of its side, the hand inwards in front of the chest."""
    middle, swing = np.radians(rng.uniform(-16, -6)), np.radians(16 + 26 * pace)
    elbow, out, inwards = np.radians(rng.uniform(72, 112)), np.radians(rng.uniform(10, 22)), np.radians(rng.uniform(4, 26))
    for side, sign in SIDES:
        own_phase = phase + (0.0 if sign > 0 else 0.5)
        upper = lean + middle - swing * np.cos(2 * np.pi * (own_phase + 0.08))
        bend = elbow + np.radians(14) * np.cos(2 * np.pi * (own_phase + 0.58))
        forearm = limb_direction(upper + bend, -sign * inwards)
        elbow_m = joints[f"{side}_shoulder"] + body.length_m[f"{side}_elbow"] * limb_direction(upper, sign * out)
        joints[f"{side}_elbow"] = elbow_m
        joints[f"{side}_wrist"] = elbow_m + body.length_m[f"{side}_wrist"] * forearm
        joints[f"{side}_hand"] = joints[f"{side}_wrist"] + body.length_m[f"{side}_hand"] * forearm


def _height_m(joints: Joints, body: Proportions, phase: float, pace: float) -> float:
    """The rise that puts the lower foot on the ground, or above it during flight, where the body follows a parabola."""
    lowest_m = min(lowest_sole_m(joints, body, side) for side, _ in SIDES)
    in_flight = (phase % 0.5 - TOE_OFF) / (0.5 - TOE_OFF)
    flight_m = (0.035 + 0.06 * pace) * 4 * in_flight * (1 - in_flight) if in_flight > 0 else 0.0
    return flight_m - lowest_m
