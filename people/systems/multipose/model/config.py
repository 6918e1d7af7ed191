"""Sizes of the network, and what becomes an answer of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from people.config import build, check
from people.nn.resnet import FEWEST_CHANNELS
from people.systems.multipose.model import backbones, detector

BATCH_NORMS = ("learned", "frozen")
NORMS = ("none", "group")
SOFTMAXES = ("all", "joint")
GROUP_CHANNELS = 8  # of a group of GroupNorm


@dataclass(frozen=True)
class Residual:
    """The pose residual network: neurons of both hidden layers, dropout behind each, and over what its softmax is taken: `all`
    outputs of a person together (published), or those of each `joint`.
    """

    hidden: int
    dropout: float | int
    softmax: str

    def __post_init__(self) -> None:
        rules = {
            "hidden": (self.hidden >= 1, "at least 1"),
            "dropout": (0 <= self.dropout < 1, "in [0, 1)"),
            "softmax": (self.softmax in SOFTMAXES, f"one of {', '.join(SOFTMAXES)}"),
        }
        check("multipose.model.residual.", self, rules)


@dataclass(frozen=True)
class Activity:
    """The activity classifier: neurons of its hidden layers, dropout behind each."""

    hidden: Sequence[int]
    dropout: float | int

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        rules = {
            "hidden": (bool(self.hidden) and min(self.hidden) >= 1, "numbers of at least 1"),
            "dropout": (0 <= self.dropout < 1, "in [0, 1)"),
        }
        check("multipose.model.activity.", self, rules)


@dataclass(frozen=True)
class Answer:
    """What becomes an answer of the joined network.

    `box_score`: the least of a person's box; `box_iou`: of two boxes that are the same person's; `people`: at most in an image.
    `peak`: the least value of a peak in a heat map; `peak_window`: the cells a side in which it is the highest; `window`: the
    cells a side of the pose residual network's map that count for a peak. `side_px`: a larger image is reduced to this longer
    side, null: never.
    """

    box_score: float
    box_iou: float
    people: int
    peak: float
    peak_window: int
    window: int
    side_px: int | None

    def __post_init__(self) -> None:
        rules = {
            "box_score": (0 < self.box_score < 1, "in (0, 1)"),
            "box_iou": (0 < self.box_iou < 1, "in (0, 1)"),
            "people": (self.people >= 1, "at least 1"),
            "peak": (0 < self.peak < 1, "in (0, 1)"),
            "peak_window": (self.peak_window >= 1 and self.peak_window % 2 == 1, "an odd number of at least 1"),
            "window": (self.window >= 1 and self.window % 2 == 1, "an odd number of at least 1"),
            "side_px": (self.side_px is None or self.side_px >= 32, "null, or at least 32"),
        }
        check("multipose.model.answer.", self, rules)


PARTS = {"residual": Residual, "activity": Activity, "answer": Answer}


@dataclass(frozen=True)
class Config:
    """Sizes of the network.

    `backbone`, `width`: see `backbones.Backbone`. `weights`: those that it starts from: "" random, "imagenet"
    torchvision's file in torch's cache, else a file in its format. `batch_norm`: `frozen` as published with ImageNet's weights,
    or `learned`. `shared`: false gives the detector a backbone of its own. `channels`: of both pyramids; `subnet_channels`: of
    each D_i; `smooth_channels`: of the layer that joins them. `norm`: of the detector's pyramid and head, none (published)
    or group. `anchors_px`: the sides of the anchors of P3 to P7.
    """

    backbone: str
    width: float | int
    weights: str
    batch_norm: str
    shared: bool
    channels: int
    subnet_channels: int
    smooth_channels: int
    norm: str
    anchors_px: Sequence[int]
    residual: Any
    activity: Any
    answer: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "anchors_px", tuple(self.anchors_px))
        for name, kind in PARTS.items():
            value = getattr(self, name)
            object.__setattr__(self, name, build(kind, value) if isinstance(value, Mapping) else value)
        sizes = ("channels", "subnet_channels", "smooth_channels")
        rules = {
            "backbone": (self.backbone in backbones.NAMES, f"one of {', '.join(backbones.NAMES)}"),
            "width": (self.width > 0, "above 0"),
            "weights": (not self.weights or self.width == 1, "empty unless width is 1: trained weights are of that width"),
            "batch_norm": (self.batch_norm in BATCH_NORMS, f"one of {', '.join(BATCH_NORMS)}"),
            "norm": (self.norm in NORMS, f"one of {', '.join(NORMS)}"),
            "anchors_px": (len(self.anchors_px) == len(detector.STRIDES) and min(self.anchors_px) > 0, "five sides"),
            **{name: (getattr(self, name) >= FEWEST_CHANNELS, f"at least {FEWEST_CHANNELS}") for name in sizes},
        }
        if self.norm == "group":
            rules["channels"] = (
                self.channels > 0 and self.channels % GROUP_CHANNELS == 0,
                f"a multiple of {GROUP_CHANNELS} with norm: group",
            )
        check("multipose.model.", self, rules)
