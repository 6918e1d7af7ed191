"""Networks that were trained with different weights, compared on test people: means and spreads over seeds, and a verdict."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

FOUND, PARAMS = "found", "params.yaml"
MEANS, DIFFERENCES, RUNS = "weights", "weights_differences", "weights_runs"
CAPTIONS = {
    MEANS: "Networks on test people that were trained to the end with the weights that were found, with params.yaml's own, "
    "and with others; mean and standard deviation over seeds.",
    DIFFERENCES: "The weights that were found against each of the others: the difference of the means, positive where found "
    "ones are better, beside the spread, the pooled standard deviation over seeds. A difference within the spread is none.",
    RUNS: "Every one of these trainings.",
}

Columns = Mapping[str, tuple[str, str | None]]  # by title the metric


def runs_table(rows: Sequence[tuple[str, int, float, Mapping[str, float]]], columns: Columns) -> pd.DataFrame:
    """A row for each training: weights, seed, validation score and test metrics, NaN where a network has no such task."""
    return pd.DataFrame(
        {
            "weights": weights,
            "seed": seed,
            "validation score": score,
            **{title: metrics.get(metric, np.nan) for title, (metric, _) in columns.items()},
        }
        for weights, seed, score, metrics in rows
    )


def means(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each of the weights: how many seeds, and the mean and standard deviation of every number as text."""
    rows = []
    for weights, group in runs.groupby("weights", sort=False):
        numbers = {str(name): group[name].to_numpy(float) for name in group.columns if name not in ("weights", "seed")}
        rows.append({"weights": weights, "seeds": len(group), **{name: _mean(values) for name, values in numbers.items()}})
    return pd.DataFrame(rows)


def differences(runs: pd.DataFrame, titles: Collection[str], lower_is_better: Collection[str]) -> pd.DataFrame:
    """Found weights, or params.yaml's own where they are the best, against each of the others, column by column."""
    names = list(runs["weights"].unique())
    found = FOUND if FOUND in names else PARAMS
    rows = [
        _difference(runs, found, other, title, -1.0 if title in lower_is_better else 1.0)
        for other in names
        if other != found
        for title in titles
    ]
    return pd.DataFrame([row for row in rows if row])


def _difference(runs: pd.DataFrame, found: str, other: str, title: str, sign: float) -> dict[str, Any]:
    mine, theirs = (runs.loc[runs["weights"] == weights, title].dropna() for weights in (found, other))
    if mine.empty or theirs.empty:
        return {}
    difference = sign * (mine.mean() - theirs.mean())
    spread = np.sqrt((mine.var() + theirs.var()) / 2) if min(len(mine), len(theirs)) > 1 else np.nan
    if np.isnan(spread):
        verdict = "one seed says nothing"
    else:
        verdict = "within the spread" if abs(difference) <= spread else "better" if difference > 0 else "worse"
    return {"against": other, "measure": title, "difference": difference, "spread": spread, found: verdict}


def _mean(numbers: np.ndarray) -> str:
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return ""
    return f"{known.mean():.4g}" + (f" ± {known.std(ddof=1):.2g}" if len(known) > 1 else "")
