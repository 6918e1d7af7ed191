"""The databases of Prefect, MLflow and Optuna: SQLite files of the project, or three databases on a PostgreSQL server."""

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import psycopg2.errors
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

ADDRESS_FORMAT = "postgresql://user:password@host:port/name"
CONNECT_TIMEOUT_S = 10
PROJECT_ROOT = Path(__file__).parent.parent
SERVICES = ("prefect", "mlflow", "optuna")


@dataclass(frozen=True)
class Databases:
    """One address for each service, with the driver that it needs; all SQLite or all PostgreSQL."""

    prefect: str
    mlflow: str
    optuna: str

    def redacted(self, service: str) -> str:
        """The address without its password."""
        return make_url(getattr(self, service)).render_as_string(hide_password=True)


def sqlite(folder: Path) -> Databases:
    """Files in the state folder; MLflow's and Optuna's are those that the stages use without a server.

    Only % and ? are escaped: MLflow makes a folder of the address as it is written, beside the one that it means.
    """
    place = str(folder.resolve()).replace("%", "%25").replace("?", "%3F")
    files = {"prefect": ("sqlite+aiosqlite", "prefect/prefect.db"), "mlflow": ("sqlite", "mlflow.db")}
    files["optuna"] = ("sqlite", "optuna.db")
    return Databases(**{service: f"{driver}:///{place}/{file}" for service, (driver, file) in files.items()})


def postgresql(address: str) -> Databases:
    """`<name>_prefect`, `<name>_mlflow` and `<name>_optuna` on that server, created where they are missing.

    MLflow and Optuna both keep a table `alembic_version`, so they cannot share one database.
    """
    url = parse_address(address)
    names = {service: f"{url.database}_{service}" for service in SERVICES}
    create_missing(url, list(names.values()))
    drivers = {"prefect": "postgresql+asyncpg", "mlflow": "postgresql+psycopg2", "optuna": "postgresql+psycopg2"}
    urls = {service: url.set(drivername=drivers[service], database=name) for service, name in names.items()}
    return Databases(**{service: url.render_as_string(hide_password=False) for service, url in urls.items()})


def parse_address(address: str) -> URL:
    """DATABASE_URL parsed; `ValueError` if host, database or user is missing, or if it has options."""
    try:
        url = make_url(address)
    except ArgumentError:
        raise ValueError(f"DATABASE_URL is not an address; write {ADDRESS_FORMAT}") from None
    redacted = url.render_as_string(hide_password=True)
    if url.drivername != "postgresql" or not (url.host and url.database and url.username):
        raise ValueError(f"DATABASE_URL is {redacted}; expected {ADDRESS_FORMAT}")
    if url.query:
        raise ValueError(
            f"DATABASE_URL is {redacted}; the drivers read no options from it, set for example PGSSLMODE=require instead"
        )
    return url


def create_missing(url: URL, names: list[str]) -> None:
    """Create those of these databases that the server of `url` does not have yet."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        existing = {row[0] for row in cursor.fetchall()}
        missing = [name for name in names if name not in existing]
        try:
            for name in missing:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg2.errors.InsufficientPrivilege as error:
            statements = " ".join(f'CREATE DATABASE "{name}" OWNER "{url.username}";' for name in missing)
            raise ValueError(
                f"{url.username} may not create databases on {url.host}; let an administrator run: {statements}"
            ) from error


def connect(url: URL) -> Connection:
    """A connection in autocommit mode to the database `postgres` of the server."""
    parameters = {"host": url.host, "port": url.port or 5432, "user": url.username, "password": url.password}
    try:
        connection = psycopg2.connect(**parameters, dbname="postgres", connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg2.OperationalError as error:
        redacted = url.render_as_string(hide_password=True)
        raise ValueError(f"DATABASE_URL is {redacted}, and no connection to it could be made: {str(error).strip()}") from error
    connection.autocommit = True
    return connection


def create_tables(addresses: Databases) -> None:
    """Create the tables of Optuna, whose dashboard creates none, and those of MLflow in an SQLite file.

    A server that is killed while it creates them leaves a file that no server or stage can use.
    """
    environment = {**os.environ, "MLFLOW_TRACKING_URI": addresses.mlflow, "OPTUNA_STORAGE": addresses.optuna}
    command = [sys.executable, "-m", "stages.tracking.databases"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    print(done.stderr if done.returncode == 0 else "", end="", flush=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        raise ValueError(f"the tables of MLflow and Optuna could not be created in {addresses.redacted('optuna')}: {reason}")
