"""Zip files whose members are read as if they were files: each opened once in a process."""

import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from people.layouts import limits
from people.layouts.files import is_ignored

_MEMBER = re.compile(r"(.+?\.zip)!(.+)", re.IGNORECASE | re.DOTALL)
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError)


class Opened(NamedTuple):
    """An open zip file and the names of its entries by their folders."""

    archive: zipfile.ZipFile
    folders: Mapping[str, Sequence[str]]


def opened(path: Path) -> Opened:
    """A zip file whose table of contents is read once in a process, not for every clip, as long as the file is the same."""
    try:
        status = path.stat()
        stamp = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        return _cached(path, stamp, os.getpid())
    except BROKEN as error:
        raise ValueError(f"{path}: expected a whole zip file, but {error}; copy or write it again") from None


@lru_cache(maxsize=8)
def _cached(path: Path, stamp: tuple[int, ...], process: int) -> Opened:
    """`stamp`: of the file; `process`: a fork would share the file's position with its parent."""
    archive = zipfile.ZipFile(path)
    folders: dict[str, list[str]] = {}
    for name in archive.namelist():
        if not is_ignored(name):
            folders.setdefault(name.rpartition("/")[0], []).append(name)
    return Opened(archive, folders)


@contextmanager
def as_file(path: Path) -> Iterator[Path]:
    """A file as it lies on the disk; of a member of a zip file, `video/001.zip!001-nm-01-090.avi`, a copy for as long as the
    block runs, under the member's own name.
    """
    inside = _MEMBER.fullmatch(str(path))
    if inside is None:
        yield path
        return
    packed, member = inside.groups()
    archive = opened(Path(packed)).archive
    if member in archive.NameToInfo and archive.getinfo(member).file_size > limits.MAX_UNPACKED_BYTES:
        raise ValueError(f"{path}: it unpacks to more than {limits.MAX_UNPACKED_BYTES:,} bytes; replace it")
    with TemporaryDirectory(prefix="people-") as folder:
        copy = Path(folder, Path(member).name)
        try:
            with archive.open(member) as content, copy.open("wb") as file:
                shutil.copyfileobj(content, file)
        except limits.UNREADABLE_ZIP as error:
            raise ValueError(f"{path}: expected a file, but {error}; {limits.REPACK}") from None
        except (KeyError, *BROKEN) as error:
            raise ValueError(f"{path}: expected a whole file, but {error}; copy or write the zip file again") from None
        yield copy
