"""The network of attributes and re-identification: a ResNet for photos of pedestrians with one of three kinds of heads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from people.nn.blocks import LEAK, SeparateLinear, leaky_relu
from people.nn.pretrained import Pretrained
from people.nn.resnet import ResNetTrunk

TYPES = ("resnet", "conv_head", "self_attention")
IMAGENET = "imagenet"
STAGES, CONV_HEAD_STAGE = 4, 3  # the paper's convolutional heads have the maps of the third stage as input


@dataclass(frozen=True)
class Config:
    """Type and sizes of the network.

    `type`: the kind of heads, see `Network`. `widths` and `blocks`: of the four stages of the ResNet, ResNet-18 has (64, 128,
    256, 512) and (2, 2, 2, 2). `weights`: its initial weights: "" is random, "imagenet" torchvision's file in torch's cache,
    else a file in its format. `hidden`: the channels of the feature v, and of each token of self-attention. `embedding`: of
    the embedding. `head_channels`: of each attribute's convolution. `heads`: of self-attention.
    """

    type: str
    widths: Sequence[int]
    blocks: Sequence[int]
    weights: str
    hidden: int
    embedding: int
    head_channels: int
    heads: int

    def __post_init__(self) -> None:
        for name in ("widths", "blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.type not in TYPES:
            raise ValueError(f"reid.model.type must be one of {', '.join(TYPES)}, got {self.type!r}; correct params.yaml")
        for name in ("widths", "blocks"):
            values = getattr(self, name)
            if len(values) != STAGES or min(values) < 1:
                raise ValueError(f"reid.model.{name} must be {STAGES} numbers >= 1, got {list(values)}; correct it")
        for name in ("hidden", "embedding", "head_channels", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"reid.model.{name} must be at least 1, got {getattr(self, name)}; correct params.yaml")
        if self.type != "resnet" and self.hidden != self.widths[-1]:
            raise ValueError(
                f"reid.model.hidden must be {self.widths[-1]}, the last of widths, where the type is {self.type}: its feature "
                f"v is the ResNet's own; got {self.hidden}"
            )
        if self.type == "self_attention" and self.hidden % self.heads:
            raise ValueError(f"reid.model.heads must divide hidden, {self.hidden}, got {self.heads}; correct params.yaml")


class ConvHeads(nn.Module):
    """For each attribute: 3x3 convolution of the maps, BatchNorm, LeakyReLU, flattened (one convolution computes all)."""

    def __init__(self, channels_in: int, attributes: int, channels: int) -> None:
        super().__init__()
        self.attributes = attributes
        self.convolution = nn.Conv2d(channels_in, attributes * channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(attributes * channels)

    def forward(self, maps: Float[Tensor, "sample channel row column"]) -> Float[Tensor, "sample attribute feature"]:
        return leaky_relu(self.norm(self.convolution(maps))).unflatten(1, (self.attributes, -1)).flatten(2)


class Attention(nn.Module):
    """Multi-head self-attention over the attributes' tokens and v, without a residual connection, then LayerNorm."""

    def __init__(self, tokens: int, channels_in: int, channels: int, heads: int) -> None:
        super().__init__()
        self.tokens = SeparateLinear(tokens, channels_in, channels) if tokens else None
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm = nn.LayerNorm(channels)

    def forward(
        self, features: Float[Tensor, "sample attribute feature"] | None, v: Float[Tensor, "sample channel"]
    ) -> Float[Tensor, "sample token channel"]:
        """The tokens after attention, that of v last."""
        tokens = v[:, None]
        if self.tokens is not None and features is not None:
            tokens = torch.cat([self.tokens(features), tokens], dim=1)
        return self.norm(self.attention(tokens, tokens, tokens, need_weights=False)[0])


