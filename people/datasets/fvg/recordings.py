"""What is recorded of whom: people, sessions, speeds, bags, clothes, and passers-by behind the person."""

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from people.layouts.speeds import at_speed, frames_required
from people.layouts.split_assignment import assign_splits, cut_pieces, strata
from people.records import Condition, Motion, PasserBy, Split, Surroundings, Take

VIDEOS = tuple(range(1, 13))
VIEWS_DEG = (315.0, 0.0, 45.0)  # of the first, second and third video of each three
GALLERY_VIDEO = 2
SLOW, FAST = 0.75, 1.25  # times a person's comfortable speed
# of each session, the codes of videos 1 to 3, 4 to 6, 7 to 9 and 10 to 12
CONDITIONS = (
    ("normal", "slow", "fast", "bag"),
    ("normal", "speed", "clothes", "clutter"),
    ("normal", "slow", "fast", "bag"),
)
RENDERED_SPEEDS = {"slow": (SLOW,) * 3, "fast": (FAST,) * 3, "speed": (SLOW, FAST, SLOW)}  # of the three videos
CLOTHES: dict[str, Condition] = {"bag": "carrying", "clothes": "other_clothes"}
MIN_FRAMES = 15  # the shortest sequence that is still worth recording: one gait cycle at 15 Hz

PASSERS_BY = 2
CLEARANCE_M = (0.8, 2.0)  # between the farthest point of the person's path and the path of who passes behind
PASSING_VIEWS_DEG = ((72.0, 108.0), (252.0, 288.0))  # to the image's left, to its right
BESIDE_M = 1.0  # the middle of a passer-by's path lies within this, to the side of the middle of the person's

_LOG = logging.getLogger(__name__)
_Pieces = dict[str, Motion]  # by sequence


class Recording(NamedTuple):
    """One video of a session: its sequence, code, view and speed relative to a comfortable one."""

    session: int
    video: int
    sequence: str
    code: str
    view_deg: float
    speed: float


def recording(session: int, video: int) -> Recording:
    """What is recorded in a video (1 to 12) of a session (0 to 2); the speed is that of rendered people."""
    three, third = divmod(video - 1, 3)
    code = CONDITIONS[session][three]
    speed = RENDERED_SPEEDS.get(code, (1.0,) * 3)[third]
    return Recording(session, video, sequence_name(session, video), code, VIEWS_DEG[third], speed)


def sequence_name(session: int, video: int) -> str:
    """The sequence of a video: s1-02 is the second of the first session."""
    return f"s{session + 1}-{video:02d}"


FIRST, SECOND, RETURNING = (
    tuple(recording(session, video) for session in sessions for video in VIDEOS) for sessions in ((0,), (1,), (0, 2))
)
SEQUENCES = tuple(record.sequence for record in RETURNING)  # of a person with most of them
SPEEDS = tuple(record.speed for record in RETURNING)  # at which a source that generates walks does so


