"""One HTML page per system: its people, its training, its results beside those of the paper.

python -m stages.report dmt      writes data/report/dmt/index.html
python -m stages.report --where  prints the paths of the reports and the results
"""

import argparse
import base64
import io
import json
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
from ruamel.yaml import YAML

from people import datasets
from stages.shared import search_figures
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
        strips=frame_strips(Path("data/valid", dataset)),
        tables={path.stem: pd.read_csv(path) for path in in_order((metrics / "tables").glob("*.csv"), captions)},
        curves={path.stem: curve(pd.read_csv(path)) for path in in_order((metrics / "curves").glob("*.csv"), captions)},
        pictures={
            path.stem: embed_image(path.read_bytes(), path.suffix)
            for path in [*sorted((metrics / "pictures").glob("*.png")), *sorted((metrics / "animations").glob("*.webp"))]
        },
        captions=captions,
        metrics=json.loads((metrics / "all.json").read_text()),
        selected=json.loads((metrics / "selected.json").read_text()),
        convergence=convergence(Path("data/compare", system)),
        areas=areas(Path("data/compare", system)),
        variants=variants(params("systems", system, "compare")),
        training=training_curves(Path("data/models", system, "history.csv")),
        search=search(Path("data/studies", system)),
        trials=pd.read_csv(Path("data/studies", system, "trials.csv")),
        registry=json.loads(Path("data/registry", f"{system}.json").read_text()),
    )
    with output(Path("data/report", system)) as folder:
        folder.mkdir()
        (folder / "index.html").write_text(page)
    log_page(Path("data/report", system, "index.html"), json.loads(Path("data/registry", f"{system}.json").read_text()))


def log_page(page: Path, entry: dict[str, Any]) -> None:
    """Log the page to the run in MLflow that registered the version; a run that is not in this database is told."""
    from mlflow.exceptions import MlflowException  # the import takes a second

    from stages.shared import tracking

    client, _ = tracking.connect(entry["model"])
    try:
        client.log_artifact(entry["run_id"], str(page))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        print(f"the report is not in MLflow: its database has no run {entry['run_id']} (docs/registry.md)")


def search(folder: Path) -> dict[str, Any]:
    """What the search found: the chosen weights as text, the command that takes them over, and figures by their captions."""
    trials, importance = pd.read_csv(folder / "trials.csv"), pd.read_csv(folder / "importance.csv")
    best = YAML(typ="safe").load(folder / "best.yaml")
    finals = pd.read_csv(folder / "finals.csv")
    return {
        "trial": best["trial"],
        "weights": best["weights"],
        "values": ", ".join(f"{name} {value:.4g}" for name, value in best["values"].items()),
        "objective": format_changes(best["objective"]),
        "patch": (folder / "params.patch").read_text(),
        "command": f"python -m stages.configure --from {folder}/best.yaml",
        "finals": finals,
        "figures": {caption: embed_figure(figure) for caption, figure in search_figures.figures(trials, importance).items()},
    }


def variants(settings: dict[str, Any]) -> dict[str, str]:
    """What each selected variant changes, on one line."""
    return {name: format_changes(settings["variants"][name]) for name in settings["select"]}


