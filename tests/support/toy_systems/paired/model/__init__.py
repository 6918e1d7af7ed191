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
        self.size, tasks = (3, *spec["cells_hw"]), set(spec["tasks"])
        pixels, rebuilds, brightens = math.prod(self.size), "reconstruction" in tasks, "brightness" in tasks
        self.person = nn.Linear(pixels, config.channels) if tasks & {"reconstruction", "similarity"} else None
        self.appearance = nn.Linear(pixels, config.channels) if rebuilds or brightens else None
        self.decoder = nn.Linear(2 * config.channels, pixels) if rebuilds else None
        self.brightness = nn.Linear(config.channels, math.prod(spec["cells_hw"])) if brightens else None

    def forward(self, batch: Batch) -> Batch:
        flat, outputs = batch["cells"].flatten(1), {}
        if self.person is not None:
            outputs["embedding"] = torch.tanh(self.person(flat))
        if self.appearance is not None:
            outputs["appearance"] = torch.tanh(self.appearance(flat))
        if self.brightness is not None:
            outputs["bright"] = self.brightness(outputs["appearance"]).unflatten(1, self.size[1:])
        if self.decoder is not None:
            codes = torch.cat([outputs["embedding"], outputs["appearance"]], dim=1)
            outputs["cells"] = self.decoder(codes).unflatten(1, self.size)
        return outputs

    def pretrained(self) -> dict[str, Pretrained]:
        return {}
