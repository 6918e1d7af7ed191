"""Digests of the files that an index names, so that a replaced file changes the index, and the files that no clip names.

A container is a folder or a packed file (zip, npz). Hashes are SHA-256: of a file's bytes, or of the bytes that a packed file
stores for one of its members, which are not unpacked. `known` holds the hashes of containers from earlier calls; a file is
read again when its size, or the time of the last change of its content or status, is another.
"""

import hashlib
import os
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from people.layouts import files, image_files

LOCATION_COLUMNS = ("frames", "masks", "keypoints", "background", "people")
PACKED = (".zip", ".npz")
DATA = (
    *image_files.IMAGES,
    *(".avi", ".mp4", ".mpg", ".mpeg", ".mov", ".mkv", ".wmv", ".webm", ".tif", ".tiff", ".gif", ".webp", ".pgm", ".ppm"),
    *(".zip", ".tar", ".tgz", ".gz", ".tbz", ".tbz2", ".bz2", ".txz", ".xz", ".zst", ".rar", ".7z", ".npz"),
)  # endings of what looks like data
_BATCH = 128
_FEW_BYTES = 1 << 28  # less than this is read before other processes have started
_SETTLED_S = 2.0  # a file that was changed less than this before it was read could change again without another time


class Stamp(NamedTuple):
    """What a file's hash is remembered by: size in bytes, time of the last change of its content, and of its status."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class Hashed(NamedTuple):
    """The hash of a file, or of a member of a packed file, and the file's stamp."""

    stamp: Stamp
    sha256: str


Hashes = Mapping[str, Hashed]  # of a container, by name
Known = MutableMapping[str, Hashes]  # by the container's path without links
Run = Callable[..., Iterable[Hashes]]  # `map`, or an executor's method of that name

_UNSETTLED = Stamp(-1, 0, 0)


# --- digests ---------------------------------------------------------------------------------------------------------


def of_clips(root: Path, clips: pd.DataFrame, known: Known, run: Run = map) -> list[str]:
    """A digest for every clip: of the names and hashes of the files of its frames, masks, keypoints, empty scene and labels."""
    columns = [name for name in LOCATION_COLUMNS if name in clips]
    rows = [[location if isinstance(location, str) else "" for location in row] for row in clips[columns].to_numpy().tolist()]
    parts = {location: _part(root, location) for location in sorted({each for row in rows for each in row if each})}
    wanted: dict[str, set[str]] = defaultdict(set)
    for container, names in parts.values():
        wanted[container].update(names)
    hashes = hash_files(wanted, known, run)
    digests = []
    for row in rows:
        content = hashlib.sha256()
        for column, (container, names) in zip(columns, (parts.get(each, ("", ())) for each in row), strict=True):
            for name in names:
                content.update(f"{column}\0{name}\0{hashes[container][name].sha256}\n".encode())
        digests.append(content.hexdigest())
    return digests


def of_archive(top: Path, known: Known, run: Run = map) -> dict[str, Any]:
    """The number and size of all files at or below a folder (or of one file), and a digest of their names and contents."""
    paths = [folder / name for folder, names in files.walk(top) for name in names] if top.is_dir() else [top]
    wanted: dict[str, set[str]] = defaultdict(set)
    listed: list[tuple[str, str, str]] = []  # the path in the archive, the container and the name in it
    for path in paths:
        place = path.relative_to(top).as_posix()
        container, names = _members_of(path)
        wanted[container].update(names)
        listed += [(place, container, name) for name in names]
    hashes = hash_files(wanted, known, run)
    content = hashlib.sha256()
    for place, container, name in sorted(listed):
        content.update(f"{place}\0{name}\0{hashes[container][name].sha256}\n".encode())
    size_bytes = sum(path.stat().st_size for path in paths)
    return {"file_count": len(paths), "size_bytes": size_bytes, "sha256": content.hexdigest()}


def _members_of(path: Path) -> tuple[str, list[str]]:
    """A packed file and its members, or the folder of another file and its name: what `of_clips` hashes likewise."""
    if path.name.lower().endswith(PACKED):
        container = os.path.realpath(path)
        by_folder = _table_of_contents(container, _stamp(container))
        if by_folder:
            return container, [f"{folder}/{name}".lstrip("/") for folder, names in by_folder.items() for name in names if name]
    return os.path.realpath(path.parent), [path.name]


# --- hashes ----------------------------------------------------------------------------------------------------------


