"""The network of GaitNet: an encoder into an appearance and a gait code, a decoder of both, an LSTM over gait codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from people.config import check
from people.nn.blocks import frame_mask
from people.nn.pretrained import Pretrained

LEAK = 0.2  # slope of LeakyReLU below zero, throughout
START_DEVIATION = 0.02  # of the first weights, as in the public code
FEATURES = ("normalised", "mean")
APPEARANCES = ("frame", "clip")


@dataclass(frozen=True)
class Config:
    """Sizes of the network, and what the paper leaves open.

    `channels`: of the encoder's steps, each of which halves the picture's sides; `convolutions`: how many a step has (2 in the
    public code for FVG). `appearance` and `gait`: sizes of the two codes. `split`: off gives the LSTM the whole code, and there
    is nothing to disentangle. `lstm`: channels of each of its layers.

    `feature`: the gait feature of n frames is the `mean` of the LSTM's outputs (paper), or that mean behind BatchNorm and
    LeakyReLU, with BatchNorm on the logits too (`normalised`, public code).

    Off by default, and not of the paper: `appearance_of: clip` decodes with the mean of a clip's appearance codes in place of
    one frame's; `gait_noise`: standard deviation of normal noise on the gait codes that are decoded in training.
    """

    channels: Sequence[int]
    convolutions: int
    appearance: int
    gait: int
    split: bool
    lstm: Sequence[int]
    feature: str
    appearance_of: str
    gait_noise: float | int

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "lstm", tuple(self.lstm))
        rules = {
            "channels": (len(self.channels) >= 1 and min(self.channels) >= 1, "positive numbers, one a step"),
            "lstm": (len(self.lstm) >= 1 and min(self.lstm) >= 1, "positive numbers, one a layer"),
            **{name: (getattr(self, name) >= 1, "at least 1") for name in ("convolutions", "appearance", "gait")},
            "feature": (self.feature in FEATURES, f"one of {', '.join(FEATURES)}"),
            "appearance_of": (self.appearance_of in APPEARANCES, f"one of {', '.join(APPEARANCES)}"),
            "gait_noise": (self.gait_noise >= 0, "at least 0"),
        }
        check("gaitnet.model.", self, rules)


class Frames(NamedTuple):
    """Which frames of padded clips are true ones; `whole`: all of them, so that nothing is to be picked.

    Only true frames are in BatchNorm's statistics.
    """

    is_frame: Bool[Tensor, "sample frame"]
    whole: bool

    @staticmethod
    def of(length: Int[Tensor, " sample"], frames: int) -> "Frames":
        """Those of clips of these lengths, padded to `frames`."""
        return Frames(frame_mask(length, frames), bool((length == frames).all()))

    def take(self, values: Tensor) -> Tensor:
        """True frames end to end, without the padding: (sample, frame, ...) to (frame, ...)."""
        return values.flatten(0, 1) if self.whole else values[self.is_frame]

    def scatter(self, values: Tensor) -> Tensor:
        """The inverse of `take`, with 0 in the padding."""
        if self.whole:
            return values.unflatten(0, tuple(self.is_frame.shape))
        padded = values.new_zeros(*self.is_frame.shape, *values.shape[1:])
        padded[self.is_frame] = values
        return padded


class Network(nn.Module):
    """From the pictures of a clip to its gait feature, the codes of its frames, and its pictures made again.

    `spec`: "size_hw" of a picture, "subjects" (the training ids), "tasks": identity has the LSTM and the classifier,
    cross_reconstruction the appearance code and the decoder.
    """

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        self.config, tasks = config, set(spec["tasks"])
        decodes, classifies = "cross_reconstruction" in tasks, "identity" in tasks
        if decodes and not config.split:
            raise ValueError(
                "gaitnet.model.split must be true where pictures are made from two codes: set it, or set "
                "gaitnet.objective.lambda.cross_reconstruction to 0"
            )
        self.appearance = config.appearance if decodes else 0
        self.gait = config.gait if config.split else config.gait + config.appearance
        self.encoder = Encoder(config, spec["size_hw"], self.appearance + self.gait)
        self.decoder = Decoder(config, spec["size_hw"], self.appearance + self.gait) if decodes else None
        self.lstm = Recurrent(self.gait, config.lstm) if classifies else None
        self.classifier = Classifier(config, len(spec["subjects"])) if classifies else None
        self.apply(_start)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of every clip; what stands behind its last frame is 0 and has no influence.

        "embedding" (sample, channel): the gait feature of all frames, of unit length; without the task identity the mean gait
        code. "gait" (sample, frame, code), with cross_reconstruction also "appearance" (sample, frame, code) and "pictures"
        (sample, frame, 3, height, width), D(f_a of frame t1, f_g of t2) for every t2. With identity "prefixes" (sample, frame,
        channel), the gait feature of the first t frames, and "logits" (sample, frame, subject) of each.

        `batch`: "foreground" (sample, frame, 3, height, width) in [0, 1], "length" and "appearance_frame" (sample,); without
        "length" all frames are true ones, without the last no pictures are made.
        """
        pictures = batch["foreground"]
        count, longest = pictures.shape[:2]
        if not longest:
            raise ValueError("a clip must have at least one frame, got none; remove it from the data")
        if "length" in batch:
            length, frames = batch["length"], Frames.of(batch["length"], longest)
        else:
            length = torch.full((count,), longest, device=pictures.device)
            frames = Frames(torch.ones(pictures.shape[:2], dtype=torch.bool, device=pictures.device), True)
        codes = self.codes(pictures, frames)
        gait = codes[..., self.appearance :]
        outputs = {"gait": gait}
        if self.decoder is not None:
            outputs["appearance"] = codes[..., : self.appearance]
        if self.decoder is not None and "appearance_frame" in batch:
            appearance = self._appearance(outputs["appearance"], length, batch["appearance_frame"])
            noise = self.config.gait_noise if self.training else 0.0
            decoded_gait = gait + noise * torch.randn_like(gait) if noise else gait
            outputs["pictures"] = self.decode(appearance[:, None].expand(-1, gait.shape[1], -1), decoded_gait, frames)
        if self.lstm is None or self.classifier is None:
            return outputs | {"embedding": _unit(running_mean(gait, frames.is_frame)[:, -1])}
        means = running_mean(self.lstm(gait), frames.is_frame)
        features, logits = self.classifier(means, frames)
        rows = torch.arange(count, device=length.device)
        return outputs | {"embedding": _unit(features[rows, length - 1]), "prefixes": features, "logits": logits}

    def pretrained(self) -> dict[str, Pretrained]:
        """Nothing: the network starts from random weights."""
        return {}

    def codes(
        self, pictures: Float[Tensor, "sample frame 3 height width"], frames: Frames
    ) -> Float[Tensor, "sample frame code"]:
        """The appearance code and behind it the gait code of every frame."""
        return frames.scatter(self.encoder(frames.take(pictures)).float())

    def decode(
        self,
        appearance: Float[Tensor, "sample frame appearance"],
        gait: Float[Tensor, "sample frame gait"],
        frames: Frames,
    ) -> Float[Tensor, "sample frame 3 height width"]:
        """The pictures D(f_a, f_g) of true frames, 0 elsewhere."""
        if self.decoder is None:
            raise ValueError("the network has no decoder: it was trained without the task cross_reconstruction")
        codes = torch.cat([appearance, gait], dim=-1)
        return frames.scatter(self.decoder(frames.take(codes)).float())

    def _appearance(
        self, codes: Float[Tensor, "sample frame code"], length: Int[Tensor, " sample"], frame: Int[Tensor, " sample"]
    ) -> Float[Tensor, "sample code"]:
        if self.config.appearance_of == "clip":
            return codes.sum(1) / length[:, None]
        return codes[torch.arange(len(codes), device=codes.device), frame]


