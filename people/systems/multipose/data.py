"""One sample of multipose: an image, with the boxes, keypoints and activities of the people in it."""

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from people.config import check
from people.nn.device_frames import DeviceFrames, frame_bytes, on_device
from people.nn.pretrained import IMAGENET
from people.records import ACTIVITIES, COCO_KEYPOINTS
from people.storage.store import Store
from people.systems.multipose.model import poses
from people.systems.multipose.model.heatmaps import MAP_STRIDE
from people.systems.multipose.model.poses import GAUSSIAN

HEADS = ("keypoints", "detector", "residual", "activity")  # of the network; each is a task
NORMALISE = ("training", "imagenet")
STATISTICS_IMAGES = 1024  # of the training split, evenly spread
MIN_DEVIATION = 1 / 255  # of a channel: it is a divisor
FEWEST_SHARE = 0.25  # of a box that a crop leaves, for the person to be looked for
FEWEST_JOINTS = 4  # labelled joints of a person from whom a pose is learned


@dataclass(frozen=True)
class Config:
    """What is drawn of an image in training.

    `normalise`: by the mean and deviation of the training images ("training"), or of ImageNet. `neck`: the joint between the
    shoulders is one more. With a `crop_px` a training sample is a square of that side round a random person, off by up to
    `jitter_px`, else the image. The image is scaled by a factor in `scale`, rotated by up to `rotation_deg`, mirrored with
    probability `flip`. With a `person_share` the person in the middle is first scaled to this share of the crop's side, as in
    the public code. `grid_hw`: of the pose residual network's maps. `box_noise`: shares of a box's size by which its edges are
    moved at random for that network, as found boxes are. `aspect`: see `poses.coordinates`. `pose_noise`, in shares of the
    pose's extent, and `pose_dropout`, a share of its joints, are what poses from which activities are learned lack in truth.
    """

    normalise: str
    neck: bool
    crop_px: int | None
    jitter_px: float | int
    scale: Sequence[float | int]
    rotation_deg: float | int
    flip: float | int
    person_share: float | None
    grid_hw: Sequence[int]
    box_noise: float | int
    aspect: str
    pose_noise: float | int
    pose_dropout: float | int

    def __post_init__(self) -> None:
        for name in ("scale", "grid_hw"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        rules = {
            "normalise": (self.normalise in NORMALISE, f"one of {', '.join(NORMALISE)}"),
            "crop_px": (self.crop_px is None or self.crop_px >= 32, "null, or at least 32"),
            "jitter_px": (self.jitter_px >= 0, "at least 0"),
            "scale": (len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[-1], "[least, greatest], above 0"),
            "rotation_deg": (0 <= self.rotation_deg <= 180, "in [0, 180]"),
            "flip": (0 <= self.flip <= 1, "in [0, 1]"),
            "person_share": (self.person_share is None or 0 < self.person_share <= 1, "null, or in (0, 1]"),
            "grid_hw": (len(self.grid_hw) == 2 and min(self.grid_hw) >= 4, "[rows, columns] of at least 4"),
            "aspect": (self.aspect in poses.ASPECTS, f"one of {', '.join(poses.ASPECTS)}"),
            "box_noise": (0 <= self.box_noise < 0.5, "in [0, 0.5)"),
            "pose_noise": (self.pose_noise >= 0, "at least 0"),
            "pose_dropout": (0 <= self.pose_dropout < 1, "in [0, 1)"),
        }
        check("multipose.data.", self, rules)

    @property
    def joints(self) -> int:
        """How many joints a pose has."""
        return len(COCO_KEYPOINTS) + self.neck


@dataclass(frozen=True, eq=False)
class People:
    """The people labelled in one image, in pixels of the sample: rows of equal numbers.

    `activity` is the index in `ACTIVITIES`, -1 unknown. `is_crowd`: a region of people who are not labelled one by one, or
    somebody of whom a crop leaves too little.
    """

    box_xyxy_px: Float[np.ndarray, "person 4"]
    keypoints_px: Float[np.ndarray, "person joint 3"]
    area_px: Float[np.ndarray, " person"]
    is_crowd: np.ndarray
    activity: np.ndarray

    def moved(self, matrix: Float[np.ndarray, "2 3"], size_hw: tuple[int, int], mirror: bool) -> "People":
        """The people after an affine map of the image to one of this size; who is outside of it is left out."""
        corners = self.box_xyxy_px[:, [[0, 1], [2, 1], [0, 3], [2, 3]]] @ matrix[:, :2].T + matrix[:, 2]
        hull = np.concatenate([corners.min(1), corners.max(1)], axis=1)
        height, width = size_hw
        box = np.clip(hull, 0, [width, height, width, height])
        keypoints = self.keypoints_px.copy()
        keypoints[..., :2] = keypoints[..., :2] @ matrix[:, :2].T + matrix[:, 2]
        inside = ((keypoints[..., :2] >= 0) & (keypoints[..., :2] < [width, height])).all(2) & (keypoints[..., 2] > 0)
        keypoints = np.where(inside[..., None], keypoints, 0)
        if mirror:
            keypoints = keypoints[:, poses.swapped_sides(keypoints.shape[1])]
        left = _areas(box) / np.maximum(_areas(hull), 1e-6)
        kept = np.flatnonzero(((box[:, 2:] - box[:, :2]) >= 1).all(1))
        moved = People(
            box.astype(np.float32),
            keypoints.astype(np.float32),
            (self.area_px * abs(np.linalg.det(matrix[:, :2]))).astype(np.float32),
            self.is_crowd | (left < FEWEST_SHARE),
            self.activity,
        )
        return moved.rows(kept)

    def rows(self, chosen: np.ndarray) -> "People":
        """Some of the people."""
        return People(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @property
    def with_pose(self) -> np.ndarray:
        """The rows of people of whom enough joints are labelled to learn a pose from."""
        labelled = (self.keypoints_px[..., 2] > 0).sum(1)
        return np.flatnonzero((labelled >= FEWEST_JOINTS) & ~self.is_crowd)


def _areas(box_xyxy_px: Float[np.ndarray, "person 4"]) -> Float[np.ndarray, " person"]:
    return (box_xyxy_px[:, 2:] - box_xyxy_px[:, :2]).clip(min=0).prod(1)


class Samples:
    """The images of one split; `clips` are their rows of the index, `people` those labelled in each of them.

    `nbytes` is the size of the images and of the masks of people without keypoints, which `to` copies.
    """

    def __init__(self, scenes: Store, annotations: Store, split: str, config: Config, heads: Collection[str]) -> None:
        self.config, self.heads = config, tuple(head for head in HEADS if head in heads)
        self._images, self._ignored = scenes.field("image"), scenes.field("ignored")
        self.clips: pd.DataFrame = scenes.clips.loc[scenes.clips["split"] == split].reset_index(drop=True)
        self.size_hw = (int(self._images.shape[1]), int(self._images.shape[2]))
        if self._ignored.shape[1:] != tuple(side // MAP_STRIDE for side in self.size_hw):
            raise ValueError(
                f"{scenes.path}: expected a cell of `ignored` for {MAP_STRIDE} pixels, as of the heat maps, got "
                f"{self._ignored.shape[1:]} cells of images of {self.size_hw}; run dvc repro scenes@{scenes.meta['dataset']}"
            )
        self._rows = self.clips["start"].to_numpy()
        self.people = _people(annotations, self.clips["clip_id"].tolist(), config)
        self.nbytes = len(self._rows) * (frame_bytes(self._images) + frame_bytes(self._ignored))
        self._device = torch.device("cpu")
        self._on_device: dict[str, DeviceFrames] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def to(self, device: torch.device | str) -> "Samples":
        """The same images on a device, where they are then warped; equal values."""
        moved = copy.copy(self)
        moved._device = torch.device(device)
        fields = {"image": self._images, "ignored": self._ignored}
        ones = np.ones_like(self._rows)
        moved._on_device = {name: DeviceFrames(field, self._rows, ones, moved._device) for name, field in fields.items()}
        return moved

    def targets(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The people of every image, unvaried: lists of one tensor an image, of box, keypoints, area, crowd and activity; and
        "subject", the image's number: who the people are is not known.
        """
        return {"subject": on_device(np.arange(len(self)), self._device), **self._labels(self.people)}

    def images(self, indices: Sequence[int]) -> Float[Tensor, "sample 3 height width"]:
        """These images as they are stored, RGB in [0, 1]."""
        return self._stored("image", indices).permute(0, 3, 1, 2).float().div_(255)

    def batch(
        self,
        indices: Sequence[int],
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment: np.random.Generator | None,
    ) -> dict[str, Any]:
        """The targets of these images, and for each of `heads` what it reads.

        "image" (sample, 3, height, width), normalised, for the keypoints with "counted", 0 where people have no labelled
        keypoints, for the detector with "is_crowd". "joint_maps": of each image (person, joint, row, column), the joints in the
        box of every person with a pose, and "true_maps", their own; "poses" (person, coordinate). "…_person" are their rows
        among the people. With `augment` images and people are varied at random, as the generator's state and the index say.
        """
        images = [index % len(self) for index in indices]
        people = [self.people[image] for image in images]
        size_hw, matrices = self.size_hw, None
        generators: list[np.random.Generator] = []
        if augment is not None:
            key = int(augment.integers(2**63))
            generators = [np.random.default_rng([key, index]) for index in indices]
            size_hw = (self.config.crop_px, self.config.crop_px) if self.config.crop_px else self.size_hw
            drawn = [self._draw(row, size_hw, generator) for row, generator in zip(people, generators, strict=True)]
            matrices = np.stack([matrix for matrix, _ in drawn])
            people = [row.moved(matrix, size_hw, mirror) for row, (matrix, mirror) in zip(people, drawn, strict=True)]
        batch: dict[str, Any] = {"subject": on_device(np.array(images), self._device), **self._labels(people)}
        if set(self.heads) & {"keypoints", "detector"}:
            mean, std = (statistics[name].to(self._device) for name in ("mean", "std"))
            batch["image"] = self._warped((self.images(images) - mean) / std, matrices, size_hw)
        if "keypoints" in self.heads:
            ignored = self._stored("ignored", images)[:, None].float().div_(255)
            map_hw = (-(-size_hw[0] // MAP_STRIDE), -(-size_hw[1] // MAP_STRIDE))
            batch["counted"] = (self._warped(ignored, matrices, size_hw, map_hw) < 0.5)[:, 0].float()
        if "detector" not in self.heads:
            del batch["is_crowd"]
        if "residual" in self.heads:
            batch |= self._joint_maps(people, generators)
        if "activity" in self.heads:
            batch |= self._poses(people, generators)
        return batch

    def _stored(self, name: str, indices: Sequence[int]) -> Tensor:
        rows = self._rows[list(indices)]
        if self._on_device:
            return self._on_device[name].take(rows)
        return torch.from_numpy({"image": self._images, "ignored": self._ignored}[name][rows])

    def _labels(self, people: Sequence[People]) -> dict[str, list[Tensor]]:
        return {
            "boxes": self._tensors(row.box_xyxy_px for row in people),
            "keypoints": self._tensors(row.keypoints_px for row in people),
            "area": self._tensors(row.area_px for row in people),
            "is_crowd": self._tensors(row.is_crowd for row in people),
            "activity": self._tensors(row.activity for row in people),
        }

    def _tensors(self, arrays: Any) -> list[Tensor]:
        rows = list(arrays)
        return list(on_device(np.concatenate(rows), self._device).split([len(array) for array in rows]))

    def _draw(
        self, people: People, size_hw: tuple[int, int], generator: np.random.Generator
    ) -> tuple[Float[np.ndarray, "2 3"], bool]:
        """A random affine map of the image, and whether it mirrors it."""
        config = self.config
        mirror, angle, factor, right, down, chosen, x, y = generator.random(8)
        scale = config.scale[0] + factor * (config.scale[1] - config.scale[0])
        middle = np.array(self.size_hw[::-1]) * (0.5 if config.crop_px is None else np.array([x, y]))
        candidates = np.flatnonzero(~people.is_crowd)
        if config.crop_px is not None and len(candidates):
            box = people.box_xyxy_px[candidates[int(chosen * len(candidates))]]
            middle = (box[:2] + box[2:]) / 2 + config.jitter_px * (2 * np.array([right, down]) - 1)
            if config.person_share is not None:
                scale *= config.person_share * config.crop_px / max(float(box[3] - box[1]), 1.0)
        is_mirrored = bool(mirror < config.flip)
        return affine(middle, scale, math.radians(config.rotation_deg) * (2 * angle - 1), is_mirrored, size_hw), is_mirrored

    def _warped(
        self,
        image: Float[Tensor, "sample channel _ _"],
        matrices: Float[np.ndarray, "sample 2 3"] | None,
        size_hw: tuple[int, int],
        map_hw: tuple[int, int] | None = None,
    ) -> Float[Tensor, "sample channel height width"]:
        if matrices is None:
            return image
        height, width = map_hw or size_hw
        theta = sampling(matrices, self.size_hw, (MAP_STRIDE * height, MAP_STRIDE * width) if map_hw else size_hw)
        grid = functional.affine_grid(
            on_device(theta.astype(np.float32), image.device), [len(image), image.shape[1], height, width], align_corners=False
        )
        return functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _joint_maps(self, people: Sequence[People], generators: Sequence[np.random.Generator]) -> dict[str, list[Tensor]]:
        made: dict[str, list[Tensor]] = {"joint_maps": [], "true_maps": [], "residual_person": []}
        grid_hw = (self.config.grid_hw[0], self.config.grid_hw[1])
        for number, row in enumerate(people):
            rows, boxes = row.with_pose, row.box_xyxy_px
            if generators:
                boxes = shaken(boxes, self.config.box_noise, generators[number])
            keypoints, box = (on_device(values, self._device) for values in (row.keypoints_px, boxes))
            of_all = joint_impulses(keypoints, box, rows, grid_hw, everybody=True)
            made["joint_maps"].append(of_all)
            made["true_maps"].append(joint_impulses(keypoints, box, rows, grid_hw, everybody=False))
            made["residual_person"].append(on_device(rows, self._device))
        counts = [len(maps) for maps in made["joint_maps"]]
        made["joint_maps"] = list(poses.blurred(torch.cat(made["joint_maps"]), GAUSSIAN).split(counts))
        return made

    def _poses(self, people: Sequence[People], generators: Sequence[np.random.Generator]) -> dict[str, list[Tensor]]:
        made: dict[str, list[Tensor]] = {"poses": [], "pose_person": []}
        for number, row in enumerate(people):
            rows = row.with_pose[row.activity[row.with_pose] >= 0]
            keypoints = row.keypoints_px[rows]
            if generators:
                keypoints = noisy(keypoints, self.config, generators[number])
            made["poses"].append(poses.coordinates(on_device(keypoints, self._device), self.config.aspect))
            made["pose_person"].append(on_device(rows, self._device))
        return made


def affine(
    middle_px: Float[np.ndarray, " 2"], scale: float, angle: float, mirror: bool, size_hw: tuple[int, int]
) -> Float[np.ndarray, "2 3"]:
    """The map that brings `middle_px` to the middle of an image of this size, after mirroring, scaling and rotating (radians,
    clockwise as seen) about it.
    """
    cosine, sine = math.cos(angle), math.sin(angle)
    linear = scale * np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([-1.0 if mirror else 1.0, 1.0])
    offset = np.array(size_hw[::-1]) / 2 - linear @ middle_px
    return np.concatenate([linear, offset[:, None]], axis=1)


def sampling(
    matrices: Float[np.ndarray, "sample 2 3"], from_hw: tuple[int, int], to_hw: tuple[int, int]
) -> Float[np.ndarray, "sample 2 3"]:
    """What `affine_grid` takes: from coordinates in the new image, [-1, 1], to those in the old one."""
    inverse = np.linalg.inv(matrices[:, :, :2])
    half_to, half_from = (np.array(size[::-1]) / 2 for size in (to_hw, from_hw))
    linear = inverse * half_to / half_from[:, None]
    offset = (inverse @ (half_to - matrices[:, :, 2])[..., None])[..., 0] / half_from - 1
    return np.concatenate([linear, offset[..., None]], axis=2)


def joint_impulses(
    keypoints_px: Float[Tensor, "person joint 3"],
    box_xyxy_px: Float[Tensor, "person 4"],
    rows: np.ndarray,
    grid_hw: tuple[int, int],
    *,
    everybody: bool,
) -> Float[Tensor, "row joint grid_row grid_column"]:
    """Over the box of each of `rows`, 1 in the cells of that person's labelled joints, or of `everybody`'s."""
    joints, device = keypoints_px.shape[1], keypoints_px.device
    of_rows = on_device(rows, device)
    points = keypoints_px[None] if everybody else keypoints_px[of_rows][:, None]
    position = poses.to_grid(points[..., :2], box_xyxy_px[of_rows][:, None, None], grid_hw).flatten(1, 2)
    is_labelled = (points[..., 2] > 0).flatten(1).expand(len(rows), -1)
    joint = torch.arange(joints, device=device).repeat(points.shape[1])
    return poses.impulses(position, is_labelled, joint, joints, grid_hw)


def shaken(
    box_xyxy_px: Float[np.ndarray, "person 4"], noise: float, generator: np.random.Generator
) -> Float[np.ndarray, "person 4"]:
    """Boxes each of whose edges is moved by up to `noise` of the width or height, inwards or outwards."""
    moved = generator.uniform(-noise, noise, box_xyxy_px.shape)
    size = np.tile(box_xyxy_px[:, 2:] - box_xyxy_px[:, :2], (1, 2))
    return (box_xyxy_px + moved * size).astype(np.float32)


def noisy(
    keypoints_px: Float[np.ndarray, "person joint 3"], config: Config, generator: np.random.Generator
) -> Float[np.ndarray, "person joint 3"]:
    """Poses as an estimator finds them: joints moved at random, and some of them missing."""
    if not (config.pose_noise or config.pose_dropout):
        return keypoints_px
    is_there = keypoints_px[..., 2] > 0
    position = np.where(is_there[..., None], keypoints_px[..., :2], np.nan)
    noise, missing = generator.standard_normal(position.shape), generator.random(is_there.shape) < config.pose_dropout
    extent = (np.nanmax(position, 1) - np.nanmin(position, 1)).max(1) if len(position) else np.zeros(0)
    moved = keypoints_px[..., :2] + config.pose_noise * extent[:, None, None] * noise
    seen = is_there & ~(missing & (np.cumsum(is_there & ~missing, axis=1)[:, -1:] >= 2))
    return np.where(seen[..., None], np.concatenate([moved, keypoints_px[..., 2:]], axis=2), 0).astype(np.float32)


def _people(annotations: Store, clip_ids: Sequence[str], config: Config) -> list[People]:
    """The people of each of these images; none of an image that the store does not list."""
    rows = {clip: index for index, clip in enumerate(annotations.clips["clip_id"])}
    return [_of_image(annotations, rows.get(clip), config) for clip in clip_ids]


def _of_image(annotations: Store, row: int | None, config: Config) -> People:
    if row is None:
        shapes = {"box": (0, 4), "keypoints": (0, config.joints, 3), "area": (0,)}
        box, keypoints, area = (np.zeros(shape, np.float32) for shape in shapes.values())
        return People(box, keypoints, area, np.zeros(0, bool), np.zeros(0, np.int64))
    fields = {name: annotations.clip(row, name) for name in ("box", "keypoints", "area", "is_crowd", "activity")}
    keypoints = poses.with_neck(fields["keypoints"]) if config.neck else np.array(fields["keypoints"])
    flags = fields["is_crowd"][:, 0].astype(bool), fields["activity"][:, 0].astype(np.int64)
    return People(np.array(fields["box"]), keypoints, fields["area"][:, 0].copy(), *flags)


def open_samples(reads: dict[str, Path], config: Config, split: str, tasks: Collection[str]) -> Samples:
    """The images of one split of the scenes at `reads["frames"]`, with their people from `reads["poses"]`."""
    scenes, annotations = Store.open(reads["frames"]), Store.open(reads["poses"])
    if annotations.meta.get("scenes") != scenes.digest:
        raise ValueError(
            f"{reads['poses']} is not of the images in {reads['frames']}: run dvc repro scenes@{scenes.meta['dataset']}"
        )
    samples = Samples(scenes, annotations, split, config, tasks)
    if not len(samples):
        raise ValueError(f"the split {split!r} of {reads['frames']} has no images: provide some for it")
    labelled = sum(len(people.with_pose) for people in samples.people)
    known = sum(int((people.activity[people.with_pose] >= 0).sum()) for people in samples.people)
    needed: Mapping[str, tuple[int, str]] = {
        "keypoints": (labelled, f"people with {FEWEST_JOINTS} labelled keypoints"),
        "detector": (sum(int((~people.is_crowd).sum()) for people in samples.people), "people"),
        "residual": (labelled, f"people with {FEWEST_JOINTS} labelled keypoints"),
        "activity": (
            known,
            f"people with {FEWEST_JOINTS} labelled keypoints whose activity is known, one of {', '.join(ACTIVITIES)}",
        ),
    }
    if missing := [task for task in HEADS if task in tasks and not needed[task][0]]:
        raise ValueError(
            f"multipose.objective.lambda.{missing[0]} is not 0, but the split {split!r} of {reads['frames']} has no "
            f"{needed[missing[0]][1]}: provide some, or set the weight to 0 and leave out the phase"
        )
    return samples


def statistics(train: Samples) -> dict[str, Tensor]:
    """Mean and deviation of each channel (3, 1, 1), of the training images or of ImageNet."""
    if train.config.normalise == "imagenet":
        return {name: torch.tensor(values)[:, None, None] for name, values in IMAGENET.items()}
    chosen = np.unique(np.linspace(0, len(train) - 1, min(len(train), STATISTICS_IMAGES)).round().astype(int))
    total, squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for index in chosen.tolist():
        pixels = train.images([index])[0].double().flatten(1)
        total, squares = total + pixels.mean(1), squares + pixels.square().mean(1)
    mean = total / len(chosen)
    deviation = (squares / len(chosen) - mean.square()).clamp(min=MIN_DEVIATION**2).sqrt()
    return {"mean": mean.float()[:, None, None], "std": deviation.float()[:, None, None]}


def spec(train: Samples) -> dict[str, Any]:
    """What the network must know of the training data: joints, activities, grid, and how poses become vectors."""
    return {
        "subjects": [],  # nobody is known by name
        "joints": train.config.joints,
        "activities": list(ACTIVITIES),
        "grid_hw": list(train.config.grid_hw),
        "aspect": train.config.aspect,
        "size_hw": list(train.size_hw),
    }
