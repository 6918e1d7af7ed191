"""Blocks of networks that see people in video: global and local convolution, temporal attention, pooling, strip-wise layers.

Maps of video have their rows outermost, (sample, channel, height, frame, width), and lie in memory with the channels
innermost (`channels_last_3d`): a horizontal strip is then one piece of memory, and cutting a map into strips copies nothing.
A convolution of three dimensions does not care what its dimensions are called.
"""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

LEAK = 0.01  # slope of LeakyReLU below zero, in all of GaitGL


def frame_mask(length: Int[Tensor, " sample"], frames: int) -> Bool[Tensor, "sample frame"]:
    """True where a frame is one of its sample's own, False where it is padding behind them."""
    return torch.arange(frames, device=length.device) < length[:, None]


def silence(
    maps: Float[Tensor, "sample channel height frame width"], length: Int[Tensor, " sample"]
) -> Float[Tensor, "sample channel height frame width"]:
    """The maps with zeros in the frames behind each sample's end: what a zero-padded convolution sees behind a clip."""
    return maps * frame_mask(length, maps.shape[3])[:, None, None, :, None].to(maps.dtype)


def cut(maps: Float[Tensor, "sample channel height frame width"], parts: int) -> Float[Tensor, "strip channel row frame width"]:
    """Each map's horizontal strips, top to bottom, as samples of their own: a view if the channels lie innermost."""
    sample, channel, height, frame, width = maps.shape
    strips = maps.movedim(1, 4).reshape(sample * parts, height // parts, frame, width, channel)
    return strips.movedim(4, 1)


def join(
    strips: Float[Tensor, "strip channel row frame width"], parts: int
) -> Float[Tensor, "sample channel height frame width"]:
    """The maps whose strips they are: undoes `cut`."""
    sample, channel, height, frame, width = strips.shape
    return strips.movedim(1, 4).reshape(sample // parts, height * parts, frame, width, channel).movedim(4, 1)


class Convolution3d(nn.Module):
    """3x3x3 with zeros around, without bias; Xavier's uniform start.

    In bfloat16 on a CPU the gradient of the weight is garbage where the outermost axis is two long: oneDNN, as in torch 2.15,
    then sums memory that nobody has written. Maps of two rows are therefore turned, which costs 5 % of their time.
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
        turned = maps.transpose(2, axis).contiguous(memory_format=torch.channels_last_3d)
        convolved = functional.conv3d(turned, self.weight.transpose(2, axis), padding=1).transpose(2, axis)
        return convolved.contiguous(memory_format=torch.channels_last_3d)


class GLConv(nn.Module):
    """Global and local convolution (GaitTAKE, eqs. 1-4): 3x3x3 over the map, and one shared 3x3x3 over each of its m strips.

    Each strip is padded with zeros by itself: nothing passes between strips. "sum" is GLConvA, leaky(f_global) +
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
        self.whole = Convolution3d(channels_in, channels_out)
        self.strip = Convolution3d(channels_in, channels_out)

    def forward(
        self, maps: Float[Tensor, "sample channel height frame width"]
    ) -> Float[Tensor, "sample channel_out height_out frame width"]:
        whole, strips = self.whole(maps), join(self.strip(cut(maps, self.parts)), self.parts)
        if self.join == "height":
            return leaky(torch.cat([whole, strips], dim=2))
        return leaky(whole) + leaky(strips)


class LocalTemporalAggregation(nn.Module):
    """Every three frames become one (GaitGL): a convolution over three frames with stride three, LeakyReLU; ⌊T/3⌋ are left."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.aggregate = nn.Conv3d(channels, channels, (1, 3, 1), stride=(1, 3, 1), bias=False)

    def forward(
        self, maps: Float[Tensor, "sample channel height frame width"]
    ) -> Float[Tensor, "sample channel height third width"]:
        return leaky(self.aggregate(maps))


class TemporalAttention(nn.Module):
    """How much each frame counts (GaitTAKE, eqs. 6-9): within clips of L frames by attention, over the S = ⌊T/L⌋ clips equally.

    A = softmax over L of δ₂(relu(δ₁(features))), δ₁ a convolution over 3 frames to `hidden` channels, δ₂ one to a single
    channel (without a bias, to which a softmax is blind). What is left behind the last whole clip does not count; a sample
    shorter than L frames repeats itself until it is one clip.
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
        places = torch.arange(clips * self.clip_frames, device=length.device).expand(sample, -1)
        places = torch.where(length[:, None] < self.clip_frames, places % length[:, None], places)
        clip = features.gather(1, places[:, :, None].expand(-1, -1, channel)).unflatten(1, (clips, self.clip_frames))
        scores = self.second(torch.relu(self.first(clip.flatten(0, 1).mT))).float()  # (sample * clip, 1, L)
        whole = (length // self.clip_frames).clamp(min=1)
        shares = frame_mask(whole, clips) / whole[:, None]  # (sample, clip)
        weights = scores.softmax(2).view(sample, clips, -1) * shares[:, :, None]
        return weights.new_zeros(sample, frames).scatter_add(1, places, weights.flatten(1))


def weighted_sum(
    maps: Float[Tensor, "sample channel height frame width"], weights: Float[Tensor, "sample frame"]
) -> Float[Tensor, "sample channel height width"]:
    """Σ_t a_t X_t: one map for each sample."""
    sample, channel, height, frame, width = maps.shape
    rows = maps.movedim(1, 4).reshape(sample, height, frame, width * channel)
    summed = weights.to(maps.dtype)[:, None, None, :] @ rows  # (sample, height, 1, width * channel)
    return summed.view(sample, height, width, channel).movedim(3, 1)


def maximum(
    maps: Float[Tensor, "sample channel height frame width"], window: tuple[int, int, int]
) -> Float[Tensor, "sample channel height2 frame2 width2"]:
    """The maximum of each window of (height, frame, width).

    A maximum is exact in any precision: without this, automatic mixed precision would turn the whole map into float32. Over
    all frames it takes an eighth of the time of `amax`, whose gradient looks for ties.
    """
    with torch.autocast(maps.device.type, enabled=False):
        return functional.max_pool3d(maps, window)


class GeM(nn.Module):
    """Generalised mean over the last axis (GaitTAKE, eq. 10): (mean x^p)^(1/p), p is learned.

    Computed from logarithms and in float32: 1e-6 to the power 6.5 is no number of half precision, and the gradient of p would
    not be one either.
    """

    def __init__(self, exponent: float = 6.5, smallest: float = 1e-6) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))
        self.smallest = smallest

    def forward(self, values: Float[Tensor, "*other column"]) -> Float[Tensor, "*other"]:
        powers = self.exponent * values.float().clamp(min=self.smallest).log()
        return ((powers.logsumexp(-1) - math.log(values.shape[-1])) / self.exponent).exp()


def mean_plus_max(values: Float[Tensor, "*other column"]) -> Float[Tensor, "*other"]:
    """Mean plus maximum over the last axis: horizontal pooling before the generalised mean."""
    values = values.float()
    return values.mean(-1) + values.amax(-1)


class SeparateLinear(nn.Module):
    """One fully connected layer for each strip, without bias; Xavier's uniform start, strip by strip."""

    def __init__(self, strips: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        bound = math.sqrt(6 / (channels_in + channels_out))
        self.weight = nn.Parameter(torch.empty(strips, channels_in, channels_out).uniform_(-bound, bound))

    def forward(self, features: Float[Tensor, "sample strip channel"]) -> Float[Tensor, "sample strip channel_out"]:
        return (features.transpose(0, 1) @ self.weight).transpose(0, 1)


def leaky(values: Tensor) -> Tensor:
    return functional.leaky_relu(values, LEAK)
