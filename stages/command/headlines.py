"""The headline figures of each system, as `evaluate` leaves them in data/metrics/<system>/headline.json."""

import json
from pathlib import Path
from typing import Any

METRICS = Path("data/metrics")


def first(system: str) -> dict[str, Any] | None:
    """The main figure of a system; None before its evaluation."""
    file = METRICS / system / "headline.json"
    entries = json.loads(file.read_text()) if file.is_file() else []
    return entries[0] if entries else None


def sentence(entry: dict[str, Any]) -> str:
    """A figure on a line: title, value, interval, baseline."""
    baseline = in_words(entry, "baseline")
    compared = f"; {entry['baseline_title']}: {baseline}" if baseline and entry["baseline_title"] else ""
    return f"{entry['title']}: {in_words(entry, 'value')}{interval(entry)}{compared}"


def table(systems: list[str]) -> list[str]:
    """The main figure of every system that has one, below each other."""
    entries = [(system, entry) for system in systems if (entry := first(system))]
    rows = [("system", "figure", "value [interval]", "baseline")]
    rows += [(system, entry["title"], in_words(entry, "value") + interval(entry), baseline(entry)) for system, entry in entries]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return lines if entries else []


def baseline(entry: dict[str, Any]) -> str:
    """What another method reaches, and which one."""
    value = in_words(entry, "baseline")
    return f"{value} ({entry['baseline_title']})" if value and entry["baseline_title"] else value or "-"


def interval(entry: dict[str, Any]) -> str:
    """The bootstrap interval in brackets, where there is one."""
    low, high = (number(entry, name) for name in ("low", "high"))
    return f" [{low}, {high}]" if low and high else ""


def in_words(entry: dict[str, Any], name: str) -> str:
    """A value with its unit; nothing where there is none."""
    text = number(entry, name)
    return f"{text} {entry['unit']}".rstrip() if text else ""


def number(entry: dict[str, Any], name: str) -> str:
    """A value without its unit; fractions whose unit is % are shown times 100."""
    value = entry.get(name)
    if value is None:
        return ""
    return f"{100 * value:.1f}" if entry["unit"] == "%" else f"{value:.3g}"
