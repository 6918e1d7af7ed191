"""Who is photographed by which street camera: pedestrians with attributes drawn at random, and the takes of each.

A take is one pass before one camera. Its `sequence` is what a photo's name says of it but for the box, c3s1_000401: the camera,
the session and the number of the first photo's frame; the others follow every `STRIDE_FRAMES`. Its `session` numbers the scene.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
from jaxtyping import Int

from people.datasets.market1501 import cameras
from people.layouts import image_files
from people.layouts.split_assignment import cast
from people.records import ATTRIBUTES, Motion, Rendered, Sex, Split, Take

Render = Callable[[Take], Iterator[Rendered]]

DISTRACTOR, JUNK = "0000", "-1"  # whom no label names, and what shows nobody
KINDS = {DISTRACTOR: "distractor", JUNK: "junk"}  # anybody else is a person
BOX_ERRORS = {"person": 0.05, "distractor": 0.09}  # of the detector, in heights of a person, times the camera's own factor
CAMERAS = 6
SEQUENCES = (*(f"c{camera}" for camera in range(1, CAMERAS + 1)), "others")  # the walks that a person needs
STRIDE_FRAMES = 5
AZIMUTHS_DEG = (0.0, 75.0, 150.0, 210.0, 270.0, 330.0)  # of the cameras, seen along the street
HEADINGS_DEG = (-15.0, 0.0, 15.0, 165.0, 180.0, 195.0)  # of the people: up or down the street, or a little across it
_FRAMES_APART = 100

# Every attribute's shares of its classes, for each class of the attribute that it depends on. As among the 751 training people
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


def draw(sexes: Sequence[Sex | None], rng: np.random.Generator) -> list[dict[str, str]]:
    """The attributes of as many pedestrians, of the given sex where that is known.

    The shares of the classes are kept as closely as so many people allow: a class of one in twelve is there among twelve.
    """
    drawn: list[dict[str, str]] = [{} for _ in sexes]
    for name, (parent, shares) in _SHARES.items():
        places = (rng.permutation(len(drawn)) + rng.random(len(drawn))) / max(len(drawn), 1)
        for person, sex, place in zip(drawn, sexes, places, strict=True):
            bounds = np.cumsum(shares[person.get(parent, _ANY)])[:-1]
            code = int(np.searchsorted(bounds, place, side="right"))
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
    """The takes of every person by two or more of the cameras, of strangers (`distractors`) and of `junk`, one photo each.

    `photos_per_camera` is the least and the most number of photos that a camera takes of a person, out of a piece of
    `frames_per_sequence` frames of the person's walk. No frame of motion is in two takes.
    """
    _check(subjects, cameras, photos_per_camera, frames_per_sequence)
    sizes: dict[Split, int] = {"train": subjects["train"], "validation": subjects["validation"], "test": subjects["test"]}
    shortest = (photos_per_camera[1] - 1) * STRIDE_FRAMES + 1
    splits = cast(motions, sizes, (cameras, 1), longest=frames_per_sequence, shortest=shortest, seed=seed)
    clock: Counter[int] = Counter()
    takes: list[Take] = []
    for first, (split, people) in zip(accumulate(sizes.values(), initial=1), splits.items(), strict=False):
        worn = draw([walked[0].sex for walked, _ in people], np.random.default_rng([seed, first]))
        for number, ((walked, _), appearance) in enumerate(zip(people, worn, strict=True), start=first):
            passes = _passes(walked, cameras, photos_per_camera, np.random.default_rng([seed, 0, number]))
            seeds = [(_seed(seed, number), _seed(seed, number, camera)) for camera, *_ in passes]
            takes += [
                _take(f"{number:04d}", *one, appearance, both, split, clock) for one, both in zip(passes, seeds, strict=True)
            ]
    moments = [moment for people in splits.values() for _, (walk,) in people for moment in _moments(walk)]
    return takes + _nobodies(moments, distractors, junk, cameras, seed, clock)


def _check(subjects: Mapping[Split, int], cameras: int, photos_per_camera: Sequence[int], frames_per_sequence: int) -> None:
    if set(subjects) != {"train", "validation", "test"} or not 2 <= cameras <= CAMERAS:
        raise ValueError(
            f"expected the sizes of train, validation and test and 2 to {CAMERAS} cameras, got {dict(subjects)} and {cameras}; "
            "correct datasets.market1501 in params.yaml"
        )
    fit = 1 + (frames_per_sequence - 1) // STRIDE_FRAMES
    if len(photos_per_camera) != 2 or not 2 <= photos_per_camera[0] <= photos_per_camera[1] <= fit:
        raise ValueError(
            f"expected photos_per_camera as [least, most] of 2 (a query and one to be found) to {fit} (one every "
            f"{STRIDE_FRAMES} of the {frames_per_sequence} frames_per_sequence), got {list(photos_per_camera)}; correct "
            "datasets.market1501 in params.yaml"
        )


def _passes(
    walked: Sequence[Motion], cameras: int, photos_per_camera: Sequence[int], rng: np.random.Generator
) -> list[tuple[int, float, Motion]]:
    """Which cameras see a person, from where, and the photographed frames of a piece of walk for each."""
    seen = sorted(rng.permutation(cameras)[: rng.integers(2, cameras + 1)] + 1)
    counts = rng.integers(photos_per_camera[0], photos_per_camera[1] + 1, len(seen))
    return [
        (int(camera), _view_deg(int(camera), rng), _frames(motion, np.arange(count) * STRIDE_FRAMES))
        for camera, count, motion in zip(seen, counts, walked, strict=False)
    ]


def _view_deg(camera: int, rng: np.random.Generator) -> float:
    return float((AZIMUTHS_DEG[camera - 1] + rng.choice(HEADINGS_DEG)) % 360)


def _frames(motion: Motion, frames: Int[np.ndarray, " photo"]) -> Motion:
    return replace(motion, joints_m=motion.joints_m[frames], forward_m=motion.forward_m[frames])


def _moments(walk: Motion) -> list[Motion]:
    """Single frames of a walk, each a motion."""
    return [_frames(walk, np.array([frame])) for frame in range(0, len(walk), STRIDE_FRAMES)]


def _nobodies(
    moments: Sequence[Motion], distractors: int, junk: int, cameras: int, seed: int, clock: Counter[int]
) -> list[Take]:
    """Strangers, seen once each by the cameras in turn: `distractors`, and those beside whom a detector found `junk`."""
    if distractors < 0 or junk < 0 or distractors + junk > len(moments):
        raise ValueError(
            f"expected at most {len(moments)} distractors and junk photos together (each takes a moment of somebody's spare "
            f"walk), got {distractors} and {junk}; lower them in datasets.market1501 of params.yaml, or add subjects"
        )
    rng = np.random.default_rng([seed, 0, 0])
    taken = [moments[index] for index in rng.permutation(len(moments))[: distractors + junk]]
    worn = draw([moment.sex for moment in taken], rng)
    takes = []
    for index, (moment, appearance) in enumerate(zip(taken, worn, strict=True)):
        camera, seeds = index % cameras + 1, (_seed(seed, 0, index), _seed(seed, 0, index, 1))
        who = DISTRACTOR if index < distractors else JUNK
        takes.append(_take(who, camera, _view_deg(camera, rng), moment, appearance, seeds, "test", clock))
    return takes


def _take(
    subject_id: str,
    camera: int,
    view_deg: float,
    motion: Motion,
    appearance: Mapping[str, str],
    seeds: tuple[int, int],
    split: Split,
    clock: Counter[int],
) -> Take:
    """One pass; the camera's frames are numbered on from pass to pass."""
    sequence = f"c{camera}s1_{_FRAMES_APART * clock[camera] + 1:06d}"
    clock[camera] += 1
    return Take(subject_id, sequence, motion, "normal", camera - 1, view_deg, *seeds, split, appearance)


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


