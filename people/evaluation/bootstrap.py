"""Bootstrap confidence intervals over subjects, for rank-1 accuracy of probes and for measures over verification pairs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from people.config import check_keys
from people.evaluation import finite, metrics
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
    array_codes = np.split(codes, np.cumsum([len(array) for array in subjects])[:-1])
    low, high = metrics.bootstrap_interval(
        lambda counts: statistic(*[counts[rows] for rows in array_codes]),
        len(names),
        **settings,
    )
    return Estimate(statistic(*[np.ones(len(rows)) for rows in array_codes]), low, high)


class Hits(NamedTuple):
    """The subject of every probe, and whether the identity at each rank is the probe's own."""

    subjects: np.ndarray
    at_rank: Bool[np.ndarray, "probe identity"]

    def rank_1(self, weights: Float[np.ndarray, " probe"]) -> float:
        """Weighted share of probes identified at rank 1; NaN if all weights are 0."""
        return float(np.average(self.at_rank[:, 0], weights=weights)) if weights.sum() else float("nan")


def mean_rank_1(probe_sets: Sequence[Hits]) -> Callable[..., float]:
    """The mean over probe sets of the share of probes identified, as the paper averages."""
    return lambda *weights: float(np.mean([hits.rank_1(weight) for hits, weight in zip(probe_sets, weights, strict=True)]))


def rank_curves(hits: dict[str, dict[str, Hits]], names: list[str]) -> pd.DataFrame:
    """Cumulative match over all probes of these sets, one column per method."""
    at_rank = {method: np.concatenate([by_set[name].at_rank for name in names]) for method, by_set in hits.items()}
    curves = {method: metrics.cumulative_match(is_hit) for method, is_hit in at_rank.items()}
    return pd.DataFrame({"rank": np.arange(1, len(next(iter(curves.values()))) + 1), **curves})


class Pairs(NamedTuple):
    """The subjects of pairs of a gallery and a probe sequence, best score first; positive where they are the same."""

    gallery: np.ndarray
    probe: np.ndarray
    score: Float[np.ndarray, " pair"]
    positive: Bool[np.ndarray, " pair"]

    @staticmethod
    def from_distances(gallery: np.ndarray, probe: np.ndarray, distance: Float[np.ndarray, "probe gallery"]) -> "Pairs":
        """Every probe with every gallery sequence; the score is the negative distance."""
        finite.check("the distances of probes", distance)
        order = np.argsort(distance, axis=None, kind="stable")  # sorted once: every draw of the bootstrap sorts again
        probe_rows, gallery_rows = np.divmod(order, len(gallery))
        gallery_subject, probe_subject = gallery[gallery_rows], probe[probe_rows]
        return Pairs(gallery_subject, probe_subject, -distance.ravel()[order], gallery_subject == probe_subject)

    def statistic(self, measure: Callable[..., float]) -> Callable[..., float]:
        """`measure` with pair weights: a positive pair counts as often as its subject, a negative one the product of both."""
        return lambda gallery, probe: measure(self.score, self.positive, np.where(self.positive, gallery, gallery * probe))

    def roc(self, method: str) -> pd.DataFrame:
        """The ROC curve, with the method's name in every row."""
        false_rate, true_rate, _ = metrics.roc(self.score, self.positive)
        return downsample(pd.DataFrame({"method": method, "false_positive_rate": false_rate, "true_positive_rate": true_rate}))

    def precision_recall(self, method: str) -> pd.DataFrame:
        """The precision-recall curve, with the method's name in every row."""
        precision, recall = metrics.precision_recall(self.score, self.positive)
        return downsample(pd.DataFrame({"method": method, "recall": recall, "precision": precision}))


def downsample(curve: pd.DataFrame, points: int = 400) -> pd.DataFrame:
    """At most so many points of a curve, evenly spaced, the first and the last among them."""
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, min(points, len(curve))).round().astype(int))]


def record(results: Results, name: str, estimated: Estimate, baselines: dict[str, float], **count: int) -> None:
    """Keep an estimate called `task.measure` as three numbers, with its baselines, and as a row of its task's intervals."""
    task, measure = name.split(".", 1)
    results.metrics.update({name: estimated.value, f"{name}.low": estimated.low, f"{name}.high": estimated.high})
    results.metrics.update({f"{task}.{baseline}": value for baseline, value in baselines.items()})
    row: dict[str, Any] = {"measure": measure, **estimated._asdict()}
    baseline_columns = {
        ("baseline" if number == 0 else f"baseline_{number + 1}"): value for number, value in enumerate(baselines.values())
    }
    new_rows = pd.DataFrame([row | baseline_columns | count])
    table = results.tables.get(f"{task}_intervals")
    results.tables[f"{task}_intervals"] = new_rows if table is None else pd.concat([table, new_rows], ignore_index=True)
