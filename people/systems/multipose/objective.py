"""What multipose minimises: one term for each head, weighted; its validation errors."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from people.config import check
from people.systems.multipose.data import HEADS
from people.systems.multipose.model import detector, heatmaps, poses
from people.systems.multipose.model.heatmaps import MAP_STRIDE
from people.training import task_weights, validation_errors
from people.training.monitor import Concatenated, Validation
from people.training.task_weights import CLASSIFICATION, REGRESSION

MAIN = "keypoints"
MAIN_ERROR = validation_errors.COMBINED  # the mean of the errors of the heads that were validated
ERRORS = (MAIN_ERROR, *HEADS)
# the detector is mostly its classification, the residual a cross-entropy of maps
KINDS = {
    "keypoints": REGRESSION, "detector": CLASSIFICATION, "residual": CLASSIFICATION, "activity": CLASSIFICATION,
}  # fmt: skip
TARGET_SIGMA = 2.0  # cells, of the maps that the pose residual network is to give
MATCH_IOU = 0.5  # of a found box with a labelled one
VALIDATED = {"threshold": 0.02, "nms_iou": 0.5, "most": 100}  # of boxes: what an answer leaves out does not matter here


@dataclass(frozen=True, init=False)
class Config:
    """The weight λ of each task, how the terms λ_t L_t are weighted, and how each is measured.

    `sigma_px`: of the heat maps' Gaussians. `intermediate`: the pyramid's maps are supervised too.
    `emphasis`: cells count 1 + emphasis times the target there; 0 as published. `focal`: α and γ of the
    detector's classification loss. `box`: the weight of its box loss, of which the classification loss has 1.
    """

    lambdas: dict[str, float]
    sigma_px: float
    intermediate: bool
    emphasis: float
    focal: dict[str, float]
    box: float
    weighting: task_weights.Method

    def __init__(
        self,
        *,
        sigma_px: float | int,
        intermediate: bool,
        emphasis: float | int,
        focal: Mapping[str, float | int],
        box: float | int,
        weighting: Mapping[str, Any],
        **weights: Any,
    ) -> None:
        if set(weights) != {"lambda"}:  # a keyword of Python, therefore not a parameter
            raise ValueError(
                "multipose.objective has the keys lambda, sigma_px, intermediate, emphasis, focal, box and weighting, got "
                f"besides {sorted(weights)}"
            )
        object.__setattr__(self, "lambdas", {task: float(weight) for task, weight in weights["lambda"].items()})
        object.__setattr__(self, "sigma_px", float(sigma_px))
        object.__setattr__(self, "intermediate", intermediate)
        object.__setattr__(self, "emphasis", float(emphasis))
        object.__setattr__(self, "focal", {name: float(value) for name, value in focal.items()})
        object.__setattr__(self, "box", float(box))
        object.__setattr__(self, "weighting", task_weights.method("multipose.objective.weighting", weighting))
        if set(self.lambdas) != set(HEADS) or min(self.lambdas.values()) < 0 or not any(self.lambdas.values()):
            raise ValueError(
                f"multipose.objective.lambda must give {', '.join(HEADS)} a weight >= 0, one of them above 0, got "
                f"{self.lambdas}; correct params.yaml"
            )
        is_focal = set(self.focal) == {"alpha", "gamma"} and 0 < self.focal["alpha"] < 1 and self.focal["gamma"] >= 0
        rules = {
            "sigma_px": (self.sigma_px > 0, "above 0"),
            "emphasis": (self.emphasis >= 0, "at least 0"),
            "focal": (is_focal, "alpha in (0, 1) and gamma >= 0"),
            "box": (self.box >= 0, "at least 0"),
        }
        check("multipose.objective.", self, rules)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose weight is not 0."""
        return tuple(head for head in HEADS if self.lambdas[head])


