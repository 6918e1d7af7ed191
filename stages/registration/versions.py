"""The versions of a registered model in MLflow: a checkpoint with the library, logged by a run of its own."""

import importlib.util
import json
import warnings
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import mlflow
import numpy as np
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array

from people import checkpoints, systems
from people.serving.raw_input import KINDS, Kind, Recorded, recorded
from people.storage import file_digest
from people.training.system import Shapes
from stages.registration import descriptions, lineage, model_card, onnx_export
from stages.registration.champions import ERRORS
from stages.tracking import runs

WRAPPER = "stages.shared.mlflow_model"  # its file is logged, not imported: the import would set this process's model
LIBRARY = Path(checkpoints.__file__).parent
REQUIREMENTS = ("torch", "torchvision", "numpy", "pandas", "scipy", "opencv-python-headless", "jaxtyping", "mlflow")
MAX_EXAMPLE_BYTES = 100_000  # of an input example as JSON; a model with larger inputs has none
CARD_FILE, ONNX_FOLDER = "model_card.md", "onnx"  # beside the checkpoint


def registered(client: mlflow.MlflowClient, system: str, sha256: str) -> ModelVersion | None:
    """The version under which a checkpoint is registered already."""
    versions = client.search_model_versions(f"name = '{system}'", max_results=10_000)
    return next((version for version in versions if version.tags.get(runs.CHECKPOINT) == sha256), None)


def register(
    client: mlflow.MlflowClient,
    experiment_id: str,
    system: str,
    selected: dict[str, Any],
    metrics: dict[str, float],
    reads: dict[str, Path],
    data_digest: str,
) -> ModelVersion:
    """Register the checkpoint with the library, its lineage, its model card and, where it can be exported, its ONNX graphs.

    The model is logged by a run of its own below the run that trained it, whose times stay as they are. Metrics of the test
    belong to the model and to that run; the version has few tags, by which it is found and compared.
    """
    checkpoint, sha256 = Path(selected["checkpoint"]), selected["sha256"]
    training = training_run(client, experiment_id, sha256)
    facts = {
        runs.CHECKPOINT: sha256,
        "checkpoint.selected": selected["selected"],
        runs.DATA: data_digest,
        "validation.score": repr(selected["validation_score"]),
        ERRORS: ", ".join(sorted(checkpoints.load(checkpoint)[1]["validation"]["errors"])),
        "git.sha": runs.git_sha(),
        **({"training.run_id": training.info.run_id} if training else {}),
    }
    run_tags = {name: value for name, value in facts.items() if name != runs.CHECKPOINT}  # which names the training's run
    run_tags |= {"stage": "register", "system": system, "process": runs.process()}
    run_tags |= {runs.PARENT_TAG: training.info.run_id} if training else {}
    title = f"{system}, the {selected['selected']} checkpoint {sha256[:8]} registered"
    record, served = lineage.record(system, selected, reads, metrics), served_as(checkpoint, reads)
    with TemporaryDirectory() as folder:
        files = written(record, checkpoint, Path(folder))
        with mlflow.start_run(experiment_id=experiment_id, run_name=title, tags=run_tags), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*input example")  # of large inputs the signature suffices
            model_id, uri = log_model(system, checkpoint, sha256, files, served)
            mlflow.log_metrics({f"test.{name}": value for name, value in metrics.items()}, model_id=model_id)
    version = mlflow.register_model(uri, system, tags=facts)
    client.update_registered_model(
        system, descriptions.of_model(system, served.inputs, served.signature, served.raw, experiment_id)
    )
    text = descriptions.shortened(model_card.short(record, str(version.version)))
    client.update_model_version(system, str(version.version), text)
    return version


def written(record: lineage.Record, checkpoint: Path, folder: Path) -> dict[str, Path]:
    """What accompanies a checkpoint, written to a folder: by name a file, or the folder of ONNX graphs."""
    files = {"lineage": folder / lineage.FILE, "model_card": folder / CARD_FILE}
    files["lineage"].write_text(json.dumps(record, indent=2) + "\n")
    files["model_card"].write_text(model_card.card(record))
    exported = onnx_export.export(checkpoint, folder / ONNX_FOLDER)
    return files | ({ONNX_FOLDER: exported.path} if exported else {})


