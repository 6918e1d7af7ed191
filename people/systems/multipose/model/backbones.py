"""Backbones of detectors by name: torchvision's ResNets and MobileNetV2, of any width, as maps at strides 4, 8, 16 and 32."""

from typing import Any

import torchvision
from jaxtyping import Float
from torch import Tensor, nn

from people.nn.pretrained import Pretrained
from people.nn.resnet import ResNetTrunk

STRIDES = (4, 8, 16, 32)  # of the maps C2 to C5
WIDTHS = (64, 128, 256, 512)  # of the stages of a ResNet
_RESNETS: dict[str, tuple[tuple[int, ...], bool]] = {  # blocks of each stage, and whether they are bottlenecks
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
_MOBILENET = "mobilenet_v2"
_MOBILENET_STAGES = (4, 7, 14, 18)  # the number of layers up to the last one at each stride
NAMES = (*_RESNETS, _MOBILENET)
IMAGENET = "imagenet"  # torchvision's weights in torch's cache


class Backbone(nn.Module):
    """The maps C2 to C5 of an image; `channels`: of each of them.

    `width` multiplies the channels: 1 is the published network, whose weights then fit. With `frozen` BatchNorm keeps the
    statistics that it was given, in training too.
    """

    def __init__(self, name: str, width: float | int, *, frozen: bool) -> None:
        super().__init__()
        self.frozen = frozen
        trunk = _MobileNet(width) if name == _MOBILENET else _resnet(name, width)
        self.trunk, self.channels = trunk, trunk.channels
        self.train()

    def forward(self, image: Float[Tensor, "sample 3 height width"]) -> list[Float[Tensor, "sample _ _ _"]]:
        """The maps at strides 4, 8, 16 and 32: an image of h rows has one of ceil(h / stride)."""
        return self.trunk(image)

    def train(self, mode: bool = True) -> "Backbone":
        """Training mode; frozen BatchNorm stays in evaluation mode."""
        super().train(mode)
        for layer in self.modules() if self.frozen else ():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        return self


def pretrained(name: str, weights: str) -> Pretrained:
    """The trained weights of the trunk of a backbone of width 1: `IMAGENET`, or a file."""
    entries: Any = torchvision.models.get_model_weights(name)
    known = entries.IMAGENET1K_V1
    file = "" if weights == IMAGENET else weights
    return Pretrained(known, file, f"backbone: {name} with width: 1 takes torchvision's {entries.__name__}")


def _resnet(name: str, width: float | int) -> ResNetTrunk:
    blocks, bottleneck = _RESNETS[name]
    widths = [max(8, round(channels * width)) for channels in WIDTHS]
    return ResNetTrunk(widths, blocks, strides=ResNetTrunk.PUBLISHED, bottleneck=bottleneck)


class _MobileNet(nn.Module):
    """MobileNetV2 up to its last inverted residual; names are those of torchvision."""

    def __init__(self, width: float | int) -> None:
        super().__init__()
        layers: list[Any] = list(torchvision.models.mobilenet_v2(width_mult=float(width)).features)
        self.features = nn.Sequential(*layers[: _MOBILENET_STAGES[-1]])
        self.channels: tuple[int, ...] = tuple(int(layers[stop - 1].out_channels) for stop in _MOBILENET_STAGES)

    def forward(self, image: Float[Tensor, "sample 3 height width"]) -> list[Float[Tensor, "sample _ _ _"]]:
        maps, stage_maps = image, []
        for number, layer in enumerate(self.features, start=1):
            maps = layer(maps)
            if number in _MOBILENET_STAGES:
                stage_maps.append(maps)
        return stage_maps
