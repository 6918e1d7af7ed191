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
from threading import Lock

from pipelines import commands

Log = Callable[[str], object]
DVC = ("dvc", "--wait-for-lock")
RUNNING, RESTORED = re.compile(r"Running stage '"), re.compile(r"is cached - skipping run")
SECONDS_BETWEEN_NOTES = 30.0
FETCHING = Lock()  # stages are sent side by side, and two fetches of one ref fail


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
    came, silent = "up to date", ""

    def watch(line: str) -> None:
        nonlocal came, silent
        log(line)
        silent = line if commands.is_passing(line) else silent
        came = "restored" if RESTORED.search(line) else "ran" if RUNNING.search(line) else came
        if came == "ran" and not may_run and silent:
            raise commands.Passing(f"{name} was computed by a worker, and the remote that has its result was silent:\n{silent}")
        if came == "ran" and not may_run:
            raise commands.Failed(
                f"{name} was computed by a worker, but its result is not in the run cache of the DVC remote that this "
                "workspace reads: give both the same remote and the same commit, parameters and inputs"
            )

    commands.run([*DVC, "repro", "--single-item", *(["--pull"] if pull else []), name], watch)
    return came


def push(names: list[str], log: Log) -> None:
    """Share what these stages made, and the record of how, through the remote.

    The first file that a silent remote does not take ends it: DVC would try every other file in turn, for minutes each.
    """

    def watch(line: str) -> None:
        log(line)
        if line.startswith("ERROR: ") and commands.is_passing(line):
            raise commands.Passing(f"`dvc push` was ended at the first file that the remote did not take:\n{line}")

    commands.run([*DVC, "push", "--run-cache", *names], watch)


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
    """The commit that is checked out, if it says all there is and others can fetch it: a worker elsewhere sees nothing else."""
    changed = set(git("diff", "--name-only", "HEAD").splitlines()) - {"dvc.lock", "params.yaml"}
    folders = {path.partition("/")[0] for path in git("ls-files").splitlines() if "/" in path}
    new = {path for path in git("ls-files", "--others", "--exclude-standard").splitlines() if path.partition("/")[0] in folders}
    if changed or new:
        raise commands.Failed(
            f"{', '.join(sorted(changed | new))} changed and not committed: workers on other machines clone the commit; "
            "commit and push first"
        )
    commit, origin = git("rev-parse", "HEAD"), git("remote", "get-url", "origin")
    if not is_published(commit):
        with FETCHING:
            commands.run(["git", "fetch", "--quiet", "origin"], lambda _: None)
        if not is_published(commit):
            raise commands.Failed(f"no branch of {origin} holds commit {commit[:10]}, and workers clone that; push first")
    return commit


def is_published(commit: str) -> bool:
    """Whether a branch of `origin`, as this checkout knows it, holds the commit."""
    return bool(git("for-each-ref", "--contains", commit, "refs/remotes/origin"))
