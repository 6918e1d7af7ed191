"""The headline figures of each system on the terminal, as `evaluate` leaves them in data/metrics/<system>/headline.json."""

from pathlib import Path

from stages.reporting import headline
from stages.reporting.headline import Figure

METRICS = Path("data/metrics")


def first(system: str) -> Figure | None:
    """The main figure of a system; None before its evaluation."""
    file = METRICS / system / "headline.json"
    return headline.read(file)[0] if file.is_file() else None


def table(systems: list[str]) -> list[str]:
    """The main figure of every system that has one, below each other."""
    rows = [
        (system, figure.title, in_brackets(figure.shown, figure.shown_interval), baseline(figure))
        for system in systems
        if (figure := first(system))
    ]
    if not rows:
        return []
    rows = [("system", "figure", "value (interval)", "baseline"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def baseline(figure: Figure) -> str:
    """What another method reaches, and which one."""
    return in_brackets(figure.shown_baseline, figure.baseline_title or "") if figure.shown_baseline else "-"


def in_brackets(text: str, more: str) -> str:
    """A text, and more of it in brackets where there is more."""
    return f"{text} ({more})" if more else text
