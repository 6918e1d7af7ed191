"""A project folder with small networks of DMT to register: some that tell people apart, and blind ones."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from dmt_workspace import PARAMS
from flow_stores import write_checkpoint
from ruamel.yaml import YAML

from people import checkpoints
from people.storage import file_digest
from people.storage.serialization import serialize
from stages import register
from stages.registration import onnx_export

SCORE = {
    "decisions": ["svm", "softmax_product"],
    "neighbours": 7,
    "pca_components": 8,
    "svm_cost": 10.0,
    "batch_size": 64,
    "adapt": {"epochs": 2, "learning_rate": 0.1, "batch_size": 16, "scope": "head"},
    "bootstrap": {"resamples": 20, "confidence": 0.9},
    "elapsed_gallery": ["n01", "n02", "n03", "n04"],
}
SEARCH = {**PARAMS["search"]["dmt"], "objectives": ["score"]}
TRAINED, TUNED = Path("data/models/dmt/checkpoint.pt"), Path("data/studies/dmt/finals/found-seed1/checkpoint.pt")
METRICS = {"gender.accuracy": 0.7, "gender.accuracy.low": 0.6, "gender.accuracy.high": 0.8, "age.mae_years": 5.0}


def empty_database(folder: Path) -> Path:
    """A tracking database without runs: making one takes MLflow five seconds."""
    path = folder / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in this folder, without a server and with the state in it."""
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "PEOPLE_STATE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


def write_workspace(folder: Path, store: Path) -> None:
    """Parameters, a trained checkpoint, and one with found weights that has the higher score."""
    reads = {"frames": str(store), "poses": str(store)}
    blocks = {"systems": {"dataset": "tumgaid", "reads": reads}, "score": SCORE, "search": SEARCH}
    YAML().dump({"seed": 1} | {name: {"dmt": block} for name, block in blocks.items()}, folder / "params.yaml")
    write_checkpoint(folder / TRAINED, store, seed=0, score=-0.5)
    write_checkpoint(folder / TUNED, store, seed=1, score=-0.4)
    row = {"weights": "found", "seed": 1, "folder": TUNED.parent.name, "sha256": file_digest(folder / TUNED), "score": -0.4}
    pd.DataFrame([row]).to_csv(folder / TUNED.parent.parent.parent / "finals.csv", index=False)


def registered(store: Path, folder: Path, *, seed: int, score: float, blind: bool = False, **checkpoint: Any) -> dict[str, Any]:
    """Register an untrained network with this validation score; such a network separates people, a blind one does not."""
    path = write_checkpoint(folder / f"seed-{seed}" / "checkpoint.pt", store, seed=seed, score=score, **checkpoint)
    if blind:
        make_blind(path)
    return register.register("dmt", selected(path, score), METRICS, {"frames": store, "poses": store})


def selected(checkpoint: Path, score: float) -> dict[str, Any]:
    """What `evaluate` writes of the checkpoint that it has judged."""
    return {
        "selected": "trained",
        "checkpoint": str(checkpoint),
        "sha256": file_digest(checkpoint),
        "validation_score": score,
    }


def write_judged(folder: Path, checkpoint: Path, score: float) -> None:
    """What the stage register reads of the stage evaluate, in a project folder."""
    metrics = folder / "data/metrics"
    (metrics / "dmt").mkdir(parents=True, exist_ok=True)
    (metrics / "dmt/all.json").write_text(json.dumps(METRICS))
    (metrics / "dmt/selected.json").write_text(json.dumps(selected(checkpoint, score)))


def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register without the export, which takes seconds."""
    monkeypatch.setattr(onnx_export, "export", lambda *_: None)


def make_blind(path: Path) -> None:
    """Set all weights of a checkpoint to 0, so that its outputs are the same for everybody."""
    entries = checkpoints.read(path)
    entries["network"] = {name: torch.zeros_like(values) for name, values in entries["network"].items()}
    path.write_bytes(serialize(entries))


def client() -> mlflow.MlflowClient:
    return mlflow.MlflowClient(register.tracking_uri())


def version_with(alias: str) -> str:
    """The number of the version of dmt that has an alias."""
    return str(client().get_model_version_by_alias("dmt", alias).version)


def registered_checkpoint() -> Path:
    """The one checkpoint in the registry's files."""
    (checkpoint,) = [path for path in Path(".state/mlruns").rglob("checkpoint.pt") if path.is_file()]
    return checkpoint
