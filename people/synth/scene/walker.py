"""A dressed person who walks before a camera."""

import numpy as np

from people.records import Take
from people.synth.clothing.atlas import TextureAtlas
from people.synth.clothing.figure import Figure
from people.synth.clothing.posture import pose_skeleton, world_joints
from people.synth.clothing.wardrobe import build_person
from people.synth.scene.camera import FIELD_HEIGHT_M, Camera
from people.synth.scene.figures import DrawnFigure
from people.synth.scene.room import Light


class Walker:
    """The person of a take; `joints_m` (frame, joint, 3) are in the person's own axes, the path's middle at the origin."""

    def __init__(self, take: Take, camera: Camera) -> None:
        motion, self.shape, outfit = build_person(take)
        self.camera, self.figure = camera, Figure(self.shape, outfit)
        self.atlas = TextureAtlas(self.figure, outfit, FIELD_HEIGHT_M / camera.size_hw[0] / 3)
        self.joints_m = world_joints(motion, outfit, self.shape)

    def batch(self, numbers: range, light: Light, gain: float) -> DrawnFigure:
        """The frames of these numbers; after the last one the person stands still."""
        joints_m = self.joints_m[np.minimum(numbers, len(self.joints_m) - 1)]
        skeleton = pose_skeleton(joints_m, self.shape)
        return DrawnFigure(self.figure, self.atlas, skeleton, self.camera, light, gain)
