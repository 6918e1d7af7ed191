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
        self.identity = nn.Linear(config.channels, len(spec["subjects"]))
        self.gender = nn.Linear(config.channels, len(GENDERS)) if "gender" in spec["tasks"] else None

    def forward(self, batch: Batch) -> Batch:
        embedding = torch.tanh(self.trunk(batch["cells"].flatten(1)))
        outputs = {"embedding": embedding, "identity": self.identity(embedding)}
        return outputs if self.gender is None else outputs | {"gender": self.gender(embedding)}

    def pretrained(self) -> dict[str, Pretrained]:
        return {}
