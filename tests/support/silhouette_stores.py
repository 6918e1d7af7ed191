"""Silhouettes and poses of people with a shape of their own, seen from several sides, and a small network for them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML

from people.storage.store import Field, StoreWriter
from people.systems.gaittake import data, model

SEQUENCES = ("nm-01", "nm-02", "nm-03", "nm-04", "nm-05", "nm-06", "bg-01", "bg-02", "cl-01", "cl-02")
FEW = ("nm-01", "nm-02", "nm-05", "bg-01", "cl-01")
VIEWS_DEG = (0.0, 90.0, 180.0)
HEIGHT, WIDTH, FRAMES = 16, 12, 7
DATA_BLOCK: dict[str, Any] = {"frames": 5, "size_hw": [HEIGHT, WIDTH]}
MODEL_BLOCK: dict[str, Any] = {
    "channels": [4, 8, 8], "temporal_aggregation": False, "glconv": True, "parts": 2, "attention": True, "clip_frames": 3,
    "attention_channels": 8, "keypoints": True, "keypoint_strips": 1, "gem": True, "batch_norm": True, "classifier": False,
}  # fmt: skip
DATA = data.Config(**DATA_BLOCK)


def write_stores(
    folder: Path,
    *,
    subjects: Mapping[str, int] | None = None,
    sequences: Sequence[str] = SEQUENCES,
    views_deg: Sequence[float] = VIEWS_DEG,
    lengths: Sequence[int] = (FRAMES,),
    told_apart: float = 1.0,
    leave_out: Sequence[str] = (),
    seed: int = 5,
) -> dict[str, Path]:
    """The two stores that GaitTAKE reads, `lengths` taken in turn; `told_apart` is how strong each person's own shape is."""
    draw, number = np.random.default_rng(seed), 0
    fields = {"silhouette": Field("uint8", (HEIGHT, WIDTH)), "box": Field("float32", (4,)), "frame": Field("int32", (1,))}
    facts = {"dataset": "casiab", "iou": 0.9, "iou_by_condition": {"nm": 0.9}}
    with (
        StoreWriter(folder / "silhouettes", fields, facts) as silhouettes,
        StoreWriter(folder / "poses", {"keypoints": Field("float32", (17, 3))}, {"oks": 0.6}) as poses,
    ):
        for split, people in (subjects or {"train": 4, "validation": 3, "test": 4}).items():
            for person in range(people):
                shape, joints = draw.uniform(-1, 1, (HEIGHT, WIDTH)), draw.uniform(2, 10, (17, 2))
                for sequence in sequences:
                    for view_deg in views_deg:
                        row = row_of(split, person, sequence, view_deg)
                        length, number = lengths[number % len(lengths)], number + 1
                        noise = draw.uniform(-1, 1, (length, HEIGHT, WIDTH))
                        grey = np.clip(127 + 80 * (told_apart * shape + 0.3 * noise), 0, 255).astype(np.uint8)
                        pose = np.ones((length, 17, 3), np.float32)
                        pose[..., :2] = joints + draw.normal(0, 0.3, (length, 17, 2))
                        pose[:, 3] = 0  # one joint is never found
                        if row["clip_id"] not in leave_out:
                            made = {"silhouette": grey, "box": np.zeros((length, 4), np.float32)}
                            made["frame"] = np.arange(length, dtype=np.int32)[:, None]
                            silhouettes.append(row, made)
                            poses.append(row, {"keypoints": pose})
    return {"frames": folder / "silhouettes", "poses": folder / "poses"}


def row_of(split: str, person: int, sequence: str, view_deg: float) -> dict[str, Any]:
    subject = f"{split[0]}{person:02d}"
    return {
        "dataset": "casiab", "clip_id": f"{subject}/{sequence}/{view_deg:03.0f}", "subject_id": subject, "split": split,
        "sequence": sequence, "condition": sequence[:2], "session": 0, "view_deg": view_deg,
        "gender": None, "age_years": float("nan"),
    }  # fmt: skip


def write_workspace(folder: Path, params: Mapping[str, Any], **changes: Mapping[str, Any]) -> None:
    """params.yaml with the system alone, as small as it can be, and the stores that it names."""
    block = dict(params["systems"]["gaittake"])
    small = {
        "data": DATA_BLOCK,
        "model": MODEL_BLOCK,
        "training": {"epochs": 2, "batches": {"people": 3, "clips": 2, "per_epoch": 3}, "accelerator": "cpu"},
        "compare": {"epochs": 2, "seeds": 1},
        "search": {"trials": 2, "epochs": 2},
        "score": {"batch_size": 16, "bootstrap": {"resamples": 20, "confidence": 0.9}},
    }
    for name, values in small.items():
        block[name] = {**block[name], **values, **changes.get(name, {})}
    folder.mkdir(parents=True, exist_ok=True)
    YAML().dump({"seed": 3, "systems": {"gaittake": block}}, folder / "params.yaml")
    reads = write_stores(folder / "stores", sequences=FEW, views_deg=(0.0, 90.0))
    for slot, path in reads.items():
        wanted = folder / block["reads"][slot]
        wanted.parent.mkdir(parents=True, exist_ok=True)
        path.rename(wanted)


def network_for(
    reads: dict[str, Path], config: data.Config = DATA, seed: int = 0, **changes: Any
) -> tuple[model.Network, dict[str, Any], dict[str, torch.Tensor]]:
    """A network with its first random weights (which keep people apart), the facts it needs, and no statistics."""
    train = data.open_samples(reads, config, "train")
    torch.manual_seed(seed)
    spec = data.spec(train)
    return model.Network(model.Config(**{**MODEL_BLOCK, **changes}), spec).eval(), spec, data.statistics(train)
