"""USF HumanID gait challenge [Sarkar et al., PAMI 2005], as tensors of half gait cycles [Lu et al., IEEE TNN 2008].

<root>/gait_gallery_data.mat      fea3D (row, column, frame, half cycle), foreground 0; gnd (half cycle, 1): the subject
<root>/PrbA.mat, PrbB.mat, ...    the same people under other conditions: A is another camera; subject 0 is not in the gallery
<root>/ids-train.txt, ids-validation.txt, ids-test.txt        if wanted: the subjects of each split, see docs/data.md

A half cycle is a clip; `gait_gallery_data.mat!0001` locates the first of the gallery, and is both its frames and its masks. The
tensors are all that there is: nothing is rendered into this layout.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8

from people.layouts import files, matlab, multi_view, multi_view_files
from people.records import Split

GALLERY = "gallery"
PROBES = ("A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L")
SECOND_SESSION = ("K", "L")  # half a year later; from memory of the challenge's description, not checked
UNKNOWN = 0  # in the tensors, of people who are not in the gallery
UNKNOWN_SUBJECT = "unknown"  # in the index: any number of people, of whom it is only known that they are strangers
PROTOCOLS: multi_view.Protocols = {"challenge": {name: ((GALLERY,), (name,)) for name in PROBES}}

_DIVISION_SEED = 1
_VALIDATION_SHARE = 5  # one of so many of the people who are not tested
_PROBE_FILE = re.compile(r"prb.*\.mat", re.IGNORECASE)


class HalfCycles(NamedTuple):
    """Half gait cycles and their subjects; 255 is foreground, subject 0 (`UNKNOWN`) is not in the gallery."""

    silhouettes: UInt8[np.ndarray, "half_cycle frame height width"]
    subject: Int[np.ndarray, " half_cycle"]


# --- tensors ---------------------------------------------------------------------------------------------------------


def read_half_cycles(root: Path, name: str) -> HalfCycles:
    """The half cycles of the gallery (`GALLERY`) or of one probe set, "A" to "L"."""
    if name != GALLERY and name not in PROBES:
        raise ValueError(f"expected {GALLERY} or a probe set of {', '.join(PROBES)}, got {name!r}")
    path = files.find(Path(root), _file_name(name))
    if path is None:
        raise ValueError(
            f"expected the {name} tensors of USF HumanID at {Path(root) / _file_name(name)}, no such file exists; correct the "
            "folder"
        )
    return _load(path)


def _file_name(name: str) -> str:
    return "gait_gallery_data.mat" if name == GALLERY else f"Prb{name}.mat"


def _load(path: Path) -> HalfCycles:
    entries = matlab.read(path, "the tensors fea3D and gnd")
    if missing := {"fea3D", "gnd"} - entries.keys():
        raise ValueError(f"{path} must hold fea3D and gnd, it lacks {', '.join(sorted(missing))}; fetch the tensors")
    background, subject = entries["fea3D"], entries["gnd"].ravel()
    is_whole = background.ndim == 4 and background.size > 0 and background.shape[3] == len(subject)
    if not is_whole or subject.dtype.kind not in "iuf" or not np.isin(background, (0, 1)).all():
        raise ValueError(
            f"{path}: expected fea3D of zeros and ones (row, column, frame, half cycle) and a subject for each half cycle, "
            f"got {background.shape} and {len(subject)} subjects; fetch it again"
        )
    foreground = np.where(background == 0, 255, 0).astype(np.uint8)
    return HalfCycles(np.ascontiguousarray(foreground.transpose(3, 2, 0, 1)), subject.astype(np.int64))


# --- index -----------------------------------------------------------------------------------------------------------


def read(root: Path) -> pd.DataFrame:
    """The index of the tensors that are there: one row per half cycle, the gallery's first, in the order of their files.

    The gallery has to be there, probe sets may be missing. Without id lists in the root the gallery's people are divided by
    `divide`; who is not in the gallery is in the test split, where `left_out` counts his half cycles.
    """
    if not root.is_dir() or files.find(root, _file_name(GALLERY)) is None:
        raise ValueError(
            f"expected the tensors of USF HumanID at {root}: {_file_name(GALLERY)} and PrbA.mat to PrbL.mat, as many as there "
            f"are; found no {_file_name(GALLERY)}; correct the dataset's archive in params.yaml, or put the files there"
        )
    _refuse_other_probes(root)
    names = [name for name in (GALLERY, *PROBES) if files.find(root, _file_name(name))]
    parts = {name: read_half_cycles(root, name) for name in names}
    if (parts[GALLERY].subject <= UNKNOWN).any():
        raise ValueError(
            f"{root / _file_name(GALLERY)}: expected subjects from 1 in the gallery, got {parts[GALLERY].subject.min()}; fetch "
            "it again"
        )
    enrolled = sorted({_subject_id(number) for number in parts[GALLERY].subject.tolist()})
    listed = multi_view_files.id_lists(root)
    if UNKNOWN_SUBJECT in set().union(*listed.values()):
        raise ValueError(
            f"the id lists of {root} list {UNKNOWN_SUBJECT!r}, which is nobody; remove it, those are in test anyway"
        )
    splits = listed or {split: set(subjects) for split, subjects in divide(enrolled).items()}
    rows = [row for name, part in parts.items() for row in _rows(root, name, part, set(enrolled), splits)]
    clips = pd.DataFrame(rows)
    multi_view_files.check_id_lists(root, set(clips["subject_id"]), listed)
    return clips.astype({"gender": "str", "split": "str", "age_years": float})


def _refuse_other_probes(root: Path) -> None:
    expected = {_file_name(name).lower() for name in PROBES}
    for path in files.children(root):
        if _PROBE_FILE.fullmatch(path.name) and path.name.lower() not in expected:
            raise ValueError(f"{path}: the probe sets are PrbA.mat to PrbL.mat; rename or remove it")


def _rows(
    root: Path, name: str, part: HalfCycles, enrolled: set[str], splits: Mapping[Split, set[str]]
) -> Iterator[dict[str, Any]]:
    count, height_px, width_px = part.silhouettes.shape[1:]
    path = files.find(root, _file_name(name))
    assert path is not None
    for index, subject in enumerate(map(_subject_id, part.subject.tolist()), start=1):
        location = f"{path.name}!{index:04d}"
        row = {
            "dataset": "usf",
            "clip_id": f"{name}/{index:04d}",
            "subject_id": subject,
            "sequence": name,
            "condition": name,
            "session": int(name in SECOND_SESSION),
            "view_deg": float("nan"),
            "gender": None,
            "age_years": float("nan"),
            "frames": location,
            "masks": location,
            "keypoints": "",
            "background": "",
            "frame_count": count,
            "frame_rate_hz": float("nan"),  # half cycles of any duration have one number of frames
            "height_px": height_px,
            "width_px": width_px,
            "root": str(root),
        }
        listed = [split for split in splits if subject in splits[split]]
        yield from ({**row, "split": split} for split in listed or (["test"] if subject not in enrolled else [None]))


def _subject_id(number: int) -> str:
    return UNKNOWN_SUBJECT if number == UNKNOWN else f"{number:03d}"


def divide(subjects: Sequence[str]) -> dict[Split, list[str]]:
    """People in two halves, one to train and to validate (a fifth of it), one to test: always the same division.

    GaitNet [Zhang et al., CVPR 2019] divides the subjects at random into two halves, trains on one and tests on the other, and
    takes the mean of five divisions: from memory, not checked in the paper. The other divisions are id lists in the root.
    """
    ordered = sorted(subjects)
    shuffled = [ordered[index] for index in np.random.default_rng(_DIVISION_SEED).permutation(len(ordered))]
    half = len(subjects) // 2
    train = half - half // _VALIDATION_SHARE
    return {"train": shuffled[:train], "validation": shuffled[train:half], "test": shuffled[half:]}


# --- frames ----------------------------------------------------------------------------------------------------------


def frames(root: Path, clip_frames: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """A half cycle's silhouettes in order, RGB: white on black."""
    return (np.repeat(mask[..., None], 3, axis=2) for mask in masks(root, clip_frames))


