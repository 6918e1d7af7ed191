"""Market-1501 [Zheng et al., ICCV 2015]: photos of 1,501 people by six street cameras, with attributes [Lin et al., 2019].

Official: <root>/market_attribute.mat and the folders (or zip files of them) bounding_box_train, bounding_box_test, query with
          photos 0002_c1s1_000451_03.jpg; 0000_… are distractors, -1_… is junk
Course:   <root>/annotations_train.csv, train/0002_c1_016620005.jpg (or beside the table), test and queries without identities
<root>/validation_ids.txt   in both, if wanted: the training identities that validate, one a line
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from people.datasets.market1501 import labels as label_files
from people.datasets.market1501.pedestrians import JUNK, KINDS, SEQUENCES, Render, photograph, plan
from people.layouts import image_files
from people.records import ATTRIBUTES, Split, Take

__all__ = ["SEQUENCES", "frames", "labels", "parse", "plan", "protocol", "read", "write"]

MAT, CSV, VALIDATION_IDS = "market_attribute.mat", "annotations_train.csv", "validation_ids.txt"
FOLDERS = {"bounding_box_train": "train", "bounding_box_test": "gallery", "query": "query"}  # and the role of their photos
COURSE_FOLDER, UNLABELLED = "train", ("test", "queries")
EDITIONS = {"official": FOLDERS, "course": {COURSE_FOLDER: "train", "test": "gallery", "queries": "query"}}
VALIDATION_SHARE = 0.3  # of the training identities, the first in the label file, as in the paper on the course edition
JUNK_SHARES: dict[Split, float] = {"train": 0.4, "validation": 0.2}  # by time; the rest is test

_NAME = re.compile(
    r"(?P<identity>-1|\d{4})_c(?P<camera>[1-9])(?:s(?P<session>[1-9]\d*)_(?P<frame>\d+)_\d+|_(?P<only_frame>\d+))"
)
_CHUNK = 16
_LOG = logging.getLogger(__name__)


class Name(NamedTuple):
    """What a photo's name says: the identity as written, the camera, the session from 0 (0 where there is none), the frame."""

    identity: str
    camera: int
    session: int
    frame: int
    sequence: str


def parse(name: str) -> Name:
    """Read 0002_c1s1_000451_03.jpg, or 0002_c1_016620005.jpg of the course edition."""
    found = _NAME.fullmatch(Path(name).stem)
    if not found:
        raise ValueError(
            f"{name}: expected a name such as 0002_c1s1_000451_03.jpg, or 0002_c1_016620005.jpg in the course edition; rename "
            "or remove it"
        )
    session = found["session"]
    sequence = f"c{found['camera']}" + (f"s{session}" if session else "")
    frame = int(found["frame"] or found["only_frame"])
    return Name(found["identity"], int(found["camera"]), int(session or 1) - 1, frame, sequence)


# --- write -----------------------------------------------------------------------------------------------------------


def write(
    root: Path,
    takes: Sequence[Take],
    render: Render,
    *,
    jpeg_quality: int,
    edition: str = "official",
    packed: bool = True,
    executor: Executor | None = None,
    done: Callable[[], object] = lambda: None,
) -> None:
    """Photograph the takes into the layout of an edition, official or course; `packed` keeps each folder in one zip file.

    The first photo of a test person by each camera is a query, as an annotator would frame it. The course edition tells who is
    on the photos of its training part alone: the others have numbers for names. Subjects are rendered in parallel, `done()` is
    called after each. `root` appears only when everything is there.
    """
    if edition not in EDITIONS:
        raise ValueError(f"expected an edition of {', '.join(EDITIONS)}, got {edition!r}")
    if not takes:
        raise ValueError(f"expected takes to write to {root}, got none; plan some")
    by_subject = defaultdict(list)
    for take in takes:
        by_subject[take.subject_id].append(take)
    work = [
        (of[start : start + _CHUNK], render, jpeg_quality)
        for _, of in sorted(by_subject.items())
        for start in range(0, len(of), _CHUNK)
    ]
    files: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    jobs: list[Future] = []
    with image_files.whole_or_nothing(root, jobs) as partial:
        _write_labels(partial, {who: of[0] for who, of in sorted(by_subject.items()) if who not in KINDS}, edition)
        jobs += [executor.submit(photograph, *each) for each in work] if executor else []
        for number, each in enumerate(work):
            for role, name, content in jobs[number].result() if jobs else photograph(*each):
                files[role].append((name, content))
            if each[0][-1] is by_subject[each[0][-1].subject_id][-1]:
                done()
        for folder, role in EDITIONS[edition].items():
            named = sorted(files[role])
            if edition == "course":
                named = [(_course_name(name, role, number), content) for number, (name, content) in enumerate(named)]
            images = [(f"{folder}/{name}", content) for name, content in named]
            if not packed:
                (partial / folder).mkdir()
            image_files.write(partial / folder if packed else partial, images, packed=packed)


