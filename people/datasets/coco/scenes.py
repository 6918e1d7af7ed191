"""The plan of rendered scenes: who is in which picture, doing what, and where.

The camera of all scenes looks at the middle of the picture from 6 m; there an image's height covers 3 m, and its width 4 m (in
images of 4:3; of narrower ones more people stand outside, of wider ones nobody stands at the edges).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float

from people.layouts.split_assignment import assign_motion
from people.records import ACTIVITIES, Activity, Motion, Scene, ScenePerson, Seat, Split

SEQUENCES = ("walk",)
SCENES_PER_PLACE = 3
SEATS: tuple[Seat, ...] = ("bench", "chair")

MIDDLE_M = 6.0  # from the camera
NEAREST_M = 2.0  # from the camera: nearer, people are cut off at both edges
OUTFITS = 3  # of each person
HALF_WIDTH = 1 / 3  # of the field of view, in distances from the camera
EDGE = 1.05  # people stand this far from the middle at most, in halves of the image's width
PERSON_WIDTH_M, APART_M = 0.55, 0.8
BESIDE_SHARE = 0.6  # of the people are placed before, behind or beside somebody who is there
MOST_HIDDEN = 0.7  # of a person's width, by those who are nearer
_TRIES = 200


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Where the people of a scene are: distance from the camera, and offset to the right in such distances."""

    depth_m: Float[np.ndarray, " person"]
    right: Float[np.ndarray, " person"]

    def hidden(self) -> Float[np.ndarray, " person"]:
        """The share of each person's width that nearer people cover, those of several added."""
        half = PERSON_WIDTH_M / 2 / self.depth_m
        left, right = self.right - half, self.right + half
        overlap = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
        return (np.maximum(overlap, 0) * (self.depth_m < self.depth_m[:, None])).sum(axis=1) / (2 * half)

    def with_one(self, depth_m: float, right: float) -> "Arrangement":
        """The same people and one more."""
        return Arrangement(np.append(self.depth_m, depth_m), np.append(self.right, right))


@dataclass(eq=False)
class _Subject:
    walk: Motion
    identity_seed: int
    appearances: int = 0


