"""The heads: keypoint subnet and detector, each on a pyramid of its own, pose residual network, activity classifier."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from people.systems.multipose.model import detector
from people.systems.multipose.model.backbones import Backbone
from people.systems.multipose.model.config import GROUP_CHANNELS, Activity, Config, Residual


class Keypoints(nn.Module):
    """The keypoint subnet: D_i = two 3x3 convolutions of the pyramid's maps P2 to P5, enlarged to P2's size, concatenated (Z),
    smoothed by a 3x3 convolution with ReLU, and one map a joint and the background by a 1x1 convolution.

    Beside them the intermediate maps Z_i, a 1x1 convolution of each P_i, at the same size.
    """

    def __init__(self, config: Config, channels_in: Sequence[int], joints: int) -> None:
        super().__init__()
        channels, width, maps = config.channels, config.subnet_channels, joints + 1
        self.pyramid = FeaturePyramidNetwork(list(channels_in), channels)
        self.subnets = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)) for _ in channels_in
        )
        self.smooth = nn.Conv2d(len(channels_in) * width, config.smooth_channels, 3, padding=1)
        self.heatmaps = nn.Conv2d(config.smooth_channels, maps, 1)
        self.intermediate = nn.ModuleList(nn.Conv2d(channels, maps, 1) for _ in channels_in)
        for layer in (self.heatmaps, *self.intermediate):  # as of an image of nobody
            bias = layer.get_parameter("bias")
            nn.init.zeros_(bias)
            nn.init.ones_(bias[-1:])

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        levels = list(self.pyramid({str(number): level for number, level in enumerate(maps)}).values())
        size = levels[0].shape[2:]
        joined = torch.cat(
            [_repeated(subnet(level), i, size) for i, (subnet, level) in enumerate(zip(self.subnets, levels, strict=True))],
            dim=1,
        )
        predicted = self.heatmaps(torch.relu(self.smooth(joined)))
        if not self.training:
            return predicted, predicted[:, None]
        of_levels = [
            _repeated(layer(level), i, size) for i, (layer, level) in enumerate(zip(self.intermediate, levels, strict=True))
        ]
        return predicted, torch.stack(of_levels, dim=1)


def _repeated(maps: Tensor, level: int, size_hw: Sequence[int]) -> Tensor:
    """The maps of a level of the pyramid with each cell 2^level times in each direction, as far as those of the first reach.

    To that size outright they would be shifted where a side of the image is not a multiple of 32.
    """
    enlarged = functional.interpolate(maps, scale_factor=float(2**level)) if level else maps
    return enlarged[..., : size_hw[0], : size_hw[1]]


class Detector(nn.Module):
    """RetinaNet for one class on the pyramid P3 to P7; with a backbone of its own where it shares none."""

    def __init__(self, config: Config, channels_in: Sequence[int], backbone: Backbone | None) -> None:
        super().__init__()
        self.backbone = backbone
        channels = config.channels
        self.pyramid = FeaturePyramidNetwork(
            list(channels_in[1:]), channels, LastLevelP6P7(channels_in[-1], channels), norm_layer=_norm(config)
        )
        self.head = RetinaNetHead(channels, detector.ANCHORS_EACH, 1, norm_layer=_norm(config))

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        maps = maps if self.backbone is None else self.backbone(image)
        levels = self.pyramid({str(number): level for number, level in enumerate(maps[1:])})
        outputs = self.head(list(levels.values()))
        return outputs["cls_logits"].squeeze(2), outputs["bbox_regression"]


def _norm(config: Config) -> Callable[[int], nn.Module] | None:
    return _group_norm if config.norm == "group" else None


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // GROUP_CHANNELS, channels)


class PoseResidualNetwork(nn.Module):
    """y = softmax(x + ψ(x)) of a person's maps of joints x [Kocabas et al., ECCV 2018]: ψ two hidden layers with ReLU and
    dropout and an output layer with ReLU. Returns logarithms.
    """

    def __init__(self, config: Residual, joints: int, grid_hw: tuple[int, int]) -> None:
        super().__init__()
        size = joints * grid_hw[0] * grid_hw[1]
        self.softmax = config.softmax
        self.layers = nn.Sequential(
            nn.Linear(size, config.hidden), nn.ReLU(), nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden), nn.ReLU(), nn.Dropout(config.dropout),
            nn.Linear(config.hidden, size), nn.ReLU(),
        )  # fmt: skip

    def forward(self, maps: Float[Tensor, "person joint row column"]) -> Float[Tensor, "person joint row column"]:
        flat = maps.flatten(1)
        total = (flat + self.layers(flat)).float().view_as(maps)
        if self.softmax == "joint":
            return total.flatten(2).log_softmax(2).view_as(maps)
        return total.flatten(1).log_softmax(1).view_as(maps)


class ActivityClassifier(nn.Module):
    """Logits of the activities from a pose's coordinates: each hidden layer ReLU, then BatchNorm, then dropout."""

    def __init__(self, config: Activity, coordinates: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = coordinates
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), BatchNorm(hidden), nn.Dropout(config.dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, classes))

    def forward(self, vectors: Float[Tensor, "person coordinate"]) -> Float[Tensor, "person class"]:
        return self.layers(vectors)


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm that normalises by its running statistics where a batch has fewer than two rows, of which there are none."""

    def forward(self, input: Float[Tensor, "person channel"]) -> Float[Tensor, "person channel"]:
        if not self.training or len(input) >= 2:
            return super().forward(input)
        mean, variance = self.running_mean, self.running_var
        return functional.batch_norm(input, mean, variance, self.weight, self.bias, False, 0.0, self.eps)
