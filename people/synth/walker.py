"""People who walk: joint angles as Fourier series over the gait cycle, forward kinematics, feet that stay where they step.

A walker is a `Traits`: body proportions, stride, cadence and one set of Fourier coefficients per joint angle. Traits are drawn
from distributions that shift with sex and age the way gait laboratories report it, so that gender and age can be learned from
the motion, and with enough spread between people of one sex and age that people can be told apart.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from people.records import JOINTS, Motion, Sex

ANGLES = ("thigh", "knee", "foot", "shoulder", "elbow")
HARMONICS = 7
AGES_YEARS = (18.0, 75.0)
STEP_RATES_HZ = (1.45, 2.15)
STANCE = 2 * np.pi * 0.61  # part of its own cycle during which a foot bears the body
HEEL, BALL, TOE, SOLE = -0.028, 0.078, 0.112, 0.044  # of the foot, in front of and below the ankle, in body heights

# Typical adult curves over one gait cycle of the same side, in percent of the cycle (0 = heel strike) and degrees: thigh to the
# vertical (forward positive), knee flexion, foot to the ground (toes up positive: this fixes the ankle), upper arm to the trunk
# (forward positive), elbow flexion.
_TYPICAL = {
    "thigh": ((0, 23), (10, 19), (20, 11), (30, 1), (40, -9), (50, -17), (55, -17), (60, -13), (70, 4), (80, 19), (90, 25)),
    "knee": ((0, 5), (8, 13), (15, 17), (25, 12), (35, 6), (42, 5), (50, 10), (57, 24), (65, 50), (72, 60), (80, 50), (88, 24), (94, 8)),
    "foot": ((0, 18), (7, 2), (12, 0), (20, 0), (30, 0), (38, -1), (46, -12), (54, -33), (61, -56), (68, -52), (78, -18), (88, 9), (95, 18)),
    "shoulder": ((0, -21), (12, -15), (25, -3), (38, 9), (50, 14), (62, 9), (75, -3), (88, -15)),
    "elbow": ((0, 14), (25, 20), (50, 33), (75, 21)),
}  # fmt: skip


def _series(points: tuple[tuple[float, float], ...]) -> Complex[np.ndarray, " harmonic"]:
    """Fourier coefficients c of the periodic curve through `points`: angle(phase) = Re sum_h c_h exp(i h phase), in radians."""
    percent, degrees = np.array(points, float).T
    grid = np.arange(200) / 2
    curve = np.interp(grid, np.append(percent, 100 + percent[0]), np.append(degrees, degrees[0]), period=None)
    coefficients = np.fft.rfft(np.radians(curve)) / len(grid)
    coefficients[1:] *= 2
    return coefficients[:HARMONICS]


_BASE = np.stack([_series(_TYPICAL[name]) for name in ANGLES])


@dataclass(frozen=True, eq=False)
class Traits:
    """What is one person's own in body and gait; angles in radians, `curves` the Fourier coefficients of `ANGLES` per side."""

    sex: Sex
    age_years: float
    height_m: float
    weight_kg: float
    stride_m: float
    step_rate_hz: float
    curves: Complex[np.ndarray, "2 angle harmonic"]
    lean: float  # trunk against the vertical, forward positive
    stoop: float  # upper against lower trunk
    head_forward: float
    pelvis_yaw: float
    pelvis_roll: float
    shoulder_yaw: float
    sway_m: float  # pelvis to the side of the standing leg
    trunk_roll: float
    arm_out: float
    toe_out: float
    bob_m: float
    bob_phase: float
    surge: float  # by which part of itself the speed goes up and down in a step
    step_width_m: float
    hip_half_m: float
    shoulder_half_m: float
    thigh_m: float
    shank_m: float
    trunk_m: float
    upper_arm_m: float
    forearm_m: float


