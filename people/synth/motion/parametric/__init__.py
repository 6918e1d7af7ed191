"""Parametric walks: joint angles as Fourier series over the gait cycle, forward kinematics, and feet that do not slide."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from people.config import build, check
from people.layouts.speeds import step_factors
from people.records import Motion
from people.synth.motion import WalkRequest
from people.synth.motion.parametric.kinematics import walk_cycle
from people.synth.motion.parametric.traits import AGES_YEARS, ANGLES, Traits, draw_traits, perturb_curves


def walks(request: WalkRequest) -> list[Motion]:
    """Generated walks of the requested numbers of people, walks and frames; the archive is not read."""
    if request.variation is None:
        raise ValueError(
            "a dataset whose source is parametric needs variation: {between_subjects: 1.0, within_subject: 1.0} in its block; "
            "add it to params.yaml (1 and 1: as studies report)"
        )
    return motions(
        request.people,
        walks=request.walks,
        frames=request.frames,
        frame_rate_hz=request.frame_rate_hz,
        seed=request.seed,
        variation=build(Variation, request.variation),
        speeds=request.speeds,
    )


@dataclass(frozen=True)
class Variation:
    """How much gait varies `between_subjects` and `within_subject`, from walk to walk; 1 and 1 is as studies report it."""

    between_subjects: float | int
    within_subject: float | int

    def __post_init__(self) -> None:
        rules = {name: (getattr(self, name) >= 0, "at least 0") for name in ("between_subjects", "within_subject")}
        check("variation.", self, rules)


def motions(
    count: int,
    *,
    walks: int,
    frames: int,
    frame_rate_hz: float | int,
    seed: int,
    variation: Variation = Variation(1.0, 1.0),
    speeds: Sequence[float] = (),
) -> list[Motion]:
    """`walks` walks of `frames` frames of each of `count` people, alternately female and male, aged 18 to 75.

    `speeds` has the speed of each walk, relative to the person's comfortable one; empty: all are comfortable.
    """
    for name, value in (("count", count), ("walks", walks), ("frames", frames), ("frame_rate_hz", frame_rate_hz)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}; request at least one person, walk and frame")
    if speeds and len(speeds) != walks:
        raise ValueError(f"expected a speed for each of {walks} walks, got {len(speeds)}; give as many, or none")
    generated = []
    for subject in range(count):
        rng = np.random.default_rng([seed, subject])
        sex, age_years = "female" if subject % 2 == 0 else "male", float(np.round(rng.uniform(*AGES_YEARS)))
        traits = draw_traits(rng, sex, age_years, variation.between_subjects)
        for walk in range(walks):
            walk_rng = np.random.default_rng([seed, subject, walk + 1])
            name, spread = f"w{subject + 1:03d}", variation.within_subject
            speed = speeds[walk] if speeds else 1.0
            generated.append(_generate_walk(traits, name, walk, frames, float(frame_rate_hz), walk_rng, spread, speed))
    return generated


def _generate_walk(
    traits: Traits,
    subject_id: str,
    walk: int,
    frames: int,
    frame_rate_hz: float,
    rng: np.random.Generator,
    spread: float | int,
    speed: float | int,
) -> Motion:
    """One walk: the person's gait with small random variation, times `spread`, starting at a random phase of the cycle.

    At another `speed` than 1 steps follow at another rate and have another length (`people/layouts/speeds.py`), from which the
    swing of the thighs follows; arms swing in proportion to the length.
    """
    rate_factor, length_factor = step_factors(speed)
    curves = perturb_curves(rng, traits.curves, 0.02 * spread)
    curves[:, ANGLES.index("shoulder"), 1:] *= length_factor
    cycle_rate_hz = rate_factor * traits.step_rate_hz / 2 * (1 + 0.02 * spread * rng.standard_normal())
    # The step rate varies by about one per cent within a walk.
    seconds = np.arange(frames) / frame_rate_hz
    phase_drift = 0.06 * np.sin(2 * np.pi * (0.23 * seconds + rng.random()))
    phase = 2 * np.pi * (cycle_rate_hz * seconds + rng.random()) + phase_drift
    stride_m = length_factor * traits.stride_m * (1 + 0.015 * spread * rng.standard_normal())
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
        relative_speed=float(speed),
    )
