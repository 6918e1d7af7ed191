"""Joints of a dressed person in world coordinates, and the skeleton that carries body and clothes."""

import numpy as np
from jaxtyping import Float

from people.records import JOINTS, Motion
from people.synth.body.shape import Shape, Skeleton, build_skeleton, unit_vectors
from people.synth.clothing.outfit import Outfit


def world_joints(motion: Motion, outfit: Outfit, shape: Shape) -> Float[np.ndarray, "frame joint 3"]:
    """Joints in world coordinates, centred on the middle of the path, with arms moved outwards beside the hips' surface."""
    joints_m = motion.joints_m.astype(np.float32).copy()
    middle = (motion.forward_m[0] + motion.forward_m[-1]) / 2
    height_m, joint_index = shape.height_m, JOINTS.index
    hip_half_width = 0.098 * (shape.bmi / 22.5) ** 0.65 * shape.girth[2] + outfit.torso_ease(np.array([1.0]))[0]
    for side, sign in (("left", 1), ("right", -1)):
        # The arm hangs outside a bag at the hip.
        bag_width = 0.05 if outfit.bag is not None and outfit.bag.side == sign else 0.0
        clearance_m = (hip_half_width + 0.026 + outfit.ease_sleeve + bag_width) * height_m
        distance_m = sign * (joints_m[:, joint_index(f"{side}_wrist"), 1] - joints_m[:, joint_index("pelvis"), 1])
        shift_m = sign * np.float32(np.clip(clearance_m - np.median(distance_m), 0, 0.12))
        for name, weight in (("elbow", 0.6), ("wrist", 1.0), ("hand", 1.0)):
            joints_m[:, joint_index(f"{side}_{name}"), 1] += weight * shift_m
    joints_m[..., 0] += (motion.forward_m - middle).astype(np.float32)[:, None]
    return joints_m


def pose_skeleton(joints_m: Float[np.ndarray, "frame joint 3"], shape: Shape) -> Skeleton:
    """The skeleton of these joints, fingertips included."""
    skeleton = build_skeleton(joints_m, shape)
    _add_fingertips(skeleton, shape)
    return skeleton


def _add_fingertips(skeleton: Skeleton, shape: Shape) -> None:
    """Add fingertips, mainly along the forearm, because recorded hands are noisy and close to the wrist."""
    for side in ("left", "right"):
        elbow, wrist, hand = (skeleton.joint[f"{side}_{name}"] for name in ("elbow", "wrist", "hand"))
        skeleton.joint[f"{side}_tip"] = wrist + 0.1 * np.float32(shape.height_m) * unit_vectors(
            unit_vectors(wrist - elbow) + 0.5 * unit_vectors(hand - wrist)
        )
