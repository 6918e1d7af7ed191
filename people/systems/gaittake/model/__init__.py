"""The network of GaitTAKE: global and local convolutions, temporal attention, keypoints, one linear layer for each strip."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from people.nn.blocks import (
    LEAK,
    Convolution3d,
    GeM,
    GLConv,
    LocalTemporalAggregation,
    SeparateLinear,
    TemporalAttention,
    frame_mask,
    leaky_relu,
    mask_padding,
    max_pool,
    mean_plus_max,
    weighted_sum,
)
from people.nn.pretrained import Pretrained
from people.records import COCO_KEYPOINTS

MIN_FRAMES = 3  # shorter sequences are repeated, as GaitGL's are
STARTS = ("published", "per_strip")


@dataclass(frozen=True)
class Config:
    """Sizes and layers of the network; each of the paper's components can be switched off.

    `channels`: of the first convolution and of each GLConv, the last of which is GLConvB (eq. 5). `temporal_aggregation`:
    GaitGL's, which reduces T frames to ⌊T/3⌋. `glconv`: off leaves 3x3x3 convolutions over the whole map. `parts`: the m
    strips of the local convolution. `attention`: off takes the maximum over time. `clip_frames`: L of eq. 6, counted after
    the aggregation for silhouettes. `attention_channels`: between the two convolutions of eq. 8. `keypoint_strips`:
    as how many strips the feature of the poses is appended, where there are poses. `gem`: off is mean plus maximum.
    `batch_norm`: over the embedding's channels. `start`: of the weights that GaitGL's public code starts by another rule, see
    `published_start`; per_strip keeps each layer's own.
    """

    channels: Sequence[int]
    temporal_aggregation: bool
    glconv: bool
    parts: int
    attention: bool
    clip_frames: int
    attention_channels: int
    keypoint_strips: int
    gem: bool
    batch_norm: bool
    start: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if len(self.channels) < 3 or min(self.channels) < 1:
            raise ValueError(
                "gaittake.model.channels must be those of the first convolution, at least one GLConvA, and GLConvB, "
                f"all positive: got {self.channels}"
            )
        for name in ("parts", "clip_frames", "attention_channels", "keypoint_strips"):
            if getattr(self, name) < 1:
                raise ValueError(f"gaittake.model.{name} must be at least 1, got {getattr(self, name)}")
        if self.start not in STARTS:
            raise ValueError(f"gaittake.model.start must be one of {', '.join(STARTS)}, got {self.start!r}")


def map_height(config: Config, size_hw: Sequence[int]) -> int:
    """Rows of the last map, each of which becomes a strip of the embedding, for silhouettes of `size_hw`."""
    height, width = size_hw
    if height % 2 or width < 6:
        raise ValueError(f"silhouettes must have an even height and at least 6 columns, got {tuple(size_hw)}; change it")
    if not config.glconv:
        return height // 2
    if (height // 2) % config.parts:
        raise ValueError(
            f"gaittake.model.parts must divide {height // 2}, the rows left by pooling of silhouettes of {tuple(size_hw)}, "
            f"got {config.parts}"
        )
    return height


class Network(nn.Module):
    """From the silhouettes and the poses of a sequence to its embedding f, one vector for each strip.

    `spec`: "size_hw" of a silhouette, "subjects" (the training ids), "keypoints" (whether there are poses), "tasks" (with
    cross_entropy the embedding is classified as one of the training subjects, as GaitGL has it).
    """

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        first, last = config.channels[0], config.channels[-1]
        strips = map_height(config, spec["size_hw"])
        self.first = Convolution3d(1, first)
        self.aggregation = LocalTemporalAggregation(first) if config.temporal_aggregation else None
        self.layers = nn.ModuleList(_layers(config))
        self.attention = _attention(config)
        self.pooling = GeM() if config.gem else None
        self.keypoints = Keypoints(config) if spec["keypoints"] else None
        strips += config.keypoint_strips if spec["keypoints"] else 0
        self.embedding = SeparateLinear(strips, last, last)
        self.norm = nn.BatchNorm1d(last) if config.batch_norm else None
        self.classifier = SeparateLinear(strips, last, len(spec["subjects"])) if "cross_entropy" in spec["tasks"] else None
        if config.start == "published":
            published_start(self)
        # a convolution follows its weights' layout
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Outputs "embedding" (sample, strip, channel) and, with a classifier, "logits" (sample, strip, subject).

        `batch`: "silhouette" (sample, frame, height, width) in [0, 1], "keypoints" (sample, frame, 17, 3), and "length", the
        frames of each sample without its padding, which has no influence; without "length" all frames are true ones.
        """
        silhouette = batch["silhouette"]
        sample, frames = silhouette.shape[:2]
        if "length" in batch:
            length, shortest = batch["length"], int(batch["length"].min())
        else:
            length, shortest = torch.full((sample,), frames, device=silhouette.device), frames
        if shortest < 1:
            raise ValueError("a sequence must have at least one frame, got one without; remove it from the data")
        keypoints = batch["keypoints"] if self.keypoints is not None else None
        if shortest < MIN_FRAMES:
            index, length = _repetition(length, frames)
            silhouette = _gather(silhouette, index)
            keypoints = _gather(keypoints, index) if keypoints is not None else None
        ragged = shortest < silhouette.shape[1]
        features = self.silhouette_features(silhouette, length, ragged=ragged)
        if self.keypoints is not None and keypoints is not None:
            features = torch.cat([features, self.keypoints(keypoints, length)], dim=1)
        embedding = self.embedding(features)  # (sample, strip, channel)
        if self.norm is not None:
            embedding = self.norm(embedding.float().mT).mT  # all strips share the statistics of a channel
        outputs = {"embedding": embedding.float()}
        if self.classifier is not None:
            outputs["logits"] = self.classifier(embedding).float()
        return outputs

    def pretrained(self) -> dict[str, Pretrained]:
        """Nothing: the network starts from random weights."""
        return {}

    def silhouette_features(
        self, silhouette: Float[Tensor, "sample frame height width"], length: Int[Tensor, " sample"], *, ragged: bool
    ) -> Float[Tensor, "sample strip channel"]:
        """f_TGL, pooled over the width: GLConv layers, aggregation over time, generalised mean of each row (eqs. 1-10)."""
        maps, length = self.maps(silhouette, length, ragged=ragged)
        if self.attention is not None:
            # The paper flattens the map and then pools it over space, which contradict each other: here the frame's feature is
            # the mean over the map, and its weight is applied to the map.
            weights = self.attention(maps.mean((2, 4)).mT, length)
            pooled = weighted_sum(maps, weights)
        else:
            is_padding = ~frame_mask(length, maps.shape[3])[:, None, None, :, None]
            maps = maps.masked_fill(is_padding, -math.inf) if ragged else maps
            # an exported graph has no window whose size it does not know
            is_exported = torch.compiler.is_exporting()
            pooled = maps.amax(3) if is_exported else max_pool(maps, (1, maps.shape[3], 1)).squeeze(3)
        rows = self.pooling(pooled) if self.pooling is not None else mean_plus_max(pooled)  # (sample, channel, height)
        return rows.mT

    def maps(
        self, silhouette: Float[Tensor, "sample frame height width"], length: Int[Tensor, " sample"], *, ragged: bool
    ) -> tuple[Float[Tensor, "sample channel height2 frame2 width2"], Int[Tensor, " sample"]]:
        """f_GL before it is flattened (eq. 5), with zeros in the padding, and the number of frames of each sample."""

        def masked(maps: Tensor) -> Tensor:
            return mask_padding(maps, length) if ragged else maps

        maps = masked(silhouette.movedim(1, 2)[:, None])  # (sample, 1, height, frame, width)
        maps = masked(leaky_relu(self.first(maps)))  # (sample, channel, height, frame, width)
        if self.aggregation is not None:
            maps, length = self.aggregation(maps), length // 3
            maps = masked(maps)
        for number, layer in enumerate(self.layers):
            maps = masked(layer(maps))
            if number == 0:
                maps = max_pool(maps, (2, 1, 2))
        return maps, length


