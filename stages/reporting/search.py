"""The section of the search: what was found, how it is taken over, and figures of its trials."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation
from ruamel.yaml import YAML

from stages.reporting import svg, titles
from stages.reporting.svg import HEIGHT_IN, WIDTH_IN, colour_of

COMPLETE, PRUNED = "complete", "pruned"
KINDS = {PRUNED: svg.FAINT, COMPLETE: colour_of(1), "named": colour_of(4), "chosen": colour_of(2)}
MIN_CONTOUR = 8  # trials with both numbers, for a surface between them
TRIALS = {
    "number": "trial", "state": "state", "weights": "weights", "weighting": "weighting", "epochs": "epochs", "merit": "merit",
    "front": "on the Pareto front", "chosen": "chosen",
}  # fmt: skip


def section(folder: Path, change_text: Any) -> dict[str, Any]:
    """What the page says of the search in data/studies/<system>."""
    trials, importance = pd.read_csv(folder / "trials.csv"), pd.read_csv(folder / "importance.csv")
    best, finals = YAML(typ="safe").load(folder / "best.yaml"), pd.read_csv(folder / "finals.csv")
    return {
        "trial": best["trial"],
        "count": len(trials),
        "pruned": int(np.count_nonzero(trials["state"] == PRUNED)),
        "weights": best["weights"],
        "values": ", ".join(f"{titles.error(name)} {value:.4g}" for name, value in best["values"].items()),
        "objective": change_text(best["objective"]),
        "patch": (folder / "params.patch").read_text(),
        "command": f"python -m stages.configure --from {folder.as_posix()}/best.yaml",
        "finals": finals.drop(columns=[name for name in ("folder", "sha256") if name in finals]),
        "trials": trials,
        "figures": figures(trials, importance),
        "columns": {name: titles.plain(title) for name, title in TRIALS.items()},
    }


def searched(trials: pd.DataFrame) -> list[str]:
    """The searched numbers among the columns of trials.csv: those with a dot, and the others between two known columns."""
    names = list(trials.columns)
    return names[names.index("weighting") + 1 : names.index("epochs")]


def objectives(trials: pd.DataFrame) -> list[str]:
    """The objectives among the columns of trials.csv."""
    names = list(trials.columns)
    return names[names.index("epochs") + 1 : names.index("merit")]


def figures(trials: pd.DataFrame, importance: pd.DataFrame) -> dict[str, list[Markup]]:
    """Panels by their captions; those for which there are too few trials are left out."""
    with svg.style():
        found = {"Merit of each trial, and the best so far": [history(trials)]}
        if len(importance):
            found["Importance: the share of the merit that each number decides (PED-ANOVA over complete trials)"] = [
                bars(importance)
            ]
        if keys := [key for key in searched(trials) if np.count_nonzero(trials[key].notna()) > 1]:
            found["Slices: the merit over each searched number"] = [slice_of(trials, key) for key in keys]
        ranked = [key for key in importance["parameter"] if key in trials] if len(importance) else []
        if len(ranked) > 1 and (surface := contour(trials, ranked[0], ranked[1])):
            found["The merit over the two most important numbers, between complete trials"] = [surface]
        if pairs := list(combinations(objectives(trials), 2)):
            caption = "Pareto front: ringed trials are surpassed by no other in all objectives"
            found[caption] = [front(trials, *pair) for pair in pairs]
    return found


def empty(height_in: float = HEIGHT_IN) -> tuple[Figure, Axes]:
    """A figure of one panel."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots()


def history(trials: pd.DataFrame) -> Markup:
    """The merit of each trial by its number, and the highest so far."""
    figure, axes = empty()
    points(axes, trials, "number", "merit")
    is_complete = (trials["state"] == COMPLETE).to_numpy()
    number, merit = (trials[name].to_numpy(float) for name in ("number", "merit"))
    best = np.maximum.accumulate(merit[is_complete])
    axes.step(number[is_complete], best, where="post", color=KINDS[COMPLETE], lw=1.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="trial", ylabel="merit")
    alt = f"Merit of {len(trials)} trials; the best has {best[-1]:.4g}." if len(best) else "No trial is complete."
    return svg.inline(figure, alt)


