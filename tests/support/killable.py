"""Real processes to kill, forked from one that has the modules imported, so that a start is fast."""

import importlib
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SYSTEM = ["people.systems.dmt.data", "people.systems.dmt.model", "people.systems.dmt.objective"]
PRELOADED = ["killable", "toy_system", "stages.train", "stages.compare", "stages.tune", "stages.evaluate", *SYSTEM]
KILLED = -9


def start(function: Callable[..., None], folder: Path, *arguments: Any, **environment: str) -> BaseProcess:
    """Call the function in a process of its own, in the folder; what it prints goes to folder/output."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    before = dict(os.environ)
    os.environ["PYTHONPATH"], os.environ["OMP_NUM_THREADS"] = f"{ROOT}{os.pathsep}{ROOT / 'tests/support'}", "1"
    try:
        process = context.Process(target=_inside, args=(function, folder, environment, arguments))
        process.start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return process


def exit_code(process: BaseProcess) -> int | None:
    """How the process ended."""
    process.join(timeout=200)
    return process.exitcode


def stage(name: str, system: str, kill_at_step: int = 0) -> None:
    """What `python -m stages.<name> <system>` runs; SIGKILL comes at that step, counted from the start of the process."""
    if kill_at_step:
        from stages.training.progress import Bar

        Bar.step = _killing(kill_at_step)  # type: ignore[method-assign]
    sys.argv = [name, system]
    importlib.import_module(f"stages.{name}").main()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill_now() -> None:
    os.kill(os.getpid(), 9)


def _killing(at_step: int) -> Callable[..., None]:
    done = 0

    def step(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == at_step:
            kill_now()

    return step


def _inside(function: Callable[..., None], folder: Path, environment: dict[str, str], arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    with Path("output").open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    function(*arguments)
