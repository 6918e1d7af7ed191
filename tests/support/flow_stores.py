"""A flow store of people, each with a pattern, and a small untrained network for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from people.storage.serialization import serialize
from people.storage.store import Field, StoreWriter
from people.systems.dmt import data, model

CURRENT = ("n01", "n02", "n03", "n04", "n05", "n06", "b01", "b02", "s01", "s02")
ELAPSED = ("n07", "n08", "n09", "n10", "n11", "n12", "b03", "b04", "s03", "s04")
DATA_BLOCK = {"window_frames": 5, "step_frames": 3, "crop_px": 60, "mirror": True, "shifts_px": [0]}
MODEL_BLOCK = {"type": "B", "widths": [4, 8, 8, 8], "dense": [16], "dropout": 0.1}
OBJECTIVE_BLOCK = {
    "lambda": {"gender": 0.1, "age": 0.2, "verification": 0.1}, "margin": {"verification": 0.5}, "adaptive_margin": False,
    "weighting": {"name": "fixed"},
}  # fmt: skip
TASKS = ("identity", "gender", "age", "verification")
DATA = data.Config(**DATA_BLOCK)


def write_store(path: Path, *, subjects: int, elapsed: int = 0, separation: float = 1.0, seed: int = 5) -> Path:
    """Flow of moving noise; `separation` is the strength of each person's pattern in it."""
    generator = np.random.default_rng(seed)
    fields = {"flow": Field("int16", (2, 60, 80)), "box": Field("float32", (4,))}
    meta = {"dataset": "tumgaid", "flow_scale": 100, "method": "farneback", "compute_size_hw": [60, 80], "size_hw": [60, 80]}
    with StoreWriter(path, fields, meta) as writer:
        for split in ("train", "validation", "test"):
            for number in range(subjects):
                pattern = generator.normal(size=(2, 6, 8)).repeat(10, axis=1).repeat(10, axis=2)
                for sequence in CURRENT + (ELAPSED if split == "test" and number < elapsed else ()):
                    noise = generator.normal(size=(11, 2, 60, 80))
                    subject = f"{split[0]}{number:02d}"
                    row = {
                        "dataset": "tumgaid", "clip_id": f"{subject}/{sequence}", "subject_id": subject,
                        "split": split, "sequence": sequence, "condition": sequence[0], "session": int(sequence in ELAPSED),
                        "view_deg": 90.0, "gender": ("female", "male", "male")[number % 3], "age_years": 20.0 + 3 * number,
                    }  # fmt: skip
                    flow = np.round(100 * (separation * pattern + 0.3 * noise)).astype(np.int16)
                    writer.append(row, {"flow": flow, "box": np.tile(np.array([10, 5, 70, 55], np.float32), (11, 1))})
    return path


def network_for(path: Path, seed: int = 0) -> tuple[model.Network, dict[str, Any], dict[str, torch.Tensor]]:
    """A network with random weights (which separate people already), its spec, and the training mean."""
    train = data.open_samples({"frames": path}, DATA, "train", TASKS)
    torch.manual_seed(seed)
    spec = data.spec(train) | {"tasks": list(TASKS)}
    return model.Network(model.Config(**MODEL_BLOCK), spec).eval(), spec, data.statistics(train)


def write_checkpoint(
    path: Path,
    store: Path,
    *,
    seed: int = 0,
    score: float = -0.5,
    errors: Sequence[str] | Mapping[str, float] = ("identity",),
    **data_block: Any,
) -> Path:
    """An untrained network as a checkpoint with this validation score and these errors; all are the score's, or their own."""
    network, spec, statistics = network_for(store, seed)
    named = dict(errors) if isinstance(errors, Mapping) else dict.fromkeys(errors, -score)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = {
        "system": "dmt",
        "config": {"data": DATA_BLOCK | data_block, "model": MODEL_BLOCK, "objective": OBJECTIVE_BLOCK},
        "spec": spec,
        "statistics": statistics,
        "network": network.state_dict(),
        "objective": {},
        "epoch": 1,
        "validation": {"score": score, "errors": named},
    }
    path.write_bytes(serialize(checkpoint))
    return path
