"""A trained network in one file: written whole, read back without running anything that the file brings along."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from people import systems

KEYS = {"system", "config", "spec", "statistics", "network", "objective", "epoch", "watched"}
WATCHED_TOGETHER = 64  # samples at a time: bounds memory, changes no result


def read(path: Path) -> dict[str, Any]:
    """The checkpoint's entries, as tensors and plain values on the CPU; a `ValueError` says why a file is none."""
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}; train the system first (dvc repro train)")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError, KeyError) as error:
        first_line = (str(error).splitlines() or ["empty file"])[0]
        raise ValueError(f"{path} is no readable checkpoint ({first_line}); delete it and train again") from error
    missing = sorted(KEYS - checkpoint.keys()) if isinstance(checkpoint, dict) else sorted(KEYS)
    if missing:
        raise ValueError(f"{path} is not a checkpoint of this project: it lacks {', '.join(missing)}; train again")
    return checkpoint


def load(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint, ready to judge (evaluation mode), and the checkpoint's entries."""
    checkpoint = read(path)
    model = systems.find(checkpoint["system"], "model")
    network = model.Network(config_of(model.Config, checkpoint["config"]["model"]), checkpoint["spec"])
    try:
        network.load_state_dict(checkpoint["network"])
    except RuntimeError as error:
        raise ValueError(f"the weights in {path} do not fit the network of today's code: {error}; train again") from error
    return network.eval(), checkpoint


def config_of(config_class: type, values: dict[str, Any]) -> Any:
    """A configuration from a block of plain values; keys that are unknown or missing are the user's mistake."""
    try:
        return config_class(**values)
    except TypeError as error:
        where = f"{config_class.__module__}.{config_class.__name__}"
        raise ValueError(
            f"{where} does not take {', '.join(values) or 'an empty block'}: {error}; correct params.yaml"
        ) from error


def digest(path: Path) -> str:
    """SHA-256 of a file: by it a checkpoint is known wherever it lies."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@torch.no_grad()
def watch(path: Path, reads: dict[str, Path]) -> dict[str, Any]:
    """The checkpoint's errors and score on the validation subjects of the data at `reads`, measured now, in full precision."""
    network, checkpoint = load(path)
    data, objective = systems.find(checkpoint["system"], "data"), systems.find(checkpoint["system"], "objective")
    samples = data.open_samples(reads, config_of(data.Config, checkpoint["config"]["data"]), "validation")
    outputs: dict[str, list[torch.Tensor]] = {}
    for rows in torch.arange(len(samples)).split(WATCHED_TOGETHER):
        batch = samples.batch(rows.tolist(), spec=checkpoint["spec"], statistics=checkpoint["statistics"], augment=None)
        for name, value in network(batch).items():
            outputs.setdefault(name, []).append(value)
    targets = samples.targets(checkpoint["spec"])
    return dict(objective.watch({name: torch.cat(values) for name, values in outputs.items()}, targets))