def render(**values: Any) -> str:
    """The page of these values, as HTML."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True)
    environment.filters["table"] = table
    return environment.get_template("report.html.j2").render(**values)


def table(frame: pd.DataFrame) -> Markup:
    """A data frame as an HTML table, our rows in bold where rows have a source; pandas escapes the cells."""
    html = frame.to_html(index=False, border=0, na_rep="", float_format=lambda value: f"{value:.4g}")
    head, *rows = html.split("<tr>\n")
    ours = frame["source"] == "ours" if "source" in frame else pd.Series(False, index=frame.index)
    body = [f'<tr class="ours">\n{row}' if is_ours else f"<tr>\n{row}" for row, is_ours in zip(rows, ours, strict=True)]
    return Markup(head + "".join(body))


def in_order(paths: Iterable[Path], captions: dict[str, str]) -> list[Path]:
    """The files in the order of their captions, then those without a caption by name."""
    ranks = {name: rank for rank, name in enumerate(captions)}
    return sorted(paths, key=lambda path: (ranks.get(path.stem, len(ranks)), path.stem))


def format_changes(changes: dict[str, Any], prefix: str = "") -> str:
    """A nested block on one line: `model.gem: False, objective.pair_weights: False`."""
    return ", ".join(
        format_changes(value, f"{prefix}{key}.") if isinstance(value, dict) else f"{prefix}{key}: {value}"
        for key, value in changes.items()
    )


def subjects(folder: Path) -> pd.DataFrame:
    """For each split the number of people, women, people of known age and clips, and the mean age."""
    rows = []
    for split, clips in clip_table(folder).groupby("split", sort=False):
        labelled = clips.query("kind == 'person'") if "kind" in clips else clips  # without distractors and junk
        people = labelled.groupby("subject_id").first()
        ages_years = people["age_years"].dropna()
        rows.append(
            {
                "split": split,
                "subjects": len(people),
                "female": int(np.count_nonzero(people["gender"].to_numpy() == "female")),
                "age_known": len(ages_years),
                "mean_age_years": ages_years.mean(),
                "clips": len(clips),
            }
        )
    return pd.DataFrame(rows)


def frame_strips(folder: Path) -> dict[str, Markup]:
    """Captioned strips of frames, or of photos, of people of the test split, or where it is empty of validation."""
    clips = clip_table(folder)
    split = "test" if "test" in set(clips["split"]) else "validation"
    clips = clips.query(f"split == {split!r}")
    if "person_count" in clips:
        return scene_strips(clips)
    return photo_strips(clips) if set(clips["frame_count"]) == {1} else clip_strips(clips)


def clip_strips(clips: pd.DataFrame) -> dict[str, Markup]:
    """A strip of frames for each condition and session, from the subject who has the most clips."""
    strips = {}
    clips = clips.query(f"subject_id == {most_frequent_subject(clips)!r}")
    for clip in clips.drop_duplicates(["session", "condition"]).to_dict("records"):
        frames_rgb = frames(clip)
        chosen = [frames_rgb[round(i)] for i in np.linspace(0, len(frames_rgb) - 1, FRAMES_SHOWN)]
        strips[f"session {clip['session'] + 1}, {clip['condition']} ({clip['clip_id']})"] = strip(chosen)
    return strips


def photo_strips(photos: pd.DataFrame) -> dict[str, Markup]:
    """A strip of photos for each condition, one by each camera, from the subject who has the most of them."""
    strips = {}
    for condition, group in photos.groupby("condition", sort=False):
        subject = most_frequent_subject(group)
        group = group.query(f"subject_id == {subject!r}")
        chosen = group.drop_duplicates("camera").sort_values(by="camera").to_dict("records")
        cameras = ", ".join(str(photo["camera"]) for photo in chosen)
        strips[f"{condition} {subject}, by camera {cameras}"] = strip([frames(photo)[0] for photo in chosen])
    return strips


def scene_strips(images: pd.DataFrame) -> dict[str, Markup]:
    """A strip of images for each number of labelled people in them, the first ones."""
    groups = images.sort_values(by="person_count", kind="stable").groupby("person_count")
    return {
        f"images of {count} people": strip([frames(image)[0] for image in group.head(FRAMES_SHOWN).to_dict("records")])
        for count, group in groups
    }


def most_frequent_subject(clips: pd.DataFrame) -> str:
    """The subject with the most clips; of equals the first by name."""
    return str(clips["subject_id"].value_counts(sort=True).sort_index(kind="stable").idxmax())


def frames(clip: dict[str, Any]) -> list[np.ndarray]:
    """The frames of a clip, in RGB."""
    return list(datasets.find(clip["dataset"]).frames(Path(clip["root"]), clip["frames"]))


def strip(frames_rgb: list[np.ndarray]) -> Markup:
    """Frames side by side, as high as the first."""
    height = frames_rgb[0].shape[0]
    resized = [cv2.resize(frame, (round(frame.shape[1] * height / frame.shape[0]), height)) for frame in frames_rgb]
    _, png = cv2.imencode(".png", cv2.cvtColor(np.hstack(resized), cv2.COLOR_RGB2BGR))
    return embed_image(png.tobytes())


def clip_table(folder: Path) -> pd.DataFrame:
    """The index of a dataset's valid clips."""
    return pd.read_csv(folder / "clips.csv", dtype={"subject_id": str})


def convergence(folder: Path) -> Markup:
    """Every error on validation subjects over epochs, one curve per variant that has it, mean and range over seeds."""
    curves = pd.read_csv(folder / "curves.csv")
    errors = [name for name in curves if name.startswith(ERROR)]
    variants = list(curves["variant"].unique())
    figure = Figure(figsize=(8, 0.6 + 3.2 * len(errors)), layout="constrained")
    for axes, error in zip(figure.subplots(len(errors), squeeze=False)[:, 0], errors, strict=True):
        for variant, runs in curves.dropna(subset=error).groupby("variant", sort=False):
            seeds = runs.pivot_table(index="epoch", columns="seed", values=error)
            epochs, colour = seeds.index.to_numpy(), f"C{variants.index(variant)}"
            axes.plot(epochs, seeds.mean(axis=1), "o-" if len(epochs) == 1 else "-", color=colour, label=variant)
            axes.fill_between(epochs, seeds.min(axis=1), seeds.max(axis=1), color=colour, alpha=0.15, lw=0)
        axes.set(xlabel="epoch", ylabel=f"error of {error.removeprefix(ERROR)}, validation subjects")
        axes.legend()
    return embed_figure(figure)


