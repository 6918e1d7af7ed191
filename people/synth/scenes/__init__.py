"""Pictures of several people before one camera, each in an activity of their own, with furniture and ground truth."""

import cv2
import numpy as np

from people.records import RenderedPerson, RenderedScene, Scene
from people.synth.activities import check_activity
from people.synth.scene.camera import DISTANCE_M, camera_at
from people.synth.scene.figures import mask_box
from people.synth.scene.room import frame_noise
from people.synth.scene.shading import cast_shadows
from people.synth.scenes.backgrounds import background_at
from people.synth.scenes.canvas import Canvas
from people.synth.scenes.drawn_person import DrawnPerson


def render_scene(scene: Scene, *, size_hw: tuple[int, int]) -> RenderedScene:
    """The picture of a scene and the ground truth of its people; the same scene gives the same bytes."""
    camera_at(0.0, size_hw)
    for person in scene.people:
        check_activity(person.motion, person.activity, person.seat)
        position = person.away_m, person.right_m, person.view_deg
        if not np.isfinite(position).all():
            raise ValueError(f"away_m, right_m and view_deg must be finite, got {position} in scene {scene.subject_id}")
    rng = np.random.default_rng([scene.seed, 37])
    gain = float(rng.uniform(0.86, 1.08))
    farthest_m = DISTANCE_M + max((person.away_m for person in scene.people), default=0.0)
    background = background_at(scene.place, farthest_m, size_hw)
    people = [DrawnPerson(i, person, size_hw, background.light, gain) for i, person in enumerate(scene.people)]
    image, canvas = background.image_rgb * np.float32(gain), Canvas(background.inverse_depth)
    for person in people:
        cast_shadows(image, person.camera, person.ground_contacts_m)
        for layer in person.layers:
            canvas.draw(layer)
    is_object = background.inverse_depth > 0  # shadows lie on the ground behind objects
    image[is_object] = background.image_rgb[is_object] * np.float32(gain)
    image = cv2.add(canvas.over(image), frame_noise(rng, size_hw), dtype=cv2.CV_8U)
    return RenderedScene(image_rgb=image, people=_ground_truth(people, canvas, size_hw))


def _ground_truth(people: list[DrawnPerson], canvas: Canvas, size_hw: tuple[int, int]) -> tuple[RenderedPerson, ...]:
    masks = [person.layer.mask(size_hw) for person in people]
    near_first = sorted(range(len(people)), key=lambda index: people[index].depth_m)
    visible = canvas.visible_masks([people[i].layer for i in near_first], [masks[i] for i in near_first])
    visible_of = dict(zip(near_first, visible, strict=True))
    rendered = []
    for index, person in enumerate(people):
        keypoints_px = person.keypoints_px.copy()
        canvas.hide(keypoints_px, person.keypoint_depths_m, index)
        box = mask_box(visible_of[index], person.layer.window)
        rendered.append(RenderedPerson(person.activity, masks[index], visible_of[index], keypoints_px, box))
    return tuple(rendered)
