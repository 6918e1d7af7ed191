"""Where the official archives lie on this machine, and the hashes of their files that earlier runs have computed.

`data/raw/archives/<dataset>` is a link to the archive: indexes name that, so that they are the same on every machine.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from people.layouts import files
from people.layouts.contents import Hashed, Hashes, Stamp
from stages.shared.executors import pool
from stages.shared.project import params, state

FOLDER = Path("data", *files.LINKS)


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
    """The hashes of folders and packed files by their path, in an SQLite file of the project's state."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(state("file_hashes.db"), timeout=60.0)
        self.database.execute("PRAGMA synchronous = OFF")  # what a power failure takes is hashed again
        self.database.execute("CREATE TABLE IF NOT EXISTS hashes (container TEXT PRIMARY KEY, files TEXT)")

    def __getitem__(self, container: str) -> Hashes:
        row = self.database.execute("SELECT files FROM hashes WHERE container = ?", (container,)).fetchone()
        if row is None:
            raise KeyError(container)
        return {name: Hashed(Stamp(*stamp), sha256) for name, (*stamp, sha256) in json.loads(row[0]).items()}

    def __setitem__(self, container: str, hashes: Hashes) -> None:
        text = json.dumps({name: [*hashed.stamp, hashed.sha256] for name, hashed in hashes.items()})
        with self.database:
            self.database.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?)", (container, text))

    def __delitem__(self, container: str) -> None:
        with self.database:
            self.database.execute("DELETE FROM hashes WHERE container = ?", (container,))

    def __iter__(self) -> Iterator[str]:
        return (container for (container,) in self.database.execute("SELECT container FROM hashes"))

    def __len__(self) -> int:
        return self.database.execute("SELECT COUNT(*) FROM hashes").fetchone()[0]


@contextmanager
def hashing() -> Iterator[tuple[KnownHashes, Callable[..., Any]]]:
    """The known hashes, and a `map` that works on all cores."""
    known = KnownHashes()
    with closing(known.database):
        yield known, _on_all_cores


def _on_all_cores(function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    with pool() as (executor, _):
        yield from executor.map(function, *arguments)
