"""ResNet without its classifier, as a trunk that returns the maps of every stage."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

FEWEST_CHANNELS = 8  # of a 1x1 convolution's input that oneDNN handles with the channels innermost


class ResNetTrunk(nn.Module):
    """ResNet; by default for upright photos: the first convolution halves the height only, max pooling keeps the size.

    Names and layers are those of torchvision, whose strides there are (2, 2) and 2 (`UPRIGHT`, `PUBLISHED`): its weights fit
    both. A photo of 128x64 has maps of 16x16 after the third stage. With `bottleneck` blocks are those of ResNet-50 and
    deeper, and maps have four times the stage's width. `channels`: of the maps after each stage.
    """

    UPRIGHT = ((2, 1), (1, 1))  # strides of the first convolution and of max pooling
    PUBLISHED = ((2, 2), (2, 2))

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        *,
        strides: tuple[tuple[int, int], tuple[int, int]] = UPRIGHT,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        self.stages = [f"layer{number}" for number in range(1, len(widths) + 1)]
        self.channels = tuple(width * (4 if bottleneck else 1) for width in widths)
        self.conv1 = nn.Conv2d(3, widths[0], 7, stride=strides[0], padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=strides[1], padding=1)
        channels_in = widths[0]
        for name, width, count, channels in zip(self.stages, widths, blocks, self.channels, strict=True):
            stride = 1 if name == self.stages[0] else 2
            self.add_module(name, _stage(channels_in, width, count, stride, bottleneck))
            channels_in = channels
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Float[Tensor, "sample 3 height width"]) -> list[Float[Tensor, "sample _ _ _"]]:
        """The maps after each stage."""
        maps, stage_maps = self.maxpool(self.relu(self.bn1(self.conv1(image)))), []
        for name in self.stages:
            maps = self.get_submodule(name)(maps)
            stage_maps.append(maps)
        return stage_maps


class Convolution1x1(nn.Conv2d):
    """1x1 without bias; torch's start.

    With fewer than 8 input channels that lie innermost, oneDNN 3.13 of torch 2.15 writes beyond its buffers on a CPU with AVX2
    when it computes the gradient of the weight: wrong gradients, a hang or a crash. Such an input is taken with the channels
    outermost, where it is right.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__(channels_in, channels_out, 1, stride=stride, bias=False)

    def forward(self, input: Float[Tensor, "sample channel _ _"]) -> Float[Tensor, "sample channel_out _ _"]:
        if input.device.type != "cpu" or self.in_channels >= FEWEST_CHANNELS:
            return super().forward(input)
        weight = self.weight.flatten(1)[:, :, None, None]  # strides that no layout with the channels innermost has
        maps = functional.conv2d(input.contiguous(memory_format=torch.contiguous_format), weight, stride=self.stride)
        return maps.contiguous(memory_format=torch.channels_last)


def _stage(channels_in: int, width: int, blocks: int, stride: int, bottleneck: bool) -> nn.Sequential:
    from torchvision.models.resnet import BasicBlock, Bottleneck  # torchvision takes seconds to import, few networks need it

    block = Bottleneck if bottleneck else BasicBlock
    channels_out = width * block.expansion
    shortcut = None
    if stride != 1 or channels_in != channels_out:
        shortcut = nn.Sequential(Convolution1x1(channels_in, channels_out, stride), nn.BatchNorm2d(channels_out))
    first = block(channels_in, width, stride, shortcut)
    return nn.Sequential(first, *(block(channels_out, width) for _ in range(blocks - 1)))
