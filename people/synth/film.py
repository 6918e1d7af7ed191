"""Videos of several people who walk past one camera, with the ground truth: who is visible where in every frame."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int16, UInt8

from people.synth.passages import Crossing, Passage, crossing_frames, enter_at, measure_crossing, passage_name, take_of
from people.synth.scene.camera import DISTANCE_M, camera_at, ground_offset_m
from people.synth.scene.figures import DrawnFigure, mask_box
from people.synth.scene.room import frame_noise
from people.synth.scene.shading import cast_shadows
from people.synth.scene.walker import Walker
from people.synth.scenes.backgrounds import Background, background_at
from people.synth.scenes.canvas import Canvas, Layer

__all__ = ["Film", "FilmFrame", "FilmPerson", "Passage", "crossing_frames", "enter_at", "render_film"]

_BATCH_PIXELS = 160 * 120 * 32


@dataclass(frozen=True, eq=False)
class Film:
    """A video to be made of people who walk past one camera; `place` numbers the place, as in `Scene`.

    Every passage is in view only within the film's `frame_count` frames, and its motion has the film's frame rate.
    """

    passages: tuple[Passage, ...]
    frame_count: int
    frame_rate_hz: float
    place: int
    seed: int


@dataclass(frozen=True, eq=False)
class FilmPerson:
    """One person who is visible in a frame of a film; `passage` is the index of the person's passage in the film.

    `mask` is the whole person's within the image, `visible_mask` what no other person and no object covers; the box bounds the
    visible mask.
    """

    passage: int
    mask: Bool[np.ndarray, "height width"]
    visible_mask: Bool[np.ndarray, "height width"]
    box_xyxy_px: Float[np.ndarray, " 4"]


@dataclass(frozen=True, eq=False)
class FilmFrame:
    """One frame of a film, and the people of whom at least a pixel is visible in it, by the index of their passages."""

    image_rgb: UInt8[np.ndarray, "height width 3"]
    people: tuple[FilmPerson, ...]


def render_film(film: Film, *, size_hw: tuple[int, int]) -> Iterator[FilmFrame]:
    """The frames of a film and their ground truth, in order; the same film gives the same bytes.

    The camera stands still before the empty place of number `film.place`, whose wall stands behind the farthest person (so in
    films of one place whose people walk at other distances it can stand elsewhere). Who is nearer covers who is farther. The
    light of a film is drawn from its seed, and so is the sensor's noise of every frame. Beside the film itself, memory holds
    the people of a batch of frames. A ValueError, raised at the call, names the first passage that has bad values or that is
    in view outside of the film's frames or at the beginning or the end of its walk (see `crossing_frames`).
    """
    camera_at(0.0, size_hw)
    _check_film(film)
    crossings = []
    for passage in film.passages:
        crossings.append(measure_crossing(passage, size_hw))
        _check_in_film(film, passage, crossings[-1].in_view)
    return _frames(film, crossings, size_hw)


def _check_film(film: Film) -> None:
    rules = {
        "frame_count": (film.frame_count >= 1, "at least 1"),
        "frame_rate_hz": (np.isfinite(film.frame_rate_hz) and film.frame_rate_hz > 0, "above 0"),
        "place": (film.place >= 0, "at least 0"),
        "seed": (film.seed >= 0, "at least 0"),
    }
    for name, (is_met, rule) in rules.items():
        if not is_met:
            raise ValueError(f"{name} of a film must be {rule}, got {getattr(film, name)}; give another")


def _check_in_film(film: Film, passage: Passage, in_view: range) -> None:
    name, rate_hz = passage_name(passage), passage.motion.frame_rate_hz
    if rate_hz != film.frame_rate_hz:
        raise ValueError(
            f"expected motions of {film.frame_rate_hz:g} Hz, the film's frame rate, got {rate_hz:g} Hz of {name}; resample it"
        )
    if in_view.start < 0 or in_view.stop > film.frame_count:
        raise ValueError(
            f"expected {name} in view within the film's frames 0 to {film.frame_count - 1}, got frames {in_view.start} to "
            f"{in_view.stop - 1}; change start_frame or frame_count"
        )


@dataclass(frozen=True, eq=False)
class _Batch:
    """Drawn frames of one passage, of which the first one is frame `start` of the film."""

    passage: int
    start: int
    figure: DrawnFigure

    def has(self, number: int) -> bool:
        return 0 <= number - self.start < len(self.figure.images)

    def depth_m(self, number: int) -> float:
        hips_m = self.figure.skeleton.joint["hips"][number - self.start]
        return float(self.figure.camera.project(hips_m)[2])


def _frames(film: Film, crossings: list[Crossing], size_hw: tuple[int, int]) -> Iterator[FilmFrame]:
    """Draw each person in batches of frames, because few large array operations cost less than many small ones."""
    rng = np.random.default_rng([film.seed, 101])
    gain = float(rng.uniform(0.86, 1.08))
    empty = background_at(film.place, max((crossing.farthest_m for crossing in crossings), default=DISTANCE_M), size_hw)
    empty = replace(empty, image_rgb=empty.image_rgb * np.float32(gain))
    walkers: dict[int, Walker] = {}  # by passage, those in view in the batch
    batch_frames = max(_BATCH_PIXELS // (size_hw[0] * size_hw[1]), 1)
    for start in range(0, film.frame_count, batch_frames):
        numbers = range(start, min(start + batch_frames, film.frame_count))
        shown = {index: _overlap(numbers, crossing.in_view) for index, crossing in enumerate(crossings)}
        walkers = {i: walkers.get(i) or _walker(film.passages[i], size_hw) for i, frames in shown.items() if frames}
        batches = []
        for index, walker in walkers.items():
            first = film.passages[index].start_frame
            frames = range(shown[index].start - first, shown[index].stop - first)
            batches.append(_Batch(index, shown[index].start, walker.batch(frames, empty.light, gain)))
        for number in numbers:
            visible = [batch for batch in batches if batch.has(number)]
            yield _compose(visible, number, empty, frame_noise(rng, size_hw))


def _overlap(first: range, second: range) -> range:
    return range(max(first.start, second.start), min(first.stop, second.stop))


def _walker(passage: Passage, size_hw: tuple[int, int]) -> Walker:
    walker = Walker(take_of(passage), camera_at(passage.view_deg, size_hw))
    walker.joints_m += ground_offset_m(walker.camera, passage.away_m, passage.right_m)
    return walker


def _compose(batches: list[_Batch], number: int, empty: Background, noise: Int16[np.ndarray, "height width 3"]) -> FilmFrame:
    """Frame `number` of the film: the people of the batches, all of which hold it, before the empty place."""
    if not batches:
        return FilmFrame(cv2.add(empty.image_rgb, noise, dtype=cv2.CV_8U), ())
    image, canvas = empty.image_rgb.copy(), Canvas(empty.inverse_depth)
    near_first, layers = sorted(batches, key=lambda batch: batch.depth_m(number)), []
    for owner, batch in enumerate(near_first):
        figure, index = batch.figure, number - batch.start
        cast_shadows(image, figure.camera, figure.feet_m(index))
        top, left = (int(coordinate) for coordinate in figure.origin[index])
        layers.append(Layer(owner, (top, left), figure.images[index], figure.fragments.inverse_depth[index]))
        canvas.draw(layers[-1])
    # Shadows lie on the ground behind objects.
    np.copyto(image, empty.image_rgb, where=(empty.inverse_depth > 0)[..., None])
    people = _ground_truth(near_first, layers, canvas)
    return FilmFrame(cv2.add(canvas.over(image), noise, dtype=cv2.CV_8U), people)


def _ground_truth(near_first: list[_Batch], layers: list[Layer], canvas: Canvas) -> tuple[FilmPerson, ...]:
    """Those of whom at least a pixel is visible, by passage."""
    size_hw = near_first[0].figure.camera.size_hw
    masks = [layer.mask(size_hw) for layer in layers]
    people = [
        FilmPerson(batch.passage, mask, visible_mask, mask_box(visible_mask, layer.window))
        for batch, layer, mask, visible_mask in zip(near_first, layers, masks, canvas.visible_masks(layers, masks), strict=True)
    ]
    return tuple(sorted((each for each in people if each.box_xyxy_px.any()), key=lambda each: each.passage))
