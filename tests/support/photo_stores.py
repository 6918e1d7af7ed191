"""Photos of people in colours of their own, from several cameras, and the blocks of a small network for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from people.records import ATTRIBUTES
from people.storage.store import Field, StoreWriter

HEIGHT, WIDTH = 32, 16
DATA_BLOCK: dict[str, Any] = {
    "size_hw": [HEIGHT, WIDTH], "normalise": "training", "flip": 0.5, "rotation_deg": 10, "translation": 0.05,
}  # fmt: skip
MODEL_BLOCK: dict[str, Any] = {
    "type": "resnet", "widths": [4, 8, 8, 16], "blocks": [1, 1, 1, 1], "weights": "",
    "hidden": 16, "embedding": 8, "head_channels": 2, "heads": 2,
}  # fmt: skip
OBJECTIVE_BLOCK: dict[str, Any] = {
    "lambda": {"identity": 1.0, "attributes": 1.0, "junk": 0}, "margin": {"identity": 1.0},
    "weighting": {"name": "uncertainty", "equation": "eq_2", "bounds": [-3, 3]},
}  # fmt: skip
TRAINING_BLOCK: dict[str, Any] = {
    "epochs": 2, "batches": {"identities": 4, "samples_each": 3, "per_epoch": 4}, "optimizer": {"name": "adam"},
    "learning_rate": 1e-3, "weight_decay": 3e-3, "schedule": {"name": "milestones", "factor": 0.1, "epochs": [50]},
    "task_stopping": None, "clip_gradient_norm": 10.0, "accelerator": "cpu", "devices": 1, "precision": "32-true",
    "loader_workers": 0, "data_on_device": False,
}  # fmt: skip


def write_store(
    folder: Path,
    *,
    people: Mapping[str, int] | None = None,
    cameras: int = 3,
    junk: int = 4,
    distractors: int = 2,
    unknown: float = 0.1,
    size_hw: tuple[int, int] = (HEIGHT, WIDTH),
    seed: int = 5,
) -> dict[str, Path]:
    """The store that reid reads: two photos a camera; `junk` and `distractors` a split, `unknown` the share of labels."""
    draw = np.random.default_rng(seed)
    meta = {"dataset": "market1501", "size_hw": size_hw}
    with StoreWriter(folder / "crops", {"image": Field("uint8", (*size_hw, 3))}, meta) as writer:
        for split, count in (people or {"train": 6, "validation": 4, "test": 4}).items():
            for person in range(count):
                classes = {name: int(draw.integers(len(values))) for name, values in ATTRIBUTES.items()}
                shown = {name: ATTRIBUTES[name][code] for name, code in classes.items() if draw.random() >= unknown}
                colours = draw.uniform(40, 215, (4, 1, 3))  # of four bands, top to bottom
                for number in range(2 * cameras):
                    name = f"{split[:2]}{person:02d}"
                    row = row_of(split, name, "person", 1 + number // 2, number, shown)
                    bands = np.repeat(colours, size_hw[0] // 4, axis=0) + draw.normal(0, 12, (*size_hw, 3))
                    writer.append(row, {"image": np.clip(bands, 0, 255).astype(np.uint8)[None]})
            for kind, count in (("junk", junk), ("distractor", distractors)):
                for number in range(count):
                    name = f"junk-{split}" if kind == "junk" else "0000"
                    noise = draw.integers(0, 255, (1, *size_hw, 3)).astype(np.uint8)
                    writer.append(row_of(split, name, kind, 1 + number % cameras, number, {}), {"image": noise})
    return {"frames": folder / "crops", "poses": folder / "crops"}


def row_of(split: str, subject: str, kind: str, camera: int, number: int, shown: Mapping[str, str]) -> dict[str, Any]:
    return {
        "dataset": "market1501", "clip_id": f"{split}-{subject}-{kind}-{number}", "subject_id": subject, "split": split,
        "sequence": f"c{camera}s1", "condition": kind, "session": 0, "kind": kind,
        "role": {"test": "gallery"}.get(split, "train"), "camera": camera,
        **{name: shown.get(name) for name in ATTRIBUTES},
    }  # fmt: skip
