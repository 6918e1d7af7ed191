"""Pictures of the report: found people in good and bad images, heat maps, and the pose residual network's maps."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from people.evaluation import plots
from people.evaluation.plots import Picture
from people.evaluation.results import Results
from people.records import ACTIVITIES
from people.systems.multipose import data
from people.systems.multipose.model import FoundPeople, Network, poses
from people.systems.multipose.model.poses import GAUSSIAN
from people.systems.multipose.score.found import Split, similarity
from people.training.system import Spec, Statistics

SHOWN = 6  # images of a picture
COLUMNS = 3
WIDEST_PX = 320  # of an image in a picture
SCORE = 0.4  # people that are shown
GRID_FACTOR = 4  # pixels a cell of the grid


def with_found_people(image_rgb: UInt8[np.ndarray, "_ _ 3"], person: FoundPeople, least_score: float = SCORE) -> Picture:
    """An image with the boxes, skeletons and activities of the people found in it, of at least this score."""
    shown = person.score.numpy() >= least_score
    activity = person.activity.numpy()
    names = [ACTIVITIES[row.argmax()] if row.any() else "" for row in activity[shown]]
    labels = [f"{name} {100 * score:.0f}".strip() for name, score in zip(names, person.score.numpy()[shown], strict=True)]
    return plots.with_people(image_rgb, person.box_xyxy_px.numpy()[shown], person.keypoints_px.numpy()[shown], labels)


def add(network: Network, samples: data.Samples, spec: Spec, statistics: Statistics, split: Split, results: Results) -> None:
    """All pictures of a trained network."""
    similar = np.array([similarity(found.joined, people) for found, people in zip(split.found, split.labelled, strict=True)])
    in_order = [image for image in np.argsort(-similar, kind="stable").tolist() if not np.isnan(similar[image])]
    for name, chosen in (("best_images", in_order[:SHOWN]), ("worst_images", in_order[::-1][:SHOWN])):
        if chosen:
            results.pictures[name] = plots.tiled([_shown(samples, split, image) for image in chosen], COLUMNS)
    if in_order:
        middle = in_order[len(in_order) // 4]
        results.pictures["heatmaps"] = _heatmaps(network, samples, statistics, middle)
    if picture := _residual(network, samples, spec, statistics):
        results.pictures["residual_before_after"] = picture[0]


def stored_image(samples: data.Samples, index: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """An image as it is stored."""
    return np.ascontiguousarray(np.round(255 * samples.images([index])[0].cpu().numpy()).astype(np.uint8).transpose(1, 2, 0))


def _shown(samples: data.Samples, split: Split, image: int) -> Picture:
    return _small(with_found_people(stored_image(samples, image), split.found[image].joined))


def _small(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    factor = min(1.0, WIDEST_PX / width)
    return cv2.resize(picture, (round(factor * width), round(factor * height)), interpolation=cv2.INTER_AREA)


@torch.no_grad()
def _heatmaps(network: Network, samples: data.Samples, statistics: Statistics, image: int) -> Picture:
    device = next(network.parameters()).device
    mean, std = (statistics[name].to(device) for name in ("mean", "std"))
    normalised = (samples.images([image]).to(device) - mean) / std
    maps = network.image_outputs(normalised)["heatmaps"][0].cpu().numpy()
    original = _small(stored_image(samples, image))
    size = (original.shape[1], original.shape[0])
    coloured = [plots.heat_colours(values) for values in (maps[: network.joints].max(axis=0), maps[network.joints])]
    return plots.tiled([original, *(cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in coloured)], columns=3)


@torch.no_grad()
def _residual(network: Network, samples: data.Samples, spec: Spec, statistics: Statistics) -> Sequence[Picture]:
    """Of people whose boxes hold the joints of others: what goes into the network and what comes out."""
    assert network.residual is not None
    device, lines = next(network.parameters()).device, []
    for people in samples.people:
        rows = people.with_pose
        grid_hw = (spec["grid_hw"][0], spec["grid_hw"][1])
        keypoints, box = torch.from_numpy(people.keypoints_px), torch.from_numpy(people.box_xyxy_px)
        inputs = data.joint_impulses(keypoints, box, rows, grid_hw, everybody=True)
        own = data.joint_impulses(keypoints, box, rows, grid_hw, everybody=False)
        for row in np.flatnonzero(((inputs - own).flatten(1).sum(1) >= data.FEWEST_JOINTS).numpy()).tolist():
            given = poses.blurred(inputs[[row]], GAUSSIAN).to(device)
            output = network.residual(given).exp()
            lines.append(np.concatenate([_grid(given[0].cpu().numpy()), _grid(output[0].cpu().numpy())], axis=1))
            if len(lines) == SHOWN:
                return [plots.tiled(lines, COLUMNS)]
    return [plots.tiled(lines, COLUMNS)] if lines else []


def _grid(maps: Float[np.ndarray, "joint row column"]) -> Picture:
    """The maximum over joints, its own highest value white."""
    highest = maps.max(axis=0)
    return plots.enlarged(plots.heat_colours(highest / max(float(highest.max()), 1e-9)), GRID_FACTOR)
