"""Placement of trunk, legs and arms of one pose from bone lengths, angles (radians) and target positions (m)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from people.synth.activities.proportions import SIDES, Proportions

Vector = Float[np.ndarray, " 3"]
Joints = dict[str, Vector]
HEEL, BALL, SOLE = -0.028, 0.078, 0.044  # points of the sole in front of and below the ankle, in body heights
FLAT_SLOPE = 0.376  # of the bone from ankle to ball below the sole's direction
_MAX_FLEXION = np.radians(146)  # of knees and elbows


class Trunk(NamedTuple):
    """Angles of the trunk: lean and stoop forward, roll and turns to the left; the head's is relative to the upper trunk."""

    lean: float
    stoop: float = 0.0
    roll: float = 0.0
    pelvis_roll: float = 0.0
    pelvis_turn: float = 0.0
    shoulder_turn: float = 0.0
    head_forward: float = 0.2


def limb_direction(pitch: float, sideways: float) -> Vector:
    """Unit vector downwards, rotated forward by `pitch`, then tilted to the left by `sideways`."""
    vector = np.array([np.sin(pitch), np.tan(sideways), -np.cos(pitch)])
    return vector / np.linalg.norm(vector)


def unit(vector: Vector) -> Vector:
    """The vector scaled to length one."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def place_trunk(body: Proportions, trunk: Trunk) -> Joints:
    """Pelvis at the origin, spine, neck, head, shoulders and hips."""
    lower = -limb_direction(-trunk.lean, trunk.roll)
    upper = -limb_direction(-trunk.lean - trunk.stoop, trunk.roll)
    joints: Joints = {"pelvis": np.zeros(3), "spine": body.length_m["spine"] * lower}
    joints["neck"] = joints["spine"] + body.length_m["neck"] * upper
    head = -limb_direction(-0.6 * (trunk.lean + trunk.stoop) - trunk.head_forward, 0.4 * trunk.roll)
    joints["head"] = joints["neck"] + body.length_m["head"] * head
    hip_axis = _axis_to_the_left(trunk.pelvis_turn, trunk.pelvis_roll)
    shoulder_axis = _axis_to_the_left(trunk.shoulder_turn, -trunk.roll)
    shoulder_axis = unit(shoulder_axis - shoulder_axis @ upper * upper)
    down = unit(np.array([0.0, 0.0, -1.0]) + hip_axis[2] * hip_axis)
    for side, sign in SIDES:
        hip, shoulder = f"{side}_hip", f"{side}_shoulder"
        joints[hip] = sign * body.lateral_m(hip) * hip_axis + body.drop_m[hip] * down
        joints[shoulder] = joints["neck"] + sign * body.lateral_m(shoulder) * shoulder_axis - body.drop_m[shoulder] * upper
    return joints


def _axis_to_the_left(turn: float, roll: float) -> Vector:
    return np.array([-np.sin(turn) * np.cos(roll), np.cos(turn) * np.cos(roll), np.sin(roll)])


def chest_axes(joints: Joints) -> tuple[Vector, Vector, Vector]:
    """Unit vectors forward, left and up of the upper trunk."""
    up = unit(joints["neck"] - joints["spine"])
    left = joints["left_shoulder"] - joints["right_shoulder"]
    left = unit(left - left @ up * up)
    return np.cross(left, up), left, up


def bend_limb(start: Vector, target: Vector, lengths_m: tuple[float, float], pole: Vector) -> tuple[Vector, Vector]:
    """Middle and end joint of two bones that reach from `start` towards `target`, the middle joint bent towards `pole`."""
    first_m, second_m = lengths_m
    axis = unit(target - start)
    nearest_m = np.sqrt(max(first_m**2 + second_m**2 + 2 * first_m * second_m * np.cos(_MAX_FLEXION), 1e-8))
    reach_m = float(np.clip(np.linalg.norm(target - start), nearest_m, 0.998 * (first_m + second_m)))
    along_m = (first_m**2 - second_m**2 + reach_m**2) / (2 * reach_m)
    bend = unit(pole - pole @ axis * axis)
    middle = start + along_m * axis + np.sqrt(max(first_m**2 - along_m**2, 0.0)) * bend
    return middle, start + reach_m * axis


def ankle_height_m(body: Proportions, pitch: float) -> float:
    """Height of the ankle above the ground when heel or ball touches it; `pitch` raises the toes."""
    return body.height_m * max(SOLE * np.cos(pitch) - offset * np.sin(pitch) for offset in (HEEL, BALL))


def place_foot(joints: Joints, body: Proportions, side: str, pitch: float, toe_out: float) -> None:
    """The ball of the foot from the ankle; positive `toe_out` turns to the left."""
    slope = pitch - FLAT_SLOPE
    heading = np.array([np.cos(slope) * np.cos(toe_out), np.cos(slope) * np.sin(toe_out), np.sin(slope)])
    joints[f"{side}_foot"] = joints[f"{side}_ankle"] + body.length_m[f"{side}_foot"] * heading


def lowest_sole_m(joints: Joints, body: Proportions, side: str) -> float:
    """Height of the lowest point of a foot's sole: heel or ball."""
    bone = unit(joints[f"{side}_foot"] - joints[f"{side}_ankle"])
    pitch = np.arctan2(bone[2], np.hypot(bone[0], bone[1])) + FLAT_SLOPE
    return float(joints[f"{side}_ankle"][2]) - ankle_height_m(body, pitch)


def place_leg(joints: Joints, body: Proportions, side: str, ankle: Vector, pole: Vector) -> None:
    """Knee and ankle of a leg that reaches towards a position of the ankle."""
    lengths_m = body.length_m[f"{side}_knee"], body.length_m[f"{side}_ankle"]
    joints[f"{side}_knee"], joints[f"{side}_ankle"] = bend_limb(joints[f"{side}_hip"], ankle, lengths_m, pole)


def raise_body(joints: Joints, height_m: float) -> Joints:
    """All joints raised by `height_m`."""
    return {name: position + np.array([0.0, 0.0, height_m]) for name, position in joints.items()}
