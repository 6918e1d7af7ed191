"""Commands as child processes: their output line by line, their end with ours, and whether their failure can pass."""

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
SECONDS_BETWEEN_BARS = 15.0  # a progress bar redraws itself every second, which nobody reads in a log
LINES_KEPT = 40
ENDED_BY_SIGNAL = (128 + signal.SIGKILL, 128 + signal.SIGTERM)  # as a shell, or a stage that tidies up, says it

LOCKED = r"Unable to acquire lock|is busy, it is being blocked by"
UNREACHABLE = (
    r"Connection (?:refused|reset|lost|closed|timed out)|Connect call failed|ConnectionLost|Could not connect to the endpoint"
    r"|Connect timeout on endpoint|Read timeout on endpoint|All connection attempts failed"
    r"|No route to host|Network is unreachable|Temporary failure in name resolution|Could not resolve host"
    r"|Host key exchange failed|timed out|TimeoutError|Could not read from remote repository|server closed the connection"
    r"|could not connect to server|Remote end closed connection|Max retries exceeded|Broken pipe"
)
KILLED = r"^ERROR: failed to reproduce .* exited with (?:-\d+|137|143)$"
DASK = r"the Dask scheduler \S+ was lost|none answered"  # stages/executors.py

PASSING = re.compile(f"{LOCKED}|{UNREACHABLE}", re.IGNORECASE)
TOOL = re.compile(r"^(?:ERROR|WARNING|fatal|ssh|kex_exchange_identification): ")  # lines of DVC, git and ssh
RAISED = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*(?:Error|Exception|Timeout|Lost|Failure))(?::|$)")  # where a traceback ends
MISTAKE = re.compile(r"(?:^|\.)(?:Value|Type|Key|Index|Attribute|Name|Assertion|Import|Schema|Validation|FileNotFound)Errors?$")


class Failed(RuntimeError):
    """A command ended with an error that will be the same next time: bad data, bad parameters, a mistake in the code."""


class Passing(Failed):
    """A command failed over something that can pass: a lock, a remote that did not answer, a process that was killed."""


def run(command: Sequence[str], log: Callable[[str], object]) -> list[str]:
    """Run a command to its end and give its output's lines, each passed to `log` as it comes.

    The command dies when this process does, and is ended when waiting for it is interrupted, or when `log` raises. A failure
    is `Passing` or `Failed`, with the last lines.
    """
    environment = {**os.environ, DIE_WITH_PARENT: "1", "PYTHONUNBUFFERED": "1"}
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
        _end(child)
    if child.returncode:
        raise failure(command, child.returncode, lines)
    return lines


def failure(command: Sequence[str], code: int, lines: Sequence[str]) -> Failed:
    """What a command's exit code and output mean."""
    last = list(deque(lines, LINES_KEPT))
    passing = can_pass(code, last)
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    advice = "trying again can help" if passing else "trying again will not help; correct what it names"
    return (Passing if passing else Failed)("\n".join([f"`{' '.join(command)}` {how} ({advice}):", *last]))


def can_pass(code: int, lines: Sequence[str]) -> bool:
    """Whether a failure can pass: the process was killed, or a tool, or the exception that ended a stage, says so.

    What else a stage prints is not looked at, nor the text of an exception that is a mistake by its kind: bad data may well
    be called `timed out`.
    """
    if code < 0 or code in ENDED_BY_SIGNAL or any(re.search(KILLED, line) for line in lines):
        return True
    if any(is_passing(line) for line in lines):
        return True
    raised = next((line for line in reversed(lines) if RAISED.match(line)), "")
    return bool(re.search(DASK, raised)) or bool(PASSING.search(raised) and not MISTAKE.search(_kind(raised)))


def is_passing(line: str) -> bool:
    """Whether DVC, git or ssh says here that something is locked or cannot be reached."""
    return bool(TOOL.match(line) and PASSING.search(line))


def _kind(raised: str) -> str:
    found = RAISED.match(raised)
    return found["kind"] if found else ""


def _lines(child: subprocess.Popen[bytes], pipe: IO[bytes]) -> Iterator[str]:
    """Lines as they are completed; of a progress bar, which ends its states in carriage returns, one state now and then."""
    rest, newest_bar_s = b"", -SECONDS_BETWEEN_BARS
    while True:
        ended = child.poll() is not None
        chunk = pipe.read() or b""
        if not chunk:
            if ended:
                break
            time.sleep(0.05)
            continue
        *whole, rest = re.split(rb"(?<=[\r\n])", rest + chunk)
        for piece in whole:
            text = piece.decode(errors="replace")
            line = text.rstrip()
            if text.endswith("\r"):
                if time.monotonic() - newest_bar_s < SECONDS_BETWEEN_BARS:
                    continue
                newest_bar_s = time.monotonic()
            if line:
                yield line
    if rest.strip():
        yield rest.decode(errors="replace").rstrip()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the command and what it started: the stage below dvc dies with dvc."""
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