def plan(
    motions: list[Motion],
    *,
    subjects: Mapping[Split, int],
    sessions: Mapping[str, float | int],
    frames_per_sequence: int,
    seed: int,
) -> list[Take]:
    """Twelve videos of every subject, of those who return twelve more; three directions each.

    `subjects` sizes the splits, whose people are numbered from 1: train, validation, test. `sessions` has the share of a
    split's people who are of session 2 (`second`; the others are of session 1), and the share of those of session 1 who come
    back for session 3 (`returning`): where a share is not 0 at least one person, where there are two. A sequence has
    `frames_per_sequence` frames, or fewer (not under `MIN_FRAMES`) where a subject's walks hold no more. Motions at the speeds
    that are recorded are taken as they are; where a subject has none of a speed, it is made of comfortable walks (`at_speed`).
    """
    sizes, counts = _counts(subjects, sessions)
    assigned = _assign_subjects(motions, sizes, counts, frames_per_sequence, seed)
    people: list[tuple[Split, tuple[Recording, ...], _Pieces]] = [
        (split, *recorded) for split in sizes for recorded in assigned[split]
    ]
    takes = []
    for number, (split, recordings, pieces) in enumerate(people, start=1):
        others = [(of, of_other) for of, _, of_other in people if of_other is not pieces]
        strangers = [of_other for of, of_other in others if of == split] or [of_other for _, of_other in others]
        for record in recordings:
            motion, rng = pieces[record.sequence], np.random.default_rng([seed, number, record.session, record.video])
            passers_by = tuple(_passers_by(motion, strangers, rng)) if record.code == "clutter" else ()
            takes.append(
                Take(
                    subject_id=f"{number:03d}",
                    sequence=record.sequence,
                    motion=motion,
                    condition=CLOTHES.get(record.code, "normal"),
                    session=record.session,
                    view_deg=record.view_deg,
                    identity_seed=_seed(seed, number),
                    seed=_seed(seed, number, record.session, record.video),
                    split=split,
                    surroundings=Surroundings(is_cluttered=record.code == "clutter", passers_by=passers_by),
                )
            )
    return takes


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _passers_by(motion: Motion, strangers: Sequence[_Pieces], rng: np.random.Generator) -> Iterator[PasserBy]:
    """People who cross behind the person; they walk as another person of the split does, in body and clothes of nobody."""
    walks = [walk for pieces in strangers for walk in pieces.values() if walk.relative_speed == 1]
    half_path_m = float(np.ptp(motion.forward_m)) / 2
    away_m = sorted(half_path_m + rng.uniform(*CLEARANCE_M, PASSERS_BY), reverse=True)
    for number in range(PASSERS_BY):
        yield PasserBy(
            motion=walks[int(rng.integers(len(walks)))],
            identity_seed=int(rng.integers(2**31)),
            view_deg=float(rng.uniform(*PASSING_VIEWS_DEG[number % 2])),
            away_m=float(away_m[number]),
            right_m=float(rng.uniform(-BESIDE_M, BESIDE_M)),
        )


# --- who is recorded ---------------------------------------------------------------------------------------------------


class _Counts(NamedTuple):
    """How many people of a split are of session 1 alone, of session 2, and of sessions 1 and 3."""

    first: int
    second: int
    returning: int


def _counts(
    subjects: Mapping[Split, int], sessions: Mapping[str, float | int]
) -> tuple[dict[Split, int], dict[Split, _Counts]]:
    shares_are_valid = set(sessions) == {"second", "returning"} and all(0 <= share <= 1 for share in sessions.values())
    if set(subjects) != {"train", "validation", "test"} or min(subjects.values()) < 1 or not shares_are_valid:
        raise ValueError(
            f"expected at least one subject of train, validation and test, and sessions: {{second: share, returning: share}} "
            f"from 0 to 1, got {dict(subjects)} and {dict(sessions)}; correct datasets.fvg in params.yaml"
        )
    sizes: dict[Split, int] = {"train": subjects["train"], "validation": subjects["validation"], "test": subjects["test"]}
    counts = {}
    for split, size in sizes.items():
        second = min(_share(sessions["second"], size), size - 1) if sessions["second"] < 1 else size
        returning = _share(sessions["returning"], size - second)
        counts[split] = _Counts(size - second - returning, second, returning)
    return sizes, counts


def _share(share: float | int, people: int) -> int:
    """A share of people, at least one where it is not 0."""
    return min(max(math.floor(share * people + 0.5), int(share > 0)), people)


