"""People who walk: joint angles as Fourier series over the gait cycle, forward kinematics, feet that stay where they step."""

import numpy as np

from people.records import Motion
from people.synth.motion import Wanted
from people.synth.motion.parametric.kinematics import walk_cycle
from people.synth.motion.parametric.traits import AGES_YEARS, Traits, bent, draw_traits


def walks(wanted: Wanted) -> list[Motion]:
    """As many people, walks and frames as are wanted; the archive is this source's own code."""
    return motions(
        wanted.people, walks=wanted.walks, frames=wanted.frames, frame_rate_hz=wanted.frame_rate_hz, seed=wanted.seed
    )


def motions(count: int, *, walks: int, frames: int, frame_rate_hz: float | int, seed: int) -> list[Motion]:
    """`count` people, every second a woman, aged 18 to 75, walking `walks` times for `frames` frames each."""
    for name, value in (("count", count), ("walks", walks), ("frames", frames), ("frame_rate_hz", frame_rate_hz)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, came {value}; ask for at least one person, walk and frame")
    walked = []
    for subject in range(count):
        rng = np.random.default_rng([seed, subject])
        traits = draw_traits(rng, "female" if subject % 2 == 0 else "male", float(np.round(rng.uniform(*AGES_YEARS))))
        for walk in range(walks):
            drawn = np.random.default_rng([seed, subject, walk + 1])
            walked.append(_walk(traits, f"w{subject + 1:03d}", walk, frames, float(frame_rate_hz), drawn))
    return walked


def _walk(traits: Traits, subject_id: str, walk: int, frames: int, frame_rate_hz: float, rng: np.random.Generator) -> Motion:
    """One walk: the person's gait, a little different each time, from a random point of the cycle on."""
    curves = bent(rng, traits.curves, 0.02)
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
