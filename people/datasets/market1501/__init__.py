"""Market-1501 [Zheng et al., ICCV 2015]: photos of 1,501 people by six street cameras, with attributes [Lin et al., 2019].

Official: <root>/market_attribute.mat and the folders (or zip files of them) bounding_box_train, bounding_box_test, query with
          photos 0002_c1s1_000451_03.jpg; 0000_… are distractors, -1_… is junk
Course:   <root>/annotations_train.csv, train/0002_c1_016620005.jpg (or beside the table), test and queries without identities
<root>/validation_ids.txt   in both, optional: the training identities that validate, one a line
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
from people.layouts import files as archive_files
from people.layouts import image_files
from people.records import ATTRIBUTES, Split, Take

__all__ = ["SEQUENCES", "frames", "parse_name", "plan", "protocol", "read", "read_labels", "write"]

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


class PhotoName(NamedTuple):
    """The fields of a photo's name; `session` counts from 0 and is 0 where the name has none."""

    identity: str
    camera: int
    session: int
    frame: int
    sequence: str


def parse_name(name: str) -> PhotoName:
    """Read 0002_c1s1_000451_03.jpg, or 0002_c1_016620005.jpg of the course edition."""
    match = _NAME.fullmatch(Path(name).stem)
    if not match:
        raise ValueError(
            f"{name}: expected a name such as 0002_c1s1_000451_03.jpg, or 0002_c1_016620005.jpg in the course edition; rename "
            "or remove it"
        )
    session = match["session"]
    sequence = f"c{match['camera']}" + (f"s{session}" if session else "")
    frame = int(match["frame"] or match["only_frame"])
    return PhotoName(match["identity"], int(match["camera"]), int(session or 1) - 1, frame, sequence)


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
    """Render the takes as photos into the layout of an edition, official or course; `packed` keeps each folder in one zip file.

    The first photo of a test person by each camera is a query, in the annotated box. In the course edition only training photos
    have names with identities, the others are numbered. Subjects are rendered in parallel, `done()` is called after each.
    `root` appears only when it is complete.
    """
    if edition not in EDITIONS:
        raise ValueError(f"expected an edition of {', '.join(EDITIONS)}, got {edition!r}")
    if not takes:
        raise ValueError(f"expected takes to write to {root}, got none; plan some")
    by_subject = defaultdict(list)
    for take in takes:
        by_subject[take.subject_id].append(take)
    work = [
        (recorded[start : start + _CHUNK], render, jpeg_quality)
        for _, recorded in sorted(by_subject.items())
        for start in range(0, len(recorded), _CHUNK)
    ]
    files: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    jobs: list[Future] = []
    people = {subject: recorded[0] for subject, recorded in sorted(by_subject.items()) if subject not in KINDS}
    with image_files.atomic_folder(root, jobs) as partial:
        _write_labels(partial, people, edition)
        jobs += [executor.submit(photograph, *arguments) for arguments in work] if executor else []
        for number, arguments in enumerate(work):
            for role, name, content in jobs[number].result() if jobs else photograph(*arguments):
                files[role].append((name, content))
            last_take = arguments[0][-1]
            if last_take is by_subject[last_take.subject_id][-1]:
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
    """Identity, camera, and the numbers of frame and box in one; for photos that do not train, `number` alone."""
    if role != "train":
        return f"{number:06d}.jpg"
    parsed = parse_name(name)
    return f"{parsed.identity}_c{parsed.camera}_{parsed.frame:07d}{Path(name).stem[-2:]}.jpg"


def _write_labels(root: Path, people: Mapping[str, Take], edition: str) -> None:
    if incomplete := [identity for identity, take in people.items() if take.split is None or take.appearance is None]:
        raise ValueError(f"expected a split and an appearance for every take, {incomplete[0]} lacks one; set them in the plan")
    train, test = (
        {identity: dict(take.appearance or {}) for identity, take in people.items() if (take.split == "test") == is_test}
        for is_test in (False, True)
    )
    tables = [pd.DataFrame(list(rows.values()), list(rows), list(ATTRIBUTES)) for rows in (train, test)]
    if edition == "course":
        label_files.write_csv(root / CSV, tables[0])
    else:
        label_files.write_mat(root / MAT, *tables)
    validation = [identity for identity, take in people.items() if take.split == "validation"]
    (root / VALIDATION_IDS).write_text("".join(f"{identity}\n" for identity in validation))


