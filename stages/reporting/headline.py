"""The main figures of a system, as `evaluate` has chosen them, each held against its baseline."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from stages.reporting.tables import interval, number

KEYS = ("name", "title", "value", "low", "high", "baseline", "baseline_title", "unit", "better")
BETTER, SAME, WORSE, NONE = "better", "same", "worse", "none"


class Figure(NamedTuple):
    """One figure. With the unit "%" the numbers are shares, shown times 100; what is not known is None."""

    name: str
    title: str
    value: float
    low: float | None
    high: float | None
    baseline: float | None
    baseline_title: str | None
    unit: str
    better: str

    @property
    def shown(self) -> str:
        """The value with its unit."""
        return with_unit(self._text(self.value), self.unit)

    @property
    def shown_interval(self) -> str:
        """The interval, in the unit of the value; empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        return interval(self._scale * self.low, self._scale * self.high, self._places)

    @property
    def shown_baseline(self) -> str:
        """The baseline with its unit; empty where there is none."""
        return "" if self.baseline is None else with_unit(self._text(self.baseline), self.unit)

    @property
    def standing(self) -> str:
        """BETTER or WORSE than the baseline; SAME within the interval, NONE without a baseline."""
        if self.baseline is None:
            return NONE
        low, high = (self.value if bound is None else bound for bound in (self.low, self.high))
        if low <= self.baseline <= high:
            return SAME
        return BETTER if (self.baseline < low) == (self.better == "higher") else WORSE

    @property
    def verdict(self) -> str:
        """The standing in words."""
        if self.standing == NONE:
            return "no baseline"
        if self.standing == SAME:
            return "equal to the baseline" if self.low is None else "baseline within its interval"
        side = "above" if self.value > (self.baseline or 0.0) else "below"
        good = f": {self.standing}" if self.better == "lower" else ""
        return f"{side} the baseline{good}" + (" (no interval)" if self.low is None else "")

    @property
    def sentence(self) -> str:
        """Value, interval, baseline and verdict as a sentence without its full stop."""
        bounds = f" ({self.shown_interval})" if self.shown_interval else ""
        if self.baseline is None:
            return f"{self.title}: {self.shown}{bounds}"
        beside = f"{self.baseline_title or 'baseline'}: {self.shown_baseline}"
        return f"{self.title}: {self.shown}{bounds}, {self.verdict} ({beside})"

    @property
    def bar(self) -> Markup:
        """A drawing of value, interval and baseline on an axis from 0; the numbers stand beside it."""
        known = [abs(each) for each in (self.value, self.high, self.baseline) if each is not None]
        full = 1.0 if self.unit == "%" and max(known) <= 1 else 1.1 * max([*known, 1e-9])

        def at(each: float) -> float:
            return round(100 * min(max(each / full, 0.0), 1.0), 2)

        low, high = at(self.value if self.low is None else self.low), at(self.value if self.high is None else self.high)
        parts = [
            '<rect class="track" width="100" height="4" y="4" rx="0"/>',
            f'<rect class="range" x="{low}" width="{max(high - low, 0.5):.2f}" y="3" height="6"/>',
            f'<rect class="value" x="{max(at(self.value) - 0.75, 0):.2f}" width="1.5" y="0" height="12"/>',
        ]
        if self.baseline is not None:
            parts.append(f'<rect class="base" x="{max(at(self.baseline) - 0.4, 0):.2f}" width="0.8" y="0" height="12"/>')
        return Markup(
            f'<svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">{"".join(parts)}</svg>'
        )

    @property
    def _scale(self) -> float:
        return 100.0 if self.unit == "%" else 1.0

    @property
    def _places(self) -> int:
        if self.unit == "%":
            return 1
        return 1 if abs(self.value) >= 10 else 2 if abs(self.value) >= 1 else 3

    def _text(self, value: float) -> str:
        return number(self._scale * value, self._places)


def with_unit(text: str, unit: str) -> str:
    """A number and its unit, with a space that does not break."""
    return f"{text}\N{NO-BREAK SPACE}{unit}" if unit else text


def read(file: Path) -> list[Figure]:
    """The figures of a headline.json, the main one first."""
    if not file.is_file():
        raise ValueError(
            f"{file} is not there: the report needs the main figures that `evaluate` writes; run dvc repro evaluate"
        )
    return parse(json.loads(file.read_text()), str(file))


def parse(entries: Sequence[Any], where: str) -> list[Figure]:
    """The figures of a list of mappings with the keys `KEYS`; `where` is named in errors."""
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{where} must be a list of at least one figure, got {entries!r:.80}; run dvc repro evaluate")
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != set(KEYS):
            got = ", ".join(entry) if isinstance(entry, dict) else repr(entry)
            raise ValueError(f"a figure in {where} must have the keys {', '.join(KEYS)}, got {got}; run dvc repro evaluate")
        if not np.isfinite(entry["value"]) or entry["better"] not in ("higher", "lower"):
            raise ValueError(
                f"{entry['name']} in {where} must have a finite value and better: higher or lower, got {entry['value']} and "
                f"{entry['better']!r}; run dvc repro evaluate"
            )
    return [Figure(**entry) for entry in entries]
