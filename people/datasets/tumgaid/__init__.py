"""TUM-GAID [Hofmann et al., JVCIR 2014]: 305 people walk past a camera, 32 of them again months later in other clothes.

<root>/tumgaidtrainids.lst, tumgaidvalids.lst, tumgaidtestids.lst   subject numbers, one a line
<root>/allgender.txt, allage.txt                                    one entry per person, in the order of their numbers
<root>/image/p001/n01/*.jpg                                         or the same tree in zip files, image/p001.zip
"""

import json
import logging
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from people.layouts import files as archive_files
from people.layouts import image_files
from people.layouts.split_assignment import assign_splits, cut_pieces, strata
from people.records import Condition, Motion, Rendered, Split, Take

GALLERY = ("n01", "n02", "n03", "n04")
PROBES = {"N": ("n05", "n06"), "B": ("b01", "b02"), "S": ("s01", "s02")}
ELAPSED_GALLERY = ("n07", "n08", "n09", "n10")
ELAPSED_PROBES = {"TN": ("n11", "n12"), "TB": ("b03", "b04"), "TS": ("s03", "s04")}
FIRST_SESSION = (*GALLERY, *sum(PROBES.values(), ()))
SECOND_SESSION = (*ELAPSED_GALLERY, *sum(ELAPSED_PROBES.values(), ()))
SEQUENCES = (*FIRST_SESSION, *SECOND_SESSION)

ID_LISTS = {"train": "tumgaidtrainids.lst", "validation": "tumgaidvalids.lst", "test": "tumgaidtestids.lst"}
GENDER_FILE, AGE_FILE = "allgender.txt", "allage.txt"
GENDER_CODES = {"1": "male", "2": "female"}  # inferred, see docs/data.md; the order of classes is `people.records.GENDERS`
RECORDING = "recording.json"  # frame rate and views of rendered people, for which the official layout has no file
CONDITIONS: dict[str, Condition] = {"n": "normal", "b": "bag", "s": "coating_shoes"}
VIEWS_DEG = (270.0, 90.0)  # of even and of odd sequences

MIN_FRAMES = 30  # the shortest sequence that is still worth recording

LABEL_FOLDERS = ("labels", "tumgaid_labels")
OFFICIAL: dict[str, Any] = {"frame_rate_hz": 30.0, "views_deg": {"odd": math.nan, "even": math.nan}}  # unknown views
OFFICIAL_SUBJECTS = 305

_ONE_SESSION = (len(GALLERY), len(FIRST_SESSION) - len(GALLERY))
_TWO_SESSIONS = (*_ONE_SESSION, len(ELAPSED_GALLERY), len(SECOND_SESSION) - len(ELAPSED_GALLERY))
_CLIP = re.compile(r"(?:^|[/!])p(?P<number>\d{3})/(?P<sequence>[nbs]\d{2})$", re.IGNORECASE)
_Ids = tuple[str, ...]
_LOG = logging.getLogger(__name__)


# --- plan ------------------------------------------------------------------------------------------------------------


def plan(motions: list[Motion], *, subjects: Mapping[str, Any], frames_per_sequence: int, seed: int) -> list[Take]:
    """Ten sequences of every subject (n01-n06, b01, b02, s01, s02), ten more in other clothes of those who return.

    `subjects` sizes the splits `train`, `validation` and `test`; `elapsed` counts those of each split who return (a number
    alone: of the test split). A sequence has `frames_per_sequence` frames, or fewer (not under `MIN_FRAMES`) where
    a subject's walks hold no more. Subjects with a known sex and age come first; both are stratified over the splits.
    """
    sizes, elapsed = _sizes(subjects)
    one_session, two_sessions = (
        _pieces_by_subject(motions, groups, frames_per_sequence, seed) for groups in (_ONE_SESSION, _TWO_SESSIONS)
    )
    splits = _assign_subjects(motions, list(one_session), list(two_sessions), sizes, elapsed, seed)
    takes = []
    people: list[tuple[Split, str, bool]] = [
        (split, name, returns) for split, members in splits.items() for name, returns in members
    ]
    for number, (split, name, returns) in enumerate(people, start=1):
        recorded = [motion for group in (two_sessions if returns else one_session)[name] for motion in group]
        for index, (sequence, motion) in enumerate(zip(SEQUENCES, recorded, strict=False)):
            condition, session = CONDITIONS[sequence[0]], int(sequence in SECOND_SESSION)
            view_deg, seeds = VIEWS_DEG[int(sequence[1:]) % 2], (_seed(seed, number), _seed(seed, number, index))
            takes.append(Take(f"p{number:03d}", sequence, motion, condition, session, view_deg, *seeds, split))
    return takes


