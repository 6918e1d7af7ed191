"""Walks at another speed: how step rate and step length depend on it, and a recorded walk changed to it."""

from dataclasses import replace

import numpy as np
import scipy  # its parts are imported at their first use
from jaxtyping import Float

from people.layouts.motion import J, low_pass
from people.records import JOINTS, Motion

SPEED_RANGE = (0.5, 1.5)  # relative to a comfortable speed: slower or faster, people walk in another way or run
_STANCE_M = 0.03  # a foot that is this much higher than the other bears e times less of the weight
_SMOOTH_HZ = 4.0  # of the pelvis's change of height
_FORWARD_M = 0.02  # the least offset of a knee in front of the line from hip to ankle
_SIDES = ("left", "right")
_LEGS = [J[f"{side}_{joint}"] for side in _SIDES for joint in ("knee", "ankle", "foot")]
_ABOVE = [index for index in range(len(JOINTS)) if index not in _LEGS]


def step_factors(speed: float | int) -> tuple[float, float]:
    """The factors of step rate and step length at a `speed` relative to the comfortable one.

    The ratio of step length to step rate is nearly constant over the speeds of a walker [Sekiya and Nagasaki, Gait & Posture
    1998], so both grow with the square root of the speed.
    """
    if not SPEED_RANGE[0] <= speed <= SPEED_RANGE[1]:
        raise ValueError(f"a relative speed of walking lies in {SPEED_RANGE}, got {speed}; choose another")
    return float(np.sqrt(speed)), float(np.sqrt(speed))


def frames_required(frames: int, speed: float | int) -> int:
    """The frames of a walk out of which `at_speed` makes at least `frames`."""
    return int(np.ceil((frames - 1) * step_factors(speed)[0] - 1e-9)) + 1


def at_speed(motion: Motion, speed: float | int) -> Motion:
    """The walk at `speed` times its own speed: steps follow at another rate, and are longer or shorter.

    Time is stretched. Ankles and feet swing further (or less far) forwards and backwards, on the ground where they were; the
    pelvis sinks (or rises) so that the leg that stands keeps its length; knees follow from hips and ankles; arms swing as much
    more as legs do. Standing feet do not slide more than they did. Posture, joint angles apart from these, and the heights of
    the swinging feet do not change.
    """
    if speed == 1:
        return motion
    rate, length = step_factors(speed)
    numbers = np.arange(int((len(motion) - 1) / rate + 1e-9) + 1) * rate
    joints_m, forward_m = (_at(values, numbers) for values in (motion.joints_m, motion.forward_m))
    return replace(
        motion,
        joints_m=_lengthen_steps(joints_m, length, motion.frame_rate_hz).astype(np.float32),
        forward_m=(length * forward_m).astype(np.float32),
        relative_speed=motion.relative_speed * float(speed),
    )


def _at(values: Float[np.ndarray, "frame *item"], numbers: Float[np.ndarray, " frame2"]) -> Float[np.ndarray, "frame2 *item"]:
    """The values at fractional frame numbers."""
    if len(values) < 2:
        return np.repeat(values, len(numbers), axis=0)
    return scipy.interpolate.CubicSpline(np.arange(len(values)), values)(numbers)


def _lengthen_steps(
    joints_m: Float[np.ndarray, "frame joint 3"], length: float, frame_rate_hz: float
) -> Float[np.ndarray, "frame joint 3"]:
    """Steps of `length` times their length; the pelvis is above x = 0."""
    longer = joints_m.copy()
    for side in _SIDES:
        ankle, foot = J[f"{side}_ankle"], J[f"{side}_foot"]
        longer[:, [ankle, foot], 0] += (length - 1) * joints_m[:, [ankle], 0]
        arm = [J[f"{side}_{joint}"] for joint in ("elbow", "wrist", "hand")]
        swing_m = joints_m[:, arm, 0] - joints_m[:, [J[f"{side}_shoulder"]], 0]
        longer[:, arm, 0] += (length - 1) * (swing_m - swing_m.mean(axis=0))
    raised_m = low_pass(_raised_m(joints_m, longer), frame_rate_hz, _SMOOTH_HZ)
    longer[:, _ABOVE, 2] += raised_m[:, None]
    for side in _SIDES:
        leg = J[f"{side}_hip"], J[f"{side}_knee"], J[f"{side}_ankle"], J[f"{side}_foot"]
        _bend_leg(joints_m, longer, leg)
    return longer


def _raised_m(joints_m: Float[np.ndarray, "frame joint 3"], longer: Float[np.ndarray, "frame joint 3"]) -> np.ndarray:
    """How much higher the hips are when standing legs keep their length, averaged over both feet by the weight they bear."""
    heights, raised = [], []
    for side in _SIDES:
        hip, ankle = J[f"{side}_hip"], J[f"{side}_ankle"]
        before, after = joints_m[:, hip] - joints_m[:, ankle], longer[:, hip] - longer[:, ankle]
        vertical_sq = np.square(before).sum(axis=1) - np.square(after[:, :2]).sum(axis=1)
        raised.append(np.sqrt(np.maximum(vertical_sq, 0.25 * np.square(before[:, 2]))) - before[:, 2])
        heights.append(joints_m[:, [ankle, J[f"{side}_foot"]], 2].min(axis=1))
    bears = np.exp((np.min(heights, axis=0) - heights) / _STANCE_M)
    return (bears * raised).sum(axis=0) / bears.sum(axis=0)


def _bend_leg(
    joints_m: Float[np.ndarray, "frame joint 3"], longer: Float[np.ndarray, "frame joint 3"], leg: tuple[int, int, int, int]
) -> None:
    """Place the knee of a leg (hip, knee, ankle, foot) in place, with its bones' lengths; an ankle out of reach is moved."""
    hip, knee, ankle, foot = leg
    thigh, shank = (_length(joints_m[:, far] - joints_m[:, near]) for near, far in ((hip, knee), (knee, ankle)))
    line, before = longer[:, ankle] - longer[:, hip], joints_m[:, ankle] - joints_m[:, hip]
    distance = _length(line)
    line = line / distance
    reach = np.clip(distance, np.abs(thigh - shank) + 1e-3, 0.999 * (thigh + shank))
    longer[:, [ankle, foot]] += ((reach - distance) * line)[:, None]
    bend = joints_m[:, knee] - joints_m[:, hip] + np.array([_FORWARD_M, 0, 0])
    for axis in (before / _length(before), line):
        bend = bend - (bend * axis).sum(axis=1, keepdims=True) * axis
    bend = bend / np.maximum(_length(bend), 1e-6)
    share_m = (thigh**2 - shank**2 + reach**2) / (2 * reach)
    longer[:, knee] = longer[:, hip] + share_m * line + np.sqrt(np.maximum(thigh**2 - share_m**2, 0)) * bend


def _length(vectors: Float[np.ndarray, "frame 3"]) -> Float[np.ndarray, "frame 1"]:
    return np.linalg.norm(vectors, axis=1, keepdims=True)