def _course_name(name: str, role: str, number: int) -> str:
    """Identity, camera and a number that is the frame's and the box's; nothing but a number where identities are not told."""
    if role != "train":
        return f"{number:06d}.jpg"
    parsed = parse(name)
    return f"{parsed.identity}_c{parsed.camera}_{parsed.frame:07d}{Path(name).stem[-2:]}.jpg"


def _write_labels(root: Path, people: Mapping[str, Take], edition: str) -> None:
    if lost := [who for who, take in people.items() if take.split is None or take.appearance is None]:
        raise ValueError(f"expected a split and an appearance for every take, {lost[0]} lacks one; set them in the plan")
    train, test = (
        {who: dict(take.appearance or {}) for who, take in people.items() if (take.split == "test") == tested}
        for tested in (False, True)
    )
    tables = [pd.DataFrame(list(worn.values()), list(worn), list(ATTRIBUTES)) for worn in (train, test)]
    if edition == "course":
        label_files.write_csv(root / CSV, tables[0])
    else:
        label_files.write_mat(root / MAT, *tables)
    (root / VALIDATION_IDS).write_text("".join(f"{who}\n" for who, take in people.items() if take.split == "validation"))


# --- read ------------------------------------------------------------------------------------------------------------


def read(root: Path) -> pd.DataFrame:
    """The index of an archive, official or course edition: one row per photo, in order of role and name.

    Junk, which the official archive has among the photos to be searched alone, is dealt to all splits (`JUNK_SHARES`), so
    that it can be learned and judged; no protocol has any.
    """
    known = labels(root)
    found = _course_photos(root) if (root / CSV).is_file() else _official_photos(root)
    _refuse_gaps(root, known, found)
    junk = _junk_splits([name for _, _, name in found if name.identity == JUNK])
    worn = _worn(known)
    rows = [_row(root, place, role, name, worn, junk) for place, role, name in found]
    text = dict.fromkeys(("split", *ATTRIBUTES), "str")
    return pd.DataFrame(rows).astype({**text, "view_deg": float, "age_years": float, "frame_rate_hz": float})


def labels(root: Path) -> pd.DataFrame:
    """The split and the twelve attributes of every identity, in the label file's order; no photo is looked for.

    The first `VALIDATION_SHARE` of the training identities validate, or those that `VALIDATION_IDS` lists.
    """
    if (root / CSV).is_file():
        parts = {"train": label_files.read_csv(root / CSV)}
    elif (root / MAT).is_file():
        parts = label_files.read_mat(root / MAT)
    else:
        raise ValueError(
            f"expected Market-1501 at {root}: {MAT} (official) or {CSV} (course edition), found neither; correct the dataset's "
            "archive in params.yaml, or put the labels there"
        )
    validation = _validation_ids(root, list(parts["train"].index))
    tables = [
        table.assign(split=["validation" if part == "train" and who in validation else part for who in table.index])
        for part, table in parts.items()
    ]
    return pd.concat(tables)


def _validation_ids(root: Path, training: list[str]) -> set[str]:
    path = root / VALIDATION_IDS
    if not path.is_file():
        return set(training[: int(len(training) * VALIDATION_SHARE)])
    listed = path.read_text().split()
    if unknown := sorted(set(listed) - set(training)):
        raise ValueError(f"{path}: {', '.join(unknown[:5])} are no training identities of the label file; correct the list")
    return set(listed)


def _official_photos(root: Path) -> list[tuple[str, str, Name]]:
    """Place, role and name of every photo."""
    found = []
    for folder, role in FOLDERS.items():
        for place in _places(root, folder):
            name = parse(place)
            if name.identity in KINDS and role != "gallery":
                raise ValueError(f"{root / place}: expected a person in {folder}, got {KINDS[name.identity]}; remove the photo")
            found.append((place, role, name))
    return found


def _course_photos(root: Path) -> list[tuple[str, str, Name]]:
    folder = COURSE_FOLDER if _is_there(root, COURSE_FOLDER) else "."
    places = _places(root, folder)
    unlabelled = {name: len(_places(root, name)) for name in UNLABELLED if _is_there(root, name)}
    if unlabelled:
        counts = ", ".join(f"{count} in {name}" for name, count in unlabelled.items())
        _LOG.warning("photos without an identity are not in the index: %s", counts)
    return [(place, "train", parse(place)) for place in places]


def _is_there(root: Path, folder: str) -> bool:
    return (root / folder).is_dir() or (root / f"{folder}.zip").is_file()


