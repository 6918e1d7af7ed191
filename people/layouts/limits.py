"""Limits of what is read into memory, and the size that an image file's header claims.

A file beyond a limit is refused by its name before it is decoded or unpacked.
"""

import struct
from pathlib import Path

MAX_PIXELS = 1 << 26  # of an image or a frame of video: twice an 8K frame
MAX_FILE_BYTES = 1 << 29  # of one image or array, unpacked: as many pixels of four channels with 16 bits
MAX_VIDEO_FRAMES = 100_000  # more than an hour at 25 Hz
MAX_UNPACKED_BYTES = 8 << 30  # of all files of an archive
MAX_UNPACKED_RATIO = 100  # of an archive's unpacked bytes to its own, where these are more than ...
MIN_SUSPECT_BYTES = 1 << 28

UNREADABLE_ZIP = RuntimeError  # of zipfile: a file is encrypted, or its compression is not known
REPACK = "unpack it with the program that packed it, and pack it again without a password, with deflate or no compression"

_PNG, _JPEG, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"BM"
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}  # JPEG markers that stand alone
_NO_FRAME_HEADER = {0xC4, 0xC8, 0xCC}  # of those from C0 to CF


def check_pixels(height_px: int, width_px: int, where: str) -> None:
    """Refuse an image or a video with more pixels in a frame than `MAX_PIXELS`."""
    if height_px * width_px > MAX_PIXELS:
        raise ValueError(
            f"{where}: its header claims {width_px}x{height_px} pixels, and at most {MAX_PIXELS:,} are read; make it smaller "
            "or replace it"
        )


def check_file_bytes(size_bytes: int, where: str) -> None:
    """Refuse a file of one image or array that is, unpacked, larger than `MAX_FILE_BYTES`."""
    if size_bytes > MAX_FILE_BYTES:
        raise ValueError(
            f"{where}: a file of {size_bytes:,} bytes, and at most {MAX_FILE_BYTES:,} are read; make it smaller or replace it"
        )


def check_video(frame_count: int, height_px: int, width_px: int, where: str) -> None:
    """Refuse a video that claims more than `MAX_VIDEO_FRAMES` frames, or too many pixels in each."""
    check_pixels(height_px, width_px, where)
    if frame_count > MAX_VIDEO_FRAMES:
        raise ValueError(
            f"{where}: its header claims {frame_count:,} frames, and a clip has at most {MAX_VIDEO_FRAMES:,}; cut it into "
            "shorter ones or replace it"
        )


class Unpacked:
    """Counts the bytes to which an archive's files unpack, and refuses what is too much in all, or for the archive's size."""

    def __init__(self, archive: Path) -> None:
        self.archive, self.size_bytes = archive, 0
        self.packed_bytes = archive.stat().st_size if archive.is_file() else None

    def add(self, size_bytes: int) -> None:
        """Count a file before it is unpacked."""
        self.size_bytes += size_bytes
        if self.size_bytes > MAX_UNPACKED_BYTES:
            raise ValueError(
                f"{self.archive}: its files unpack to more than {MAX_UNPACKED_BYTES:,} bytes, which are read into memory; "
                "leave out what is not needed, or raise MAX_UNPACKED_BYTES in people/layouts/limits.py"
            )
        if self.packed_bytes and self.size_bytes > max(MIN_SUSPECT_BYTES, MAX_UNPACKED_RATIO * self.packed_bytes):
            raise ValueError(
                f"{self.archive}: its {self.packed_bytes:,} bytes unpack to {self.size_bytes:,} or more, over "
                f"{MAX_UNPACKED_RATIO} times as many; fetch it again, or raise MAX_UNPACKED_RATIO in people/layouts/limits.py"
            )


def image_size_px(content: bytes) -> tuple[int, int] | None:
    """Height and width by the header of a JPEG, PNG or BMP file; None for another file, or a header that is cut short."""
    try:
        if content.startswith(_PNG):
            width, height = struct.unpack_from(">II", content, 16)
        elif content.startswith(_BMP):
            header_bytes = struct.unpack_from("<I", content, 14)[0]
            width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", content, 18)
        elif content.startswith(_JPEG):
            height, width = struct.unpack_from(">HH", content, _jpeg_frame_header(content) + 5)
        else:
            return None
    except struct.error:
        return None
    return abs(height), abs(width)


def _jpeg_frame_header(content: bytes) -> int:
    """Where a JPEG's frame header (marker SOF: length, precision, height, width) begins; the end of the file without one."""
    position = 2
    while 0 <= (position := content.find(b"\xff", position)) < len(content) - 1:
        marker = content[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADER:
            return position
        if marker in _WITHOUT_LENGTH or marker in (0x00, 0xFF):
            position += 1 if marker == 0xFF else 2
        else:
            position += 2 + struct.unpack_from(">H", content, position + 2)[0]
    return len(content)
