"""A Prefect server, workers and deployments of a project's copy, as real processes on loopback."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from servers import free_port, running, wait_for

BIN = Path(sys.executable).parent
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass
class Fleet:
    """A Prefect server in a folder; `environment` is that of every client, worker and flow run."""

    folder: Path
    url: str
    environment: dict[str, str]
    stack: ExitStack = field(default_factory=ExitStack)

    def request(self, path: str, body: Any = None) -> Any:
        """The response of the server's API."""
        data = None if body is None else json.dumps(body).encode()
        http_request = Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        for _ in range(20):
            try:
                with urlopen(http_request, timeout=120) as response:
                    return json.loads(response.read() or b"null")
            except HTTPError as error:
                if error.code != 503:  # SQLite is busy: clients try again
                    raise
                time.sleep(0.5)
        pytest.fail(f"{path}: the server is still busy")

    def prefect(self, *arguments: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A prefect command as a user types it."""
        command = [str(BIN / "prefect"), "--no-prompt", *arguments]
        done = subprocess.run(
            command, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=400, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
        return done

    def deploy(self, project: Path) -> None:
        """The pools and deployments of a project."""
        command = [sys.executable, "-m", "pipelines.deploy"]
        done = subprocess.run(
            command, cwd=project, env=self.environment, capture_output=True, text=True, timeout=400, check=False
        )
        if done.returncode:
            pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")

    def worker(self, pool: str, name: str, folder: Path, limit: int = 2, **environment: str) -> subprocess.Popen[bytes]:
        """A worker of a pool, started in a folder of its own; its output goes to folder/output."""
        folder.mkdir(parents=True, exist_ok=True)
        command = [str(BIN / "prefect"), "worker", "start", "--pool", pool, "--type", "process", "--name", name]
        command += ["--limit", str(limit)]
        before = dict(os.environ)
        os.environ.update({**self.environment, **environment})
        try:
            process = self.stack.enter_context(running(command, folder, SIGTERM))
        finally:
            os.environ.clear()
            os.environ.update(before)
        wait_for(process, folder, lambda: "started!" in (folder / "output").read_text())
        return process

    def start(self, deployment: str, **parameters: Any) -> str:
        """Start a run of a deployment; its id."""
        flow, _, name = deployment.partition("/")
        deployment_id = self.request(f"deployments/name/{flow}/{name}")["id"]
        return self.request(f"deployments/{deployment_id}/create_flow_run", {"parameters": parameters})["id"]

    def state(self, run: str) -> str:
        return self.request(f"flow_runs/{run}")["state"]["type"]

    def ended(self, run: str, within_s: float = 400) -> str:
        """Wait for a run's end: its state."""
        self.until(lambda: self.state(run) in FINAL, within_s, run)
        return self.state(run)

    def until(self, condition: Callable[[], object], within_s: float, run: str = "") -> None:
        """Wait for a condition; after `within_s`, fail with the run's log."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {within_s} s without success\n{self.log(run) if run else ''}")
            time.sleep(0.3)

    def tasks(self, run: str) -> dict[str, dict[str, Any]]:
        """The task runs of a flow run by name."""
        body = {"flow_runs": {"id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return {task["name"]: task for task in self.request("task_runs/filter", body)}

    def log(self, run: str) -> str:
        """The log of a flow run so far."""
        lines: list[str] = []
        while True:
            body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200, "offset": len(lines)}
            page = self.request("logs/filter", body)
            lines += [entry["message"] for entry in page]
            if len(page) < 200:
                return "\n".join(lines)

    def artifacts(self, run: str) -> dict[str, Any]:
        """The artifacts of a flow run by key."""
        artifacts = self.request("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        return {artifact["key"]: artifact for artifact in artifacts}

    def completed(self, run: str, within_s: float = 400) -> None:
        """Wait for a run, which must complete."""
        if self.ended(run, within_s) != "COMPLETED":
            pytest.fail(f"{self.state(run)}: {self.message(run)}\n{self.log(run)}")

    def message(self, run: str) -> str:
        """The message of a run's state."""
        return self.request(f"flow_runs/{run}")["state"]["message"] or ""


@contextmanager
def fleet(folder: Path, **settings: str) -> Iterator[Fleet]:
    """A Prefect server with a database of its own; everything started with it ends with it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    prefixes = ("PREFECT_", "MLFLOW_", "OPTUNA_", "PEOPLE_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
    environment = {
        **inherited,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "true",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "user.email",
        "GIT_CONFIG_VALUE_0": "someone@localhost",
        "GIT_CONFIG_KEY_1": "user.name",
        "GIT_CONFIG_VALUE_1": "someone",
        **settings,
    }
    server = Fleet(folder, environment["PREFECT_API_URL"], environment)
    with server.stack:
        restart(server)
        yield server


def restart(fleet: Fleet) -> subprocess.Popen[bytes]:
    """Start the server of a fleet on its port, for the first time or again."""
    port = fleet.url.removesuffix("/api").rpartition(":")[2]
    command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", port]
    before = dict(os.environ)
    os.environ.update(fleet.environment)
    try:
        process = fleet.stack.enter_context(running(command, fleet.folder, SIGTERM))
    finally:
        os.environ.clear()
        os.environ.update(before)
    wait_for(process, fleet.folder, lambda: healthy(fleet))
    return process


def healthy(fleet: Fleet) -> bool:
    try:
        return fleet.request("health") is True
    except OSError:
        return False


def processes(**environment: str) -> list[psutil.Process]:
    """Running processes whose environment has these values."""
    matches = []
    for process in psutil.process_iter():
        try:
            is_match = environment.items() <= process.environ().items()
            if process.status() != psutil.STATUS_ZOMBIE and is_match:
                matches.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return matches


def commit(folder: Path, message: str = "the project", environment: Mapping[str, str] | None = None) -> None:
    """Everything in the folder as a commit."""
    for command in (["git", "add", "--all"], ["git", "commit", "--quiet", "--message", message]):
        subprocess.run(command, cwd=folder, env=dict(environment or os.environ), check=True, capture_output=True)
