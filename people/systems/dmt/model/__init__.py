"""The network of DMT: one convolutional trunk over 25 frames of optical flow, one gait signature, one linear head per task."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from people.nn.pretrained import Pretrained
from people.records import GENDERS

HEAD_STANDARD_DEVIATION = 0.01  # the first outputs are nearly uniform classes, and the training median for age


class Convolution(NamedTuple):
    """One layer's geometry: square kernel, no padding, ReLU, then max-pooling of `pool` (1: none)."""

    kernel: int
    stride: int
    pool: int


# A: the single-task network of Castro et al., IWANN 2017 (arXiv 1603.01006), without its local response normalisation.
# B: the paper has only a figure of it. Its released models say 64 filters in the first layer and dropout 0.1; kernels, strides
#    and pools are an inference from the same group's default network of the following years.
ARCHITECTURES = {
    "A": (Convolution(7, 1, 2), Convolution(5, 2, 2), Convolution(3, 1, 2), Convolution(2, 1, 1)),
    "B": (Convolution(7, 1, 2), Convolution(5, 1, 2), Convolution(3, 1, 2), Convolution(2, 1, 1)),
}


@dataclass(frozen=True)
class Config:
    """The network's type, its filters per convolution, its units per dense layer, and the dropout after each dense layer."""

    type: str
    widths: Sequence[int]
    dense: Sequence[int]
    dropout: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "dense", tuple(self.dense))
        object.__setattr__(self, "dropout", float(self.dropout))
        if self.type not in ARCHITECTURES:
            raise ValueError(f"dmt.model.type must be one of {', '.join(ARCHITECTURES)}, got {self.type!r}")
        if len(self.widths) != len(ARCHITECTURES[self.type]) or min(self.widths) < 1:
            raise ValueError(f"dmt.model.widths must be {len(ARCHITECTURES[self.type])} positive numbers, got {self.widths}")
        if not self.dense or min(self.dense) < 1:
            raise ValueError(f"dmt.model.dense must be positive numbers, the last is the signature's: got {self.dense}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dmt.model.dropout must lie in [0, 1), got {self.dropout}")


def layer_sizes(config: Config, size_hw: Sequence[int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Height and width after each convolution and after its pooling, for a crop of `size_hw`."""
    sizes, size = [], tuple(size_hw)
    for number, layer in enumerate(ARCHITECTURES[config.type], start=1):
        convolved = tuple((side - layer.kernel) // layer.stride + 1 for side in size)
        pooled = tuple(side // layer.pool for side in convolved)
        if min(size) < layer.kernel or min(pooled) < 1:
            raise ValueError(
                f"a crop of {tuple(size_hw)} px is too small for type {config.type}: the output is empty for {size} px at "
                f"convolution {number} (kernel {layer.kernel}, pool {layer.pool}); raise dmt.data.crop_px"
            )
        sizes.append((convolved, pooled))
        size = pooled
    return sizes


class Network(nn.Module):
    """g(v, θ): from flow to identity, gender, age and the gait signature.

    `spec`: "channels" (2 per frame), "size_hw", "subjects" (the training ids, one logit each), "tasks" (gender and age have a
    head if they are among them), "age_centre_years" and "age_scale_years" (the age head predicts in units of the training
    ages' spread, from their median).
    """

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        height, width = layer_sizes(config, spec["size_hw"])[-1][1]
        self.trunk = nn.Sequential(*_convolutions(config, spec["channels"]))
        units = (config.widths[-1] * height * width, *config.dense)
        self.dense = nn.ModuleList([nn.Linear(units_in, units_out) for units_in, units_out in pairwise(units)])
        self.dropout = nn.Dropout(config.dropout)
        self.identity = nn.Linear(config.dense[-1], len(spec["subjects"]))
        tasks = spec["tasks"]
        self.gender = nn.Linear(config.dense[-1], len(GENDERS)) if "gender" in tasks else None
        self.age = nn.Linear(config.dense[-1], 1) if "age" in tasks else None
        self.age_centre_years, self.age_scale_years = spec["age_centre_years"], spec["age_scale_years"]
        self._initialise()
        # A convolution follows its weights' layout, and converts the flow after it has become bfloat16, if it does.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Outputs "identity" logits (sample, subject), "signature" (sample, channel), and where they are tasks "gender" logits
        (female, male) and "age_years"; all float32.

        The signature is the last dense layer's activation before dropout; verification and identification compare it.
        It is not normalised to length 1: the paper compares the features themselves, and its margins have their scale.
        """
        signature = self.signature(batch["flow"])
        features = self.dropout(signature)
        age = self.age(features).squeeze(1).float() if self.age is not None else None
        outputs = {"identity": self.identity(features).float()}
        if self.gender is not None:
            outputs["gender"] = self.gender(features).float()
        if age is not None:
            outputs["age_years"] = self.age_centre_years + self.age_scale_years * age
        return outputs | {"signature": signature.float()}

    def pretrained(self) -> dict[str, Pretrained]:
        """Nothing: the network starts from random weights."""
        return {}

    def signature(self, flow: Float[Tensor, "sample channel height width"]) -> Float[Tensor, "sample unit"]:
        """The last dense layer's activation."""
        features = self.trunk(flow).flatten(1)
        for layer in self.dense[:-1]:
            features = self.dropout(torch.relu(layer(features)))
        return torch.relu(self.dense[-1](features))

    def _initialise(self) -> None:
        """He et al. (2015) in front of each ReLU; heads of standard deviation `HEAD_STANDARD_DEVIATION`; biases 0."""
        heads = {self.identity, self.gender, self.age}
        for module in self.modules():
            if not isinstance(module, (nn.Conv2d, nn.Linear)):
                continue
            if module in heads:
                nn.init.normal_(module.weight, std=HEAD_STANDARD_DEVIATION)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _convolutions(config: Config, channels: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    widths = pairwise((channels, *config.widths))
    for geometry, (channels_in, channels_out) in zip(ARCHITECTURES[config.type], widths, strict=True):
        layers.append(nn.Conv2d(channels_in, channels_out, geometry.kernel, geometry.stride))
        if geometry.pool > 1:
            layers.append(nn.MaxPool2d(geometry.pool))
        layers.append(nn.ReLU(inplace=True))  # the maximum and ReLU commute; after pooling there are fewer values
    return layers
