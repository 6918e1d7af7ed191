"""Prefect artifacts of a run: headline figures beside baselines with links, its stages, metrics with their change, plots."""

import base64
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from pipelines import differences, graph, links, versions
from pipelines.versions import Version

WEIGHTS = ("finals.csv", "tables/weights.csv", "tables/weights_differences.csv")  # of tune, and of evaluate
MAX_LINKS = 3
MAX_IMAGE_BYTES = 1_000_000  # images are stored in the database of the Prefect server


def create_run_artifacts(outcomes: Sequence[Any], version: Version, previous: Version | None) -> None:
    """The results, and tables of the run's stages, of the version that it made, and of the metrics with their change."""
    create_results([outcome.stage for outcome in outcomes], version)
    rows = [{"stage": o.stage, "came": o.status, "where": o.where, "seconds": round(o.seconds, 1)} for o in outcomes]
    create_table_artifact(rows, key="stages", description=f"The outcome of every stage; version {version.name}")
    facts = {
        "name": version.name,
        "git commit": version.commit,
        "dvc.lock": version.lock_md5,
        "params.yaml": version.params_md5,
    }
    reference = f" Changes are relative to {previous.name}." if previous else ""
    create_table_artifact([facts], key="version", description=f"`python -m pipelines.versions restore {version.name}`")
    changes = versions.metric_changes(previous, version)
    create_table_artifact(changes, key="metrics", description=f"Metrics of {version.name}.{reference}")


def create_results(stages: Sequence[str], version: Version) -> None:
    """One page of the systems whose stages have run: headline figures beside baselines, links to reports, runs and studies."""
    systems = dict.fromkeys(stage.partition("@")[2] for stage in stages if stage.startswith(("train@", "tune@", "evaluate@")))
    sections = [f"{front}\n" if (front := links.report()) else ""]
    for system in systems:
        lines = [" · ".join(links.of_system(system)), ""]
        if f"evaluate@{system}" in stages:
            lines += headline_table(Path("data/metrics", system, "headline.json"))
        sections.append("\n".join([f"## {system}", "", *lines]))
    text = "\n\n".join(filter(None, sections))
    if text:
        create_markdown_artifact(text, key="results", description=f"Results of version {version.name}")


def headline_table(file: Path) -> list[str]:
    """A system's main figures in Markdown beside their baselines, which are named below; no lines without the file."""
    if not file.is_file():
        return []
    entries = json.loads(file.read_text())
    rows = ["| figure | value | interval | baseline | better than it |", "|---|---:|---:|---:|---|"]
    for entry in entries:
        value, low, high, baseline = (shown(entry[name], entry["unit"]) for name in ("value", "low", "high", "baseline"))
        interval = f"{low} to {high}" if low and high else ""
        rows.append(f"| {' | '.join([entry['title'], f'**{value}**', interval, baseline, verdict(entry)])} |")
    named = [f"- {entry['title']}: {entry['baseline_title']}" for entry in entries if entry["baseline_title"]]
    return [*rows, *(["", "Baselines:", "", *named] if named else [])]


def shown(value: float | None, unit: str) -> str:
    """A figure with its unit, a fraction in %; empty if there is none."""
    if value is None:
        return ""
    number = f"{100 * value:.1f}" if unit == "%" else f"{value:.4g}"
    return f"{number} {unit}".strip()


def verdict(entry: Mapping[str, Any]) -> str:
    """Whether a figure is better than its baseline: yes, no, or that the baseline is within its interval; empty without one."""
    if (baseline := entry["baseline"]) is None:
        return ""
    low, high = (entry["value"] if entry[side] is None else entry[side] for side in ("low", "high"))
    if low <= baseline <= high:
        return "equal" if low == high else "within the interval"
    return "yes" if (baseline < low) == (entry["better"] == "higher") else "no"


def create_stage_artifacts(name: str) -> None:
    """Artifacts of a stage's outputs: its metrics, links to its trainings in MLflow, its plots."""
    record = graph.read_lock()[name]
    for file in graph.metrics(record):
        create_metrics_table(name, file)
    for out in graph.outs(record):
        for number, checkpoint in enumerate(sorted(out.rglob("checkpoint.pt"))[:MAX_LINKS], start=1):
            create_mlflow_link(name, checkpoint, number)
        for table in (out / file for file in WEIGHTS if (out / file).is_file()):
            create_weights_table(name, table)
        create_plots(name, sorted(out.rglob("*.png")))


def create_weights_table(name: str, file: Path) -> None:
    """Found weights beside params.yaml's and others: after the search on validation people, after evaluate on test people."""
    with file.open(newline="") as rows:
        table = [{key: value for key, value in row.items() if key not in ("sha256", "folder")} for row in csv.DictReader(rows)]
    if table:
        people = "validation" if file.parent.name != "tables" else "test"
        title = f"{name}: weights trained to the end, on {people} people"
        create_table_artifact(table, key=f"{artifact_key(name)}-{file.stem.replace('_', '-')}", description=title)


def create_metrics_table(name: str, file: Path) -> None:
    """The metrics of an evaluation and their change since the newest version."""
    previous = next(iter(versions.list_versions()), None)
    before = previous.metrics.get(file.as_posix(), {}) if previous else {}
    values, change = differences.numbers(json.loads(file.read_text())), differences.change
    rows = [{"metric": key, "value": value, "change": change(before.get(key), value)} for key, value in values.items()]
    reference = f"changes relative to {previous.name}" if previous else "no version before"
    create_table_artifact(rows, key=artifact_key(name), description=f"{name}: {reference}")


def create_mlflow_link(name: str, checkpoint: Path, number: int) -> None:
    """A link to the MLflow run that made a checkpoint, the stage's so many-th; only if MLflow is a server."""
    for address, tags in links.trainings(name.partition("@")[2], checkpoint):
        title = tags.get("mlflow.runName") or name
        key = f"{artifact_key(name)}-mlflow-{number}"
        create_link_artifact(address, link_text=f"{title} in MLflow", key=key, description=f"The training {title} in MLflow")


def create_plots(name: str, files: Sequence[Path]) -> None:
    """A stage's plots, embedded in the page, as a browser cannot read the worker's files; of large ones the path."""
    sections = [f"### {file.stem}\n{_markdown_image(file)}" for file in files]
    if sections:
        create_markdown_artifact("\n\n".join(sections), key=f"{artifact_key(name)}-pictures", description=f"Plots of {name}")


def _markdown_image(file: Path) -> str:
    if (size := file.stat().st_size) > MAX_IMAGE_BYTES:
        return f"{size / 1e6:.1f} MB, too large for this page: `{file}`"
    return f"![{file.stem}](data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()})"


def artifact_key(name: str) -> str:
    """The name in the characters that Prefect allows in an artifact's key."""
    return name.replace("@", "-").replace("_", "-").lower()
