"""The registered champion of a system, as a file."""

import os
from pathlib import Path

from stages.shared.databases import mlflow_database
from stages.shared.project import output, state


def champion_checkpoint(system: str) -> Path:
    """The checkpoint of the version that has the alias `champion`, fetched once; ValueError where there is none."""
    import mlflow
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from stages.shared.tracking import CHAMPION

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(mlflow_database())
    try:
        version = mlflow.MlflowClient().get_model_version_by_alias(system, CHAMPION)
    except MlflowException as error:
        raise ValueError(
            f"{system} has no champion in the registry ({error.error_code}): run dvc repro register@{system}"
        ) from error
    kept = state("champions", f"{system}-{version.version}-{version.tags.get('checkpoint.sha256', 'unknown')[:12]}.pt")
    if not kept.is_file():
        with output(kept) as file:
            uri = f"models:/{system}/{version.version}/artifacts/checkpoint.pt"
            Path(download_artifacts(uri, dst_path=str(kept.parent))).replace(file)
    return kept
