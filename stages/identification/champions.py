"""The registered champion of a system: its checkpoint as a file, and how near strangers come to each other."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from people.serving.open_set import Impostors
from people.storage import file_digest
from stages.shared.project import output, state
from stages.tracking.databases import mlflow_database

SHA256 = "checkpoint.sha256"  # a tag of every registered version


class Trained(NamedTuple):
    """A checkpoint, what it is called, and the distances of impostors on its validation people; None: unknown."""

    checkpoint: Path
    version: str
    impostors: Impostors | None


def champion(system: str) -> Trained:
    """The version that has the alias `champion`, its checkpoint fetched once; ValueError where there is none.

    A fetched file that is damaged since, by the SHA-256 that the version names, is fetched again.
    """
    import mlflow
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from stages.tracking.runs import CHAMPION, IMPOSTORS

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(mlflow_database())
    try:
        version = mlflow.MlflowClient().get_model_version_by_alias(system, CHAMPION)
    except MlflowException as error:
        raise ValueError(
            f"{system} has no champion in the registry ({error.error_code}): run dvc repro register@{system}; where that is "
            f"up to date, of another registry: dvc repro --force --single-item register@{system}"
        ) from error
    sha256 = version.tags.get(SHA256)
    kept = state("champions", f"{system}-{version.version}-{(sha256 or 'unknown')[:12]}.pt")
    if not kept.is_file() or (sha256 and file_digest(kept) != sha256):
        with output(kept) as file, TemporaryDirectory(dir=kept.parent) as folder:
            uri = f"models:/{system}/{version.version}/artifacts/checkpoint.pt"
            Path(download_artifacts(uri, dst_path=folder)).replace(file)
            if sha256 and (fetched := file_digest(file)) != sha256:
                raise ValueError(
                    f"version {version.version} of {system} has a checkpoint with SHA-256 {fetched} in the registry, but "
                    f"{sha256} was registered: it was damaged or replaced there; restore it, or delete that version in MLflow "
                    f"and run dvc repro --force register@{system}"
                )
    text = version.tags.get(IMPOSTORS)
    return Trained(kept, f"version {version.version}", Impostors.from_json(text) if text else None)


def from_file(system: str, checkpoint: Path) -> Trained:
    """A checkpoint in a file; the distances are known if it is the one that `register` has seen last."""
    entry = Path("data/registry", f"{system}.json")
    registered = json.loads(entry.read_text()) if entry.is_file() else {}
    is_known = checkpoint.is_file() and registered.get("checkpoint_sha256") == file_digest(checkpoint)
    values = registered.get("impostors") if is_known else None
    return Trained(checkpoint, str(checkpoint), Impostors.from_json(json.dumps(values)) if values else None)
