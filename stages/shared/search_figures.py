"""Figures of a finished search, from its tables: history, importance, slices, a contour of two weights, the Pareto front."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COMPLETE, PRUNED = "complete", "pruned"
# of the colour-blind-safe set of Okabe and Ito
COLOURS = {COMPLETE: "#0072B2", PRUNED: "#999999", "named": "#E69F00", "chosen": "#D55E00"}
MIN_CONTOUR = 8  # trials with both numbers, for a surface between them


def searched(trials: pd.DataFrame) -> list[str]:
    """The searched numbers among the columns of trials.csv: those with a dot, and the others between two known columns."""
    names = list(trials.columns)
    return names[names.index("weighting") + 1 : names.index("epochs")]


def objectives(trials: pd.DataFrame) -> list[str]:
    """The objectives among the columns of trials.csv."""
    names = list(trials.columns)
    return names[names.index("epochs") + 1 : names.index("merit")]


def figures(trials: pd.DataFrame, importance: pd.DataFrame) -> dict[str, Figure]:
    """Each figure by its caption; those for which there are too few trials are left out."""
    found = {"Merit of each trial, and the best so far. Orange: weights with a name; grey: pruned.": history(trials)}
    if len(importance):
        found["Importance: how much each number decides of the merit (PED-ANOVA over complete trials)."] = bars(importance)
    if keys := [key for key in searched(trials) if np.count_nonzero(trials[key].notna()) > 1]:
        found["Slices: the merit over each searched number."] = slices(trials, keys)
    ranked = [key for key in importance["parameter"] if key in trials] if len(importance) else []
    if len(ranked) > 1 and (surface := contour(trials, ranked[0], ranked[1])):
        found["The merit over the two most important numbers, between complete trials."] = surface
    if len(objectives(trials)) > 1:
        found["Pareto front: trials that no other surpasses in all objectives (ringed); the chosen one (star)."] = front(trials)
    return found


def history(trials: pd.DataFrame) -> Figure:
    """The merit of each trial by its number, and the highest so far."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    points(axes, trials, "number", "merit")
    is_complete = (trials["state"] == COMPLETE).to_numpy()
    number, merit = (trials[name].to_numpy(float) for name in ("number", "merit"))
    best = np.maximum.accumulate(merit[is_complete])
    axes.step(number[is_complete], best, where="post", color=COLOURS[COMPLETE], lw=1)
    for name, x, y in zip(trials["weights"].fillna(""), number, merit, strict=True):
        if name:
            axes.annotate(str(name), (x, y), fontsize=7, xytext=(3, 3), textcoords="offset points")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel="merit")
    return figure


def bars(importance: pd.DataFrame) -> Figure:
    """One bar for each parameter, the most important at the top."""
    figure = Figure(figsize=(8, 0.8 + 0.35 * len(importance)), layout="constrained")
    axes = figure.subplots()
    shown = importance.iloc[::-1]
    axes.barh(shown["parameter"], shown["importance"], color=COLOURS[COMPLETE])
    axes.set(xlabel="share of what the searched numbers decide", xlim=(0, 1))
    return figure


def slices(trials: pd.DataFrame, keys: Sequence[str]) -> Figure:
    """The merit over each number, on a logarithmic axis."""
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, key in zip(grid.flat, keys, strict=False):
        points(axes, trials, key, "merit")
        axes.set(xlabel=key, xscale="log")
    for axes in list(grid.flat)[len(keys) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set(ylabel="merit")
    return figure


def contour(trials: pd.DataFrame, first: str, second: str) -> Figure | None:
    """The merit between complete trials over two numbers, on logarithmic axes; nothing where they are too few or on a line."""
    known = trials[(trials["state"] == COMPLETE) & trials[first].notna() & trials[second].notna()]
    points_xy = np.log10(np.asarray(known[[first, second]], float))
    if len(known) < MIN_CONTOUR or np.linalg.matrix_rank(points_xy - points_xy.mean(0)) < 2:
        return None
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    axes = figure.subplots()
    surface = axes.tricontourf(points_xy[:, 0], points_xy[:, 1], np.asarray(known["merit"], float), levels=12, cmap="viridis")
    axes.plot(points_xy[:, 0], points_xy[:, 1], "o", ms=3, color="white", mec="black", mew=0.5)
    figure.colorbar(surface, label="merit")
    axes.set(xlabel=f"log10 {first}", ylabel=f"log10 {second}")
    return figure


def front(trials: pd.DataFrame) -> Figure:
    """Every pair of objectives: complete trials, those of the front ringed."""
    pairs = list(combinations(objectives(trials), 2))
    figure = Figure(figsize=(3.6 * len(pairs), 3.2), layout="constrained")
    for axes, (x, y) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        points(axes, trials, x, y)
        ringed = trials[trials["front"].astype(bool)]
        axes.plot(ringed[x], ringed[y], "o", ms=9, mfc="none", mec="black", mew=0.8)
        axes.set(xlabel=f"validation error of {x}", ylabel=f"validation error of {y}")
    return figure


def points(axes: Axes, trials: pd.DataFrame, x: Any, y: Any) -> None:
    """The trials as points, coloured by what they are; the chosen one as a star."""
    named = trials["weights"].fillna("") != ""
    for name, chosen in (
        (PRUNED, trials["state"] == PRUNED),
        (COMPLETE, (trials["state"] == COMPLETE) & ~named),
        ("named", named),
    ):
        rows = trials[chosen]
        axes.plot(rows[x], rows[y], "o", ms=4, color=COLOURS[name])
    best = trials[trials["chosen"].astype(bool)]
    axes.plot(best[x], best[y], "*", ms=12, color=COLOURS["chosen"], mec="black", mew=0.5)
