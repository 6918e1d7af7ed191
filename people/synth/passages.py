"""Passages of a film: whether a person's walk crosses the picture, in which frames, and how to make one that does."""

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from jaxtyping import Bool, Float

from people.records import Condition, Motion, Take
from people.synth.clothing.posture import world_joints
from people.synth.clothing.wardrobe import build_person
from people.synth.repeated_walk import repeat_walk
from people.synth.scene.camera import NEAR_M, Camera, camera_at, ground_offset_m

MARGIN_M = 0.45  # round the joints: body, clothes and shadow lie within
NEAREST_M = 1.0  # depth of a joint in view: nearer to the camera, a limb would fill the picture
LONGEST_CROSSING_S = 60.0


@dataclass(frozen=True, eq=False)
class Passage:
    """One crossing of a film's picture by one person, from out of view on one side to out of view on the other.

    The first frame of `motion` is frame `start_frame` of the film, which may be negative. `view_deg` is as in `Take`, for the
    person's own walking direction; the middle of the path lies `away_m` farther from the camera than the middle of the picture
    and `right_m` to the image's right. `identity_seed`, `session` and `condition` fix body and clothes as in `Take`; so that
    the body is the same in all passages, the motion's `height_m` must be known. `subject_id` is the person's true identity.
    """

    subject_id: str
    motion: Motion
    identity_seed: int
    session: int
    view_deg: float
    away_m: float
    right_m: float
    start_frame: int = 0
    condition: Condition = "normal"


def crossing_frames(passage: Passage, *, size_hw: tuple[int, int]) -> range:
    """The frames of the film in which the person or the person's shadow can be in the picture.

    A person comes into view, or goes out of it, when the joint that is nearest to the picture's left or right edge is
    `MARGIN_M` outside of it. A ValueError says so if the walk begins or ends in view, is never in view, or passes nearer to the
    camera than `NEAREST_M`.
    """
    return measure_crossing(passage, size_hw).in_view


def enter_at(passage: Passage, frame: int, *, size_hw: tuple[int, int]) -> Passage:
    """The passage whose first frame in view is `frame` of the film, with its walk repeated as long as crossing takes.

    A walk that is long enough is left as it is; the passage's own `start_frame` does not count. A ValueError says so if the
    picture is not crossed within `LONGEST_CROSSING_S`, or if the walk cannot be repeated (see `repeat_walk`).
    """
    check_passage(passage)
    recorded = passage.motion
    most = round(LONGEST_CROSSING_S * recorded.frame_rate_hz)
    while not _crosses(_is_in_view(*_placed_joints(passage, size_hw))) and len(passage.motion) < most:
        frames = min(len(passage.motion) + max(round(recorded.frame_rate_hz / 2), 1), most)
        passage = replace(passage, motion=repeat_walk(recorded, frames))
    first = crossing_frames(passage, size_hw=size_hw).start
    return replace(passage, start_frame=passage.start_frame + frame - first)


@dataclass(frozen=True)
class Crossing:
    """The film's frames in which somebody is in view, and the person's largest distance from the camera in them."""

    in_view: range
    farthest_m: float


def measure_crossing(passage: Passage, size_hw: tuple[int, int]) -> Crossing:
    """When the person is in view and how far away; the errors are those of `crossing_frames`."""
    check_passage(passage)
    camera, joints_m = _placed_joints(passage, size_hw)
    in_view = _is_in_view(camera, joints_m)
    if not _crosses(in_view):
        raise ValueError(_failed_crossing(passage, in_view))
    first, last = (int(number) for number in np.flatnonzero(in_view)[[0, -1]])
    seen_m = joints_m[first : last + 1]
    nearest_m = float(camera.project(seen_m)[..., 2].min())
    if nearest_m < NEAREST_M:
        raise ValueError(
            f"expected people in view at least {NEAREST_M:g} m from the camera, got {passage_name(passage)} at "
            f"{nearest_m:.2f} m; raise away_m ({passage.away_m:g})"
        )
    horizontal = camera.axes[2, :2] / np.linalg.norm(camera.axes[2, :2])
    farthest_m = float(((seen_m[..., :2] - camera.position_m[:2]) @ horizontal).max())
    return Crossing(range(passage.start_frame + first, passage.start_frame + last + 1), farthest_m)