class Network(nn.Module):
    """From photos of pedestrians to an embedding, twelve attributes, and whether there is a pedestrian at all.

    `resnet`: the feature v is a linear map of the ResNet's pooled maps, the input of all heads. `conv_head`: v is
    the pooled maps, and each attribute has a convolution on the maps of the third stage. `self_attention`: the features of
    these convolutions and v are tokens that attend to each other. `spec`: "size_hw" of a photo, "attributes" (their classes),
    "tasks" (which heads there are: identity, attributes, junk).
    """

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        self.config, tasks = config, set(spec["tasks"])
        classes: Mapping[str, Sequence[str]] = spec["attributes"] if "attributes" in tasks else {}
        has_conv_heads = config.type != "resnet" and len(classes) > 0
        # without a head that depends on v, the last stage is not computed
        stages = STAGES if config.type != "conv_head" or tasks & {"identity", "junk"} else CONV_HEAD_STAGE
        self.trunk = ResNetTrunk(config.widths[:stages], config.blocks[:stages])
        self.feature = nn.Linear(config.widths[-1], config.hidden) if config.type == "resnet" else None
        channels = config.widths[CONV_HEAD_STAGE - 1]
        self.convolutions = ConvHeads(channels, len(classes), config.head_channels) if has_conv_heads else None
        flat_size = config.head_channels * math.prod(map_size_hw(spec["size_hw"]))
        self.attention = (
            Attention(len(classes), flat_size, config.hidden, config.heads) if config.type == "self_attention" else None
        )
        head_size = flat_size if config.type == "conv_head" else config.hidden
        self.attributes = nn.ModuleDict({name: nn.Linear(head_size, _logit_count(values)) for name, values in classes.items()})
        self.identity = _embedding_head(config) if "identity" in tasks else None
        self.junk = nn.Linear(config.hidden, 1) if "junk" in tasks else None
        # a convolution follows its weights' layout
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of the tasks: "embedding" (sample, channel), the logits (sample, class) of each attribute by its name,
        and of "person" (no, yes). Two classes have one logit z, given as (0, z): its sigmoid is their softmax.

        `batch`: "image" (sample, 3, height, width), minus the mean and divided by the deviation of its channels.
        """
        image = batch["image"]
        if self.training and len(image) == 1 and isinstance(self.identity, nn.Sequential):
            raise ValueError("a training batch of reid needs two samples, got 1: BatchNorm of v has no variance")
        maps = self.trunk(image.contiguous(memory_format=torch.channels_last))
        features = self.convolutions(maps[CONV_HEAD_STAGE - 1]) if self.convolutions is not None else None
        if len(maps) < STAGES:
            assert features is not None
            return self._attributes(features)
        v = maps[-1].mean((2, 3))
        v = self.feature(v) if self.feature is not None else v
        person = {"person": _binary_logits(self.junk(leaky_relu(v)))} if self.junk is not None else {}
        if self.attention is not None:
            tokens = self.attention(features, v)
            features, v = tokens[:, :-1], tokens[:, -1]
        elif features is None:
            features = leaky_relu(v)[:, None].expand(-1, len(self.attributes), -1)
        embedding = {"embedding": self.identity(v).float()} if self.identity is not None else {}
        return embedding | self._attributes(features) | person

    def pretrained(self) -> dict[str, Pretrained]:
        """ImageNet's weights of the ResNet, or those of the file that the configuration names."""
        if not (source := self.config.weights):
            return {}
        from torchvision.models import ResNet18_Weights  # torchvision takes a second to import

        hint = (
            f"reid.model has widths {list(self.config.widths)} and blocks {list(self.config.blocks)}, ResNet-18 has "
            "[64, 128, 256, 512] and [2, 2, 2, 2]"
        )
        return {"trunk": Pretrained(ResNet18_Weights.IMAGENET1K_V1, "" if source == IMAGENET else source, hint)}

    def _attributes(self, features: Float[Tensor, "sample attribute channel"]) -> dict[str, Tensor]:
        heads = zip(self.attributes.items(), features.unbind(1), strict=True)
        logits = {name: head(feature).float() for (name, head), feature in heads}
        return {name: _binary_logits(values) if values.shape[1] == 1 else values for name, values in logits.items()}


def map_size_hw(size_hw: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the third stage's maps, the input of the convolutional heads, for photos of `size_hw`."""
    height, width = size_hw
    return -(-height // 8), -(-width // 4)


def _embedding_head(config: Config) -> nn.Module:
    embedding = nn.Linear(config.hidden, config.embedding)
    if config.type != "resnet":
        return embedding
    return nn.Sequential(nn.BatchNorm1d(config.hidden), nn.LeakyReLU(LEAK), embedding)


def _logit_count(classes: Sequence[str]) -> int:
    return 1 if len(classes) == 2 else len(classes)


def _binary_logits(logit: Float[Tensor, "sample 1"]) -> Float[Tensor, "sample 2"]:
    return functional.pad(logit.float(), (1, 0))