# --- read ------------------------------------------------------------------------------------------------------------


def read(root: Path) -> pd.DataFrame:
    """The index of an archive, official or course edition: one row per photo, in order of role and name.

    Junk, which the official archive has in its gallery only, is assigned to all splits (`JUNK_SHARES`), for training and
    evaluation of the junk score; no protocol has any.
    """
    label_table = read_labels(root)
    photos = _course_photos(root) if archive_files.find(root, CSV) else _official_photos(root)
    _check_complete(root, label_table, photos)
    junk = _junk_splits([name for _, _, name in photos if name.identity == JUNK])
    label_rows = _label_rows(label_table)
    rows = [_row(root, location, role, name, label_rows, junk) for location, role, name in photos]
    text = dict.fromkeys(("split", *ATTRIBUTES), "str")
    return pd.DataFrame(rows).astype({**text, "view_deg": float, "age_years": float, "frame_rate_hz": float})


def read_labels(root: Path) -> pd.DataFrame:
    """The split and the twelve attributes of every identity, in the label file's order; photos are not read.

    The first `VALIDATION_SHARE` of the training identities validate, or those that `VALIDATION_IDS` lists.
    """
    if path := archive_files.find(root, CSV):
        subsets = {"train": label_files.read_csv(path)}
    elif path := archive_files.find(root, MAT):
        subsets = label_files.read_mat(path)
    else:
        raise ValueError(
            f"expected Market-1501 at {root}: {MAT} (official) or {CSV} (course edition), found neither; correct the dataset's "
            "archive in params.yaml, or put the labels there"
        )
    validation = _validation_ids(root, list(subsets["train"].index))
    tables = [
        table.assign(split=["validation" if subset == "train" and name in validation else subset for name in table.index])
        for subset, table in subsets.items()
    ]
    return pd.concat(tables)


def _validation_ids(root: Path, training: list[str]) -> set[str]:
    path = archive_files.find(root, VALIDATION_IDS)
    if not path:
        return set(training[: int(len(training) * VALIDATION_SHARE)])
    listed = archive_files.read_text(path).split()
    if unknown := sorted(set(listed) - set(training)):
        raise ValueError(f"{path}: {', '.join(unknown[:5])} are no training identities of the label file; correct the list")
    return set(listed)


def _official_photos(root: Path) -> list[tuple[str, str, PhotoName]]:
    """Location, role and name of every photo."""
    photos = []
    for folder, role in FOLDERS.items():
        for location in _locations(root, folder):
            name = parse_name(location)
            if name.identity in KINDS and role != "gallery":
                kind = KINDS[name.identity]
                raise ValueError(f"{root / location}: expected a person in {folder}, got {kind}; remove the photo")
            photos.append((location, role, name))
    return photos


def _course_photos(root: Path) -> list[tuple[str, str, PhotoName]]:
    locations = _locations(root, COURSE_FOLDER) if _places(root, COURSE_FOLDER) else _beside_labels(root)
    unlabelled = {name: len(_locations(root, name)) for name in UNLABELLED if _places(root, name)}
    if unlabelled:
        counts = ", ".join(f"{count} in {name}" for name, count in unlabelled.items())
        _LOG.warning("photos without an identity are not in the index: %s", counts)
    return [(location, "train", parse_name(location)) for location in locations]


def _places(root: Path, folder: str) -> list[Path]:
    """The folders of this name, and the zip files of it."""
    packed = [path for path in archive_files.named(root, f"{folder}.zip") if path.is_file()]
    return [path for path in archive_files.named(root, folder) if path.is_dir()] + packed


def _locations(root: Path, folder: str) -> list[str]:
    """The photos of a folder, or of the zip file of its name, in order."""
    places = _places(root, folder)
    if len(places) != 1:
        fault = f"{' and '.join(path.name for path in places)} exist; remove one" if places else "neither exists; add one"
        raise ValueError(f"expected the folder {folder} or {folder}.zip in {root}, {fault}")
    return [f"{parent}/{name}" for parent, names in image_files.list_images(root, places[0]).items() for name in names]


def _beside_labels(root: Path) -> list[str]:
    """The photos in the root itself, in order."""
    return image_files.sorted_images(path.name for path in archive_files.children(root) if path.is_file())


