"""The results that `evaluate` has written, in the order of a page: tables, curves, pictures, people by subgroup."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup

from stages.reporting import curves, images, svg, tables, titles
from stages.reporting.tables import interval, number

INTERVALS, CONFUSION, SUBGROUPS, WEIGHTS = "_intervals", "_confusion", "subgroups", "weights"
ANSWERS = ("right_answers", "best_images", "wrong_answers", "worst_images", "queries")  # pictures of single decisions
GROUPS = {"female": "women", "male": "men"}
WORDS = ("title", "question")  # captions that are of the whole page


class Part(NamedTuple):
    """A titled part of a section: its anchor, what is to be read, and what is to be seen."""

    name: str
    title: str
    text: str
    content: Markup
    key: str = ""


class Results:
    """The content of data/metrics/<system>."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.captions: dict[str, str] = json.loads((folder / "captions.json").read_text())

    def words(self, name: str, otherwise: str) -> str:
        """The title or the question of the whole page."""
        assert name in WORDS
        return self.captions.get(name) or otherwise

    def files(self, kind: str, pattern: str) -> list[Path]:
        """Files of a kind in the order of their captions, then those without a caption by name."""
        ranks = {name: rank for rank, name in enumerate(self.captions)}
        return sorted((self.folder / kind).glob(pattern), key=lambda path: (ranks.get(path.stem, len(ranks)), path.stem))

    def tables(self) -> list[Part]:
        """The tables of the protocol, those of the paper among them; what letters stand for is said once."""
        parts = [
            self._table(path)
            for path in self.files("tables", "*.csv")
            if not path.stem.endswith((INTERVALS, CONFUSION)) and path.stem != SUBGROUPS and not path.stem.startswith(WEIGHTS)
        ]
        keys = [part.key for part in parts]
        return [part._replace(key="" if part.key in keys[:place] else part.key) for place, part in enumerate(parts)]

    def weights(self) -> list[Part]:
        """The tables of several trainings with other weights; none where the search has made one alone."""
        return [self._table(path) for path in self.files("tables", f"{WEIGHTS}*.csv")]

    def intervals(self) -> list[Part]:
        """The tables of intervals, folded away: the same numbers as above, more of them."""
        parts = []
        for path in self.files("tables", f"*{INTERVALS}.csv"):
            frame, unit = with_intervals(pd.read_csv(path))
            parts.append(self._folded(path.stem, frame, unit))
        for path in self.files("tables", f"*{CONFUSION}.csv"):
            parts.append(self._folded(path.stem, pd.read_csv(path), "photos"))
        return parts

    def subgroups(self) -> Part | None:
        """Results by gender and age band, where the evaluation has them."""
        file = self.folder / "tables" / f"{SUBGROUPS}.csv"
        if not file.is_file():
            return None
        frame = pd.read_csv(file)
        charts = [
            Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(
                titles.plain(str(measure)), subgroup_chart(str(measure), rows)
            )
            for measure, rows in frame.groupby("measure", sort=False)
        ]
        drawn, title = Markup('<div class="charts">{}</div>').format(Markup("").join(charts)), titles.table(SUBGROUPS)
        return Part(
            SUBGROUPS,
            title,
            self.caption(SUBGROUPS),
            drawn + tables.table(subgroup_rows(frame), title, summary="Every subgroup", folded=True),
        )

    def curves(self) -> tuple[list[Part], list[Part]]:
        """The curves, such as ROC and cumulative matches: those of one panel, and those of several."""
        single, several = [], []
        for path in self.files("curves", "*.csv"):
            panels = curves.evaluated(path.stem, pd.read_csv(path))
            figures = Markup("").join(Markup("<figure>{}</figure>").format(panel) for panel in panels)
            content = panels[0] if len(panels) == 1 else Markup('<div class="charts">{}</div>').format(figures)
            part = Part(path.stem, titles.table(path.stem), self.caption(path.stem), content)
            (single if len(panels) == 1 else several).append(part)
        return single, several

    def answers(self) -> list[Part]:
        """Galleries of single decisions, right ones before wrong ones."""
        return [self._picture(path) for name in ANSWERS for path in self.pictures() if path.stem == name]

    def other_pictures(self) -> list[Part]:
        """Pictures of what the network sees and makes, animations first."""
        return [
            self._picture(path) for path in self.pictures() if path.stem not in ANSWERS and not path.stem.endswith(CONFUSION)
        ]

    def confusions(self) -> list[Part]:
        """Pictures of what was taken for what."""
        return [self._picture(path) for path in self.files("pictures", f"*{CONFUSION}.png")]

    def pictures(self) -> list[Path]:
        """The files of all pictures and animations."""
        return [*self.files("animations", "*.webp"), *self.files("pictures", "*.png")]

    def thumbnail(self) -> tuple[images.Image, str] | None:
        """The system at work, with a text: an animation if there is one, else the first gallery or picture."""
        parts = {path.stem: path for path in self.pictures()}
        names = [path.stem for path in self.files("animations", "*.webp")] + [name for name in ANSWERS if name in parts]
        for name in [*names, *parts]:
            return images.thumbnail(images.read(parts[name])), self.alt(name)
        return None

    def caption(self, name: str) -> str:
        """The caption of a table, curve or picture; empty where there is none."""
        return self.captions.get(name, "")

    def alt(self, name: str) -> str:
        """What a picture shows, for who cannot see it: its title and the beginning of its caption."""
        first = self.caption(name).split(". ")[0].rstrip(".")
        return f"{titles.table(name)}: {first}" if first else titles.table(name)

    def _table(self, path: Path) -> Part:
        frame = in_percent(pd.read_csv(path))
        title = titles.table(path.stem)
        content = tables.table(frame, title, summary=f"Every figure: {title}", places=1 if is_percent(frame) else 2)
        return Part(path.stem, title, self.caption(path.stem), content, titles.key(_names(frame)))

    def _folded(self, name: str, frame: pd.DataFrame, unit: str) -> Part:
        title = f"{titles.table(name)}, {unit}" if unit else titles.table(name)
        return Part(name, title, self.caption(name), tables.table(frame, title, folded=False))

    def _picture(self, path: Path) -> Part:
        image = images.markup(images.read(path), self.alt(path.stem))
        return Part(path.stem, titles.table(path.stem), self.caption(path.stem), image)


