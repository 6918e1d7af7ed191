"""Data frames as tables of a page: rounded, with titles, in a region that scrolls by itself; a script makes them sort."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from stages.reporting import titles

FOLDED_ROWS = 20  # more rows than these are folded away
SHORT, LONG = 22, 40  # characters: a column of shorter texts does not wrap, one of longer ones has room
OURS = "ours"
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def table(
    frame: pd.DataFrame,
    label: str,
    *,
    columns: Mapping[str, str] | None = None,
    summary: str = "",
    folded: bool | None = None,
    places: int | None = None,
) -> Markup:
    """A table in a focusable region named `label`; one of many rows is folded away behind `summary`, by default its label.

    Columns without any value are left out, rows whose source is ours are marked. `columns`: titles in place of those of
    `titles.column`. `folded`: whether it is folded away, by default by the number of its rows. `places`: decimals of numbers
    that are not counts, by default those of `decimals`.
    """
    shown = frame.loc[:, [not is_empty(frame[name]) for name in frame.columns]]
    names = [str(name) for name in shown.columns]
    heads = [(columns or {}).get(name) or titles.column(name) for name in names]
    cells = [column_cells(shown[name], places) for name in shown.columns]
    kinds = [kind(shown[name], texts) for name, (texts, _) in zip(names, cells, strict=True)]
    head = "".join(f'<th scope="col" class="{each}">{escape(title)}</th>' for title, each in zip(heads, kinds, strict=True))
    rows = []
    for index, record in enumerate(shown.to_dict("records")):
        mark = ' class="ours"' if record.get("source") == OURS else ""
        line = [
            cell(texts[index], keys[index], each, first=place == 0)
            for place, ((texts, keys), each) in enumerate(zip(cells, kinds, strict=True))
        ]
        rows.append(f"<tr{mark}>{''.join(line)}</tr>")
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    region = (
        f'<div class="region" role="region" tabindex="0" aria-label="{escape(label)}"><table class="sortable">'
        f'<caption class="hidden">{escape(label)}</caption>{body}</table></div>'
    )
    if len(rows) > FOLDED_ROWS if folded is None else folded:
        region = f"<details><summary>{escape(summary or label)} ({len(rows)} rows)</summary>{region}</details>"
    return Markup(region)


def kind(values: pd.Series, texts: Sequence[str]) -> str:
    """The class of a column's cells: numbers, short words, long ones."""
    if pd.api.types.is_numeric_dtype(values) or looks_numeric(texts):
        return "num"
    longest = max(map(len, texts), default=0)
    return "short" if longest <= SHORT else "long" if longest > LONG else "text"


def cell(text: str, key: float | None, kind: str, *, first: bool) -> str:
    """One cell; the first of a row is its head. `key`: the number by which it is sorted."""
    attributes = f' class="{kind}"' + (f' data-sort="{key:.10g}"' if key is not None and text != f"{key:g}" else "")
    return f'<th scope="row"{attributes}>{escape(text)}</th>' if first else f"<td{attributes}>{escape(text)}</td>"


def column_cells(values: pd.Series, places: int | None = None) -> tuple[list[str], list[float | None]]:
    """The texts of a column, and the numbers by which they are sorted, None for words."""
    if pd.api.types.is_bool_dtype(values):
        return [("yes" if value else "no") for value in values], [float(value) for value in values]
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(float)
        if pd.api.types.is_integer_dtype(values):
            places = 0
        elif places is None:
            places = decimals(numbers)
        return [number(value, places) for value in numbers], [None if np.isnan(value) else float(value) for value in numbers]
    texts = ["" if pd.isna(value) else titles.value(str(value)) for value in values]
    return texts, [leading_number(text) for text in texts]


def decimals(numbers: np.ndarray) -> int:
    """How many decimals a column of numbers is shown with: three significant digits of the largest."""
    known = numbers[np.isfinite(numbers)]
    largest = float(np.abs(known).max()) if len(known) else 0.0
    return 1 if largest >= 10 or largest == 0 else 2 if largest >= 1 else 3 if largest >= 0.01 else 5


def number(value: float, places: int) -> str:
    """A number as text; nothing where it is not known. Whole ones above 9,999 have commas."""
    if np.isnan(value):
        return ""
    text = f"{value:,.{places}f}" if abs(value) >= 10_000 else f"{value:.{places}f}"
    return text.replace("-", MINUS)


def percent(share: float) -> str:
    """A share in percent, with one decimal and without the sign."""
    return number(100 * share, 1)


def interval(low: float, high: float, places: int = 1) -> str:
    """An interval as text; nothing where it is not known."""
    return "" if np.isnan(low) or np.isnan(high) else f"{number(low, places)} {DASH} {number(high, places)}"


def is_empty(values: Any) -> bool:
    """Whether a column says nothing at all."""
    return bool(len(values)) and all(pd.isna(value) or str(value).strip() == "" for value in values)


def leading_number(text: str) -> float | None:
    """The number with which a text begins, such as that of "66.7 ± 18.5"; None where there is none."""
    word = text.replace(MINUS, "-").replace(",", "").split(" ")[0].rstrip("%°")
    try:
        return float(word)
    except ValueError:
        return None


def looks_numeric(texts: Sequence[str]) -> bool:
    """Whether all texts that are there begin with a number."""
    return any(texts) and all(leading_number(text) is not None for text in texts if text)
