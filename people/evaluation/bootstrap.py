"""What a protocol compares: probes with identities, sequences in pairs; and how sure a number about people is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from people.config import check_keys
from people.evaluation import metrics
from people.evaluation.results import Results


class Estimate(NamedTuple):
    """A number and its bootstrap interval over subjects."""

    value: float
    low: float
    high: float


def check_settings(where: str, settings: Mapping[str, Any]) -> None:
    """Refuse a block `bootstrap` of params.yaml that is not {resamples, confidence}."""
    check_keys(f"{where}.bootstrap", settings, {"resamples", "confidence"})


def estimate(statistic: Callable[..., float], *subjects: np.ndarray, **settings: Any) -> Estimate:
    """A statistic and its interval; for each array of `subjects` it takes how often the subject of each row counts.

    That is once for the number itself, and as often as the subject was drawn for the interval. `settings`: resamples,
    confidence and seed of the bootstrap.
    """
    names, codes = np.unique(np.concatenate(subjects), return_inverse=True)
    parts = np.split(codes, np.cumsum([len(part) for part in subjects])[:-1])
    low, high = metrics.bootstrap_interval(
        lambda drawn: statistic(*[drawn[part] for part in parts]),
        len(names),
        **settings,
    )
    return Estimate(statistic(*[np.ones(len(part)) for part in parts]), low, high)


class Hits(NamedTuple):
    """Of every probe: whose it is, and at which rank its own identity was found."""

    subjects: np.ndarray
    at_rank: Bool[np.ndarray, "probe identity"]

    def rank_1(self, weights: Float[np.ndarray, " probe"]) -> float:
        return float(np.average(self.at_rank[:, 0], weights=weights)) if weights.sum() else float("nan")


def mean_rank_1(parts: Sequence[Hits]) -> Callable[..., float]:
    """The mean over probe sets of the share of probes identified, as the paper averages."""
    return lambda *weights: float(np.mean([part.rank_1(weight) for part, weight in zip(parts, weights, strict=True)]))


def rank_curves(hits: dict[str, dict[str, Hits]], names: list[str]) -> pd.DataFrame:
    """Cumulative match over all probes of these sets, one column per method."""
    at_rank = {method: np.concatenate([by_set[name].at_rank for name in names]) for method, by_set in hits.items()}
    curves = {method: metrics.cumulative_match(found) for method, found in at_rank.items()}
    return pd.DataFrame({"rank": np.arange(1, len(next(iter(curves.values()))) + 1), **curves})


class Pairs(NamedTuple):
    """Pairs of a gallery and a probe sequence, best score first."""

    gallery: np.ndarray
    probe: np.ndarray
    score: Float[np.ndarray, " pair"]
    positive: Bool[np.ndarray, " pair"]

    @staticmethod
    def from_distances(gallery: np.ndarray, probe: np.ndarray, distance: Float[np.ndarray, "probe gallery"]) -> "Pairs":
        order = np.argsort(distance, axis=None, kind="stable")  # sorted once: every draw of the bootstrap sorts again
        of_probe, of_gallery = np.divmod(order, len(gallery))
        first, second = gallery[of_gallery], probe[of_probe]
        return Pairs(first, second, -distance.ravel()[order], first == second)

    def statistic(self, measure: Callable[..., float]) -> Callable[..., float]:
        """`measure` with each pair as often as its people were drawn: once per draw for one person, each with each for two."""
        return lambda gallery, probe: measure(self.score, self.positive, np.where(self.positive, gallery, gallery * probe))

    def roc(self, method: str) -> pd.DataFrame:
        false_rate, true_rate, _ = metrics.roc(self.score, self.positive)
        return thinned(pd.DataFrame({"method": method, "false_positive_rate": false_rate, "true_positive_rate": true_rate}))

    def recall(self, method: str) -> pd.DataFrame:
        precision, recall = metrics.precision_recall(self.score, self.positive)
        return thinned(pd.DataFrame({"method": method, "recall": recall, "precision": precision}))


def thinned(curve: pd.DataFrame, points: int = 400) -> pd.DataFrame:
    """At most so many points of a curve, evenly spaced, the first and the last among them."""
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, min(points, len(curve))).round().astype(int))]


def record(results: Results, name: str, found: Estimate, baselines: dict[str, float], **count: int) -> None:
    """Keep an estimate called `task.measure` as three numbers, with its baselines, and as a row of its task's intervals."""
    task, measure = name.split(".", 1)
    results.metrics.update({name: found.value, f"{name}.low": found.low, f"{name}.high": found.high})
    results.metrics.update({f"{task}.{baseline}": value for baseline, value in baselines.items()})
    row: dict[str, Any] = {"measure": measure, **found._asdict()}
    named = {
        ("baseline" if number == 0 else f"baseline_{number + 1}"): value for number, value in enumerate(baselines.values())
    }
    rows = pd.DataFrame([row | named | count])
    before = results.tables.get(f"{task}_intervals")
    results.tables[f"{task}_intervals"] = rows if before is None else pd.concat([before, rows], ignore_index=True)
