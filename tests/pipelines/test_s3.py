"""A DVC remote on S3: another clone restores a stage's outputs from the run cache, byte for byte."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from ceph import Gateway, gateway
from prefect_fleet import commit
from servers import free_port

from pipelines import graph, workspace
from pipelines.commands import Retryable

DVC_YAML = """
stages:
  train:
    cmd: python make.py
    deps: [make.py]
    outs: [data/models/one]
"""
MAKE = """
import os, pathlib
out = pathlib.Path("data/models/one")
out.mkdir(parents=True)
for name in ("checkpoint.pt", "history.csv", "summary.json"):
    (out / name).write_bytes(os.urandom(100_000))
"""

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def store() -> Iterator[Gateway]:
    with gateway() as server:
        client = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=server.url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name="default",
        )
        client.create_bucket(Bucket="people")
        yield server


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a stage with a random result."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for key, value in {"user.name": "someone", "user.email": "someone@localhost"}.items():
        number = os.environ.get("GIT_CONFIG_COUNT", "0")
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
        monkeypatch.setenv("GIT_CONFIG_COUNT", str(int(number) + 1))
    folder = tmp_path / "origin"
    folder.mkdir()
    for name, text in {"dvc.yaml": DVC_YAML, "make.py": MAKE, ".gitignore": "/data/\n"}.items():
        (folder / name).write_text(text)
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=folder, check=True)
    commit(folder)
    return folder


def enter(clone: Path, origin: Path, remote: Gateway, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a new clone, on a machine whose own configuration names the remote as docs/operations.md says."""
    subprocess.run(["git", "clone", "--quiet", origin, clone], check=True)
    monkeypatch.chdir(clone)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(clone.with_suffix(".config")))
    for setting in (
        ["add", "--global", "--default", "store", "s3://people/store"],
        ["modify", "--global", "store", "endpointurl", remote.url],
        ["modify", "--global", "store", "access_key_id", remote.access_key],
        ["modify", "--global", "store", "secret_access_key", remote.secret_key],
        ["modify", "--global", "store", "connect_timeout", "5"],
        ["modify", "--global", "store", "read_timeout", "60"],
    ):
        subprocess.run(["dvc", "remote", *setting], check=True, capture_output=True)
    return clone / "data/models/one"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_stage_that_one_clone_ran_is_restored_in_another_which_computes_nothing(
    store: Gateway, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    worker_outputs = enter(tmp_path / "worker", origin, store, monkeypatch)
    assert workspace.reproduce("train", print, pull=True) == "ran"
    workspace.push(["train"], print)
    expected, recorded = contents(worker_outputs), graph.read_lock()["train"]["outs"]
    outputs = enter(tmp_path / "coordinator", origin, store, monkeypatch)
    assert workspace.reproduce("train", print, pull=True, may_run=False) == "restored"
    assert contents(outputs) == expected
    assert graph.read_lock()["train"]["outs"] == recorded
    assert workspace.stale_stages() == set()


def test_an_unreachable_remote_fails_soon_and_is_retryable(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    enter(tmp_path / "worker", origin, Gateway(f"http://127.0.0.1:{free_port()}"), monkeypatch)
    workspace.reproduce("train", print, pull=False)
    started = time.monotonic()
    with pytest.raises(Retryable, match="Could not connect"):
        workspace.push(["train"], print)
    assert time.monotonic() - started < 300
