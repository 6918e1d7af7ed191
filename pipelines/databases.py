"""Where Prefect, MLflow and Optuna keep what they know: SQLite files of the project's own, or three databases of PostgreSQL."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import psycopg2.errors
from optuna.storages import RDBStorage
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

FORM = "postgresql://user:password@host:port/name"
CONNECTED_WITHIN_S = 10
SERVICES = ("prefect", "mlflow", "optuna")


@dataclass(frozen=True)
class Databases:
    """One address each, with the driver that its service wants; all of a kind."""

    prefect: str
    mlflow: str
    optuna: str

    def shown(self, service: str) -> str:
        """The address without its password."""
        return make_url(getattr(self, service)).render_as_string(hide_password=True)


def sqlite(folder: Path) -> Databases:
    """Files in the state folder; MLflow's and Optuna's are those that the stages use where no server runs."""
    folder = folder.resolve()
    return Databases(
        prefect=f"sqlite+aiosqlite:///{folder / 'prefect' / 'prefect.db'}",
        mlflow=f"sqlite:///{folder / 'mlflow.db'}",
        optuna=f"sqlite:///{folder / 'optuna.db'}",
    )


def postgresql(address: str) -> Databases:
    """`<name>_prefect`, `<name>_mlflow` and `<name>_optuna` on that server, created where they are missing.

    MLflow and Optuna both keep a table `alembic_version`, so they cannot share one database.
    """
    url = parsed(address)
    names = {service: f"{url.database}_{service}" for service in SERVICES}
    create_missing(url, list(names.values()))
    drivers = {"prefect": "postgresql+asyncpg", "mlflow": "postgresql+psycopg2", "optuna": "postgresql+psycopg2"}
    made = {service: url.set(drivername=drivers[service], database=name) for service, name in names.items()}
    return Databases(**{service: each.render_as_string(hide_password=False) for service, each in made.items()})


def parsed(address: str) -> URL:
    """The parts of DATABASE_URL, all of them present."""
    try:
        url = make_url(address)
    except ArgumentError:
        raise ValueError(f"DATABASE_URL is no address; write {FORM}") from None
    shown = url.render_as_string(hide_password=True)
    if url.drivername != "postgresql" or not (url.host and url.database and url.username):
        raise ValueError(f"DATABASE_URL is {shown}; expected {FORM}")
    if url.query:
        raise ValueError(
            f"DATABASE_URL is {shown}; the drivers read no options from it, say for example PGSSLMODE=require instead"
        )
    return url


def create_missing(url: URL, names: list[str]) -> None:
    """Every one of these databases exists on the server of `url`."""
    with closing(connected(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        there = {row[0] for row in cursor.fetchall()}
        missing = [name for name in names if name not in there]
        try:
            for name in missing:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg2.errors.InsufficientPrivilege as error:
            wanted = " ".join(f'CREATE DATABASE "{name}" OWNER "{url.username}";' for name in missing)
            raise ValueError(
                f"{url.username} may not create databases on {url.host}; let an administrator run: {wanted}"
            ) from error


def connected(url: URL) -> Connection:
    """A connection to the server's own database, on which every statement is a transaction of its own."""
    where = {"host": url.host, "port": url.port or 5432, "user": url.username, "password": url.password}
    try:
        connection = psycopg2.connect(**where, dbname="postgres", connect_timeout=CONNECTED_WITHIN_S)
    except psycopg2.OperationalError as error:
        shown = url.render_as_string(hide_password=True)
        raise ValueError(f"DATABASE_URL is {shown}, and no connection to it could be made: {str(error).strip()}") from error
    connection.autocommit = True
    return connection


def create_optuna_tables(address: str) -> None:
    """Optuna's tables are there, which its dashboard expects and does not make."""
    RDBStorage(address).engine.dispose()
