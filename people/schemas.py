"""Validation of an index of clips, row by row (pandera) and across rows; faulty rows are quarantined.

A photo is a clip of one frame; indexes of photos have further columns.
A rule is a function from an index to its faults; `check` applies rules and divides the index into good and quarantined rows.
One row of a quarantine table is one fault: the clip, the column, the rule, the value and the remedy.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from people.records import ATTRIBUTES

Rule = Callable[[pd.DataFrame], pd.DataFrame]
Frames = Callable[[Path, str], Iterator[np.ndarray]]
People = Callable[[Path, str], Any]

LOCATION_COLUMNS = ("masks", "keypoints", "background", "people")  # "" where a clip has none
TEXT_COLUMNS = (
    "dataset",
    "clip_id",
    "subject_id",
    "split",
    "sequence",
    "condition",
    "frames",
    "root",
    "content",
    "kind",
    "role",
    "license",
    *ATTRIBUTES,
    *LOCATION_COLUMNS,
)
FLOAT_COLUMNS = ("view_deg", "age_years", "frame_rate_hz")

REMEDY = "correct the dataset's files or the reader that wrote this value, then ingest again"
REMEDIES = {
    "split": "list the subject in exactly one of the split's id lists, then ingest again",
    "gender": "correct the subject's entry in the table of genders (or empty it if unknown), then ingest again",
    "age_years": "correct the subject's entry in the table of ages (or empty it if unknown), then ingest again",
    **{
        name: "correct the person's row in the table of attributes, then ingest again"
        for name in ATTRIBUTES
        if name != "gender"
    },
    "frame_count": "put the clip's frames back, or remove the clip's folder, then ingest again",
    "frames": "replace the damaged or missing images of the clip, then ingest again",
    "people": "correct the image's annotations, or remove the image from their file, then ingest again",
}


def load(path: Path) -> pd.DataFrame:
    """An index from its CSV file; text columns keep their type even where they are empty."""
    if not path.is_file():
        raise ValueError(f"no index of clips at {path}; run the stage that writes it (dvc repro)")
    clips = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, "str"))
    clips = clips.astype({name: float for name in FLOAT_COLUMNS if name in clips})
    clips = clips.fillna({name: "" for name in (*LOCATION_COLUMNS, "license") if name in clips})
    if clips.empty:
        raise ValueError(f"the index {path} has no row; expected one row per clip; ingest the dataset again")
    return clips


def check(clips: pd.DataFrame, *rules: Rule) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide an index into its good rows and a quarantine table of faults.

    The schema and the rules across rows come first, then `rules` in order; each sees only the rows that are still good. A
    clip is listed once per faulty column, with the first rule that it breaks there.
    """
    if clips.empty:
        raise ValueError("expected an index with at least one clip, got an empty one; ingest the dataset again")
    good, tables = clips.reset_index(drop=True), []
    for rule in (_within_and_across_rows, *rules):
        tables.append(rule(good))
        good = good.drop(index=np.flatnonzero(good["clip_id"].isin(tables[-1]["clip_id"]))).reset_index(drop=True)
    quarantine = pd.concat(tables).drop_duplicates(["clip_id", "column"])
    return good, quarantine.sort_values("clip_id", kind="stable", ignore_index=True)


def _within_and_across_rows(clips: pd.DataFrame) -> pd.DataFrame:
    constant = ("split", "gender", "age_years", *(name for name in ATTRIBUTES if name in clips and name != "gender"))
    return pd.concat([rule(clips) for rule in (in_schema, listed_once, *map(one_per_subject, constant))])


