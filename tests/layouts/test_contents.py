"""Digests of clips: another when any of the clip's files is another, and no other clip's; nothing is read twice."""

import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from people.layouts import contents

FRAMES = ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two clips in folders, one of which has silhouettes, keypoints and an empty scene; two others in a zip file."""
    for name in (*FRAMES, "a/notes.txt", "masks/1.png", "empty.avi"):
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"content of {name}".encode())
    np.savez(tmp_path / "archive/keypoints.npz", a=np.zeros(3), other=np.zeros(3))
    pack(tmp_path / "archive/packed.zip", {name: f"packed {name}".encode() for name in FRAMES})
    return tmp_path / "archive"


def pack(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content)


def clips() -> pd.DataFrame:
    table = pd.DataFrame({"frames": ["a", "b", "packed.zip!a", "packed.zip!b/2.jpg"]})
    keypoints, background = ["keypoints.npz!a", "", "", ""], ["empty.avi", "", "", ""]
    return table.assign(masks=["masks", "", "", np.nan], keypoints=keypoints, background=background)


def changed(root: Path, before: list[str], known: contents.Known) -> list[int]:
    after = contents.of_clips(root, clips(), known)
    return [number for number, (first, second) in enumerate(zip(before, after, strict=True)) if first != second]


def test_a_digest_does_not_depend_on_the_place_or_the_times(root: Path):
    before = contents.of_clips(root, clips(), {})
    assert len(set(before)) == 4
    moved = root.rename(root.with_name("moved"))
    for path in moved.rglob("*"):
        os.utime(path, (1, 1))
    assert contents.of_clips(moved, clips(), {}) == before


@pytest.mark.parametrize("file", ["a/1.jpg", "masks/1.png", "empty.avi"])
def test_a_replaced_file_changes_its_clip_alone_even_with_equal_size_and_time(root: Path, file: str):
    known: contents.Known = {}
    before = contents.of_clips(root, clips(), known)
    status = (root / file).stat()
    (root / file).write_bytes((root / file).read_bytes()[::-1])
    os.utime(root / file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changed(root, before, known) == [0]


def test_files_that_come_go_or_get_another_name_change_their_clip(root: Path):
    known: contents.Known = {}
    before = contents.of_clips(root, clips(), known)
    (root / "b/3.jpg").write_bytes(b"")
    assert changed(root, before, known) == [1]
    (root / "b/3.jpg").unlink()
    assert changed(root, before, known) == []
    (root / "b/2.jpg").rename(root / "b/9.jpg")
    assert changed(root, before, known) == [1]


def test_what_is_no_image_of_the_clip_changes_nothing(root: Path):
    known: contents.Known = {}
    before = contents.of_clips(root, clips(), known)
    (root / "a/notes.txt").write_text("others")
    (root / "a/._1.jpg").write_bytes(b"system")
    (root / "a/Thumbs.db").write_bytes(b"system")
    assert changed(root, before, known) == []


def test_members_of_packed_files_are_told_apart(root: Path):
    known: contents.Known = {}
    before = contents.of_clips(root, clips(), known)
    members = {name: f"packed {name}".encode() for name in FRAMES}
    pack(root / "packed.zip", members | {"a/2.jpg": b"another"})
    assert changed(root, before, known) == [2]
    pack(root / "packed.zip", members | {"b/1.jpg": b"another"})
    assert changed(root, before, known) == []
    np.savez(root / "keypoints.npz", a=np.zeros(3), other=np.ones(3))
    assert changed(root, before, known) == []
    np.savez(root / "keypoints.npz", a=np.ones(3), other=np.ones(3))
    assert changed(root, before, known) == [0]


def test_a_packed_image_that_is_put_right_has_another_digest_though_the_table_of_contents_is_the_same(root: Path):
    path, known = root / "packed.zip", {}
    right = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        position = file.getinfo("a/1.jpg").header_offset + 40
    path.write_bytes(right[:position] + bytes([right[position] ^ 255]) + right[position + 1 :])
    before = contents.of_clips(root, clips(), known)
    path.write_bytes(right)
    assert changed(root, before, known) == [2]


def test_a_file_that_has_not_changed_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch):
    later_s = time.time() + 60.0  # files that have just been written are not trusted
    monkeypatch.setattr(contents.time, "time", lambda: later_s)
    known, read = {}, []
    hash_batch = contents._hash_batch
    monkeypatch.setattr(contents, "_hash_batch", lambda *batch: read.append(batch) or hash_batch(*batch))
    before = contents.of_clips(root, clips(), known)
    assert sum(len(names) for _, names in read) == 4 + 1 + 1 + 1 + 3
    read.clear()
    assert contents.of_clips(root, clips(), known) == before
    assert read == []
    (root / "b/2.jpg").write_bytes(b"another")
    assert changed(root, before, known) == [1]
    assert read == [(str((root / "b").resolve()), ["2.jpg"])]


def test_a_file_that_was_just_written_is_read_again(root: Path):
    known: contents.Known = {}
    before = contents.of_clips(root, clips(), known)
    assert {hashed.stamp.size_bytes for hashes in known.values() for hashed in hashes.values()} == {-1}
    assert contents.of_clips(root, clips(), known) == before


def test_an_archive_has_another_digest_when_a_file_behind_a_link_changes(root: Path, tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/1.png").write_bytes(b"one")
    (root / "linked").symlink_to(tmp_path / "disk")
    known: contents.Known = {}
    before = contents.of_archive(root, known)
    assert before["file_count"] == len(FRAMES) + 3 + 2 + 1
    assert contents.of_archive(root, known) == before == contents.of_archive(root, {})
    (tmp_path / "disk/1.png").write_bytes(b"two")
    after = contents.of_archive(root, known)
    assert after["sha256"] != before["sha256"]
    assert after["size_bytes"] == before["size_bytes"]
    one = contents.of_archive(root / "packed.zip", known)
    assert one["file_count"] == 1


def test_what_looks_like_data_and_belongs_to_no_clip_is_listed(root: Path):
    for name in ("008.tgz", "a/001.tif", "c/1.jpg", "a/notes.md", "c/._2.jpg", "MASKS.RAR"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    assert contents.unread(root, clips()) == ["008.tgz", "MASKS.RAR", "a/001.tif", "c/1.jpg"]


def test_photos_are_clips_of_their_own_in_one_folder(root: Path):
    table = pd.DataFrame({"frames": ["a/1.jpg", "a/2.jpg", "packed.zip!a/1.jpg"]})
    assert contents.unread(root, table) == ["empty.avi", "keypoints.npz", "b/1.jpg", "b/2.jpg", "masks/1.png"]
    assert len(set(contents.of_clips(root, table, {}))) == 3
