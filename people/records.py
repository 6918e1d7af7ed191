"""Plain records of the data, with units and axis order in the names."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

Sex = Literal["female", "male"]
# the one order of gender classes; only the codes of Market-1501 (`ATTRIBUTES`) have another
GENDERS: tuple[Sex, ...] = ("female", "male")
Split = Literal["train", "validation", "test"]
Condition = Literal["normal", "bag", "coating_shoes", "coat", "other_clothes", "carrying"]
Activity = Literal["walking", "running", "sitting", "standing"]
ACTIVITIES: tuple[Activity, ...] = ("walking", "running", "sitting", "standing")
Seat = Literal["bench", "chair"]

JOINTS = (
    "head",
    "neck",  # between the shoulders
    "spine",
    "pelvis",  # hip centre
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "left_hand",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "right_hand",
    "left_hip",
    "left_knee",
    "left_ankle",
    "left_foot",  # ball of the foot
    "right_hip",
    "right_knee",
    "right_ankle",
    "right_foot",
)

COCO_KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)

# COCO's per-keypoint deviations of annotators, relative to the square root of the person's area: of `COCO_KEYPOINTS`
KEYPOINT_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip

# of each of `COCO_KEYPOINTS`, the number of the joint that a mirrored image has in its place
MIRRORED_KEYPOINTS = tuple(
    COCO_KEYPOINTS.index(f"{ {'left': 'right', 'right': 'left'}[side] }_{part}" if part else side)
    for side, _, part in (name.partition("_") for name in COCO_KEYPOINTS)
)

# COCO's pairs of keypoints that are drawn as limbs
SKELETON = (
    ("left_ankle", "left_knee"), ("left_knee", "left_hip"), ("right_ankle", "right_knee"), ("right_knee", "right_hip"),
    ("left_hip", "right_hip"), ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
    ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_elbow"), ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"), ("right_elbow", "right_wrist"), ("left_eye", "right_eye"), ("nose", "left_eye"),
    ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"), ("left_ear", "left_shoulder"),
    ("right_ear", "right_shoulder"),
)  # fmt: skip

# Attributes of a pedestrian; the classes of each in the order of Market-1501's codes 1, 2, ...
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "age": ("young", "teenager", "adult", "old"),
    "backpack": ("no", "yes"),
    "bag": ("no", "yes"),
    "handbag": ("no", "yes"),
    "clothes": ("dress", "pants"),  # type of lower-body clothing
    "down": ("long", "short"),  # length of lower-body clothing
    "up": ("long", "short"),  # length of sleeves
    "hair": ("short", "long"),
    "hat": ("no", "yes"),
    "gender": ("male", "female"),
    "upper_colour": ("black", "white", "red", "purple", "yellow", "gray", "blue", "green", "other"),
    "lower_colour": ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown", "other"),
}


@dataclass(frozen=True, eq=False)
class Motion:
    """One piece of one person's walk, body-centred and heading-aligned.

    `joints_m` is ordered as `JOINTS`; x points forward (the way the person walks), y to the person's left, z up. The origin
    is on the ground below the pelvis, so the pelvis has x = y = 0 in every frame. `forward_m` is the distance walked since
    the walk's first frame, with which a renderer moves the person through a scene. `relative_speed` is the speed at which
    the person was asked to walk, relative to a comfortable one.
    """

    subject_id: str
    walk_id: str
    joints_m: Float[np.ndarray, "frame joint 3"]
    forward_m: Float[np.ndarray, " frame"]
    frame_rate_hz: float
    sex: Sex | None = None
    age_years: float | None = None
    height_m: float | None = None
    weight_kg: float | None = None
    repaired_frames: int = 0
    relative_speed: float = 1.0

    def __len__(self) -> int:
        return len(self.joints_m)

    def piece(self, start: int, stop: int) -> "Motion":
        """The frames from `start` to before `stop`, as a motion of their own."""
        if not 0 <= start < stop <= len(self):
            raise ValueError(f"piece [{start}, {stop}) does not lie in walk {self.walk_id} of {len(self)} frames")
        return replace(self, joints_m=self.joints_m[start:stop], forward_m=self.forward_m[start:stop] - self.forward_m[start])


@dataclass(frozen=True, eq=False)
class PasserBy:
    """Somebody who walks through the picture farther away than the person whom a take records.

    `view_deg` is as in `Take`, for the passer-by's own walking direction. The middle of the path lies `away_m` farther from the
    camera than that of the person's, and `right_m` to the image's right. Who has walked to the end of `motion` stands still.
    """

    motion: Motion
    identity_seed: int
    view_deg: float
    away_m: float
    right_m: float


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A place outdoors, one for each session, with or without objects in it, and the people who pass by there."""

    is_cluttered: bool = False
    passers_by: tuple[PasserBy, ...] = ()


