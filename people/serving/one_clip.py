"""What a trained network says of one clip that is in no index: its arrays become stores, and go the way of every clip."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from people import systems
from people.config import build
from people.nn.inference import joined, over_split
from people.records import ATTRIBUTES
from people.storage.store import Field, StoreWriter
from people.video import flow

BATCH_SIZE = 16
SPLIT = "test"
# the columns of a clip's row that systems read
UNKNOWN: dict[str, Any] = {"split": SPLIT, "subject_id": "unknown", "sequence": "track", "condition": "nm", "session": 1}
UNKNOWN |= {"view_deg": 0.0, "age_years": float("nan"), "kind": "person", "role": "gallery", "camera": 1}
UNKNOWN |= dict.fromkeys(ATTRIBUTES, "")


def write(path: Path, kind: str, dataset: str, arrays: Mapping[str, np.ndarray]) -> None:
    """A store of one clip, as the stage of this kind writes it; of "crops" each photo is a sample."""
    fields = {name: Field(str(values.dtype), values.shape[1:]) for name, values in arrays.items()}
    row = UNKNOWN | {"clip_id": "track", "dataset": dataset, "frame_count": len(next(iter(arrays.values())))}
    with StoreWriter(path, fields, {"dataset": dataset, "flow_scale": flow.FLOW_SCALE}) as store:
        if kind == "crops":
            for index, image in enumerate(arrays["image"]):
                store.append({**row, "clip_id": f"photo-{index:03d}"}, {"image": image[None]})
        else:
            store.append(row, arrays)


def predictions(network: nn.Module, entries: Mapping[str, Any], reads: dict[str, Path]) -> dict[str, np.ndarray]:
    """What the system's serving answers of the samples in these stores; `entries` are the checkpoint's.

    A `ValueError` says why they hold no sample.
    """
    data, serving = systems.find(entries["system"], "data"), systems.find(entries["system"], "serving")
    predict: Any = serving.predictions  # pyright: ignore[reportAttributeAccessIssue] : of systems that tell people apart
    spec, config = entries["spec"], build(data.Config, entries["config"]["data"])
    samples = data.open_samples(reads, config, SPLIT, spec["tasks"])
    batches = over_split(network, samples, spec, entries["statistics"], BATCH_SIZE)
    return predict(joined([outputs for outputs, _ in batches]))
