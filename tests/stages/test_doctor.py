"""`people doctor` on machines and folders that are really broken: each is named, with a remedy."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stages.command import doctor, folder, machine
from stages.command.findings import OK, PROBLEM, WARNING, Finding


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which nothing is broken, the current one: a git repository with a commit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEOPLE_STATE", raising=False)
    for name in ("params.yaml", "requirements.txt"):
        shutil.copy2(root / name, tmp_path)
    for name in (".dvc/tmp", ".state", "data/flow"):
        (tmp_path / name).mkdir(parents=True)
    for command in (["init", "--quiet"], ["config", "user.name", "Ann"], ["config", "user.email", "ann@example.org"]):
        subprocess.run(["git", *command], check=True)
    subprocess.run(["git", "add", "params.yaml"], check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", "start"], check=True)
    return tmp_path


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_folder_that_is_ready_has_no_problem(project: Path):
    for check in (folder.parameters, folder.rights, folder.repository, folder.databases, folder.leftovers):
        assert {finding.status for finding in check()} <= {OK}
    assert only(folder.parameters()).detail == "dmt, gaittake, reid, gaitnet, multipose"
    assert "by Ann" in only(folder.repository()).detail


def test_a_taken_port_is_named_with_another_one(project: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = only(machine.ports({"MLflow": port}))
        assert found.status == WARNING
        assert f"{port} of 127.0.0.1, for MLflow, cannot be used" in found.detail
        assert found.remedy == f"people serve --mlflow-port {port + 1}"
    assert only(machine.ports({"MLflow": port})).detail == f"{port}, for MLflow, is free"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="without /proc there is no folder that nobody can write to")
@pytest.mark.parametrize("name", ["data/crops", ".dvc/cache"])
def test_a_folder_that_cannot_be_written_to_is_named(project: Path, name: str):
    (project / name).symlink_to("/proc/self")
    found = only(folder.rights())
    assert found.status == PROBLEM
    assert found.detail.startswith(f"{name} cannot be written to (")
    assert found.remedy == f"sudo chown -R $USER {name}"


def test_a_file_in_the_place_of_a_folder_is_named(project: Path):
    (project / ".state").rmdir()
    (project / ".state").write_text("")
    assert ".state cannot be written to" in only(folder.rights()).detail


def database(file: Path) -> Path:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [("x" * 500,)] * 200)
    return file


def test_a_damaged_database_is_named_and_a_whole_one_is_left_alone(project: Path):
    whole, damaged = database(project / ".state/optuna.db"), database(project / ".state/mlflow.db")
    before = whole.read_bytes()
    with damaged.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    first, second = folder.databases()
    assert (first.status, second.status) == (PROBLEM, OK)
    assert ".state/mlflow.db is damaged" in first.detail
    assert first.remedy.startswith("mv .state/mlflow.db .state/mlflow.db.broken")
    assert whole.read_bytes() == before


def test_a_file_that_is_no_database_is_named(project: Path):
    (project / ".state/optuna.db").write_text("no database " * 100)
    assert only(folder.databases()).status == PROBLEM


@pytest.mark.parametrize(("pin", "reason"), [("numpy==0.0.1", r"numpy \d.*, not 0.0.1"), ("no-such-package==1.0", "absent")])
def test_packages_that_are_otherwise_than_pinned_are_named(project: Path, pin: str, reason: str):
    installed = next(line for line in (project / "requirements.txt").read_text().splitlines() if line.startswith("PyYAML=="))
    (project / "requirements.txt").write_text(f"# a comment\n{installed}\n")
    assert only(machine.packages()).status == OK
    (project / "requirements.txt").write_text(f"{installed}\n{pin}\n")
    found = only(machine.packages())
    assert found.status == PROBLEM
    assert pin.partition("==")[0] in found.detail
    assert "PyYAML" not in found.detail
    assert found.remedy.endswith("-m pip install --requirement requirements.txt")


def test_a_repository_without_user_or_commit_is_a_warning_and_none_a_problem(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    subprocess.run(["git", "config", "--unset", "user.email"], check=True)
    found = only(folder.repository())
    assert (found.status, found.remedy) == (WARNING, 'git config user.email "you@example.org"')
    shutil.rmtree(project / ".git")
    subprocess.run(["git", "init", "--quiet"], check=True)
    assert [each.status for each in folder.repository()] == [WARNING, WARNING]
    shutil.rmtree(project / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    assert only(folder.repository()).remedy == "git init"


def test_a_lock_of_a_process_that_has_ended_is_told_from_one_that_is_held(project: Path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lock = {"read": {}, "write": {"data/flow/tumgaid": {"pid": ended.pid, "cmd": "dvc repro"}}}
    (project / ".dvc/tmp/rwlock").write_text(json.dumps(lock))
    found = only(folder.leftovers())
    assert (found.status, found.remedy) == (WARNING, "rm .dvc/tmp/rwlock")
    assert f"{ended.pid} (dvc repro)" in found.detail
    lock["write"]["data/flow/tumgaid"]["pid"] = os.getpid()
    (project / ".dvc/tmp/rwlock").write_text(json.dumps(lock))
    assert only(folder.leftovers()).detail == f"at work on this folder: {os.getpid()} (dvc repro)"
    (project / ".dvc/tmp/rwlock").write_text("{")
    assert only(folder.leftovers()).status == PROBLEM


def test_unfinished_outputs_are_named(project: Path):
    (project / "data/flow/tumgaid.partial").mkdir()
    (project / ".state/optuna.db.partial").touch()
    found = only(folder.leftovers())
    assert (found.status, found.remedy) == (WARNING, "rm -r data/flow/tumgaid.partial .state/optuna.db.partial")


@pytest.mark.parametrize("content", ["", "schema: '2.0'\nstages:\n  a: {cmd", "[1, 2]"])
def test_a_dvc_lock_that_is_cut_off_is_a_problem(project: Path, content: str):
    (project / "dvc.lock").write_text(content)
    assert [finding.status for finding in folder.parameters()] == [OK, PROBLEM]


@pytest.mark.parametrize("content", ["systems: [", "systems: {reid: {model: {tasks: [identity]}}}"])
def test_a_params_yaml_that_no_stage_takes_is_a_problem(project: Path, content: str):
    (project / "params.yaml").write_text(content)
    assert only(folder.parameters()).status == PROBLEM


def test_a_check_that_cannot_be_made_is_a_problem():
    def without_package() -> Iterator[Finding]:
        import no_such_package  # noqa: F401  # pyright: ignore

        yield from ()

    found = only(doctor.findings([("video", without_package)]))
    assert (found.status, found.subject) == (PROBLEM, "video")


def test_the_command_ends_with_1_only_where_there_is_a_problem(root: Path, project: Path):
    command = [sys.executable, "-m", "stages.command.doctor"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    (project / "requirements.txt").write_text("")
    whole = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "0 problems" in whole.stdout.splitlines()[-1]
    assert {line.split()[0] for line in whole.stdout.splitlines()[:-2]} <= {"ok", "warning", "to"}
    (project / "dvc.lock").write_text("")
    broken = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert broken.returncode == 1
    assert "1 problem," in broken.stdout.splitlines()[-1]
    assert "to mend it: git checkout -- dvc.lock" in broken.stdout
