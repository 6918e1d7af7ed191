"""A trained network validated again, on the data of today."""

from pathlib import Path

import torch

from people import checkpoints, systems
from people.config import build
from people.inference import over_split
from people.training.monitor import Validation

BATCH_SIZE = 64  # bounds memory, changes no result


@torch.no_grad()
def revalidate(path: Path, reads: dict[str, Path]) -> Validation:
    """A checkpoint's errors and score on the validation subjects of the data at `reads`, in full precision."""
    network, checkpoint = checkpoints.load(path)
    system, spec = checkpoint["system"], checkpoint["spec"]
    data, objective = systems.find(system, "data"), systems.find(system, "objective")
    config = build(data.Config, checkpoint["config"]["data"])
    samples = data.open_samples(reads, config, "validation", spec["tasks"])
    monitor = objective.monitor(tuple(samples.targets(spec)))
    for outputs, batch in over_split(network, samples, spec, checkpoint["statistics"], BATCH_SIZE):
        monitor.add(outputs, batch)
    return monitor.result(dict)