def _names(frame: pd.DataFrame) -> list[str]:
    """The letters that a table uses: of columns, and of the first column."""
    return [*map(str, frame.columns), *(str(value) for value in frame.iloc[:, 0].unique()[:12])]


def in_percent(frame: pd.DataFrame) -> pd.DataFrame:
    """Shares named rank-1 in percent, as the other tables of a section have them."""
    shares = [name for name in frame if str(name).startswith("rank-1") and is_share(frame[name])]
    return frame.assign(**{str(name): (100 * frame[name]).round(1) for name in shares})


def is_percent(frame: pd.DataFrame) -> bool:
    """Whether the numbers of a table that are no counts are in percent: R² and the like are at most 1."""
    numbers = frame.select_dtypes("float")
    return bool((numbers > 1.5).any(axis=None) or (numbers == 0).all(axis=None))


def is_share(values: Any) -> bool:
    """Whether all numbers that are known are between 0 and 1."""
    known = values.dropna()
    return bool(len(known)) and pd.api.types.is_numeric_dtype(known) and bool(known.between(0, 1).all())


def with_intervals(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """A table of measures with low and high as one column, and its unit: % where all are shares, else that of the measures."""
    in_years = frame["measure"].str.contains("years")
    numbers = [name for name in ("value", "low", "high", "baseline", "baseline_2") if name in frame]
    unit = "years" if in_years.all() else "%" if is_share(frame["value"]) and not in_years.any() else ""
    scaled = frame[numbers] * (100 if unit == "%" else 1)
    places = 1 if unit == "%" else 2
    shown = pd.DataFrame({"measure": [titles.measure(name.replace("_years", "")) for name in frame["measure"]]})
    shown["value"] = [number(value, places) for value in scaled["value"]]
    shown["interval"] = [interval(*bounds, places) for bounds in zip(scaled["low"], scaled["high"], strict=True)]
    for name in ("baseline", "baseline_2"):
        if name in scaled:
            shown[name] = [number(value, places) for value in scaled[name]]
    others = [name for name in frame if name not in (*numbers, "measure")]
    return shown.assign(**{str(name): frame[name] for name in others}), unit


def subgroup_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The table of subgroups with a row for each, shares in percent, the unit in the name of the measure."""
    rows = []
    for row in frame.to_dict("records"):
        scale, unit = (1, "") if "years" in row["measure"] else (100, ", %")
        rows.append(
            {
                "measure": f"{row['measure']}{unit}",
                "by": row["group"] if row["group"] != row["subgroup"] else "",
                "people of": GROUPS.get(row["subgroup"], row["subgroup"]),
                "people": row["people"],
                "recordings": row["recordings"],
                "value": number(scale * row["value"], 1),
                "interval": interval(scale * row["low"], scale * row["high"]),
            }
        )
    return pd.DataFrame(rows)


def subgroup_chart(measure: str, rows: pd.DataFrame) -> Markup:
    """A measure of everybody and of each subgroup as points with intervals, everybody at the top."""
    scale = 1 if "years" in measure else 100
    names = [f"{GROUPS.get(row['subgroup'], row['subgroup'])} ({row['people']})" for row in rows.to_dict("records")]
    places = np.arange(len(rows))[::-1]
    value, low, high = (scale * rows[name].to_numpy(float) for name in ("value", "low", "high"))
    with svg.style():
        figure = svg.Figure(figsize=(svg.WIDTH_IN, 0.9 + 0.26 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(value[0], color=svg.FAINT, lw=1, ls=(0, (4, 3)))
        axes.hlines(places, low, high, color=svg.colour_of(1), lw=3, alpha=0.45)
        axes.plot(value, places, "o", color=svg.colour_of(1), ms=6)
        axes.set_yticks(places, names)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="years" if scale == 1 else "%")
        if scale == 100:
            axes.set_xlim(-3, 103)
        else:
            axes.set_xlim(left=0)
        told = ", ".join(f"{name} {each:.1f}" for name, each in zip(names, value, strict=True))
        return svg.inline(figure, f"{measure}{' in %' if scale == 100 else ''} (people): {told}.")
