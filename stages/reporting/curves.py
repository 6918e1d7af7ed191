"""Figures of the training, of its variants, and of the curves that `evaluate` has written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from stages.reporting import titles
from stages.reporting.svg import SERIES, Line, panel
from stages.shared.project import ERROR

VALIDATION, TRAINING, LOSS, WEIGHT = 1, 2, 4, 3  # colours


def training(history: pd.DataFrame) -> dict[str, list[Markup]]:
    """Panels of a training by their group: errors, loss terms, and the weights of loss terms where they change."""
    groups = {
        "Errors, on the people who are trained on and on validation people": errors(history),
        "Loss terms of the people who are trained on, each before its weight": [
            one(history, f"train/{name}", LOSS, "loss") for name in names(history, "train/") if f"lambda/{name}" in history
        ],
        "Weights of loss terms": [
            one(history, f"lambda/{name}", WEIGHT, "weight")
            for name in names(history, "lambda/")
            if changes(history[f"lambda/{name}"])
        ],
    }
    return {title: panels for title, panels in groups.items() if panels}


def names(history: pd.DataFrame, prefix: str) -> list[str]:
    """What is behind a prefix of the columns that have any value."""
    return [name.removeprefix(prefix) for name in history if name.startswith(prefix) and len(history[name].dropna())]


def changes(values: Any) -> bool:
    """Whether a weight is not the same in all epochs."""
    known = values.dropna().to_numpy(float)
    return bool(len(known)) and known.max() > known.min()


def errors(history: pd.DataFrame) -> list[Markup]:
    """For each error a panel with validation people and, where it is known of them, those who are trained on."""
    panels = []
    for name in names(history, "error/"):
        lines = [line(history, f"error/{name}", "validation", VALIDATION)]
        if f"train_error/{name}" in history and len(history[f"train_error/{name}"].dropna()):
            lines.append(line(history, f"train_error/{name}", "training", TRAINING))
        title = titles.plain(titles.error(name))
        alt = f"Error of {titles.error(name)} over epochs: {', '.join(summary(each) for each in lines)}."
        panels.append(panel(lines, x="epoch", y="error", title=title, alt=alt, epochs=True))
    return panels


def one(history: pd.DataFrame, name: str, style: int, what: str) -> Markup:
    """A panel with one column over epochs."""
    task = name.partition("/")[2]
    drawn = line(history, name, "", style)
    alt = f"{what.capitalize()} of {titles.error(task)} over epochs: {summary(drawn)}."
    return panel([drawn], x="epoch", y=what, title=titles.plain(titles.error(task)), alt=alt, epochs=True)


def line(history: pd.DataFrame, column: str, name: str, style: int) -> Line:
    """A column over epochs, those without a value left out."""
    known = history.dropna(subset=[column])
    return Line(name, known["epoch"].to_numpy(float), known[column].to_numpy(float), style)


def summary(drawn: Line) -> str:
    """How a line begins and ends, in words."""
    name = f"{drawn.name} " if drawn.name else ""
    return f"{name}from {drawn.y[0]:.3g} to {drawn.y[-1]:.3g}" if len(drawn.y) > 1 else f"{name}{drawn.y[0]:.3g}"


def styles(variants: Mapping[str, Any]) -> dict[str, int]:
    """The number of each variant's colour, the same in all figures: the full system's, then those of its variants in order."""
    return {name: number for number, name in enumerate([titles.FULL, *variants])}


def comparison(curves: pd.DataFrame, styles: Mapping[str, int]) -> list[Markup]:
    """For each error a panel with every variant that has it: the mean over seeds, and their range as a band.

    Nothing where there is one epoch alone.
    """
    panels: list[Markup] = []
    if len(np.unique(curves["epoch"])) == 1:
        return panels  # points, which the table has
    for error in [name for name in curves if name.startswith(ERROR)]:
        lines = []
        for variant, runs in curves.dropna(subset=error).groupby("variant", sort=False):
            seeds = runs.pivot_table(index="epoch", columns="seed", values=error)
            low, high = (np.asarray(seeds).min(axis=1), np.asarray(seeds).max(axis=1)) if seeds.shape[1] > 1 else (None, None)
            epochs, mean = seeds.index.to_numpy(float), seeds.mean(axis=1).to_numpy(float)
            lines.append(Line(titles.variant(str(variant)), epochs, mean, styles[str(variant)], low, high))
        task = titles.error(error.removeprefix(ERROR))
        alt = f"Validation error of {task} over epochs by variant: {'; '.join(summary(each) for each in lines)}."
        panels.append(panel(lines, x="epoch", y="error", title=titles.plain(task), alt=alt, epochs=True))
    return panels


def variants(folder: Path) -> pd.DataFrame:
    """A row for each variant: of each error the area under its curve and its last value, with spread."""
    curves, areas = pd.read_csv(folder / "curves.csv"), pd.read_csv(folder / "areas.csv")
    last = curves[curves["epoch"] == curves["epoch"].max()]
    rows = []
    for name in curves["variant"].unique():
        row: dict[str, Any] = {"variant": titles.variant(name)}
        for error in areas["error"].unique():
            area = areas.loc[(areas["variant"] == name) & (areas["error"] == error), "area"]
            end = last.loc[last["variant"] == name, f"{ERROR}{error}"].dropna()
            task = titles.error(error)
            if len(np.unique(curves["epoch"])) > 1:
                row[f"{task}: area"] = spread(area.to_numpy(float))
            row[f"{task}: last epoch"] = spread(end.to_numpy(float))
        rows.append(row)
    return pd.DataFrame(rows)


def spread(values: np.ndarray) -> str:
    """The mean, and of several values their standard deviation; nothing without any."""
    if not len(values):
        return ""
    places = 1 if values.mean() >= 10 else 3
    return f"{values.mean():.{places}f}" + (f" ± {values.std(ddof=1):.{places}f}" if len(values) > 1 else "")


def evaluated(name: str, points: pd.DataFrame) -> list[Markup]:
    """A line for each column over the first; columns *_marked are points, and a first column of text names the lines.

    Many lines of sets and methods (`CB, GaitNet`) have a panel for each set.
    """
    first = str(points.columns[0])
    if not pd.api.types.is_string_dtype(points[first]):
        return [_evaluated(titles.table(name), "", points, "")]
    groups = list(points[first].unique())
    if len(groups) <= len(SERIES) or not all(", " in group for group in groups):
        return [_evaluated(titles.table(name), "", points, first)]
    parts = points[first].str.split(", ", n=1, expand=True)
    return [
        _evaluated(titles.table(name), str(each), points.assign(**{first: parts[1]}).loc[parts[0] == each], first)
        for each in parts[0].unique()
    ]


def _evaluated(name: str, title: str, points: pd.DataFrame, names_column: str) -> Markup:
    """One panel of a curve. `names_column`: the column that names the lines, "" without one."""
    x, *columns = (str(column) for column in points.columns if column != names_column)
    groups: Sequence[tuple[Any, pd.DataFrame]] = (
        list(points.groupby(names_column, sort=False)) if names_column else [("", points)]
    )
    lines: list[Line] = []
    for group, rows in groups:
        for column in columns:
            measured, marked, _ = column.partition("_marked")
            parts = [str(group), measured if len(columns) > 1 or not group else ""]
            style = sum(not each.marked for each in lines) + (3 if marked else 0)
            text = ", ".join(titles.curve(part) for part in parts if part)
            lines.append(Line(text, rows[x].to_numpy(float), rows[column].to_numpy(float), style, marked=bool(marked)))
    y = titles.curve(columns[0].partition("_marked")[0])
    alt = f"{name}{f', {title}' if title else ''}: {', '.join(each.name or y for each in lines)} over {titles.curve(x)}."
    if len(lines) == 1:
        lines, columns = [lines[0]._replace(name="")], columns[:1]
    shown_y = y if len(columns) == 1 else ""
    return panel(lines, x=titles.curve(x), y=shown_y, title=titles.condition(title, 0), alt=alt, epochs=whole(points[x]))


def whole(values: Any) -> bool:
    """Whether an axis counts."""
    return bool(np.all(values.to_numpy(float) == np.round(values.to_numpy(float)))) and values.max() > 1
