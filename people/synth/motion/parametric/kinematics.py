"""Forward kinematics of the parametric walker, with foot placement that prevents sliding in stance."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float

from people.records import JOINTS
from people.synth.motion.parametric.traits import ANGLES, HARMONICS, Traits

STANCE_RAD = 2 * np.pi * 0.61  # stance phase of a foot's own cycle
HEEL, BALL, TOE, SOLE = -0.028, 0.078, 0.112, 0.044  # points of the foot in front of and below the ankle, in body heights
_SIDES = (("left", 1), ("right", -1))
_GRID = np.linspace(0, 2 * np.pi, 240, endpoint=False)


def walk_cycle(
    traits: Traits, curves: Complex[np.ndarray, "2 angle harmonic"], stride_m: float, phase: Float[np.ndarray, " frame"]
) -> tuple[Float[np.ndarray, "frame joint 3"], Float[np.ndarray, " frame"]]:
    """Joints (m) at each `phase` of the left leg's cycle and the distance walked (m), without sliding of the stance foot.

    Forward kinematics of the Fourier series give all joints. Random joint angles are not exactly consistent with a stationary
    stance foot, so its ankle is moved to that of a foot that rolls over heel and ball without slipping. The shift of the swing
    foot's ankle interpolates smoothly between steps, and the knee is recomputed from hip and ankle.
    """
    curves = _scale_thigh_swing(traits, curves, stride_m)
    joints = _forward_kinematics(traits, curves, _GRID)
    feet = [_foot_cycle(traits, curves[side], side, stride_m) for side in (0, 1)]
    lead_m, cycle_height_m = _pelvis_path(traits, joints, feet)
    shifts_m = [_ankle_shift(traits, foot, joints, name, lead_m) for foot, (name, _) in zip(feet, _SIDES, strict=True)]
    joints = _forward_kinematics(traits, curves, phase)
    pelvis_height_m = np.interp(phase, _GRID, cycle_height_m, period=2 * np.pi)
    for (name, _), shift_m in zip(_SIDES, shifts_m, strict=True):
        ankle_shift_m = np.stack([np.interp(phase, _GRID, shift_m[:, axis], period=2 * np.pi) for axis in range(3)], axis=1)
        ankle_shift_m[:, 2] -= pelvis_height_m
        _move_ankle(joints, traits, name, ankle_shift_m)
    joints_m = np.stack([joints[name] for name in JOINTS], axis=1)
    joints_m[..., 2] += pelvis_height_m[:, None]
    return joints_m, _distance_walked_m(traits, phase, stride_m)


@dataclass(frozen=True, eq=False)
class _FootCycle:
    """One foot over a gait cycle: its own phase, stance, axes and ankle position (x relative to heel strike, body-centred)."""

    phase: Float[np.ndarray, " frame"]
    is_stance: Bool[np.ndarray, " frame"]
    toes: Float[np.ndarray, "frame 3"]
    sole: Float[np.ndarray, "frame 3"]
    ankle_m: Float[np.ndarray, "frame 3"]


def _foot_cycle(traits: Traits, curves: Complex[np.ndarray, "angle harmonic"], side: int, stride_m: float) -> _FootCycle:
    """The stance foot relative to the moving body: it rolls over its heel, lies flat and rolls over its ball."""
    phase = np.mod(_GRID + side * np.pi, 2 * np.pi)
    toes, sole = _foot_axes(traits, _SIDES[side][1], _joint_angles(curves, phase)[ANGLES.index("foot")])
    on_heel = (sole[:, 0] > 0)[:, None]
    ankle_m = np.where(on_heel, _sole_to_ankle(traits, toes, sole, HEEL), _sole_to_ankle(traits, toes, sole, BALL))
    ankle_m += traits.height_m * np.where(on_heel, 0.0, BALL - HEEL) * np.array([1.0, 0.0, 0.0])
    # The speed's variation has a period of half a cycle, so the distance since heel strike is the same for both feet.
    since_strike_m = _distance_walked_m(traits, phase, stride_m) - _distance_walked_m(traits, np.zeros(1), stride_m)
    return _FootCycle(phase, phase < STANCE_RAD, toes, sole, ankle_m - since_strike_m[:, None] * np.array([1.0, 0.0, 0.0]))


def _pelvis_path(
    traits: Traits, joints: dict[str, np.ndarray], feet: list[_FootCycle]
) -> tuple[float, Float[np.ndarray, " frame"]]:
    """The distance of heel strike in front of the pelvis, and the highest pelvis path that stance legs can reach."""
    leg_length_m = 0.996 * (traits.thigh_m + traits.shank_m)
    lead_m = np.linspace(0.05, 0.45, 81) * traits.height_m * 0.5
    limit_m = np.full((len(_GRID), len(lead_m)), np.inf)
    for foot, (name, _) in zip(feet, _SIDES, strict=True):
        hip = joints[f"{name}_hip"]
        forward_m = (foot.ankle_m[:, 0] - hip[:, 0])[:, None] + lead_m
        sideways_m = (joints[f"{name}_ankle"][:, 1] - hip[:, 1])[:, None]
        vertical_m = np.sqrt(np.maximum(leg_length_m**2 - forward_m**2 - sideways_m**2, 0.01))
        height_m = (foot.ankle_m[:, 2] - hip[:, 2])[:, None] + vertical_m
        limit_m = np.where(foot.is_stance[:, None], np.minimum(limit_m, height_m), limit_m)
    # The pelvis rises and falls twice a cycle over the stance leg, by the fraction `bob` of what the leg's length allows.
    wave = np.exp(2j * _GRID)
    vault_m = traits.bob * 2 * np.real(wave[:, None] * np.mean(limit_m * wave.conj()[:, None], axis=0))
    height_m = np.min(limit_m - vault_m, axis=0)
    best = int(np.argmax(height_m))
    return float(lead_m[best]), vault_m[:, best] + height_m[best]


def _ankle_shift(
    traits: Traits, foot: _FootCycle, joints: dict[str, np.ndarray], name: str, lead_m: float
) -> Float[np.ndarray, "frame 3"]:
    """The correction of the ankle's position (z: from relative to the pelvis to relative to the ground)."""
    shift_m = foot.ankle_m - joints[f"{name}_ankle"]
    shift_m[:, 0] += lead_m
    shift_m[:, 1] = 0.0
    order = np.argsort(foot.phase, kind="stable")
    shift_m[order] = _interpolate_swing(foot.phase[order], shift_m[order], foot.is_stance[order])
    # Ground clearance of the swing foot.
    needed_m = np.maximum(
        _sole_to_ankle(traits, foot.toes, foot.sole, HEEL)[:, 2], _sole_to_ankle(traits, foot.toes, foot.sole, TOE)[:, 2]
    )
    swing_fraction = np.clip((foot.phase - STANCE_RAD) / (2 * np.pi - STANCE_RAD), 0, 1)
    weight = np.where(foot.is_stance, 0.0, np.sin(np.pi * swing_fraction) ** 2)
    height_m = joints[f"{name}_ankle"][:, 2] + shift_m[:, 2] - needed_m
    shift_m[:, 2] += np.maximum(0.012 * weight - height_m, 0) * np.minimum(4 * weight, 1)
    return shift_m


