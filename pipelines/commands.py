"""Commands as child processes: their output line by line, their end with this process, and whether a failure is retryable."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

DIE_WITH_PARENT = "PEOPLE_DIE_WITH_PARENT"  # stages ask the system for the same: see stages/__init__.py
PROGRESS = "PEOPLE_PROGRESS"  # stages draw their bars, though not on a terminal: see stages/__init__.py
FLOW_RUN = "PEOPLE_FLOW_RUN"  # read by stages/registration/lineage.py
PROGRESS_INTERVAL_S = 15.0  # a progress bar redraws itself every second: too often for a log
MAX_MESSAGE_LINES = 40
SIGNAL_EXIT_CODES = (128 + signal.SIGKILL, 128 + signal.SIGTERM)  # of a shell, or of a stage that handles SIGTERM

LOCKED = r"Unable to acquire lock|is busy, it is being blocked by"
UNREACHABLE = (
    r"Connection (?:refused|reset|lost|closed|timed out)|Connect call failed|ConnectionLost|Could not connect to the endpoint"
    r"|Connect timeout on endpoint|Read timeout on endpoint|All connection attempts failed"
    r"|No route to host|Network is unreachable|Temporary failure in name resolution|Could not resolve host"
    r"|Host key exchange failed|timed out|TimeoutError|Could not read from remote repository|server closed the connection"
    r"|could not connect to server|Remote end closed connection|Max retries exceeded|Broken pipe"
)
KILLED = r"^ERROR: failed to reproduce .* exited with (?:-\d+|137|143)$"
DASK = r"the Dask scheduler \S+ was lost|none answered"  # stages/shared/executors.py

RETRYABLE = re.compile(f"{LOCKED}|{UNREACHABLE}", re.IGNORECASE)
TOOL_MESSAGE = re.compile(r"^(?:ERROR|WARNING|fatal|ssh|kex_exchange_identification): ")  # lines of DVC, git and ssh
EXCEPTION = re.compile(r"^(?P<type>[A-Za-z_][\w.]*(?:Error|Exception|Timeout|Lost|Failure))(?::|$)")  # ends a traceback
MISTAKE = re.compile(r"(?:^|\.)(?:Value|Type|Key|Index|Attribute|Name|Assertion|Import|Schema|Validation|FileNotFound)Errors?$")


class Failed(RuntimeError):
    """A command ended with an error that will be the same next time: bad data, bad parameters, a mistake in the code."""


class Retryable(Failed):
    """A command failed for a temporary reason: a lock, a remote that did not answer, a process that was killed."""


def run(command: Sequence[str], log: Callable[[str], object]) -> list[str]:
    """Run a command to its end and return its output's lines, each passed to `log` at once.

    The command dies when this process does, and is ended when waiting for it is interrupted, or when `log` raises. A failure
    is `Retryable` or `Failed`, with the last lines.
    """
    environment = {**os.environ, DIE_WITH_PARENT: "1", PROGRESS: "1", "PYTHONUNBUFFERED": "1", **flow_run()}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    child = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    try:
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        lines: list[str] = []
        for line in _lines(child, child.stdout):
            lines.append(line)
            log(line)
    finally:
        _terminate(child)
    if child.returncode:
        raise failure(command, child.returncode, lines)
    return lines


def flow_run() -> dict[str, str]:
    """The variable that tells a stage the id of the flow run that it is a part of, for its lineage; none outside of one."""
    runtime = getattr(sys.modules.get("prefect"), "runtime", None)
    run_id = runtime.flow_run.id if runtime is not None else None
    return {FLOW_RUN: str(run_id)} if run_id else {}


def failure(command: Sequence[str], code: int, lines: Sequence[str]) -> Failed:
    """The exception for a command's exit code and output."""
    last = list(deque(lines, MAX_MESSAGE_LINES))
    retryable = is_retryable(code, last)
    ending = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    advice = "trying again can help" if retryable else "trying again will not help; correct what it names"
    return (Retryable if retryable else Failed)("\n".join([f"`{' '.join(command)}` {ending} ({advice}):", *last]))


def is_retryable(code: int, lines: Sequence[str]) -> bool:
    """Whether a failure is retryable, by its exit code, a message of DVC, git or ssh, or the exception that ended a stage.

    Other output of a stage is ignored, and so is the text of an exception whose type means a mistake: bad data can contain
    words such as `timed out`.
    """
    if code < 0 or code in SIGNAL_EXIT_CODES or any(re.search(KILLED, line) for line in lines):
        return True
    if any(is_retryable_message(line) for line in lines):
        return True
    exception = next((line for line in reversed(lines) if EXCEPTION.match(line)), "")
    is_mistake = MISTAKE.search(_exception_type(exception))
    return bool(re.search(DASK, exception) or (RETRYABLE.search(exception) and not is_mistake))


def is_retryable_message(line: str) -> bool:
    """Whether the line is a message of DVC, git or ssh that something is locked or cannot be reached."""
    return bool(TOOL_MESSAGE.match(line) and RETRYABLE.search(line))


def _exception_type(line: str) -> str:
    match = EXCEPTION.match(line)
    return match["type"] if match else ""


def _lines(child: subprocess.Popen[bytes], pipe: IO[bytes]) -> Iterator[str]:
    """Lines as they are completed; of a progress bar, whose states end in carriage returns, one state per interval."""
    incomplete, newest_bar_s = b"", -PROGRESS_INTERVAL_S
    while True:
        ended = child.poll() is not None
        chunk = pipe.read() or b""
        if not chunk:
            if ended:
                break
            time.sleep(0.05)
            continue
        *complete, incomplete = re.split(rb"(?<=[\r\n])", incomplete + chunk)
        for raw in complete:
            text = raw.decode(errors="replace")
            line = text.rstrip()
            if text.endswith("\r"):
                if time.monotonic() - newest_bar_s < PROGRESS_INTERVAL_S:
                    continue
                newest_bar_s = time.monotonic()
            if line:
                yield line
    if incomplete.strip():
        yield incomplete.decode(errors="replace").rstrip()


def _terminate(child: subprocess.Popen[bytes]) -> None:
    """End the command and its children: the stage started by dvc ends with dvc."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stdout:
        child.stdout.close()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
