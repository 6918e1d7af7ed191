"""Enter the judged checkpoint into the MLflow registry; it becomes `champion` when it beats the present one on the same data.

    python -m stages.register dmt

writes data/registry/<system>.json: the version, the run that it came from, the champion, and why.
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
from people.revalidation import revalidate
from people.storage.files import file_digest
from people.storage.store import stores_digest
from stages.shared import tracking
from stages.shared.project import output, params, tracking_uri

ALIAS = "champion"
ERRORS = "validation.errors"  # a tag: what the score is made of
WRAPPER = "stages.shared.mlflow_model"  # its file is logged, not imported: it makes a model of the process that runs it
LIBRARY = Path(checkpoints.__file__).parent
REQUIREMENTS = ("torch", "torchvision", "numpy", "jaxtyping", "mlflow")


class Unscored(ValueError):
    """A registered version that the data or the code of today do not fit."""

    def __init__(self, version: ModelVersion, why: ValueError) -> None:
        super().__init__(f"version {version.version} of {version.name} cannot be scored on today's validation subjects ({why})")
        self.version = version


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system")
    system = parser.parse_args().system
    selected = json.loads(Path("data/metrics", system, "selected.json").read_text())
    metrics = json.loads(Path("data/metrics", f"{system}.json").read_text())
    reads = {slot: Path(path) for slot, path in params("systems", system, "reads").items()}
    entry = register(system, selected, metrics, reads)
    with output(Path("data/registry", f"{system}.json")) as file:
        file.write_text(json.dumps(entry, indent=2) + "\n")
    print(f"{system}: version {entry['version']}, champion {entry['champion_version']}: {entry['why']}")


def register(system: str, selected: dict[str, Any], metrics: dict[str, float], reads: dict[str, Path]) -> dict[str, Any]:
    """The registry's entry: the checkpoint's version, new unless it is known, and who is champion now."""
    checkpoint = Path(selected["checkpoint"])
    if (found := file_digest(checkpoint)) != selected["sha256"]:
        raise ValueError(f"{checkpoint} has SHA-256 {found}, but {selected['sha256']} was judged; run evaluate again")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(tracking_uri())
    client, experiment_id = tracking.connect(system)
    data_digest = stores_digest(reads)
    version = known_version(client, system, selected["sha256"])
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
        version = new_version(client, system, experiment_id, checkpoint, tags, metrics)
    champion = present_champion(client, system)
    wins, why = challenge(version, champion, data_digest, reads)
    if wins:
        client.set_registered_model_alias(system, ALIAS, str(version.version))
    return {
        "model": system,
        "version": str(version.version),
        "new": is_new,
        "run_id": version.run_id,
        "champion_version": str(version.version if wins or champion is None else champion.version),
        "why": why,
        "checkpoint_sha256": selected["sha256"],
        "data_digest": data_digest,
        "validation_score": selected["validation_score"],
    }


def known_version(client: mlflow.MlflowClient, system: str, sha256: str) -> ModelVersion | None:
    """The version under which a checkpoint is already registered."""
    versions = client.search_model_versions(f"name = '{system}'", max_results=10_000)
    return next((version for version in versions if version.tags.get("checkpoint.sha256") == sha256), None)


def new_version(
    client: mlflow.MlflowClient,
    system: str,
    experiment_id: str,
    checkpoint: Path,
    tags: dict[str, str],
    metrics: dict[str, float],
) -> ModelVersion:
    """The checkpoint with its library and wrapper, logged to the run that trained it (or to a run of its own)."""
    trained = f"tags.`checkpoint.sha256` = '{tags['checkpoint.sha256']}'"
    runs = client.search_runs([experiment_id], trained, order_by=["attributes.start_time DESC"])
    run = runs[0] if runs else client.create_run(experiment_id, run_name="register")
    with mlflow.start_run(run.info.run_id), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*input example")  # an example would be half a megabyte; the signature says it all
        model = mlflow.pyfunc.log_model(
            name=system,
            python_model=str(source_of(WRAPPER)),
            artifacts={"checkpoint": str(checkpoint)},
            code_paths=[str(LIBRARY)],
            signature=signature(checkpoint),
            pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        )
        mlflow.log_metrics({f"test.{name}": value for name, value in metrics.items()}, model_id=model.model_id)
    return mlflow.register_model(model.model_uri, system, tags=tags)


def signature(checkpoint: Path) -> ModelSignature:
    """Names and shapes of what the model takes and answers."""
    network, entries = checkpoints.load(checkpoint)
    shapes = systems.find(entries["system"], "serving").shapes(network, entries["spec"])
    inputs, outputs = ([TensorSpec(np.dtype(np.float32), shape, name) for name, shape in named.items()] for named in shapes)
    return ModelSignature(Schema([*inputs]), Schema([*outputs]))


def source_of(module: str) -> Path:
    """The file of a module that is not imported."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def present_champion(client: mlflow.MlflowClient, system: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(system, ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # the second: no such alias
            return None
        raise


def challenge(
    version: ModelVersion, champion: ModelVersion | None, data_digest: str, reads: dict[str, Path]
) -> tuple[bool, str]:
    """Whether the version becomes champion, and why: scores count only of the same tasks on the same subjects.

    The score of a network with other tasks is another thing: the champion stays, and the alias can be given by hand.
    A champion that cannot be scored there (today's photos have no junk, today's code no such layer) makes room: it stays in the
    registry, and its alias can be given back by hand.
    """
    if champion is None:
        return True, "there was no champion"
    if str(champion.version) == str(version.version):
        return False, f"version {version.version} is the champion already"
    ours_of, theirs_of = (one.tags.get(ERRORS) for one in (version, champion))
    if ours_of and theirs_of and ours_of != theirs_of:
        told = f"version {version.version} is scored by {ours_of}, champion {champion.version} by {theirs_of}"
        return False, f"{told}: not to be compared, the champion stays until the alias {ALIAS} is given by hand"
    same = all(one.tags.get("data.digest") == data_digest for one in (version, champion))
    try:
        ours, theirs = (
            float(one.tags["validation.score"]) if same else scored_again(one, reads) for one in (version, champion)
        )
    except Unscored as error:
        if error.version is version:
            raise
        return True, f"version {version.version} takes over: {error}"
    how = "on the same data" if same else "both scored again on today's validation subjects, as one was scored on other data"
    told = f"version {version.version} has validation score {ours:.6f}, champion {champion.version} had {theirs:.6f} ({how})"
    return ours > theirs, f"{told}: {'it takes over' if ours > theirs else 'the champion stays'}"


def scored_again(version: ModelVersion, reads: dict[str, Path]) -> float:
    """A registered checkpoint's score on the validation subjects of today's data."""
    with tempfile.TemporaryDirectory() as folder:
        model = download_artifacts(f"models:/{version.name}/{version.version}", dst_path=folder)
        try:
            return float(revalidate(Path(model, "artifacts", "checkpoint.pt"), reads)["score"])
        except ValueError as error:
            raise Unscored(version, error) from error


if __name__ == "__main__":
    main()
