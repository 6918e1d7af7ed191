"""The output of `dvc repro`, read as it comes: which stage runs, what it printed, when it ended, and the state of its bar."""

import os
import re
import time
from collections.abc import Iterator
from queue import Empty, Queue
from threading import Thread
from typing import IO, NamedTuple

TICK_S = 0.5  # after which a reader without news is called nevertheless
BAR = re.compile(r"\[\d+:\d\d(:\d\d)?(<|,)|\d+%\|")  # a state of a progress bar of tqdm
RUNNING = re.compile(r"^Running stage '(?P<stage>[^']+)':$")
CACHED = re.compile(r"^Stage '(?P<stage>[^']+)' is cached - skipping run, checking out outputs$")
UNCHANGED = re.compile(r"^Stage '(?P<stage>[^']+)' didn't change, skipping$")
FAILED = re.compile(r"^(?:ERROR: failed to reproduce|WARNING: failed to reproduce|WARNING: failed to run: )")
LOCK_WRITTEN = re.compile(r"^(?:Generating|Updating) lock file '")


class Text(NamedTuple):
    """A line of the output, or the newest state of the bar in it (`is_bar`), or neither ("") after a while without news."""

    text: str
    is_bar: bool
    at_s: float


class Outcome(NamedTuple):
    """How a stage ended: what it printed, and the seconds it took, with those in which DVC hashed its outputs."""

    stage: str
    lines: list[str]
    seconds: float
    is_cached: bool
    has_failed: bool


class Reader:
    """Follows the lines of `dvc repro`: `line` says when a stage has ended; `stage` is the one under way."""

    def __init__(self) -> None:
        self.stage = ""
        self.lines: list[str] = []
        self.since_s = 0.0
        self.is_cached = False
        self.is_first = False  # whether no line has come of the stage

    def line(self, text: str, at_s: float) -> Outcome | None:
        """Take a line that came at this time; the outcome of the stage that it ends."""
        begun, ended = RUNNING.match(text) or CACHED.match(text), None
        if FAILED.match(text):
            ended = self._end(at_s, has_failed=True)
        elif begun or UNCHANGED.match(text) or LOCK_WRITTEN.match(text):
            ended = self._end(at_s)
        elif self.stage and not (self.is_first and text.startswith("> ")):  # the stage's command
            self.lines.append(text)
        self.is_first = begun is not None
        if begun:
            self.stage, self.since_s, self.is_cached = begun["stage"], at_s, bool(CACHED.match(text))
        return ended

    def _end(self, at_s: float, *, has_failed: bool = False) -> Outcome | None:
        if not self.stage:
            return None
        outcome = Outcome(self.stage, self.lines, at_s - self.since_s, self.is_cached, has_failed)
        self.stage, self.lines = "", []
        return outcome


def read(pipe: IO[bytes]) -> Iterator[Text]:
    """Lines and states of bars as they come, until the pipe is closed; without news an empty text every `TICK_S` seconds."""
    queue: Queue[tuple[bytes, float]] = Queue()
    Thread(target=_pump, args=(pipe, queue), daemon=True).start()
    incomplete, after_return = b"", False
    while True:
        try:
            chunk, at_s = queue.get(timeout=TICK_S)
        except Empty:
            yield Text("", False, time.monotonic())
            continue
        if not chunk:
            break
        *complete, incomplete = re.split(rb"(\r\n|\r|\n)", incomplete + chunk)
        for raw, end in zip(complete[::2], complete[1::2], strict=True):
            text = raw.decode(errors="replace").rstrip()
            is_bar = end == b"\r" or (after_return and bool(BAR.search(text)))
            after_return = end == b"\r"
            if text or end != b"\r":
                yield Text(text, is_bar, at_s)
        if after_return and BAR.search(state := incomplete.decode(errors="replace").rstrip()):
            yield Text(state, True, at_s)
    if incomplete.strip():
        yield Text(incomplete.decode(errors="replace").rstrip(), after_return, time.monotonic())


def _pump(pipe: IO[bytes], queue: "Queue[tuple[bytes, float]]") -> None:
    """Put what the pipe gives into the queue, with its time; nothing at the end."""
    while chunk := os.read(pipe.fileno(), 65536):
        queue.put((chunk, time.monotonic()))
    queue.put((b"", time.monotonic()))
