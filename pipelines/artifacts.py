"""Prefect artifacts of a run: its stages, metrics with their change, links to the MLflow runs of trainings, plots."""

import base64
import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from pipelines import graph, versions
from pipelines.versions import Version

WEIGHTS = ("finals.csv", "tables/weights.csv", "tables/weights_differences.csv")  # of tune, and of evaluate
MAX_LINKS = 3
MAX_IMAGE_BYTES = 1_000_000  # images are stored in the database of the Prefect server


def create_run_artifacts(outcomes: Sequence[Any], version: Version, previous: Version | None) -> None:
    """Tables of the run's stages, of the version that it made, and of the metrics with their change."""
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


def create_stage_artifacts(name: str) -> None:
    """Artifacts of a stage's outputs: its metrics, a link to the training in MLflow, its plots."""
    record = graph.read_lock()[name]
    for file in graph.metrics(record):
        create_metrics_table(name, file)
    for out in graph.outs(record):
        for checkpoint in sorted(out.rglob("checkpoint.pt"))[:MAX_LINKS]:
            create_mlflow_link(name, checkpoint)
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
    values = versions.flatten(json.loads(file.read_text()))
    rows = [{"metric": key, "value": value, "change": versions.change(before.get(key), value)} for key, value in values.items()]
    reference = f"changes relative to {previous.name}" if previous else "no version before"
    create_table_artifact(rows, key=artifact_key(name), description=f"{name}: {reference}")


def create_mlflow_link(name: str, checkpoint: Path) -> None:
    """A link to the MLflow run that made a checkpoint, found by its SHA-256; only if MLflow is a server."""
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not server.startswith("http"):
        return
    from mlflow import MlflowClient  # the import takes more than a second

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(name.partition("@")[2])
    if experiment is None:
        return
    query = f"tags.`checkpoint.sha256` = '{versions.digest(checkpoint, 'sha256')}'"
    for run in client.search_runs([experiment.experiment_id], query, max_results=1):
        address = f"{server}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
        create_link_artifact(address, link_text=f"{name} in MLflow", key=artifact_key(name))


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