def _check_complete(root: Path, label_table: pd.DataFrame, photos: Sequence[tuple[str, str, PhotoName]]) -> None:
    photographed = {name.identity: location for location, _, name in photos if name.identity not in KINDS}
    for identity in sorted(set(photographed) - set(label_table.index)):
        raise ValueError(
            f"{root / photographed[identity]}: identity {identity} has photos and no row in the label file; add it, or remove "
            "them"
        )
    if missing := [identity for identity in label_table.index if identity not in photographed]:
        raise ValueError(
            f"the label file has {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''} without a photo in {root}; "
            "unpack them, or remove the rows"
        )


def _junk_splits(junk: Sequence[PhotoName]) -> dict[PhotoName, Split]:
    """Of every camera's junk photos in order of time, the first train, the next validate, the rest is test."""
    by_camera: dict[int, list[PhotoName]] = defaultdict(list)
    for name in sorted(set(junk)):
        by_camera[name.camera].append(name)
    quantiles = {name: (number + 0.5) / len(names) for names in by_camera.values() for number, name in enumerate(names)}
    ends = np.floor(np.cumsum(list(JUNK_SHARES.values())).round(6) * len(quantiles))
    by_time = sorted(quantiles, key=lambda name: (quantiles[name], name.camera))
    splits: tuple[Split, ...] = (*JUNK_SHARES, "test")
    return {name: splits[int(np.searchsorted(ends, number, side="right"))] for number, name in enumerate(by_time)}


def _row(
    root: Path,
    location: str,
    role: str,
    name: PhotoName,
    label_rows: Mapping[tuple[str, str], Mapping[str, str]],
    junk: Mapping[PhotoName, Split],
) -> dict[str, Any]:
    kind, subset = KINDS.get(name.identity, "person"), "train" if role == "train" else "test"
    labels = label_rows.get((name.identity, subset), {})
    attributes = labels or label_rows.get((name.identity, ""), {})
    split = junk[name] if kind == "junk" else "test" if subset == "test" else labels.get("split")
    return {
        "dataset": "market1501",
        "clip_id": Path(location).stem,
        "subject_id": f"junk-{split}" if kind == "junk" else name.identity,
        "split": split,
        "sequence": name.sequence,
        "condition": kind,
        "session": name.session,
        "view_deg": np.nan,
        "age_years": np.nan,
        "frames": location,
        "frame_count": 1,
        "frame_rate_hz": np.nan,
        **image_files.size(root, location),
        "root": str(root),
        "kind": kind,
        "role": role if kind != "junk" or split == "test" else "train",
        "camera": name.camera,
        **{attribute: attributes.get(attribute) for attribute in ATTRIBUTES},
    }


def _label_rows(label_table: pd.DataFrame) -> dict[tuple[str, str], Mapping[str, str]]:
    """The labels by identity and subset, train or test; subset "" is either."""
    rows: dict[tuple[str, str], Mapping[str, str]] = {}
    for identity, row in zip(label_table.index, label_table.to_dict("records"), strict=True):
        rows[identity, "test" if row["split"] == "test" else "train"] = rows[identity, ""] = row
    return rows


def frames(root: Path, clip_frames: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The one frame of a photo, always RGB: a grey image has three equal channels, an alpha channel is dropped."""
    return image_files.frames(root, clip_frames)


# --- protocol --------------------------------------------------------------------------------------------------------


def protocol(clips: pd.DataFrame, split: str) -> list[Any]:
    """`paper`: every photo of a labelled person is a query against all others, of all cameras.

    `official`: queries against the gallery with its distractors, without the photos of the query's person by the query's
    camera; every photo against all where the split has no queries. Junk is in neither.
    """
    from people.protocols.photo_set import PhotoSet  # here, so that reading a dataset does not depend on protocols

    columns = (clips[name] for name in ("clip_id", "kind", "role", "split"))
    rows = sorted(row for row in zip(*columns, strict=True) if row[3] == split)
    people = tuple(clip for clip, kind, *_ in rows if kind == "person")
    if not people:
        splits = sorted(set(clips.loc[clips["kind"] == "person", "split"].dropna()))
        raise ValueError(f"expected photos of people of split {split!r}, the index has those of {splits}; choose one of them")
    queries = tuple(clip for clip, kind, role, _ in rows if kind == "person" and role == "query")
    gallery = tuple(clip for clip, kind, role, _ in rows if kind != "junk" and role != "query")
    return [
        PhotoSet("paper", people, people, same_camera_removed=False),
        PhotoSet("official", queries or people, gallery, same_camera_removed=True),
    ]