def take_of(passage: Passage) -> Take:
    """The take whose body and clothes the passage has."""
    return Take(
        subject_id=passage.subject_id,
        sequence=passage.motion.walk_id,
        motion=passage.motion,
        condition=passage.condition,
        session=passage.session,
        view_deg=passage.view_deg,
        identity_seed=passage.identity_seed,
        seed=0,
    )


def check_passage(passage: Passage) -> None:
    """Raise a ValueError for an unknown condition, numbers that are not possible, or a motion that cannot be shown."""
    name, motion = passage_name(passage), passage.motion
    if passage.condition not in get_args(Condition):
        raise ValueError(f"condition must be one of {', '.join(get_args(Condition))}, got {passage.condition!r} of {name}")
    for field in ("view_deg", "away_m", "right_m"):
        if not np.isfinite(value := getattr(passage, field)):
            raise ValueError(f"{field} must be finite, got {value} of {name}; give another")
    for field in ("identity_seed", "session"):
        if (value := getattr(passage, field)) < 0:
            raise ValueError(f"{field} must be at least 0, got {value} of {name}; give another")
    if len(motion) < 2:
        raise ValueError(f"expected a motion of at least 2 frames, got {len(motion)} of {name}; give a longer walk")
    if not (np.isfinite(motion.joints_m).all() and np.isfinite(motion.forward_m).all()):
        raise ValueError(f"expected finite joints, got others in the motion of {name}; repair it first")
    if motion.height_m is None:
        raise ValueError(
            f"expected a motion with height_m, got None of {name}: estimated from each walk, one person would have several "
            "bodies; set it in all the person's motions, for example to people.synth.body.shape.estimate_height_m of one"
        )


def passage_name(passage: Passage) -> str:
    """The passage in a message: who, and which walk."""
    return f"{passage.subject_id} (walk {passage.motion.walk_id})"


def _placed_joints(passage: Passage, size_hw: tuple[int, int]) -> tuple[Camera, Float[np.ndarray, "frame joint 3"]]:
    """The camera and the joints of the whole motion, both in the person's own axes."""
    camera = camera_at(passage.view_deg, size_hw)
    motion, shape, outfit = build_person(take_of(passage))
    return camera, world_joints(motion, outfit, shape) + ground_offset_m(camera, passage.away_m, passage.right_m)


def _is_in_view(camera: Camera, joints_m: Float[np.ndarray, "frame joint 3"]) -> Bool[np.ndarray, " frame"]:
    """The frames in which a joint is before the camera and within the picture's sides, or less than the margin beside them."""
    points = camera.project(joints_m)
    column, depth_m = points[..., 0], points[..., 2]
    margin_px = camera.focal_px * MARGIN_M / np.maximum(depth_m, NEAR_M)
    is_beside = (column > -margin_px) & (column < camera.size_hw[1] + margin_px)
    return np.asarray(((depth_m > NEAR_M) & is_beside).any(axis=1))


def _crosses(in_view: Bool[np.ndarray, " frame"]) -> bool:
    return bool(in_view.any() and not in_view[0] and not in_view[-1])


def _failed_crossing(passage: Passage, in_view: Bool[np.ndarray, " frame"]) -> str:
    walked_m = float(passage.motion.forward_m[-1] - passage.motion.forward_m[0])
    if in_view.any():
        ends = [name for name, is_seen in (("first", in_view[0]), ("last", in_view[-1])) if is_seen]
        fault = f"in view in its {' and '.join(ends)} frame"
    else:
        fault = "never in view"
    return (
        f"expected a walk from out of view on one side to out of view on the other, got {passage_name(passage)}, which is "
        f"{fault}: {len(in_view)} frames of {walked_m:.1f} m at view_deg {passage.view_deg:g}, away_m {passage.away_m:g}, "
        f"right_m {passage.right_m:g}; lengthen it (enter_at does) or choose a view_deg nearer to 90 or 270"
    )
