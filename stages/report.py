"""One HTML page per system: the people it saw, how it learned, what it measured beside what the paper reports.

python -m stages.report dmt      writes data/report/dmt/index.html
python -m stages.report --where  prints where the reports and the results lie
"""

import base64
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from people import datasets
from stages.shared.project import ERROR, output, params

matplotlib.use("agg")
TEMPLATES = Path(__file__).parent / "templates"
FRAMES_SHOWN = 6


def main(system: str) -> None:
    dataset = params("systems", system, "dataset")
    metrics = Path("data/metrics", system)
    captions = json.loads((metrics / "captions.json").read_text())
    page = render(
        system=system,
        dataset=dataset,
        source=params("datasets", dataset, "source"),
        subjects=subjects(Path("data/valid", dataset)),
        quarantine=pd.read_csv(Path("data/valid", dataset, "quarantine.csv")),
        people=people(Path("data/valid", dataset)),
        tables={path.stem: pd.read_csv(path) for path in in_order((metrics / "tables").glob("*.csv"), captions)},
        curves={path.stem: curve(pd.read_csv(path)) for path in in_order((metrics / "curves").glob("*.csv"), captions)},
        pictures={path.stem: picture(path.read_bytes()) for path in sorted((metrics / "pictures").glob("*.png"))},
        captions=captions,
        metrics=json.loads(metrics.with_suffix(".json").read_text()),
        selected=json.loads((metrics / "selected.json").read_text()),
        convergence=convergence(Path("data/compare", system)),
        areas=areas(Path("data/compare", system)),
        variants={name: words(changes) for name, changes in params("systems", system, "compare", "variants").items()},
        training=training(Path("data/models", system, "history.csv")),
        trials=pd.read_csv(Path("data/studies", system, "trials.csv")),
        registry=json.loads(Path("data/registry", f"{system}.json").read_text()),
    )
    with output(Path("data/report", system)) as folder:
        folder.mkdir()
        (folder / "index.html").write_text(page)


def render(**values: Any) -> str:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True)
    environment.filters["table"] = table
    return environment.get_template("report.html.j2").render(**values)


def table(frame: pd.DataFrame) -> Markup:
    """A data frame as an HTML table, our own rows in bold where rows have a source; pandas escapes the cells."""
    html = frame.to_html(index=False, border=0, na_rep="", float_format=lambda value: f"{value:.4g}")
    head, *rows = html.split("<tr>\n")
    ours = frame["source"] == "ours" if "source" in frame else pd.Series(False, index=frame.index)
    marked = [f'<tr class="ours">\n{row}' if mine else f"<tr>\n{row}" for row, mine in zip(rows, ours, strict=True)]
    return Markup(head + "".join(marked))


def in_order(paths: Iterable[Path], captions: dict[str, str]) -> list[Path]:
    """The files whose captions come first first, then those without a caption by name."""
    places = {name: place for place, name in enumerate(captions)}
    return sorted(paths, key=lambda path: (places.get(path.stem, len(places)), path.stem))


def words(changes: dict[str, Any], above: str = "") -> str:
    """A nested block on one line: `model.gem: False, objective.weighting: False`."""
    return ", ".join(
        words(value, f"{above}{key}.") if isinstance(value, dict) else f"{above}{key}: {value}"
        for key, value in changes.items()
    )


def subjects(folder: Path) -> pd.DataFrame:
    """How many people and clips each split holds, how many of them are women, and how old they are."""
    rows = []
    for split, clips in clip_table(folder).groupby("split", sort=False):
        known = clips.query("kind == 'person'") if "kind" in clips else clips  # distractors and junk are nobody
        each = known.groupby("subject_id").first()
        ages_years = each["age_years"].dropna()
        rows.append(
            {
                "split": split,
                "subjects": len(each),
                "female": int(np.count_nonzero(each["gender"].to_numpy() == "female")),
                "age_known": len(ages_years),
                "mean_age_years": ages_years.mean(),
                "clips": len(clips),
            }
        )
    return pd.DataFrame(rows)


def people(folder: Path) -> dict[str, Markup]:
    """Strips of frames of people of the test split, or where it has none, of validation; of photos one by each camera."""
    clips = clip_table(folder)
    split = "test" if "test" in set(clips["split"]) else "validation"
    shown = clips.query(f"split == {split!r}")
    return photo_strips(shown) if set(shown["frame_count"]) == {1} else clip_strips(shown)


def clip_strips(clips: pd.DataFrame) -> dict[str, Markup]:
    """A strip of frames for each condition and session, from the subject who has the most clips."""
    strips = {}
    of_one = clips.query(f"subject_id == {most_seen(clips)!r}")
    for clip in of_one.drop_duplicates(["session", "condition"]).to_dict("records"):
        shown = frames(clip)
        chosen = [shown[round(i)] for i in np.linspace(0, len(shown) - 1, FRAMES_SHOWN)]
        strips[f"session {clip['session'] + 1}, {clip['condition']} ({clip['clip_id']})"] = strip(chosen)
    return strips


def photo_strips(photos: pd.DataFrame) -> dict[str, Markup]:
    """A strip of photos for each condition, one by each camera, from the subject who has the most of them."""
    strips = {}
    for condition, alike in photos.groupby("condition", sort=False):
        subject = most_seen(alike)
        of_one = alike.query(f"subject_id == {subject!r}")
        chosen = of_one.drop_duplicates("camera").sort_values(by="camera").to_dict("records")
        cameras = ", ".join(str(photo["camera"]) for photo in chosen)
        strips[f"{condition} {subject}, by camera {cameras}"] = strip([frames(photo)[0] for photo in chosen])
    return strips


