"""Folders of images on the disk or inside zip files: written, listed and decoded alike.

A location is the path of such a folder, `image/p001/n01`, or `image/p001.zip!p001/n01` inside a zip file, or of one image,
`query/0002_c1s1_000451_00.jpg`.
"""

import errno
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8

from people.layouts import limits, zip_files
from people.layouts.files import is_ignored, located, walk

IMAGES = (".jpg", ".jpeg", ".png", ".bmp")


@contextmanager
def atomic_folder(root: Path, jobs: Sequence[Future] = ()) -> Iterator[Path]:
    """A sibling folder to write to, renamed to `root` when the block ends and removed when it raises.

    `jobs`, to which the block may add, write into it from other processes: they have ended before anything is removed.
    """
    if root.exists():
        raise ValueError(f"expected a new folder to write to, {root} exists already; remove it or name another")
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
            remedy = "free space on the disk, or raise the limit," if full else "check the permissions of the folder"
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


def encode_jpeg(frame_rgb: UInt8[np.ndarray, "height width 3"], quality: int) -> bytes:
    """The frame as a JPEG file."""
    encoded, content = cv2.imencode(".jpg", cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert encoded
    return content.tobytes()


def encode_png(image: UInt8[np.ndarray, "height width"]) -> bytes:
    """The grey image as a PNG file."""
    encoded, content = cv2.imencode(".png", image)
    assert encoded
    return content.tobytes()


def list_images(root: Path, below: Path) -> dict[str, list[str]]:
    """The images of every folder at or below a path (a folder or a zip file), by the folder's location relative to `root`."""
    if below.is_file():
        return _list_zip(root, below) if below.name.lower().endswith(".zip") else {}
    folders: dict[str, list[str]] = {}
    for folder, files in walk(below) if below.is_dir() else ():
        folders[folder.relative_to(root).as_posix()] = sorted_images(files)
        for name in files:
            if name.lower().endswith(".zip"):
                folders |= _list_zip(root, folder / name)
    return dict(sorted(folders.items()))


def _list_zip(root: Path, path: Path) -> dict[str, list[str]]:
    folders = {folder: [name.rpartition("/")[2] for name in names] for folder, names in zip_files.opened(path).folders.items()}
    return {f"{path.relative_to(root).as_posix()}!{folder}": sorted_images(names) for folder, names in sorted(folders.items())}


def sorted_images(names: Iterable[str]) -> list[str]:
    """The images among the names, numbers in them counted as numbers: 2.jpg comes before 10.jpg."""
    images = [name for name in names if name.lower().endswith(IMAGES) and not is_ignored(name)]
    return sorted(images, key=lambda name: [int(text) if text.isdigit() else text for text in re.split(r"(\d+)", name)])


def frames(root: Path, location: str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The images of a location, decoded to RGB in order; one that is missing, truncated or damaged is an error that names it.

    A grey image has three equal channels, an alpha channel is dropped.
    """
    return (decode(content, where) for content, where in _contents(root, location))


def stored_images(root: Path, location: str) -> Iterator[Shaped[np.ndarray, "height width *channels"]]:
    """The images of a location in order, with the channels and bits that their files have (`decode_stored`)."""
    return (decode_stored(content, where) for content, where in _contents(root, location))


def _contents(root: Path, location: str) -> Iterator[tuple[bytes, str]]:
    """The image files of a location in order, each with its name for errors."""
    root = located(root)
    if location.lower().endswith(IMAGES):
        yield _read_image(root, location), f"{root / location}"
        return
    path, _, inside = location.partition("!")
    if not (root / path).exists():
        raise ValueError(
            f"{root / path}: expected the images of a clip, no such file or folder exists; ingest the dataset again"
        )
    if not inside:
        for name in sorted_images(os.listdir(root / path)):
            yield _read_file(root / path / name), f"{root / path / name}"
        return
    archive, folders = zip_files.opened(root / path)
    for name in sorted_images(folders.get(inside, ())):
        where = f"{root / path}!{name}"
        yield _read_member(archive, name, where), where


def _read_image(root: Path, location: str) -> bytes:
    """The file of one image."""
    path, _, inside = location.partition("!")
    if inside:
        return _read_member(zip_files.opened(root / path).archive, inside, f"{root / location}")
    try:
        return _read_file(root / path)
    except OSError as error:
        raise ValueError(f"{root / location}: expected a whole image, but {error}; copy or write it again") from None


def _read_file(path: Path) -> bytes:
    limits.check_file_bytes(path.stat().st_size, str(path))
    return path.read_bytes()


def _read_member(archive: zipfile.ZipFile, name: str, where: str) -> bytes:
    """An image file out of a zip file; `where` names it in errors."""
    try:
        info = archive.getinfo(name)
        limits.check_file_bytes(info.file_size, where)
        return archive.read(info)
    except limits.UNREADABLE_ZIP as error:
        raise ValueError(f"{where}: expected an image, but {error}; {limits.REPACK}") from None
    except (KeyError, *zip_files.BROKEN) as error:
        raise ValueError(f"{where}: expected a whole image, but {error}; copy or write the zip file again") from None


def size(root: Path, location: str) -> dict[str, int]:
    """Height and width of the location's first image; both 0 where no image can be decoded."""
    try:
        height_px, width_px = next(frames(root, location)).shape[:2]
    except (StopIteration, ValueError):
        height_px = width_px = 0
    return {"height_px": height_px, "width_px": width_px}


def decode(content: bytes, where: str) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels of an image file, RGB; `where` names the file in errors."""
    return _decode(content, where, cv2.IMREAD_COLOR_RGB)


def decode_stored(content: bytes, where: str) -> Shaped[np.ndarray, "height width *channels"]:
    """The pixels of an image file with the channels (grey, BGR or BGRA) and the bits (8 or 16) that it has."""
    return _decode(content, where, cv2.IMREAD_UNCHANGED)


def _decode(content: bytes, where: str, flags: int) -> np.ndarray:
    is_jpeg = content[:2] == b"\xff\xd8"
    # some decoders fill the rest of a truncated JPEG with grey: only its end mark, which no pixel data contains, shows it
    complete = not is_jpeg or content.rfind(b"\xff\xd9") > 0
    size_px, pixels, reason = limits.image_size_px(content), None, ""
    if size_px and complete:
        limits.check_pixels(*size_px, where)
        try:
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except cv2.error as error:
            reason = f" ({error.err})"
    if pixels is None:
        raise ValueError(
            f"{where}: expected an image, but its {len(content)} bytes cannot be decoded{reason}; replace the file by a JPEG, "
            "PNG or BMP"
        )
    return pixels
