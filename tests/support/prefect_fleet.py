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

    def ask(self, path: str, body: Any = None) -> Any:
        """What the server's API answers."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        for _ in range(20):
            try:
                with urlopen(request, timeout=120) as answer:
                    return json.loads(answer.read() or b"null")
            except HTTPError as error:
                if error.code != 503:  # SQLite is busy: clients try again
                    raise
                time.sleep(0.5)
        pytest.fail(f"{path}: the server stays busy")

    def prefect(self, *arguments: str, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A prefect command as a user types it."""
        command = [str(BIN / "prefect"), "--no-prompt", *arguments]
        done = subprocess.run(
            command, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=400, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
        return done

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
        found = self.ask(f"deployments/name/{flow}/{name}")
        return self.ask(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"]

    def state(self, run: str) -> str:
        return self.ask(f"flow_runs/{run}")["state"]["type"]

    def ended(self, run: str, within_s: float = 400) -> str:
        """Wait for a run's end: its state."""
        self.until(lambda: self.state(run) in FINAL, within_s, run)
        return self.state(run)

    def until(self, condition: Callable[[], object], within_s: float, run: str = "") -> None:
        """Wait for something; in vain, fail with the run's log."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {within_s} s in vain\n{self.log(run) if run else ''}")
            time.sleep(0.3)

    def tasks(self, run: str) -> dict[str, dict[str, Any]]:
        """The task runs of a flow run by name."""
        body = {"flow_runs": {"id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return {task["name"]: task for task in self.ask("task_runs/filter", body)}

    def log(self, run: str) -> str:
        """All that a flow run has logged so far."""
        lines: list[str] = []
        while True:
            body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200, "offset": len(lines)}
            page = self.ask("logs/filter", body)
            lines += [entry["message"] for entry in page]
            if len(page) < 200:
                return "\n".join(lines)

    def artifacts(self, run: str) -> dict[str, Any]:
        """The artifacts of a flow run by key."""
        found = self.ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        return {artifact["key"]: artifact for artifact in found}

    def completed(self, run: str, within_s: float = 400) -> None:
        """Wait for the end of a run that must come to it well."""
        if self.ended(run, within_s) != "COMPLETED":
            pytest.fail(f"{self.state(run)}: {self.message(run)}\n{self.log(run)}")

    def message(self, run: str) -> str:
        """What a run's last state says."""
        return self.ask(f"flow_runs/{run}")["state"]["message"] or ""


@contextmanager
def fleet(folder: Path, **settings: str) -> Iterator[Fleet]:
    """A Prefect server with a database of its own; everything started with it ends with it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_", "OPTUNA_", "PEOPLE_"))}
    environment = {
        **own,
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
    made = Fleet(folder, environment["PREFECT_API_URL"], environment)
    with made.stack:
        restart(made)
        yield made


def restart(made: Fleet) -> subprocess.Popen[bytes]:
    """Start the server of a fleet on its port, for the first time or again."""
    port = made.url.removesuffix("/api").rpartition(":")[2]
    command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", port]
    before = dict(os.environ)
    os.environ.update(made.environment)
    try:
        process = made.stack.enter_context(running(command, made.folder, SIGTERM))
    finally:
        os.environ.clear()
        os.environ.update(before)
    wait_for(process, made.folder, lambda: healthy(made))
    return process


def healthy(made: Fleet) -> bool:
    try:
        return made.ask("health") is True
    except OSError:
        return False


def processes(**environment: str) -> list[psutil.Process]:
    """Living processes whose environment has these values."""
    found = []
    for process in psutil.process_iter():
        try:
            there = process.environ()
            if process.status() != psutil.STATUS_ZOMBIE and all(there.get(key) == value for key, value in environment.items()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def commit(folder: Path, message: str = "the project", environment: Mapping[str, str] | None = None) -> None:
    """Everything in the folder as a commit."""
    for command in (["git", "add", "--all"], ["git", "commit", "--quiet", "--message", message]):
        subprocess.run(command, cwd=folder, env=dict(environment or os.environ), check=True, capture_output=True)
