"""The files of an archive: which are listed, how links are followed, in which encodings text is read."""

import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from people.layouts import archives, files


def touch(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def listed(top: Path) -> list[str]:
    return [(folder / name).relative_to(top).as_posix() for folder, names in files.walk(top) for name in names]


def test_files_are_listed_through_links_to_folders_and_files_in_order(tmp_path: Path):
    touch(tmp_path / "disk/nm-02/2.png")
    touch(tmp_path / "disk/3.png")
    touch(tmp_path / "root/nm-01/1.png")
    (tmp_path / "root/nm-02").symlink_to(tmp_path / "disk/nm-02")
    (tmp_path / "root/nm-01/3.png").symlink_to(tmp_path / "disk/3.png")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert listed(tmp_path / "link") == ["nm-01/1.png", "nm-01/3.png", "nm-02/2.png"]


def test_one_folder_may_be_linked_twice_but_not_into_itself(tmp_path: Path):
    touch(tmp_path / "a/1.png")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert listed(tmp_path) == ["a/1.png", "b/1.png"]
    (tmp_path / "a/loop").symlink_to(tmp_path)
    with pytest.raises(ValueError, match=rf"{tmp_path}/a/loop is a link to {tmp_path}, in which it lies"):
        listed(tmp_path)


def test_a_link_to_nothing_is_named(tmp_path: Path):
    (tmp_path / "silhouettes").symlink_to("/nowhere/silhouettes")
    with pytest.raises(ValueError, match=r"silhouettes is a link to /nowhere/silhouettes, where there is nothing"):
        files.children(tmp_path)


@pytest.mark.parametrize(
    "path", ["._1.png", "a/._1.png", ".DS_Store", "a/Thumbs.db", "DESKTOP.INI", "__MACOSX/a/1.png", "a/__MACOSX"]
)
def test_files_of_systems_are_ignored_anywhere(path: str):
    assert files.is_ignored(path)


@pytest.mark.parametrize("path", ["1.png", "a/.1.png", "DS_Store", "a/Thumbs.db.png", "_MACOSX/1.png", "001._x", "a._/1.png"])
def test_other_files_are_not(path: str):
    assert not files.is_ignored(path)


def test_a_name_is_found_in_upper_or_lower_case_and_two_such_are_refused(tmp_path: Path):
    assert files.find(tmp_path, "allage.txt") is None
    path = touch(tmp_path / "AllAge.TXT")
    assert files.find(tmp_path, "allage.txt") == path
    touch(tmp_path / "allage.txt")
    with pytest.raises(ValueError, match=r"has AllAge\.TXT and allage\.txt, expected one allage\.txt"):
        files.find(tmp_path, "allage.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_is_read_in_each_encoding_that_says_what_it_is(tmp_path: Path, encoding: str):
    mark = "﻿" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / "ids.txt").write_bytes(f"{mark}001\r\nMüller\r002\n".encode(encoding))
    assert files.read_text(tmp_path / "ids.txt") == "001\nMüller\n002\n"


@pytest.mark.parametrize("content", ["Müller".encode("latin-1"), "001\n".encode("utf-16-le"), "é".encode("utf-16")[:-1]])
def test_other_text_is_an_error_that_names_the_file_and_what_it_should_be(tmp_path: Path, content: bytes):
    (tmp_path / "ids.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"ids\.txt: expected text in UTF-8, or in UTF-16 with a byte order mark, but"):
        files.read_text(tmp_path / "ids.txt")


def test_a_table_is_read_as_text_is(tmp_path: Path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        table = files.read_csv("id,age\r\n1,3\r\n".encode(encoding), "table.csv", "a table")
        assert table.to_dict("list") == {"id": [1], "age": [3]}
    with pytest.raises(ValueError, match=r"table\.csv: expected a table, but No columns"):
        files.read_csv(b"", "table.csv", "a table")


def test_an_index_names_a_link_that_an_environment_variable_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    link = Path("data/raw/archives/casiab")
    with pytest.raises(ValueError, match=r"of casiab is not on this machine: data/raw/archives/casiab has to be a link"):
        files.located(link)
    touch(tmp_path / "disk/video/a.avi")
    monkeypatch.setenv("PEOPLE_ARCHIVE_CASIAB", str(tmp_path / "disk"))
    assert files.located(link) == tmp_path / "disk"
    monkeypatch.setenv("PEOPLE_ARCHIVE_CASIAB", "/nowhere")
    with pytest.raises(ValueError, match=r"PEOPLE_ARCHIVE_CASIAB names /nowhere, where there is nothing"):
        files.located(link)
    assert files.located(Path("data/raw/casiab")) == Path("data/raw/casiab")


@pytest.mark.parametrize("packed", ["folder", "zip", "tar"])
def test_members_of_an_archive_are_those_of_the_person_and_not_of_a_system(tmp_path: Path, packed: str):
    names = ("Data/P1/1.txt", "Data/P1/._1.txt", "__MACOSX/Data/P1/1.txt", "Data/.DS_Store")
    for name in names:
        touch(tmp_path / "all" / name, name.encode())
    archive = tmp_path / "all"
    if packed == "zip":
        archive = tmp_path / "all.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for name in names:
                file.write(tmp_path / "all" / name, name)
    elif packed == "tar":
        archive = tmp_path / "all.tar"
        with tarfile.open(archive, "w") as file:
            for name in names:
                file.add(tmp_path / "all" / name, name)
    assert archives.members(archive, re.compile(r"\.txt$"), expected="text") == {"Data/P1/1.txt": b"Data/P1/1.txt"}


def test_a_folder_of_motion_may_be_a_link(tmp_path: Path):
    touch(tmp_path / "disk/P1/1.txt", b"walk")
    (tmp_path / "all").mkdir()
    (tmp_path / "all/Data").symlink_to(tmp_path / "disk")
    assert archives.members(tmp_path / "all", re.compile(r"\.txt$"), expected="text") == {"Data/P1/1.txt": b"walk"}
