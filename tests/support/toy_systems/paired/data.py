"""One sample: the mean colours of a photo's cells."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

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

    def __len__(self) -> int:
        return len(self.clips)

    def targets(self, spec: Spec) -> Batch:
        subject = self.clips["subject_id"]
        labels = {
            "identity": pd.Index(spec["subjects"]).get_indexer(subject),
            "subject": pd.factorize(subject, sort=True)[0],
            "camera": self.clips["camera"].to_numpy(),
        }
        table: Batch = {name: torch.from_numpy(values.astype(np.int64)) for name, values in labels.items()}
        return table | {"bright_cells": self.bright_cells(range(len(self)))}

    def cells(self, rows: Sequence[int]) -> Tensor:
        """The mean colours of the cells (photo, 3, row, column), from 0 to 1."""
        images = torch.from_numpy(self.images[self.clips["start"].to_numpy()[list(rows)]]).permute(0, 3, 1, 2).float() / 255
        return functional.adaptive_avg_pool2d(images, self.config.cells_hw)

    def bright_cells(self, rows: Sequence[int]) -> list[Tensor]:
        """Of each photo the row and column of every cell that is brighter than the mean: not equally many in each."""
        return [(cells.mean(0) > cells.mean()).nonzero() for cells in self.cells(rows)]

    def batch(
        self, indices: Sequence[int], *, spec: Spec, statistics: Statistics, augment: np.random.Generator | None
    ) -> Batch:
        rows = [index % len(self) for index in indices]
        cells = self.cells(rows) - statistics["mean"]
        if augment is not None:
            cells = cells * torch.from_numpy(augment.uniform(0.9, 1.1, (len(rows), 1, 1, 1))).float()
        chosen, table = torch.tensor(rows), self.targets(spec)
        labels = {name: table[name][chosen] for name in ("identity", "subject", "camera")}
        return {"cells": cells, "bright_cells": self.bright_cells(rows), **labels}


def open_samples(reads: Reads, config: Config, split: str, tasks: Collection[str]) -> Samples:
    return Samples(Store.open(reads["frames"]), split, config)


def spec(train: Samples) -> dict[str, Any]:
    return {"subjects": sorted(set(train.clips["subject_id"])), "cells_hw": list(train.config.cells_hw)}


def statistics(train: Samples) -> dict[str, Tensor]:
    return {"mean": train.cells(range(len(train))).mean(0)}
