"""Executors of a stage's many small tasks: a process pool, or a Dask cluster's workers, with the same bytes.

Only precomputation uses them; no training depends on them.
"""

import functools
import hashlib
import multiprocessing
import os
import pickle
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

PROJECT_ROOT = Path(__file__).parents[2]
PROCESSES = "PEOPLE_PROCESSES"  # variable of the environment
CONNECT_TIMEOUT_S = 5  # of a Dask scheduler, and of its first worker


@contextmanager
def pool(workers: int | None = None) -> Iterator[tuple[Executor, int]]:
    """An executor and how many tasks it runs at once; when the block ends, none of its tasks runs any more.

    It is the Dask cluster whose scheduler `DASK_SCHEDULER` names, or else a process pool on all cores, or of as many processes
    as `PEOPLE_PROCESSES` says; with `workers` always a process pool of that many. Spawned, not forked: a fork of a process with
    threads can hang.
    """
    address = os.environ.get("DASK_SCHEDULER")
    if address and workers is None:
        with dask_executor(address) as executor_and_workers:
            yield executor_and_workers
        return
    workers = workers or processes()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor, workers


def in_order(
    executor: Executor, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], ahead: int
) -> Iterator[Any]:
    """Results in the order of the arguments, at most `ahead` of them waiting, so that memory stays bounded."""
    arguments = iter(arguments)
    waiting: deque[Future[Any]] = deque(executor.submit(function, *task) for task in islice(arguments, ahead))
    try:
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(executor.submit(function, *task) for task in islice(arguments, 1))
    finally:
        for future in waiting:
            future.cancel()


def processes() -> int:
    """How many processes a stage may use: `PEOPLE_PROCESSES`, or all cores."""
    share = os.environ.get(PROCESSES) or str(available_cores())
    if not (share.isdecimal() and int(share)):
        raise ValueError(
            f"{PROCESSES} is {share!r}: expected a number of processes from 1; correct it, or unset it for all cores"
        )
    return int(share)


def available_cores() -> int:
    """The cores that this process may use, which under a scheduler are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def dask_executor(address: str) -> Iterator[tuple[Executor, int]]:
    """The Dask cluster at this address as an executor, and the number of its workers, all of which are validated.

    The task of a lost worker runs again on another one; a task that raises an error is not retried.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(
            f"DASK_SCHEDULER is {address!r}, but distributed is not installed; pip install '.[scale]', or unset the variable"
        ) from error
    if not re.fullmatch(r"(tcp|tls)://\S+:\d+", address):
        raise ValueError(
            f"DASK_SCHEDULER is {address!r}: expected an address such as tcp://10.0.0.5:8786; correct it, or unset the variable"
        )
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except OSError as error:
        raise ValueError(
            f"DASK_SCHEDULER is {address!r}: expected a Dask scheduler there, and within {CONNECT_TIMEOUT_S} s none answered "
            f"({error}); start one (docs/scale.md), correct the address, or unset the variable to work on this machine alone"
        ) from error
    Path(".state").mkdir(exist_ok=True)
    with client, tempfile.NamedTemporaryFile(dir=".state", prefix="dask-") as marker:
        workspace = Workspace(str(Path.cwd()), marker.name, code_digest())
        workers = check_workers(client, address, workspace)
        with DaskExecutor(client, workers, address, workspace) as executor:
            yield executor, workers


def check_workers(client: Any, address: str, workspace: "Workspace") -> int:
    """The number of a cluster's workers; a ValueError names the first that cannot run tasks, and the reason."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
    except TimeoutError:
        raise ValueError(
            f"DASK_SCHEDULER is {address!r}: expected workers, within {CONNECT_TIMEOUT_S} s none joined it; start some "
            "(docs/scale.md), or unset the variable to work on this machine alone"
        ) from None
    answers = client.run(
        lambda workspace, dask_worker: pickle.loads(workspace).check(dask_worker), pickle.dumps(workspace), on_error="return"
    )
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            raise ValueError(
                f"DASK_SCHEDULER is {address!r}, and its worker {worker} cannot run tasks: {answer}; workers need this "
                f"project's environment and PYTHONPATH={PROJECT_ROOT} (docs/scale.md)"
            ) from answer
    return len(answers)


@dataclass(frozen=True)
class Workspace:
    """Where a task runs: the stage's folder, a file in it that exists while the stage runs, and the source code's digest."""

    folder: str
    marker: str
    code: str

    def check(self, worker: Any) -> None:
        """ValueError where a worker could give another result than the stage's machine."""
        if not Path(self.folder, self.marker).exists():
            raise ValueError(
                f"{worker.address} does not see the stage's files in {self.folder}; mount it there, at the same path"
            )
        if code_digest() != self.code:
            raise ValueError(f"{worker.address} was started with other source code than the stage's; start it again")
        if worker.state.nthreads != 1:
            raise ValueError(
                f"{worker.address} runs {worker.state.nthreads} tasks in one process, and they would share its working folder "
                "and OpenCV's settings; start it with --nthreads 1"
            )

    def run(self, call: bytes) -> Any:
        """Run a pickled call on a worker, in the stage's folder: relative paths, also in errors, are the same as locally."""
        from distributed import get_worker

        self.check(get_worker())
        with chdir(self.folder):
            return pickle.loads(call)()


@functools.cache
def code_digest() -> str:
    """SHA-256 of the project's source files at the first call in this process, a stage or a worker."""
    content = hashlib.sha256()
    for path in sorted(path for package in ("people", "stages") for path in (PROJECT_ROOT / package).rglob("*.py")):
        content.update(f"{path.relative_to(PROJECT_ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()


class DaskExecutor(ThreadPoolExecutor):
    """Tasks on a Dask cluster with the guarantees of a process pool: each is sent by a thread that waits for its end.

    Two tasks per worker are submitted, one running and one ready; the others are neither sent nor pickled yet and can be
    cancelled. With Dask's own executor `wait` returns while a cancelled task still writes into the folder that is removed next.
    """

    def __init__(self, client: Any, workers: int, address: str, workspace: Workspace) -> None:
        super().__init__(2 * workers, thread_name_prefix="dask-task")
        self.client, self.address, self.workspace = client, address, pickle.dumps(workspace)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue `fn(*args, **kwargs)` for a worker."""
        return super().submit(self._remote, functools.partial(fn, *args, **kwargs))

    def _remote(self, call: functools.partial[Any]) -> Any:
        import cloudpickle

        # A local function is pickled by value: a worker without this project's code returns an error instead of crashing.
        task = self.client.submit(
            lambda workspace, call: pickle.loads(workspace).run(call),
            self.workspace,
            cloudpickle.dumps(call),
            key=f"{getattr(call.func, '__name__', 'call')}-{uuid4().hex}",
            pure=False,
        )
        try:
            return task.result()
        except CancelledError as error:
            raise ConnectionError(
                f"the Dask scheduler {self.address} was lost; see that it runs, then run the stage again"
            ) from error
