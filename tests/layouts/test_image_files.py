"""Zip files of images: opened once in a process, and read anew when another file lies in their place."""

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from people.layouts import image_files


def write_zip(path: Path, grey: int, folders: int = 3) -> None:
    _, content = cv2.imencode(".bmp", np.full((4, 4), grey, np.uint8))
    with zipfile.ZipFile(path, "w") as archive:
        for folder in range(folders):
            archive.writestr(f"{folder}/1.bmp", content.tobytes())
            archive.writestr(f"{folder}/2.bmp", content.tobytes())


def greys(root: Path, location: str) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in image_files.frames(root, location)]


def test_a_zip_file_is_opened_once_for_all_its_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_zip(tmp_path / "a.zip", 10)
    opened = []
    monkeypatch.setattr(zipfile, "ZipFile", lambda path, of=zipfile.ZipFile: opened.append(path) or of(path))
    listed = image_files.list_images(tmp_path, tmp_path / "a.zip")
    assert listed == {f"a.zip!{folder}": ["1.bmp", "2.bmp"] for folder in range(3)}
    assert [greys(tmp_path, location) for location in listed] == [[10, 10]] * 3
    assert greys(tmp_path, "a.zip!2/1.bmp") == [10]
    assert len(opened) == 1


@pytest.mark.parametrize("way", ["moved over it", "written over it"])
def test_another_zip_file_in_its_place_is_read(way: str, tmp_path: Path):
    """Of the same size, and with the same time of change."""
    path, other = tmp_path / "a.zip", tmp_path / "b.zip"
    write_zip(path, 10)
    write_zip(other, 20)
    before = path.stat()
    assert other.stat().st_size == before.st_size
    assert greys(tmp_path, "a.zip!0") == [10, 10]
    if way == "moved over it":
        other.replace(path)
    else:
        path.write_bytes(other.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert greys(tmp_path, "a.zip!0") == [20, 20]
    assert image_files.list_images(tmp_path, path) == {f"a.zip!{folder}": ["1.bmp", "2.bmp"] for folder in range(3)}
    write_zip(path, 10, folders=2)
    assert list(image_files.list_images(tmp_path, path)) == ["a.zip!0", "a.zip!1"]


def test_a_clip_is_read_to_its_end_when_others_have_taken_its_place_and_the_file_is_gone(tmp_path: Path):
    for number in range(12):
        write_zip(tmp_path / f"{number}.zip", number)
    reading = image_files.frames(tmp_path, "0.zip!0")
    first = next(reading)
    for number in range(1, 12):  # more than are kept open
        assert greys(tmp_path, f"{number}.zip!1") == [number, number]
    (tmp_path / "0.zip").unlink()
    assert np.array_equal(next(reading), first)
    with pytest.raises(ValueError, match=r"0\.zip: expected the images of a clip, no such file or folder exists"):
        greys(tmp_path, "0.zip!0")