def plan(
    motions: list[Motion],
    *,
    subjects: Mapping[Split, int],
    scenes: Mapping[Split, int],
    people_per_scene: Sequence[int],
    distance_m: Sequence[float | int],
    activities: Mapping[str, float],
    frames_per_sequence: int,
    seed: int,
) -> list[Scene]:
    """Scenes of the given number in each split, of people who are in no other split, numbered from 1.

    `people_per_scene` is the least and the greatest number of people; all numbers between are as frequent. `distance_m`
    is the least and the greatest distance from the camera; as many people stand within twice the least as between twice and
    four times. `activities` are shares by name, 1 in all. A person shows one frame of a piece of walk of `frames_per_sequence`
    frames, another one in every scene as long as there are enough.
    """
    _check_plan(subjects, scenes, people_per_scene, activities)
    _check_distance(distance_m)
    sizes: dict[Split, int] = {"train": subjects["train"], "validation": subjects["validation"], "test": subjects["test"]}
    assigned = assign_motion(motions, sizes, (1,), longest=frames_per_sequence, shortest=1, seed=seed)
    planned: list[Scene] = []
    person, place = 0, 0
    for code, (split, people) in enumerate(assigned.items()):
        members = [_Subject(walk, _seed(seed, 1, number)) for number, ((walk,),) in enumerate(people, start=person)]
        drawn = _draw(members, scenes[split], people_per_scene, distance_m, activities, np.random.default_rng([seed, code]))
        for number, scene_people in enumerate(drawn):
            image = len(planned) + 1
            seed_of_scene = _seed(seed, 2, image)
            planned.append(Scene(f"{image:012d}", scene_people, place + number // SCENES_PER_PLACE, seed_of_scene, split))
        person, place = person + len(members), planned[-1].place + 1
    return planned


def _check_plan(
    subjects: Mapping[Split, int],
    scenes: Mapping[Split, int],
    people_per_scene: Sequence[int],
    activities: Mapping[str, float],
) -> None:
    names = {"train", "validation", "test"}
    if set(subjects) != names or set(scenes) != names or min(scenes.values()) < 1:
        raise ValueError(
            f"expected the subjects and the scenes (at least one) of train, validation and test, got {dict(subjects)} and "
            f"{dict(scenes)}; correct datasets.coco in params.yaml"
        )
    most = min(subjects.values())
    if len(people_per_scene) != 2 or not 0 <= people_per_scene[0] <= people_per_scene[1] <= most:
        raise ValueError(
            f"expected people_per_scene as [least, most] of 0 to {most} (the subjects of the smallest split: nobody is twice "
            f"in a scene), got {list(people_per_scene)}; correct datasets.coco in params.yaml"
        )
    shares = list(activities.values())
    if set(activities) - set(ACTIVITIES) or any(share < 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(
            f"expected shares of {', '.join(ACTIVITIES)} that are 1 in all, got {dict(activities)}; correct "
            "datasets.coco.activities in params.yaml"
        )


def _check_distance(distance_m: Sequence[float | int]) -> None:
    if len(distance_m) != 2 or not NEAREST_M <= distance_m[0] < distance_m[1]:
        raise ValueError(
            f"expected distance_m as [least, most] metres from the camera, at least {NEAREST_M}, got {list(distance_m)}; "
            "correct datasets.coco in params.yaml"
        )


def _draw(
    members: Sequence[_Subject],
    scenes: int,
    people_per_scene: Sequence[int],
    distance_m: Sequence[float | int],
    activities: Mapping[str, float],
    rng: np.random.Generator,
) -> Iterator[tuple[ScenePerson, ...]]:
    """The people of each scene; those who have been in fewest scenes come first."""
    least, most = people_per_scene
    counts = [least + int(quantile * (most - least + 1)) for quantile in _quantiles(scenes, rng)]
    bounds = np.cumsum(list(activities.values()))[:-1]
    drawn = iter(
        [list(activities)[np.searchsorted(bounds, quantile, side="right")] for quantile in _quantiles(sum(counts), rng)]
    )
    for count in counts:
        order = rng.permutation(len(members))
        chosen = sorted((members[index] for index in order), key=lambda member: member.appearances)[:count]
        where = arrange(count, distance_m, rng)
        yield tuple(
            _person(member, cast(Activity, next(drawn)), float(depth_m), float(right), rng)
            for member, depth_m, right in zip(chosen, where.depth_m, where.right, strict=True)
        )


def _quantiles(count: int, rng: np.random.Generator) -> Float[np.ndarray, " count"]:
    """Numbers between 0 and 1 at equal distances, in any order: shares are kept as closely as so many allow."""
    return (rng.permutation(count) + 0.5) / max(count, 1)


def _person(member: _Subject, activity: Activity, depth_m: float, right: float, rng: np.random.Generator) -> ScenePerson:
    """One more appearance of somebody: in the next of `OUTFITS`, and in the next frame of the walk."""
    frame = member.appearances % len(member.walk)
    session = member.appearances % OUTFITS
    member.appearances += 1
    return ScenePerson(
        motion=member.walk.piece(frame, frame + 1),
        activity=activity,
        identity_seed=member.identity_seed,
        session=session,
        seed=int(rng.integers(1 << 31)),
        view_deg=float(rng.uniform(0, 360)),
        away_m=depth_m - MIDDLE_M,
        right_m=right * depth_m,
        seat=SEATS[int(rng.integers(len(SEATS)))] if activity == "sitting" else None,
    )


def arrange(count: int, distance_m: Sequence[float | int], rng: np.random.Generator) -> Arrangement:
    """Places for so many people, more near ones than far ones; many cover part of somebody, none more than `MOST_HIDDEN`.

    Where no place is left for that, the one of those tried is taken of which least is hidden.
    """
    people = Arrangement(np.empty(0), np.empty(0))
    for _ in range(count):
        best: tuple[float, Arrangement] | None = None
        for _ in range(_TRIES):
            candidate = people.with_one(*_candidate(people, distance_m, rng))
            hidden = float(candidate.hidden().max()) + 10 * _is_too_near(candidate)
            if best is None or hidden < best[0]:
                best = hidden, candidate
            if hidden <= MOST_HIDDEN:
                best = hidden, candidate
                break
        assert best is not None
        people = best[1]
    return people


def _candidate(people: Arrangement, distance_m: Sequence[float | int], rng: np.random.Generator) -> tuple[float, float]:
    nearest_m, farthest_m = distance_m
    depth_m = nearest_m * (farthest_m / nearest_m) ** rng.random()
    limit = EDGE * HALF_WIDTH
    right = rng.uniform(-limit, limit)
    if len(people.depth_m) and rng.random() < BESIDE_SHARE:
        other = int(rng.integers(len(people.depth_m)))
        widths = rng.choice((-1, 1)) * rng.uniform(0.3, 1.0)
        right = people.right[other] + widths * PERSON_WIDTH_M / min(depth_m, people.depth_m[other])
    return float(depth_m), float(np.clip(right, -limit, limit))


def _is_too_near(people: Arrangement) -> bool:
    """Whether the last of these people is nearer than `APART_M` to another one."""
    across_m, along_m = people.right * people.depth_m, people.depth_m
    apart_m = np.hypot(across_m[:-1] - across_m[-1], along_m[:-1] - along_m[-1])
    return bool((apart_m < APART_M).any())


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
