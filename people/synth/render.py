"""Renderer: frames of a dressed body that walks through a scene, with mask, keypoints and box as ground truth."""

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import numpy as np

from people.records import Condition, PasserBy, Rendered, Take
from people.synth.clothing.wardrobe import check_appearance
from people.synth.scene.camera import camera_at, ground_offset_m
from people.synth.scene.figures import coco_keypoints
from people.synth.scene.outdoors import outdoors
from people.synth.scene.room import ROOM, Scene, sensor_noise
from people.synth.scene.street import STREET
from people.synth.scene.walker import Walker

_BATCH_PIXELS = 160 * 120 * 8


def render(take: Take, *, size_hw: tuple[int, int]) -> Iterator[Rendered]:
    """The frames of one recording and their ground truth, in order; the same take gives the same bytes.

    The static camera looks at the middle of the path; a body out of view gives frames of the empty scene.
    """
    if take.condition not in get_args(Condition):
        raise ValueError(f"condition must be one of {', '.join(get_args(Condition))}, got {take.condition!r} ({take.sequence})")
    if len(take.motion) == 0:
        raise ValueError(f"the motion of {take.subject_id} {take.sequence} has no frames; give at least one")
    for motion in (take.motion, *(passer_by.motion for passer_by in _passers_by(take))):
        if not (np.isfinite(motion.joints_m).all() and np.isfinite(motion.forward_m).all()):
            raise ValueError(f"the motion of {take.subject_id} {take.sequence} has joints that are not finite; repair it first")
    if take.appearance is not None:
        check_appearance(take.appearance, take.condition)
    camera_at(take.view_deg, size_hw)
    return _frames(take, size_hw)


def _frames(take: Take, size_hw: tuple[int, int]) -> Iterator[Rendered]:
    """Render in batches of frames, because few large array operations cost less than many small ones."""
    scene, camera = _scene(take), camera_at(take.view_deg, size_hw)
    rng = np.random.default_rng([take.seed, 31])
    gain = float(rng.uniform(0.93, 1.06))
    background = (scene.background(take.session, float(take.view_deg), size_hw) * np.float32(gain)).astype(np.float32)
    noise = sensor_noise(rng, size_hw)
    person = Walker(take, camera)
    passers_by = [_walker_behind(passer_by, take, size_hw) for passer_by in _passers_by(take)]
    batch_frames = max(_BATCH_PIXELS // (size_hw[0] * size_hw[1]), 1)
    for start in range(0, len(take.motion), batch_frames):
        numbers = range(start, min(start + batch_frames, len(take.motion)))
        batch, *behind = (walker.batch(numbers, scene.light, gain) for walker in (person, *passers_by))
        keypoints = coco_keypoints(batch.skeleton, person.shape, batch, camera)
        for index in range(len(keypoints)):
            offset = int(rng.integers(len(noise) - background.size))
            image = background.copy()
            for of_passer_by in behind:
                of_passer_by.compose(index, image)
            yield batch.rendered(
                index, image, noise[offset : offset + background.size].reshape(background.shape), keypoints[index]
            )


def _scene(take: Take) -> Scene:
    if take.surroundings is not None:
        return outdoors(take.session, take.surroundings.is_cluttered)
    return ROOM if take.appearance is None else STREET


def _passers_by(take: Take) -> tuple[PasserBy, ...]:
    return take.surroundings.passers_by if take.surroundings else ()


def _walker_behind(passer_by: PasserBy, take: Take, size_hw: tuple[int, int]) -> Walker:
    """A passer-by before the take's camera; seen from the passer-by's own path, which is moved to its place."""
    own = {"motion": passer_by.motion, "identity_seed": passer_by.identity_seed, "view_deg": passer_by.view_deg}
    walker = Walker(replace(take, **own, condition="normal", surroundings=None), camera_at(passer_by.view_deg, size_hw))
    walker.joints_m += ground_offset_m(walker.camera, passer_by.away_m, passer_by.right_m)
    return walker