def _distance_walked_m(traits: Traits, phase: Float[np.ndarray, " frame"], stride_m: float) -> Float[np.ndarray, " frame"]:
    """Distance walked at a constant speed with a sinusoidal variation per step (`surge`)."""
    return stride_m / (2 * np.pi) * (phase + traits.surge / 2 * np.sin(2 * (phase - 0.1)))


def _scale_thigh_swing(
    traits: Traits, curves: Complex[np.ndarray, "2 angle harmonic"], stride_m: float
) -> Complex[np.ndarray, "2 angle harmonic"]:
    """Scale the thighs' swing so that the distances between the ankles at both heel strikes sum to 0.87 strides."""
    curves = curves.copy()
    thigh = ANGLES.index("thigh")
    for _ in range(3):
        joints = _forward_kinematics(traits, curves, np.array([0.0, np.pi]))
        ankle_distance_m = joints["left_ankle"][:, 0] - joints["right_ankle"][:, 0]
        # At heel strike of the leading foot, the trailing heel has already risen and moved forward.
        curves[:, thigh, 1:] *= np.clip(0.87 * stride_m / (ankle_distance_m[0] - ankle_distance_m[1]), 0.6, 1.6)
    return curves


def _interpolate_swing(
    phase: Float[np.ndarray, " frame"], shift_m: Float[np.ndarray, "frame 3"], is_stance: np.ndarray
) -> Float[np.ndarray, "frame 3"]:
    """Replace the shift during swing by a cubic Hermite curve from the last shift of stance to the first one."""
    last, step = int(np.nonzero(is_stance)[0][-1]), phase[1] - phase[0]
    span = phase[0] + 2 * np.pi - phase[last]
    s = ((phase[last + 1 :] - phase[last]) / span)[:, None]
    start_slope, end_slope = ((shift_m[last] - shift_m[last - 1]) / step * span, (shift_m[1] - shift_m[0]) / step * span)
    interpolated_m = shift_m.copy()
    interpolated_m[last + 1 :] = (
        (2 * s**3 - 3 * s**2 + 1) * shift_m[last]
        + (s**3 - 2 * s**2 + s) * start_slope
        + (3 * s**2 - 2 * s**3) * shift_m[0]
        + (s**3 - s**2) * end_slope
    )
    return interpolated_m


