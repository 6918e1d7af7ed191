"""Runs in MLflow, one per training, with curves, parameters, and tags of the inputs; also which process a run belongs to.

Only the client is used, synchronously and once per epoch: `mlflow.pytorch` takes seconds to import, and asynchronous logging
loses epochs when many processes share one server.
"""

import io
import os
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from people.storage import write_atomic
from stages.shared.project import file_lock, state
from stages.tracking.databases import ARTIFACTS, is_own, keep_files_in_state, mlflow_database

if TYPE_CHECKING:
    import pandas as pd

CHAMPION = "champion"  # the alias of the version of a registered model that is to be used
CHALLENGER = "challenger"  # the alias of the version that was registered last and is not the champion
CHECKPOINT = "checkpoint.sha256"  # a tag of versions and of runs: the digest of the checkpoint
DATA = "data.digest"  # a tag of versions and of runs: the digest of the data that the system reads
IMPOSTORS = "validation.impostors"  # a tag of a version: `people.serving.open_set.Impostors`
RUN_FILE = "mlflow_run"
PARENT_TAG = "mlflow.parentRunId"
MAX_PARAM_CHARS = 500


class Run:
    """One run; epochs that it has already, from before an interruption, are not logged twice."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client, self.id = client, run_id
        self.logged = {metric.step for metric in client.get_metric_history(run_id, "score")}

    def log(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Log one epoch's metrics in one call."""
        if epoch not in self.logged:
            now = int(time.time() * 1000)
            with uninterrupted():
                self.client.log_batch(self.id, metrics=[Metric(name, value, now, epoch) for name, value in metrics.items()])

    def tag(self, **tags: Any) -> None:
        """Tag the run; `__` in a name stands for a point."""
        with uninterrupted():
            self.client.log_batch(self.id, tags=[RunTag(name.replace("__", "."), str(value)) for name, value in tags.items()])

    def log_convergence(self, history: "pd.DataFrame") -> bytes:
        """Log a picture of the whole curve as convergence.png, and return it."""
        png = convergence_png(history)
        with uninterrupted(), TemporaryDirectory() as folder:
            file = Path(folder, "convergence.png")
            file.write_bytes(png)
            self.client.log_artifact(self.id, str(file))
        return png


def convergence_png(history: "pd.DataFrame") -> bytes:
    """Each validation error over the epochs, as a share of its maximum, and each unweighted training loss."""
    import matplotlib
    import numpy as np

    matplotlib.use("agg")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, prefix in ((left, "error/"), (right, "train/")):
        for name in (name for name in history.columns if name.startswith(prefix)):
            values = history[name].to_numpy(float)
            highest = max(np.nanmax(np.abs(values)), 1e-9) if prefix == "error/" else 1.0
            label = name.removeprefix(prefix) + (f" (maximum {highest:.3g})" if prefix == "error/" else "")
            axes.plot(history["epoch"], values / highest, "o-", ms=3, label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch")
        axes.legend(fontsize=8)
    left.set(ylabel="validation error, share of its maximum")
    right.set(ylabel="training loss, unweighted", yscale="symlog")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()


@contextmanager
def run(experiment: str, name: str, *, folder: Path, params: Mapping[str, Any], tags: Mapping[str, Any]) -> Iterator[Run]:
    """A run that ends FINISHED, FAILED or KILLED. Its id is stored in `folder`, and a resumed training resumes the run."""
    client, experiment_id = connect(experiment)
    all_tags = {"git.sha": git_sha(), "process": process(), **tags}
    file = folder / RUN_FILE
    run_id = resume_run(client, file)
    if run_id is None:
        run_id = client.create_run(experiment_id, run_name=name).info.run_id
        flat = [Param(key, str(value)[:MAX_PARAM_CHARS]) for key, value in flatten(params).items()]
        client.log_batch(run_id, params=flat)
        write_atomic(file, run_id.encode())
    client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in all_tags.items()])
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
    """A client and the experiment's id, created if missing; runs of exited processes of this machine are set to KILLED."""
    with file_lock(state("mlflow.lock")):  # only one of several processes may create the experiment
        address = mlflow_database()
        client = MlflowClient(address)
        existing = client.get_experiment_by_name(experiment)
        if existing is None:
            experiment_id = client.create_experiment(experiment, artifact_location=artifact_location(address))
        else:
            experiment_id = existing.experiment_id
        if is_own(address):
            keep_files_in_state()  # MLflow has put its experiment "Default" into the current folder
    for running in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if has_exited(running.data.tags.get("process", "")):
            client.set_terminated(running.info.run_id, "KILLED")
    return client, experiment_id


def artifact_location(address: str) -> str | None:
    """Where a new experiment has its files: a server decides that itself (None), other databases have them in the state folder.

    MLflow would put them into a folder `mlruns` of whatever folder is the current one.
    """
    return None if address.startswith(("http://", "https://")) else state(ARTIFACTS).resolve().as_uri()


def resume_run(client: MlflowClient, file: Path) -> str | None:
    """The id in the file, its run set to RUNNING again; None without a file or without that run in this database.

    What cannot be the id of a run, or is that of a deleted one, is forgotten with a warning: a new run takes its place.
    """
    if not file.is_file():
        return None
    run_id = file.read_text(errors="replace").strip()
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        warnings.warn(f"{file} names no run that can go on ({run_id!r}); a new run in MLflow takes its place", stacklevel=2)
        return None
    return run_id


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested blocks as `block.key`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def git_sha() -> str:
    """The commit that is checked out."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not a git checkout"


class _Interrupt:
    """The interruption that waits for the end of a call that may not be left half done."""

    calls = 0
    waiting: BaseException | None = None


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM raises `SystemExit`, so that `finally` blocks run, with the exit code 143 of a terminated process.

    It and Ctrl-C wait for the end of what runs in `uninterrupted`.
    """

    def interrupt(number: int, _: Any) -> None:
        error = SystemExit(128 + number) if number == signal.SIGTERM else KeyboardInterrupt()
        if not _Interrupt.calls:
            raise error
        _Interrupt.waiting = error

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside `interruptible`: no signal breaks the block off, for one that does within a transaction leaves SQLite locked."""
    _Interrupt.calls += 1
    try:
        yield
    finally:
        _Interrupt.calls -= 1
        if not _Interrupt.calls and (error := _Interrupt.waiting) is not None:
            _Interrupt.waiting = None
            raise error


def process() -> str:
    """An identifier of this process that no other gets: host, PID namespace, PID, start time."""
    return f"{host()}/{os.getpid()}/{start_time(os.getpid())}"


def has_exited(identifier: str) -> bool:
    """Whether `process()` of this machine with this identifier has exited; False for other machines, where it is unknown."""
    if identifier.count("/") < 3 or identifier.rsplit("/", 2)[0] != host():
        return False
    _, pid, start = identifier.rsplit("/", 2)
    return start_time(int(pid)) != start


def describe(identifier: str) -> str:
    """The process with this identifier, in words."""
    machine, _, pid = identifier.rpartition("/")[0].rpartition("/")
    return f"process {pid} on {machine.partition('/')[0]}"


def host() -> str:
    """This machine and its PID namespace."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{namespace.readlink() if namespace.is_symlink() else 'one'}"


def start_time(pid: int) -> str:
    """The start time of the process with this PID, in clock ticks since boot on Linux; `gone` if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            return stat.read_text().rpartition(")")[2].split()[19]
        except FileNotFoundError:
            return "gone"
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "-".join(done.stdout.split()) or "gone"
