"""The SQLite databases of MLflow and Optuna: each appears in its place with all its tables, or not at all.

Both tools create their tables in many steps, and neither goes on where a killed process has stopped. MLflow keeps the absolute
places of files in its tables; those of the project's own database follow the state folder when it moves.

    python -m stages.tracking.databases       creates the tables of both where they are missing
"""

import importlib.util
import logging
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stages.shared.project import file_lock, optuna_storage, remove, state, tracking_uri

SIDE_FILES = ("-journal", "-wal", "-shm")  # SQLite's own files beside a database
WITHOUT_CONTENT = ("alembic_version", "version_info", "workspaces")  # tables that have a row from the start
TIMEOUT_S = 60
ARTIFACTS = "mlruns"  # the folder of the state folder in which MLflow's files are
LOCATIONS = (  # the columns in which MLflow keeps absolute places of files
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@dataclass(frozen=True)
class Tables:
    """A tool's tables: how they are created at an address, and the folder of its package that has their versions."""

    create: Callable[[str], None]
    package: str
    migrations: str


def main() -> None:
    mlflow_database()
    if not is_sqlite_file(optuna_database()):
        OPTUNA.create(optuna_storage())  # the dashboard expects them and creates none


def mlflow_database() -> str:
    """The address of MLflow's runs; an SQLite file there has all its tables, the project's own has its files where they are."""
    address = with_tables(tracking_uri(), MLFLOW)
    if is_own(address):
        keep_files_in_state()
    return address


def optuna_database() -> str:
    """The address of Optuna's studies; an SQLite file there has all its tables."""
    return with_tables(optuna_storage(), OPTUNA)


def with_tables(address: str, tables: Tables) -> str:
    """The address, at which an SQLite file is created if there is none, or a half-made one: such a file has no content yet.

    Servers and other databases are left to the tool.
    """
    file = sqlite_file(address)
    if file is None:
        return address
    from sqlalchemy import make_url

    url = make_url(address)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(file.with_name(f"{file.name}.lock")):
        if not file.is_file() or is_half_made(file, tables):
            partial = file.with_name(f"{file.name}.partial")
            remove_database(partial)
            tables.create(url.set(database=str(partial)).render_as_string(hide_password=False))
            replace_database(file, partial)
    return address


def is_sqlite_file(address: str) -> bool:
    """Whether the address is that of a file, without options."""
    return sqlite_file(address) is not None


def sqlite_file(address: str) -> Path | None:
    """The SQLite file at an address without options; None at others. In an address `?` begins options, and `%3F` is a `?`."""
    if not address.startswith("sqlite:///"):
        return None
    from sqlalchemy import make_url

    url = make_url(address)
    return None if url.query or url.database in (None, "", ":memory:") else Path(str(url.database))


def is_own(address: str) -> bool:
    """Whether the address is that of the MLflow database in the state folder, however it is written."""
    file = sqlite_file(address)
    return file is not None and file.resolve() == state("mlflow.db").resolve()


def keep_files_in_state() -> None:
    """Write the present place of the state folder's `mlruns` over former ones in the project's own MLflow database.

    Of experiments that have local files in a folder `mlruns` outside the state folder, as after it was moved, renamed or
    restored elsewhere, and of those that MLflow itself has put into the current folder. Other places, such as a bucket or a
    folder of another name, stay as they are. One transaction, so a process that is killed leaves all or nothing changed.
    """
    own = state(ARTIFACTS).resolve().as_uri()
    with closing(sqlite3.connect(state("mlflow.db"), timeout=TIMEOUT_S)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables.issuperset(table for table, _ in LOCATIONS):  # of another version: left to the tool, which says so
            return
        rows = connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
        former = {former_root(location or "", str(number)) for number, location in rows} - {"", own}
        if not former:
            return
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for root in former:
                for table, column in LOCATIONS:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (own, len(root) + 1, root, len(root) + 1, f"{root}/"),
                    )


def former_root(location: str, experiment_id: str) -> str:
    """The local folder `mlruns` in which an experiment has its files, as its location has it (a path or a URI); "": in none."""
    root = location.removesuffix(f"/{experiment_id}")
    is_local = root.startswith(("file:///", "/"))
    return root if is_local and root.rpartition("/")[2] == ARTIFACTS else ""


def is_half_made(file: Path, tables: Tables) -> bool:
    """Whether a database has no row of content and not the tables of the installed version of its tool."""
    with closing(sqlite3.connect(file, timeout=TIMEOUT_S)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        contents = [name for name in names if name not in WITHOUT_CONTENT and not name.startswith("sqlite_")]
        if any(connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in contents):
            return False
        has_version = "alembic_version" in names
        version = connection.execute("SELECT version_num FROM alembic_version").fetchone() if has_version else None
    return version != (newest_version(tables),)


def newest_version(tables: Tables) -> str | None:
    """The version that a complete database has: the newest of the tool's migrations."""
    from alembic.script import ScriptDirectory

    spec = importlib.util.find_spec(tables.package)
    assert spec is not None
    assert spec.origin is not None
    return ScriptDirectory(str(Path(spec.origin).parent / tables.migrations)).get_current_head()


def replace_database(file: Path, complete: Path) -> None:
    """Put a complete database in the place of a half-made one, without the journal of that: SQLite would apply it."""
    half_made = file.with_name(f"{file.name}.half-made")
    if file.exists():
        print(f"{file} was left half made by a process that was killed, without content: it is made again", file=sys.stderr)
        os.replace(file, half_made)
    remove_database(file)
    os.replace(complete, file)
    remove_database(half_made)


def remove_database(file: Path) -> None:
    """Delete a database and SQLite's files beside it, where they exist."""
    for suffix in ("", *SIDE_FILES):
        remove(file.with_name(file.name + suffix))


def create_mlflow_tables(address: str) -> None:
    """What `mlflow db upgrade` does to an empty database."""
    from mlflow.store.db import utils

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    engine = utils.create_sqlalchemy_engine_with_retry(address)
    utils._initialize_tables(engine)
    engine.dispose()


def create_optuna_tables(address: str) -> None:
    """What every use of the database does, if they are missing."""
    from optuna.storages import RDBStorage

    RDBStorage(address).engine.dispose()


MLFLOW = Tables(create_mlflow_tables, "mlflow", "store/db_migrations")
OPTUNA = Tables(create_optuna_tables, "optuna", "storages/_rdb/alembic")


if __name__ == "__main__":
    main()
