"""A person's proportions, measured on a walk: bone lengths and the positions of hips and shoulders on the trunk."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from people.records import JOINTS, Motion
from people.synth.body.shape import estimate_height_m

SIDES = (("left", 1), ("right", -1))  # sign of y
PARENTS = {  # the joint at the other end of the bone, towards the pelvis
    "spine": "pelvis",
    "neck": "spine",
    "head": "neck",
    **{
        f"{side}_{joint}": parent if parent in JOINTS else f"{side}_{parent}"
        for side, _ in SIDES
        for joint, parent in (
            ("shoulder", "neck"),
            ("elbow", "shoulder"),
            ("wrist", "elbow"),
            ("hand", "wrist"),
            ("hip", "pelvis"),
            ("knee", "hip"),
            ("ankle", "knee"),
            ("foot", "ankle"),
        )
    },
}
_AVERAGE_BMI = 24.0  # of people whose weight is not recorded


@dataclass(frozen=True, eq=False)
class Proportions:
    """Bone lengths (m) by the joint at the bone's end away from the pelvis; `drop_m`: how far hips lie below the pelvis joint
    and shoulders below the neck, along the trunk."""

    length_m: Mapping[str, float]
    drop_m: Mapping[str, float]
    height_m: float
    bmi: float

    def lateral_m(self, joint: str) -> float:
        """Distance of a hip or shoulder from the body's middle."""
        return float(np.sqrt(max(self.length_m[joint] ** 2 - self.drop_m[joint] ** 2, 0.0)))

    @property
    def hip_half_width_m(self) -> float:
        """Half width of the body at the hips, with clothes."""
        return self.height_m * (0.098 * (self.bmi / 22.5) ** 0.65 + 0.012)


def measure_proportions(motion: Motion) -> Proportions:
    """Medians over the motion's frames, which noise in single frames of a recording does not move."""
    joint = {name: motion.joints_m[:, i].astype(np.float64) for i, name in enumerate(JOINTS)}
    bones = {name: joint[name] - joint[parent] for name, parent in PARENTS.items()}
    length_m = {name: float(np.median(np.linalg.norm(bone, axis=1))) for name, bone in bones.items()}
    trunk = joint["neck"] - joint["pelvis"]
    up = trunk / np.maximum(np.linalg.norm(trunk, axis=1, keepdims=True), 1e-6)
    drop_m = {}
    for side, _ in SIDES:
        for name in (f"{side}_hip", f"{side}_shoulder"):
            drop = float(np.median(-np.einsum("fi,fi->f", bones[name], up)))
            drop_m[name] = float(np.clip(drop, -0.8 * length_m[name], 0.8 * length_m[name]))
    height_m = motion.height_m or estimate_height_m(motion)
    bmi = motion.weight_kg / height_m**2 if motion.weight_kg else _AVERAGE_BMI
    return Proportions(length_m, drop_m, float(height_m), float(np.clip(bmi, 16, 42)))