def _assign_subjects(
    motions: list[Motion], sizes: Mapping[Split, int], counts: Mapping[Split, _Counts], frames: int, seed: int
) -> dict[Split, list[tuple[tuple[Recording, ...], _Pieces]]]:
    """What is recorded of the subjects of every split; known labels come first, stratified by sex and age."""
    by_subject = defaultdict(list)
    for motion in motions:
        by_subject[motion.subject_id].append(motion)
    once = {name: pieces for name, walks in sorted(by_subject.items()) if (pieces := _enough(walks, FIRST, frames, seed))}
    twice = {name: pieces for name, walks in sorted(by_subject.items()) if (pieces := _enough(walks, RETURNING, frames, seed))}
    required, returning = sum(sizes.values()), sum(count.returning for count in counts.values())
    if len(once) < required or len(twice) < returning:
        raise ValueError(
            f"expected {required} subjects with motion for {len(FIRST)} videos of at least {min(MIN_FRAMES, frames)} frames, "
            f"{returning} of them for {len(RETURNING)}; of {len(by_subject)} subjects {len(once)} have enough for "
            f"{len(FIRST)} and {len(twice)} for {len(RETURNING)}; lower the dataset's subjects or frames_per_sequence in "
            "params.yaml, or add walks"
        )
    if too_short := sorted(set(by_subject) - set(once)):
        names = ", ".join(too_short)
        _LOG.warning("%d of %d subjects have too little motion, left out: %s", len(too_short), len(by_subject), names)
    stratum = strata(motions)
    shuffled = [list(once)[index] for index in np.random.default_rng(seed).permutation(len(once))]
    ranked = sorted(shuffled, key=lambda name: stratum[name][0] == "" or stratum[name][1] < 0)
    return_first = sorted(ranked, key=lambda name: name not in twice)[:returning]
    others = [name for name in ranked if name not in return_first][: required - returning]
    coming_back = assign_splits(return_first, stratum, {split: count.returning for split, count in counts.items()}, seed)
    sizes_of_others = {
        f"{split} {session}": getattr(count, session) for split, count in counts.items() for session in ("first", "second")
    }
    coming_once = assign_splits(others, stratum, sizes_of_others, seed)
    return {
        split: [(RETURNING, twice[name]) for name in coming_back[split]]
        + [(FIRST, once[name]) for name in coming_once[f"{split} first"]]
        + [(SECOND, _required(by_subject[name], SECOND, frames, seed)) for name in coming_once[f"{split} second"]]
        for split in sizes
    }


# --- motion of one person --------------------------------------------------------------------------------------------


def _required(motions: Sequence[Motion], recordings: Sequence[Recording], frames: int, seed: int) -> _Pieces:
    pieces = _enough(motions, recordings, frames, seed)
    if pieces is None:
        raise ValueError(
            f"{motions[0].subject_id} has motion for twelve videos of session 1 and not for those of session 2, at "
            f"{frames} frames; lower frames_per_sequence in params.yaml, or add walks at a comfortable speed"
        )
    return pieces


def _enough(motions: Sequence[Motion], recordings: Sequence[Recording], frames: int, seed: int) -> _Pieces | None:
    """A piece of motion for every recording, all of one length and no frame twice; None where there are too few frames.

    The gallery's comes from another walk than the others where there are two.
    """
    speeds = {motion.relative_speed for motion in motions}
    by_source = defaultdict(list)
    for record in recordings:
        by_source[record.speed if record.speed in speeds else 1.0].append(record)
    pieces: _Pieces = {}
    for source_speed, records in by_source.items():
        fastest = max(record.speed / source_speed for record in records)
        gallery = [record for record in records if record.video == GALLERY_VIDEO and record.session < 2]
        groups = [group for group in ([record for record in records if record not in gallery], gallery) if group]
        cut = cut_pieces(
            [motion for motion in motions if motion.relative_speed == source_speed],
            [len(group) for group in groups],
            longest=frames_required(frames, fastest),
            shortest=frames_required(min(MIN_FRAMES, frames), fastest),
            seed=seed,
        )
        if cut is None:
            return None
        for group, of_group in zip(groups, cut, strict=True):
            for record, piece in zip(group, of_group, strict=True):
                pieces[record.sequence] = at_speed(piece, record.speed / source_speed)
    length = min(frames, *map(len, pieces.values()))
    return {sequence: motion.piece(0, length) for sequence, motion in pieces.items()}