def most_seen(clips: pd.DataFrame) -> str:
    """Who has the most clips; of equals the first by name."""
    return str(clips["subject_id"].value_counts(sort=True).sort_index(kind="stable").idxmax())


def frames(clip: dict[str, Any]) -> list[np.ndarray]:
    return list(datasets.find(clip["dataset"]).frames(Path(clip["root"]), clip["frames"]))


def strip(frames_rgb: list[np.ndarray]) -> Markup:
    """Frames side by side, as high as the first."""
    height = frames_rgb[0].shape[0]
    alike = [cv2.resize(one, (round(one.shape[1] * height / one.shape[0]), height)) for one in frames_rgb]
    _, png = cv2.imencode(".png", cv2.cvtColor(np.hstack(alike), cv2.COLOR_RGB2BGR))
    return picture(png.tobytes())


def clip_table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "clips.csv", dtype={"subject_id": str})


def convergence(folder: Path) -> Markup:
    """Every error on validation subjects over epochs, one curve per variant that has it, mean and range over seeds."""
    curves = pd.read_csv(folder / "curves.csv")
    errors = [name for name in curves if name.startswith(ERROR)]
    variants = list(curves["variant"].unique())
    figure = Figure(figsize=(8, 0.6 + 3.2 * len(errors)), layout="constrained")
    for axes, error in zip(figure.subplots(len(errors), squeeze=False)[:, 0], errors, strict=True):
        for variant, found in curves.dropna(subset=error).groupby("variant", sort=False):
            seeds = found.pivot_table(index="epoch", columns="seed", values=error)
            epochs, colour = seeds.index.to_numpy(), f"C{variants.index(variant)}"
            axes.plot(epochs, seeds.mean(axis=1), color=colour, label=variant)
            axes.fill_between(epochs, seeds.min(axis=1), seeds.max(axis=1), color=colour, alpha=0.15, lw=0)
        axes.set(xlabel="epoch", ylabel=f"error of {error.removeprefix(ERROR)}, validation subjects")
        axes.legend()
    return drawing(figure)


def areas(folder: Path) -> pd.DataFrame:
    """Area under each validation-error curve of each variant, mean and (of several seeds) standard deviation."""
    found = pd.read_csv(folder / "areas.csv")
    rows = {variant: {"variant": variant} for variant in found["variant"].unique()}
    for variant, error in found[["variant", "error"]].drop_duplicates().itertuples(index=False):
        area = found.loc[(found["variant"] == variant) & (found["error"] == error), "area"]
        spread = f" ± {area.std():.4f}" if len(area) > 1 else ""
        rows[variant][error] = f"{area.mean():.4f}{spread}"
    return pd.DataFrame(list(rows.values())).fillna("").assign(seeds=found["seed"].nunique())


def curve(points: pd.DataFrame) -> Markup:
    """A line for each column over the first; columns named *_marked are points, and a first column of text names the lines."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    first, *others = points.columns
    named = pd.api.types.is_string_dtype(points[first])
    x, drawn = (others[0], others[1:]) if named else (first, others)
    for name, part in points.groupby(first, sort=False) if named else [("", points)]:
        for column in drawn:
            title, marked, _ = column.partition("_marked")
            label = f"{name}: {title}" if name and len(drawn) > 1 else str(name or title)
            axes.plot(part[x], part[column], "o" if marked else "-", ms=4, zorder=3 if marked else 2, label=label)
    axes.set(xlabel=x.replace("_", " "), ylabel=drawn[0].replace("_", " ") if len(drawn) == 1 else "")
    axes.legend()
    return drawing(figure)


def training(history: Path) -> Markup:
    """Every curve of the training: loss terms, what is watched on validation subjects, and weights of terms that change."""
    curves = pd.read_csv(history)
    weights = {name: curves[name].to_numpy(float) for name in curves.columns if name.startswith("lambda/")}
    weights = {name: values for name, values in weights.items() if np.ptp(values) > 0}
    figure = Figure(figsize=(13 if weights else 10, 4), layout="constrained")
    left, right, *third = figure.subplots(1, 3 if weights else 2)
    for name in curves.columns:
        values = curves[name].to_numpy(float)
        if name.startswith("train/"):
            left.plot(curves["epoch"], values, label=name.removeprefix("train/"))
        elif name.startswith("error/"):
            highest = max(np.nanmax(values), 1e-9)
            right.plot(curves["epoch"], values / highest, label=f"{name.removeprefix('error/')} (maximum {highest:.3g})")
    left.set(xlabel="epoch", ylabel="training loss, unweighted", yscale="symlog")
    right.set(xlabel="epoch", ylabel="validation error, share of its maximum")
    for name, values in weights.items():
        third[0].plot(curves["epoch"], values, label=name.removeprefix("lambda/"))
        third[0].set(xlabel="epoch", ylabel="weight of the loss term")
    for axes in (left, right, *third):
        axes.legend()
    return drawing(figure)


def drawing(figure: Figure) -> Markup:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return picture(buffer.getvalue())


def picture(png: bytes) -> Markup:
    """An image that lives in the page itself, so that the page can be sent to anyone."""
    return Markup(f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="">')


def where() -> None:
    """Where a user finds what the run made."""
    for system in params("systems"):
        print(f"\n{system}: report    {Path('data/report', system, 'index.html').resolve()}")
        print(f"{' ' * len(system)}  results   {Path('data/metrics', system).resolve()}  (or: dvc metrics show)")
        print(f"{' ' * len(system)}  model     {Path('data/models', system, 'checkpoint.pt').resolve()}")
    print("\nsearch of task weights: make serve, then http://127.0.0.1:8080")


if __name__ == "__main__":
    where() if sys.argv[1:] == ["--where"] else main(*sys.argv[1:])