def hash_files(wanted: Mapping[str, Collection[str]], known: Known, run: Run = map) -> dict[str, Hashes]:
    """The hashes of these files, by container and name; `known` is read and completed.

    `run` applies a function to batches of files, where there are many bytes to read; where there are few, `map` does.
    """
    hashes: dict[str, dict[str, Hashed]] = {}
    batches: list[tuple[str, list[str]]] = []
    to_read_bytes = 0
    for container, names in wanted.items():
        earlier, is_folder = known.get(container, {}), os.path.isdir(container)
        stamps = {name: _stamp(os.path.join(container, name) if is_folder else container) for name in sorted(names)}
        hashes[container] = {
            name: earlier[name] for name, stamp in stamps.items() if name in earlier and earlier[name].stamp == stamp
        }
        unknown = [name for name in stamps if name not in hashes[container]]
        size = _BATCH if is_folder else max(len(unknown), 1)
        batches += [(container, unknown[start : start + size]) for start in range(0, len(unknown), size)]
        to_read_bytes += sum(stamps[name].size_bytes for name in (unknown if is_folder else unknown[:1]))
    apply = run if to_read_bytes > _FEW_BYTES else map
    results = apply(_hash_batch, *zip(*batches, strict=True)) if batches else ()
    for container, of_container in groupby(zip(batches, results, strict=True), key=lambda pair: pair[0][0]):
        for _, result in of_container:
            hashes[container].update(result)
        known[container] = {**known.get(container, {}), **hashes[container]}
    return dict(hashes)


def _stamp(path: str | Path) -> Stamp:
    status = os.stat(path)
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _hash_batch(container: str, names: Sequence[str]) -> Hashes:
    """The hashes of some files of a folder, or of some members of a packed file."""
    if not os.path.isdir(container):
        stamp = _settled(_stamp(container))
        return {name: Hashed(stamp, sha256) for name, sha256 in _stored(container, names)}
    hashes = {}
    for name in names:
        path = os.path.join(container, name)
        stamp = _settled(_stamp(path))
        with open(path, "rb") as file:
            hashes[name] = Hashed(stamp, hashlib.file_digest(file, "sha256").hexdigest())
    return hashes


def _settled(stamp: Stamp) -> Stamp:
    return stamp if time.time() - max(stamp.mtime_ns, stamp.ctime_ns) / 1e9 > _SETTLED_S else _UNSETTLED


def _stored(path: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The hash of what a packed file stores for these members: from the start of each to the start of the next."""
    wanted = set(names)
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        ends = [member.header_offset for member in members[1:]] + [archive.start_dir]
        for member, end in zip(members, ends, strict=True):
            if member.filename in wanted:
                file.seek(member.header_offset)
                yield member.filename, hashlib.sha256(file.read(end - member.header_offset)).hexdigest()


# --- what a location consists of -------------------------------------------------------------------------------------


def _part(root: Path, location: str) -> tuple[str, Sequence[str]]:
    """The container of a location and the names of its files there; what does not exist is not among them."""
    path, _, inside = location.partition("!")
    file = root / path
    if not file.exists():
        return os.path.realpath(file), ()
    if path.lower().endswith(PACKED):
        container = os.path.realpath(file)
        return container, _members(_table_of_contents(container, _stamp(container)), inside)
    if file.is_dir():
        return os.path.realpath(file), image_files.sorted_images(os.listdir(file))
    return os.path.realpath(file.parent), [file.name]


@lru_cache(maxsize=2)  # locations come in the order of their packed files
def _table_of_contents(path: str, stamp: Stamp) -> dict[str, dict[str, None]]:
    """The names of a packed file's members by folder; none where it is no packed file."""
    folders: dict[str, dict[str, None]] = defaultdict(dict)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                folder, _, name = member.rpartition("/")
                folders[folder][name] = None
    except zipfile.BadZipFile:
        return {}
    return dict(folders)


def _members(by_folder: Mapping[str, Collection[str]], inside: str) -> list[str]:
    """The images of a folder inside a packed file, or the one image or array of that name."""
    folder, _, name = inside.rpartition("/")
    alone = [f"{folder}/{each}".lstrip("/") for each in (name, f"{name}.npy") if each in by_folder.get(folder, ())]
    return alone or [f"{inside}/{name}".lstrip("/") for name in image_files.sorted_images(by_folder.get(inside, ()))]


# --- what no clip names ----------------------------------------------------------------------------------------------


def unread(root: Path, clips: pd.DataFrame) -> list[str]:
    """The files of an archive that look like data and belong to no clip, by their path below the root."""
    whole: set[str] = set()  # folders of images and packed files
    single: set[str] = set()
    for name in LOCATION_COLUMNS:
        for location in set(clips[name].dropna()) - {""} if name in clips else ():
            path = root / location.partition("!")[0]
            is_whole = path.is_dir() or path.name.lower().endswith(PACKED)
            (whole if is_whole else single).add(os.path.realpath(path) if is_whole else _beside(path))
    left = []
    for folder, names in files.walk(root):
        container = os.path.realpath(folder)
        for name in (name for name in names if name.lower().endswith(DATA)):
            is_image = container in whole and name.lower().endswith(image_files.IMAGES)
            is_packed = name.lower().endswith(PACKED) and os.path.realpath(folder / name) in whole
            if not is_image and not is_packed and os.path.join(container, name) not in single:
                left.append((folder / name).relative_to(root).as_posix())
    return left


def _beside(file: Path) -> str:
    """A file's path, without links in that of its folder."""
    return os.path.join(os.path.realpath(file.parent), file.name)
