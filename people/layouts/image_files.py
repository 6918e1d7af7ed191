"""Folders of images on the disk or inside zip files: written, listed and decoded alike.

A place names such a folder: `image/p001/n01`, or `image/p001.zip!p001/n01` inside a zip file; or one image of it, as
`query/0002_c1s1_000451_00.jpg`, alike.
"""

import errno
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

IMAGES = (".jpg", ".jpeg", ".png", ".bmp")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError)


@contextmanager
def whole_or_nothing(root: Path, jobs: Sequence[Future] = ()) -> Iterator[Path]:
    """A sibling folder to write to, which becomes `root` when the block ends well and vanishes when it does not.

    `jobs`, to which the block may add, write into it from other processes: they are ended before anything is removed.
    """
    if root.exists():
        raise ValueError(f"expected a free place to write to, {root} is there already; remove it or name another")
    partial = root.with_name(root.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(root)
    except BaseException as error:
        for job in jobs:
            job.cancel()
        wait(jobs)
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            remedy = "free space on the disk, or raise the limit," if full else "see that the place can be written to"
            where, why = error.filename or partial, error.strerror or error
            raise OSError(
                error.errno, f"writing {where} failed: {why}; {remedy} and write again; nothing was left behind"
            ) from error
        raise


def write(folder: Path, files: Iterable[tuple[str, bytes]], *, packed: bool) -> None:
    """Write named files into a folder, or packed into the one file `<folder>.zip`.

    Images are stored, not compressed again, and carry no date: equal files make equal bytes.
    """
    if not packed:
        for name, content in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return
    with zipfile.ZipFile(f"{folder}.zip", "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content)


def jpeg(frame_rgb: UInt8[np.ndarray, "height width 3"], quality: int) -> bytes:
    """The frame as a JPEG file."""
    encoded, content = cv2.imencode(".jpg", cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert encoded
    return content.tobytes()


def png(image: UInt8[np.ndarray, "height width"]) -> bytes:
    """The grey image as a PNG file."""
    encoded, content = cv2.imencode(".png", image)
    assert encoded
    return content.tobytes()


def listing(root: Path, below: Path) -> dict[str, list[str]]:
    """Every folder at or below a path (a folder or a zip file), by its place seen from `root`, with its images in order."""
    if below.suffix == ".zip":
        return _in_zip(root, below)
    found: dict[str, list[str]] = {}
    for folder, _, files in os.walk(below):
        found[Path(folder).relative_to(root).as_posix()] = in_order(files)
        for name in files:
            if name.lower().endswith(".zip"):
                found |= _in_zip(root, Path(folder, name))
    return dict(sorted(found.items()))


def _in_zip(root: Path, path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with _opened(path) as archive:
        for name in archive.namelist():
            folder, _, file = name.rpartition("/")
            if not name.startswith("__MACOSX/"):  # what one system's packer adds beside every file
                found.setdefault(folder, []).append(file)
    return {f"{path.relative_to(root).as_posix()}!{folder}": in_order(files) for folder, files in sorted(found.items())}


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except _BROKEN as error:
        raise ValueError(f"{path}: expected a whole zip file of images, but {error}; copy or write it again") from None
    with archive:
        yield archive


def in_order(names: Iterable[str]) -> list[str]:
    """The images among the names, numbers in them counted as numbers: 2.jpg comes before 10.jpg."""
    images = [name for name in names if name.lower().endswith(IMAGES)]
    return sorted(images, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def frames(root: Path, place: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The images of one place, decoded to RGB in order; one that is missing, cut short or damaged is an error that names it.

    A grey image has three equal channels, an alpha channel is dropped.
    """
    if place.lower().endswith(IMAGES):
        yield decode(_content(root, place), f"{root / place}")
        return
    path, _, inside = place.partition("!")
    if not (root / path).exists():
        raise ValueError(
            f"{root / path}: expected the images of a clip, there is no such file or folder; ingest the dataset again"
        )
    if not inside:
        for name in in_order(os.listdir(root / path)):
            yield decode((root / path / name).read_bytes(), f"{root / path / name}")
        return
    with _opened(root / path) as archive:
        for name in in_order(name for name in archive.namelist() if name.rpartition("/")[0] == inside):
            where = f"{root / path}!{name}"
            try:
                content = archive.read(name)
            except _BROKEN as error:
                raise ValueError(f"{where}: expected a whole image, but {error}; copy or write the zip file again") from None
            yield decode(content, where)


def _content(root: Path, place: str) -> bytes:
    """The file of one image."""
    path, _, inside = place.partition("!")
    try:
        if not inside:
            return (root / path).read_bytes()
        status = (root / path).stat()
        return _kept_open(root / path, status.st_mtime_ns, status.st_size).read(inside)
    except (KeyError, *_BROKEN) as error:
        raise ValueError(f"{root / place}: expected a whole image, but {error}; copy or write it again") from None


@lru_cache(maxsize=8)
def _kept_open(path: Path, mtime_ns: int, size_bytes: int) -> zipfile.ZipFile:
    """A zip file whose table of contents is read once in a process, not for every image, as long as the file is the same."""
    return zipfile.ZipFile(path)


def size(root: Path, place: str) -> dict[str, int]:
    """Height and width of the place's first image; both 0 where there is none that can be decoded."""
    try:
        height_px, width_px = next(frames(root, place)).shape[:2]
    except (StopIteration, ValueError):
        height_px = width_px = 0
    return {"height_px": height_px, "width_px": width_px}


def decode(content: bytes, where: str) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels of an image file, RGB; `where` names the file in errors."""
    is_jpeg = content[:2] == b"\xff\xd8"
    # some decoders fill up a JPEG that is cut short with grey: only its end mark (which no pixel data contains) tells
    whole = content and (not is_jpeg or content.rfind(b"\xff\xd9") > 0)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB) if whole else None
    if pixels is None:
        raise ValueError(f"{where}: expected an image, but its {len(content)} bytes cannot be decoded; replace the file")
    return pixels
