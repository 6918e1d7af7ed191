"""A checkout in which stages run: what it is made from, what DVC thinks of it, and one flow run at a time."""

import fcntl
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines import commands

Log = Callable[[str], object]
DVC = ("dvc", "--wait-for-lock")
RUNNING, RESTORED = re.compile(r"Running stage '"), re.compile(r"is cached - skipping run")
SECONDS_BETWEEN_NOTES = 30.0


def state(*parts: str) -> Path:
    """A path where unfinished work and locks live, outside every stage's outputs: `PEOPLE_STATE`, or `.state/` here."""
    path = Path(os.environ.get("PEOPLE_STATE") or ".state", *parts).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def alone(log: Log) -> Iterator[None]:
    """One flow run at a time works in this workspace; the next one waits. The lock of a process that dies is free."""
    if not Path("dvc.yaml").is_file():
        raise commands.Failed(f"no dvc.yaml in {Path.cwd()}: a flow works in the project's root folder")
    lock = Path(".dvc/tmp/flow.lock")
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        waiting_since, noted_s = time.monotonic(), 0.0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= noted_s:
                    log(f"another flow run works in {Path.cwd()}: waiting, {time.monotonic() - waiting_since:.0f} s so far")
                    noted_s = time.monotonic() + SECONDS_BETWEEN_NOTES
                time.sleep(0.5)
        yield


def stale() -> set[str]:
    """The stages that something has changed for since dvc.lock was written; what comes after them is not known yet."""
    return set(json.loads(commands.run([*DVC, "status", "--json"], lambda _: None)[-1] or "{}"))


def has_remote() -> bool:
    """Whether DVC has a default remote to share results through."""
    return bool(asked("dvc", "config", "core.remote"))


def reproduce(name: str, log: Log, *, pull: bool, may_run: bool = True) -> str:
    """`dvc repro` of one stage, and what came of it: `up to date`, `restored` from a run cache, or `ran`.

    With `may_run` false the stage is not allowed to compute anything here: its result must come from the run cache.
    """
    came = "up to date"

    def watch(line: str) -> None:
        nonlocal came
        log(line)
        came = "restored" if RESTORED.search(line) else "ran" if RUNNING.search(line) else came
        if came == "ran" and not may_run:
            raise commands.Failed(
                f"{name} was computed by a worker, but its result is not in the run cache of the DVC remote that this "
                "workspace reads: give both the same remote and the same commit, parameters and inputs"
            )

    commands.run([*DVC, "repro", "--single-item", *(["--pull"] if pull else []), name], watch)
    return came


def push(names: list[str], log: Log) -> None:
    """Share what these stages made, and the record of how, through the remote."""
    commands.run([*DVC, "push", "--run-cache", *names], log)


def git(*arguments: str, **extra: str) -> str:
    """What a git command prints; `extra` are variables of its environment."""
    done = subprocess.run(["git", *arguments], env={**os.environ, **extra}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise commands.failure(["git", *arguments], done.returncode, done.stderr.splitlines())
    return done.stdout.strip()


def asked(*command: str) -> str | None:
    """What a command prints, or None where it fails: for questions to which no is an answer."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def committed() -> str:
    """The commit that is checked out, if it says all there is: a worker elsewhere sees nothing that is not committed."""
    if others := sorted(set(git("diff", "--name-only", "HEAD").splitlines()) - {"dvc.lock", "params.yaml"}):
        raise commands.Failed(
            f"{', '.join(others)} changed and not committed: workers on other machines clone the commit; commit and push first"
        )
    return git("rev-parse", "HEAD")


def params() -> dict[str, Any]:
    """params.yaml as DVC reads it."""
    return YAML(typ="safe", pure=True).load(Path("params.yaml"))
