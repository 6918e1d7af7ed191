"""Untrained checkpoints of every system, small and without any data: sizes of the profile small, a specification by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

from people import systems
from people.config import build
from people.records import ACTIVITIES
from people.storage.serialization import serialize

ROOT = Path(__file__).parent.parent.parent
PEOPLE = ["p1", "p2", "p3"]
STATISTICS = {
    "dmt": {"mean": (50, 60, 60)},
    "reid": {"mean": (3, 1, 1), "std": (3, 1, 1)},
    "multipose": {"mean": (3, 1, 1), "std": (3, 1, 1)},
}
SPECS: dict[str, dict[str, Any]] = {
    "dmt": {"channels": 50, "size_hw": [60, 60], "age_centre_years": 40.0, "age_scale_years": 10.0},
    "gaittake": {"size_hw": [16, 11], "keypoints": True},
    "reid": {"size_hw": [32, 16], "attributes": {"age": ["young", "adult", "old"], "hat": ["no", "yes"]}},
    "gaitnet": {"size_hw": [32, 16]},
    "multipose": {"joints": 17, "activities": list(ACTIVITIES), "grid_hw": [14, 9], "aspect": "kept", "size_hw": [96, 128]},
}


def write(
    system: str,
    path: Path,
    *,
    seed: int = 0,
    model: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    tasks: list[str] | None = None,
) -> Path:
    """Write a checkpoint of an untrained network; `model`, `spec`: changes of its block and of its specification.

    Running statistics of BatchNorm are random, so that a graph without them would be noticed.
    """
    blocks = {part: load("params.yaml")["systems"][system][part] for part in ("data", "model", "objective")}
    small = load("stages/profiles/small.yaml")["systems"][system]
    blocks["data"] = merged(blocks["data"], small.get("data", {}))
    blocks["model"] = merged(merged(blocks["model"], small.get("model", {})), model or {})
    own = tasks or list(build(systems.find(system, "objective").Config, blocks["objective"]).tasks)
    full = {"subjects": PEOPLE, **SPECS[system], "tasks": own, **(spec or {})}
    torch.manual_seed(seed)
    module = systems.find(system, "model")
    network = module.Network(build(module.Config, blocks["model"]), full)
    for layer in network.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(layer.get_buffer("running_mean"), -0.5, 0.5)
            torch.nn.init.uniform_(layer.get_buffer("running_var"), 0.5, 2.0)
    if system == "multipose" and network.detector is not None:  # somebody is found: a score of one half before training
        torch.nn.init.zeros_(network.detector.head.classification_head.cls_logits.bias)
        torch.nn.init.uniform_(network.keypoints.heatmaps.weight, -0.5, 0.5)
    entries = {
        "system": system,
        "config": blocks,
        "spec": full,
        "statistics": {name: 0.5 + 0.1 * torch.rand(shape) for name, shape in STATISTICS.get(system, {}).items()},
        "network": network.state_dict(),
        "objective": {},
        "epoch": 1,
        "validation": {"score": -0.5, "errors": {"identity": 0.5}},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialize(entries))
    return path


def load(name: str) -> Any:
    """A file of the project in YAML, as plain values."""
    return YAML(typ="safe", pure=True).load(ROOT / name)


def merged(block: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The block with changes laid over it, at any depth."""
    inner = {key: merged(block[key], value) for key, value in changes.items() if isinstance(value, Mapping)}
    return {**block, **changes, **inner}