def masks(root: Path, clip_masks: str) -> Iterator[UInt8[np.ndarray, "height width"]]:
    """A half cycle's silhouettes in order, 0 and 255."""
    name, _, number = clip_masks.partition("!")
    path = files.located(root) / name
    if not path.is_file():
        raise ValueError(f"{path}: expected the tensors of a clip, no such file exists; ingest the dataset again")
    status = path.stat()
    silhouettes = _cached(path, status.st_mtime_ns, status.st_size).silhouettes
    if not 0 < int(number) <= len(silhouettes):
        raise ValueError(f"{path}: expected half cycle {number}, it has {len(silhouettes)}; ingest the dataset again")
    return (mask.copy() for mask in silhouettes[int(number) - 1])


@lru_cache(maxsize=2)  # half cycles come in the order of their files
def _cached(path: Path, mtime_ns: int, size_bytes: int) -> HalfCycles:
    """The tensors of a file, read once in a process and not for every half cycle, as long as the file is the same."""
    return _load(path)


# --- protocol --------------------------------------------------------------------------------------------------------


def protocol(clips: pd.DataFrame, split: str) -> list[Any]:
    """`challenge`: the gallery's half cycles, and those of each probe set that is there, A to L.

    The challenge compares sequences; these are half cycles of them, each a probe of its own. Those of people who are not in
    the gallery are left out (`left_out`).
    """
    return multi_view.protocol(clips, split, PROTOCOLS)


def left_out(clips: pd.DataFrame, split: str) -> dict[str, tuple[str, ...]]:
    """The probes by `challenge/A` and so on that `protocol` leaves out: of unknown people, and of others without gallery."""
    return multi_view.left_out(clips, split, PROTOCOLS)
