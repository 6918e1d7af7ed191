"""Headline figures: the few numbers of an evaluation that are shown first, each with its interval and its baseline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

MAX_FIGURES = 6


class Entry(TypedDict):
    """A headline figure as it is written. With the unit "%" numbers are fractions, which are shown times 100.

    `low` and `high` are the bootstrap interval; what there is not is None.
    """

    name: str
    title: str
    value: float
    low: float | None
    high: float | None
    baseline: float | None
    baseline_title: str | None
    unit: str
    better: str


@dataclass(frozen=True)
class Figure:
    """Which metric a headline figure shows, and which is its baseline.

    `name`: snake_case, unique in the system; `metric`, and `baseline` with its title where there is one: names of metrics.
    """

    name: str
    title: str
    metric: str
    baseline: str | None = None
    baseline_title: str | None = None
    unit: Literal["%", "years", ""] = "%"
    better: Literal["higher", "lower"] = "higher"

    def entry(self, metrics: Mapping[str, float]) -> Entry:
        """The figure with its numbers."""
        baseline = None if self.baseline is None else metrics[self.baseline]
        return {
            "name": self.name,
            "title": self.title,
            "value": metrics[self.metric],
            "low": metrics.get(f"{self.metric}.low"),
            "high": metrics.get(f"{self.metric}.high"),
            "baseline": baseline,
            "baseline_title": self.baseline_title,
            "unit": self.unit,
            "better": self.better,
        }


def entries(figures: Sequence[Figure], metrics: Mapping[str, float]) -> list[Entry]:
    """The first figures whose metric was measured, at most `MAX_FIGURES`: a task whose weight is 0 has no metric.

    Raises:
        ValueError: no metric of any figure was measured.
    """
    measured = [figure.entry(metrics) for figure in figures if figure.metric in metrics]
    if not measured:
        raise ValueError(
            f"expected one of the headline metrics {', '.join(figure.metric for figure in figures)}, got "
            f"{', '.join(sorted(metrics)) or 'no metrics'}: add a figure to the system's score/headline.py"
        )
    return measured[:MAX_FIGURES]


def sets(group: str, metrics: Mapping[str, float]) -> Iterator[str]:
    """The names of the probe sets of which there is a metric `<group>.<probe set>`, in the order of the evaluation."""
    names = (name.removeprefix(f"{group}.") for name in metrics if name.startswith(f"{group}."))
    return (name for name in names if not name.endswith((".low", ".high")))