def _places(root: Path, folder: str) -> list[str]:
    """The photos of a folder, or of the zip file of its name, in order."""
    unpacked, packed = (root / folder).is_dir(), (root / f"{folder}.zip").is_file()
    if unpacked == packed:
        came = "both are there; remove one" if packed else "neither is there; put one there"
        raise ValueError(f"expected the folder {folder} or {folder}.zip in {root}, {came}")
    listed = image_files.listing(root, root / (f"{folder}.zip" if packed else folder))
    if folder == ".":
        listed = {"": listed["."]}
    places = [f"{place}/{name}".lstrip("/") for place, names in listed.items() for name in names]
    return [place for place in places if not Path(place).name.startswith("._")]


def _refuse_gaps(root: Path, known: pd.DataFrame, found: Sequence[tuple[str, str, Name]]) -> None:
    there: dict[str, str] = {name.identity: place for place, _, name in found if name.identity not in KINDS}
    if unlabelled := sorted(set(there) - set(known.index)):
        who = unlabelled[0]
        raise ValueError(f"{root / there[who]}: identity {who} has photos and no row in the label file; add it, or remove them")
    if lost := [who for who in known.index if who not in there]:
        raise ValueError(
            f"the label file has {', '.join(lost[:5])}{' ...' if len(lost) > 5 else ''} without a photo in {root}; unpack "
            "them, or remove the rows"
        )


def _junk_splits(junk: Sequence[Name]) -> dict[Name, Split]:
    """The first part of every camera's recordings trains, the next validates, the rest is test."""
    by_camera: dict[int, list[Name]] = defaultdict(list)
    for name in sorted(set(junk)):
        by_camera[name.camera].append(name)
    passed = {name: (number + 0.5) / len(names) for names in by_camera.values() for number, name in enumerate(names)}
    ends = np.floor(np.cumsum(list(JUNK_SHARES.values())).round(6) * len(passed))
    in_time = sorted(passed, key=lambda name: (passed[name], name.camera))
    parts: tuple[Split, ...] = (*JUNK_SHARES, "test")
    return {name: parts[int(np.searchsorted(ends, number, side="right"))] for number, name in enumerate(in_time)}


def _row(
    root: Path, place: str, role: str, name: Name, worn: Mapping[tuple[str, str], Mapping[str, str]], junk: Mapping[Name, Split]
) -> dict[str, Any]:
    kind, part = KINDS.get(name.identity, "person"), "train" if role == "train" else "test"
    of_part, of_any = worn.get((name.identity, part), {}), worn.get((name.identity, ""), {})
    split = junk[name] if kind == "junk" else "test" if part == "test" else of_part.get("split")
    return {
        "dataset": "market1501",
        "clip_id": Path(place).stem,
        "subject_id": f"junk-{split}" if kind == "junk" else name.identity,
        "split": split,
        "sequence": name.sequence,
        "condition": kind,
        "session": name.session,
        "view_deg": np.nan,
        "age_years": np.nan,
        "frames": place,
        "frame_count": 1,
        "frame_rate_hz": np.nan,
        **image_files.size(root, place),
        "root": str(root),
        "kind": kind,
        "role": role if kind != "junk" or split == "test" else "train",
        "camera": name.camera,
        **{attribute: (of_part or of_any).get(attribute) for attribute in ATTRIBUTES},
    }


def _worn(known: pd.DataFrame) -> dict[tuple[str, str], Mapping[str, str]]:
    """What the labels say of an identity in its part, train or test, and ("") in any."""
    found: dict[tuple[str, str], Mapping[str, str]] = {}
    for who, row in zip(known.index, known.to_dict("records"), strict=True):
        found[who, "test" if row["split"] == "test" else "train"] = found[who, ""] = row
    return found


def frames(root: Path, clip_frames: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The one frame of a photo, RGB whatever the file holds: grey is repeated, an alpha channel dropped."""
    return image_files.frames(root, clip_frames)


# --- judge -----------------------------------------------------------------------------------------------------------


def protocol(clips: pd.DataFrame, split: str) -> list[Any]:
    """`paper`: every photo of a known person is a query against all others, whatever camera took them.

    `official`: queries against the gallery with its distractors, without the photos of the query's person by the query's
    camera; every photo against all where the split has no queries. Junk is in neither.
    """
    from people.protocols import PhotoSet  # here, for reading a dataset does not depend on who is compared with whom

    columns = (clips[name] for name in ("clip_id", "kind", "role", "split"))
    rows = sorted(row for row in zip(*columns, strict=True) if row[3] == split)
    everybody = tuple(clip for clip, kind, *_ in rows if kind == "person")
    if not everybody:
        there = sorted(set(clips.loc[clips["kind"] == "person", "split"].dropna()))
        raise ValueError(f"expected photos of people of split {split!r}, the index has those of {there}; choose one of them")
    queries = tuple(clip for clip, kind, role, _ in rows if kind == "person" and role == "query")
    gallery = tuple(clip for clip, kind, role, _ in rows if kind != "junk" and role != "query")
    return [
        PhotoSet("paper", everybody, everybody, same_camera_removed=False),
        PhotoSet("official", queries or everybody, gallery, same_camera_removed=True),
    ]
