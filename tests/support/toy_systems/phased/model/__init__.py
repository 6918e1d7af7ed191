"""A linear trunk and a head for each task."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from people.nn.pretrained import Pretrained
from people.records import GENDERS
from people.training.system import Batch, Spec


@dataclass(frozen=True)
class Config:
    channels: int


class Network(nn.Module):
    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.trunk = nn.Linear(3 * math.prod(spec["cells_hw"]), config.channels)
        classes = {"identity": len(spec["subjects"]), "gender": len(GENDERS)}
        for task, count in classes.items():
            if task in spec["tasks"]:
                self.add_module(task, nn.Linear(config.channels, count))
        self.tasks = [task for task in classes if task in spec["tasks"]]

    def forward(self, batch: Batch) -> Batch:
        embedding = torch.tanh(self.trunk(batch["cells"].flatten(1)))
        return {"embedding": embedding, **{task: self.get_submodule(task)(embedding) for task in self.tasks}}

    def pretrained(self) -> dict[str, Pretrained]:
        return {}