def _seed(*entropy: int) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _pieces_by_subject(
    motions: list[Motion], groups: Sequence[int], frames_per_sequence: int, seed: int
) -> dict[str, list[list[Motion]]]:
    """For every subject with enough motion, the pieces of the gallery and of the probes."""
    by_subject = defaultdict(list)
    for motion in motions:
        by_subject[motion.subject_id].append(motion)
    shortest = min(MIN_FRAMES, frames_per_sequence)
    cuts = {
        name: cut_pieces(by_subject[name], groups, longest=frames_per_sequence, shortest=shortest, seed=seed)
        for name in sorted(by_subject)
    }
    return {name: pieces for name, pieces in cuts.items() if pieces is not None}


def _sizes(subjects: Mapping[str, Any]) -> tuple[dict[Split, int], dict[Split, int]]:
    """The number of subjects of each split, and of those who return."""
    sizes: dict[Split, int] = {"train": subjects["train"], "validation": subjects["validation"], "test": subjects["test"]}
    returning = subjects["elapsed"]
    by_split: Mapping[str, int] = returning if isinstance(returning, Mapping) else {"test": returning}
    elapsed: dict[Split, int] = {split: by_split.get(split, 0) for split in sizes}
    if not set(by_split) <= set(sizes) or any(not 0 <= elapsed[split] <= size or size < 1 for split, size in sizes.items()):
        raise ValueError(
            f"expected at least one subject in each split and at most as many that return, got {dict(subjects)}; "
            "correct the dataset's block in params.yaml"
        )
    return sizes, elapsed


def _assign_subjects(
    motions: list[Motion],
    one_session: list[str],
    two_sessions: list[str],
    sizes: Mapping[Split, int],
    elapsed: Mapping[Split, int],
    seed: int,
) -> dict[Split, list[tuple[str, bool]]]:
    """The subjects of every split and whether they return; known labels first, stratified by sex and age.

    `one_session` and `two_sessions` are the subjects with enough motion for as many sessions.
    """
    stratum = strata(motions)
    required, returning = sum(sizes.values()), sum(elapsed.values())
    if len(one_session) < required or len(two_sessions) < returning:
        raise ValueError(
            f"expected {required} subjects with motion for {len(FIRST_SESSION)} sequences of at least {MIN_FRAMES} frames, "
            f"{returning} of them for {len(SEQUENCES)}; of {len(stratum)} subjects {len(one_session)} have enough for "
            f"{len(FIRST_SESSION)} and {len(two_sessions)} for {len(SEQUENCES)}; lower the dataset's subjects or "
            "frames_per_sequence in params.yaml, or add walks"
        )
    if too_short := sorted(set(stratum) - set(one_session)):
        names = ", ".join(too_short)
        _LOG.warning("%d of %d subjects have too little motion, left out: %s", len(too_short), len(stratum), names)
    shuffled = [one_session[index] for index in np.random.default_rng(seed).permutation(len(one_session))]
    ranked = sorted(shuffled, key=lambda name: stratum[name][0] == "" or stratum[name][1] < 0)
    can_return = [name for name in ranked if name in two_sessions][:returning]
    chosen = can_return + [name for name in ranked if name not in can_return][: required - returning]
    can_return = [name for name in chosen if name in two_sessions]
    counts = {**{str(split): count for split, count in elapsed.items()}, "none": len(can_return) - returning}
    returning_by_split = assign_splits(can_return, stratum, counts, seed)
    returning_by_split.pop("none")
    assigned = {name for names in returning_by_split.values() for name in names}
    single_sizes = {split: size - elapsed[split] for split, size in sizes.items()}
    single = assign_splits([name for name in chosen if name not in assigned], stratum, single_sizes, seed)
    return {
        split: [(name, True) for name in returning_by_split[split]] + [(name, False) for name in single[split]]
        for split in sizes
    }