def draw_traits(rng: np.random.Generator, sex: Sex, age_years: float) -> Traits:
    """One person of the given sex and age, drawn at random.

    The shifts are those on which gait studies agree: women take shorter steps at a higher rate than men, rotate and tilt the
    pelvis more, sway the trunk less, walk on a narrower base, and have broader hips against narrower shoulders. With age the
    steps shorten (slowly until about 60, faster after), the rate falls a little, arms swing less, elbows stay more bent,
    knees flex less in swing, feet point outwards and stand wider apart, and trunk and head stoop.
    """
    if not AGES_YEARS[0] <= age_years <= AGES_YEARS[1]:
        raise ValueError(f"age_years must lie in {AGES_YEARS}, came {age_years}; the gait curves describe adults only")
    man = sex == "male"
    late = max(age_years - 58, 0) / 17
    years = (age_years - 40) / 35
    normal = rng.standard_normal(32)
    height = (1.775 if man else 1.645) + 0.065 * normal[0] - 0.03 * max(years, 0)
    bmi = np.clip((25.2 + 1.2 * years + 3.0 * normal[1]) if man else (23.8 + 2.0 * years + 3.4 * normal[1]), 17.5, 40)
    stride = height * ((0.815 if man else 0.775) - 0.025 * years - 0.09 * late + 0.038 * normal[2])
    rate = (1.78 if man else 1.92) - 0.03 * years - 0.05 * late + 0.085 * normal[3]
    return Traits(
        sex=sex,
        age_years=age_years,
        height_m=float(height),
        weight_kg=float(bmi * height**2),
        stride_m=float(stride),
        step_rate_hz=float(np.clip(rate, *STEP_RATES_HZ)),
        curves=_personal_curves(rng, man, years, late),
        lean=np.radians(2.5 + 2.0 * years + 3.0 * late + 2.0 * normal[4]),
        stoop=np.radians(9 + 6 * years + 6 * late + 4 * normal[5]),
        head_forward=np.radians(14 + 6 * years + 6 * late + 5 * normal[6]),
        pelvis_yaw=np.radians(max((4.0 if man else 6.5) - 1.0 * years + 1.3 * normal[7], 1.0)),
        pelvis_roll=np.radians(max((2.6 if man else 4.8) - 0.8 * years + 0.9 * normal[8], 0.4)),
        shoulder_yaw=np.radians(max((5.5 if man else 4.5) - 1.0 * years + 1.5 * normal[9], 0.5)),
        sway_m=max((0.020 if man else 0.015) + 0.005 * late + 0.005 * normal[10], 0.004),
        trunk_roll=np.radians((2.4 if man else 1.2) + 1.2 * late + 1.0 * normal[11]),
        arm_out=np.radians((8.5 if man else 6.5) + 2.5 * normal[12] + 0.25 * (bmi - 24)),
        toe_out=np.radians((7 if man else 5) + 2.5 * years + 4.0 * normal[13]),
        bob_m=max(0.018 - 0.003 * years + 0.004 * normal[22], 0.005) * float(stride) / 1.35,
        bob_phase=np.pi * (0.02 + 0.03 * normal[23]),
        surge=float(np.clip(0.05 + 0.02 * normal[24], 0.0, 0.12)),
        step_width_m=max((0.10 if man else 0.08) + 0.03 * late + 0.02 * normal[14], 0.02),
        hip_half_m=height * ((0.049 if man else 0.054) + 0.0025 * normal[15]),
        shoulder_half_m=height * ((0.108 if man else 0.0985) + 0.004 * normal[16]),
        thigh_m=height * (0.245 + 0.005 * normal[17]),
        shank_m=height * (0.243 + 0.005 * normal[18]),
        trunk_m=height * (0.283 + 0.006 * normal[19]),
        upper_arm_m=height * (0.176 + 0.005 * normal[20]),
        forearm_m=height * (0.143 + 0.004 * normal[21]),
    )


def _personal_curves(rng: np.random.Generator, man: bool, years: float, late: float) -> Complex[np.ndarray, "2 angle harmonic"]:
    """Typical curves bent to one person: amplitudes and phases of every harmonic, the same for both sides but for a little."""
    swing = max((1.05 if man else 0.95) - 0.15 * years - 0.25 * late + 0.28 * rng.standard_normal(), 0.15)
    factor = np.array([1.0, 1.0 - 0.05 * years - 0.08 * late, 1.0 - 0.06 * late, swing, max(swing, 0.4)])
    offset = np.radians([0, 0, 0, 0, 4 * years + 5 * late] + np.array([0, 2.0, 0, 5.0, 7.0]) * rng.standard_normal(5))
    own = _bent(rng, _BASE, 0.11, factor, offset)
    return np.stack([own, own]) * _sides(rng)


