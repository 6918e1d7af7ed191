"""From joint angles to joints: forward kinematics, and legs that carry the body over feet that do not slip."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float

from people.records import JOINTS
from people.synth.motion.parametric.traits import ANGLES, HARMONICS, Traits

STANCE = 2 * np.pi * 0.61  # part of its own cycle during which a foot bears the body
HEEL, BALL, TOE, SOLE = -0.028, 0.078, 0.112, 0.044  # of the foot, in front of and below the ankle, in body heights
_SIDES = (("left", 1), ("right", -1))
_GRID = np.linspace(0, 2 * np.pi, 240, endpoint=False)


def walk_cycle(
    traits: Traits, curves: Complex[np.ndarray, "2 angle harmonic"], stride_m: float, phase: Float[np.ndarray, " frame"]
) -> tuple[Float[np.ndarray, "frame joint 3"], Float[np.ndarray, " frame"]]:
    """Joints at each `phase` of the left leg's cycle and the distance walked until then, such that the standing foot stays put.

    Forward kinematics of the Fourier series give every joint. Angles drawn at random do not quite agree with each other about
    where the standing foot is, so its ankle is then moved to where a foot rolling over heel and ball without slipping has it,
    the swinging foot's ankle by what leads smoothly from one step to the next, and hip and knee follow.
    """
    curves = _swung(traits, curves, stride_m)
    place = _pose(traits, curves, _GRID)
    steps = [_step(traits, curves[side], side, stride_m) for side in (0, 1)]
    ahead_m, pelvis_m = _carried(traits, place, steps)
    shifts = [_shift(traits, step, place, name, ahead_m) for step, (name, _) in zip(steps, _SIDES, strict=True)]
    place = _pose(traits, curves, phase)
    height = np.interp(phase, _GRID, pelvis_m, period=2 * np.pi)
    for (name, _), shift in zip(_SIDES, shifts, strict=True):
        moved = np.stack([np.interp(phase, _GRID, shift[:, axis], period=2 * np.pi) for axis in range(3)], axis=1)
        moved[:, 2] -= height
        _bend_leg(place, traits, name, moved)
    joints_m = np.stack([place[name] for name in JOINTS], axis=1)
    joints_m[..., 2] += height[:, None]
    return joints_m, _forward(traits, phase, stride_m)


@dataclass(frozen=True, eq=False)
class _Step:
    """One foot over a cycle: own phase, whether it stands, its axes, and where its ankle is (x from where the heel struck)."""

    own: Float[np.ndarray, " frame"]
    stand: Bool[np.ndarray, " frame"]
    toes: Float[np.ndarray, "frame 3"]
    sole: Float[np.ndarray, "frame 3"]
    ankle_m: Float[np.ndarray, "frame 3"]


def _step(traits: Traits, curves: Complex[np.ndarray, "angle harmonic"], side: int, stride_m: float) -> _Step:
    """A foot that stands while the body goes on: it rolls over its heel, lies flat, rolls over its ball."""
    own = np.mod(_GRID + side * np.pi, 2 * np.pi)
    toes, sole = _foot_axes(traits, _SIDES[side][1], _angles(curves, own)[ANGLES.index("foot")])
    on_heel = (sole[:, 0] > 0)[:, None]
    rolled = np.where(on_heel, _under(traits, toes, sole, HEEL), _under(traits, toes, sole, BALL))
    rolled += traits.height_m * np.where(on_heel, 0.0, BALL - HEEL) * np.array([1.0, 0.0, 0.0])
    # A step's surge has half a cycle's period, so both feet see the same distance go by since their heels struck.
    since = _forward(traits, own, stride_m) - _forward(traits, np.zeros(1), stride_m)
    return _Step(own, own < STANCE, toes, sole, rolled - since[:, None] * np.array([1.0, 0.0, 0.0]))


def _carried(traits: Traits, place: dict[str, np.ndarray], steps: list[_Step]) -> tuple[float, Float[np.ndarray, " frame"]]:
    """How far ahead of the pelvis heels strike, and the pelvis' height: as upright as standing legs can reach."""
    reach = 0.996 * (traits.thigh_m + traits.shank_m)
    ahead = np.linspace(0.05, 0.45, 81) * traits.height_m * 0.5
    limit = np.full((len(_GRID), len(ahead)), np.inf)
    for step, (name, _) in zip(steps, _SIDES, strict=True):
        hip = place[f"{name}_hip"]
        across = (step.ankle_m[:, 0] - hip[:, 0])[:, None] + ahead
        sideways = (place[f"{name}_ankle"][:, 1] - hip[:, 1])[:, None]
        room = np.sqrt(np.maximum(reach**2 - across**2 - sideways**2, 0.01))
        height = (step.ankle_m[:, 2] - hip[:, 2])[:, None] + room
        limit = np.where(step.stand[:, None], np.minimum(limit, height), limit)
    # The pelvis vaults over the standing leg: up and down twice a cycle, by a personal share of what the leg allows.
    wave = np.exp(2j * _GRID)
    vault = traits.bob * 2 * np.real(wave[:, None] * np.mean(limit * wave.conj()[:, None], axis=0))
    height = np.min(limit - vault, axis=0)
    best = int(np.argmax(height))
    return float(ahead[best]), vault[:, best] + height[best]


