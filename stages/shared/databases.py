"""The SQLite databases of MLflow and Optuna: each appears in its place with all its tables, or not at all.

Both tools create their tables in many steps, and neither goes on where a killed process has stopped.

    python -m stages.shared.databases       creates the tables of both where they are missing
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

from stages.shared.project import file_lock, optuna_storage, remove, tracking_uri

SIDE_FILES = ("-journal", "-wal", "-shm")  # SQLite's own files beside a database
WITHOUT_CONTENT = ("alembic_version", "version_info", "workspaces")  # tables that have a row from the start
TIMEOUT_S = 60


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
    """The address of MLflow's runs; an SQLite file there has all its tables."""
    return with_tables(tracking_uri(), MLFLOW)


def optuna_database() -> str:
    """The address of Optuna's studies; an SQLite file there has all its tables."""
    return with_tables(optuna_storage(), OPTUNA)


def with_tables(address: str, tables: Tables) -> str:
    """The address, at which an SQLite file is created if there is none, or a half-made one: such a file has no content yet.

    Servers and other databases are left to the tool.
    """
    if not is_sqlite_file(address):
        return address
    from sqlalchemy import make_url

    url = make_url(address)
    file = Path(str(url.database))
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
    return address.startswith("sqlite:///") and "?" not in address and not address.endswith((":///", ":memory:"))


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
