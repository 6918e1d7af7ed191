"""Silhouettes and poses of people, each with a shape, from several views, and a small network for them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from people.storage.store import Field, StoreWriter
from people.systems.gaittake import data
from stages.shared.variants import read_variants

SEQUENCES = ("nm-01", "nm-02", "nm-03", "nm-04", "nm-05", "nm-06", "bg-01", "bg-02", "cl-01", "cl-02")
FEW = ("nm-01", "nm-02", "nm-05", "bg-01", "cl-01")
VIEWS_DEG = (0.0, 90.0, 180.0)
HEIGHT, WIDTH, FRAMES = 16, 12, 7
DATA_BLOCK: dict[str, Any] = {"frames": 5, "size_hw": [HEIGHT, WIDTH], "keypoints": True}
MODEL_BLOCK: dict[str, Any] = {
    "channels": [4, 8, 8], "temporal_aggregation": False, "glconv": True, "parts": 2, "attention": True, "clip_frames": 3,
    "attention_channels": 8, "keypoint_strips": 1, "gem": True, "batch_norm": True,
    "start": "per_strip",
}  # fmt: skip
DATA = data.Config(**DATA_BLOCK)
MADE = {"method": "background", "soft": False, "pretreatment": "scaled", "size_hw": [HEIGHT, WIDTH]}


def write_stores(
    folder: Path,
    *,
    subjects: Mapping[str, int] | None = None,
    sequences: Sequence[str] = SEQUENCES,
    views_deg: Sequence[float] = VIEWS_DEG,
    lengths: Sequence[int] = (FRAMES,),
    separation: float = 1.0,
    leave_out: Sequence[str] = (),
    labelled: bool = False,
    seed: int = 5,
) -> dict[str, Path]:
    """The two stores that GaitTAKE reads, `lengths` taken in turn; `separation` is the strength of each person's shape.

    If `labelled`, people are by turns women and men of 20, 35, 50, ... years.
    """
    draw, number = np.random.default_rng(seed), 0
    fields = {"silhouette": Field("uint8", (HEIGHT, WIDTH)), "box": Field("float32", (4,)), "frame": Field("int32", (1,))}
    facts = {"dataset": "casiab", "iou": 0.9, "iou_by_condition": {"nm": 0.9}, **MADE}
    posed = {"dataset": "casiab", "oks": 0.6, "student_settings": {}}
    with (
        StoreWriter(folder / "silhouettes", fields, facts) as silhouettes,
        StoreWriter(folder / "poses", {"keypoints": Field("float32", (17, 3))}, posed) as poses,
    ):
        for split, people in (subjects or {"train": 4, "validation": 3, "test": 4}).items():
            for person in range(people):
                shape, joints = draw.uniform(-1, 1, (HEIGHT, WIDTH)), draw.uniform(2, 10, (17, 2))
                for sequence in sequences:
                    for view_deg in views_deg:
                        row = row_of(split, person, sequence, view_deg)
                        if labelled:
                            row |= {"gender": ("female", "male")[person % 2], "age_years": 20.0 + 15 * person}
                        length, number = lengths[number % len(lengths)], number + 1
                        noise = draw.uniform(-1, 1, (length, HEIGHT, WIDTH))
                        grey = np.clip(127 + 80 * (separation * shape + 0.3 * noise), 0, 255).astype(np.uint8)
                        pose = np.ones((length, 17, 3), np.float32)
                        pose[..., :2] = joints + draw.normal(0, 0.3, (length, 17, 2))
                        pose[:, 3] = 0  # one joint is never found
                        if row["clip_id"] not in leave_out:
                            arrays = {"silhouette": grey, "box": np.zeros((length, 4), np.float32)}
                            arrays["frame"] = np.arange(length, dtype=np.int32)[:, None]
                            silhouettes.append(row, arrays)
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
    """params.yaml with the system alone, at a small size, and the stores that it names."""
    block = dict(params["systems"]["gaittake"])
    small = {
        "data": DATA_BLOCK,
        "model": MODEL_BLOCK,
        "training": {"epochs": 2, "batches": {"identities": 3, "samples_each": 2, "per_epoch": 3}, "accelerator": "cpu"},
    }
    beside = {
        "compare": {"epochs": 2, "seeds": 1, "select": list(read_variants("gaittake"))},
        "search": {"trials": 2, "epochs": 2},
        "score": {"batch_size": 16, "bootstrap": {"resamples": 20, "confidence": 0.9}},
    }
    for name, values in small.items():
        block[name] = {**block[name], **values, **changes.get(name, {})}
    folder.mkdir(parents=True, exist_ok=True)
    own = {
        name: {"gaittake": {**params[name]["gaittake"], **values, **changes.get(name, {})}} for name, values in beside.items()
    }
    YAML().dump({"seed": 3, "systems": {"gaittake": block}, **own}, folder / "params.yaml")
    reads = write_stores(folder / "stores", sequences=FEW, views_deg=(0.0, 90.0))
    for slot, path in reads.items():
        target = folder / block["reads"][slot]
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