def _sole_to_ankle(
    traits: Traits, toes: Float[np.ndarray, "frame 3"], sole: Float[np.ndarray, "frame 3"], offset: float
) -> Float[np.ndarray, "frame 3"]:
    """Vector (m) from a point of the sole, `offset` body heights in front of the ankle, to the ankle."""
    return -traits.height_m * (offset * toes + SOLE * sole)


def _move_ankle(joints: dict[str, np.ndarray], traits: Traits, name: str, shift_m: Float[np.ndarray, "frame 3"]) -> None:
    """Move one ankle and foot by `shift_m` in place; the knee follows by the law of cosines."""
    hip, ankle = joints[f"{name}_hip"], joints[f"{name}_ankle"] + shift_m
    leg_axis = ankle - hip
    length = np.linalg.norm(leg_axis, axis=1, keepdims=True)
    leg_axis = leg_axis / length
    length = np.minimum(length, 0.9985 * (traits.thigh_m + traits.shank_m))
    knee_axis = np.array([1.0, 0.0, 0.0]) - leg_axis[:, :1] * leg_axis
    knee_axis /= np.linalg.norm(knee_axis, axis=1, keepdims=True)
    along_m = (traits.thigh_m**2 - traits.shank_m**2 + length**2) / (2 * length)
    joints[f"{name}_knee"] = hip + along_m * leg_axis + np.sqrt(np.maximum(traits.thigh_m**2 - along_m**2, 0)) * knee_axis
    joints[f"{name}_foot"] = joints[f"{name}_foot"] + hip + length * leg_axis - joints[f"{name}_ankle"]
    joints[f"{name}_ankle"] = hip + length * leg_axis


def _joint_angles(
    curves: Complex[np.ndarray, "angle harmonic"], phase: Float[np.ndarray, " frame"]
) -> Float[np.ndarray, "angle frame"]:
    """angle(phase) = Re sum_h c_h exp(i h phase)."""
    return np.einsum("ah,hf->af", curves, np.exp(1j * np.arange(HARMONICS)[:, None] * phase)).real


def _forward_kinematics(
    traits: Traits, curves: Complex[np.ndarray, "2 angle harmonic"], phase: Float[np.ndarray, " frame"]
) -> dict[str, Float[np.ndarray, "frame 3"]]:
    """Forward kinematics: positions of all joints relative to the pelvis."""
    joints: dict[str, np.ndarray] = {"pelvis": np.zeros((len(phase), 3))}
    yaw, roll = -traits.pelvis_yaw * np.cos(phase + 0.2), traits.pelvis_roll * np.sin(phase + 0.3)
    sway = traits.sway_m * np.sin(phase - 0.3)
    _place_trunk(joints, traits, phase)
    for side, sign, name in ((0, 1, "left"), (1, -1, "right")):
        angles = _joint_angles(curves[side], phase + side * np.pi)
        offset_m = sign * traits.hip_half_m
        hip = np.stack([-np.sin(yaw) * offset_m, np.cos(yaw) * offset_m, np.sin(roll) * offset_m], axis=1)
        _place_leg(joints, traits, name, sign, hip, sway, angles)
        _place_arm(joints, traits, name, sign, angles)
    return joints


