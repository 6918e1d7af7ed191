"""What a trained network is on disk: written whole, read back without running anything that the file brings along."""

from pathlib import Path
from typing import Any

from torch import nn

from people import config, systems
from people.storage.trained_weights import read_tensors

KEYS = {"system", "config", "spec", "statistics", "network", "objective", "epoch", "validation"}


def read(path: Path) -> dict[str, Any]:
    """The checkpoint's entries, as tensors and plain values on the CPU; a `ValueError` says why a file is none."""
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}; train the system first (dvc repro train)")
    try:
        checkpoint = read_tensors(path)
    except ValueError as error:
        raise ValueError(f"{path} is no readable checkpoint ({error}); delete it and train again") from error
    missing = sorted(KEYS - checkpoint.keys()) if isinstance(checkpoint, dict) else sorted(KEYS)
    if missing:
        raise ValueError(f"{path} is not a checkpoint of this project: it lacks {', '.join(missing)}; train again")
    return checkpoint


def load(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint in evaluation mode, and the checkpoint's entries.

    The configuration of all parts must be one of today's code, not that of the network alone.
    """
    checkpoint = read(path)
    system, blocks = checkpoint["system"], checkpoint["config"]
    try:
        model = systems.find(system, "model")
        config.build(systems.find(system, "data").Config, blocks["data"])
        config.build(systems.find(system, "objective").Config, blocks["objective"])
        network = model.Network(config.build(model.Config, blocks["model"]), checkpoint["spec"])
        network.load_state_dict(checkpoint["network"])
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not fit the network of today's code: {error}; train again") from error
    return network.eval(), checkpoint