def _sides(rng: np.random.Generator) -> Complex[np.ndarray, "2 angle harmonic"]:
    size = (2, len(ANGLES), HARMONICS)
    factor = 1 + 0.03 * rng.standard_normal(size) + 0.03j * rng.standard_normal(size)
    factor[..., 0] = factor[..., 0].real
    return factor


def _bent(
    rng: np.random.Generator,
    curves: Complex[np.ndarray, "*side angle harmonic"],
    spread: float,
    factor: Float[np.ndarray, " angle"] | float = 1.0,
    offset: Float[np.ndarray, " angle"] | float = 0.0,
) -> Complex[np.ndarray, "*side angle harmonic"]:
    """Curves with every harmonic's amplitude and phase changed at random by the relative `spread`, then scaled and shifted."""
    change = 1 + spread * (rng.standard_normal(curves.shape) + 1j * rng.standard_normal(curves.shape))
    # The foot lies flat while it bears the body: its curve is hardly anybody's own.
    change[..., ANGLES.index("foot"), :] = 1 + (change[..., ANGLES.index("foot"), :] - 1) * 0.25
    change[..., 0] = 1
    bent = curves * change * np.expand_dims(np.broadcast_to(factor, len(ANGLES)), -1)
    bent[..., 0] = curves[..., 0].real + offset
    return bent