def _shift(
    traits: Traits, step: _Step, place: dict[str, np.ndarray], name: str, ahead_m: float
) -> Float[np.ndarray, "frame 3"]:
    """How far the ankle must move (z: from below the pelvis to above the ground)."""
    shift = step.ankle_m - place[f"{name}_ankle"]
    shift[:, 0] += ahead_m
    shift[:, 1] = 0.0
    order = np.argsort(step.own, kind="stable")
    shift[order] = _bridged(step.own[order], shift[order], step.stand[order])
    # The swinging foot passes the ground with some room.
    needed = np.maximum(_under(traits, step.toes, step.sole, HEEL)[:, 2], _under(traits, step.toes, step.sole, TOE)[:, 2])
    swing = np.clip((step.own - STANCE) / (2 * np.pi - STANCE), 0, 1)
    lift = np.where(step.stand, 0.0, np.sin(np.pi * swing) ** 2)
    low = place[f"{name}_ankle"][:, 2] + shift[:, 2] - needed
    shift[:, 2] += np.maximum(0.012 * lift - low, 0) * np.minimum(4 * lift, 1)
    return shift


def _forward(traits: Traits, phase: Float[np.ndarray, " frame"], stride_m: float) -> Float[np.ndarray, " frame"]:
    """Distance walked: even but for the surge with which each step pushes off."""
    return stride_m / (2 * np.pi) * (phase + traits.surge / 2 * np.sin(2 * (phase - 0.1)))


def _swung(
    traits: Traits, curves: Complex[np.ndarray, "2 angle harmonic"], stride_m: float
) -> Complex[np.ndarray, "2 angle harmonic"]:
    """The curves with the thighs' swing scaled until the ankles are half a stride apart in double support."""
    curves = curves.copy()
    thigh = ANGLES.index("thigh")
    for _ in range(3):
        place = _pose(traits, curves, np.array([0.0, np.pi]))
        apart = place["left_ankle"][:, 0] - place["right_ankle"][:, 0]
        # When the leading heel strikes, the trailing heel has already come up and forward.
        curves[:, thigh, 1:] *= np.clip(0.87 * stride_m / (apart[0] - apart[1]), 0.6, 1.6)
    return curves


def _bridged(
    own: Float[np.ndarray, " frame"], shift: Float[np.ndarray, "frame 3"], stand: np.ndarray
) -> Float[np.ndarray, "frame 3"]:
    """Shifts during swing that leave the standing foot's last shift and reach its first one, speeds included."""
    last, step = int(np.nonzero(stand)[0][-1]), own[1] - own[0]
    span = own[0] + 2 * np.pi - own[last]
    s = ((own[last + 1 :] - own[last]) / span)[:, None]
    leave, arrive = (shift[last] - shift[last - 1]) / step * span, (shift[1] - shift[0]) / step * span
    bridged = shift.copy()
    bridged[last + 1 :] = (
        (2 * s**3 - 3 * s**2 + 1) * shift[last]
        + (s**3 - 2 * s**2 + s) * leave
        + (3 * s**2 - 2 * s**3) * shift[0]
        + (s**3 - s**2) * arrive
    )
    return bridged


def _under(
    traits: Traits, toes: Float[np.ndarray, "frame 3"], sole: Float[np.ndarray, "frame 3"], along: float
) -> Float[np.ndarray, "frame 3"]:
    """From a point of the sole, `along` body heights in front of the ankle, to the ankle."""
    return -traits.height_m * (along * toes + SOLE * sole)


def _bend_leg(place: dict[str, np.ndarray], traits: Traits, name: str, shift: Float[np.ndarray, "frame 3"]) -> None:
    """Moves one ankle (and foot) by `shift`; the knee bends forward by the law of cosines."""
    hip, ankle = place[f"{name}_hip"], place[f"{name}_ankle"] + shift
    line = ankle - hip
    length = np.linalg.norm(line, axis=1, keepdims=True)
    line = line / length
    length = np.minimum(length, 0.9985 * (traits.thigh_m + traits.shank_m))
    ahead = np.array([1.0, 0.0, 0.0]) - line[:, :1] * line
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    along = (traits.thigh_m**2 - traits.shank_m**2 + length**2) / (2 * length)
    place[f"{name}_knee"] = hip + along * line + np.sqrt(np.maximum(traits.thigh_m**2 - along**2, 0)) * ahead
    place[f"{name}_foot"] = place[f"{name}_foot"] + hip + length * line - place[f"{name}_ankle"]
    place[f"{name}_ankle"] = hip + length * line


def _angles(
    curves: Complex[np.ndarray, "angle harmonic"], phase: Float[np.ndarray, " frame"]
) -> Float[np.ndarray, "angle frame"]:
    """angle(phase) = Re sum_h c_h exp(i h phase)."""
    return np.einsum("ah,hf->af", curves, np.exp(1j * np.arange(HARMONICS)[:, None] * phase)).real