class Objective(nn.Module):
    """The named loss terms whose weight is not 0, unweighted; stateless."""

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        lambdas = {task: config.lambdas[task] for task in config.tasks}
        self.weighting = task_weights.weighting(config.weighting, lambdas, KINDS)

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Any]) -> dict[str, Tensor]:
        """The loss of each term, a scalar with a graph."""
        return {task: getattr(self, f"_{task}")(outputs, batch) for task in self.config.tasks}

    def diagnostics(self, outputs: dict[str, Tensor], batch: dict[str, Any]) -> dict[str, Tensor]:
        """The people an image has, on average."""
        count = sum(len(boxes) for boxes in batch["boxes"])
        return {"people": next(iter(outputs.values())).new_full((), count / max(len(batch["boxes"]), 1))}

    def step_end(self) -> None:
        """Nothing: there is no state."""

    def _keypoints(self, outputs: dict[str, Tensor], batch: dict[str, Any]) -> Tensor:
        """Σ over outputs of W · ||H - S*||² / (2 · images): of the final maps and, if supervised too, each level's."""
        predicted = outputs["heatmaps"][:, None]
        if self.config.intermediate and "intermediate" in outputs:
            predicted = torch.cat([predicted, outputs["intermediate"]], dim=1)
        size = predicted.shape[-2:]
        target = heatmaps.gaussian_maps(batch["keypoints"], (size[0], size[1]), MAP_STRIDE, self.config.sigma_px)
        weight = batch["counted"][:, None, None] * (1 + self.config.emphasis * target[:, None])
        return (weight * (predicted - target[:, None]).square()).sum() / (2 * len(predicted))

    def _detector(self, outputs: dict[str, Tensor], batch: dict[str, Any]) -> Tensor:
        """Focal loss + `box` times the smooth L1 loss."""
        crowd = [flags.bool() for flags in batch["is_crowd"]]
        focal, smooth = detector.loss(
            outputs["box_logit"], outputs["box_delta"], outputs["box_anchor"][0], batch["boxes"], crowd, **self.config.focal
        )
        return focal + self.config.box * smooth

    def _residual(self, outputs: dict[str, Tensor], batch: dict[str, Any]) -> Tensor:
        """Binary cross-entropy between the softmax and the own joints' Gaussians, summed over a person's maps (the published
        mean, times the number of outputs), averaged over people.
        """
        return residual_loss(outputs["residual"], torch.cat(batch["true_maps"]))

    def _activity(self, outputs: dict[str, Tensor], batch: dict[str, Any]) -> Tensor:
        """Cross-entropy; 0 where a batch has nobody whose activity is known."""
        target = pose_activities(batch)
        return functional.cross_entropy(outputs["activity"], target, reduction="sum") / max(len(target), 1)


def residual_loss(
    log_softmax: Float[Tensor, "person joint row column"], impulses: Float[Tensor, "person joint row column"]
) -> Float[Tensor, ""]:
    """See `Objective._residual`; 0 without people."""
    if not len(impulses):
        return log_softmax.sum()
    target = poses.blurred(impulses, TARGET_SIGMA)
    off = torch.log1p(-log_softmax.exp().clamp(max=1 - 1e-6))
    return -(target * log_softmax + (1 - target) * off).sum() / len(impulses)


def pose_activities(batch: Mapping[str, Any]) -> Int[Tensor, " person"]:
    """The activities of the people whose poses are in a batch."""
    pairs = zip(batch["activity"], batch["pose_person"], strict=True)
    return torch.cat([activity[rows] for activity, rows in pairs])


# --- validation ------------------------------------------------------------------------------------------------------


def monitor(targets: Collection[str]) -> Concatenated:
    """The outputs reduced to what is found of each person, lists of one tensor an image."""
    return Concatenated(validate, targets, reduce=reduced)


