"""The network: a backbone, the heads on it, and all of them joined."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from people.nn.pretrained import Pretrained
from people.systems.multipose.model import backbones, detector, heatmaps, poses
from people.systems.multipose.model.backbones import Backbone
from people.systems.multipose.model.config import Config
from people.systems.multipose.model.heads import ActivityClassifier, Detector, Keypoints, PoseResidualNetwork
from people.systems.multipose.model.heatmaps import MAP_STRIDE
from people.systems.multipose.model.poses import GAUSSIAN

__all__ = ["Config", "FoundPeople", "Network"]


class FoundPeople(NamedTuple):
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
            outputs["box_anchor"] = anchor.expand(image.shape[0], -1, 4)
        return outputs

    def anchors(self, size_hw: tuple[int, int], device: torch.device) -> Float[Tensor, "anchor 4"]:
        """The anchors of images of this size."""
        maps_hw = [(-(-size_hw[0] // stride), -(-size_hw[1] // stride)) for stride in detector.STRIDES]
        return detector.anchors(self.config.anchors_px, maps_hw, device)

    @torch.no_grad()
    def people(
        self, image: Float[Tensor, "sample 3 height width"], *, scales: Sequence[float | int] = (1.0,), flip: bool = False
    ) -> list[FoundPeople]:
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

    def posed(self, maps: Float[Tensor, "joint row column"], boxes: detector.Boxes) -> FoundPeople:
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
        return FoundPeople(boxes.box_xyxy_px[order], score[order], keypoints[order], activity[order])

    def pose(self, box_xyxy_px: Float[Tensor, "person 4"], peaks: heatmaps.Peaks) -> Float[Tensor, "person joint 3"]:
        """The keypoints of the people in these boxes: the pose residual network reads the peaks within each box; every joint's
        peaks are assigned one to one by the sum of its map round them.
        """
        people = len(box_xyxy_px)
        if not people:
            return box_xyxy_px.new_zeros(0, self.joints, 3)
        assert self.residual is not None
        position = poses.to_grid(peaks.position_px[None], box_xyxy_px[:, None], self.grid_hw)
        everywhere = torch.ones_like(position[..., 0], dtype=torch.bool)
        inputs = poses.impulses(position, everywhere, peaks.joint, self.joints, self.grid_hw)
        corrected = self.residual(poses.blurred(inputs, GAUSSIAN)).float().exp()
        expected = poses.from_grid(poses.strongest(corrected), box_xyxy_px[:, None], self.grid_hw)
        keypoints = torch.cat([expected, torch.zeros_like(expected[..., :1])], dim=2)
        sums = poses.window_sums(corrected, self.config.answer.window)
        inside = ((position >= 0) & (position < poses.width_height(self.grid_hw, position))).all(2)
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
