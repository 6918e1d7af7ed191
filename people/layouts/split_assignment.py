"""Assigns people to the splits of a dataset, and frames of their walks to its sequences.

No frame of motion is ever used twice, and sequences that are compared with each other come from different walks where a
person has enough of them: otherwise two halves of one step, recorded by the same sensor, would match, not the person.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from people.layouts.motion import pieces
from people.records import Motion, Split

AGE_BANDS = 8

Subset = TypeVar("Subset", bound=str)
_LOG = logging.getLogger(__name__)


def strata(motions: Sequence[Motion]) -> dict[str, tuple[str, int]]:
    """Every person's sex ("" unknown) and age band (-1 unknown), by which splits are stratified.

    The bands hold equally many of the people whose age is known, as far as ties allow.
    """
    people = {motion.subject_id: motion for motion in motions}
    known_years = [person.age_years for person in people.values() if person.age_years is not None]
    edges_years = np.quantile(known_years, np.arange(1, AGE_BANDS) / AGE_BANDS) if known_years else np.empty(0)
    bands = {
        name: -1 if person.age_years is None else int(np.searchsorted(edges_years, person.age_years, side="right"))
        for name, person in people.items()
    }
    return {name: (person.sex or "", bands[name]) for name, person in people.items()}


def assign_splits(
    people: Sequence[str], strata: Mapping[str, Any], sizes: Mapping[Subset, int], seed: int
) -> dict[Subset, list[str]]:
    """A stratified split: people are assigned to subsets of the given sizes, every stratum to all subsets in proportion.

    The order within a stratum, and so the subset of a person, depends on the seed alone.
    """
    if len(people) != sum(sizes.values()):
        raise ValueError(f"expected {sum(sizes.values())} people for the subsets {dict(sizes)}, got {len(people)}")
    rng = np.random.default_rng(seed)
    shuffled = [sorted(people)[index] for index in rng.permutation(len(people))]
    assigned: dict[Subset, list[str]] = {subset: [] for subset in sizes}
    for count, person in enumerate(sorted(shuffled, key=lambda name: strata[name]), start=1):
        not_full = [subset for subset in sizes if len(assigned[subset]) < sizes[subset]]
        deficits = [sizes[subset] * count / len(people) - len(assigned[subset]) for subset in not_full]
        assigned[not_full[int(np.argmax(deficits))]].append(person)
    return {subset: [names[index] for index in rng.permutation(len(names))] for subset, names in assigned.items()}


def assign_motion(
    motions: Sequence[Motion], sizes: Mapping[Split, int], groups: Sequence[int], *, longest: int, shortest: int, seed: int
) -> dict[Split, list[list[list[Motion]]]]:
    """Splits of the given sizes: for each of their people, the pieces (`cut_pieces`) of every group.

    People with too little motion are left out, with a warning that names them. People whose sex and age are known come first;
    both are stratified over the splits.
    """
    if any(size < 1 for size in sizes.values()):
        raise ValueError(f"expected at least one subject in each split, got {dict(sizes)}; correct the block in params.yaml")
    by_subject = defaultdict(list)
    for motion in motions:
        by_subject[motion.subject_id].append(motion)
    cuts = {
        subject: cut_pieces(by_subject[subject], groups, longest=longest, shortest=shortest, seed=seed)
        for subject in sorted(by_subject)
    }
    pieces_by_subject = {subject: pieces for subject, pieces in cuts.items() if pieces is not None}
    required, too_short = sum(sizes.values()), sorted(set(cuts) - set(pieces_by_subject))
    if len(pieces_by_subject) < required:
        raise ValueError(
            f"expected {required} subjects with motion for {sum(groups)} sequences of at least {shortest} frames, "
            f"{len(pieces_by_subject)} of {len(cuts)} have enough; lower the dataset's subjects or frames_per_sequence in "
            "params.yaml or add walks"
        )
    if too_short:
        _LOG.warning("%d of %d subjects have too little motion, left out: %s", len(too_short), len(cuts), ", ".join(too_short))
    stratum, subjects = strata(motions), list(pieces_by_subject)
    shuffled = [subjects[index] for index in np.random.default_rng(seed).permutation(len(subjects))]
    chosen = sorted(shuffled, key=lambda subject: stratum[subject][0] == "" or stratum[subject][1] < 0)[:required]
    splits = assign_splits(chosen, stratum, sizes, seed)
    return {split: [pieces_by_subject[subject] for subject in members] for split, members in splits.items()}


def cut_pieces(
    motions: Sequence[Motion], groups: Sequence[int], *, longest: int, shortest: int, seed: int
) -> list[list[Motion]] | None:
    """Cut one person's walks into disjoint pieces of one length, `groups[i]` of them for group i.

    Groups take their pieces from different walks; where there are too few walks, the last groups share theirs first. The
    pieces are as long as that allows, at most `longest` frames. None if not even pieces of `shortest` frames are enough.
    """
    walks: dict[str, list[Motion]] = {}
    for motion in motions:
        walks.setdefault(motion.walk_id, []).append(motion)
    for separate in range(len(groups) - 1, -1, -1):  # groups with walks of their own; the others share
        counts = [*groups[:separate], sum(groups[separate:])]
        for frames in range(longest, shortest - 1, -1):
            by_walk = {
                walk: [piece for motion in recorded for piece in pieces(motion, frames)] for walk, recorded in walks.items()
            }
            assigned = _assign_walks(by_walk, counts, seed)
            if assigned:
                shared = assigned[separate]
                return assigned[:separate] + [[shared.pop(0) for _ in range(count)] for count in groups[separate:]]
    return None


def _assign_walks(by_walk: Mapping[str, list[Motion]], counts: Sequence[int], seed: int) -> list[list[Motion]] | None:
    """`counts[i]` pieces for group i, from walks that no other group uses; None if a group has too few pieces.

    Walks with most pieces are assigned first, each to the group with the smallest share of its pieces so far.
    """
    order = [sorted(by_walk)[index] for index in np.random.default_rng(seed).permutation(len(by_walk))]
    groups: list[list[list[Motion]]] = [[] for _ in counts]
    for walk in sorted(order, key=lambda name: -len(by_walk[name])):
        filled = [sum(map(len, walks)) / count for walks, count in zip(groups, counts, strict=True)]
        groups[int(np.argmin(filled))].append(by_walk[walk])
    if any(sum(map(len, walks)) < count for walks, count in zip(groups, counts, strict=True)):
        return None
    return [_round_robin(walks)[:count] for walks, count in zip(groups, counts, strict=True)]


def _round_robin(walks: Sequence[Sequence[Motion]]) -> list[Motion]:
    """The first piece of every walk, then the second of every walk, and so on."""
    return [walk[turn] for turn in range(max(map(len, walks), default=0)) for walk in walks if turn < len(walk)]
