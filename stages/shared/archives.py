"""Where the official archives lie on this machine, and the hashes of their files that earlier runs have computed.

`data/raw/archives/<dataset>` is a link to the archive: indexes name that, so that they are the same on every machine.
"""

import hashlib
import json
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from people.layouts import files
from people.layouts.contents import Hashed, Hashes, Stamp
from stages.shared.executors import pool
from stages.shared.project import params, state

FOLDER = Path("data", *files.LINKS)
DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT)


def place(key: str, archive: str) -> Path:
    """The archive of a dataset on this machine, by the value of `datasets.<key>.archive`.

    Where that is `data/raw/archives/<key>.json`, the environment variable `PEOPLE_ARCHIVE_<KEY>` or `archives.<key>` in
    params.yaml says where it is.
    """
    if Path(archive) != listing(key):
        return Path(archive).expanduser()
    named = os.environ.get(f"PEOPLE_ARCHIVE_{key.upper()}") or params("archives", key)
    return Path(named).expanduser()


def listing(key: str) -> Path:
    """The output of the stage `archive`: number, size and digest of an archive's files."""
    return FOLDER / f"{key}.json"


def refuse_unseen_links(key: str, archive: str) -> None:
    """Refuse links to folders where DVC itself looks for changes in the archive: it does not look behind them."""
    folder = place(key, archive)
    if Path(archive) == listing(key) or not folder.is_dir():
        return
    for path, _ in files.walk(folder):
        if path != folder and path.is_symlink():
            places = json.dumps({**(params().get("archives") or {}), key: str(folder)})
            raise ValueError(
                f"{path} is a link to a folder, and DVC does not see changes behind it; let the stage archive look for them: "
                f"python -m stages.configure --set 'archives={places}' --set datasets.{key}.archive={listing(key)}"
            )


def link(key: str, folder: Path) -> Path:
    """The link to a dataset's official archive in the workspace, made to lead to this folder."""
    if not folder.is_dir():
        raise ValueError(
            f"expected the official archive of {key} at {folder}, there is no such folder; correct datasets.{key}.archive, or "
            f"archives.{key}, in params.yaml"
        )
    path, made = FOLDER / key, FOLDER / f"{key}.partial"
    path.parent.mkdir(parents=True, exist_ok=True)
    made.unlink(missing_ok=True)
    made.symlink_to(folder.resolve(), target_is_directory=True)
    os.replace(made, path)
    return path


class KnownHashes(MutableMapping[str, Hashes]):
    """The hashes of folders and packed files by their path, in an SQLite file of the project's state.

    What is damaged is hashed again: a row has the SHA-256 of its path and text, a file that SQLite cannot read is made again.
    """

    def __init__(self) -> None:
        self.file = state("file_hashes.db")
        try:
            self.database = self._opened()
        except sqlite3.DatabaseError as error:
            self.database = self._made_again(error)

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.file, timeout=60.0)
        try:
            database.text_factory = bytes  # damaged text need not be UTF-8
            database.execute("PRAGMA synchronous = OFF")  # what a power failure takes is hashed again
            database.execute("CREATE TABLE IF NOT EXISTS hashes (container TEXT PRIMARY KEY, files TEXT)")
        except sqlite3.DatabaseError:
            database.close()
            raise
        return database

    def _made_again(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        """An empty database in place of a damaged one; any other error, such as a full disk, is raised."""
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF not in DAMAGE:
            raise error
        warnings.warn(f"{self.file} is damaged ({error}) and made again: files of archives are hashed once more", stacklevel=2)
        for ending in ("", "-journal", "-wal", "-shm"):
            self.file.with_name(self.file.name + ending).unlink(missing_ok=True)
        return self._opened()

    def _execute(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._committed(statement, *values)
        except sqlite3.DatabaseError as error:
            damaged, self.database = self.database, self._made_again(error)
            damaged.close()
            return self._committed(statement, *values)

    def _committed(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        with self.database:
            return self.database.execute(statement, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def __getitem__(self, container: str) -> Hashes:
        rows = self._execute("SELECT files FROM hashes WHERE container = ?", container)
        row = rows[0][0] if rows else None
        sha256, _, text = row.partition(b" ") if isinstance(row, bytes) else (b"", b"", b"")
        if sha256 != _row_digest(container, text):
            raise KeyError(container)
        return {name: Hashed(Stamp(*stamp), digest) for name, (*stamp, digest) in json.loads(text).items()}

    def __setitem__(self, container: str, hashes: Hashes) -> None:
        text = json.dumps({name: [*hashed.stamp, hashed.sha256] for name, hashed in hashes.items()})
        row = _row_digest(container, text.encode()) + b" " + text.encode()
        self._execute("INSERT OR REPLACE INTO hashes VALUES (?, ?)", container, row.decode())

    def __delitem__(self, container: str) -> None:
        self._execute("DELETE FROM hashes WHERE container = ?", container)

    def __iter__(self) -> Iterator[str]:
        return (container.decode() for (container,) in self._execute("SELECT container FROM hashes"))

    def __len__(self) -> int:
        return self._execute("SELECT COUNT(*) FROM hashes")[0][0]


def _row_digest(container: str, text: bytes) -> bytes:
    return hashlib.sha256(container.encode() + b"\0" + text).hexdigest().encode()


@contextmanager
def hashing() -> Iterator[tuple[KnownHashes, Callable[..., Any]]]:
    """The known hashes, and a `map` that works on all cores."""
    with closing(KnownHashes()) as known:
        yield known, _on_all_cores


def _on_all_cores(function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    with pool() as (executor, _):
        yield from executor.map(function, *arguments)
