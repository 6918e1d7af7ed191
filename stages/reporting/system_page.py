"""The page of one system: what stages before have written, as values of its template, and what the front page needs of it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages.reporting import curves, facts, headline, images, people, search, svg, tables, titles
from stages.reporting.results import Results
from stages.reporting.templates import render

SUMMARY, PICTURE, STILL = "summary.json", "picture.webp", "still.webp"
SECTIONS = {
    "data": "Data", "results": "Results", "subgroups": "By subgroup", "answers": "Right and wrong", "pictures": "What it sees",
    "learning": "Learning", "variants": "Ablation", "search": "Search", "registry": "Registry", "again": "Make it again",
    "figures": "Every figure",
}  # fmt: skip
ENTRY = {
    "model": "Model", "version": "Version", "champion_version": "Champion", "why": "Why", "new": "Registered by this run",
    "validation_score": "Score on validation people", "run_id": "Run in MLflow", "training_run_id": "Run of the training",
    "checkpoint_sha256": "SHA-256 of the checkpoint", "data_digest": "Version of the data",
}  # fmt: skip


class Page(NamedTuple):
    """A page and what the front page needs of it: its summary, and a picture with a text."""

    html: str
    summary: dict[str, Any]
    picture: images.Image | None


def build(system: str, params: dict[str, Any], data: Path = Path("data")) -> Page:
    """The page of a system, from the outputs of the stages below `data`. `params`: the content of params.yaml."""
    block = params["systems"][system]
    dataset = block["dataset"]
    source, is_small = params["datasets"][dataset]["source"], facts.is_small(params, system, dataset)
    results, figures = Results(data / "metrics" / system), headline.read(data / "metrics" / system / "headline.json")
    clips = people.clip_table(data / "valid" / dataset)
    registry = json.loads((data / "registry" / f"{system}.json").read_text())
    trained = json.loads((data / "models" / system / "summary.json").read_text())
    title = results.words("title", f"{system} on {dataset}")
    question = results.words("question", f"How well does {system} do on {dataset}?")
    values = {
        "system": system,
        "dataset": dataset,
        "title": title,
        "question": question,
        "source": source,
        "source_title": people.source_title(source),
        "source_words": people.source_words(source),
        "is_small": is_small,
        "headline": figures,
        "trained": trained,
        "people": people.counts(clips),
        "registry": {ENTRY[name]: entry_text(value) for name, value in registry.items() if name in ENTRY and value is not None},
        "version": registry["version"],
        **data_section(data, dataset, clips),
        **results_section(results),
        **learning_section(data, system),
        "search": search.section(data / "studies" / system, facts.changes),
        "weights": results.weights(),
        "selected": json.loads((data / "metrics" / system / "selected.json").read_text()),
        "commands": facts.commands(system, registry["version"], is_small),
        "hashes": facts.hashes(system, dataset),
        "metrics": all_metrics(data / "metrics" / system / "all.json"),
    }
    values["sections"] = {
        name: title for name, title in SECTIONS.items() if name not in ("subgroups", "answers", "pictures") or values[name]
    }
    picture = results.thumbnail()
    summary = {
        "system": system,
        "title": title,
        "question": question,
        "dataset": dataset,
        "source": source,
        "people": values["people"],
        "epochs": trained["epochs"],
        "small": is_small,
        "headline": [figure._asdict() for figure in figures],
        "picture_text": picture[1] if picture else "",
        "version": registry["version"],
        "champion": registry["champion_version"],
        "sections": values["sections"],
    }
    return Page(render("report.html.j2", **values), summary, picture[0] if picture else None)


def data_section(data: Path, dataset: str, clips: pd.DataFrame) -> dict[str, Any]:
    """The people of each split, those of whom labels were refused, and some frames."""
    quarantine = pd.read_csv(data / "valid" / dataset / "quarantine.csv")
    return {"splits": people.splits(clips), "quarantine": quarantine, "strips": people.strips(clips)}


def results_section(results: Results) -> dict[str, Any]:
    """Everything that `evaluate` has written."""
    single, several = results.curves()
    return {
        "tables": results.tables(),
        "curves": single,
        "curve_sets": several,
        "intervals": results.intervals(),
        "confusions": results.confusions(),
        "subgroups": results.subgroups(),
        "answers": results.answers(),
        "pictures": results.other_pictures(),
    }


def learning_section(data: Path, system: str) -> dict[str, Any]:
    """The training's curves, and the comparison of its variants."""
    folder = data / "compare" / system
    compared = json.loads((folder / "variants.json").read_text())
    points, styles = pd.read_csv(folder / "curves.csv"), curves.styles(compared)
    return {
        "learning": curves.training(pd.read_csv(data / "models" / system / "history.csv")),
        "comparison": curves.comparison(points, styles),
        "variants": curves.variants(folder),
        "variant_changes": {
            titles.variant(name): (styles[name] % len(svg.SERIES), facts.changes(compared.get(name, {})))
            for name in points["variant"].unique()
        },
        "variant_epochs": int(np.max(points["epoch"])),
        "seeds": len(np.unique(points["seed"])),
    }


def entry_text(value: Any) -> str:
    """A value of the registry's entry."""
    if isinstance(value, bool):
        return "yes" if value else "no, it was there"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def all_metrics(file: Path) -> pd.DataFrame:
    """Every metric with four significant digits, its interval beside it."""
    if not file.is_file():
        raise ValueError(f"{file} is not there: the report needs all metrics that `evaluate` writes; run dvc repro evaluate")
    metrics: dict[str, float] = json.loads(file.read_text())
    rows = []
    for name, value in metrics.items():
        base, _, end = name.rpartition(".")
        if end in ("low", "high") and base in metrics:
            continue
        bounds = [metrics.get(f"{name}.{side}") for side in ("low", "high")]
        text = "" if None in bounds else f"{bounds[0]:.4g} {tables.DASH} {bounds[1]:.4g}"
        rows.append({"metric": name, "value": f"{value:.4g}", "interval": text})
    return pd.DataFrame(rows, columns=pd.Index(["metric", "value", "interval"]))


def write(page: Page, folder: Path) -> None:
    """The page, its summary, and the picture of the front page."""
    (folder / "index.html").write_text(page.html)
    (folder / SUMMARY).write_text(json.dumps(page.summary, indent=2) + "\n")
    if page.picture:
        (folder / PICTURE).write_bytes(page.picture.content)
        if page.picture.still:
            (folder / STILL).write_bytes(page.picture.still)
