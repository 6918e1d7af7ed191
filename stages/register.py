"""Register the evaluated checkpoint in MLflow; it becomes `champion` if its score on the same data is the higher one.

    python -m stages.register dmt

writes data/registry/<system>.json: the version, its run, the champion, and the reason; of a system that tells people apart also
how far different validation people are from each other, from which `identify` takes its threshold: a tag of the version.
"""

import argparse
import importlib.util
import json
import os
import tempfile
import warnings
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from people import checkpoints, systems
from people.open_set import impostors
from people.revalidation import revalidate
from people.storage import file_digest
from people.storage.store import stores_digest
from stages.shared import tracking
from stages.shared.project import output, params, tracking_uri

ERRORS = "validation.errors"  # a tag: the error measures from which the score is computed
WRAPPER = "stages.shared.mlflow_model"  # its file is logged, not imported: the import would set this process's model
LIBRARY = Path(checkpoints.__file__).parent
REQUIREMENTS = ("torch", "torchvision", "numpy", "pandas", "jaxtyping", "mlflow")


class IncompatibleVersion(ValueError):
    """A registered version that cannot be scored with the present data or code."""

    def __init__(self, version: ModelVersion, cause: ValueError) -> None:
        super().__init__(
            f"version {version.version} of {version.name} cannot be scored on today's validation subjects ({cause})"
        )
        self.version = version


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", help="one of the systems in params.yaml")
    system = parser.parse_args().system
    selected = json.loads(Path("data/metrics", system, "selected.json").read_text())
    metrics = json.loads(Path("data/metrics", f"{system}.json").read_text())
    reads = {slot: Path(path) for slot, path in params("systems", system, "reads").items()}
    entry = register(system, selected, metrics, reads)
    with output(Path("data/registry", f"{system}.json")) as file:
        file.write_text(json.dumps(entry, indent=2) + "\n")
    print(f"{system}: version {entry['version']}, champion {entry['champion_version']}: {entry['why']}")


def register(system: str, selected: dict[str, Any], metrics: dict[str, float], reads: dict[str, Path]) -> dict[str, Any]:
    """Register the checkpoint unless it is registered already, and choose the champion: the entry of data/registry."""
    checkpoint = Path(selected["checkpoint"])
    if (digest := file_digest(checkpoint)) != selected["sha256"]:
        raise ValueError(f"{checkpoint} has SHA-256 {digest}, but {selected['sha256']} was judged; run evaluate again")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(tracking_uri())
    client, experiment_id = tracking.connect(system)
    data_digest = stores_digest(reads)
    version = registered_version(client, system, selected["sha256"])
    is_new = version is None
    if version is None:
        tags = {
            "checkpoint.sha256": selected["sha256"],
            "checkpoint.selected": selected["selected"],
            "data.digest": data_digest,
            "validation.score": repr(selected["validation_score"]),
            ERRORS: ", ".join(sorted(checkpoints.load(checkpoint)[1]["validation"]["errors"])),
            "git.sha": tracking.git_sha(),
            **{f"test.{name}": repr(value) for name, value in metrics.items() if not name.endswith((".low", ".high"))},
        }
        version = register_version(client, system, experiment_id, checkpoint, tags, metrics)
    strangers = impostors(checkpoint, reads)
    if strangers is not None:
        client.set_model_version_tag(system, str(version.version), tracking.IMPOSTORS, strangers.to_json())
    champion = current_champion(client, system)
    is_champion, why = compare_with_champion(version, champion, data_digest, reads)
    if is_champion:
        client.set_registered_model_alias(system, tracking.CHAMPION, str(version.version))
    return {
        "model": system,
        "version": str(version.version),
        "new": is_new,
        "run_id": version.run_id,
        "champion_version": str(version.version if is_champion or champion is None else champion.version),
        "why": why,
        "checkpoint_sha256": selected["sha256"],
        "data_digest": data_digest,
        "validation_score": selected["validation_score"],
        "impostors": None if strangers is None else json.loads(strangers.to_json()),
    }


def registered_version(client: mlflow.MlflowClient, system: str, sha256: str) -> ModelVersion | None:
    """The version under which a checkpoint is already registered."""
    versions = client.search_model_versions(f"name = '{system}'", max_results=10_000)
    return next((version for version in versions if version.tags.get("checkpoint.sha256") == sha256), None)