# --- write -----------------------------------------------------------------------------------------------------------


def write(
    root: Path,
    takes: Sequence[Take],
    render: Callable[[Take], Iterator[Rendered]],
    *,
    jpeg_quality: int,
    packed: bool = True,
    executor: Executor | None = None,
    done: Callable[[], object] = lambda: None,
) -> None:
    """Render the takes into the official layout; `packed` keeps each subject's tree in one zip file.

    Subjects are written in parallel, `done()` is called after each. `root` appears only when it is complete.
    """
    if not takes:
        raise ValueError(f"expected takes to write to {root}, got none; plan some")
    by_subject = defaultdict(list)
    for take in takes:
        by_subject[take.subject_id].append(take)
    jobs: list[Future] = []
    with image_files.atomic_folder(root, jobs) as partial:
        _write_labels(partial, takes)
        (partial / "image").mkdir()
        work = [(partial / "image", name, by_subject[name], render, jpeg_quality, packed) for name in sorted(by_subject)]
        jobs += [executor.submit(_write_subject, *arguments) for arguments in work] if executor else []
        for number, arguments in enumerate(work):
            jobs[number].result() if jobs else _write_subject(*arguments)
            done()


def _write_labels(root: Path, takes: Sequence[Take]) -> None:
    subjects = {int(take.subject_id[1:]): take for take in takes}
    if without_split := [take.subject_id for take in subjects.values() if take.split not in ID_LISTS]:
        raise ValueError(
            f"expected a split of {', '.join(ID_LISTS)} for every take, {without_split[0]} has none; set Take.split"
        )
    for split, name in ID_LISTS.items():
        (root / name).write_text("".join(f"{number}\n" for number, take in sorted(subjects.items()) if take.split == split))
    codes = {word: code for code, word in GENDER_CODES.items()}
    people = [subjects[number].motion if number in subjects else None for number in range(1, max(subjects) + 1)]
    (root / GENDER_FILE).write_text("".join(f"{codes[person.sex] if person and person.sex else 'NaN'}\n" for person in people))
    ages = ["NaN" if person is None or person.age_years is None else repr(float(person.age_years)) for person in people]
    (root / AGE_FILE).write_text("".join(f"{age.removesuffix('.0')}\n" for age in ages))
    rates = {take.motion.frame_rate_hz for take in takes}
    if len(rates) > 1:
        raise ValueError(f"expected one frame rate in all takes, got {sorted(rates)} Hz; resample the motions")
    views = {"even": VIEWS_DEG[0], "odd": VIEWS_DEG[1]}
    (root / RECORDING).write_text(json.dumps({"frame_rate_hz": float(rates.pop()), "views_deg": views}, indent=1) + "\n")


def _write_subject(
    folder: Path, subject: str, takes: list[Take], render: Callable[[Take], Iterator[Rendered]], jpeg_quality: int, packed: bool
) -> None:
    files = (
        (f"{subject}/{take.sequence}/{number:04d}.jpg", image_files.encode_jpeg(rendered.frame_rgb, jpeg_quality))
        for take in sorted(takes, key=lambda take: take.sequence)
        for number, rendered in enumerate(render(take), start=1)
    )
    image_files.write(folder / subject if packed else folder, files, packed=packed)


# --- read ------------------------------------------------------------------------------------------------------------