@dataclass(frozen=True, eq=False)
class Take:
    """One recording to be made: subject, piece of motion, clothes and bags, and the camera's view.

    `view_deg` is the angle between the walking direction and the camera's line of sight: 0 walks towards the camera, 90 is
    seen from the person's left side walking to the image's left, 180 walks away, 270 walks to the image's right.
    `session` counts the days of recording from 0: clothes are a subject's own and change from one session to the next.
    `identity_seed` fixes body, hair and clothes (the same in all takes of a subject), `seed` what differs from take to take.
    `split` is the subject's in a dataset that is to be written, None for a recording outside of a dataset.
    `appearance` are the twelve `ATTRIBUTES` that the person must show, by name; None draws clothes at random.
    `surroundings` None is a room, or with an `appearance` a street.
    """

    subject_id: str
    sequence: str
    motion: Motion
    condition: Condition
    session: int
    view_deg: float
    identity_seed: int
    seed: int
    split: Split | None = None
    appearance: Mapping[str, str] | None = None
    surroundings: Surroundings | None = None


@dataclass(frozen=True, eq=False)
class Rendered:
    """One rendered frame and its ground truth.

    `keypoints_px` follows `COCO_KEYPOINTS`: x, y and COCO visibility (0 outside the image, 1 hidden, 2 visible).
    `box_xyxy_px` bounds the mask, (0, 0, 0, 0) when the mask is empty.
    """

    frame_rgb: UInt8[np.ndarray, "height width 3"]
    mask: Shaped[np.ndarray, "height width"]
    keypoints_px: Float[np.ndarray, "17 3"]
    box_xyxy_px: Float[np.ndarray, " 4"]


@dataclass(frozen=True, eq=False)
class ScenePerson:
    """Somebody in a picture of several people: who, doing what, and where.

    `motion` is a piece of the person's walk, of which the first frame is shown; for another activity than walking it gives
    the proportions of the body. `view_deg` is as in `Take`, for the person's own heading. The person is `away_m` farther from
    the camera than the middle of the picture and `right_m` to the image's right. `seat` is what somebody who sits is on.
    `session` and `identity_seed` are as in `Take`, `seed` fixes the pose.
    """

    motion: Motion
    activity: Activity
    identity_seed: int
    session: int
    seed: int
    view_deg: float
    away_m: float
    right_m: float
    seat: Seat | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture to be made of several people, or of nobody; `place` numbers the place where it is taken.

    `subject_id` is the image's number in the layout, nine or twelve digits.
    """

    subject_id: str
    people: tuple[ScenePerson, ...]
    place: int
    seed: int
    split: Split


@dataclass(frozen=True, eq=False)
class RenderedPerson:
    """One person of a rendered scene, with the ground truth.

    `mask` is the whole person's within the image, `visible_mask` what no other person and no furniture covers; the box bounds
    the visible mask. Of `keypoints_px` (as in `Rendered`) those that others cover are hidden (1) too.
    """

    activity: Activity
    mask: Bool[np.ndarray, "height width"]
    visible_mask: Bool[np.ndarray, "height width"]
    keypoints_px: Float[np.ndarray, "17 3"]
    box_xyxy_px: Float[np.ndarray, " 4"]


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """A rendered scene: its image, and the people in the order in which the scene lists them."""

    image_rgb: UInt8[np.ndarray, "height width 3"]
    people: tuple[RenderedPerson, ...]


@dataclass(frozen=True, eq=False)
class Annotation:
    """One person labelled in an image, or a region of many people (`is_crowd`).

    The box lies within the image. `keypoints_px` are x, y and COCO visibility (0 not labelled, 1 hidden, 2 visible) of
    `COCO_KEYPOINTS`; all zeros: the person's keypoints are not labelled. `area_px` is that of the visible mask, which is
    `mask` where the layout has one. `activity` None is not known.
    """

    annotation_id: int
    box_xyxy_px: Float[np.ndarray, " 4"]
    keypoints_px: Float[np.ndarray, "17 3"]
    area_px: float
    is_crowd: bool = False
    activity: Activity | None = None
    mask: Bool[np.ndarray, "height width"] | None = None