def register_version(
    client: mlflow.MlflowClient,
    system: str,
    experiment_id: str,
    checkpoint: Path,
    tags: dict[str, str],
    metrics: dict[str, float],
) -> ModelVersion:
    """Register the checkpoint with the library and the wrapper, logged to the run that trained it, or to a new one."""
    query = f"tags.`checkpoint.sha256` = '{tags['checkpoint.sha256']}'"
    runs = client.search_runs([experiment_id], query, order_by=["attributes.start_time DESC"])
    run = runs[0] if runs else client.create_run(experiment_id, run_name="register")
    with mlflow.start_run(run.info.run_id), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*input example")  # half a megabyte, and the signature suffices
        model = mlflow.pyfunc.log_model(
            name=system,
            python_model=str(source_file(WRAPPER)),
            artifacts={"checkpoint": str(checkpoint)},
            code_paths=[str(LIBRARY)],
            signature=signature(checkpoint),
            pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        )
        mlflow.log_metrics({f"test.{name}": value for name, value in metrics.items()}, model_id=model.model_id)
    return mlflow.register_model(model.model_uri, system, tags=tags)


def signature(checkpoint: Path) -> ModelSignature:
    """Names and shapes of the model's inputs and outputs."""
    network, entries = checkpoints.load(checkpoint)
    shapes = systems.find(entries["system"], "serving").shapes(network, entries["spec"])
    inputs, outputs = ([TensorSpec(np.dtype(np.float32), shape, name) for name, shape in named.items()] for named in shapes)
    return ModelSignature(Schema([*inputs]), Schema([*outputs]))


def source_file(module: str) -> Path:
    """The source file of a module, without importing it."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def current_champion(client: mlflow.MlflowClient, system: str) -> ModelVersion | None:
    """The version with the alias `champion`, if there is one."""
    try:
        return client.get_model_version_by_alias(system, tracking.CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # the second: no such alias
            return None
        raise


def compare_with_champion(
    version: ModelVersion, champion: ModelVersion | None, data_digest: str, reads: dict[str, Path]
) -> tuple[bool, str]:
    """Whether the version becomes champion, and why: only scores of the same tasks on the same subjects are compared.

    If the tasks differ, the champion stays, and the alias can be set by hand. A champion that cannot be scored (the present
    photos have no junk, the present code lacks a layer) is replaced: it stays in the registry, and its alias can be set back.
    """
    if champion is None:
        return True, "there was no champion"
    if str(champion.version) == str(version.version):
        return False, f"version {version.version} is the champion already"
    compared = (version, champion)
    errors, champion_errors = (candidate.tags.get(ERRORS) for candidate in compared)
    if errors and champion_errors and errors != champion_errors:
        reason = f"version {version.version} is scored by {errors}, champion {champion.version} by {champion_errors}"
        return False, f"{reason}: not comparable, the champion stays until the alias {tracking.CHAMPION} is set by hand"
    same_data = all(candidate.tags.get("data.digest") == data_digest for candidate in compared)
    try:
        score, champion_score = (
            float(candidate.tags["validation.score"]) if same_data else rescore(candidate, reads) for candidate in compared
        )
    except IncompatibleVersion as error:
        if error.version is version:
            raise
        return True, f"version {version.version} becomes champion: {error}"
    rescored = "both scored again on today's validation subjects, as one was scored on other data"
    basis = "on the same data" if same_data else rescored
    scores = f"version {version.version} has validation score {score:.6f}, champion {champion.version} has {champion_score:.6f}"
    is_better = score > champion_score
    return is_better, f"{scores} ({basis}): {'it becomes champion' if is_better else 'the champion stays'}"


def rescore(version: ModelVersion, reads: dict[str, Path]) -> float:
    """A registered checkpoint's score on the validation subjects of the present data."""
    with tempfile.TemporaryDirectory() as folder:
        model = download_artifacts(f"models:/{version.name}/{version.version}", dst_path=folder)
        try:
            return float(revalidate(Path(model, "artifacts", "checkpoint.pt"), reads)["score"])
        except ValueError as error:
            raise IncompatibleVersion(version, error) from error


if __name__ == "__main__":
    main()
