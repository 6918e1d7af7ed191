"""Multipose's metrics on the test images: boxes and keypoints by COCO's official evaluator, the pose residual network alone,
activities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from people.config import build, check
from people.evaluation import coco, plots
from people.evaluation.coco import Detections
from people.evaluation.results import Results
from people.protocols.image_set import ImageSet
from people.records import ACTIVITIES
from people.systems.multipose import data, paper
from people.systems.multipose.data import People
from people.systems.multipose.model import FoundPeople, Network, heatmaps, poses
from people.systems.multipose.score import activities, found, pictures
from people.systems.multipose.score.activities import CrossValidation, Poses
from people.systems.multipose.score.found import Split
from people.systems.multipose.score.headline import headline_figures as headline_figures
from people.training.system import Reads, Spec, Statistics

# By column of a table of several trainings: the metric, and that of the baseline.
COLUMNS: dict[str, tuple[str, str | None]] = {
    "keypoint AP": ("keypoints.all.ap", "keypoints_strongest.all.ap"),
    "crowded": ("keypoints.crowded.ap", "keypoints_strongest.crowded.ap"),
    "in true boxes": ("keypoints_true_boxes.all.ap", "keypoints_strongest_true_boxes.all.ap"),
    "PRN alone": ("residual.all.ap", "residual_nearest.all.ap"),
    "activity F1": ("activity.labelled.f1", "activity.nearest_neighbour.f1"),
    "found F1": ("activity.found.f1", "activity.majority.f1"),
    "box AP": ("boxes.all.ap", None),
}
LOWER_IS_BETTER: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """How many images go through the network at a time, at which `scales` and whether mirrored too (`flip`) their heat maps are
    taken, and the cross-validation of activities.
    """

    batch_size: int
    scales: Sequence[float | int]
    flip: bool
    cross_validation: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))
        if isinstance(self.cross_validation, Mapping):
            object.__setattr__(self, "cross_validation", build(CrossValidation, self.cross_validation))
        rules = {
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "scales": (bool(self.scales) and min(self.scales) > 0, "numbers above 0"),
        }
        check("score.multipose.", self, rules)


def evaluate(
    network: nn.Module,
    spec: Spec,
    statistics: Statistics,
    reads: Reads,
    data_config: data.Config,
    config: Config,
    dataset: Any,
    seed: int,
) -> Results:
    """Every number, table and picture of a trained network, under the dataset's protocol on its test images."""
    assert isinstance(network, Network)
    samples = data.open_samples(reads, data_config, "test", spec["tasks"])
    test = labelled_poses(samples.people, spec["aspect"])
    fold = activities.folds_of(test, config.cross_validation.folds, seed) if "activity" in spec["tasks"] else np.zeros(0, int)
    split = found.over_split(network, samples, spec, statistics, config.batch_size, config.scales, config.flip)
    results = Results(metrics={})
    image_sets = dataset.protocol(samples.clips, "test")
    with_keypoints = [each for each in image_sets if has_keypoints(split, each)]
    judge_keypoints(split, with_keypoints, results)
    judge_boxes(split, [each for each in image_sets if image_set_size(split, each)["people"]], results)
    judge_residual(network, split, with_keypoints, results)
    if "activity" in spec["tasks"]:
        train = labelled_poses(data.open_samples(reads, data_config, "train", spec["tasks"]).people, spec["aspect"])
        judge_activities(network, split, train, test, fold, config.cross_validation, seed, results)
    pictures.add(network, samples, spec, statistics, split, results)
    results.tables["images"] = pd.DataFrame([image_set_size(split, image_set) for image_set in image_sets])
    results.tables["published"] = pd.DataFrame(
        [{"method": method, "COCO": part, "keypoint AP": 100 * value} for method, part, value in paper.KEYPOINT_AP]
    )
    results.captions.update(paper.CAPTIONS)
    return results


# --- COCO's metrics --------------------------------------------------------------------------------------------------


def rows_of(split: Split, image_set: ImageSet) -> list[int]:
    """The rows of a protocol's images."""
    return pd.Index(split.clips["clip_id"]).get_indexer(list(image_set.images)).tolist()


def truth_of(split: Split, rows: Sequence[int]) -> list[list[Any]]:
    """The labelled people of these images, in pixels of their files."""
    scale = split.clips["scale"].to_numpy(float)
    return [found.annotations(split.labelled[row], scale[row]) for row in rows]


def detections_of(split: Split, rows: Sequence[int], name: str) -> list[Detections]:
    """The people of these images, found in the way of this name."""
    scale = split.clips["scale"].to_numpy(float)
    return [found.detections(getattr(split.found[row], name), scale[row]) for row in rows]


