"""The files data/registry/<system>.json, which DVC restores anywhere, held against the registry that is there."""

import json
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from stages.registration import champions, versions
from stages.tracking import runs


def path(system: str) -> Path:
    """The file in which a system's registration is."""
    return Path("data/registry", f"{system}.json")


def check(client: mlflow.MlflowClient, system: str) -> list[str]:
    """What of a system's entry is not so in this registry; empty if all is.

    An entry comes with the data from elsewhere (`dvc pull`, a fresh state folder), effects on a registry do not. The version is
    found by its checkpoint's SHA-256, as versions and runs have other numbers in another database.
    """
    file = path(system)
    if not file.is_file():
        return [f"there is no {file}"]
    entry: dict[str, Any] = json.loads(file.read_text())
    version = versions.registered(client, system, entry["checkpoint_sha256"])
    if version is None:
        return [f"no version of {system} has the checkpoint {entry['checkpoint_sha256'][:12]}"]
    problems = []
    if str(version.version) != entry["version"]:
        problems.append(f"its checkpoint is version {version.version} here, and {entry['version']} in {file}")
    if not has_run(client, entry["run_id"]):
        problems.append(f"no run has the id {entry['run_id']}")
    champion = champions.current(client, system)
    if champion is None:
        problems.append(f"no version has the alias {runs.CHAMPION}")
    elif str(champion.version) != entry["champion_version"]:
        problems.append(f"the champion is version {champion.version} here, and {entry['champion_version']} in {file}")
    for each in {str(found.version): found for found in (version, champion) if found is not None}.values():
        try:
            with champions.fetched(each):
                pass
        except champions.Unusable as error:
            problems.append(str(error))
    return problems


def has_run(client: mlflow.MlflowClient, run_id: str) -> bool:
    """Whether the database has the run, not deleted."""
    try:
        return client.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
