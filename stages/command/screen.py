"""What a run shows: a line for each stage as it ends and, on a terminal, below them what is under way and the time left."""

import shutil
import sys
from typing import TextIO

PREFIX_COLUMNS = 28  # before a stage's own bar: how many stages are done, and the time left
DAYS_S = 48 * 3600.0
CLEAR = "\r\033[K"


class Screen:
    """Lines on standard output; below them, where standard error is a terminal, one line that is drawn over."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty()
        self.status = ""

    @property
    def bar_columns(self) -> int:
        """The columns that a stage's own bar has."""
        return max(shutil.get_terminal_size().columns - PREFIX_COLUMNS, 30)

    def line(self, text: str, stream: TextIO | None = None) -> None:
        """A line that stays."""
        self.clear()
        print(text, file=stream or sys.stdout, flush=True)

    def show(self, prefix: str, state: str) -> None:
        """Draw what is under way; nothing where there is no terminal."""
        text = f"{prefix:<{PREFIX_COLUMNS - 1}} {state}"[: shutil.get_terminal_size().columns - 1]
        if self.is_terminal and text != self.status:
            self.status = text
            sys.stderr.write(f"{CLEAR}{text}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove what is drawn."""
        if self.status:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()
            self.status = ""


def duration(seconds: float) -> str:
    """Seconds as they are said: 14 s, 2 min 05 s, 1 h 20 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def roughly(seconds: float) -> str:
    """An estimate in words that claim no more than it knows: about 40 s, about 12 minutes, about 3 hours."""
    if seconds > DAYS_S:
        return "days: sizes that are meant for a GPU or many machines"
    if seconds < 90:
        return f"about {max(10, 10 * round(seconds / 10))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} minutes"
    return f"about {round(seconds / 3600)} hours"
