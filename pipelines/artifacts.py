"""What a run shows in Prefect's pages: stages, metrics with their change, the MLflow run of a training, pictures."""

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from pipelines import graph, versions
from pipelines.versions import Version

LARGEST_PICTURE_BYTES = 1_000_000  # they lie in the database of the Prefect server


def of_run(outcomes: Sequence[Any], version: Version, last: Version | None) -> None:
    """The run's stages, and the version that it made."""
    rows = [{"stage": one.stage, "came": one.came, "where": one.where, "seconds": round(one.seconds, 1)} for one in outcomes]
    create_table_artifact(rows, key="stages", description=f"What came of every stage; version {version.name}")
    facts = {
        "name": version.name,
        "git commit": version.commit,
        "dvc.lock": version.lock_md5,
        "params.yaml": version.params_md5,
    }
    against = f" Changes are against {last.name}." if last else ""
    create_table_artifact([facts], key="version", description=f"`python -m pipelines.versions restore {version.name}`")
    create_table_artifact(versions.changes(last, version), key="metrics", description=f"Metrics of {version.name}.{against}")


def of_stage(name: str) -> None:
    """What a stage's outputs have to show: a link to the training in MLflow, metrics, pictures."""
    record = graph.lock()[name]
    for file in graph.metrics(record):
        metrics(name, file)
    for out in graph.outs(record):
        if (checkpoint := out / "checkpoint.pt").is_file():
            link(name, checkpoint)
        pictures(name, sorted(out.rglob("*.png")))


def metrics(name: str, file: Path) -> None:
    """The metrics of an evaluation beside those of the newest version."""
    last = next(iter(versions.listed()), None)
    before = last.metrics.get(file.as_posix(), {}) if last else {}
    values = versions.flattened(json.loads(file.read_text()))
    rows = [{"metric": key, "value": value, "change": versions.change(before.get(key), value)} for key, value in values.items()]
    create_table_artifact(rows, key=key_of(name), description=f"{name} against {last.name if last else 'nothing before'}")


def link(name: str, checkpoint: Path) -> None:
    """The MLflow run that made a checkpoint, found by the checkpoint's digest; only where MLflow has an address."""
    server = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not server.startswith("http"):
        return
    from mlflow import MlflowClient  # costs a second and more

    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(name.partition("@")[2])
    if experiment is None:
        return
    wanted = f"tags.`checkpoint.sha256` = '{versions.digest(checkpoint, 'sha256')}'"
    for run in client.search_runs([experiment.experiment_id], wanted, max_results=1):
        address = f"{server}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
        create_link_artifact(address, link_text=f"{name} in MLflow", key=key_of(name))


def pictures(name: str, files: Sequence[Path]) -> None:
    """A stage's pictures, inside the page: a browser need not reach the worker's files. Large ones are named there."""
    parts = [f"### {file.stem}\n{_shown(file)}" for file in files]
    if parts:
        create_markdown_artifact("\n\n".join(parts), key=f"{key_of(name)}-pictures", description=f"Pictures of {name}")


def _shown(file: Path) -> str:
    if (size := file.stat().st_size) > LARGEST_PICTURE_BYTES:
        return f"{size / 1e6:.1f} MB, too large for this page: `{file}`"
    return f"![{file.stem}](data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()})"


def key_of(name: str) -> str:
    """A name that Prefect takes as an artifact's key."""
    return name.replace("@", "-").replace("_", "-").lower()