def motions(count: int, *, walks: int, frames: int, frame_rate_hz: float, seed: int) -> list[Motion]:
    """`count` people, every second a woman, aged 18 to 75, walking `walks` times for `frames` frames each."""
    for name, value in (("count", count), ("walks", walks), ("frames", frames), ("frame_rate_hz", frame_rate_hz)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, came {value}; ask for at least one person, walk and frame")
    walked = []
    for subject in range(count):
        rng = np.random.default_rng([seed, subject])
        traits = draw_traits(rng, "female" if subject % 2 == 0 else "male", float(np.round(rng.uniform(*AGES_YEARS))))
        for walk in range(walks):
            walked.append(
                _walk(traits, f"w{subject + 1:03d}", walk, frames, frame_rate_hz, np.random.default_rng([seed, subject, walk]))
            )
    return walked


def _walk(traits: Traits, subject_id: str, walk: int, frames: int, frame_rate_hz: float, rng: np.random.Generator) -> Motion:
    """One walk: the person's gait, a little different each time, from a random point of the cycle on."""
    curves = _bent(rng, traits.curves, 0.02)
    cycle_rate_hz = traits.step_rate_hz / 2 * (1 + 0.02 * rng.standard_normal())
    # The rate wanders by about one per cent within a walk.
    seconds = np.arange(frames) / frame_rate_hz
    wander = 0.06 * np.sin(2 * np.pi * (0.23 * seconds + rng.random()))
    phase = 2 * np.pi * (cycle_rate_hz * seconds + rng.random()) + wander
    stride_m = traits.stride_m * (1 + 0.015 * rng.standard_normal())
    joints_m, forward_m = walk_cycle(traits, curves, stride_m, phase)
    return Motion(
        subject_id=subject_id,
        walk_id=f"{subject_id}/{walk + 1}",
        joints_m=joints_m.astype(np.float32),
        forward_m=(forward_m - forward_m[0]).astype(np.float32),
        frame_rate_hz=frame_rate_hz,
        sex=traits.sex,
        age_years=traits.age_years,
        height_m=traits.height_m,
        weight_kg=traits.weight_kg,
    )


def walk_cycle(
    traits: Traits, curves: Complex[np.ndarray, "2 angle harmonic"], stride_m: float, phase: Float[np.ndarray, " frame"]
) -> tuple[Float[np.ndarray, "frame joint 3"], Float[np.ndarray, " frame"]]:
    """Joints at each `phase` of the left leg's cycle and the distance walked until then, such that the standing foot stays put.

    Forward kinematics of the Fourier series give every joint. Angles drawn at random do not quite agree with each other about
    where the standing foot is, so its ankle is then moved to where a foot rolling over heel and ball without slipping has it
    (`_planted`), the swinging foot's ankle by what leads smoothly from one step to the next, and hip and knee follow.
    """
    curves = _swung(traits, curves, stride_m)
    grid = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    place = _pose(traits, curves, grid)
    forward_grid = _forward(traits, grid, stride_m)
    shifts, heights = [], []
    for side, name in enumerate(("left", "right")):
        shift, height = _planted(traits, curves, grid, side, place, forward_grid - forward_grid[0])
        shifts.append(shift)
        heights.append(height)
    bob = -traits.bob_m * np.cos(2 * (grid - traits.bob_phase))
    pelvis = bob + np.min(np.minimum(*heights) - bob)
    place = _pose(traits, curves, phase)
    height = np.interp(phase, grid, pelvis, period=2 * np.pi)
    for side, (name, shift) in enumerate(zip(("left", "right"), shifts, strict=True)):
        moved = np.stack([np.interp(phase, grid, shift[:, axis], period=2 * np.pi) for axis in range(3)], axis=1)
        moved[:, 2] -= height
        _bend_leg(place, traits, name, moved)
    joints_m = np.stack([place[name] for name in JOINTS], axis=1)
    joints_m[..., 2] += height[:, None]
    return joints_m, _forward(traits, phase, stride_m)


def _forward(traits: Traits, phase: Float[np.ndarray, " frame"], stride_m: float) -> Float[np.ndarray, " frame"]:
    """Distance walked: even but for the surge with which each step pushes off."""
    return stride_m / (2 * np.pi) * (phase + traits.surge / 2 * np.sin(2 * (phase - traits.bob_phase)))


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


def _planted(
    traits: Traits,
    curves: Complex[np.ndarray, "2 angle harmonic"],
    phase: Float[np.ndarray, " frame"],
    side: int,
    place: dict[str, np.ndarray],
    forward_m: Float[np.ndarray, " frame"],
) -> tuple[Float[np.ndarray, "frame 3"], Float[np.ndarray, " frame"]]:
    """How far the ankle must move (z: from pelvis height to height above ground), and how high the leg lets the pelvis be."""
    name, sign = (("left", 1), ("right", -1))[side]
    own = np.mod(phase + side * np.pi, 2 * np.pi)
    stand = own < STANCE
    toes, sole = _foot_axes(traits, sign, _angles(curves[side], own)[ANGLES.index("foot")])
    rolled = np.where((sole[:, 0] > 0)[:, None], _under(traits, toes, sole, HEEL), _under(traits, toes, sole, BALL))
    rolled += traits.height_m * np.where(sole[:, 0] > 0, 0.0, BALL - HEEL)[:, None] * np.array([1.0, 0.0, 0.0])
    # Distance walked since this foot's heel strike (the right one strikes half a cycle later).
    since = np.interp(own, phase, forward_m)
    wanted = np.stack([rolled[:, 0] - since, rolled[:, 1], rolled[:, 2]], axis=1)
    shift = wanted - place[f"{name}_ankle"]
    shift[:, 0] -= shift[stand, 0].mean()
    shift[:, 1] = 0.0
    shift[:, 2] = np.where(stand, wanted[:, 2] - place[f"{name}_ankle"][:, 2], 0.0)
    order = np.argsort(own, kind="stable")
    shift[order] = _bridged(own[order], shift[order], stand[order])
    ankle = place[f"{name}_ankle"] + shift
    low = ankle[:, 2] - np.maximum(_under(traits, toes, sole, HEEL)[:, 2], _under(traits, toes, sole, TOE)[:, 2])
    lift = np.where(stand, 0.0, np.sin(np.pi * np.clip((own - STANCE) / (2 * np.pi - STANCE), 0, 1)) ** 2)
    shift[:, 2] += np.maximum(0.012 * lift - low, 0) * np.minimum(4 * lift, 1)
    across = ankle[:, :2] - place[f"{name}_hip"][:, :2]
    reach = 0.997 * (traits.thigh_m + traits.shank_m)
    room = np.sqrt(np.maximum(reach**2 - np.sum(across**2, axis=1), 0.01))
    height = np.where(stand, wanted[:, 2] + room - place[f"{name}_hip"][:, 2], np.inf)
    return shift, height


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