def read(root: Path) -> pd.DataFrame:
    """The index of an archive, official or written: one row per clip, in order of subject and sequence.

    A subject in two id lists has its clips in both splits, a subject in none has no split, and a clip without images has no
    frames: validation names and removes them.
    """
    if not root.is_dir():
        raise ValueError(
            f"expected the folder of TUM-GAID at {root}, there is none; correct the dataset's archive in params.yaml"
        )
    splits = {split: _numbers(_label_file(root, name)) for split, name in ID_LISTS.items()}
    genders, ages = _genders(_label_file(root, GENDER_FILE)), _ages(_label_file(root, AGE_FILE))
    clips = _clips(root)
    _check_complete(root, {number for number, _ in clips}, splits, min(len(genders), len(ages)))
    recording_file = archive_files.find(root, RECORDING)
    recording = json.loads(archive_files.read_text(recording_file)) if recording_file else OFFICIAL
    rows = [
        {
            "dataset": "tumgaid",
            "clip_id": f"p{number:03d}/{sequence}",
            "subject_id": f"p{number:03d}",
            "split": split,
            "sequence": sequence,
            "condition": sequence[0],
            "session": int(sequence in SECOND_SESSION),
            "view_deg": recording["views_deg"]["odd" if int(sequence[1:]) % 2 else "even"],
            "gender": genders[number - 1],
            "age_years": ages[number - 1],
            "frames": location,
            "frame_count": len(names),
            "frame_rate_hz": float(recording["frame_rate_hz"]),
            **image_files.size(root, location),
            "root": str(root),
        }
        for (number, sequence), (location, names) in sorted(clips.items())
        for split in [split for split, listed in splits.items() if number in listed] or [None]
    ]
    return pd.DataFrame(rows).astype({"gender": "str", "split": "str"})


def _check_complete(root: Path, recorded: set[int], splits: Mapping[str, set[int]], labelled: int) -> None:
    for split, listed in splits.items():
        if listed - recorded:
            missing = ", ".join(f"p{number:03d}" for number in sorted(listed - recorded)[:5])
            raise ValueError(f"{ID_LISTS[split]} lists {missing}, without images in {root}; unpack them or shorten the list")
    if max(recorded) > labelled:
        raise ValueError(
            f"expected an entry for each of p001 to p{max(recorded):03d} in {GENDER_FILE} and {AGE_FILE} of {root}, the "
            f"shorter has {labelled}; add the missing lines (NaN where unknown)"
        )


