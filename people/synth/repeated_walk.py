"""A recorded walk repeated to any length: whole gait cycles, joined where the poses are alike."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from people.layouts.motion import step_rate_hz
from people.records import JOINTS, Motion

SEAM_S = 0.2  # within which the end of a repetition is blended into its beginning
MAX_SEAM_M = 0.1  # root mean square distance of the joints over the seam: half a cycle apart, legs differ by more
_SHORTEST_CYCLES = 0.75  # of the estimated duration of a gait cycle, which a short walk gives with an error
ALIKE_M, _TOLERANCE = 0.07, 1.25  # seams within this distance, or as many times the best one's, are as good as the best


def repeat_walk(motion: Motion, frames: int) -> Motion:
    """The walk with `frames` frames: its first ones if it has as many, otherwise with whole gait cycles of it repeated.

    At a seam, over `SEAM_S`, joints and speed pass smoothly from one repetition to the next; all other frames are recorded
    ones. A ValueError says so if the walk holds no gait cycle that ends as it begins.
    """
    if frames < 1:
        raise ValueError(f"expected at least one frame, got {frames}; give the length that the walk should have")
    if len(motion) >= frames:
        return motion.piece(0, frames)
    if not (np.isfinite(motion.joints_m).all() and np.isfinite(motion.forward_m).all()):
        raise ValueError(f"walk {motion.walk_id} has joints that are not finite; repair it first")
    seam = max(round(SEAM_S * motion.frame_rate_hz), 2)
    start, stop = _repetition(motion, seam)
    share = np.arange(1, seam + 1) / (seam + 1)
    weight = share**2 * (3 - 2 * share)
    advance_m = np.diff(motion.forward_m, prepend=motion.forward_m[0])  # to each frame from the one before
    advance_m[0] = advance_m[1]
    order = np.arange(frames)
    order[stop:] = start + (order[stop:] - stop) % (stop - start)
    forward_m = np.cumsum(_blended(advance_m, start, stop, weight)[order])
    return replace(
        motion,
        joints_m=_blended(motion.joints_m, start, stop, weight[:, None, None])[order],
        forward_m=(forward_m - forward_m[0]).astype(motion.forward_m.dtype),
    )


def _blended(
    values: Float[np.ndarray, "frame *item"], start: int, stop: int, weight: Float[np.ndarray, "seam *one"]
) -> Float[np.ndarray, "frame *item"]:
    """The values of which the last before `stop` pass into the last before `start`."""
    blended, seam = values.copy(), len(weight)
    blended[stop - seam : stop] += (weight * (values[start - seam : start] - values[stop - seam : stop])).astype(values.dtype)
    return blended


def _repetition(motion: Motion, seam: int) -> tuple[int, int]:
    """The frames [start, stop) of whole gait cycles: the `seam` frames before `stop` are like those before `start`."""
    count, description = len(motion), f"walk {motion.walk_id} of {len(motion)} frames at {motion.frame_rate_hz:g} Hz"
    advice = "record a longer walk or leave it out"
    shortest = seam
    if count > 2 * seam:
        shortest = max(round(_SHORTEST_CYCLES * 2 * motion.frame_rate_hz / step_rate_hz(motion)), seam)
    if count < seam + shortest or count <= 2 * seam:
        raise ValueError(f"expected a gait cycle and {seam} frames before it to repeat a walk, got {description}; {advice}")
    distance_m = _distances_m(motion, seam)
    starts, stops = np.ogrid[seam : count + 1, seam : count + 1]
    # Of neighbouring stops, the one at which the poses are most alike ends a whole cycle.
    beside_m = np.pad(distance_m, ((0, 0), (1, 1)), constant_values=np.inf)
    is_whole = (distance_m <= beside_m[:, :-2]) & (distance_m <= beside_m[:, 2:])
    distance_m = np.where(is_whole & (stops - starts >= shortest), distance_m, np.inf)
    best_m = float(distance_m.min())
    if best_m > MAX_SEAM_M:
        best = f"the best within {best_m:.2f} m" if np.isfinite(best_m) else "none at all"
        raise ValueError(
            f"expected a gait cycle that ends as it begins, within {MAX_SEAM_M} m, to repeat a walk, got {description}, "
            f"{best}; {advice}"
        )
    # Of good seams, that of the longest repetition: it keeps the variation from cycle to cycle.
    lengths = np.where(distance_m <= max(ALIKE_M, _TOLERANCE * best_m), stops - starts, 0)
    start, stop = np.unravel_index(int(lengths.argmax()), lengths.shape)
    return int(start) + seam, int(stop) + seam


def _distances_m(motion: Motion, seam: int) -> Float[np.ndarray, "start stop"]:
    """Root mean square distance of the joints over the `seam` frames before any two frames, both from number `seam` on."""
    poses = motion.joints_m.reshape(len(motion), -1).astype(float)
    poses -= poses.mean(axis=0)
    squared = (poses**2).sum(axis=1)
    of_pairs = squared[:, None] + squared - 2 * poses @ poses.T
    side = len(motion) - seam + 1
    mean = sum(of_pairs[first : first + side, first : first + side] for first in range(seam)) / (seam * len(JOINTS))
    return np.sqrt(np.maximum(mean, 0))
