"""Files that claim or unpack to too much, or cannot be unpacked, are refused by name, before anything large is in memory."""

import io
import lzma
import re
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from people import schemas
from people.layouts import archives, image_files, limits, multi_view_files, video_files

TEXT = re.compile(r"\.txt$")


def image(ending: str, *options: int, channels: int = 3, size_hw: tuple[int, int] = (31, 47)) -> bytes:
    """Noise as an image file."""
    pixels = np.random.default_rng(1).integers(0, 256, (*size_hw, channels)).astype(np.uint8)
    return cv2.imencode(ending, pixels, options)[1].tobytes()


def claiming(height: int, width: int, ending: str) -> bytes:
    """A small image file whose header claims another size."""
    content = bytearray(image(ending))
    if ending == ".png":
        struct.pack_into(">II", content, 16, width, height)
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    elif ending == ".bmp":
        struct.pack_into("<ii", content, 18, width, height)
    else:
        struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, height, width)
    return bytes(content)


# --- images ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        image(".png"),
        image(".png", channels=1),
        image(".png", channels=4),
        image(".bmp"),
        image(".jpg"),
        image(".jpg", channels=1),
        image(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        image(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    ],
    ids=["png", "grey png", "png with alpha", "bmp", "jpg", "grey jpg", "progressive jpg", "jpg with restarts"],
)
def test_the_header_tells_the_size_of_the_decoded_image(content: bytes):
    assert limits.image_size_px(content) == (31, 47) == image_files.decode(content, "it").shape[:2]
    for length in range(0, 26, 3):
        assert limits.image_size_px(content[:length]) in (None, (31, 47))
    with pytest.raises(ValueError, match="it: expected an image"):
        image_files.decode(content[:20], "it")


def test_a_thumbnail_in_a_jpeg_and_bytes_between_its_segments_are_passed_over():
    content, thumbnail = image(".jpg"), image(".jpg", size_hw=(8, 8))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    assert limits.image_size_px(content[:2] + segment + content[2:]) == (31, 47)
    assert limits.image_size_px(content[:2] + b"\xff\xff\xff" + content[2:]) == (31, 47)
    assert limits.image_size_px(b"\xff\xd8\xff\xe0\xff\xff") is None
    assert limits.image_size_px(b"GIF89a") is limits.image_size_px(b"") is None


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("side", [60_000, 30_000])
def test_an_image_that_claims_too_many_pixels_is_refused_by_name_before_it_is_decoded(tmp_path: Path, ending: str, side: int):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / f"1{ending}").write_bytes(claiming(side, side, ending))
    message = rf"clip/1{ending}: its header claims {side}x{side} pixels, and at most 67,108,864 are read; make it smaller"
    tracemalloc.start()
    for read in (image_files.frames, image_files.stored_images):
        with pytest.raises(ValueError, match=message):
            list(read(tmp_path, "clip"))
    assert tracemalloc.get_traced_memory()[1] < 1e7
    tracemalloc.stop()
    assert image_files.size(tmp_path, "clip") == {"height_px": 0, "width_px": 0}  # ingest goes on, validation names it
    assert re.search(message, str(schemas._decode(image_files.frames, str(tmp_path), "clip", 1, 0, 0)))


def test_an_image_of_just_as_many_pixels_as_allowed_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_PIXELS", 31 * 47)
    assert image_files.decode(image(".png"), "it").shape == (31, 47, 3)
    monkeypatch.setattr(limits, "MAX_PIXELS", 31 * 47 - 1)
    with pytest.raises(ValueError, match="it: its header claims 47x31"):
        image_files.decode(image(".png"), "it")


def test_what_the_decoder_raises_names_the_file(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise cv2.error("no memory")

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(ValueError, match=r"it: expected an image, .* cannot be decoded"):
        image_files.decode(image(".png"), "it")


def test_an_image_file_that_unpacks_to_too_many_bytes_is_refused_in_a_folder_and_in_a_zip_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    content = image(".png", channels=1) + bytes(100_000)
    image_files.write(tmp_path / "clip", [("1.png", content)], packed=False)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/1.png", content)
    assert (tmp_path / "packed.zip").stat().st_size < 10_000
    locations = ("clip", "clip/1.png", "packed.zip!in", "packed.zip!in/1.png")
    assert [len(list(image_files.frames(tmp_path, location))) for location in locations] == [1, 1, 1, 1]
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 100_000)
    for location in locations:
        with pytest.raises(ValueError, match=r"1\.png: a file of 10\d,\d+ bytes, and at most 100,000 are read"):
            list(image_files.frames(tmp_path, location))


