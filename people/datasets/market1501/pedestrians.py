"""Pedestrians with attributes drawn at random, and their takes by street cameras.

A take is one pass of one camera. Its `sequence` is a photo's name without identity and box, c3s1_000401: camera, session and
frame of the first photo; the other photos follow every `STRIDE_FRAMES`. Its `session` numbers the scene.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
from jaxtyping import Int

from people.datasets.market1501 import cameras
from people.layouts import image_files
from people.layouts.split_assignment import assign_motion
from people.records import ATTRIBUTES, Motion, Rendered, Sex, Split, Take

Render = Callable[[Take], Iterator[Rendered]]

DISTRACTOR, JUNK = "0000", "-1"  # a person without labels, and a false alarm of the detector
KINDS = {DISTRACTOR: "distractor", JUNK: "junk"}  # all other identities are persons
BOX_ERRORS = {"person": 0.05, "distractor": 0.09}  # of the detector, in heights of a person, times the camera's `box_error`
CAMERAS = 6
SEQUENCES = (
    *(f"c{camera}" for camera in range(1, CAMERAS + 1)),
    "others",
)  # of a person: a walk for each camera, and one for distractors and junk
STRIDE_FRAMES = 5
AZIMUTHS_DEG = (0.0, 75.0, 150.0, 210.0, 270.0, 330.0)  # of the cameras, from the direction of the street
HEADINGS_DEG = (-15.0, 0.0, 15.0, 165.0, 180.0, 195.0)  # of the people: up or down the street, up to 15 degrees across
_FRAMES_APART = 100

# Every attribute's shares of its classes, given the class of the attribute that it depends on. As among the 751 training people
# of Market-1501, but no class rarer than about one in twelve, so that small datasets have all of them.
_ANY = ""
_SHARES: dict[str, tuple[str, dict[str, tuple[float, ...]]]] = {
    "gender": (_ANY, {_ANY: (0.56, 0.44)}),
    "age": (_ANY, {_ANY: (0.08, 0.56, 0.28, 0.08)}),
    "hair": ("gender", {"male": (0.92, 0.08), "female": (0.22, 0.78)}),
    "clothes": ("gender", {"male": (0.0, 1.0), "female": (0.3, 0.7)}),
    "down": ("clothes", {"dress": (0.2, 0.8), "pants": (0.41, 0.59)}),
    "up": ("gender", {"male": (0.08, 0.92), "female": (0.1, 0.9)}),
    "hat": ("gender", {"male": (0.92, 0.08), "female": (0.9, 0.1)}),
    "backpack": ("gender", {"male": (0.71, 0.29), "female": (0.8, 0.2)}),
    "bag": ("gender", {"male": (0.83, 0.17), "female": (0.63, 0.37)}),
    "handbag": ("gender", {"male": (0.91, 0.09), "female": (0.87, 0.13)}),
    "upper_colour": (_ANY, {_ANY: (0.14, 0.24, 0.1, 0.08, 0.08, 0.11, 0.08, 0.08, 0.09)}),
    "lower_colour": (_ANY, {_ANY: (0.22, 0.08, 0.08, 0.08, 0.08, 0.1, 0.12, 0.08, 0.08, 0.08)}),
}


def draw_attributes(sexes: Sequence[Sex | None], rng: np.random.Generator) -> list[dict[str, str]]:
    """The attributes of as many pedestrians, of the given sex where that is known.

    The shares of the classes are kept as closely as so many people allow: a class of one in twelve is there among twelve.
    """
    drawn: list[dict[str, str]] = [{} for _ in sexes]
    for name, (parent, shares) in _SHARES.items():
        quantiles = (rng.permutation(len(drawn)) + rng.random(len(drawn))) / max(len(drawn), 1)
        for person, sex, quantile in zip(drawn, sexes, quantiles, strict=True):
            bounds = np.cumsum(shares[person.get(parent, _ANY)])[:-1]
            code = int(np.searchsorted(bounds, quantile, side="right"))
            person[name] = sex if name == "gender" and sex else ATTRIBUTES[name][code]
    return [{name: person[name] for name in ATTRIBUTES} for person in drawn]


def plan(
    motions: list[Motion],
    *,
    subjects: Mapping[Split, int],
    cameras: int,
    photos_per_camera: Sequence[int],
    frames_per_sequence: int,
    distractors: int,
    junk: int,
    seed: int,
) -> list[Take]:
    """The takes of every person by two or more of the cameras, of `distractors` (unlabelled people) and `junk`, one photo each.

    `photos_per_camera` is the least and the greatest number of photos that a camera takes of a person, out of a piece of
    `frames_per_sequence` frames of the person's walk. No frame of motion is in two takes.
    """
    _check_plan(subjects, cameras, photos_per_camera, frames_per_sequence)
    sizes: dict[Split, int] = {"train": subjects["train"], "validation": subjects["validation"], "test": subjects["test"]}
    shortest = (photos_per_camera[1] - 1) * STRIDE_FRAMES + 1
    splits = assign_motion(motions, sizes, (cameras, 1), longest=frames_per_sequence, shortest=shortest, seed=seed)
    passes_by_camera: Counter[int] = Counter()
    takes: list[Take] = []
    for first, (split, people) in zip(accumulate(sizes.values(), initial=1), splits.items(), strict=False):
        appearances = draw_attributes([walks[0].sex for walks, _ in people], np.random.default_rng([seed, first]))
        for number, ((walks, _), appearance) in enumerate(zip(people, appearances, strict=True), start=first):
            identity, rng = f"{number:04d}", np.random.default_rng([seed, 0, number])
            for camera, view_deg, motion in _passes(walks, cameras, photos_per_camera, rng):
                seeds = (_seed(seed, number), _seed(seed, number, camera))
                takes.append(_take(identity, camera, view_deg, motion, appearance, seeds, split, passes_by_camera))
    frames = [frame for people in splits.values() for _, (walk,) in people for frame in _single_frames(walk)]
    return takes + _distractors_and_junk(frames, distractors, junk, cameras, seed, passes_by_camera)


def _check_plan(
    subjects: Mapping[Split, int], cameras: int, photos_per_camera: Sequence[int], frames_per_sequence: int
) -> None:
    if set(subjects) != {"train", "validation", "test"} or not 2 <= cameras <= CAMERAS:
        raise ValueError(
            f"expected the sizes of train, validation and test and 2 to {CAMERAS} cameras, got {dict(subjects)} and {cameras}; "
            "correct datasets.market1501 in params.yaml"
        )
    most = 1 + (frames_per_sequence - 1) // STRIDE_FRAMES
    if len(photos_per_camera) != 2 or not 2 <= photos_per_camera[0] <= photos_per_camera[1] <= most:
        raise ValueError(
            f"expected photos_per_camera as [least, most] of 2 (a query and a match) to {most} (one every "
            f"{STRIDE_FRAMES} of the {frames_per_sequence} frames_per_sequence), got {list(photos_per_camera)}; correct "
            "datasets.market1501 in params.yaml"
        )


def _passes(
    walks: Sequence[Motion], cameras: int, photos_per_camera: Sequence[int], rng: np.random.Generator
) -> list[tuple[int, float, Motion]]:
    """The cameras that record a person, each with its view and the photographed frames of a piece of walk."""
    chosen = sorted(rng.permutation(cameras)[: rng.integers(2, cameras + 1)] + 1)
    counts = rng.integers(photos_per_camera[0], photos_per_camera[1] + 1, len(chosen))
    return [
        (int(camera), _view_deg(int(camera), rng), _frames(motion, np.arange(count) * STRIDE_FRAMES))
        for camera, count, motion in zip(chosen, counts, walks, strict=False)
    ]


def _view_deg(camera: int, rng: np.random.Generator) -> float:
    return float((AZIMUTHS_DEG[camera - 1] + rng.choice(HEADINGS_DEG)) % 360)


def _frames(motion: Motion, frames: Int[np.ndarray, " photo"]) -> Motion:
    return replace(motion, joints_m=motion.joints_m[frames], forward_m=motion.forward_m[frames])


def _single_frames(walk: Motion) -> list[Motion]:
    """Frames of a walk, `STRIDE_FRAMES` apart, each a motion of one frame."""
    return [_frames(walk, np.array([frame])) for frame in range(0, len(walk), STRIDE_FRAMES)]


def _distractors_and_junk(
    frames: Sequence[Motion], distractors: int, junk: int, cameras: int, seed: int, passes_by_camera: Counter[int]
) -> list[Take]:
    """Takes of one frame, the cameras in turn: `distractors`, and people near whom the detector has a false alarm (`junk`)."""
    if distractors < 0 or junk < 0 or distractors + junk > len(frames):
        raise ValueError(
            f"expected at most {len(frames)} distractors and junk photos together (each needs a frame of a subject's extra "
            f"walk), got {distractors} and {junk}; lower them in datasets.market1501 of params.yaml, or add subjects"
        )
    rng = np.random.default_rng([seed, 0, 0])
    chosen = [frames[index] for index in rng.permutation(len(frames))[: distractors + junk]]
    appearances = draw_attributes([motion.sex for motion in chosen], rng)
    takes = []
    for index, (motion, appearance) in enumerate(zip(chosen, appearances, strict=True)):
        camera, seeds = index % cameras + 1, (_seed(seed, 0, index), _seed(seed, 0, index, 1))
        identity = DISTRACTOR if index < distractors else JUNK
        takes.append(_take(identity, camera, _view_deg(camera, rng), motion, appearance, seeds, "test", passes_by_camera))
    return takes


def _take(
    subject_id: str,
    camera: int,
    view_deg: float,
    motion: Motion,
    appearance: Mapping[str, str],
    seeds: tuple[int, int],
    split: Split,
    passes_by_camera: Counter[int],
) -> Take:
    """One pass of a camera, whose frame numbers increase from pass to pass."""
    sequence = f"c{camera}s1_{_FRAMES_APART * passes_by_camera[camera] + 1:06d}"
    passes_by_camera[camera] += 1
    return Take(subject_id, sequence, motion, "normal", camera - 1, view_deg, *seeds, split, appearance)


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


# --- photos ----------------------------------------------------------------------------------------------------------


def photograph(takes: Sequence[Take], render: Render, jpeg_quality: int) -> list[tuple[str, str, bytes]]:
    """The photos of takes: role (train, query or gallery), name and JPEG file of each."""
    return [photo for take in takes for photo in _photos(take, render, jpeg_quality)]


def _photos(take: Take, render: Render, jpeg_quality: int) -> Iterator[tuple[str, str, bytes]]:
    rng, kind = np.random.default_rng([take.seed, 47]), KINDS.get(take.subject_id, "person")
    camera_session, _, first = take.sequence.rpartition("_")
    style = cameras.CAMERA_STYLES[int(camera_session[1]) - 1]
    for number, rendered in enumerate(render(take)):
        is_query = take.split == "test" and kind == "person" and number == 0
        box = cameras.annotated_box(rendered.box_xyxy_px)
        if kind == "junk":
            box = cameras.false_alarm_box(box, rendered.mask.shape, rng)
        elif not is_query:
            box = cameras.detected_box(box, BOX_ERRORS[kind] * style.box_error, rng)
        image_rgb = style.apply(cameras.crop(rendered.frame_rgb, box), rng)
        role = "query" if is_query else "gallery" if take.split == "test" else "train"
        frame, box_number = int(first) + STRIDE_FRAMES * number, 0 if is_query else number + 1
        name = f"{take.subject_id}_{camera_session}_{frame:06d}_{box_number:02d}.jpg"
        yield role, name, image_files.encode_jpeg(image_rgb, jpeg_quality - style.quality_lost)