def _limb_direction(
    pitch: Float[np.ndarray, " frame"], abduction: Float[np.ndarray, " frame"] | float
) -> Float[np.ndarray, "frame 3"]:
    """Unit vector downwards, rotated forward by `pitch` and to the left by `abduction`."""
    abduction = np.broadcast_to(abduction, pitch.shape)
    return np.stack([np.sin(pitch), np.cos(pitch) * np.sin(abduction), -np.cos(pitch) * np.cos(abduction)], axis=1)


def _place_trunk(joints: dict[str, np.ndarray], traits: Traits, phase: Float[np.ndarray, " frame"]) -> None:
    """Spine, neck, head and shoulders from lean, stoop, roll and yaw of the trunk."""
    zero = np.zeros_like(phase)
    nod = np.radians(0.8) * np.cos(2 * phase)
    roll = traits.trunk_roll * np.sin(phase - 0.3)
    lower_axis = -_limb_direction(zero - traits.lean + nod, roll)
    joints["spine"] = 0.45 * traits.trunk_m * lower_axis
    upper_axis = -_limb_direction(zero - traits.lean - traits.stoop + nod, roll)
    joints["neck"] = joints["spine"] + 0.55 * traits.trunk_m * upper_axis
    head_axis = -_limb_direction(zero - 0.5 * traits.lean - traits.head_forward, 0.3 * roll)
    joints["head"] = joints["neck"] + 0.118 * traits.height_m * head_axis
    yaw = traits.shoulder_yaw * np.cos(phase + 0.1)
    shoulder_axis = np.stack([-np.sin(yaw) * np.cos(roll), np.cos(yaw) * np.cos(roll), -np.sin(roll)], axis=1)
    for sign, name in ((1, "left"), (-1, "right")):
        joints[f"{name}_shoulder"] = (
            joints["neck"] + sign * traits.shoulder_half_m * shoulder_axis - 0.012 * traits.height_m * upper_axis
        )


def _foot_axes(
    traits: Traits, sign: int, pitch: Float[np.ndarray, " frame"]
) -> tuple[Float[np.ndarray, "frame 3"], Float[np.ndarray, "frame 3"]]:
    """Unit vectors from the ankle to the toes and from the ankle to the sole."""
    angle = sign * traits.toe_out
    toes = np.stack([np.cos(pitch) * np.cos(angle), np.cos(pitch) * np.sin(angle), np.sin(pitch)], axis=1)
    return toes, np.stack([np.sin(pitch) * np.cos(angle), np.sin(pitch) * np.sin(angle), -np.cos(pitch)], axis=1)


def _place_leg(
    joints: dict[str, np.ndarray],
    traits: Traits,
    name: str,
    sign: int,
    hip: Float[np.ndarray, "frame 3"],
    sway: Float[np.ndarray, " frame"],
    angles: Float[np.ndarray, "angle frame"],
) -> None:
    """Hip, knee, ankle and foot of one side."""
    thigh, knee, pitch = angles[0], np.maximum(angles[1], 0.0), angles[2]
    adduction = (sign * traits.step_width_m / 2 - sway - hip[:, 1]) / (traits.thigh_m + traits.shank_m)
    joints[f"{name}_hip"] = hip
    joints[f"{name}_knee"] = hip + traits.thigh_m * _limb_direction(thigh, adduction)
    joints[f"{name}_ankle"] = joints[f"{name}_knee"] + traits.shank_m * _limb_direction(thigh - knee, adduction)
    toes, sole = _foot_axes(traits, sign, pitch)
    joints[f"{name}_foot"] = joints[f"{name}_ankle"] + traits.height_m * (BALL * toes + 0.7 * SOLE * sole)


def _place_arm(
    joints: dict[str, np.ndarray], traits: Traits, name: str, sign: int, angles: Float[np.ndarray, "angle frame"]
) -> None:
    """Elbow, wrist and hand of one side."""
    swing, bend = angles[3], np.maximum(angles[4], 0.0)
    abduction = sign * traits.arm_out
    joints[f"{name}_elbow"] = joints[f"{name}_shoulder"] + traits.upper_arm_m * _limb_direction(swing, abduction)
    forearm_axis = _limb_direction(swing + bend, 0.3 * abduction)
    joints[f"{name}_wrist"] = joints[f"{name}_elbow"] + traits.forearm_m * forearm_axis
    joints[f"{name}_hand"] = joints[f"{name}_wrist"] + 0.052 * traits.height_m * forearm_axis
