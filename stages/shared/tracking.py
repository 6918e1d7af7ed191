"""Runs in MLflow, one per training: curves, parameters, and what they were made from. Also: whose process a run belongs to.

Only the client is used, synchronously and once per epoch: `mlflow.pytorch` takes seconds to import, asynchronous logging loses
epochs when many processes share one server.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from stages.shared.project import state, tracking_uri

RUN_FILE = "mlflow_run"
PARENT_TAG = "mlflow.parentRunId"
LONGEST_PARAM = 500


class Run:
    """One run: epochs that it already holds, from before it was killed, are not logged twice."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client, self.id = client, run_id
        self.logged = {metric.step for metric in client.get_metric_history(run_id, "score")}

    def log(self, metrics: Mapping[str, float], epoch: int) -> None:
        """One epoch's numbers in one call."""
        if epoch not in self.logged:
            now = int(time.time() * 1000)
            self.client.log_batch(self.id, metrics=[Metric(name, value, now, epoch) for name, value in metrics.items()])

    def tag(self, **tags: Any) -> None:
        """Facts about the run, by which it is found again; `__` in a name stands for a point."""
        self.client.log_batch(self.id, tags=[RunTag(name.replace("__", "."), str(value)) for name, value in tags.items()])


@contextmanager
def run(experiment: str, name: str, *, folder: Path, params: Mapping[str, Any], tags: Mapping[str, Any]) -> Iterator[Run]:
    """A run that ends FINISHED, FAILED or KILLED. Its id is kept in `folder`: whoever continues the work continues the run."""
    client, experiment_id = connect(experiment)
    facts = {"git.sha": git_sha(), "process": process(), **tags}
    file = folder / RUN_FILE
    run_id = continued(client, file)
    if run_id is None:
        run_id = client.create_run(experiment_id, run_name=name).info.run_id
        flat = [Param(key, str(value)[:LONGEST_PARAM]) for key, value in flattened(params).items()]
        client.log_batch(run_id, params=flat)
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(run_id)
    client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in facts.items()])
    status = "FAILED"
    try:
        yield Run(client, run_id)
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        client.set_terminated(run_id, status)


def connect(experiment: str) -> tuple[MlflowClient, str]:
    """A client and the experiment's id; runs of this machine's dead processes are ended on the way."""
    with exclusive(state("mlflow.lock")):  # a new database is set up by the first of several processes alone
        client = MlflowClient(tracking_uri())
        found = client.get_experiment_by_name(experiment)
        if found is None:
            own = None if os.environ.get("MLFLOW_TRACKING_URI") else state("mlruns").resolve().as_uri()
            experiment_id = client.create_experiment(experiment, artifact_location=own)
        else:
            experiment_id = found.experiment_id
    for left in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if is_dead(left.data.tags.get("process", "")):
            client.set_terminated(left.info.run_id, "KILLED")
    return client, experiment_id


def continued(client: MlflowClient, file: Path) -> str | None:
    """The run whose id the file keeps, running again; None if there is no such run in this database."""
    if not file.is_file():
        return None
    run_id = file.read_text().strip()
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run_id


def flattened(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested blocks as `block.key`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flattened(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return flat


def git_sha() -> str:
    """The commit that is checked out."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not a git checkout"


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends the process as an exception would, with everything tidied up, and with the exit code of a killed process."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """One process of this machine at a time; the lock of a process that dies is free."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def process() -> str:
    """This process, told apart from any other that had or will have its number: host, PID namespace, PID, start time."""
    return f"{host()}/{os.getpid()}/{started(os.getpid())}"


def is_dead(other: str) -> bool:
    """Whether the process was one of this machine and is gone; nothing can be said about other machines."""
    if other.count("/") < 3 or other.rsplit("/", 2)[0] != host():
        return False
    _, pid, start = other.rsplit("/", 2)
    return started(int(pid)) != start


def host() -> str:
    """This machine and its PID namespace."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.readlink() if namespace.is_symlink() else 'one'}"


def started(pid: int) -> str:
    """When the process with this number began, in the system's own count; `gone` if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            return stat.read_text().rpartition(")")[2].split()[19]
        except FileNotFoundError:
            return "gone"
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "-".join(listed.stdout.split()) or "gone"