def bars(importance: pd.DataFrame) -> Markup:
    """One bar for each parameter, the most important at the top."""
    figure, axes = empty(0.9 + 0.3 * len(importance))
    shown = importance.iloc[::-1]
    axes.barh([titles.words(str(name)) for name in shown["parameter"]], shown["importance"], color=KINDS[COMPLETE], height=0.6)
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="share", xlim=(0, 1))
    first = importance.iloc[0]
    return svg.inline(
        figure, f"Importance of {len(importance)} numbers, first {first['parameter']} with {first['importance']:.2f}."
    )


def slice_of(trials: pd.DataFrame, key: str) -> Markup:
    """The merit over one number, on a logarithmic axis."""
    figure, axes = empty()
    points(axes, trials, key, "merit")
    axes.set(xlabel=titles.words(key), ylabel="merit")
    if np.nanmin(trials[key].to_numpy(float)) > 0:
        svg.readable_log(axes, "x")
    return svg.inline(figure, f"The merit of trials over {titles.words(key)}.")


def contour(trials: pd.DataFrame, first: str, second: str) -> Markup | None:
    """The merit between complete trials over two numbers, on logarithmic axes; nothing where they are too few or on a line."""
    known = trials[(trials["state"] == COMPLETE) & trials[first].notna() & trials[second].notna()]
    points_xy = np.log10(np.asarray(known[[first, second]], float))
    if len(known) < MIN_CONTOUR or np.linalg.matrix_rank(points_xy - points_xy.mean(0)) < 2:
        return None
    figure, axes = empty(3.4)
    x, y = np.asarray(known[first], float), np.asarray(known[second], float)
    triangles = Triangulation(points_xy[:, 0], points_xy[:, 1]).triangles
    surface = axes.tricontourf(Triangulation(x, y, triangles), np.asarray(known["merit"], float), levels=12, cmap="viridis")
    axes.plot(x, y, "o", ms=3.5, color="white", mec="black", mew=0.6)
    figure.colorbar(surface, label="merit")
    axes.set(xlabel=titles.words(first), ylabel=titles.words(second))
    for which in ("x", "y"):
        svg.readable_log(axes, which)
    return svg.inline(figure, f"The merit over {titles.words(first)} and {titles.words(second)}, between {len(known)} trials.")


def front(trials: pd.DataFrame, x: str, y: str) -> Markup:
    """A pair of objectives: complete trials, those of the front ringed."""
    figure, axes = empty()
    points(axes, trials, x, y)
    ringed = trials[trials["front"].astype(bool)]
    axes.plot(ringed[x], ringed[y], "o", ms=10, mfc="none", mec=svg.TEXT, mew=0.9)
    first, second = titles.error(x), titles.error(y)
    axes.set(xlabel=f"error of {first}", ylabel=f"error of {second}")
    return svg.inline(
        figure, f"Validation errors of {first} and {second}; {len(ringed)} of {len(trials)} trials are on the front."
    )


def points(axes: Axes, trials: pd.DataFrame, x: Any, y: Any) -> None:
    """The trials as points, coloured by what they are; the chosen one as a star."""
    is_named = trials["weights"].fillna("") != ""
    kinds: Sequence[tuple[str, Any]] = (
        (PRUNED, trials["state"] == PRUNED),
        (COMPLETE, (trials["state"] == COMPLETE) & ~is_named),
        ("named", (trials["state"] == COMPLETE) & is_named),
    )
    for name, chosen in kinds:
        rows = trials[chosen]
        axes.plot(rows[x], rows[y], "o", ms=5, color=KINDS[name])
    best = trials[trials["chosen"].astype(bool)]
    axes.plot(best[x], best[y], "*", ms=13, color=KINDS["chosen"])
    axes.margins(0.08)