# --- archives --------------------------------------------------------------------------------------------------------


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("write", [zipped, tarred])
def test_an_archive_that_unpacks_to_many_times_its_size_is_refused_before_it_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable
):
    monkeypatch.setattr(limits, "MIN_SUSPECT_BYTES", 20 << 20)
    archive = write(tmp_path / "bomb", {"a.txt": b"a", "b.txt": bytes(30 << 20)})
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb: its [\d,]+ bytes unpack to 31,457,281 or more, over 100 times as many"):
        archives.members(archive, TEXT, expected="notes")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_a_tar_file_that_claims_more_than_is_read_in_all_is_refused_by_its_header(tmp_path: Path):
    header = tarfile.TarInfo("a.txt")
    header.size = 9 << 30
    (tmp_path / "claims.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(100 << 20 >> 10))
    with pytest.raises(ValueError, match=r"claims\.tar: .*unpack to more than 8,589,934,592 bytes, .*raise MAX_UNPACKED_BYTES"):
        archives.members(tmp_path / "claims.tar", TEXT, expected="notes")


def header(kind: bytes, size: int, name: str = "a.txt") -> bytes:
    """The header of an entry of a tar, which claims this size."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def with_records(**records: str) -> bytes:
    """A file after a PAX header of these records."""
    lines = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = len(rest) + len(str(len(rest) + 2))
        lines += str(length).encode() + rest
    return header(b"x", len(lines)) + lines.ljust(512, b"\0") + header(b"0", 4) + b"text".ljust(512, b"\0")


TARS = {
    "a PAX header of gigabytes": (header(b"x", 7 << 30), r"a header claims 7,516,192,768 bytes for 'a\.txt'"),
    "a global PAX header of gigabytes": (header(b"g", 7 << 30), r"a header claims 7,516,192,768 bytes"),
    "a long name of gigabytes": (header(b"L", 7 << 30), r"a header claims 7,516,192,768 bytes"),
    "a long link of gigabytes": (header(b"K", 7 << 30), r"a header claims 7,516,192,768 bytes"),
    "a negative size": (header(b"0", -1024), r"a header claims -1,024 bytes"),
    "a negative PAX header": (header(b"x", -1024), r"a header claims -1,024 bytes"),
    "a negative size in a PAX header": (with_records(size="-1024"), r"claims -1,024 bytes"),
    "gigabytes in a PAX header": (with_records(size="9000000000"), r"unpack to more than 8,589,934,592 bytes"),
    "a size of many digits": (with_records(size="9" * 300), r"unpack to more than 8,589,934,592 bytes"),
    "headers of headers": (header(b"x", 0) * 3000, r"maximum recursion depth"),
    "a sparse file of gigabytes": (
        with_records(**{"GNU.sparse.major": "0", "GNU.sparse.size": "9000000000", "GNU.sparse.map": "0,4"}),
        r"unpack to more than 8,589,934,592 bytes",
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "xz"])
@pytest.mark.parametrize("name", TARS)
def test_a_tar_file_whose_headers_claim_what_cannot_be_is_refused_by_name_at_once(tmp_path: Path, name: str, packed: bool):
    content, message = TARS[name]
    zeros = bytes(50 << 20)  # of which a header could be
    (tmp_path / "claims.tar").write_bytes(lzma.compress(content + zeros, preset=0) if packed else content + bytes(10240))
    tracemalloc.start()
    with pytest.raises(ValueError, match=rf"claims\.tar: .*{message}"):
        archives.members(tmp_path / "claims.tar", TEXT, expected="notes")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_tar_file_with_long_names_and_pax_headers_is_read(tmp_path: Path):
    name = f"{'folder/' * 60}größe.txt"
    for number, form in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        with tarfile.open(tmp_path / f"{number}.tar.gz", "w:gz", format=form) as archive:
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"text"))
        assert archives.members(tmp_path / f"{number}.tar.gz", TEXT, expected="notes") == {name: b"text"}


def test_limits_on_archives_count_what_is_read_and_a_folder_has_no_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MIN_SUSPECT_BYTES", 100)
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", 60_000)
    files = {"a.txt": bytes(50_000)}
    with pytest.raises(ValueError, match="over 100 times"):
        archives.members(zipped(tmp_path / "a.zip", files), TEXT, expected="notes")
    (tmp_path / "folder").mkdir()
    for name in ("a.txt", "a.bin"):
        (tmp_path / "folder" / name).write_bytes(files["a.txt"])
    assert archives.members(tmp_path / "folder", TEXT, expected="notes") == files
    (tmp_path / "folder/b.txt").write_bytes(bytes(50_000))
    with pytest.raises(ValueError, match=r"folder: its files unpack to more than 60,000 bytes"):
        archives.members(tmp_path / "folder", TEXT, expected="notes")
    monkeypatch.setattr(limits, "MAX_UNPACKED_RATIO", 1000)
    noise = {"a.txt": files["a.txt"], "b.bin": bytes(50_000)}
    assert archives.members(zipped(tmp_path / "b.zip", noise), TEXT, expected="notes") == files


def unreadable(path: Path, *, encrypted: bool) -> Path:
    """A zip file whose header says that it is encrypted, or packed with a compression that nobody knows."""
    content = bytearray(zipped(path, {"in/1.txt": b"text", "in/1.png": image(".png")}).read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for start in [match.start() for match in re.finditer(re.escape(signature), bytes(content))]:
            struct.pack_into("<H", content, start + flags + (0 if encrypted else 2), 1 if encrypted else 77)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("encrypted", "reason"), [(True, "encrypted"), (False, "compression method is not supported")])
def test_a_zip_file_with_a_password_or_an_unknown_compression_is_named_with_the_remedy(
    tmp_path: Path, encrypted: bool, reason: str
):
    path = unreadable(tmp_path / "locked.zip", encrypted=encrypted)
    with pytest.raises(ValueError, match=rf"locked\.zip: expected notes, but .*{reason}.*; unpack it .* without a password"):
        archives.members(path, TEXT, expected="notes")
    for location in ("locked.zip!in", "locked.zip!in/1.png"):
        with pytest.raises(ValueError, match=rf"locked\.zip!in/1\.png: expected an image, but .*{reason}.*; unpack it"):
            list(image_files.frames(tmp_path, location))
        assert image_files.size(tmp_path, location) == {"height_px": 0, "width_px": 0}


def test_arrays_that_claim_too_much_or_cannot_be_unpacked_are_named(tmp_path: Path):
    (tmp_path / "keypoints").mkdir()
    path = tmp_path / "keypoints/001.npz"
    np.savez(path, walk=np.ones((2, 17, 3), np.float32))
    assert multi_view_files.keypoints(tmp_path, "keypoints/001.npz!walk").shape == (2, 17, 3)
    whole = path.read_bytes()
    shape = whole.replace(b"(2, 17, 3), }          ", b"(99999999999, 17, 3), }")
    crc = struct.pack("<I", zlib.crc32(shape[shape.index(b"\x93NUMPY") :][: 128 + 2 * 17 * 3 * 4]))
    old = struct.pack("<I", zlib.crc32(whole[whole.index(b"\x93NUMPY") :][: 128 + 2 * 17 * 3 * 4]))
    central = whole.index(b"PK\x01\x02") + 8
    locked = whole[:6] + b"\x01" + whole[7:central] + b"\x01" + whole[central + 1 :]
    for content in (shape.replace(old, crc), locked, whole[:200]):
        assert content != whole
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"keypoints/001\.npz: expected the keypoints walk, but"):
            multi_view_files.keypoints(tmp_path, "keypoints/001.npz!walk")


# --- videos ----------------------------------------------------------------------------------------------------------


def film(path: Path, frames: int) -> Path:
    """A video of three frames of 80x60 px whose headers claim these frames."""
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    video_files.write(path, [noise] * 3, frame_rate_hz=25.0, jpeg_quality=90)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(b"avih") + 24, frames)
    struct.pack_into("<I", content, content.index(b"strh") + 40, frames)
    path.write_bytes(content)
    return path


def test_a_video_that_claims_a_million_frames_or_too_large_ones_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    short = film(tmp_path / "short.avi", 3)
    assert len(list(video_files.video_frames(short))) == 3
    with pytest.raises(ValueError, match=r"long\.avi: its header claims 1,000,000 frames, and a clip has at most 100,000; cut"):
        list(video_files.video_frames(film(tmp_path / "long.avi", 1_000_000)))
    monkeypatch.setattr(limits, "MAX_PIXELS", 60 * 80 - 1)
    with pytest.raises(ValueError, match=r"short\.avi: its header claims 80x60 pixels, and at most 4,799 are read"):
        list(video_files.video_frames(short))
