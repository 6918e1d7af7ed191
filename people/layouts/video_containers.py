"""Whether an AVI or MP4 file has all the bytes that its structure announces, by its chunks' headers alone.

A video can have fewer frames than its header counts and be whole: one that was cut without decoding it begins before a key
frame, and a gap in its timestamps counts as frames. One that was cut short lacks bytes, and one that is damaged has pictures
that do not decode.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_PICTURES = (b"db", b"dc")  # ends of the names of an AVI's chunks of video
_JPEG_CODECS = (b"MJPG", b"mjpg", b"JPEG", b"jpeg")  # of which every chunk is one picture
_MAX_LISTS = 16  # within each other; an AVI has three


class Container(NamedTuple):
    """How many bytes are missing at the file's end, and how many pictures it has: None where that is not known."""

    missing_bytes: int
    pictures: int | None


def inspect(path: Path) -> Container | None:
    """What an AVI or MP4 file says of itself; None for another file, or one whose structure is broken."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        try:
            if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
                return _avi(file, size_bytes)
            return _mp4(file, size_bytes) if head[4:8] == b"ftyp" else None
        except struct.error:  # a header of a chunk that is cut short
            return Container(1, None)


def fault(path: Path, decoded: int) -> str:
    """Why a video with fewer frames than its header counts is not whole; "" where it is whole."""
    container = inspect(path)
    if container is None:
        return "it is no AVI or MP4 file, so nothing tells whether it is whole; convert it to MP4"
    if container.missing_bytes:
        return f"the file is truncated by {container.missing_bytes:,} bytes or more; fetch it again"
    if not decoded:
        return "none of its pictures can be decoded; replace it"
    if container.pictures is not None and decoded < container.pictures:
        return f"it has {container.pictures} pictures, and some of them are damaged; fetch it again"
    return ""


def _avi(file: BinaryIO, size_bytes: int) -> Container:
    """Every chunk of the RIFF parts, of which a large file has several."""
    pictures, codec, end = 0, b"", 0
    while end + 12 <= size_bytes:
        file.seek(end)
        name, part_bytes, _ = struct.unpack("<4sI4s", file.read(12))
        if name != b"RIFF":
            break  # what follows the parts is no video
        start, end = end + 12, end + 8 + part_bytes + part_bytes % 2
        if end > size_bytes + 1 or part_bytes < 4:  # some writers leave out the byte that fills up the last chunk
            return Container(max(end - size_bytes, 1), None)
        for chunk, position, chunk_bytes in _chunks(file, start, min(end, size_bytes)):
            if chunk == b"strh" and not codec:
                file.seek(position)
                kind, handler = struct.unpack("<4s4s", file.read(8))
                codec = handler if kind == b"vids" else b""
            pictures += chunk[2:] in _PICTURES and chunk_bytes > 0
    return Container(0, pictures if codec in _JPEG_CODECS else None)


def _chunks(file: BinaryIO, start: int, end: int, depth: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Name, position and size of every chunk that is no list, those inside lists included, unless these lie too deep."""
    while start + 8 <= end:
        file.seek(start)
        name, chunk_bytes = struct.unpack("<4sI", file.read(8))
        if name == b"LIST" and depth < _MAX_LISTS:
            yield from _chunks(file, start + 12, min(start + 8 + chunk_bytes, end), depth + 1)
        else:
            yield name, start + 8, chunk_bytes
        start += 8 + chunk_bytes + chunk_bytes % 2


def _mp4(file: BinaryIO, size_bytes: int) -> Container:
    """The boxes of the file, of which the last may extend to its end."""
    position = 0
    while position < size_bytes:
        file.seek(position)
        box_bytes, _ = struct.unpack(">I4s", file.read(8))
        if box_bytes == 1:
            box_bytes = struct.unpack(">Q", file.read(8))[0]
        position += box_bytes or size_bytes - position
        if 0 < box_bytes < 8:
            return Container(1, None)
    return Container(max(position - size_bytes, 0), None)
