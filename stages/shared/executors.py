"""Where a stage's many small tasks run: on this machine's cores, or on a Dask cluster's workers, with the same bytes.

Precomputation alone needs it; no training changes with it.
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

CODE = Path(__file__).parent.parent
ANSWER_WITHIN_S = 5  # a Dask scheduler, and its first worker


@contextmanager
def pool(workers: int | None = None) -> Iterator[tuple[Executor, int]]:
    """An executor and how many tasks it runs at once; when the block ends, none of its tasks runs any more.

    That is the Dask cluster whose scheduler `DASK_SCHEDULER` names, or else a process pool over all cores; a number of
    `workers` asks for a process pool of that many. Spawned, not forked: a fork of a process with threads can hang.
    """
    address = os.environ.get("DASK_SCHEDULER")
    if address and workers is None:
        with cluster(address) as found:
            yield found
        return
    workers = workers or available_cores()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor, workers


def in_order(
    executor: Executor, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], ahead: int
) -> Iterator[Any]:
    """Results in the order of the arguments, at most `ahead` of them waiting, so that memory stays bounded."""
    arguments = iter(arguments)
    waiting: deque[Future[Any]] = deque(executor.submit(function, *each) for each in islice(arguments, ahead))
    try:
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(executor.submit(function, *each) for each in islice(arguments, 1))
    finally:
        for future in waiting:
            future.cancel()


def available_cores() -> int:
    """The cores that this process may use, which under a scheduler are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """The Dask cluster at this address as an executor, and the number of its workers, each of which was asked if it can serve.

    The task of a worker that is lost runs again on another one; a task that raises an error is not tried again.
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
        client = Client(address, timeout=ANSWER_WITHIN_S, set_as_default=False)
    except OSError as error:
        raise ValueError(
            f"DASK_SCHEDULER is {address!r}: expected a Dask scheduler there, and within {ANSWER_WITHIN_S} s none answered "
            f"({error}); start one (docs/scale.md), correct the address, or unset the variable to work on this machine alone"
        ) from error
    Path(".state").mkdir(exist_ok=True)
    with client, tempfile.NamedTemporaryFile(dir=".state", prefix="dask-") as marker:
        workspace = Workspace(str(Path.cwd()), marker.name, code_digest())
        workers = serving(client, address, workspace)
        with Cluster(client, workers, address, workspace) as executor:
            yield executor, workers


def serving(client: Any, address: str, workspace: "Workspace") -> int:
    """The number of a cluster's workers; a `ValueError` names one that cannot serve, and why."""
    try:
        client.wait_for_workers(1, timeout=ANSWER_WITHIN_S)
    except TimeoutError:
        raise ValueError(
            f"DASK_SCHEDULER is {address!r}: expected workers, within {ANSWER_WITHIN_S} s none joined it; start some "
            "(docs/scale.md), or unset the variable to work on this machine alone"
        ) from None
    answers = client.run(
        lambda place, dask_worker: pickle.loads(place).check(dask_worker), pickle.dumps(workspace), on_error="return"
    )
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            raise ValueError(
                f"DASK_SCHEDULER is {address!r}, and its worker {worker} cannot serve: {answer}; workers want this project's "
                f"environment and PYTHONPATH={CODE} (docs/scale.md)"
            ) from answer
    return len(answers)


@dataclass(frozen=True)
class Workspace:
    """Where a task belongs: the stage's folder, a file in it that is there as long as the stage runs, and the source code."""

    folder: str
    marker: str
    code: str

    def check(self, worker: Any) -> None:
        """Refuse a worker that could give another result than the stage's own machine."""
        if not Path(self.folder, self.marker).exists():
            raise ValueError(
                f"{worker.address} does not see the stage's files in {self.folder}; mount that very folder there, at this path"
            )
        if code_digest() != self.code:
            raise ValueError(f"{worker.address} was started with other source code than the stage's; start it again")
        if worker.state.nthreads != 1:
            raise ValueError(
                f"{worker.address} runs {worker.state.nthreads} tasks in one process, and they would share its working folder "
                "and OpenCV's settings; start it with --nthreads 1"
            )

    def run(self, call: bytes) -> Any:
        """Make a pickled call on a worker, in the stage's folder: paths, those in errors too, are what they are locally."""
        from distributed import get_worker

        self.check(get_worker())
        with chdir(self.folder):
            return pickle.loads(call)()


@functools.cache
def code_digest() -> str:
    """SHA-256 of the project's source files as they were when this process, a stage or a worker, first asked."""
    content = hashlib.sha256()
    for path in sorted(path for package in ("people", "stages") for path in (CODE / package).rglob("*.py")):
        content.update(f"{path.relative_to(CODE)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()


class Cluster(ThreadPoolExecutor):
    """Tasks on a Dask cluster with the promises of a process pool: each is sent by a thread that waits for its end.

    Two tasks a worker are under way, one running and one ready; the others are neither sent nor pickled yet and can be
    cancelled. With Dask's own executor `wait` returns while a cancelled task still writes into the folder that is removed next.
    """

    def __init__(self, client: Any, workers: int, address: str, workspace: Workspace) -> None:
        super().__init__(2 * workers, thread_name_prefix="dask-task")
        self.client, self.address, self.workspace = client, address, pickle.dumps(workspace)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(self._remote, functools.partial(fn, *args, **kwargs))

    def _remote(self, call: functools.partial[Any]) -> Any:
        import cloudpickle

        # A local function goes by value: a worker without this project's code answers with an error, and does not die of it.
        task = self.client.submit(
            lambda place, call: pickle.loads(place).run(call),
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
