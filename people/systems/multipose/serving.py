"""Serving of multipose: from images of any size to the people in them, their keypoints and activities."""

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from people.graphs import Graph, Run
from people.records import ACTIVITIES, COCO_KEYPOINTS
from people.systems.multipose.model import FoundPeople, Network
from people.training.system import Shapes, Spec, Statistics

OF_IMAGE = ("heatmaps", "box_logit", "box_delta")  # outputs of the graph of an image
EVERYTHING = {"counted": True, "is_crowd": True}  # a batch with these asks for heat maps and boxes
EXAMPLE_SIZES = ((2, 290, 421), (1, 64, 64), (3, 70, 101), (1, 33, 97), (1, 200, 131))  # the first: several cells in each map
PIXELS_AT_ONCE = 2**21  # of images that go through the network together: bounds memory


def shapes(network: nn.Module, spec: Spec) -> tuple[Shapes, Shapes]:
    """The shape of the input and of each output; -1 is the number of images, their height and their width."""
    assert isinstance(network, Network)
    most, joints, activities = network.config.answer.people, spec["joints"], len(spec["activities"])
    outputs = {"boxes": (-1, most, 4), "scores": (-1, most), "keypoints": (-1, most, joints, 3)}
    return {"image": (-1, -1, -1, 3)}, {**outputs, "activities": (-1, most, activities)}