def in_schema(clips: pd.DataFrame) -> pd.DataFrame:
    """The faults of single rows against `CLIPS`; a column that is missing or of another type is an error of the whole table."""
    from pandera.errors import SchemaErrors

    from people.index_schema import CLIPS  # pandera takes a second to import, which processes that read frames would spend too

    try:
        CLIPS.validate(clips, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        of_table = cases[cases["index"].isna()]
        if len(of_table):
            faults = "; ".join(
                f"{row.column or row.failure_case}: {row.check} ({row.failure_case})" for row in of_table.itertuples()
            )
            raise ValueError(
                f"the table is not an index of clips: {faults}; expected the columns {list(CLIPS.columns)}; ingest again"
            ) from None
        rows = clips["clip_id"].to_numpy()[cases["index"].to_numpy(dtype=int)]
        return _table(rows, cases["column"].to_numpy(), cases["check"].to_numpy(), cases["failure_case"].to_numpy())
    return _table([], "", "", [])


def listed_once(clips: pd.DataFrame) -> pd.DataFrame:
    """No clip is listed twice in one split (a clip in two splits breaks the rule of one split per subject)."""
    return _faults(clips, clips.duplicated(["clip_id", "split"]), "clip_id", "a clip is listed once")


def one_per_subject(column: str) -> Rule:
    """All clips of a subject have one value: splits are disjoint in subjects, a person has one gender, one age and so on."""

    def rule(clips: pd.DataFrame) -> pd.DataFrame:
        by_subject: dict[str, set[str]] = {}
        for subject, value in zip(clips["subject_id"], clips[column], strict=True):
            by_subject.setdefault(subject, set()).update([] if pd.isna(value) else [str(value)])
        values = np.array([", ".join(sorted(by_subject[subject])) for subject in clips["subject_id"]], dtype=object)
        bad = np.array([len(by_subject[subject]) > 1 for subject in clips["subject_id"]], dtype=bool)
        return _faults(clips, bad, column, f"a subject has one {column}", values)

    return rule


def ages_within(youngest_years: int | float, oldest_years: int | float) -> Rule:
    """Every known age lies within the given range, both ends included."""

    def rule(clips: pd.DataFrame) -> pd.DataFrame:
        ages_years = clips["age_years"].to_numpy(dtype=float)
        bad = (ages_years < youngest_years) | (ages_years > oldest_years)
        return _faults(clips, bad, "age_years", f"in_range({youngest_years}, {oldest_years})")

    return rule


def at_least_frames(count: int) -> Rule:
    """Every clip has enough frames for the systems that will read it."""
    return lambda clips: _faults(clips, clips["frame_count"].to_numpy() < count, "frame_count", f"at least {count} frames")


def decodable(frames: Frames, executor: Executor | None = None, done: Callable[[], object] = lambda: None) -> Rule:
    """Every file of a clip exists and decodes, to the number and size of frames in the index.

    `frames(root, clip_frames)` yields a clip's frames; clips are decoded in parallel, `done()` is called after each.
    """

    def rule(clips: pd.DataFrame) -> pd.DataFrame:
        faults = []
        columns = [clips[name].tolist() for name in ("root", "frames", "frame_count", "height_px", "width_px")]
        for fault in (executor.map if executor else map)(partial(_decode, frames), *columns):
            faults.append(fault)
            done()
        bad = np.array([fault is not None for fault in faults], dtype=bool)
        return _faults(clips, bad, "frames", "every frame is there and decodes", np.array(faults, dtype=object))

    return rule


def _decode(frames: Frames, root: str, clip_frames: str, frame_count: int, height_px: int, width_px: int) -> str | None:
    """The fault of a clip's frames in words, None if they are as in the index."""
    count = 0
    try:
        for frame in frames(Path(root), clip_frames):
            count += 1
            if frame.shape != (height_px, width_px, 3):
                return f"frame {count} of {clip_frames} is {frame.shape[:2]} px, expected {(height_px, width_px)}"
    except (ValueError, OSError) as error:
        return str(error)
    return None if count == frame_count else f"{clip_frames} has {count} frames, expected {frame_count}"


def labelled(people: People, executor: Executor | None = None, done: Callable[[], object] = lambda: None) -> Rule:
    """The people labelled in every image can be read; an image of which one annotation is faulty is faulty as a whole.

    `people(root, location)` gives an image's annotations; images are read in parallel, `done()` is called after each.
    """

    def rule(clips: pd.DataFrame) -> pd.DataFrame:
        faults = []
        for fault in (executor.map if executor else map)(partial(_read_labels, people), clips["root"], clips["people"]):
            faults.append(fault)
            done()
        bad = np.array([fault is not None for fault in faults], dtype=bool)
        return _faults(clips, bad, "people", "every annotation can be read", np.array(faults, dtype=object))

    return rule


def _read_labels(people: People, root: str, location: str) -> str | None:
    """The fault of an image's annotations in words, None if all can be read."""
    if not location:
        return "the image has no annotations, not even an empty list of them"
    try:
        people(Path(root), location)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _faults(clips: pd.DataFrame, bad: Any, column: str, rule: str, values: np.ndarray | None = None) -> pd.DataFrame:
    """The rows where `bad`, with the column's own values unless others are given."""
    chosen = np.asarray(bad, dtype=bool)
    values = clips[column].to_numpy(dtype=object) if values is None else values
    return _table(clips["clip_id"].to_numpy(dtype=object)[chosen], column, rule, values[chosen])


def _table(clip_ids: Any, column: Any, rule: Any, values: Any) -> pd.DataFrame:
    table = pd.DataFrame({"clip_id": clip_ids}, dtype="str").assign(
        column=column, rule=rule, value=[str(value) for value in values]
    )
    return table.assign(remedy=[REMEDIES.get(name, REMEDY) for name in table["column"]]).astype("str")


def summary(clips: pd.DataFrame, good: pd.DataFrame, quarantine: pd.DataFrame) -> dict[str, Any]:
    """The counts of `check`; subjects are labelled people only."""
    people = good[good["kind"] == "person"] if "kind" in good else good
    return {
        "clips": len(clips),
        "valid_clips": len(good),
        "bad_share": len(set(quarantine["clip_id"])) / len(set(clips["clip_id"])),
        "subjects": dict(
            sorted(Counter(split for split, _ in set(zip(people["split"], people["subject_id"], strict=True))).items())
        ),
        "faults": dict(sorted(Counter(quarantine["rule"]).items())),
    }