def training_run(client: mlflow.MlflowClient, experiment_id: str, sha256: str) -> Run | None:
    """The newest run that made the checkpoint, by its digest; None where it was made without this database."""
    query = f"tags.`{runs.CHECKPOINT}` = '{sha256}'"
    return next(iter(client.search_runs([experiment_id], query, order_by=["attributes.start_time DESC"], max_results=1)), None)


class Served(NamedTuple):
    """What a version is asked and answers: the shapes of prepared arrays, how raw pictures are prepared, and what they are."""

    inputs: Shapes
    recorded: Recorded
    raw: Kind | None
    signature: ModelSignature


def served_as(checkpoint: Path, reads: Mapping[str, Path]) -> Served:
    """What the model of a checkpoint is asked and answers; `reads`: the stores from which it was trained, by slot."""
    network, entries = checkpoints.load(checkpoint)
    inputs, outputs = systems.find(entries["system"], "serving").shapes(network, entries["spec"])
    how = recorded(entries["system"], reads, entries["config"]["data"])
    raw = KINDS[how.slots["frames"]["kind"]] if how.slots else None
    return Served(inputs, how, raw, signature_of(inputs, outputs, raw))


def signature_of(inputs: Shapes, outputs: Shapes, raw: Kind | None) -> ModelSignature:
    """The names of the arrays in either form, none of which MLflow requires by itself, and the shapes of the outputs.

    The model checks what comes, as a signature of tensors would require all of them. Of any lists of this type MLflow makes
    arrays, which its refusals show abbreviated; lists it would write into them with all their pixels.
    """
    asked = [ColSpec(Array(AnyType()), name, required=False) for name in (*inputs, *(raw.names if raw else ()))]
    answered = [TensorSpec(np.dtype(np.float32), shape, name) for name, shape in outputs.items()]
    return ModelSignature(Schema([*asked]), Schema([*answered]))


def log_model(system: str, checkpoint: Path, sha256: str, files: Mapping[str, Path], served: Served) -> tuple[str, str]:
    """Log the model to the active run: its id and its URI. MLflow puts each file under its own name into its `artifacts`."""
    how = served.recorded
    model = mlflow.pyfunc.log_model(
        name=system,
        python_model=str(source_file(WRAPPER)),
        # of a path, MLflow would read %, ? and # as parts of a URI
        artifacts={name: file.absolute().as_uri() for name, file in {"checkpoint": checkpoint, **how.files, **files}.items()},
        code_paths=[str(LIBRARY)],
        model_config={
            "checkpoint_sha256": sha256,
            "prepared_by": how.slots,
            "files_sha256": {name: file_digest(file) for name, file in how.files.items()},
        },
        metadata={"inputs": descriptions.of_inputs(served.inputs, served.raw)},
        signature=served.signature,
        input_example=input_example(served.inputs),
        pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
    )
    return str(model.model_id), model.model_uri


def input_example(inputs: Shapes) -> Any:
    """Zeros in the shapes of the prepared arrays, a single sample; None where they are large. It is nobody's data."""
    zeros = {name: np.zeros(shape, np.float32) for name, shape in descriptions.example_shapes(inputs).items()}
    size = len(json.dumps({name: values.tolist() for name, values in zeros.items()}))
    return zeros if size <= MAX_EXAMPLE_BYTES else None


def source_file(module: str) -> Path:
    """The source file of a module, without importing it."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def judged_checkpoint(selected: dict[str, Any]) -> Path:
    """The checkpoint that `evaluate` has selected, if it is still the same file."""
    checkpoint = Path(selected["checkpoint"])
    if (digest := file_digest(checkpoint)) != selected["sha256"]:
        raise ValueError(f"{checkpoint} has SHA-256 {digest}, but {selected['sha256']} was judged; run evaluate again")
    return checkpoint