def published_start(network: nn.Module) -> None:
    """First weights as GaitGL has them in OpenGait's public code, drawn anew where a layer's own rule is another.

    - Linear layers of the strips: Xavier's uniform rule for the whole tensor (strip, in, out), whose fans are in · out and
      strips · out: for 64 strips of 128 channels within ±0.016, where the rule for each strip by itself gives ±0.15.
    - Local temporal aggregation: Xavier's uniform rule, as all other convolutions of the trunk.
    - BatchNorm: scales from a normal distribution of mean 1 and deviation 0.02, shifts 0.

    What GaitGL does not have (attention, keypoints) keeps its own start.
    """
    for layer in network.modules():
        if isinstance(layer, SeparateLinear):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, LocalTemporalAggregation):
            nn.init.xavier_uniform_(layer.aggregate.weight)
        elif isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


class Keypoints(nn.Module):
    """The temporal aggregated human pose feature: a linear map of each frame's 17x3 numbers, then a separate attention."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.strips, channels = config.keypoint_strips, config.channels[-1]
        self.frame = nn.Linear(len(COCO_KEYPOINTS) * 3, self.strips * channels)
        self.attention = (
            TemporalAttention(self.strips * channels, hidden=config.attention_channels, clip_frames=config.clip_frames)
            if config.attention
            else None
        )

    def forward(
        self, keypoints: Float[Tensor, "sample frame joint 3"], length: Int[Tensor, " sample"]
    ) -> Float[Tensor, "sample strip channel"]:
        features = leaky_relu(self.frame(keypoints.flatten(2)))  # (sample, frame, strip * channel)
        if self.attention is not None:
            pooled = (self.attention(features, length)[:, None, :] @ features.float())[:, 0]
        else:
            pooled = features.masked_fill(~frame_mask(length, features.shape[1])[:, :, None], -math.inf).amax(1)
        return pooled.float().unflatten(1, (self.strips, -1))


def _attention(config: Config) -> TemporalAttention | None:
    if not config.attention:
        return None
    return TemporalAttention(config.channels[-1], hidden=config.attention_channels, clip_frames=config.clip_frames)


def _layers(config: Config) -> list[nn.Module]:
    layers: list[nn.Module] = []
    last = len(config.channels) - 2
    for number, (channels_in, channels_out) in enumerate(pairwise(config.channels)):
        if config.glconv:
            layers.append(GLConv(channels_in, channels_out, parts=config.parts, join="height" if number == last else "sum"))
        else:
            layers.append(nn.Sequential(Convolution3d(channels_in, channels_out), nn.LeakyReLU(LEAK)))
    return layers


def _repetition(length: Int[Tensor, " sample"], frames: int) -> tuple[Int[Tensor, "sample frame"], Int[Tensor, " sample"]]:
    """The frame indices that repeat samples of one or two frames (three times, twice), and the new lengths."""
    index = torch.arange(max(frames, MIN_FRAMES + 1), device=length.device).expand(len(length), -1)
    index = torch.where(length[:, None] < MIN_FRAMES, index % length[:, None], index.clamp(max=frames - 1))
    return index, length * -(-MIN_FRAMES // length)


def _gather(
    frames: Float[Tensor, "sample _ *feature"], index: Int[Tensor, "sample frame"]
) -> Float[Tensor, "sample frame *feature"]:
    return frames[torch.arange(len(frames), device=index.device)[:, None], index]