@torch.no_grad()
def predict(network: nn.Module, statistics: Statistics, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each image the people in it, best first, filled up with rows of zeros: "boxes" (image, person, left top right bottom)
    and "keypoints" (image, person, joint, x y value) in its pixels, "scores" (image, person), "activities" (image, person,
    activity), probabilities.

    `arrays`: "image" (image, height, width, 3), RGB in [0, 1].
    """
    assert isinstance(network, Network)
    images = np.asarray(arrays["image"], np.float32)
    _, promised = shapes(network, {"joints": network.joints, "activities": range(network.activities)})
    filled = {name: np.zeros((len(images), *shape[1:]), np.float32) for name, shape in promised.items()}
    for row, person in enumerate(find_people(network, statistics, list(images))):
        columns = zip(filled.values(), (person.box_xyxy_px, person.score, person.keypoints_px, person.activity), strict=True)
        for whole, values in columns:
            whole[row, : len(values)] = values.cpu().numpy()
    return filled


def of_photos(photos_rgb: Sequence[UInt8[np.ndarray, "height width 3"]]) -> dict[str, np.ndarray]:
    """What `predict` takes, of photos of one size."""
    return {"image": np.stack(photos_rgb).astype(np.float32) / 255}


def people(network: nn.Module, statistics: Statistics, image_rgb: UInt8[np.ndarray, "_ _ 3"]) -> list[dict[str, Any]]:
    """The people in one picture as annotations of COCO's format, best first: "bbox" (left, top, width, height), "keypoints"
    (x, y and 2 where the joint was found, else 0), "num_keypoints", "area" of the box, "score", and if activities are told
    "activity" and all probabilities, "activities".
    """
    assert isinstance(network, Network)
    (found,) = find_people(network, statistics, [image_rgb.astype(np.float32) / 255])
    annotations = []
    for box, score, joints, activity in zip(*(values.cpu().numpy() for values in found), strict=True):
        size, coco = box[2:] - box[:2], joints[: len(COCO_KEYPOINTS)]
        is_found = coco[:, 2] > 0
        keypoints = np.where(is_found[:, None], np.concatenate([coco[:, :2], np.full((len(coco), 1), 2)], axis=1), 0)
        annotation = {
            "category_id": 1,
            "bbox": [round(float(number), 2) for number in (*box[:2], *size)],
            "keypoints": [round(float(number), 2) for number in keypoints.ravel()],
            "num_keypoints": int(is_found.sum()),
            "area": round(float(size.prod()), 2),
            "iscrowd": 0,
            "score": round(float(score), 4),
        }
        if activity.any():
            told = {name: round(float(share), 4) for name, share in zip(ACTIVITIES, activity, strict=True)}
            annotation |= {"activity": ACTIVITIES[int(activity.argmax())], "activities": told}
        annotations.append(annotation)
    return annotations


@torch.no_grad()
def find_people(
    network: Network,
    statistics: Statistics,
    images: Sequence[Float[np.ndarray, "_ _ 3"]],
    *,
    scales: Sequence[float | int] = (1.0,),
    flip: bool = False,
) -> list[FoundPeople]:
    """The people in each image, RGB in [0, 1], of any size, in its own pixels; the same whatever the other images are.

    Images of one size go through the network together, as many as memory is bounded to. Those with a longer side than
    `answer.side_px` are reduced to it first. A network whose outputs are not finite is refused.
    """
    device = next(network.parameters()).device
    mean, std = (statistics[name].to(device) for name in ("mean", "std"))
    network.eval()
    by_size: dict[tuple[int, ...], list[int]] = {}
    reduced = [reduce(image, network.config.answer.side_px) for image in images]
    for index, image in enumerate(reduced):
        by_size.setdefault(tuple(image.shape), []).append(index)
    found: dict[int, FoundPeople] = {}
    for (_, height, width), indices in by_size.items():
        at_once = max(1, PIXELS_AT_ONCE // (height * width))
        for start in range(0, len(indices), at_once):
            part = indices[start : start + at_once]
            batch = (torch.stack([reduced[index] for index in part]).to(device) - mean) / std
            found |= dict(zip(part, finite_people(network, batch, scales, flip), strict=True))
    return [enlarged(found[index], _factors(image, reduced[index])) for index, image in enumerate(images)]


def finite_people(network: Network, batch: Tensor, scales: Sequence[float | int], flip: bool) -> list[FoundPeople]:
    """`Network.people`, with a `ValueError` for outputs that are not finite: NaN as a score would mean nobody."""
    heads = {"keypoints": network.keypoints, "detector": network.detector}
    heads |= {"residual": network.residual, "activity": network.activity}
    with ExitStack() as stack:
        for name, head in heads.items():
            if head is not None:
                check = head.register_forward_hook(partial(_refuse_output, name))
                stack.callback(check.remove)
        found = network.people(batch, scales=scales, flip=flip)
    for person in found:
        refuse_not_finite("people", person)
    return found


def _refuse_output(name: str, _head: nn.Module, _inputs: Any, output: Any) -> None:
    refuse_not_finite(name, output)


def refuse_not_finite(name: str, output: Any) -> None:
    """Refuse a tensor, or sequences of them, with NaN or infinity, by the name of what they are."""
    if not isinstance(output, Tensor):
        for each in output:
            refuse_not_finite(name, each)
    elif not output.isfinite().all():
        raise ValueError(
            f"multipose: expected finite numbers, but the network's output {name!r} has NaN or infinity; look at the "
            "pictures, or train with a lower rate if the network has diverged"
        )


def reduce(image: Float[np.ndarray, "_ _ 3"], side_px: int | None) -> Float[Tensor, "3 _ _"]:
    """The image as the network takes it, with at most this longer side."""
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()
    longer = max(tensor.shape[1:])
    if side_px is None or longer <= side_px:
        return tensor
    size = [max(1, round(side * side_px / longer)) for side in tensor.shape[1:]]
    return functional.interpolate(tensor[None], size, mode="area")[0]


def _factors(image: Float[np.ndarray, "_ _ 3"], reduced: Float[Tensor, "3 _ _"]) -> tuple[float, float]:
    """How many times as wide and as high an image is as its reduced one: unequal, for sides are whole numbers of pixels."""
    return image.shape[1] / reduced.shape[2], image.shape[0] / reduced.shape[1]


def enlarged(person: FoundPeople, factors_xy: tuple[float, float]) -> FoundPeople:
    """The people in an image so many times as wide and as high."""
    factor = person.box_xyxy_px.new_tensor(factors_xy)
    keypoints = torch.cat([factor * person.keypoints_px[..., :2], person.keypoints_px[..., 2:]], dim=2)
    return person._replace(box_xyxy_px=factor.repeat(2) * person.box_xyxy_px, keypoints_px=keypoints)


def graphs(network: nn.Module, statistics: Statistics, spec: Spec) -> dict[str, Graph]:
    """The parts of the network that are functions of tensors; what chooses boxes and peaks among their outputs is not.

    - image: "image" (image, height, width, 3), RGB in [0, 1], of at most `answer.side_px` pixels; "heatmaps" (image, joint and
      background, row, column), "box_logit" (image, anchor), "box_delta" (image, anchor, 4).
    - residual: "joint_maps" (person, joint, row, column), blurred peaks on the grid over each person's box; "residual", the
      logarithm of the softmax, of the same shape.
    - activity, if the network tells activities: "poses" (person, coordinate); "activity" (person, class), logits.
    """
    assert isinstance(network, Network)
    whole, (residual, activity) = network, (network.residual, network.activity)
    if whole.keypoints is None or whole.detector is None or residual is None:
        raise ValueError("to find people the network needs the tasks keypoints, detector and residual; train it with them")

    def of_image(image: Tensor) -> dict[str, Tensor]:
        outputs = whole.forward({"image": (image.permute(0, 3, 1, 2) - statistics["mean"]) / statistics["std"], **EVERYTHING})
        return {name: outputs[name] for name in OF_IMAGE}

    sizes: list[dict[str, int]] = [{"image": count, "height": rows, "width": columns} for count, rows, columns in EXAMPLE_SIZES]
    people = [{"person": count} for count in (2, 1, 5)]
    joint_maps = {"joint_maps": ("person", whole.joints, *whole.grid_hw)}
    found = {
        "image": Graph(network, of_image, {"image": ("image", "height", "width", 3)}, sizes),
        "residual": Graph(residual, lambda maps: {"residual": residual(maps)}, joint_maps, people),
    }
    if activity is not None:
        poses = {"poses": ("person", 2 * whole.joints)}
        found["activity"] = Graph(activity, lambda vectors: {"activity": activity(vectors)}, poses, people)
    return found


def through(network: nn.Module, statistics: Statistics, run: dict[str, Run]) -> nn.Module:
    """The network, its heat maps, boxes, residuals and activities computed by the graphs; it joins them as ever."""
    assert isinstance(network, Network)
    replaced = copy.deepcopy(network).eval()

    def of_image(image: Tensor, wants_keypoints: bool, wants_boxes: bool) -> dict[str, Tensor]:
        pictures = image * statistics["std"] + statistics["mean"]
        anchor = replaced.anchors((image.shape[2], image.shape[3]), image.device).expand(len(image), -1, 4)
        return run["image"]({"image": pictures.permute(0, 2, 3, 1).contiguous()}) | {"box_anchor": anchor}

    replaced.__dict__["_of_image"] = of_image
    inputs = {"residual": "joint_maps", "activity": "poses"}
    for name, head in {"residual": replaced.residual, "activity": replaced.activity}.items():
        if head is not None:
            head.__dict__["forward"] = partial(_head, run[name], inputs[name], name)
    return replaced


def _head(run: Run, given: str, output: str, values: Tensor) -> Tensor:
    return run({given: values})[output]