def reduced(outputs: dict[str, Tensor], batch: dict[str, Any]) -> dict[str, list[Tensor]]:
    """Of each image: by "keypoints" the similarity (OKS) of each person's highest cells of the heat maps in the true box, by
    "residual" that of the pose residual network's; "found_boxes" and their "scores"; by "activity" whether each is right.
    """
    found: dict[str, list[Tensor]] = {}
    people = (batch["boxes"], batch["keypoints"], batch["area"])
    if "heatmaps" in outputs:
        found["keypoints"] = [strongest_similarity(*of_image) for of_image in zip(outputs["heatmaps"], *people, strict=True)]
    if "box_logit" in outputs:
        columns = (outputs["box_logit"], outputs["box_delta"], outputs["box_anchor"])
        height, width = batch["image"].shape[2:]
        boxes = [detector.decode(*of_image, (height, width), **VALIDATED) for of_image in zip(*columns, strict=True)]
        found |= {"found_boxes": [each.box_xyxy_px for each in boxes], "scores": [each.score for each in boxes]}
    if "residual" in outputs:
        rows = batch["residual_person"]
        maps = outputs["residual"].split([len(of_image) for of_image in rows])
        found["residual"] = [residual_similarity(*of_image) for of_image in zip(maps, rows, *people, strict=True)]
    if "activity" in outputs:
        is_right = outputs["activity"].argmax(1) == pose_activities(batch)
        found["activity_right"] = list(is_right.split([len(rows) for rows in batch["pose_person"]]))
    return found


def strongest_similarity(
    maps: Float[Tensor, "map row column"],
    box_xyxy_px: Float[Tensor, "person 4"],
    keypoints_px: Float[Tensor, "person joint 3"],
    area_px: Float[Tensor, " person"],
) -> Float[Tensor, " person"]:
    """The OKS of the highest cell of each joint's map within each person's box."""
    position = heatmaps.strongest_in_boxes(maps[: keypoints_px.shape[1]], box_xyxy_px, MAP_STRIDE)
    return poses.keypoint_similarity(keypoints_px, area_px, position)


def residual_similarity(
    maps: Float[Tensor, "row joint grid_row grid_column"],
    rows: Int[Tensor, " row"],
    box_xyxy_px: Float[Tensor, "person 4"],
    keypoints_px: Float[Tensor, "person joint 3"],
    area_px: Float[Tensor, " person"],
) -> Float[Tensor, " row"]:
    """The OKS of the highest cell of each joint's map on the grid, for the people in these rows."""
    position = poses.from_grid(poses.strongest(maps), box_xyxy_px[rows][:, None], (maps.shape[2], maps.shape[3]))
    return poses.keypoint_similarity(keypoints_px[rows], area_px[rows], position)


def validate(outputs: dict[str, Any], targets: dict[str, Any]) -> Validation:
    """The errors of the heads that there are outputs of, each in [0, 1], and their mean: 1 - mean OKS of keypoints in true
    boxes, 1 - average precision of boxes at an overlap of 0.5, 1 - mean OKS after the pose residual network, the share of
    activities that are wrong.
    """
    errors: dict[str, float] = {}
    if "keypoints" in outputs:
        errors["keypoints"] = 1 - _mean(outputs["keypoints"])
    if "found_boxes" in outputs:
        crowd = [flags.bool() for flags in targets["is_crowd"]]
        found = zip(outputs["found_boxes"], outputs["scores"], targets["boxes"], crowd, strict=True)
        errors["detector"] = 1 - detector.average_precision(list(found), MATCH_IOU)
    if "residual" in outputs:
        errors["residual"] = 1 - _mean(outputs["residual"])
    if "activity_right" in outputs:
        errors["activity"] = 1 - _mean(outputs["activity_right"])
    errors[MAIN_ERROR] = sum(errors.values()) / len(errors)
    return {"score": -errors[MAIN_ERROR], "errors": errors}


def _mean(values: Sequence[Tensor]) -> float:
    """The mean over all people of whom a value is known; 0 where of nobody."""
    known = torch.cat(list(values)).double()
    known = known[~known.isnan()]
    return known.mean().item() if len(known) else 0.0