class Encoder(nn.Module):
    """Per step a 4x4 convolution with stride 2 and `convolutions` - 1 of 3x3, each with BatchNorm and LeakyReLU; then a linear
    layer with BatchNorm to the code.
    """

    def __init__(self, config: Config, size_hw: Sequence[int], code: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels in pairwise((3, *config.channels)):
            layers += _convolution(channels_in, channels, 4, 2)
            for _ in range(config.convolutions - 1):
                layers += _convolution(channels, channels, 3, 1)
        self.maps = nn.Sequential(*layers)
        rows, columns = map_hw(config, size_hw)
        self.code = nn.Sequential(nn.Linear(config.channels[-1] * rows * columns, code, bias=False), nn.BatchNorm1d(code))

    def forward(self, pictures: Float[Tensor, "frame 3 height width"]) -> Float[Tensor, "frame code"]:
        return self.code(self.maps(pictures.contiguous(memory_format=torch.channels_last)).flatten(1))


class Decoder(nn.Module):
    """A linear layer with BatchNorm and LeakyReLU to the encoder's last map, transposed 4x4 convolutions with stride 2 up to
    the picture, and a sigmoid: pixels in (0, 1).
    """

    def __init__(self, config: Config, size_hw: Sequence[int], code: int) -> None:
        super().__init__()
        self.size = (config.channels[-1], *map_hw(config, size_hw))
        pixels = self.size[0] * self.size[1] * self.size[2]
        self.map = nn.Sequential(nn.Linear(code, pixels, bias=False), nn.BatchNorm1d(pixels), nn.LeakyReLU(LEAK))
        layers: list[nn.Module] = []
        for channels_in, channels in pairwise(reversed(config.channels)):
            layers += [nn.ConvTranspose2d(channels_in, channels, 4, 2, 1, bias=False), nn.BatchNorm2d(channels)]
            layers.append(nn.LeakyReLU(LEAK))
        self.pictures = nn.Sequential(*layers, nn.ConvTranspose2d(config.channels[0], 3, 4, 2, 1), nn.Sigmoid())

    def forward(self, codes: Float[Tensor, "frame code"]) -> Float[Tensor, "frame 3 height width"]:
        maps = self.map(codes).unflatten(1, self.size)
        return self.pictures(maps.contiguous(memory_format=torch.channels_last))


class Recurrent(nn.Module):
    """LSTM layers one above the other: h^s for every frame, in one pass over the clip."""

    def __init__(self, channels_in: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.LSTM(before, after, batch_first=True) for before, after in pairwise((channels_in, *channels))
        )

    def forward(self, codes: Float[Tensor, "sample frame code"]) -> Float[Tensor, "sample frame channel"]:
        # float32: recurrence adds up what is rounded, and a CPU has no faster way in bfloat16
        with torch.autocast(codes.device.type, enabled=False):
            for layer in self.layers:
                codes = layer(codes)[0]
        return codes


class Classifier(nn.Module):
    """From the running mean of the LSTM's outputs to the gait feature and the identity's logits, for every prefix alike."""

    def __init__(self, config: Config, subjects: int) -> None:
        super().__init__()
        channels, is_normalised = config.lstm[-1], config.feature == "normalised"
        self.feature = nn.Sequential(nn.BatchNorm1d(channels), nn.LeakyReLU(LEAK)) if is_normalised else nn.Identity()
        linear = nn.Linear(channels, subjects, bias=not is_normalised)
        self.logits = nn.Sequential(linear, nn.BatchNorm1d(subjects)) if is_normalised else linear

    def forward(
        self, means: Float[Tensor, "sample frame channel"], frames: Frames
    ) -> tuple[Float[Tensor, "sample frame channel"], Float[Tensor, "sample frame subject"]]:
        features = self.feature(frames.take(means)).float()
        logits = self.logits(features).float()
        return frames.scatter(features), frames.scatter(logits)


def running_mean(
    values: Float[Tensor, "sample frame channel"], is_frame: Bool[Tensor, "sample frame"]
) -> Float[Tensor, "sample frame channel"]:
    """1/t Σ_{s≤t} of every prefix; behind a clip's last frame it stays as it is there."""
    counts = is_frame.cumsum(1)[..., None]
    return (values * is_frame[..., None]).cumsum(1) / counts


def map_hw(config: Config, size_hw: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the encoder's last map."""
    factor = 2 ** len(config.channels)
    if any(side % factor for side in size_hw):
        raise ValueError(
            f"gaitnet.data.size_hw must be multiples of {factor}, as each of the {len(config.channels)} steps of "
            f"gaitnet.model.channels halves the picture, got {list(size_hw)}; change one of the two"
        )
    return size_hw[0] // factor, size_hw[1] // factor


def _convolution(channels_in: int, channels: int, side: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels, side, stride, 1, bias=False)
    return [convolution, nn.BatchNorm2d(channels), nn.LeakyReLU(LEAK)]


def _start(layer: nn.Module) -> None:
    """Weights from a normal distribution as in the public code; the LSTM keeps PyTorch's start."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(layer.weight, 0.0, START_DEVIATION)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
        nn.init.normal_(layer.weight, 1.0, START_DEVIATION)
        nn.init.zeros_(layer.bias)


def _unit(embedding: Float[Tensor, "sample channel"]) -> Float[Tensor, "sample channel"]:
    return nn.functional.normalize(embedding.float(), dim=1)
