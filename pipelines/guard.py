"""Waits until standard input is closed, then ends every process that has a given mark in its environment.

python -m pipelines.guard MARK [FILE to remove ...]

`make serve` holds the other end of the pipe: it closes however that process ends. A signal on the parent's death would reach
direct children only, and a Prefect worker that gets one waits for its runs, which are in sessions of their own. All of
them inherit the environment.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "PEOPLE_GUARD_MARK"
GRACE_S = 10.0


def main() -> None:
    mark, *files = sys.argv[1:]
    sys.stdin.buffer.read()
    terminate_marked(mark)
    for file in files:
        Path(file).unlink(missing_ok=True)


def terminate_marked(mark: str) -> None:
    """End every process with this mark: SIGTERM first, SIGKILL after `GRACE_S` seconds."""
    terminated: set[psutil.Process] = set()
    deadline = time.monotonic() + GRACE_S
    while remaining := marked_processes(mark):
        expired = time.monotonic() > deadline
        for process in remaining if expired else set(remaining) - terminated:
            with suppress(psutil.NoSuchProcess):
                process.kill() if expired else process.terminate()
        terminated.update(remaining)
        time.sleep(0.1)


def marked_processes(mark: str) -> list[psutil.Process]:
    """The running processes of this user whose environment has the mark."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended just now, or is another user's
    return processes


if __name__ == "__main__":
    main()