# --- their photos ----------------------------------------------------------------------------------------------------


def photograph(takes: Sequence[Take], render: Render, jpeg_quality: int) -> list[tuple[str, str, bytes]]:
    """The photos of some takes: role (train, query or gallery), name and JPEG file of each."""
    return [photo for take in takes for photo in _photos(take, render, jpeg_quality)]


def _photos(take: Take, render: Render, jpeg_quality: int) -> Iterator[tuple[str, str, bytes]]:
    rng, kind = np.random.default_rng([take.seed, 47]), KINDS.get(take.subject_id, "person")
    place, _, first = take.sequence.rpartition("_")
    look = cameras.LOOKS[int(place[1]) - 1]
    for number, rendered in enumerate(render(take)):
        query = take.split == "test" and kind == "person" and number == 0
        box = cameras.good_box(rendered.box_xyxy_px)
        if kind == "junk":
            box = cameras.astray_box(box, rendered.mask.shape, rng)
        elif not query:
            box = cameras.detected_box(box, BOX_ERRORS[kind] * look.box_error, rng)
        image_rgb = look.photo(cameras.cut(rendered.frame_rgb, box), rng)
        role = "query" if query else "gallery" if take.split == "test" else "train"
        name = f"{take.subject_id}_{place}_{int(first) + STRIDE_FRAMES * number:06d}_{0 if query else number + 1:02d}.jpg"
        yield role, name, image_files.jpeg(image_rgb, jpeg_quality - look.quality_lost)
