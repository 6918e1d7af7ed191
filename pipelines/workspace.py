"""A checkout in which stages run, by one flow run at a time: its git commit, its DVC status, `dvc repro` and `dvc push`."""

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
WAIT_LOG_INTERVAL_S = 30.0
FETCH_LOCK = Lock()  # several threads send stages, and two concurrent fetches of one ref fail


def state(*parts: str) -> Path:
    """A path for unfinished work and locks, outside every stage's outputs, in `PEOPLE_STATE` or `.state/`."""
    path = Path(os.environ.get("PEOPLE_STATE") or ".state", *parts).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(log: Log, on_wait: Callable[[], object], on_turn: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of this workspace, waiting for other flow runs; the system releases it if the process is killed.

    `on_wait` is called once if another run has it, and `on_turn` when it has been waited for.
    """
    if not Path("dvc.yaml").is_file():
        raise commands.Failed(f"no dvc.yaml in {Path.cwd()}: a flow works in the project's root folder")
    lock = Path(".dvc/tmp/flow.lock")
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        waiting_since_s, next_log_s, waited = time.monotonic(), 0.0, False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    on_wait()
                    waited = True
                if time.monotonic() >= next_log_s:
                    log(f"another flow run works in {Path.cwd()}: waiting, {time.monotonic() - waiting_since_s:.0f} s so far")
                    next_log_s = time.monotonic() + WAIT_LOG_INTERVAL_S
                time.sleep(0.5)
        if waited:
            on_turn()
        yield


def stale_stages() -> set[str]:
    """The stages whose inputs have changed since dvc.lock was written; stages downstream of them are not included."""
    return set(json.loads(commands.run([*DVC, "status", "--json"], lambda _: None)[-1] or "{}"))


def has_remote() -> bool:
    """Whether DVC has a default remote to share results through."""
    return bool(query("dvc", "config", "core.remote"))


def reproduce(name: str, log: Log, *, pull: bool, may_run: bool = True) -> str:
    """`dvc repro` of one stage; its status afterwards: `up to date`, `restored` from a run cache, or `ran`.

    With `may_run` false the stage is not computed here: its result must come from the run cache.
    """
    status, unreachable = "up to date", ""

    def watch(line: str) -> None:
        nonlocal status, unreachable
        log(line)
        unreachable = line if commands.is_retryable_message(line) else unreachable
        status = "restored" if RESTORED.search(line) else "ran" if RUNNING.search(line) else status
        if status == "ran" and not may_run and unreachable:
            raise commands.Retryable(
                f"{name} was computed by a worker, and the remote that has its result did not answer:\n{unreachable}"
            )
        if status == "ran" and not may_run:
            raise commands.Failed(
                f"{name} was computed by a worker, but its result is not in the run cache of the DVC remote that this "
                "workspace reads: give both the same remote and the same commit, parameters and inputs"
            )

    commands.run([*DVC, "repro", "--single-item", *(["--pull"] if pull else []), name], watch)
    return status


def push(names: list[str], log: Log) -> None:
    """Push these stages' outputs and their run cache to the remote.

    The first file that an unreachable remote does not accept ends it: DVC would try every other file for minutes each.
    """

    def watch(line: str) -> None:
        log(line)
        if line.startswith("ERROR: ") and commands.is_retryable_message(line):
            raise commands.Retryable(f"`dvc push` was ended at the first file that the remote did not accept:\n{line}")

    commands.run([*DVC, "push", "--run-cache", *names], watch)


def git(*arguments: str, **extra: str) -> str:
    """The output of a git command; `extra` are environment variables."""
    done = subprocess.run(["git", *arguments], env={**os.environ, **extra}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise commands.failure(["git", *arguments], done.returncode, done.stderr.splitlines())
    return done.stdout.strip()


def query(*command: str) -> str | None:
    """The output of a command, or None if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def published_commit() -> str:
    """The checked-out commit; `Failed` if source files differ from it or if `origin`, which workers clone, does not have it."""
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
        with FETCH_LOCK:
            commands.run(["git", "fetch", "--quiet", "origin"], lambda _: None)
        if not is_published(commit):
            raise commands.Failed(f"no branch of {origin} has commit {commit[:10]}, and workers clone that; push first")
    return commit


def is_published(commit: str) -> bool:
    """Whether a branch of `origin`, as of the last fetch, has the commit."""
    return bool(git("for-each-ref", "--contains", commit, "refs/remotes/origin"))
