"""Files out of a tar, a zip or an unpacked folder, read into memory: nothing is ever extracted to the disk."""

import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from people.layouts import files, limits

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, RecursionError)
_MAX_HEADER_BYTES = 1 << 20  # of the headers that tar puts before a file, for a long name and the like
_HEADERS = (*"xgXLK",)  # their types


def members(archive: Path, pattern: re.Pattern[str], *, expected: str) -> dict[str, bytes]:
    """The archive's files whose path ends in `pattern`, sorted by path; `expected` describes them in errors."""
    if not archive.exists():
        raise ValueError(f"{archive}: expected {expected}, but there is no such file or folder; check the path")
    contents, others = {}, []
    try:
        for name, content in _walk(archive, pattern):
            if content is None:
                others.append(name)
            else:
                contents[name] = content
    except _BROKEN as error:
        raise ValueError(
            f"{archive}: expected a whole tar, zip or folder with {expected}, but reading it failed after {len(contents)} "
            f"files ({error}); fetch or copy the archive again"
        ) from error
    except limits.UNREADABLE_ZIP as error:
        raise ValueError(f"{archive}: expected {expected}, but {error}; {limits.REPACK}") from None
    if not contents:
        examples = ", ".join(sorted(others)[:3]) or "no file at all"
        raise ValueError(
            f"{archive}: expected {expected}, found {len(others)} other files ({examples}); name the right archive"
        )
    return dict(sorted(contents.items()))


def _walk(archive: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, bytes | None]]:
    unpacked = limits.Unpacked(archive)
    if archive.is_dir():
        for path in (folder / name for folder, names in files.walk(archive) for name in names):
            name = path.relative_to(archive).as_posix()
            matches = pattern.search(f"/{name}")
            unpacked.add(path.stat().st_size if matches else 0)
            yield name, path.read_bytes() if matches else None
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                if not info.is_dir() and not files.is_ignored(info.filename):
                    matches = pattern.search(f"/{info.filename}")
                    unpacked.add(info.file_size if matches else 0)
                    yield info.filename, file.read(info) if matches else None
    else:
        with tarfile.open(archive, tarinfo=_Entry) as file:
            yield from _walk_tar(file, pattern, unpacked)


class _Entry(tarfile.TarInfo):
    """An entry of a tar whose size is checked before tarfile reads it: headers it reads whole, and a negative size for ever."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Entry":
        entry = super().frombuf(buf, encoding, errors)
        if entry.size < 0 or (entry.type.decode("latin-1") in _HEADERS and entry.size > _MAX_HEADER_BYTES):
            raise OSError(f"a header claims {entry.size:,} bytes for {entry.name!r}, expected 0 to {_MAX_HEADER_BYTES:,}")
        return entry


def _walk_tar(file: tarfile.TarFile, pattern: re.Pattern[str], unpacked: limits.Unpacked) -> Iterator[tuple[str, bytes | None]]:
    for info in file:
        if info.size < 0:
            raise EOFError(f"{info.name!r} claims {info.size:,} bytes")
        if info.isfile():  # links and devices have no content of their own
            unpacked.add(info.size)  # also of files that are passed over: what follows them has to be unpacked up to there
            if files.is_ignored(info.name):
                continue
            content = file.extractfile(info) if pattern.search(f"/{info.name}") else None
            yield info.name, content.read() if content else None
    # tarfile does not notice truncation between two members: a complete archive ends in a block of zeros
    assert file.fileobj is not None
    file.fileobj.seek(file.offset)
    if file.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError("the end-of-archive mark is missing")