def frames(root: Path, clip_frames: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """One clip's frames in order, RGB; `clip_frames` is the index's column `frames`."""
    return image_files.frames(root, clip_frames)


def _clips(root: Path) -> dict[tuple[int, str], tuple[str, list[str]]]:
    """The locations of each subject's sequences, and the names of their images."""
    clips: dict[tuple[int, str], tuple[str, list[str]]] = {}
    for path in (path for path in archive_files.children(root) if "image" in path.name.lower()):
        for location, names in image_files.list_images(root, path).items():
            match = _CLIP.search(location)
            if not match:
                continue
            key = (int(match["number"]), match["sequence"].lower())
            if key in clips:
                raise ValueError(f"{root} has {match[0]} twice, as {clips[key][0]} and {location}; remove one of them")
            clips[key] = (location, names)
    if not clips:
        raise ValueError(
            f"{root} has no images: expected image/p001/n01/*.jpg or image/p001.zip with the same tree; unpack them there"
        )
    return clips


def _label_file(root: Path, name: str) -> Path:
    for folder in (root, *(path for label_folder in LABEL_FOLDERS for path in archive_files.named(root, label_folder))):
        if file := archive_files.find(folder, name):
            return file
    raise ValueError(f"expected {name} in {root} or its folder {LABEL_FOLDERS[0]}, neither has it; copy the labels there")


def _numbers(path: Path) -> set[int]:
    entries = archive_files.read_text(path).split()
    wrong = [entry for entry in entries if not re.fullmatch(r"p?\d+", entry)]
    if wrong or not entries:
        raise ValueError(
            f"{path}: expected subject numbers, one a line, got {wrong[0] if wrong else 'nothing'!r}; correct the list"
        )
    return {int(entry.lstrip("p")) for entry in entries}


def _genders(path: Path) -> list[str | None]:
    """Words for the official codes; any other entry is kept, for validation to name."""
    entries = archive_files.read_text(path).split()
    if len(entries) == OFFICIAL_SUBJECTS and entries.count("1") < entries.count("2"):
        raise ValueError(f"{path}: expected 1 for men, who are the majority, but 2 is more frequent; swap GENDER_CODES")
    return [None if entry.lower() == "nan" else GENDER_CODES.get(entry, entry) for entry in entries]


def _ages(path: Path) -> list[float]:
    entries = archive_files.read_text(path).split()
    try:
        return [float(entry) for entry in entries]
    except ValueError as error:
        raise ValueError(
            f"{path}: expected one age in years per person (NaN where unknown), but {error}; correct the entry"
        ) from None


# --- protocol --------------------------------------------------------------------------------------------------------


def protocol(clips: pd.DataFrame, split: str, elapsed_gallery: Sequence[str] = GALLERY) -> list[Any]:
    """Gallery n01-n04; probes N (n05, n06), B (b01, b02), S (s01, s02), and TN, TB, TS of those who returned months later.

    For TN (n11, n12), TB (b03, b04) and TS (s03, s04) only subjects who returned are enrolled, with the sequences
    `elapsed_gallery`. Probes of a subject who has no clip in the gallery are left out (`left_out` lists them), and so are
    sets without any probe.
    """
    from people.protocols.probe_set import ProbeSet  # here, so that reading a dataset does not depend on protocols

    return [
        ProbeSet(name, group, gallery, probes)
        for name, group, gallery, probes, _ in _sets(clips, split, elapsed_gallery)
        if probes
    ]


def left_out(clips: pd.DataFrame, split: str, elapsed_gallery: Sequence[str] = GALLERY) -> dict[str, tuple[str, ...]]:
    """The probes by set that `protocol` leaves out, because their subject has no clip in the gallery."""
    return {name: excluded for name, _, _, _, excluded in _sets(clips, split, elapsed_gallery)}


def _sets(clips: pd.DataFrame, split: str, elapsed_gallery: Sequence[str]) -> Iterator[tuple[str, str, _Ids, _Ids, _Ids]]:
    unknown = sorted(set(elapsed_gallery) - set(SEQUENCES))
    probes_in_gallery = set(elapsed_gallery) & set(sum(ELAPSED_PROBES.values(), ()))
    if unknown or probes_in_gallery or not elapsed_gallery:
        raise ValueError(
            f"expected an elapsed_gallery of sequences that are no probes, such as {GALLERY}, got {tuple(elapsed_gallery)}"
        )
    columns = (clips[name] for name in ("clip_id", "subject_id", "sequence", "session", "split"))
    rows = sorted(row[:4] for row in zip(*columns, strict=True) if row[4] == split)
    if not rows:
        raise ValueError(
            f"expected clips of split {split!r}, the index has {sorted(set(clips['split'].dropna()))}; ingest again"
        )
    returned = {subject for _, subject, _, session in rows if session == 1}
    for group, members, gallery, probes in (
        ("current", rows, GALLERY, PROBES),
        ("elapsed", [row for row in rows if row[1] in returned], elapsed_gallery, ELAPSED_PROBES),
    ):
        enrolled = {clip: subject for clip, subject, sequence, _ in members if sequence in gallery}
        for name, sequences in probes.items():
            probed = {clip: subject for clip, subject, sequence, _ in members if sequence in sequences}
            included = tuple(clip for clip, subject in probed.items() if subject in enrolled.values())
            yield name, group, tuple(enrolled), included, tuple(clip for clip in probed if clip not in included)
