"""The kept hashes of archives' files: what is damaged among them is hashed again, and none is ever wrong."""

import random
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from people.layouts import contents
from people.layouts.contents import Hashed, Stamp
from stages.shared.archives import KnownHashes

NAMES = [f"{number:03d}-nm-01-090.png" for number in range(40)]
KEPT = {
    f"/disk/folder {folder}": {
        name: Hashed(Stamp(folder, 2, 3), f"{folder:032x}{number:032x}") for number, name in enumerate(NAMES)
    }
    for folder in range(12)
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database with these hashes."""
    monkeypatch.setenv("PEOPLE_STATE", str(tmp_path / "state"))
    known = KnownHashes()
    known.update(KEPT)
    known.close()
    assert read() == KEPT
    return tmp_path / "state/file_hashes.db"


def read() -> dict[str, contents.Hashes]:
    known = KnownHashes()
    found = {container: hashes for container in KEPT if (hashes := known.get(container)) is not None}
    known.close()
    return found


def hashed(wanted: dict[str, list[str]]) -> dict[str, contents.Hashes]:
    known = KnownHashes()
    hashes = contents.hash_files(wanted, known)
    known.close()
    return hashes


def is_cut_off(file: Path, draw: random.Random) -> None:
    file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])


def has_other_bytes(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(draw.choice([1, 5, 100])):
        content[draw.randrange(len(content))] = draw.randrange(256)
    file.write_bytes(content)


def has_a_page_of_zeros(file: Path, draw: random.Random) -> None:
    content, page = bytearray(file.read_bytes()), 4096
    start = page * draw.randrange(len(content) // page)
    content[start : start + page] = bytes(page)
    file.write_bytes(content)


def has_another_page(file: Path, draw: random.Random) -> None:
    content, page = bytearray(file.read_bytes()), 4096
    first, second = (page * draw.randrange(len(content) // page) for _ in range(2))
    content[first : first + page] = content[second : second + page]
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [is_cut_off, has_other_bytes, has_a_page_of_zeros, has_another_page])
@pytest.mark.filterwarnings("ignore:.*file_hashes.db is damaged")
def test_of_a_file_that_is_damaged_anywhere_no_hash_is_ever_wrong(file: Path, damage: Callable[[Path, random.Random], None]):
    whole, draw = file.read_bytes(), random.Random(3)
    for _ in range(60):
        file.write_bytes(whole)
        damage(file, draw)
        assert read().items() <= KEPT.items()
        known = KnownHashes()
        known.update(KEPT)
        known.close()
        assert read().items() <= KEPT.items()


@pytest.mark.parametrize("content", [b"no database", b"\x00" * 5000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_what_is_no_database_is_made_again_with_a_warning(file: Path, content: bytes):
    file.write_bytes(content)
    file.with_name("file_hashes.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600))
    with pytest.warns(
        UserWarning, match=r"file_hashes\.db is damaged \(.*\) and made again: files of archives are hashed once"
    ):
        known = KnownHashes()
    assert len(known) == 0
    known.close()


def test_files_of_a_damaged_database_are_hashed_again_to_the_same_digests(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(contents, "_SETTLED_S", -1.0)
    folder = tmp_path / "archive"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(bytes([number]))
    wanted = {str(folder): [path.name for path in folder.iterdir()]}
    first = hashed(wanted)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.warns(UserWarning, match="is damaged"):
        again = hashed(wanted)
    assert again == first
    known = KnownHashes()
    assert dict(known[str(folder)]) == first[str(folder)]
    known.close()


def test_a_row_under_another_path_is_not_taken_for_that_ones(file: Path):
    with sqlite3.connect(file) as database:
        database.execute("UPDATE hashes SET container = '/disk/another' WHERE container = '/disk/folder 3'")
    database.close()
    known = KnownHashes()
    assert "/disk/another" not in known
    assert len(read()) == len(KEPT) - 1
    known.close()


def test_an_error_that_is_no_damage_is_raised_and_nothing_is_deleted(file: Path):
    known, other = KnownHashes(), sqlite3.connect(file)
    known.database.execute("PRAGMA busy_timeout = 10")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        known.update(KEPT)
    other.rollback()
    other.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dict(known) == KEPT
    known.close()
