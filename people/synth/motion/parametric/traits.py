"""Traits of a walker: body proportions, stride, step rate, posture and joint angles, drawn by sex and age.

The distributions depend on sex and age as reported by gait laboratories, so that gender and age can be learned from motion.
Their variance within a sex and age allows identification.
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
_TYPICAL_DEG = {
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


def _fourier_coefficients(points: tuple[tuple[int, int], ...]) -> Complex[np.ndarray, " harmonic"]:
    """Fourier coefficients c of the periodic curve through `points`: angle(phase) = Re sum_h c_h exp(i h phase), in radians."""
    percent, degrees = np.array(points, float).T
    grid = np.arange(200) / 2
    curve = np.interp(grid, np.append(percent, 100 + percent[0]), np.append(degrees, degrees[0]), period=None)
    coefficients = np.fft.rfft(np.radians(curve)) / len(grid)
    coefficients[1:] *= 2
    return coefficients[:HARMONICS]


_TYPICAL_CURVES = np.stack([_fourier_coefficients(_TYPICAL_DEG[name]) for name in ANGLES])


@dataclass(frozen=True, eq=False)
class Traits:
    """Body and gait parameters of one person; angles in radians, `curves` are Fourier coefficients of `ANGLES` per side."""

    sex: Sex
    age_years: float
    height_m: float
    weight_kg: float
    stride_m: float
    step_rate_hz: float
    curves: Complex[np.ndarray, "2 angle harmonic"]
    lean: float  # trunk relative to the vertical, forward positive
    stoop: float  # upper relative to lower trunk
    head_forward: float
    pelvis_yaw: float
    pelvis_roll: float
    shoulder_yaw: float
    sway_m: float  # lateral movement of the pelvis towards the stance leg
    trunk_roll: float
    arm_out: float
    toe_out: float
    bob: float  # fraction of the pelvis rise that the stance leg's length allows
    surge: float  # relative amplitude of speed within a step
    step_width_m: float
    hip_half_m: float
    shoulder_half_m: float
    thigh_m: float
    shank_m: float
    trunk_m: float
    upper_arm_m: float
    forearm_m: float


def draw_traits(rng: np.random.Generator, sex: Sex, age_years: float, spread: float | int = 1.0) -> Traits:
    """Draw one person of the given sex and age.

    The dependencies are those on which gait studies agree: women take shorter steps at a higher rate than men, rotate and tilt
    the pelvis more, sway the trunk less, walk on a narrower base, and have broader hips against narrower shoulders. With age
    the steps shorten (slowly until about 60, faster after), the rate falls a little, arms swing less, elbows stay more bent,
    knees flex less in swing, feet point outwards and stand wider apart, and trunk and head stoop. `spread` scales what is the
    person's own: with less of it people of one sex and age are more alike.
    """
    if not AGES_YEARS[0] <= age_years <= AGES_YEARS[1]:
        raise ValueError(f"age_years must lie in {AGES_YEARS}, got {age_years}; the gait curves describe adults only")
    is_male = sex == "male"
    old_age = max(age_years - 58, 0) / 17
    relative_age = (age_years - 40) / 35
    normals = spread * rng.standard_normal(32)
    height_m = (1.775 if is_male else 1.645) + 0.065 * normals[0] - 0.03 * max(relative_age, 0)
    bmi = np.clip(
        (25.2 + 1.2 * relative_age + 3.0 * normals[1]) if is_male else (23.8 + 2.0 * relative_age + 3.4 * normals[1]), 17.5, 40
    )
    stride_m = height_m * ((0.815 if is_male else 0.775) - 0.025 * relative_age - 0.09 * old_age + 0.038 * normals[2])
    step_rate_hz = (1.78 if is_male else 1.92) - 0.03 * relative_age - 0.05 * old_age + 0.085 * normals[3]
    return Traits(
        sex=sex,
        age_years=age_years,
        height_m=float(height_m),
        weight_kg=float(bmi * height_m**2),
        stride_m=float(stride_m),
        step_rate_hz=float(np.clip(step_rate_hz, *STEP_RATES_HZ)),
        curves=_personal_curves(rng, is_male, relative_age, old_age, spread),
        lean=np.radians(2.5 + 2.0 * relative_age + 3.0 * old_age + 2.0 * normals[4]),
        stoop=np.radians(9 + 6 * relative_age + 6 * old_age + 4 * normals[5]),
        head_forward=np.radians(14 + 6 * relative_age + 6 * old_age + 5 * normals[6]),
        pelvis_yaw=np.radians(max((4.0 if is_male else 6.5) - 1.0 * relative_age + 1.3 * normals[7], 1.0)),
        pelvis_roll=np.radians(max((2.6 if is_male else 4.8) - 0.8 * relative_age + 0.9 * normals[8], 0.4)),
        shoulder_yaw=np.radians(max((5.5 if is_male else 4.5) - 1.0 * relative_age + 1.5 * normals[9], 0.5)),
        sway_m=max((0.020 if is_male else 0.015) + 0.005 * old_age + 0.005 * normals[10], 0.004),
        trunk_roll=np.radians((2.4 if is_male else 1.2) + 1.2 * old_age + 1.0 * normals[11]),
        arm_out=np.radians((8.5 if is_male else 6.5) + 2.5 * normals[12] + 0.25 * (bmi - 24)),
        toe_out=np.radians((7 if is_male else 5) + 2.5 * relative_age + 4.0 * normals[13]),
        bob=float(np.clip(0.88 - 0.05 * relative_age + 0.09 * normals[22], 0.5, 1.05)),
        surge=float(np.clip(0.05 + 0.02 * normals[24], 0.0, 0.12)),
        step_width_m=max((0.10 if is_male else 0.08) + 0.03 * old_age + 0.02 * normals[14], 0.02),
        hip_half_m=height_m * ((0.049 if is_male else 0.054) + 0.0025 * normals[15]),
        shoulder_half_m=height_m * ((0.108 if is_male else 0.0985) + 0.004 * normals[16]),
        thigh_m=height_m * (0.245 + 0.005 * normals[17]),
        shank_m=height_m * (0.243 + 0.005 * normals[18]),
        trunk_m=height_m * (0.283 + 0.006 * normals[19]),
        upper_arm_m=height_m * (0.176 + 0.005 * normals[20]),
        forearm_m=height_m * (0.143 + 0.004 * normals[21]),
    )


def _personal_curves(
    rng: np.random.Generator, is_male: bool, relative_age: float, old_age: float, spread: float | int
) -> Complex[np.ndarray, "2 angle harmonic"]:
    """Typical curves with random amplitudes and phases of one person, and a small asymmetry between both sides."""
    arm_swing = max(
        (1.05 if is_male else 0.95) - 0.15 * relative_age - 0.25 * old_age + 0.28 * spread * rng.standard_normal(), 0.15
    )
    factor = np.array([1.0, 1.0 - 0.05 * relative_age - 0.08 * old_age, 1.0 - 0.06 * old_age, arm_swing, max(arm_swing, 0.4)])
    offset = np.radians(
        [0, 0, 0, 0, 4 * relative_age + 5 * old_age] + np.array([0, 2.0, 0, 4.0, 5.0]) * spread * rng.standard_normal(5)
    )
    curves = perturb_curves(rng, _TYPICAL_CURVES, 0.11 * spread, factor, offset)
    return np.stack([curves, curves]) * _side_asymmetry(rng, spread)


def _side_asymmetry(rng: np.random.Generator, spread: float | int) -> Complex[np.ndarray, "2 angle harmonic"]:
    size = (2, len(ANGLES), HARMONICS)
    factor = 1 + 0.03 * spread * rng.standard_normal(size) + 0.03j * spread * rng.standard_normal(size)
    factor[..., 0] = factor[..., 0].real
    return factor


def perturb_curves(
    rng: np.random.Generator,
    curves: Complex[np.ndarray, "*side angle harmonic"],
    spread: float,
    factor: Float[np.ndarray, " angle"] | float = 1.0,
    offset: Float[np.ndarray, " angle"] | float = 0.0,
) -> Complex[np.ndarray, "*side angle harmonic"]:
    """Curves with amplitude and phase of every harmonic perturbed by the relative `spread`, then scaled and shifted."""
    change = 1 + spread * (rng.standard_normal(curves.shape) + 1j * rng.standard_normal(curves.shape))
    # The foot is flat in stance for everyone, so its curve varies less.
    change[..., ANGLES.index("foot"), :] = 1 + (change[..., ANGLES.index("foot"), :] - 1) * 0.25
    change[..., 0] = 1
    perturbed = curves * change * np.expand_dims(np.broadcast_to(factor, len(ANGLES)), -1)
    perturbed[..., 0] = np.real(curves[..., 0]) + offset
    return perturbed