def judge_keypoints(split: Split, image_sets: Sequence[ImageSet], results: Results) -> None:
    """Keypoints of found people and in true boxes, by the joined network and by the strongest peaks."""
    ways = {
        "keypoints": ("joined", "found boxes", paper.OURS),
        "keypoints_strongest": ("strongest", "found boxes", paper.STRONGEST),
        "keypoints_true_boxes": ("in_true_boxes", "true boxes", paper.OURS),
        "keypoints_strongest_true_boxes": ("strongest_in_true_boxes", "true boxes", paper.STRONGEST),
    }
    rows = []
    for image_set in image_sets:
        images = rows_of(split, image_set)
        truth = truth_of(split, images)
        for name, (way, boxes, method) in ways.items():
            values = coco.keypoint_metrics(truth, detections_of(split, images, way))
            results.metrics.update({f"{name}.{image_set.name}.{measure}": value for measure, value in values.items()})
            rows.append({"images": image_set.name, "boxes": boxes, "method": method, **_percent(values)})
    results.tables["keypoints"] = pd.DataFrame(rows)


def judge_boxes(split: Split, image_sets: Sequence[ImageSet], results: Results) -> None:
    """Boxes of found people."""
    rows = []
    for image_set in image_sets:
        images = rows_of(split, image_set)
        values = coco.box_metrics(truth_of(split, images), detections_of(split, images, "joined"))
        results.metrics.update({f"boxes.{image_set.name}.{measure}": value for measure, value in values.items()})
        rows.append({"images": image_set.name, **_percent(values)})
    results.tables["boxes"] = pd.DataFrame(rows)


def judge_residual(network: Network, split: Split, image_sets: Sequence[ImageSet], results: Results) -> None:
    """The pose residual network alone: true boxes, and all labelled keypoints of an image as peaks of height 1."""
    device, rows = next(network.parameters()).device, []
    by_image = {name: [posed(network, people, device, way) for people in split.labelled] for name, way in RESIDUAL_WAYS.items()}
    for image_set in image_sets:
        images = rows_of(split, image_set)
        truth, scale = truth_of(split, images), split.clips["scale"].to_numpy(float)
        for name, of_images in by_image.items():
            predictions = [found.detections(of_images[row], scale[row]) for row in images]
            values = coco.keypoint_metrics(truth, predictions)
            results.metrics.update({f"{name}.{image_set.name}.{measure}": value for measure, value in values.items()})
            rows.append({"images": image_set.name, "method": RESIDUAL_METHODS[name], **_percent(values)})
    results.tables["residual"] = pd.DataFrame(rows)


RESIDUAL_WAYS = {"residual": "network", "residual_nearest": "nearest"}
RESIDUAL_METHODS = {"residual": paper.OURS, "residual_nearest": "nearest to the mean pose"}
# x and y of COCO's keypoints in the box of somebody who stands and faces the camera, by eye
MEAN_POSE = (
    (0.5, 0.08), (0.53, 0.06), (0.47, 0.06), (0.56, 0.08), (0.44, 0.08), (0.66, 0.2), (0.34, 0.2), (0.7, 0.35), (0.3, 0.35),
    (0.7, 0.5), (0.3, 0.5), (0.6, 0.52), (0.4, 0.52), (0.6, 0.74), (0.4, 0.74), (0.6, 0.96), (0.4, 0.96),
)  # fmt: skip


@torch.no_grad()
def posed(network: Network, people: People, device: torch.device, way: str) -> FoundPeople:
    """The people of an image from their true boxes and everybody's true keypoints, by the network or by the mean pose."""
    kept = people.rows(~people.is_crowd)
    labelled = torch.from_numpy(people.keypoints_px).to(device)
    is_there = labelled[..., 2] > 0
    joint, box = is_there.nonzero()[:, 1], torch.from_numpy(kept.box_xyxy_px).to(device)
    peaks = heatmaps.Peaks(joint, labelled[is_there][:, :2], torch.ones(len(joint), device=device))
    keypoints = network.pose(box, peaks) if way == "network" else nearest_to_mean(box, peaks, network.joints)
    ones = torch.ones(len(box), device=device)
    return FoundPeople(*(each.cpu() for each in (box, ones, keypoints, torch.zeros(len(box), 0, device=device))))


