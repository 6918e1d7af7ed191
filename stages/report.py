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
from stages.common import output, params

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
        each = clips.groupby("subject_id").first()
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
    """A strip of frames for each condition and session, from a subject of the test split who has the most of them."""
    test = clip_table(folder).query("split == 'test'")
    subject = test["subject_id"].value_counts(sort=True).sort_index(kind="stable").idxmax()
    strips = {}
    shown = test.query(f"subject_id == {subject!r}").drop_duplicates(["session", "condition"])
    for clip in shown.to_dict("records"):
        frames = list(datasets.find(clip["dataset"]).frames(Path(clip["root"]), clip["frames"]))
        chosen = [frames[round(i)] for i in np.linspace(0, len(frames) - 1, FRAMES_SHOWN)]
        _, png = cv2.imencode(".png", cv2.cvtColor(np.hstack(chosen), cv2.COLOR_RGB2BGR))
        strips[f"session {clip['session'] + 1}, {clip['condition']} ({clip['clip_id']})"] = picture(png.tobytes())
    return strips


def clip_table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "clips.csv", dtype={"subject_id": str})


def convergence(folder: Path) -> Markup:
    """Validation error of identification over epochs, one curve per variant, mean and range over seeds."""
    areas = pd.read_csv(folder / "areas.csv").drop_duplicates("variant").set_index("variant")["area_mean"]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for variant, curves in pd.read_csv(folder / "curves.csv").groupby("variant", sort=False):
        seeds = curves.pivot_table(index="epoch", columns="seed", values="error")
        epochs = seeds.index.to_numpy()
        (line,) = axes.plot(epochs, seeds.mean(axis=1), label=f"{variant} ({areas.to_dict()[variant]:.4f})")
        axes.fill_between(epochs, seeds.min(axis=1), seeds.max(axis=1), color=line.get_color(), alpha=0.15, lw=0)
    axes.set(xlabel="epoch", ylabel="identification error, validation subjects")
    axes.legend(title="area under the curve: lower is better")
    return drawing(figure)


def areas(folder: Path) -> pd.DataFrame:
    """Area under the validation-error curve of each variant, mean and standard deviation over seeds."""
    rows = []
    for variant, found in pd.read_csv(folder / "areas.csv").groupby("variant", sort=False):
        area = found["area"]
        rows.append({"variant": variant, "area": area.mean(), "standard deviation": area.std(), "seeds": len(found)})
    return pd.DataFrame(rows)


def training(history: Path) -> Markup:
    """Every curve of the training: loss terms on the left, what is watched on validation subjects on the right."""
    curves = pd.read_csv(history)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in curves.columns:
        values = curves[name].to_numpy(float)
        if name.startswith("train/"):
            left.plot(curves["epoch"], values, label=name.removeprefix("train/"))
        elif name.startswith("error/"):
            highest = max(np.nanmax(values), 1e-9)
            right.plot(curves["epoch"], values / highest, label=f"{name.removeprefix('error/')} (maximum {highest:.3g})")
    left.set(xlabel="epoch", ylabel="training loss, unweighted", yscale="symlog")
    right.set(xlabel="epoch", ylabel="validation error, share of its maximum")
    for axes in (left, right):
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
