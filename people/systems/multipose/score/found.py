"""What a network finds in every image of a split, beside what is labelled, in pixels of the stored images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchvision import ops

from people.evaluation import finite
from people.evaluation.coco import Detections
from people.records import ACTIVITIES, COCO_KEYPOINTS, Annotation
from people.systems.multipose import data
from people.systems.multipose.data import People
from people.systems.multipose.model import FoundPeople, Network, detector, heatmaps, poses
from people.systems.multipose.model.heatmaps import MAP_STRIDE
from people.training.system import Spec, Statistics

JOINTS = len(COCO_KEYPOINTS)
MATCH_IOU = 0.5  # of a found person with a labelled one, to be told the same activity


class Found(NamedTuple):
    """Of one image: the people of the joined network; the same boxes with the strongest peaks of the heat maps in them; and the
    labelled people's boxes with keypoints by both.
    """

    joined: FoundPeople
    strongest: FoundPeople
    in_true_boxes: FoundPeople
    strongest_in_true_boxes: FoundPeople


class Split(NamedTuple):
    """The images of a split: rows of the index, people labelled and found."""

    clips: pd.DataFrame
    labelled: list[People]
    found: list[Found]


@torch.no_grad()
def over_split(
    network: Network,
    samples: data.Samples,
    spec: Spec,
    statistics: Statistics,
    batch_size: int,
    scales: Sequence[float | int],
    flip: bool,
) -> Split:
    """The whole chain over all images; an image with an output that is not finite is refused."""
    device, network = next(network.parameters()).device, network.eval()
    mean, std = (statistics[name].to(device) for name in ("mean", "std"))
    found: list[Found] = []
    for rows in torch.arange(len(samples)).split(batch_size):
        images = (samples.images(rows.tolist()).to(device) - mean) / std
        outputs = network.image_outputs(images, scales=scales, flip=flip)
        finite.check_outputs("multipose", outputs, samples.clips["clip_id"].iloc[rows.tolist()].to_numpy(str))
        for index, row in enumerate(rows.tolist()):
            of_image = {name: value[index] for name, value in outputs.items()}
            found.append(_found(network, of_image, samples.people[row], (images.shape[2], images.shape[3])))
    return Split(samples.clips, samples.people, found)


def _found(network: Network, outputs: dict[str, Tensor], people: People, size_hw: tuple[int, int]) -> Found:
    boxes = network.boxes(outputs["box_logit"], outputs["box_delta"], outputs["box_anchor"], size_hw)
    maps = outputs["heatmaps"][: network.joints]
    true_boxes = torch.from_numpy(people.box_xyxy_px[~people.is_crowd]).to(maps.device)
    true = boxes._replace(box_xyxy_px=true_boxes, score=torch.ones(len(true_boxes), device=maps.device))
    made = [posed for each in (boxes, true) for posed in (network.posed(maps, each), _strongest(network, maps, each))]
    return Found(*(FoundPeople(*(values.cpu() for values in person)) for person in made))


def _strongest(network: Network, maps: Tensor, boxes: detector.Boxes) -> FoundPeople:
    """The people of these boxes, each joint at the highest cell of its map in the box, whoever's it is."""
    box, score = boxes
    position = heatmaps.strongest_in_boxes(maps, box, MAP_STRIDE)
    column, row = (position / MAP_STRIDE - 0.5).round().long().unbind(2)
    value = maps[torch.arange(len(maps), device=maps.device), row, column]
    keypoints = torch.cat([position, value[..., None]], dim=2)
    total = score * (0.5 + 0.5 * value.mean(1).clamp(0, 1)) if len(box) else score
    return FoundPeople(box, total, keypoints, torch.zeros(len(box), network.activities, device=maps.device))


def detections(people: FoundPeople, scale: float) -> Detections:
    """People as the evaluator takes them, in pixels of the image's file."""
    keypoints = people.keypoints_px[:, :JOINTS].numpy() / np.array([scale, scale, 1])
    return Detections(people.box_xyxy_px.numpy() / scale, people.score.numpy(), keypoints)


def annotations(people: People, scale: float) -> list[Annotation]:
    """Labelled people as the evaluator takes them, in pixels of the image's file."""
    made = []
    for row in range(len(people.activity)):
        keypoints = people.keypoints_px[row, :JOINTS] / np.array([scale, scale, 1])
        code = int(people.activity[row])
        activity = ACTIVITIES[code] if code >= 0 else None
        area, is_crowd = float(people.area_px[row]) / scale**2, bool(people.is_crowd[row])
        made.append(Annotation(row + 1, people.box_xyxy_px[row] / scale, keypoints, area, is_crowd, activity))
    return made


def matched(found: FoundPeople, people: People) -> list[tuple[int, int]]:
    """Pairs of a found and a labelled person, best found first, each labelled one at most once."""
    true = torch.from_numpy(people.box_xyxy_px)
    overlap = ops.box_iou(found.box_xyxy_px, true) * torch.from_numpy(~people.is_crowd)
    pairs = []
    for row in range(len(overlap) if len(true) else 0):
        best, person = overlap[row].max(0)
        if best >= MATCH_IOU:
            pairs.append((row, int(person)))
            overlap[:, person] = 0
    return pairs


def similarity(found: FoundPeople, people: People) -> float:
    """The mean similarity (OKS) of labelled people to whoever was found there, 0 where nobody was; NaN without such people."""
    by_person = {person: row for row, person in matched(found, people)}
    rows = [row for row in range(len(people.activity)) if (people.keypoints_px[row, :JOINTS, 2] > 0).any()]
    if not rows:
        return float("nan")
    values = []
    for row in rows:
        if row in by_person:
            true, seen = torch.from_numpy(people.keypoints_px[[row]]), found.keypoints_px[[by_person[row]]]
            values.append(poses.keypoint_similarity(true, torch.from_numpy(people.area_px[[row]]), seen).item())
        else:
            values.append(0.0)
    return float(np.mean(values))
