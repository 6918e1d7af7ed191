"""Who is recorded in which part of a dataset, and which frames of their walks become which sequence.

No frame of motion is ever used twice, and sequences that are compared with each other come from different walks where a
person has enough of them: otherwise two halves of one step, seen by the same sensor, would be recognised instead of a person.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from people.layouts.motion import pieces
from people.records import Motion, Split

AGE_BANDS = 8

Part = TypeVar("Part", bound=str)
_LOG = logging.getLogger(__name__)


def strata(motions: Sequence[Motion]) -> dict[str, tuple[str, int]]:
    """Every person's sex ("" unknown) and age band (-1 unknown): what a fair deal spreads over all parts.

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


def deal(people: Sequence[str], strata: Mapping[str, Any], sizes: Mapping[Part, int], seed: int) -> dict[Part, list[str]]:
    """Deal people to parts of the given sizes so that every stratum is spread over all parts in proportion.

    The order within a stratum, and so who comes into which part, depends on the seed alone.
    """
    if len(people) != sum(sizes.values()):
        raise ValueError(f"expected {sum(sizes.values())} people for the parts {dict(sizes)}, got {len(people)}")
    rng = np.random.default_rng(seed)
    shuffled = [sorted(people)[index] for index in rng.permutation(len(people))]
    dealt: dict[Part, list[str]] = {part: [] for part in sizes}
    for count, person in enumerate(sorted(shuffled, key=lambda name: strata[name]), start=1):
        open_parts = [part for part in sizes if len(dealt[part]) < sizes[part]]
        behind = [sizes[part] * count / len(people) - len(dealt[part]) for part in open_parts]
        dealt[open_parts[int(np.argmax(behind))]].append(person)
    return {part: [names[index] for index in rng.permutation(len(names))] for part, names in dealt.items()}


def cast(
    motions: Sequence[Motion], sizes: Mapping[Split, int], groups: Sequence[int], *, longest: int, shortest: int, seed: int
) -> dict[Split, list[list[list[Motion]]]]:
    """Splits of the given sizes: for each of their people, the pieces (`cut`) of every group.

    Who has too little motion is left out and named. People whose sex and age are known come first; both are spread over all
    splits.
    """
    if any(size < 1 for size in sizes.values()):
        raise ValueError(f"expected at least one subject in each split, got {dict(sizes)}; correct the block in params.yaml")
    by_subject = defaultdict(list)
    for motion in motions:
        by_subject[motion.subject_id].append(motion)
    found = {who: cut(by_subject[who], groups, longest=longest, shortest=shortest, seed=seed) for who in sorted(by_subject)}
    pieces_of = {who: pieces for who, pieces in found.items() if pieces is not None}
    wanted, short = sum(sizes.values()), sorted(set(found) - set(pieces_of))
    if len(pieces_of) < wanted:
        raise ValueError(
            f"expected {wanted} subjects with motion for {sum(groups)} sequences of at least {shortest} frames, "
            f"{len(pieces_of)} of {len(found)} have enough; lower the dataset's subjects or frames_per_sequence in params.yaml "
            "or add walks"
        )
    if short:
        _LOG.warning("%d of %d subjects have too little motion, left out: %s", len(short), len(found), ", ".join(short))
    kinds, able = strata(motions), list(pieces_of)
    shuffled = [able[index] for index in np.random.default_rng(seed).permutation(len(able))]
    taken = sorted(shuffled, key=lambda who: kinds[who][0] == "" or kinds[who][1] < 0)[:wanted]
    return {split: [pieces_of[who] for who in members] for split, members in deal(taken, kinds, sizes, seed).items()}


def cut(
    motions: Sequence[Motion], groups: Sequence[int], *, longest: int, shortest: int, seed: int
) -> list[list[Motion]] | None:
    """Cut one person's walks into disjoint pieces of one length: as many for each group as `groups` asks for.

    Groups take their pieces from different walks; where there are too few walks, the last groups share theirs first. The
    pieces are as long as that allows, at most `longest` frames. None if not even pieces of `shortest` frames are enough.
    """
    walks: dict[str, list[Motion]] = {}
    for motion in motions:
        walks.setdefault(motion.walk_id, []).append(motion)
    for apart in range(len(groups) - 1, -1, -1):
        needs = [*groups[:apart], sum(groups[apart:])]
        for frames in range(longest, shortest - 1, -1):
            stock = {walk: [piece for motion in parts for piece in pieces(motion, frames)] for walk, parts in walks.items()}
            shares = _share(stock, needs, seed)
            if shares:
                shared = shares[apart]
                return shares[:apart] + [[shared.pop(0) for _ in range(need)] for need in groups[apart:]]
    return None


def _share(stock: Mapping[str, list[Motion]], needs: Sequence[int], seed: int) -> list[list[Motion]] | None:
    """Give whole walks to the needs, always to the one that is served worst, the fullest walks first; None if some starves."""
    order = [sorted(stock)[index] for index in np.random.default_rng(seed).permutation(len(stock))]
    given: list[list[list[Motion]]] = [[] for _ in needs]
    for walk in sorted(order, key=lambda name: -len(stock[name])):
        served = [sum(map(len, walks)) / need for walks, need in zip(given, needs, strict=True)]
        given[int(np.argmin(served))].append(stock[walk])
    if any(sum(map(len, walks)) < need for walks, need in zip(given, needs, strict=True)):
        return None
    return [_by_turns(walks)[:need] for walks, need in zip(given, needs, strict=True)]


def _by_turns(walks: Sequence[Sequence[Motion]]) -> list[Motion]:
    """The first piece of every walk, then the second of every walk, and so on."""
    return [walk[turn] for turn in range(max(map(len, walks), default=0)) for walk in walks if turn < len(walk)]
