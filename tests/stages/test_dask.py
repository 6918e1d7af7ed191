"""Stages of many small tasks on a real Dask cluster on loopback: the same bytes as on a process pool, and the same errors."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from distributed import Client
from killable import free_port

from stages import flow, ingest, silhouettes, validate
from stages.shared.executors import in_order, pool

PARAMS = """
seed: 4
datasets:
  tumgaid:
    source: parametric
    variation: {between_subjects: 1.0, within_subject: 1.0}
    archive: nothing
    subjects: {train: 3, validation: 1, test: 2, elapsed: 1}
    frames_per_sequence: 30
    frame_rate_hz: 30
    size_hw: [30, 40]
    jpeg_quality: 90
validate:
  tumgaid: {min_frames: 26, age_years: [1, 110], max_bad_share: 0.5}
flow:
  tumgaid: {method: farneback, compute_size_hw: [60, 80], size_hw: [30, 40]}
silhouettes:
  tumgaid: {method: background, size_hw: [64, 44], soft: false, pretreatment: scaled, weights: ""}
"""
DASK = [sys.executable, "-m", "dask"]
READY_WITHIN_S = 60


@contextmanager
def process(command: list[str], folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in this folder, killed at the end of the block; what it prints goes to folder/output."""
    folder.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "DASK_SCHEDULER"}}
    with (folder / "output").open("ab") as output:
        started = subprocess.Popen(
            command, cwd=folder, env=inherited | environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@contextmanager
def scheduler(folder: Path) -> Iterator[Any]:
    """A scheduler without this project's code, and a client of the test."""
    port = str(free_port())
    with (
        process([*DASK, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"], folder),
        Client(f"tcp://127.0.0.1:{port}", timeout=READY_WITHIN_S, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def worker(client: Any, folder: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A worker, in a folder that is not the workspace, and its address."""
    address, before = address_of(client), set(client.scheduler_info(n_workers=-1)["workers"])
    command = [*DASK, "worker", address, "--host", "127.0.0.1", "--no-nanny", "--no-dashboard", *options]
    with process(command, folder, **environment) as started:
        client.wait_for_workers(len(before) + 1, timeout=READY_WITHIN_S)
        (name,) = set(client.scheduler_info(n_workers=-1)["workers"]) - before
        yield started, name


def address_of(client: Any) -> str:
    return client.scheduler.address


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Any]:
    """A scheduler and two workers."""
    folder = tmp_path_factory.mktemp("cluster")
    environment: dict[str, Any] = {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    with (
        scheduler(folder / "scheduler") as client,
        worker(client, folder / "first", "--nthreads", "1", **environment),
        worker(client, folder / "second", "--nthreads", "1", **environment),
    ):
        yield client


@pytest.fixture
def on_cluster(cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The cluster, in DASK_SCHEDULER, and an empty project folder as the working directory."""
    monkeypatch.setenv("DASK_SCHEDULER", address_of(cluster))
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    return cluster


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder in which the four stages have run on a process pool."""
    folder = tmp_path_factory.mktemp("local")
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.delenv("DASK_SCHEDULER", raising=False)
        Path("params.yaml").write_text(PARAMS)
        run_stages()
    return folder


def run_stages() -> None:
    ingest.main("tumgaid")
    damage(Path("data/raw/tumgaid/image/p002.zip"), "p002/n03/0007.jpg")
    validate.main("tumgaid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["flow", "tumgaid"])
        flow.main()
    silhouettes.main("tumgaid")


def damage(archive: Path, name: str) -> None:
    """Cut one image of a zip file short."""
    with zipfile.ZipFile(archive) as old:
        files = {entry: old.read(entry) for entry in old.namelist()}
    assert len(files[name]) > 300
    files[name] = files[name][:300]
    with zipfile.ZipFile(archive, "w") as new:
        for entry, content in files.items():
            new.writestr(zipfile.ZipInfo(entry), content)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def until(holds: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {READY_WITHIN_S} s"
        time.sleep(0.02)


def test_every_stage_of_many_tasks_writes_the_same_bytes_on_a_cluster_as_on_a_process_pool(on_cluster: Any, local: Path):
    run_stages()
    assert files(Path("data")) == files(local / "data")
    quarantine = pd.read_csv("data/valid/tumgaid/quarantine.csv")
    assert quarantine["value"].str.startswith(
        "data/raw/tumgaid/image/p002.zip!p002/n03/0007.jpg: expected an image"
    ).tolist() == [True]
    done = on_cluster.run(lambda: [name in sys.modules for name in ("people.synth.render", "people.video.flow")])
    assert list(done.values()) == [[True, True]] * 2


def test_the_tasks_of_a_killed_worker_run_on_the_others(on_cluster: Any, local: Path, root: Path, tmp_path: Path):
    for name in ("raw", "valid"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(local / "data" / name)
    written = tmp_path / "data/flow/tumgaid.partial/flow.bin"
    environment = {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    with (
        worker(on_cluster, tmp_path / "third", "--nthreads", "1", **environment) as (victim, name),
        process(
            [sys.executable, "-m", "stages.flow", "tumgaid"], tmp_path, DASK_SCHEDULER=address_of(on_cluster), **environment
        ) as stage,
    ):
        until(lambda: written.exists() and written.stat().st_size and on_cluster.processing()[name], "flow on the third worker")
        victim.send_signal(signal.SIGSTOP)  # its running tasks cannot end
        time.sleep(0.2)
        unfinished = on_cluster.processing()[name]
        victim.kill()
        assert unfinished
        assert stage.poll() is None
        assert stage.wait(timeout=READY_WITHIN_S) == 0, (tmp_path / "output").read_text()
        assert name not in on_cluster.scheduler_info(n_workers=-1)["workers"]
    assert files(tmp_path / "data/flow") == files(local / "data/flow")


def test_a_damaged_image_is_the_same_error_on_a_cluster_as_on_a_process_pool(on_cluster: Any, local: Path, tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(local / "data/raw")
    clips, config = pd.read_csv(local / "data/index/tumgaid/clips.csv"), flow.flow.Config("farneback", (30, 40), (30, 40))
    errors = []
    for workers in (None, 1):
        with pytest.raises(ValueError, match=r"clip p002/n03 .*0007\.jpg: expected an image") as raised:
            flow.write(tmp_path / "flow", "tumgaid", clips, config, workers=workers)
        errors.append(str(raised.value))
    assert errors[0] == errors[1]
    assert not list(tmp_path.glob("flow*"))
    assert len(on_cluster.scheduler_info(n_workers=-1)["workers"]) == 2


def test_when_all_tasks_are_cancelled_and_waited_for_none_still_runs_on_a_worker(on_cluster: Any):
    def linger(number: int) -> None:
        Path(f"begun{number}").touch()
        time.sleep(0.5)
        Path(f"ended{number}").touch()

    with pool() as (executor, workers):
        assert workers == 2
        jobs = [executor.submit(linger, number) for number in range(12)]
        until(Path("begun0").exists, "the first task's beginning")
        cancelled = [job.cancel() for job in jobs]
        assert not Path("ended0").exists()
        wait(jobs)
        begun = {path.name.removeprefix("begun") for path in Path().glob("begun*")}
        assert begun == {path.name.removeprefix("ended") for path in Path().glob("ended*")}
        assert begun == {str(number) for number in range(12) if not cancelled[number]}
        assert len(begun) <= 2 * workers


def test_at_most_ahead_results_are_waiting(on_cluster: Any):
    def task_count() -> int:
        return len(on_cluster.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)))

    with pool() as (executor, _):
        results = []
        for result in in_order(executor, divmod, ((number, 7) for number in range(30)), ahead=5):
            results.append(result)
            assert task_count() <= 5 + 1  # the last one may not be released yet
        assert results == [divmod(number, 7) for number in range(30)]


def test_an_address_without_a_scheduler_is_named_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    address, start = f"tcp://127.0.0.1:{free_port()}", time.monotonic()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASK_SCHEDULER", address)
    with (
        pytest.raises(ValueError, match=f"DASK_SCHEDULER is '{address}': expected a Dask scheduler.*unset the variable"),
        pool(),
    ):
        pass
    assert time.monotonic() - start < 15
    monkeypatch.setenv("DASK_SCHEDULER", "127.0.0.1")
    with pytest.raises(ValueError, match=r"DASK_SCHEDULER is '127\.0\.0\.1': expected an address such as tcp://"), pool():
        pass


HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("people", "stages"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def test_workers_that_could_give_another_result_are_refused_with_the_reason(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    modified = tmp_path / "modified"
    for package in ("people", "stages"):
        (modified / package).mkdir(parents=True)
        for path in (root / package).rglob("*.py"):
            copy = modified / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes() + (b"\n" if path.name == "records.py" else b""))
    elsewhere = tmp_path / "elsewhere"  # an environment in which the project was not installed
    elsewhere.mkdir()
    (elsewhere / "sitecustomize.py").write_text(HIDDEN)
    refused = {
        "expected workers, within 5 s none joined": None,
        "No module named 'stages'": ("--nthreads", "1", str(elsewhere)),
        "with other source code": ("--nthreads", "1", str(modified)),
        "start it with --nthreads 1": ("--nthreads", "2", str(root)),
    }
    with scheduler(tmp_path / "scheduler") as client:
        monkeypatch.setenv("DASK_SCHEDULER", address_of(client))
        for number, (reason, started) in enumerate(refused.items()):
            with worker_or_none(client, tmp_path / str(number), started), pytest.raises(ValueError, match=reason), pool():
                pass


@contextmanager
def worker_or_none(client: Any, folder: Path, started: tuple[str, str, str] | None) -> Iterator[None]:
    if started is None:
        yield
        return
    with worker(client, folder, *started[:2], PYTHONPATH=started[2]) as (process, name):
        yield
        assert process.poll() is None  # refusing a task did not kill it
        process.terminate()
        until(lambda: name not in client.scheduler_info(n_workers=-1)["workers"], "the worker's leaving")
