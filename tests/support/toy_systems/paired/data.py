"""One sample: the mean colours of a photo's cells."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from people.nn.device_frames import DeviceFrames, frame_bytes, on_device
from people.storage.store import Store
from people.training.system import Batch, Reads, Spec, Statistics


@dataclass(frozen=True)
class Config:
    cells_hw: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells_hw", tuple(self.cells_hw))


class Samples:
    def __init__(self, crops: Store, split: str, config: Config) -> None:
        self.config, self.images = config, crops.field("image")
        chosen = (crops.clips["split"] == split) & (crops.clips["kind"] == "person")
        self.clips: pd.DataFrame = crops.clips.loc[chosen].reset_index(drop=True)
        self.starts, self.device = self.clips["start"].to_numpy(), torch.device("cpu")
        self.nbytes = len(self.clips) * frame_bytes(self.images)
        self.device_images: DeviceFrames | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def to(self, device: torch.device | str) -> "Samples":
        moved = copy.copy(self)
        moved.device = torch.device(device)
        moved.device_images = DeviceFrames(self.images, self.starts, np.ones_like(self.starts), moved.device)
        return moved

    def stored(self, rows: Sequence[int]) -> Tensor:
        """Photos as they are in the store (photo, height, width, 3)."""
        starts = self.starts[list(rows)]
        return self.device_images.take(starts) if self.device_images else torch.from_numpy(self.images[starts])

    def targets(self, spec: Spec) -> Batch:
        subject = self.clips["subject_id"]
        labels = {
            "identity": pd.Index(spec["subjects"]).get_indexer(subject),
            "subject": pd.factorize(subject, sort=True)[0],
            "camera": self.clips["camera"].to_numpy(),
        }
        table: Batch = {name: on_device(values.astype(np.int64), self.device) for name, values in labels.items()}
        return table | {"bright_cells": self.bright_cells(range(len(self)))}

    def cells(self, rows: Sequence[int]) -> Tensor:
        """The mean colours of the cells (photo, 3, row, column), from 0 to 1."""
        images = self.stored(rows).permute(0, 3, 1, 2).float() / 255
        return functional.adaptive_avg_pool2d(images, self.config.cells_hw)

    def bright_cells(self, rows: Sequence[int]) -> list[Tensor]:
        """Of each photo the row and column of every cell that is brighter than the mean: not equally many in each."""
        return [(cells.mean(0) > cells.mean()).nonzero() for cells in self.cells(rows)]

    def batch(
        self, indices: Sequence[int], *, spec: Spec, statistics: Statistics, augment: np.random.Generator | None
    ) -> Batch:
        rows = [index % len(self) for index in indices]
        cells = self.cells(rows) - statistics["mean"].to(self.device)
        if augment is not None:
            cells = cells * on_device(augment.uniform(0.9, 1.1, (len(rows), 1, 1, 1)).astype(np.float32), self.device)
        chosen, table = on_device(np.array(rows), self.device), self.targets(spec)
        labels = {name: table[name][chosen] for name in ("identity", "subject", "camera")}
        return {"cells": cells, "bright_cells": self.bright_cells(rows), **labels}


def open_samples(reads: Reads, config: Config, split: str, tasks: Collection[str]) -> Samples:
    return Samples(Store.open(reads["frames"]), split, config)


def spec(train: Samples) -> dict[str, Any]:
    return {"subjects": sorted(set(train.clips["subject_id"])), "cells_hw": list(train.config.cells_hw)}


def statistics(train: Samples) -> dict[str, Tensor]:
    return {"mean": train.cells(range(len(train))).mean(0)}
