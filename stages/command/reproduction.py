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
from queue import Queue
from threading import Thread
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


class Chain:
    """One `dvc repro` with these arguments; `estimates`: the seconds that each of its stages is expected to take.

    `after`: the chains that must have ended well before it.
    """

    def __init__(self, arguments: Sequence[str], estimates: Mapping[str, float], after: Sequence["Chain"] = ()) -> None:
        self.arguments, self.left, self.after = list(arguments), dict(estimates), after
        self.code: int | None = None  # of a process that has ended
        self.reader, self.bar = Reader(), ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, variables: Mapping[str, str], texts: "Queue[tuple[Chain, Text | None]]") -> None:
        """Start it; what it prints comes into `texts`, with None at its end. Another one may hold DVC's lock for a moment."""
        self.process = subprocess.Popen(
            dvc("--wait-for-lock", "repro", *self.arguments),
            env=environment(PEOPLE_DIE_WITH_PARENT="1", **variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes here alone, and is passed on once
        )
        Thread(target=self._follow, args=(self.process.stdout, texts), daemon=True).start()

    def _follow(self, printed: IO[bytes], texts: "Queue[tuple[Chain, Text | None]]") -> None:
        for text in read(printed):
            texts.put((self, text))
        texts.put((self, None))

    def left_s(self, now_s: float | None = None) -> float:
        """The seconds that its stages are expected to take yet."""
        running = self.left.get(self.reader.stage, 0.0)
        passed = now_s - self.reader.since_s if now_s is not None and running else 0.0
        return sum(self.left.values()) - min(running, passed)

    def latest_s(self, now_s: float | None = None) -> float:
        """The seconds after which it has ended at the earliest: its own, after those of the chain that it waits longest for."""
        return self.left_s(now_s) + max((chain.latest_s(now_s) for chain in self.after), default=0.0)

    def state(self, now_s: float) -> str:
        """What is under way: the bar of the stage, or its name and how long it has run."""
        return self.bar or f"{self.reader.stage}  {duration(now_s - self.reader.since_s)}"


class Reproduction:
    """A run of these `dvc repro`, at most `jobs` at a time, as `in_order` has them; `variables`: of their environment."""

    def __init__(
        self, chains: Sequence[Chain], jobs: int, screen: Screen, log: IO[str], variables: Mapping[str, str] | None = None
    ) -> None:
        self.chains, self.jobs, self.screen, self.log = chains, jobs, screen, log
        drawn = {"PEOPLE_PROGRESS": "1", "COLUMNS": str(screen.bar_columns)} if screen.is_terminal else {}
        self.variables = {**(variables or {}), **drawn}
        self.total, self.ended = sum(len(chain.left) for chain in chains), 0
        self.expected_s, self.taken_s = 0.0, 0.0  # of the stages that have run
        self.pages = pages()

    def run(self) -> int:
        """Run it to its end: DVC's exit code, of the first that failed if several run.

        Raises:
            Stopped: a signal came; the stages have ended.
        """
        texts: Queue[tuple[Chain, Text | None]] = Queue()
        order = in_order(self.chains)
        running = 0
        try:
            while True:
                ready = [chain for chain in order if chain.process is None and all(one.code == 0 for one in chain.after)]
                for chain in ready[: self.jobs - running]:
                    chain.start(self.variables, texts)
                    running += 1
                if not running:
                    break
                chain, text = texts.get()
                if text is not None:
                    self._take(chain, text)
                    continue
                assert chain.process is not None
                chain.code = chain.process.wait()
                running -= 1
                self._end_of_output(chain, chain.code)
            if pages() != self.pages:
                renew_front_page(self.screen)
            return next((chain.code for chain in self.chains if chain.code), 0)
        finally:
            self.screen.clear()
            stop([chain.process for chain in self.chains if chain.process is not None])

    def _take(self, chain: Chain, text: Text) -> None:
        if text.is_bar:
            chain.bar = text.text
        elif text.text:
            running = chain.reader.stage
            outcome = chain.reader.line(text.text, text.at_s)
            name = chain.reader.stage or running
            self.log.write(f"{name}: {text.text}\n" if len(self.chains) > 1 and name else f"{text.text}\n")
            self.log.flush()
            if outcome:
                self._ended(chain, outcome)
                if outcome.has_failed:
                    self.screen.line(text.text)
            if outcome or chain.reader.stage != running:
                chain.bar = ""
            elif not chain.reader.stage and text.text.startswith(("ERROR:", "WARNING:")):
                self.screen.line(text.text)
        if chain.reader.stage:
            self._draw(text.at_s)

    def _ended(self, chain: Chain, outcome: Outcome) -> None:
        self.ended += 1
        expected = chain.left.pop(outcome.stage, 0.0)
        if not outcome.is_cached and not outcome.has_failed:
            self.expected_s += expected
            self.taken_s += outcome.seconds
        self.log.write(f"# {outcome.stage}: {outcome.seconds:.1f} s\n")
        for line in lines_of(outcome, self.count):
            self.screen.line(line)

    def _end_of_output(self, chain: Chain, code: int) -> None:
        """Show what a stage had printed that DVC's process did not outlive."""
        if chain.reader.stage:
            seconds = time.monotonic() - chain.reader.since_s
            self._ended(chain, Outcome(chain.reader.stage, chain.reader.lines, seconds, False, bool(code)))
            chain.reader = Reader()

    @property
    def count(self) -> str:
        """How many stages have ended, of those that were to run."""
        total = max(self.total, self.ended)
        return f"[{self.ended:>{len(str(total))}}/{total}]"

    def _draw(self, now_s: float) -> None:
        slower = self.taken_s / self.expected_s if self.expected_s > CORRECTED_AFTER_S else 1.0
        left_s = slower * side_by_side_s(self.chains, self.jobs, now_s)
        running = [chain for chain in self.chains if chain.reader.stage]
        state = running[0].state(now_s) if len(running) == 1 else ", ".join(chain.reader.stage for chain in running)
        self.screen.show(f"{self.count} {roughly(left_s)} left", state)


def side_by_side_s(chains: Sequence[Chain], jobs: int, now_s: float | None = None) -> float:
    """About how long these take, so many at a time: no shorter than those that wait for each other, nor than a share of all."""
    return max([sum(chain.left_s(now_s) for chain in chains) / jobs, *(chain.latest_s(now_s) for chain in chains)])


def in_order(chains: Sequence[Chain]) -> list[Chain]:
    """The chains as they begin if they can: those of the end that is reached with the least work, so that there is something to
    look at soon; then those first for which most waits.
    """
    needed: dict[Chain, set[Chain]] = {}
    for chain in chains:
        needed[chain] = {chain}.union(*(needed[before] for before in chain.after))
    ends = set(chains).difference(*(chain.after for chain in chains))
    work_s = {end: sum(chain.left_s() for chain in needed[end]) for end in chains if end in ends}
    first = needed[min(work_s, key=work_s.__getitem__)] if work_s else set()
    urgency = urgencies(chains)
    return sorted(chains, key=lambda chain: (chain not in first, -urgency[chain]))


def urgencies(chains: Sequence[Chain]) -> dict[Chain, float]:
    """The seconds from the start of each chain to the end of what waits for it; `after` of a chain stand before it."""
    urgency = {chain: sum(chain.left.values()) for chain in chains}
    for chain in reversed(chains):
        for before in chain.after:
            urgency[before] = max(urgency[before], sum(before.left.values()) + urgency[chain])
    return urgency


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
        is_own = line.startswith((f"{key}: ", "data/", "Warning: ", "warning: ")) or (is_own and line.startswith("  "))
        if is_own:
            kept.append(line.removeprefix(f"{key}: "))
    return kept


def stop(children: Sequence["subprocess.Popen[bytes]"]) -> None:
    """End each DVC and its stages, if they still run: as Ctrl-C does, by force if that does not do or a signal comes again."""
    running = [child for child in children if child.poll() is None]
    for child in running:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)
    end_s = time.monotonic() + STOPPED_WITHIN_S
    for child in running:
        try:
            child.wait(timeout=max(end_s - time.monotonic(), 0.0))
        except (subprocess.TimeoutExpired, Stopped):
            end_s = 0.0
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def command_line(arguments: Sequence[str], jobs: str = "1") -> str:
    """The command that goes on where this one ended."""
    return shlex.join(["people", "run", *(["--jobs", jobs] if jobs != "1" else []), *arguments])
