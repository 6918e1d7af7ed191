"""The SQLite databases of MLflow and Optuna after kills at every kind of moment."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from stages.shared.project import sqlite_address
from stages.tracking import databases, runs

ROOT = Path(__file__).parent.parent.parent
CREATION = {"mlflow": databases.MLFLOW, "optuna": databases.OPTUNA}
READY = {"mlflow": databases.mlflow_database, "optuna": databases.optuna_database}
KILLED = """
import os, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from pathlib import Path
from stages.tracking import databases
from stages.shared.project import sqlite_address

where, text, count = sys.argv[1], sys.argv[2], int(sys.argv[3])


@event.listens_for(Engine, "after_cursor_execute")
def kill(connection, cursor, statement, *_):
    global count
    count -= text in statement
    if count == 0:
        os.kill(os.getpid(), 9)


exec(where)
"""
# by database: a statement, and at which of its executions the process is killed
KILLS = [("mlflow", "CREATE TABLE", 3), ("mlflow", "_alembic_tmp_", 1), ("optuna", "CREATE TABLE", 4), ("optuna", "INSERT", 1)]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a b%20?c#é&"  # characters that mean something in an address
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PEOPLE_STATE", str(folder))
    for name in ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def kill(code: str, statement: str, at: int) -> None:
    """Run the code in a process that gets SIGKILL after that execution of a statement with this text."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, code, statement, str(at)], env=environment, timeout=200)
    assert done.returncode == -signal.SIGKILL


def is_complete(name: str, file: Path) -> bool:
    with closing(sqlite3.connect(file)) as connection:
        version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return version == (databases.newest_version(CREATION[name]),)


@pytest.mark.parametrize(("name", "statement", "at"), KILLS)
def test_a_kill_while_the_tables_are_created_leaves_no_database_and_the_next_process_creates_it(
    state: Path, name: str, statement: str, at: int, capfd: pytest.CaptureFixture
):
    kill(f"databases.{name}_database()", statement, at)
    assert not (state / f"{name}.db").exists()
    assert READY[name]().startswith("sqlite:///")
    assert is_complete(name, state / f"{name}.db")
    assert sorted(path.name for path in state.iterdir()) == [f"{name}.db", f"{name}.db.lock"]
    assert "half made" not in capfd.readouterr().err


@pytest.mark.parametrize(("name", "statement", "at"), KILLS)
def test_a_database_that_was_left_half_made_in_its_place_is_made_again(
    state: Path, name: str, statement: str, at: int, capfd: pytest.CaptureFixture
):
    """As a server that is started by hand leaves it, when it is killed."""
    state.mkdir()
    kill(f"databases.{name.upper()}.create(sqlite_address(Path({str(state / f'{name}.db')!r})))", statement, at)
    assert (state / f"{name}.db").exists()
    (state / f"{name}.db-journal").touch()
    if name == "mlflow":
        client, experiment = runs.connect("dmt")
        client.create_run(experiment)
    else:
        optuna.create_study(study_name="dmt", storage=READY[name]())
    assert is_complete(name, state / f"{name}.db")
    assert "half made" in capfd.readouterr().err
    READY[name]()
    assert "half made" not in capfd.readouterr().err


def test_an_empty_file_is_a_half_made_database(state: Path):
    state.mkdir()
    (state / "optuna.db").touch()
    READY["optuna"]()
    assert is_complete("optuna", state / "optuna.db")


def test_a_database_with_content_is_left_to_its_tool_whatever_its_version(state: Path):
    study = optuna.create_study(study_name="dmt", storage=databases.optuna_database())
    with closing(sqlite3.connect(state / "optuna.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
        connection.commit()
    databases.optuna_database()
    with closing(sqlite3.connect(state / "optuna.db")) as connection:
        assert connection.execute("SELECT study_name FROM studies").fetchall() == [(study.study_name,)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("v2.6.0.a",)]


def test_an_older_empty_database_and_one_without_content_that_is_complete_are_told_apart(state: Path):
    databases.optuna_database()
    inode = (state / "optuna.db").stat().st_ino
    databases.optuna_database()
    assert (state / "optuna.db").stat().st_ino == inode, "a server may have it open"
    with closing(sqlite3.connect(state / "optuna.db")) as connection:
        connection.execute("DELETE FROM alembic_version")
        connection.commit()
    databases.optuna_database()
    assert is_complete("optuna", state / "optuna.db")


def test_both_are_created_by_one_command_also_by_several_at_once(state: Path):
    command = [sys.executable, "-m", "stages.tracking.databases"]
    both = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) for _ in range(2)]
    assert [process.wait(timeout=200) for process in both] == [0, 0]
    assert is_complete("mlflow", state / "mlflow.db")
    assert is_complete("optuna", state / "optuna.db")


def test_an_address_escapes_no_more_than_it_must_and_means_the_file(tmp_path: Path):
    """MLflow makes the folder that an address names as it is written."""
    plain, hostile = tmp_path / "Müller & Söhne #1=@:+/mlflow.db", tmp_path / "100%/a%20b?c/mlflow.db"
    assert sqlite_address(plain) == f"sqlite:///{plain}"
    for file in (plain, hostile):
        assert databases.sqlite_file(sqlite_address(file)) == file


def test_servers_and_other_databases_are_left_to_their_tool(state: Path, monkeypatch: pytest.MonkeyPatch):
    addresses = [
        "http://127.0.0.1:5000",
        "postgresql+psycopg2://people@127.0.0.1:1/people",
        "sqlite:///file:x?mode=ro&uri=true",
    ]
    for address in addresses:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert databases.mlflow_database() == address
    assert not state.exists()


def test_artifacts_of_the_projects_own_database_are_in_the_state_folder_also_where_the_variable_names_it(
    state: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", databases.tracking_uri())  # as `mlflow.set_tracking_uri` does
    client, experiment = runs.connect("dmt")
    assert isinstance(client, MlflowClient)
    assert client.get_experiment(experiment).artifact_location == (state / "mlruns").resolve().as_uri()
