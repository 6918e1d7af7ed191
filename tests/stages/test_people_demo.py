"""`people demo` works in a copy: nothing of the user's changes, and nothing of the user's servers is reached."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import workspace
from ruamel.yaml import YAML

RUN = """import json, os, subprocess, sys
from pathlib import Path
kept = ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "PEOPLE_STATE")
top = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True, text=True).stdout.strip()
Path("seen.json").write_text(json.dumps({"folder": os.getcwd(), "git": top, "set": [key for key in kept if key in os.environ]}))
sys.exit(3)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project whose `people run` notes where it runs; params.yaml was changed since the commit."""
    copy = workspace(tmp_path / "project")
    (copy / "stages/command/run.py").write_text(RUN)
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    subprocess.run(["git", "add", "--all"], cwd=copy, check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "-m", "start"], cwd=copy, check=True)
    (copy / "params.yaml").write_text((copy / "params.yaml").read_text().replace("\nseed: 1\n", "\nseed: 77\n"))
    return copy


def demo(project: Path) -> subprocess.CompletedProcess[str]:
    variables = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "OPTUNA_STORAGE": "sqlite:////nowhere/optuna.db"}
    command = [sys.executable, "-m", "stages", "demo"]
    return subprocess.run(command, cwd=project, env={**os.environ, **variables}, capture_output=True, text=True, timeout=600)


def test_a_demonstration_leaves_the_project_as_it_is(project: Path):
    def state() -> str:
        return subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True).stdout

    before, params = state(), (project / "params.yaml").read_bytes()
    done, copy = demo(project), project / ".state/demo"
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "to remove the demonstration: rm -r .state/demo"
    assert json.loads((copy / "seen.json").read_text()) == {"folder": str(copy), "git": str(copy), "set": []}
    assert (state(), (project / "params.yaml").read_bytes()) == (before, params)
    assert not (project / "data").exists() or not list((project / "data").glob("*/*/*"))
    shown = YAML(typ="safe", pure=True).load(copy / "params.yaml")
    assert shown["seed"] == 1, "params.yaml as git has it"
    assert shown["datasets"]["tumgaid"]["subjects"]["train"] == 4, "of the profile small"
    (copy / "data").mkdir()
    (copy / "data/done").touch()
    (copy / "people/removed_since.py").touch()
    (project / "people/new.py").write_text("changed = True\n")
    assert demo(project).returncode == 3
    assert (copy / "data/done").exists(), "what is done is kept"
    assert (copy / "people/new.py").read_text() == "changed = True\n"
    assert not (copy / "people/removed_since.py").exists()
