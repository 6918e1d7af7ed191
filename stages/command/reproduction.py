"""`dvc repro` as a child process: a line for each stage as it ends, the whole error of one that fails, and a clean end."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from stages.command import headlines
from stages.command.output import Outcome, Reader, Text, read
from stages.command.plan import dvc, environment
from stages.command.screen import Screen, duration, roughly

STOPPED_WITHIN_S = 30.0  # after Ctrl-C, before stages are killed
CORRECTED_AFTER_S = 30.0  # of stages as estimated, whose true time then corrects what is left
REPORTS = Path("data/report")


class Stopped(BaseException):
    """A signal asks this command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Reproduction:
    """A run of `dvc repro` with these arguments; `estimates`: the seconds that each stage is expected to take."""

    def __init__(self, arguments: Sequence[str], estimates: Mapping[str, float], screen: Screen, log: IO[str]) -> None:
        self.command, self.screen, self.log = dvc("repro", *arguments), screen, log
        self.estimates, self.left = estimates, dict(estimates)
        self.reader, self.bar, self.ended = Reader(), "", 0
        self.expected_s, self.taken_s = 0.0, 0.0  # of the stages that have run
        self.pages = pages()

    def run(self) -> int:
        """Run it to its end: DVC's exit code.

        Raises:
            Stopped: a signal came; the stages have ended.
        """
        drawn = {"PEOPLE_PROGRESS": "1", "COLUMNS": str(self.screen.bar_columns)} if self.screen.is_terminal else {}
        child = subprocess.Popen(
            self.command,
            env=environment(PEOPLE_DIE_WITH_PARENT="1", **drawn),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes here alone, and is passed on once
        )
        assert child.stdout is not None
        try:
            for text in read(child.stdout):
                self._take(text)
            code = child.wait()
            self._end_of_output(code)
            if pages() != self.pages:
                renew_front_page(self.screen)
            return code
        finally:
            self.screen.clear()
            stop(child)

    def _take(self, text: Text) -> None:
        if text.is_bar:
            self.bar = text.text
        elif text.text:
            self.log.write(f"{text.text}\n")
            self.log.flush()
            running = self.reader.stage
            if outcome := self.reader.line(text.text, text.at_s):
                self._ended(outcome)
                if outcome.has_failed:
                    self.screen.line(text.text)
            if outcome or self.reader.stage != running:
                self.bar = ""
            elif not self.reader.stage and text.text.startswith(("ERROR:", "WARNING:")):
                self.screen.line(text.text)
        if self.reader.stage:
            self._draw(text.at_s)

    def _ended(self, outcome: Outcome) -> None:
        self.ended += 1
        expected = self.left.pop(outcome.stage, 0.0)
        if not outcome.is_cached and not outcome.has_failed:
            self.expected_s += expected
            self.taken_s += outcome.seconds
        self.log.write(f"# {outcome.stage}: {outcome.seconds:.1f} s\n")
        for line in lines_of(outcome, self.count):
            self.screen.line(line)

    def _end_of_output(self, code: int) -> None:
        """Show what a stage had printed that DVC's process did not outlive."""
        if self.reader.stage:
            seconds = time.monotonic() - self.reader.since_s
            self._ended(Outcome(self.reader.stage, self.reader.lines, seconds, False, bool(code)))

    @property
    def count(self) -> str:
        """How many stages have ended, of those that were to run."""
        total = max(len(self.estimates), self.ended)
        return f"[{self.ended:>{len(str(total))}}/{total}]"

    def _draw(self, now_s: float) -> None:
        seconds = now_s - self.reader.since_s
        others = sum(left for stage, left in self.left.items() if stage != self.reader.stage)
        under_way = max(self.left.get(self.reader.stage, 0.0) - seconds, 0.0)
        slower = self.taken_s / self.expected_s if self.expected_s > CORRECTED_AFTER_S else 1.0
        prefix = f"{self.count} {roughly(slower * (others + under_way))} left"
        self.screen.show(prefix, self.bar or f"{self.reader.stage}  {duration(seconds)}")


def renew_front_page(screen: Screen) -> None:
    """Make the front page of all reports again, once more after the stages that ran, which do it themselves: of pages that came
    from DVC's cache no stage has run. A line says why where it could not be made.
    """
    command = [sys.executable, "-m", "stages.report", "--index"]
    made = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if made.returncode:
        last = ((made.stdout + made.stderr).strip().splitlines() or ["no message"])[-1]
        screen.line(f"warning: {REPORTS / 'index.html'} was not renewed: {last}")


def pages() -> dict[Path, tuple[int, int]]:
    """The report pages with the time and the size of each."""
    return {page: (page.stat().st_mtime_ns, page.stat().st_size) for page in sorted(REPORTS.glob("*/index.html"))}


def lines_of(outcome: Outcome, count: str) -> list[str]:
    """What is shown of a stage that has ended: its name, its time, what it made; all of its output where it failed."""
    if outcome.has_failed:
        return ["", *outcome.lines, "", f"{count} {outcome.stage}  failed after {duration(outcome.seconds)}"]
    key = outcome.stage.partition("@")[2]
    made = results(outcome.lines, key) or [line for line in outcome.lines if line.strip()][-1:]
    if outcome.stage.startswith("evaluate@") and (figure := headlines.first(key)):
        made = [*made, figure.sentence]
    taken = "from the cache" if outcome.is_cached else duration(outcome.seconds)
    first, *more = made or [""]
    head = f"{count} {outcome.stage:<22} {taken:>14}  "
    return [f"{head}{first}".rstrip(), *(" " * len(head) + line for line in more)]


def results(lines: Sequence[str], key: str) -> list[str]:
    """The lines that a stage says of itself: by its key, a path in data/ or `Warning:`, and indented ones after them."""
    kept: list[str] = []
    is_own = False
    for line in lines:
        is_own = line.lower().startswith((f"{key}: ", "data/", "warning: ")) or (is_own and line.startswith("  "))
        if is_own:
            kept.append(line.removeprefix(f"{key}: "))
    return kept


def stop(child: "subprocess.Popen[bytes]") -> None:
    """End DVC and its stages, if they still run: as Ctrl-C does, and by force if that is not enough or a signal comes again."""
    if child.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
    try:
        child.wait(timeout=STOPPED_WITHIN_S)
    except (subprocess.TimeoutExpired, Stopped):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def command_line(arguments: Sequence[str]) -> str:
    """The command that goes on where this one ended."""
    return shlex.join(["people", "run", *arguments])
