"""The numbers of a registered checkpoint computed again: validation and test, by the library or through its ONNX files."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from people import checkpoints, datasets, systems
from people.config import build
from people.serving.revalidation import revalidate
from people.storage import file_digest
from people.storage.store import stores_digest
from stages.evaluate import device
from stages.registration import lineage
from stages.registration.lineage import Record

TOLERANCE = 1e-3  # of metrics through ONNX Runtime, absolute or relative, whichever is more


class Row(NamedTuple):
    """A number that is otherwise than recorded; None: there is none."""

    name: str
    recorded: float | None
    today: float | None


def data_differ(record: Record, reads: Mapping[str, Path]) -> str:
    """Which data were recorded and which are there today, in words; empty where they are the same."""
    digest = stores_digest(reads)
    if digest == record["data_digest"]:
        return ""
    return (
        f"the data are others than recorded: version {record['data_digest'][:12]} then, {digest[:12]} today. The numbers below "
        "are of today's data"
    )


def reproduce(record: Record, checkpoint: Path, reads: dict[str, Path]) -> list[Row]:
    """The validation and the test metrics of a checkpoint on today's data: what is otherwise than recorded, to the last digit.

    Raises:
        ValueError: the file is not the recorded checkpoint.
    """
    if (digest := file_digest(checkpoint)) != record["checkpoint"]["sha256"]:
        raise ValueError(f"the checkpoint has SHA-256 {digest}, but {record['checkpoint']['sha256']} was recorded")
    network, entries = checkpoints.load(checkpoint)
    validation = revalidate(checkpoint, reads)
    scores = {"validation score": float(validation["score"])} | of_errors(validation["errors"])
    expected = {"validation score": record["validation"]["score"]} | of_errors(record["validation"]["errors"])
    return unequal(expected, scores) + unequal(record["metrics"], metrics(record, network.to(device()), entries, reads))


def of_errors(errors: Mapping[str, float]) -> dict[str, float]:
    """Validation errors by names that no metric has."""
    return {f"validation error, {name}": float(value) for name, value in errors.items()}


def metrics(record: Record, network: nn.Module, entries: Mapping[str, Any], reads: dict[str, Path]) -> dict[str, float]:
    """The metrics of a network on today's test people, under the dataset's protocol and with the recorded settings."""
    system, block = record["system"], record["parameters"]
    data, score = systems.find(system, "data"), systems.find(system, "score")
    results = score.evaluate(
        network,
        entries["spec"],
        entries["statistics"],
        reads,
        build(data.Config, entries["config"]["data"]),
        build(score.Config, block["score"]),
        datasets.find(block["dataset"]),
        record["evaluation_seed"],
    )
    return lineage.plain(results.metrics)


def through_onnx(
    record: Record, model: Any, checkpoint: Path, reads: dict[str, Path]
) -> tuple[dict[str, float], dict[str, float]]:
    """The test metrics with ONNX Runtime in place of the network, and the recorded ones, without those that no graph computes.

    `model`: a `stages.registration.onnx_export.OnnxModel`. A metric whose network is trained further while it is judged, as by
    fine-tuning on a gallery, has no exported graph: the system's `serving.NOT_EXPORTED` names the beginnings of these.
    """
    entries = checkpoints.read(checkpoint)
    left_out = tuple(getattr(systems.find(record["system"], "serving"), "NOT_EXPORTED", ()))
    found = metrics(record, model.network, entries, reads)
    kept = {name: value for name, value in record["metrics"].items() if not (left_out and name.startswith(left_out))}
    return {name: value for name, value in found.items() if name in kept}, kept


def unequal(recorded: Mapping[str, float], today: Mapping[str, float], tolerance: float = 0.0) -> list[Row]:
    """The numbers that differ by more than the tolerance, absolute or relative, or that are on one side alone."""
    names = [*recorded, *(name for name in today if name not in recorded)]
    rows = [Row(name, recorded.get(name), today.get(name)) for name in names]
    return [row for row in rows if not close(row, tolerance)]


def close(row: Row, tolerance: float) -> bool:
    """Whether both numbers are there and differ by no more than the tolerance."""
    if row.recorded is None or row.today is None:
        return False
    return row.recorded == row.today or math.isclose(row.recorded, row.today, rel_tol=tolerance, abs_tol=tolerance)