def nearest_to_mean(box: torch.Tensor, peaks: heatmaps.Peaks, joints: int) -> torch.Tensor:
    """Of each joint the peak in the box that is nearest to where the mean pose has it; there, where the box holds none."""
    keypoints = box.new_zeros(len(box), joints, 3)
    unit = box.new_tensor(MEAN_POSE)
    for row, xyxy in enumerate(box):
        size = xyxy[2:] - xyxy[:2]
        keypoints[row, : len(unit), :2] = xyxy[:2] + unit * size
        inside = ((peaks.position_px >= xyxy[:2]) & (peaks.position_px <= xyxy[2:])).all(1)
        for joint in range(len(unit)):
            near = peaks.position_px[inside & (peaks.joint == joint)]
            if len(near):
                closest = (near - keypoints[row, joint, :2]).square().sum(1).argmin()
                keypoints[row, joint] = torch.cat([near[closest], near.new_ones(1)])
    return keypoints


def _percent(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(100 * value, 2) for name, value in values.items()}


def has_keypoints(split: Split, image_set: ImageSet) -> bool:
    """Whether anybody in these images has labelled keypoints."""
    return image_set_size(split, image_set)["with keypoints"] > 0


def image_set_size(split: Split, image_set: ImageSet) -> dict[str, Any]:
    """The numbers of images and people of a protocol."""
    labelled = [split.labelled[row] for row in rows_of(split, image_set)]
    with_keypoints = sum(int((people.keypoints_px[..., 2] > 0).any(1).sum()) for people in labelled)
    crowds = sum(int(people.is_crowd.sum()) for people in labelled)
    people = sum(len(each.activity) for each in labelled) - crowds
    return {
        "images": image_set.name,
        "count": len(labelled),
        "people": people,
        "with keypoints": with_keypoints,
        "crowds": crowds,
    }


# --- activities ------------------------------------------------------------------------------------------------------


def labelled_poses(people: Sequence[People], aspect: str) -> Poses:
    """The labelled poses whose activity is known."""
    vectors: list[np.ndarray] = [np.zeros((0, 2 * people[0].keypoints_px.shape[1]), np.float32)]
    codes, images = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for image, of_image in enumerate(people):
        rows = of_image.with_pose[of_image.activity[of_image.with_pose] >= 0]
        vectors.append(poses.coordinates(torch.from_numpy(of_image.keypoints_px[rows]), aspect).numpy())
        codes.append(of_image.activity[rows])
        images.append(np.full(len(rows), image))
    return Poses(np.concatenate(vectors), np.concatenate(codes), np.concatenate(images))


def judge_activities(
    network: Network,
    split: Split,
    train: Poses,
    test: Poses,
    fold: np.ndarray,
    config: CrossValidation,
    seed: int,
    results: Results,
) -> None:
    """Activities of labelled poses and of found people, baselines, and the paper's cross-validation in these folds."""
    assert network.activity is not None
    classes = len(ACTIVITIES)
    told = activities.tell(network.activity, test.vector).argmax(1).numpy()
    found_codes, true_codes = found_activities(split)
    answers = {
        "labelled": (told, test.activity, paper.OURS, "labelled"),
        "found": (found_codes, true_codes, paper.OURS, "found"),
        "nearest_neighbour": (activities.nearest(train, test), test.activity, "nearest neighbour", "labelled"),
        "majority": (activities.majority(train, test), test.activity, "majority", "labelled"),
    }
    rows = []
    for name, (predicted, true, method, kind) in answers.items():
        values = activities.summary(predicted, true, classes)
        results.metrics.update({f"activity.{name}.{measure}": value for measure, value in values.items()})
        rows.append({"poses": kind, "method": method, "people": len(true), **_percent(values)})
    results.tables["activity"] = pd.DataFrame(rows)
    results.pictures["activity_confusion"] = confusion(told, test.activity)
    validated = activities.cross_validate(test, fold, network.config.activity, config, classes, seed)
    averages = validated.averages(test.activity, classes)
    for method, values in averages.items():
        results.metrics.update({f"cross_validation.{method.replace(' ', '_')}.{name}": value for name, value in values.items()})
    results.tables["cross_validation"] = pd.DataFrame([{"method": name, **_percent(row)} for name, row in averages.items()])
    results.pictures["cross_validation_confusion"] = confusion(validated.predicted["classifier"], test.activity)


def found_activities(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Of found people who are somebody's whose activity is known: the told one, and the labelled one."""
    told, true = [], []
    for of_image, people in zip(split.found, split.labelled, strict=True):
        for row, person in found.matched(of_image.joined, people):
            if people.activity[person] >= 0:
                told.append(int(of_image.joined.activity[row].argmax()))
                true.append(int(people.activity[person]))
    return np.array(told, int), np.array(true, int)


def confusion(predicted: np.ndarray, true: np.ndarray) -> plots.Picture:
    """The picture of a normalised confusion matrix."""
    return plots.confusion(activities.confusion_shares(predicted, true, len(ACTIVITIES)), ACTIVITIES)
