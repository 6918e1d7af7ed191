"""A trained network validated again, on the data of today, and how far it puts different people apart."""

from pathlib import Path

import numpy as np
import torch

from people import checkpoints, systems
from people.config import build
from people.evaluation import open_set
from people.inference import joined, over_split
from people.training.monitor import Validation
from people.training.system import Identifying

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


@torch.no_grad()
def impostors(path: Path, reads: dict[str, Path]) -> open_set.Impostors | None:
    """How far validation people are from each other, recording by recording; None of a system that tells nobody apart.

    A recording's embedding is the mean over its samples, as `identify` compares them.
    """
    network, checkpoint = checkpoints.load(path)
    system, spec = checkpoint["system"], checkpoint["spec"]
    serving, data = systems.find(system, "serving"), systems.find(system, "data")
    if not isinstance(serving, Identifying):
        return None
    samples = data.open_samples(reads, build(data.Config, checkpoint["config"]["data"]), "validation", spec["tasks"])
    batches = over_split(network, samples, spec, checkpoint["statistics"], BATCH_SIZE)
    embedding = serving.predictions(joined([outputs for outputs, _ in batches]))[serving.EMBEDDING]
    recording, subject = serving.recordings(samples, spec), samples.targets(spec)["subject"].numpy()
    names = np.unique(recording[recording >= 0])
    mean = np.stack([embedding[recording == name].mean(axis=0) for name in names])
    person = np.array([subject[recording == name][0] for name in names])
    return open_set.between_people(serving.distances(mean, mean), person)
