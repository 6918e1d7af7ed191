"""What is a walker's own: body proportions, stride, cadence, posture and joint angles, drawn by sex and age.

The distributions shift with sex and age the way gait laboratories report it, so that gender and age can be learned from the
motion, and spread enough between people of one sex and age that people can be told apart.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from people.records import Sex

ANGLES = ("thigh", "knee", "foot", "shoulder", "elbow")
HARMONICS = 7
AGES_YEARS = (18.0, 75.0)
STEP_RATES_HZ = (1.45, 2.15)

# Typical adult curves over one gait cycle of the same side, in percent of the cycle (0 = heel strike) and degrees: thigh to the
# vertical (forward positive), knee flexion, foot to the ground (toes up positive: this fixes the ankle), upper arm to the trunk
# (forward positive), elbow flexion.
_TYPICAL = {
    "thigh": (
        (0, 23), (10, 19), (20, 11), (30, 1), (40, -9), (50, -17),
        (55, -17), (60, -13), (70, 4), (80, 19), (90, 25),
    ),
    "knee": (
        (0, 5), (8, 13), (15, 17), (25, 12), (35, 6), (42, 5), (50, 10),
        (57, 24), (65, 50), (72, 60), (80, 50), (88, 24), (94, 8),
    ),
    "foot": (
        (0, 18), (7, 2), (12, 0), (20, 0), (30, 0), (38, -1), (46, -12),
        (54, -33), (61, -56), (68, -52), (78, -18), (88, 9), (95, 18),
    ),
    "shoulder": (
        (0, -26), (12, -20), (25, -7), (38, 6),
        (50, 11), (62, 6), (75, -7), (88, -20),
    ),
    "elbow": (
        (0, 10), (25, 14),
        (50, 25), (75, 16),
    ),
}  # fmt: skip


def _series(points: tuple[tuple[int, int], ...]) -> Complex[np.ndarray, " harmonic"]:
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
    bob: float  # share of the height that the standing leg allows the body to rise by
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
        bob=float(np.clip(0.88 - 0.05 * years + 0.09 * normal[22], 0.5, 1.05)),
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
    offset = np.radians([0, 0, 0, 0, 4 * years + 5 * late] + np.array([0, 2.0, 0, 4.0, 5.0]) * rng.standard_normal(5))
    own = bent(rng, _BASE, 0.11, factor, offset)
    return np.stack([own, own]) * _sides(rng)


def _sides(rng: np.random.Generator) -> Complex[np.ndarray, "2 angle harmonic"]:
    size = (2, len(ANGLES), HARMONICS)
    factor = 1 + 0.03 * rng.standard_normal(size) + 0.03j * rng.standard_normal(size)
    factor[..., 0] = factor[..., 0].real
    return factor


def bent(
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
    bent[..., 0] = np.real(curves[..., 0]) + offset
    return bent
