"""Somebody who sits on a bench or a chair."""

import numpy as np

from people.records import Seat
from people.synth.activities.arms import SITTING, draw_styles, place_arms
from people.synth.activities.limbs import (
    Joints,
    Trunk,
    ankle_height_m,
    limb_direction,
    place_foot,
    place_leg,
    place_trunk,
    raise_body,
    unit,
)
from people.synth.activities.proportions import SIDES, Proportions

SEAT_HEIGHT_M: dict[Seat, float] = {"bench": 0.44, "chair": 0.46}  # of the upper side above the ground
MAX_RECLINE = np.radians(9.0)  # of the trunk, to what a seat's back allows
_HIP_ABOVE_SEAT = 0.054  # body heights: half a thigh
_LEGS = {"upright": 0.42, "stretched": 0.2, "drawn_back": 0.2, "crossed": 0.18}


def pose(body: Proportions, rng: np.random.Generator, seat: Seat) -> Joints:
    """Hips on the seat, thighs about horizontal; shanks upright, stretched, drawn back, or one leg over the other.

    Sitting people flex hips and knees by about 70 to 110 degrees; the trunk reclines by up to ten degrees and leans forward
    by up to some forty with a rounded back (textbook ranges of ergonomics).
    """
    seat_m = SEAT_HEIGHT_M[seat]
    lean = np.radians(float(rng.choice((rng.uniform(-9, 3), rng.uniform(3, 16), rng.uniform(16, 38)), p=(0.45, 0.35, 0.2))))
    trunk = Trunk(
        lean=max(lean, -MAX_RECLINE),
        stoop=np.radians(rng.uniform(4, 20)),
        roll=np.radians(rng.normal(0, 2.5)),
        shoulder_turn=np.radians(rng.normal(0, 7)),
        head_forward=np.radians(rng.uniform(-6, 22)),
    )
    joints = place_trunk(body, trunk)
    hip_m = np.mean([joints[f"{side}_hip"][2] for side, _ in SIDES])
    above_m = _HIP_ABOVE_SEAT * body.height_m * (body.bmi / 22.5) ** 0.4
    joints = raise_body(joints, seat_m + above_m - float(hip_m))
    styles = list(_LEGS)
    style = styles[int(rng.choice(len(styles), p=list(_LEGS.values())))]
    _place_legs(joints, body, style, seat_m, rng)
    place_arms(joints, body, draw_styles(SITTING, ("thigh", "seat"), rng), rng)
    return joints


def _place_legs(joints: Joints, body: Proportions, style: str, seat_m: float, rng: np.random.Generator) -> None:
    """Both legs in one style, a little differently; in `crossed` one thigh lies over the other."""
    knees_out = float(rng.choice((rng.uniform(-0.05, 0.06), rng.uniform(0.06, 0.45))))
    for side, sign in SIDES:
        own = "drawn_back" if style == "upright" and rng.random() < 0.15 else style
        _place_seated_leg(joints, body, (side, sign), own, (knees_out, seat_m), rng)
    if style == "crossed":
        upper, lower = ("left", "right") if rng.random() < 0.5 else ("right", "left")
        _cross_leg(joints, body, upper, lower, rng)


def _place_seated_leg(
    joints: Joints,
    body: Proportions,
    side_and_sign: tuple[str, int],
    style: str,
    knees_out_and_seat_m: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    (side, sign), (knees_out, seat_m) = side_and_sign, knees_out_and_seat_m
    thigh_m = body.length_m[f"{side}_knee"]
    ratio, pitch_deg = {
        "upright": (rng.uniform(0.86, 1.08), 0.0),
        "crossed": (rng.uniform(0.86, 1.08), 0.0),
        "stretched": (rng.uniform(1.2, 1.75), rng.uniform(0, 30)),
        "drawn_back": (rng.uniform(0.38, 0.75), rng.uniform(-42, -8)),
    }[style]
    hip, pitch = joints[f"{side}_hip"], np.radians(pitch_deg)
    pole = unit(np.array([1.0, 1.6 * sign * knees_out, 0.9]))
    sideways_m = sign * (abs(hip[1]) + (0.7 * knees_out + rng.uniform(-0.02, 0.03)) * thigh_m)
    for _ in range(20):
        ankle = np.array([ratio * thigh_m, sideways_m, ankle_height_m(body, pitch)])
        place_leg(joints, body, side, ankle, pole)
        if joints[f"{side}_knee"][2] >= seat_m - 0.01 or ratio < 0.9:
            break
        ratio -= 0.05  # so far out, the thigh would pass through the seat's edge
    place_foot(joints, body, side, pitch, sign * np.radians(rng.uniform(0, 22)))


def _cross_leg(joints: Joints, body: Proportions, upper: str, lower: str, rng: np.random.Generator) -> None:
    """One thigh over the other knee, its shank hanging in front."""
    sign = 1 if upper == "left" else -1
    hip = joints[f"{upper}_hip"]
    over = joints[f"{lower}_knee"] + np.array([-0.01, sign * 0.035, 0.088]) * body.height_m
    joints[f"{upper}_knee"] = hip + body.length_m[f"{upper}_knee"] * unit(over - hip)
    shank = limb_direction(np.radians(rng.uniform(8, 38)), -sign * np.radians(rng.uniform(4, 20)))
    joints[f"{upper}_ankle"] = joints[f"{upper}_knee"] + body.length_m[f"{upper}_ankle"] * shank
    place_foot(joints, body, upper, np.radians(rng.uniform(-35, 10)), -sign * np.radians(rng.uniform(0, 12)))