def areas(folder: Path) -> pd.DataFrame:
    """Area under each validation-error curve of each variant, mean and (of several seeds) standard deviation."""
    table = pd.read_csv(folder / "areas.csv")
    rows = {variant: {"variant": variant} for variant in table["variant"].unique()}
    for variant, error in table[["variant", "error"]].drop_duplicates().itertuples(index=False):
        area = table.loc[(table["variant"] == variant) & (table["error"] == error), "area"]
        spread = f" ± {area.std():.4f}" if len(area) > 1 else ""
        rows[variant][error] = f"{area.mean():.4f}{spread}"
    return pd.DataFrame(list(rows.values())).fillna("").assign(seeds=table["seed"].nunique())


def curve(points: pd.DataFrame) -> Markup:
    """A line for each column over the first; columns *_marked are points, and a first column of text names the lines."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    first, *others = points.columns
    has_names = pd.api.types.is_string_dtype(points[first])
    x, columns = (others[0], others[1:]) if has_names else (first, others)
    for name, rows in points.groupby(first, sort=False) if has_names else [("", points)]:
        for column in columns:
            title, marked, _ = column.partition("_marked")
            label = f"{name}: {title}" if name and len(columns) > 1 else str(name or title)
            axes.plot(rows[x], rows[column], "o" if marked else "-", ms=4, zorder=3 if marked else 2, label=label)
    axes.set(xlabel=x.replace("_", " "), ylabel=columns[0].replace("_", " ") if len(columns) == 1 else "")
    axes.legend()
    return embed_figure(figure)


def training_curves(history: Path) -> Markup:
    """The curves of the training: loss terms, validation errors, and the weights of loss terms where they change."""
    curves = pd.read_csv(history)
    weights = {name: curves[name].to_numpy(float) for name in curves.columns if name.startswith("lambda/")}
    weights = {name: values for name, values in weights.items() if np.nanmax(values) > np.nanmin(values)}
    figure = Figure(figsize=(13 if weights else 10, 4), layout="constrained")
    left, right, *third = figure.subplots(1, 3 if weights else 2)
    for name in curves.columns:
        if name.startswith("train/"):
            left.plot(curves["epoch"], curves[name], label=name.removeprefix("train/"))
        elif name.startswith("error/"):
            values = curves[name].to_numpy(float)
            highest = max(np.nanmax(values), 1e-9)
            right.plot(curves["epoch"], values / highest, label=f"{name.removeprefix('error/')} (maximum {highest:.3g})")
    left.set(xlabel="epoch", ylabel="training loss, unweighted", yscale="symlog")
    right.set(xlabel="epoch", ylabel="validation error, share of its maximum")
    for name, values in weights.items():
        third[0].plot(curves["epoch"], values, label=name.removeprefix("lambda/"))
        third[0].set(xlabel="epoch", ylabel="weight of the loss term")
    for axes in (left, right, *third):
        axes.legend()
    return embed_figure(figure)


def embed_figure(figure: Figure) -> Markup:
    """A figure as an embedded PNG image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return embed_image(buffer.getvalue())


def embed_image(content: bytes, suffix: str = ".png") -> Markup:
    """An <img> with the picture or animation in a data URL, so that the page is a single file."""
    return Markup(f'<img src="data:image/{suffix[1:]};base64,{base64.b64encode(content).decode()}" alt="">')


def print_paths() -> None:
    """Print the paths of each system's report, results and model."""
    for system in params("systems"):
        print(f"\n{system}: report    {Path('data/report', system, 'index.html').resolve()}")
        print(f"{' ' * len(system)}  results   {Path('data/metrics', system).resolve()}  (or: dvc metrics show)")
        print(f"{' ' * len(system)}  model     {Path('data/models', system, 'checkpoint.pt').resolve()}")
    print("\nsearch of task weights: make serve, then http://127.0.0.1:8080")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("system", nargs="?", help="one of the systems in params.yaml")
    wanted.add_argument("--where", action="store_true", help="print the paths of the reports and the results")
    arguments = parser.parse_args()
    print_paths() if arguments.where else main(arguments.system)