def _pose(
    traits: Traits, curves: Complex[np.ndarray, "2 angle harmonic"], phase: Float[np.ndarray, " frame"]
) -> dict[str, Float[np.ndarray, "frame 3"]]:
    """Forward kinematics: every joint's place, the pelvis in the origin."""
    place: dict[str, np.ndarray] = {"pelvis": np.zeros((len(phase), 3))}
    yaw, roll = -traits.pelvis_yaw * np.cos(phase + 0.2), traits.pelvis_roll * np.sin(phase + 0.3)
    sway = traits.sway_m * np.sin(phase - 0.3)
    _trunk(place, traits, phase)
    for side, sign, name in ((0, 1, "left"), (1, -1, "right")):
        angle = _angles(curves[side], phase + side * np.pi)
        across = sign * traits.hip_half_m
        hip = np.stack([-np.sin(yaw) * across, np.cos(yaw) * across, np.sin(roll) * across], axis=1)
        _leg(place, traits, name, sign, hip, sway, angle)
        _arm(place, traits, name, sign, angle)
    return place


def _direction(pitch: Float[np.ndarray, " frame"], aside: Float[np.ndarray, " frame"] | float) -> Float[np.ndarray, "frame 3"]:
    """Unit vector hanging down, swung forward by `pitch` and to the left by `aside`."""
    aside = np.broadcast_to(aside, pitch.shape)
    return np.stack([np.sin(pitch), np.cos(pitch) * np.sin(aside), -np.cos(pitch) * np.cos(aside)], axis=1)


def _trunk(place: dict[str, np.ndarray], traits: Traits, phase: Float[np.ndarray, " frame"]) -> None:
    """Spine, neck, head and shoulders above the pelvis: leaning, stooping, swaying, turning against the pelvis."""
    still = np.zeros_like(phase)
    nod = np.radians(0.8) * np.cos(2 * phase)
    roll = traits.trunk_roll * np.sin(phase - 0.3)
    up = -_direction(still - traits.lean + nod, roll)
    place["spine"] = 0.45 * traits.trunk_m * up
    upper = -_direction(still - traits.lean - traits.stoop + nod, roll)
    place["neck"] = place["spine"] + 0.55 * traits.trunk_m * upper
    head = -_direction(still - 0.5 * traits.lean - traits.head_forward, 0.3 * roll)
    place["head"] = place["neck"] + 0.118 * traits.height_m * head
    yaw = traits.shoulder_yaw * np.cos(phase + 0.1)
    across = np.stack([-np.sin(yaw) * np.cos(roll), np.cos(yaw) * np.cos(roll), -np.sin(roll)], axis=1)
    for sign, name in ((1, "left"), (-1, "right")):
        place[f"{name}_shoulder"] = place["neck"] + sign * traits.shoulder_half_m * across - 0.012 * traits.height_m * upper


def _foot_axes(
    traits: Traits, sign: int, pitch: Float[np.ndarray, " frame"]
) -> tuple[Float[np.ndarray, "frame 3"], Float[np.ndarray, "frame 3"]]:
    """Unit vectors from the ankle to the toes and from the ankle to the sole."""
    out = sign * traits.toe_out
    toes = np.stack([np.cos(pitch) * np.cos(out), np.cos(pitch) * np.sin(out), np.sin(pitch)], axis=1)
    return toes, np.stack([np.sin(pitch) * np.cos(out), np.sin(pitch) * np.sin(out), -np.cos(pitch)], axis=1)


def _leg(
    place: dict[str, np.ndarray],
    traits: Traits,
    name: str,
    sign: int,
    hip: Float[np.ndarray, "frame 3"],
    sway: Float[np.ndarray, " frame"],
    angle: Float[np.ndarray, "angle frame"],
) -> None:
    """Hip, knee, ankle and foot of one side."""
    thigh, knee, pitch = angle[0], np.maximum(angle[1], 0.0), angle[2]
    inward = (sign * traits.step_width_m / 2 - sway - hip[:, 1]) / (traits.thigh_m + traits.shank_m)
    place[f"{name}_hip"] = hip
    place[f"{name}_knee"] = hip + traits.thigh_m * _direction(thigh, inward)
    place[f"{name}_ankle"] = place[f"{name}_knee"] + traits.shank_m * _direction(thigh - knee, inward)
    toes, sole = _foot_axes(traits, sign, pitch)
    place[f"{name}_foot"] = place[f"{name}_ankle"] + traits.height_m * (BALL * toes + 0.7 * SOLE * sole)


def _arm(place: dict[str, np.ndarray], traits: Traits, name: str, sign: int, angle: Float[np.ndarray, "angle frame"]) -> None:
    """Elbow, wrist and hand of one side."""
    swing, bend = angle[3], np.maximum(angle[4], 0.0)
    aside = sign * traits.arm_out
    place[f"{name}_elbow"] = place[f"{name}_shoulder"] + traits.upper_arm_m * _direction(swing, aside)
    fore = _direction(swing + bend, 0.3 * aside)
    place[f"{name}_wrist"] = place[f"{name}_elbow"] + traits.forearm_m * fore
    place[f"{name}_hand"] = place[f"{name}_wrist"] + 0.052 * traits.height_m * fore
