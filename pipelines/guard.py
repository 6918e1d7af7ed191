"""Ends every process that carries a mark in its environment, as soon as whoever holds the other end of standard input is gone.

python -m pipelines.guard MARK [FILE to remove ...]

A signal on the parent's death reaches direct children only, and a worker answers it by waiting for its runs, which live in
sessions of their own. The environment is inherited by all of them, and this process outlives the one that it guards.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "PEOPLE_SERVED_BY"
GRACE_S = 10.0


def main() -> None:
    mark, *files = sys.argv[1:]
    sys.stdin.buffer.read()
    sweep(mark)
    for file in files:
        Path(file).unlink(missing_ok=True)


def sweep(mark: str) -> None:
    """No process with this mark is left: each is asked to end, and killed after `GRACE_S` seconds."""
    asked: set[psutil.Process] = set()
    deadline = time.monotonic() + GRACE_S
    while left := marked(mark):
        late = time.monotonic() > deadline
        for process in left if late else set(left) - asked:
            with suppress(psutil.NoSuchProcess):
                process.kill() if late else process.terminate()
        asked.update(left)
        time.sleep(0.1)


def marked(mark: str) -> list[psutil.Process]:
    """The living processes of this user whose environment carries the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended just now, or is another user's
    return found


if __name__ == "__main__":
    main()
