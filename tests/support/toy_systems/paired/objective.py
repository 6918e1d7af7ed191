"""Pairs of photos, 2i and 2i + 1 of a batch: both codes rebuild the photo, and those of the person are alike."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from people.training import task_weights, validation_errors
from people.training.monitor import Concatenated, Validation
from people.training.system import Batch, Spec
from people.training.task_weights import CLASSIFICATION, REGRESSION

MAIN, MAIN_ERROR, ERRORS = "reconstruction", "ranking", ("ranking", "bright_cells")
KINDS = {"reconstruction": REGRESSION, "similarity": REGRESSION, "brightness": CLASSIFICATION}


@dataclass(frozen=True, init=False)
class Config:
    lambdas: dict[str, float]
    weighting: task_weights.Method

    def __init__(self, *, weighting: Mapping[str, Any], **weights: Any) -> None:
        object.__setattr__(self, "weighting", task_weights.method("objective.weighting", weighting))
        object.__setattr__(self, "lambdas", {task: float(weight) for task, weight in weights["lambda"].items()})

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task for task, weight in self.lambdas.items() if weight)


class Objective(nn.Module):
    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.config, self.cells_hw = config, spec["cells_hw"]
        lambdas = {task: config.lambdas[task] for task in config.tasks}
        self.weighting = task_weights.weighting(config.weighting, lambdas, KINDS)

    def forward(self, outputs: Batch, batch: Batch) -> dict[str, Tensor]:
        return {task: getattr(self, f"_{task}")(outputs, batch) for task in self.config.tasks}

    def _reconstruction(self, outputs: Batch, batch: Batch) -> Tensor:
        return functional.mse_loss(outputs["cells"], batch["cells"])

    def _similarity(self, outputs: Batch, batch: Batch) -> Tensor:
        return functional.mse_loss(outputs["embedding"][0::2], outputs["embedding"][1::2])

    def _brightness(self, outputs: Batch, batch: Batch) -> Tensor:
        return functional.binary_cross_entropy_with_logits(outputs["bright"], self.bright(batch))

    def bright(self, batch: Batch) -> Tensor:
        """The lists of bright cells as maps of 0 and 1."""
        maps = torch.zeros(len(batch["bright_cells"]), *self.cells_hw, device=batch["cells"].device)
        for row, cells in zip(maps, batch["bright_cells"], strict=True):
            row[cells[:, 0], cells[:, 1]] = 1
        return maps

    def diagnostics(self, outputs: Batch, batch: Batch) -> dict[str, Tensor]:
        same_person = batch["subject"][0::2] == batch["subject"][1::2]
        other_camera = batch["camera"][0::2] != batch["camera"][1::2]
        return {"pairs": (same_person & other_camera).float().mean()}

    def step_end(self) -> None:
        pass


def monitor(targets: Collection[str]) -> Concatenated:
    return Concatenated(validate, targets, reduce=reduced)


def reduced(outputs: Batch, batch: Batch) -> Batch:
    """The embedding, and of each photo the cells that are said to be bright: not equally many in each."""
    return {"embedding": outputs["embedding"], "bright_cells": [(row > 0).nonzero() for row in outputs["bright"]]}


def validate(outputs: Batch, targets: Batch) -> Validation:
    ranking = 1 - validation_errors.mean_average_precision(outputs["embedding"], targets["subject"], targets["camera"])
    miscounted = [
        abs(len(cells) - len(labelled))
        for cells, labelled in zip(outputs["bright_cells"], targets["bright_cells"], strict=True)
    ]
    return {"score": -ranking, "errors": {MAIN_ERROR: ranking, "bright_cells": sum(miscounted) / len(miscounted)}}
