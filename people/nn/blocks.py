"""Blocks of networks for people in video: global and local convolution, temporal attention, pooling, strip-wise layers.

Maps of video have their rows outermost, (sample, channel, height, frame, width), and lie in memory with the channels
innermost (`channels_last_3d`): a horizontal strip is then contiguous, and splitting a map into strips copies nothing. A 3D
convolution gives the same result for any order of its three axes, if its kernel has the same.
"""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

LEAK = 0.01  # slope of LeakyReLU below zero, in all of GaitGL


def frame_mask(length: Int[Tensor, " sample"], frames: int) -> Bool[Tensor, "sample frame"]:
    """True for the frames of each sample, False for the padding behind them."""
    return torch.arange(frames, device=length.device) < length[:, None]


def mask_padding(
    maps: Float[Tensor, "sample channel height frame width"], length: Int[Tensor, " sample"]
) -> Float[Tensor, "sample channel height frame width"]:
    """The maps with zeros in the padding frames, as a zero-padded convolution has them behind a clip."""
    return maps * frame_mask(length, maps.shape[3])[:, None, None, :, None].to(maps.dtype)


def split_strips(
    maps: Float[Tensor, "sample channel height frame width"], count: int
) -> Float[Tensor, "strip channel row frame width"]:
    """Each map's `count` horizontal strips, top to bottom, as samples: a view if the channels lie innermost."""
    sample, channel, height, frame, width = maps.shape
    strips = maps.movedim(1, 4).reshape(sample * count, height // count, frame, width, channel)
    return strips.movedim(4, 1)


def join_strips(
    strips: Float[Tensor, "strip channel row frame width"], count: int
) -> Float[Tensor, "sample channel height frame width"]:
    """The maps of `count` strips each: the inverse of `split_strips`."""
    sample, channel, height, frame, width = strips.shape
    return strips.movedim(1, 4).reshape(sample // count, height * count, frame, width, channel).movedim(4, 1)


class Convolution3d(nn.Module):
    """3x3x3 with zeros around, without bias; Xavier's uniform start.

    In bfloat16 on a CPU the gradient of the weight is wrong where the outermost axis is two long: oneDNN, as in torch 2.15,
    then sums uninitialised memory. Maps of two rows are therefore transposed, which costs 5 % of their time.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(channels_out, channels_in, 3, 3, 3)))

    def forward(
        self, maps: Float[Tensor, "sample channel height frame width"]
    ) -> Float[Tensor, "sample channel_out height frame width"]:
        if maps.shape[2] != 2 or maps.device.type != "cpu":
            return functional.conv3d(maps, self.weight, padding=1)
        axis = 3 if maps.shape[3] > 2 else 4
        transposed = maps.transpose(2, axis).contiguous(memory_format=torch.channels_last_3d)
        convolved = functional.conv3d(transposed, self.weight.transpose(2, axis), padding=1).transpose(2, axis)
        return convolved.contiguous(memory_format=torch.channels_last_3d)


class GLConv(nn.Module):
    """Global and local convolution (GaitTAKE, eqs. 1-4): 3x3x3 over the map, and a shared 3x3x3 over each of its m `parts`.

    Each strip is padded with zeros separately: no value depends on another strip. "sum" is GLConvA, leaky(f_global) +
    leaky(f_local); "height" is GLConvB, leaky of both one above the other, twice as high. No bias, no normalisation.
    """

    # Forward and backward of GaitGL's first block, 2 clips of 10 frames at 64x44, on one core of a Zen 4 (milliseconds):
    #   the strips         float32, bfloat16    the same, channels outermost
    #   in a loop              343       170             357       192
    #   as samples             329       163             359       203    <- here
    #   a zero row between     368       196             389       221
    #   stacked                420       219             413       202    one convolution with both kernels, borders corrected
    # The second and the third block have the same order. Winograd's transform over time saved a third of the products and
    # gained a fifth at 64 channels, lost at fewer, and cost a digit.

    def __init__(self, channels_in: int, channels_out: int, *, parts: int, join: Literal["sum", "height"]) -> None:
        super().__init__()
        self.parts, self.join = parts, join
        self.global_convolution = Convolution3d(channels_in, channels_out)
        self.local_convolution = Convolution3d(channels_in, channels_out)

    def forward(
        self, maps: Float[Tensor, "sample channel height frame width"]
    ) -> Float[Tensor, "sample channel_out height_out frame width"]:
        global_maps = self.global_convolution(maps)
        local_maps = join_strips(self.local_convolution(split_strips(maps, self.parts)), self.parts)
        if self.join == "height":
            return leaky_relu(torch.cat([global_maps, local_maps], dim=2))
        return leaky_relu(global_maps) + leaky_relu(local_maps)


class LocalTemporalAggregation(nn.Module):
    """A convolution over three frames with stride three, then LeakyReLU (GaitGL): T frames become ⌊T/3⌋; PyTorch's start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.aggregate = nn.Conv3d(channels, channels, (1, 3, 1), stride=(1, 3, 1), bias=False)

    def forward(
        self, maps: Float[Tensor, "sample channel height frame width"]
    ) -> Float[Tensor, "sample channel height third width"]:
        return leaky_relu(self.aggregate(maps))


class TemporalAttention(nn.Module):
    """Weights of frames (GaitTAKE, eqs. 6-9): attention within clips of L frames, equal weights for the S = ⌊T/L⌋ clips.

    A = softmax over L of δ₂(relu(δ₁(features))), δ₁ a convolution over 3 frames to `hidden` channels, δ₂ one to a single
    channel (without a bias, on which a softmax does not depend). Frames behind the last complete clip have weight 0; a sample
    shorter than L frames is repeated until it fills one clip.
    """

    def __init__(self, channels: int, *, hidden: int, clip_frames: int) -> None:
        super().__init__()
        self.clip_frames = clip_frames
        self.first = nn.Conv1d(channels, hidden, 3, padding=1)
        self.second = nn.Conv1d(hidden, 1, 3, padding=1, bias=False)

    def forward(
        self, features: Float[Tensor, "sample frame channel"], length: Int[Tensor, " sample"]
    ) -> Float[Tensor, "sample frame"]:
        """Weights ≥ 0 that sum to 1 over each sample's frames."""
        sample, frames, channel = features.shape
        clips = max(1, frames // self.clip_frames)
        index = torch.arange(clips * self.clip_frames, device=length.device).expand(sample, -1)
        index = torch.where(length[:, None] < self.clip_frames, index % length[:, None], index)
        clip = features.gather(1, index[:, :, None].expand(-1, -1, channel)).unflatten(1, (clips, self.clip_frames))
        scores = self.second(torch.relu(self.first(clip.flatten(0, 1).mT))).float()  # (sample * clip, 1, L)
        clip_count = (length // self.clip_frames).clamp(min=1)
        clip_weights = frame_mask(clip_count, clips) / clip_count[:, None]  # (sample, clip)
        weights = scores.softmax(2).view(sample, clips, -1) * clip_weights[:, :, None]
        return weights.new_zeros(sample, frames).scatter_add(1, index, weights.flatten(1))


def weighted_sum(
    maps: Float[Tensor, "sample channel height frame width"], weights: Float[Tensor, "sample frame"]
) -> Float[Tensor, "sample channel height width"]:
    """Σ_t a_t X_t: one map for each sample."""
    sample, channel, height, frame, width = maps.shape
    rows = maps.movedim(1, 4).reshape(sample, height, frame, width * channel)
    summed = weights.to(maps.dtype)[:, None, None, :] @ rows  # (sample, height, 1, width * channel)
    return summed.view(sample, height, width, channel).movedim(3, 1)


def max_pool(
    maps: Float[Tensor, "sample channel height frame width"], window: tuple[int, int, int]
) -> Float[Tensor, "sample channel height2 frame2 width2"]:
    """The maximum of each window of (height, frame, width).

    Autocast is off: it would convert the map to float32, though a maximum is exact in any precision. Over all frames it takes
    an eighth of the time of `amax`, whose gradient is shared among ties.
    """
    with torch.autocast(maps.device.type, enabled=False):
        return functional.max_pool3d(maps, window)


class GeM(nn.Module):
    """Generalised mean over the last axis (GaitTAKE, eq. 10): (mean x^p)^(1/p), p is learned.

    Computed from logarithms and in float32: 1e-6 to the power 6.5 underflows in float16, and so does the gradient of p.
    """

    def __init__(self, exponent: float = 6.5, eps: float = 1e-6) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))
        self.eps = eps

    def forward(self, values: Float[Tensor, "*batch column"]) -> Float[Tensor, "*batch"]:
        powers = self.exponent * values.float().clamp(min=self.eps).log()
        return ((powers.logsumexp(-1) - math.log(values.shape[-1])) / self.exponent).exp()


def mean_plus_max(values: Float[Tensor, "*batch column"]) -> Float[Tensor, "*batch"]:
    """Mean plus maximum over the last axis: horizontal pooling before the generalised mean."""
    values = values.float()
    return values.mean(-1) + values.amax(-1)


class SeparateLinear(nn.Module):
    """One fully connected layer for each strip, without bias; Xavier's uniform start for each strip by itself."""

    def __init__(self, strips: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        bound = math.sqrt(6 / (channels_in + channels_out))
        self.weight = nn.Parameter(torch.empty(strips, channels_in, channels_out).uniform_(-bound, bound))

    def forward(self, features: Float[Tensor, "sample strip channel"]) -> Float[Tensor, "sample strip channel_out"]:
        return (features.transpose(0, 1) @ self.weight).transpose(0, 1)


def leaky_relu(values: Tensor) -> Tensor:
    """LeakyReLU with slope `LEAK` below zero."""
    return functional.leaky_relu(values, LEAK)
