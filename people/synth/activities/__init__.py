"""Activities: a frame of somebody who walks, runs, sits or stands, with the body proportions of a walk."""

from dataclasses import replace

import numpy as np

from people.records import ACTIVITIES, JOINTS, Activity, Motion, Seat
from people.synth.activities import running, sitting, standing
from people.synth.activities.proportions import measure_proportions
from people.synth.activities.sitting import SEAT_HEIGHT_M

__all__ = ["SEAT_HEIGHT_M", "check_activity", "perform"]


def perform(motion: Motion, activity: Activity, seed: int, seat: Seat | None) -> Motion:
    """One frame of the person of `motion` in an activity: the walk's first frame, or a pose drawn from `seed`.

    Bone lengths are the medians over the walk, and the height is kept or, where unknown, estimated from the walk.
    """
    check_activity(motion, activity, seat)
    if activity == "walking":
        return motion.piece(0, 1)
    body = measure_proportions(motion)
    rng = np.random.default_rng([seed, 61, ACTIVITIES.index(activity)])
    if seat is not None:
        joints = sitting.pose(body, rng, seat)
    else:
        joints = running.pose(body, rng) if activity == "running" else standing.pose(body, rng)
    joints_m = np.stack([joints[name] for name in JOINTS])[None].astype(np.float32)
    return replace(motion, joints_m=joints_m, forward_m=np.zeros(1, np.float32), height_m=body.height_m, repaired_frames=0)


def check_activity(motion: Motion, activity: str, seat: Seat | None) -> None:
    """Raise a ValueError for an unknown activity, a missing or needless seat, or a motion that cannot be shown."""
    walk = f"walk {motion.walk_id}"
    if activity not in ACTIVITIES:
        raise ValueError(f"activity must be one of {', '.join(ACTIVITIES)}, got {activity!r} ({walk})")
    if activity == "sitting" and seat not in SEAT_HEIGHT_M:
        raise ValueError(f"somebody who sits needs a seat, one of {', '.join(SEAT_HEIGHT_M)}, got {seat!r} ({walk})")
    if activity != "sitting" and seat is not None:
        raise ValueError(f"seat must be None for somebody who is {activity}, got {seat!r} ({walk}); or let the person sit")
    if len(motion) == 0:
        raise ValueError(f"{walk} has no frames; give at least one")
    if not (np.isfinite(motion.joints_m).all() and np.isfinite(motion.forward_m).all()):
        raise ValueError(f"{walk} has joints that are not finite; repair it first")
