"""Datasets in which several cameras record every walk at once: plans of recordings, and protocols."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from people.layouts.split_assignment import assign_motion
from people.records import Condition, Motion, Split, Take

CONDITIONS: dict[str, Condition] = {"nm": "normal", "bg": "bag", "cl": "coat"}
MIN_FRAMES = 20  # the shortest sequence that is still worth recording: most of a gait cycle at 25 Hz

_Ids = tuple[str, ...]
Protocols = Mapping[str, Mapping[str, tuple[_Ids, _Ids]]]  # by group and name: the gallery's sequences and the probes'


@dataclass(frozen=True)
class Layout:
    """Sequences, views and conditions of a dataset.

    `groups` divides the sequences: those of different groups take their motion from different walks where a person has enough
    (`split_assignment.cut_pieces`). Subjects are numbers of `digits` digits. `code` gives a sequence's key in `CONDITIONS`.
    """

    dataset: str
    digits: int
    groups: tuple[tuple[str, ...], ...]
    views_deg: tuple[int, ...]
    code: Callable[[str], str]

    @property
    def sequences(self) -> tuple[str, ...]:
        """All sequences of a subject, sorted."""
        return tuple(sorted(sequence for group in self.groups for sequence in group))

    def check(self, sequence: str, view_deg: int | float, where: str) -> None:
        """Refuse a sequence or a view that the dataset does not have."""
        views = ", ".join(f"{view:03d}" for view in self.views_deg)
        if view_deg not in self.views_deg:
            raise ValueError(f"{where}: {self.dataset} has no view {view_deg:03g}, its views are {views}; rename or remove it")
        if sequence not in self.sequences:
            sequences = ", ".join(self.sequences)
            raise ValueError(f"{where}: {self.dataset} has no sequence {sequence}, it has {sequences}; rename or remove it")


def plan(
    motions: list[Motion],
    layout: Layout,
    *,
    subjects: Mapping[Split, int],
    frames_per_sequence: int,
    views_deg: Sequence[int],
    seed: int,
) -> list[Take]:
    """Every sequence of every subject from all views: one piece of motion, one set of clothes, as many cameras as views.

    `subjects` sizes the splits, whose people are numbered from 1: train, validation, test. A sequence has
    `frames_per_sequence` frames, or fewer (not under `MIN_FRAMES`) where a subject's walks hold no more.
    """
    if set(subjects) != {"train", "validation", "test"} or not views_deg or len(set(views_deg)) < len(views_deg):
        raise ValueError(
            f"expected the sizes of train, validation and test and views_deg without repetition, got {dict(subjects)} and "
            f"{list(views_deg)}; correct datasets.{layout.dataset} in params.yaml"
        )
    for view in views_deg:
        layout.check(layout.sequences[0], view, f"datasets.{layout.dataset}.views_deg")
    sizes: dict[Split, int] = {"train": subjects["train"], "validation": subjects["validation"], "test": subjects["test"]}
    counts, shortest = [len(group) for group in layout.groups], min(MIN_FRAMES, frames_per_sequence)
    splits = assign_motion(motions, sizes, counts, longest=frames_per_sequence, shortest=shortest, seed=seed)
    members: list[tuple[Split, list[list[Motion]]]] = [(split, pieces) for split, people in splits.items() for pieces in people]
    return [
        take
        for number, (split, pieces) in enumerate(members, start=1)
        for take in _takes(layout, number, split, pieces, views_deg, seed)
    ]


def _takes(
    layout: Layout, number: int, split: Split, pieces: list[list[Motion]], views_deg: Sequence[int], seed: int
) -> Iterator[Take]:
    recorded = [pair for group in zip(layout.groups, pieces, strict=True) for pair in zip(*group, strict=True)]
    for sequence, motion in sorted(recorded, key=lambda pair: pair[0]):
        for view in sorted(views_deg):
            seeds = (_seed(seed, number), _seed(seed, number, layout.sequences.index(sequence), view))
            condition = CONDITIONS[layout.code(sequence)]
            yield Take(f"{number:0{layout.digits}d}", sequence, motion, condition, 0, float(view), *seeds, split)


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def protocol(clips: pd.DataFrame, split: str, protocols: Protocols) -> list[Any]:
    """The probe sets of all groups; evaluation decides which views are compared.

    Probes of a subject who has no clip in the gallery are left out, and so are sets without any probe.
    """
    from people.protocols.probe_set import ProbeSet  # here, so that reading a dataset does not depend on protocols

    return [
        ProbeSet(name, group, gallery, probes) for group, name, gallery, probes, _ in _sets(clips, split, protocols) if probes
    ]


def left_out(clips: pd.DataFrame, split: str, protocols: Protocols) -> dict[str, _Ids]:
    """The probes by `group/name` that `protocol` leaves out, because their subject has no clip in the gallery."""
    return {f"{group}/{name}": excluded for group, name, _, _, excluded in _sets(clips, split, protocols)}


def _sets(clips: pd.DataFrame, split: str, protocols: Protocols) -> Iterator[tuple[str, str, _Ids, _Ids, _Ids]]:
    columns = (clips[name] for name in ("clip_id", "subject_id", "sequence", "split"))
    rows = sorted(row[:3] for row in zip(*columns, strict=True) if row[3] == split)
    if not rows:
        splits = sorted(set(clips["split"].dropna()))
        raise ValueError(f"expected clips of split {split!r}, the index has {splits}; ingest again")
    for group, named in protocols.items():
        for name, (gallery, probes) in named.items():
            enrolled, probed = _subjects_by_clip(rows, gallery), _subjects_by_clip(rows, probes)
            subjects = set(enrolled.values())
            included = tuple(clip for clip, subject in probed.items() if subject in subjects)
            excluded = tuple(clip for clip, subject in probed.items() if subject not in subjects)
            yield group, name, tuple(enrolled), included, excluded


def _subjects_by_clip(rows: list[tuple[str, str, str]], sequences: Collection[str]) -> dict[str, str]:
    return {clip: subject for clip, subject, sequence in rows if sequence in sequences}
