"""Figures of Matplotlib as SVG inside a page: text stays text, and every colour follows the page's theme."""

import hashlib
import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

matplotlib.use("agg")
WIDTH_IN, HEIGHT_IN = 4.6, 2.7  # of one panel: as wide as a column of the page
TEXT, FAINT, GRID = "#010101", "#020202", "#030303"  # stand for variables of the style sheet, see `COLOURS`
SERIES = ("#110011", "#220022", "#330033", "#440044", "#550055", "#660066", "#770077")
# What stands in a figure for each variable of style.css; the series are the set of Okabe and Ito, lighter in the dark.
COLOURS = {TEXT: "--text", FAINT: "--faint", GRID: "--grid"} | {
    placeholder: f"--series-{number}" for number, placeholder in enumerate(SERIES)
}
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))  # of lines beyond the number of colours
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": FAINT,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
LABEL_HEIGHT = 0.09  # of a line of text, as a share of the axes' height
LABEL_CHARACTERS = 18  # of a name, before it is broken into lines


class Line(NamedTuple):
    """One line of a panel. `style` numbers its colour; `low` and `high` are a band around it; marked: points, no line."""

    name: str
    x: np.ndarray
    y: np.ndarray
    style: int
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    marked: bool = False


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's settings for figures of the page."""
    with matplotlib.rc_context(STYLE):
        yield


def panel(
    lines: Sequence[Line], *, x: str, y: str, title: str = "", alt: str, epochs: bool = False, log: bool = False
) -> Markup:
    """Lines with their names at their ends. `epochs`: whole numbers on the axis of x. `log`: a logarithmic axis of y."""
    with style():
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        axes = figure.subplots()
        for line in lines:
            _draw(axes, line)
        axes.set(xlabel=x, ylabel=y, title=title)
        if epochs:
            whole_numbers(axes, np.unique(np.concatenate([line.x for line in lines])))
        if log:
            readable_log(axes, "y")
        axes.margins(y=0.08)
        name_ends(axes, [line for line in lines if not line.marked])
        return inline(figure, alt)


def _draw(axes: Axes, line: Line) -> None:
    colour, dashes = colour_of(line.style), DASHES[line.style // len(SERIES) % len(DASHES)]
    is_known = ~np.isnan(line.y)
    if line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, lw=0)
    if line.marked:
        axes.plot(line.x, line.y, "o", ms=4, color=colour, zorder=3)
    else:
        marker = "o" if is_known.sum() <= 15 else ""
        axes.plot(line.x[is_known], line.y[is_known], marker=marker, ms=3.5, lw=1.8, ls=dashes, color=colour, zorder=2)


def colour_of(number: int) -> str:
    """The placeholder of the colour of this number; they repeat."""
    return SERIES[number % len(SERIES)]


def whole_numbers(axes: Axes, epochs: np.ndarray) -> None:
    """Whole epochs on the axis of x, with room on both sides where there is one alone."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
        axes.set_xticks([epochs[0]])


def readable_log(axes: Axes, which: str) -> None:
    """A logarithmic axis whose ticks are plain numbers: 0.05, 0.1, 0.2."""
    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low) if low > 0 else 1.0
    axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2.5 else (1.0, 2.0, 5.0), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axis.set_minor_formatter(NullFormatter())
    if decades < 0.8:
        axis.set_major_locator(MaxNLocator(4))
        axis.set_minor_locator(MaxNLocator(1))


def name_ends(axes: Axes, lines: Sequence[Line]) -> None:
    """The name of each line to the right of its end, in its colour; names that would overlap are moved apart."""
    ends = []
    for line in lines:
        is_known = ~np.isnan(line.y)
        if line.name and is_known.any():
            ends.append((line, float(line.x[is_known][-1]), float(line.y[is_known][-1]), float(np.nanmean(line.y))))
    if not ends:
        return
    to_axes = axes.transData + axes.transAxes.inverted()
    axes.autoscale_view()
    points = [to_axes.transform((x, y)) for _, x, y, _ in ends]
    order = sorted(range(len(ends)), key=lambda i: (round(points[i][1], 3), ends[i][3]))
    labels = [textwrap.fill(line.name, LABEL_CHARACTERS) for line, *_ in ends]
    heights = spread([points[i][1] for i in order], LABEL_HEIGHT * max(label.count("\n") + 1 for label in labels))
    for index, height in zip(order, heights, strict=True):
        line, point = ends[index][0], points[index]
        colour = colour_of(line.style)
        axes.annotate(
            labels[index],
            xy=(point[0], point[1]),
            xycoords="axes fraction",
            xytext=(1.04, height),
            textcoords="axes fraction",
            color=colour,
            va="center",
            fontsize=9.5,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "alpha": 0.6, "shrinkA": 0, "shrinkB": 2},
        )


def spread(heights: Sequence[float], least: float) -> list[float]:
    """Ascending heights, moved as little as needed so that neighbours are `least` apart: groups around their mean, and none
    above 1 or below 0 as long as there is room.
    """
    groups: list[list[float]] = []  # of each: sum of the wanted heights of its first member, count
    for rank, height in enumerate(heights):
        groups.append([height - rank * least, 1.0])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, count = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += count
    shifted = [total / count for total, count in groups for _ in range(int(count))]
    apart = [height + rank * least for rank, height in enumerate(shifted)]
    below_top = [min(height, 1 - (len(apart) - 1 - rank) * least) for rank, height in enumerate(apart)]
    return [max(height, rank * least) for rank, height in enumerate(below_top)]


def inline(figure: Figure, alt: str) -> Markup:
    """A figure as an <svg> element: colours are the style sheet's, names of parts are unique in the page, `alt` tells it."""
    key = hashlib.sha256(alt.encode()).hexdigest()[:8]
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": key, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*</defs>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns:xlink="[^"]*"| xmlns="[^"]*"| version="1.1"', "", text).replace("xlink:href", "href")
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    names = {name for pair in used for name in pair if name}
    text = re.sub(r' id="([^"]+)"', lambda found: f' id="{key}-{found[1]}"' if found[1] in names else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{key}-", text)
    for placeholder, variable in COLOURS.items():
        text = text.replace(placeholder, f"var({variable})")
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text)
    text = re.sub(r"\n\s*", "\n", text)
    width, height = re.findall(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', text)[0]
    head = f'<svg role="img" aria-label="{escape(alt)}" class="chart" viewBox="0 0 {width} {height}" style="--wide:{width}">'
    return Markup(head + text[text.index(">") + 1 :].strip())
