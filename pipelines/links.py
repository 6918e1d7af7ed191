"""Addresses of what a run made, on the servers that the environment names: reports, runs in MLflow, studies of Optuna."""

import os
from pathlib import Path
from typing import Any

from prefect import get_run_logger

from pipelines import versions
from pipelines.services import DASHBOARD_URL, REPORTS, REPORTS_URL, request

TRAINING_PAGE = "?workflowType=machine_learning"  # without it MLflow opens its pages for language models
MLFLOW_URL = "MLFLOW_TRACKING_URI"  # of a server, or of a database, which has no pages


def report(system: str = "") -> str:
    """A link to a system's report, or to the front page of all; without a server of reports the file's path; empty: none."""
    file = REPORTS / system / "index.html"
    if not file.is_file():
        return ""
    title = f"report of {system}" if system else "all reports"
    server = os.environ.get(REPORTS_URL)
    if not server:
        return f"{title}: `{file.resolve()}` on the worker's machine"
    return f"[{title}]({server}/{f'{system}/' if system else ''}index.html)"


def trainings(system: str, checkpoint: Path) -> list[tuple[str, dict[str, str]]]:
    """The address and the tags of the MLflow run that made a checkpoint, found by its SHA-256; none if MLflow is no server."""
    return mlflow_runs(system, f"tags.`checkpoint.sha256` = '{versions.digest(checkpoint, 'sha256')}'")


def mlflow_runs(system: str, query: str) -> list[tuple[str, dict[str, str]]]:
    """The address and the tags of the newest MLflow run of a system that the query finds; none if MLflow is no server."""
    server = os.environ.get(MLFLOW_URL, "").rstrip("/")
    if not server.startswith("http"):
        return []
    from mlflow import MlflowClient  # the import takes more than a second
    from mlflow.exceptions import MlflowException

    client = MlflowClient(server)
    try:
        experiment = client.get_experiment_by_name(system)
        runs = client.search_runs([experiment.experiment_id], query, max_results=1) if experiment else []
    except MlflowException as error:
        get_run_logger().warning(f"no link to a run of {system} in MLflow: {error}")
        return []
    pages = f"{server}/#/experiments/{experiment.experiment_id if experiment else ''}/runs"
    return [(f"{pages}/{run.info.run_id}{TRAINING_PAGE}", dict(run.data.tags)) for run in runs]


def study(name: str) -> str:
    """The address of a study's page on the Optuna dashboard; empty without a dashboard or a study of this name."""
    server = os.environ.get(DASHBOARD_URL, "").rstrip("/")
    if not (server and name):
        return ""
    try:
        studies: list[dict[str, Any]] = request(f"{server}/api/studies")["study_summaries"]
    except OSError as error:
        get_run_logger().warning(f"no link to study {name} on the Optuna dashboard: {error}")
        return ""
    numbers = [each["study_id"] for each in studies if each["study_name"] == name]
    return f"{server}/dashboard/studies/{numbers[0]}" if numbers else ""


def of_system(system: str) -> list[str]:
    """Links, in Markdown, to a system's report, its training and its found weights in MLflow, and its newest study."""
    links = [link] if (link := report(system)) else []
    for checkpoint in sorted(Path("data/models", system).rglob("checkpoint.pt")):
        links += [f"[training in MLflow]({address})" for address, _ in trainings(system, checkpoint)]
    for checkpoint in sorted(Path("data/studies", system).rglob("checkpoint.pt")):
        for address, tags in trainings(system, checkpoint):
            links.append(f"[training with {tags.get('weights', 'other')} weights in MLflow]({address})")
    for _, tags in mlflow_runs(system, "tags.stage = 'tune'"):
        if address := study(tags.get("study", "")):
            links.append(f"[newest search on the Optuna dashboard]({address})")
    return links
