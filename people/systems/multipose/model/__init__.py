"""The network: a backbone, its pyramids with the keypoint subnet and the person detector, the pose residual network, the
activity classifier, and all of them joined.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from people.config import build, check
from people.nn.pretrained import Pretrained
from people.nn.resnet import FEWEST_CHANNELS
from people.systems.multipose.model import backbones, detector, heatmaps, poses
from people.systems.multipose.model.backbones import Backbone
from people.systems.multipose.model.heatmaps import MAP_STRIDE
from people.systems.multipose.model.poses import GAUSSIAN

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


class Person(NamedTuple):
    """The people that the joined network finds in one image, best first, in its pixels: rows of equal numbers.

    `keypoints_px`: x, y, and the value of the joint's peak; 0 where no peak is the person's, at the place where the pose
    residual network expects it. `activity`: the probability of each.
    """

    box_xyxy_px: Float[Tensor, "person 4"]
    score: Float[Tensor, " person"]
    keypoints_px: Float[Tensor, "person joint 3"]
    activity: Float[Tensor, "person class"]


class Network(nn.Module):
    """From a batch to the outputs of the heads that it has inputs for; `people` joins them.

    "heatmaps" (sample, joint and background, row, column) and, in training, "intermediate" (sample, level, the same);
    "box_logit" (sample, anchor), "box_delta" and "box_anchor" (sample, anchor, 4); "residual" (person, joint, row, column),
    logarithms of the softmax; "activity" (person, class), logits. People are those of all images, one image behind another.
    """

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        tasks, joints, self.config = set(spec["tasks"]), spec["joints"], config
        self.grid_hw = (spec["grid_hw"][0], spec["grid_hw"][1])
        self.joints, self.aspect, self.activities = joints, spec["aspect"], len(spec["activities"])
        detects = "detector" in tasks
        self.backbone = _backbone(config) if "keypoints" in tasks or (detects and config.shared) else None
        self.keypoints = Keypoints(config, _channels(self.backbone), joints) if "keypoints" in tasks else None
        own = None if config.shared or not detects else _backbone(config)
        self.detector = Detector(config, _channels(own or self.backbone), own) if detects else None
        self.residual = PoseResidualNetwork(config.residual, joints, self.grid_hw) if "residual" in tasks else None
        self.activity = ActivityClassifier(config.activity, 2 * joints, self.activities) if "activity" in tasks else None

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """A head answers where the batch has what it reads: "counted", "is_crowd", "joint_maps", "poses" (see `data`)."""
        outputs: dict[str, Tensor] = {}
        wants_keypoints = self.keypoints is not None and "counted" in batch
        wants_boxes = self.detector is not None and "is_crowd" in batch
        if wants_keypoints or wants_boxes:
            outputs |= self._of_image(batch["image"], wants_keypoints, wants_boxes)
        if self.residual is not None and "joint_maps" in batch:
            outputs["residual"] = self.residual(torch.cat(batch["joint_maps"]))
        if self.activity is not None and "poses" in batch:
            outputs["activity"] = self.activity(torch.cat(batch["poses"]))
        return outputs

    def pretrained(self) -> dict[str, Pretrained]:
        """The backbones' trunks, if they start from trained weights."""
        if not self.config.weights:
            return {}
        source = backbones.pretrained(self.config.backbone, self.config.weights)
        own = self.detector is not None and self.detector.backbone is not None
        named = {"backbone.trunk": self.backbone is not None, "detector.backbone.trunk": own}
        return {name: source for name, is_there in named.items() if is_there}

    def _of_image(
        self, image: Float[Tensor, "sample 3 height width"], wants_keypoints: bool, wants_boxes: bool
    ) -> dict[str, Tensor]:
        outputs, needs_own = {}, self.detector is not None and self.detector.backbone is not None
        image = image.contiguous(memory_format=torch.channels_last)
        maps = self.backbone(image) if self.backbone is not None and (wants_keypoints or not needs_own) else []
        if wants_keypoints:
            assert self.keypoints is not None
            outputs["heatmaps"], intermediate = self.keypoints(maps)
            if self.training:
                outputs["intermediate"] = intermediate
        if wants_boxes:
            assert self.detector is not None
            outputs["box_logit"], outputs["box_delta"] = self.detector(image, maps)
            anchor = self.anchors((image.shape[2], image.shape[3]), image.device)
            outputs["box_anchor"] = anchor.expand(len(image), -1, 4)
        return outputs

    def anchors(self, size_hw: tuple[int, int], device: torch.device) -> Float[Tensor, "anchor 4"]:
        """The anchors of images of this size."""
        maps_hw = [(-(-size_hw[0] // stride), -(-size_hw[1] // stride)) for stride in detector.STRIDES]
        return detector.anchors(self.config.anchors_px, maps_hw, device)

    @torch.no_grad()
    def people(
        self, image: Float[Tensor, "sample 3 height width"], *, scales: Sequence[float | int] = (1.0,), flip: bool = False
    ) -> list[Person]:
        """Who is in each of these images, normalised as in training: the whole chain, whatever the batch mates are.

        With several `scales`, or `flip`, heat maps are the mean over the image at these scales, and mirrored. Needs all heads;
        without that of activities they are not told.
        """
        size_hw = (image.shape[2], image.shape[3])
        outputs = self.image_outputs(image, scales=scales, flip=flip)
        found = []
        for row in range(len(image)):
            boxes = self.boxes(outputs["box_logit"][row], outputs["box_delta"][row], outputs["box_anchor"][row], size_hw)
            found.append(self.posed(outputs["heatmaps"][row, : self.joints], boxes))
        return found

    @torch.no_grad()
    def image_outputs(
        self, image: Float[Tensor, "sample 3 height width"], *, scales: Sequence[float | int] = (1.0,), flip: bool = False
    ) -> dict[str, Tensor]:
        """The heat maps and boxes of these images before anything is decided, as `forward` names them."""
        if self.keypoints is None or self.detector is None or self.residual is None:
            raise ValueError("to find people the network needs the tasks keypoints, detector and residual; train it with them")
        outputs = {name: value.float() for name, value in self._of_image(image, True, True).items()}
        return outputs | {"heatmaps": self._averaged(image, outputs["heatmaps"], scales, flip)}

    def boxes(
        self, logit: Float[Tensor, " anchor"], delta: Float[Tensor, "anchor 4"], anchor: Tensor, size_hw: tuple[int, int]
    ) -> detector.Boxes:
        """The boxes of the people in one image."""
        answer = self.config.answer
        limits = {"threshold": answer.box_score, "nms_iou": answer.box_iou, "most": answer.people}
        return detector.decode(logit, delta, anchor, size_hw, **limits)

    def _averaged(
        self, image: Tensor, maps: Float[Tensor, "sample map row column"], scales: Sequence[float | int], flip: bool
    ) -> Float[Tensor, "sample map row column"]:
        total, count = torch.zeros_like(maps), 0
        swap = torch.tensor([*poses.swapped_sides(self.joints), self.joints])
        height, width = (MAP_STRIDE * side for side in maps.shape[2:])  # whole cells, or mirrored and scaled maps are off
        image = functional.pad(image, (0, width - image.shape[3], 0, height - image.shape[2]))
        for scale in scales:
            size = [MAP_STRIDE * max(1, round(side * scale)) for side in maps.shape[2:]]
            scaled = image if scale == 1 else functional.interpolate(image, size, mode="bilinear", antialias=True)
            for is_mirrored in (False, True) if flip else (False,):
                plain = scale == 1 and not is_mirrored
                seen = scaled.flip(-1) if is_mirrored else scaled
                of_scale = maps if plain else self._of_image(seen, True, False)["heatmaps"].float()
                of_scale = heatmaps.mirrored(of_scale, swap) if is_mirrored else of_scale
                same_size = of_scale.shape[2:] == maps.shape[2:]
                total += of_scale if same_size else functional.interpolate(of_scale, list(maps.shape[2:]), mode="bilinear")
                count += 1
        return total / count

    def posed(self, maps: Float[Tensor, "joint row column"], boxes: detector.Boxes) -> Person:
        """The people of these boxes with their keypoints and activities."""
        answer, device = self.config.answer, maps.device
        peaks = heatmaps.find_peaks(maps, MAP_STRIDE, threshold=answer.peak, window=answer.peak_window, most=2 * answer.people)
        keypoints = self.pose(boxes.box_xyxy_px, peaks)
        activity = torch.zeros(len(keypoints), self.activities, device=device)
        if self.activity is not None and len(keypoints):
            activity = self.activity(poses.coordinates(keypoints, self.aspect)).float().softmax(1)
        found = keypoints[..., 2] > 0
        mean = (keypoints[..., 2] * found).sum(1) / found.sum(1).clamp(min=1)
        score = boxes.score * (0.5 + 0.5 * mean.clamp(max=1))
        order = score.argsort(descending=True, stable=True)
        return Person(boxes.box_xyxy_px[order], score[order], keypoints[order], activity[order])

    def pose(self, box_xyxy_px: Float[Tensor, "person 4"], peaks: heatmaps.Peaks) -> Float[Tensor, "person joint 3"]:
        """The keypoints of the people in these boxes: the pose residual network reads the peaks within each box; every joint's
        peaks are assigned one to one by the sum of its map round them.
        """
        people = len(box_xyxy_px)
        if not people:
            return box_xyxy_px.new_zeros(0, self.joints, 3)
        assert self.residual is not None
        position = poses.to_grid(
            peaks.position_px[None].expand(people, -1, 2), box_xyxy_px[:, None].expand(-1, len(peaks.joint), 4), self.grid_hw
        )
        inputs = torch.stack([poses.impulses(of_person, peaks.joint, self.joints, self.grid_hw) for of_person in position])
        corrected = self.residual(poses.blurred(inputs, GAUSSIAN)).float().exp()
        expected = poses.from_grid(poses.strongest(corrected), box_xyxy_px[:, None], self.grid_hw)
        keypoints = torch.cat([expected, torch.zeros_like(expected[..., :1])], dim=2)
        sums = poses.window_sums(corrected, self.config.answer.window)
        inside = ((position >= 0) & (position < position.new_tensor([self.grid_hw[1], self.grid_hw[0]]))).all(2)
        cell = position.clamp(min=0).floor().long()
        row, column = (cell[..., axis].clamp(max=size - 1) for axis, size in ((1, self.grid_hw[0]), (0, self.grid_hw[1])))
        score = sums[torch.arange(people, device=row.device)[:, None], peaks.joint[None], row, column]
        score_array, allowed = score.cpu().numpy().astype(np.float64), inside.cpu().numpy()
        for joint in range(self.joints):
            of_joint = (peaks.joint == joint).nonzero().squeeze(1)
            columns = of_joint.cpu().numpy()
            peak = poses.assign(score_array[:, columns], allowed[:, columns])
            chosen = np.flatnonzero(peak >= 0)
            rows = of_joint[torch.from_numpy(peak[chosen]).to(of_joint.device)]
            keypoints[torch.from_numpy(chosen).to(rows.device), joint] = torch.cat(
                [peaks.position_px[rows], peaks.score[rows, None]], dim=1
            )
        return keypoints


def _backbone(config: Config) -> Backbone:
    return Backbone(config.backbone, config.width, frozen=config.batch_norm == "frozen")


def _channels(backbone: Backbone | None) -> Sequence[int]:
    assert backbone is not None
    return backbone.channels


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
        if len(input) >= 2 or not self.training:
            return super().forward(input)
        mean, variance = self.running_mean, self.running_var
        return functional.batch_norm(input, mean, variance, self.weight, self.bias, False, 0.0, self.eps)
