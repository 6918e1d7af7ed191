"""Two codes of a photo, of the person and of the appearance, and a decoder of both; plus which cells are bright."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from people.nn.pretrained import Pretrained
from people.training.system import Batch, Spec


@dataclass(frozen=True)
class Config:
    channels: int


class Network(nn.Module):
    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.size = (3, *spec["cells_hw"])
        self.person = nn.Linear(math.prod(self.size), config.channels)
        self.appearance = nn.Linear(math.prod(self.size), config.channels)
        self.decoder = nn.Linear(2 * config.channels, math.prod(self.size))
        self.brightness = nn.Linear(config.channels, math.prod(spec["cells_hw"]))

    def forward(self, batch: Batch) -> Batch:
        flat = batch["cells"].flatten(1)
        person, appearance = torch.tanh(self.person(flat)), torch.tanh(self.appearance(flat))
        bright = self.brightness(appearance).unflatten(1, self.size[1:])
        return {"embedding": person, "appearance": appearance, "bright": bright, "cells": self.decode(person, appearance)}

    def decode(self, person: torch.Tensor, appearance: torch.Tensor) -> torch.Tensor:
        return self.decoder(torch.cat([person, appearance], dim=1)).unflatten(1, self.size)

    def pretrained(self) -> dict[str, Pretrained]:
        return {}
