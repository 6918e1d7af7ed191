"""One sample of reid: one photo, with the person in it, twelve attributes, the camera, and whether there is a person at all."""

import copy
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from people.config import check
from people.nn.device_frames import DeviceFrames, frame_bytes, on_device
from people.nn.pretrained import IMAGENET
from people.nn.resize import AreaResize
from people.records import ATTRIBUTES
from people.storage.store import Store

PERSON, DISTRACTOR, JUNK = "person", "distractor", "junk"
IS_PERSON = {PERSON: 1, JUNK: 0, DISTRACTOR: -1}  # a distractor may or may not be a person
NORMALISE = ("training", "imagenet")
STATISTICS_BATCH = 1024  # photos: bounds memory
MIN_DEVIATION = 1 / 255  # of a channel: it is a divisor


@dataclass(frozen=True)
class Config:
    """The size to which photos are reduced, the mean and deviation that normalise them, and their augmentation.

    `normalise`: "training" (the training photos'), or "imagenet" for a network that starts from ImageNet's weights. Training
    photos are mirrored with probability `flip`, rotated by up to `rotation_deg`, shifted by up to `translation` of their size.
    """

    size_hw: Sequence[int]
    normalise: str
    flip: float | int
    rotation_deg: float | int
    translation: float | int

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_hw", tuple(self.size_hw))
        rules = {
            "size_hw": (len(self.size_hw) == 2 and min(self.size_hw) >= 1, "a height and a width"),
            "normalise": (self.normalise in NORMALISE, f"one of {', '.join(NORMALISE)}"),
            "flip": (0 <= self.flip <= 1, "in [0, 1]"),
            "rotation_deg": (0 <= self.rotation_deg <= 180, "in [0, 180]"),
            "translation": (0 <= self.translation <= 1, "in [0, 1]"),
        }
        check("reid.data.", self, rules)


def sample_kinds(split: str, tasks: Collection[str]) -> tuple[str, ...]:
    """The kinds of photos that are samples of a split: people, with the task junk also junk, in the test split all."""
    if split == "test":
        return PERSON, DISTRACTOR, JUNK
    return (PERSON, JUNK) if "junk" in tasks else (PERSON,)


class Samples:
    """The photos of one split; `clips` are their rows of the index. `nbytes` is the size of the photos, which `to` copies."""

    def __init__(self, crops: Store, split: str, config: Config, tasks: Collection[str]) -> None:
        self.config, self._images = config, crops.field("image")
        is_sample = (crops.clips["split"] == split) & crops.clips["kind"].isin(sample_kinds(split, tasks))
        self.clips: pd.DataFrame = crops.clips.loc[is_sample].reset_index(drop=True)
        self._rows = self.clips["start"].to_numpy()
        stored_hw = self._images.shape[1:3]
        where = f"the photos in {crops.path}"
        self._resize = AreaResize(stored_hw, config.size_hw, setting="reid.data.size_hw", where=where)
        self.nbytes = len(self._rows) * frame_bytes(self._images)
        self._device = torch.device("cpu")
        self._device_images: DeviceFrames | None = None
        self._targets: tuple[tuple[str, ...], dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def to(self, device: torch.device | str) -> "Samples":
        """The same photos, and their targets, on a device, where they are then reduced and warped; equal values."""
        moved = copy.copy(self)
        moved._device, moved._targets = torch.device(device), None
        moved._device_images = DeviceFrames(self._images, self._rows, np.ones_like(self._rows), moved._device)
        return moved

    def targets(self, spec: dict[str, Any]) -> dict[str, Tensor]:
        """The labels of every photo; `spec["subjects"]` are the people who have an identity.

        "identity" their index or -1; "subject" a number within this split, by which batches are drawn
        (`sampling_identities`); "clip" the photo's; "camera" as named; "person" 1, 0 for junk, -1 for distractors; of each
        attribute, by its name, the class or -1 where it is unknown.
        """
        known_subjects = tuple(spec["subjects"])
        if self._targets is None or self._targets[0] != known_subjects:
            subjects = self.clips["subject_id"].to_numpy(str)
            labels = {
                "identity": pd.Index(known_subjects).get_indexer(subjects),
                "subject": pd.factorize(sampling_identities(self.clips), sort=True)[0],
                "clip": np.arange(len(self.clips)),
                "camera": self.clips["camera"].to_numpy(),
                "person": np.array([IS_PERSON[kind] for kind in self.clips["kind"]]),
                **{name: encode(self.clips[name].to_list(), name, classes) for name, classes in spec["attributes"].items()},
            }
            tensors = {name: torch.from_numpy(values.astype(np.int64)).to(self._device) for name, values in labels.items()}
            self._targets = known_subjects, tensors
        return self._targets[1]

    def images(self, photos: Sequence[int]) -> Float[Tensor, "sample 3 height width"]:
        """These photos, RGB in [0, 1]: each pixel is the mean of the stored pixels under it."""
        rows = self._rows[list(photos)]
        stored = self._device_images.take(rows) if self._device_images else torch.from_numpy(self._images[rows])
        return self._resize(stored.permute(0, 3, 1, 2).float().div_(255))

    def batch(
        self,
        indices: Sequence[int],
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment: np.random.Generator | None,
    ) -> dict[str, Tensor]:
        """The targets of these photos and the network's input "image" (sample, 3, height, width), normalised.

        With `augment` they are warped at random, depending only on the generator's state and the index; an index beyond the
        last is the photo at its remainder, with another warp. Pixels from outside the photo have the mean colour.
        """
        photos = [index % len(self) for index in indices]
        mean, std = (statistics[name].to(self._device) for name in ("mean", "std"))
        image = (self.images(photos) - mean) / std
        if augment is not None:
            key = int(augment.integers(2**63))
            warps = [self.random_warp(np.random.default_rng([key, index])) for index in indices]
            image = warp_affine(image, np.stack(warps))
        rows = on_device(np.array(photos), self._device)
        return {"image": image, **{name: values[rows] for name, values in self.targets(spec).items()}}

    def random_warp(self, generator: np.random.Generator) -> Float[np.ndarray, " 4"]:
        """The parameters of `warp_affine` for one photo."""
        mirror, rotation, right, down = generator.random(4)
        config = self.config
        return np.array([
            -1.0 if mirror < config.flip else 1.0,
            math.radians(config.rotation_deg) * (2 * rotation - 1),
            config.translation * (2 * right - 1),
            config.translation * (2 * down - 1),
        ])  # fmt: skip


def warp_affine(
    image: Float[Tensor, "sample 3 height width"], warp: Float[np.ndarray, "sample 4"]
) -> Float[Tensor, "sample 3 height width"]:
    """Each image mirrored where `warp`[0] is -1, rotated about its centre by `warp`[1] (radians, counter-clockwise), shifted by
    `warp`[2] of its width to the right and `warp`[3] of its height down; bilinear, zeros outside.
    """
    height, width = image.shape[2:]
    mirror, angle, right, down = warp.T
    cosine, sine = np.cos(angle), np.sin(angle)
    # from coordinates in the result, in [-1, 1] over the image, to coordinates in the source
    linear = np.array([[mirror * cosine, mirror * -sine * height / width], [sine * width / height, cosine]])  # (2, 2, sample)
    offset = -np.einsum("ijs,js->is", linear, np.stack([2 * right, 2 * down]))
    theta = torch.from_numpy(np.concatenate([linear, offset[:, None]], axis=1).transpose(2, 0, 1)).to(image.dtype)
    grid = functional.affine_grid(on_device(theta, image.device), list(image.shape), align_corners=False)
    return functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def encode(labels: Sequence[Any], attribute: str, classes: Sequence[str]) -> Int[np.ndarray, " photo"]:
    """The number of each photo's class, -1 where it is unknown (a missing value)."""
    if invalid := sorted({str(label) for label in labels if not pd.isna(label)} - set(classes)):
        raise ValueError(
            f"{attribute} is one of {', '.join(classes)}, or empty, got {', '.join(invalid[:5])}: correct the index "
            "and run the stage crops again"
        )
    codes = {name: code for code, name in enumerate(classes)}
    return np.array([codes.get(label, -1) for label in labels], np.int64)


def open_samples(reads: dict[str, Path], config: Config, split: str, tasks: Collection[str]) -> Samples:
    """The photos of one split of the crops at `reads["frames"]`; with the task junk also those without a person.

    Model selection retrieves validation people across cameras: two of them need photos by two cameras each.
    """
    path = Path(reads["frames"])
    crops = Store.open(path)
    if missing := sorted({"kind", "camera", *ATTRIBUTES} - set(crops.clips.columns)):
        raise ValueError(f"{path} must have the columns {', '.join(missing)}; use the crops of a dataset that has them")
    samples = Samples(crops, split, config, tasks)
    kinds = set(samples.clips["kind"])
    if PERSON not in kinds:
        raise ValueError(f"the split {split!r} of {path} must have photos of people, got none: provide subjects for it")
    if split != "test" and "junk" in tasks and JUNK not in kinds:
        raise ValueError(
            f"reid.objective.lambda.junk is not 0, but the split {split!r} of {path} has no photo without a pedestrian: "
            "provide junk for it, or set the weight to 0"
        )
    if split == "validation" and len(people := cross_camera_subjects(samples.clips)) < 2:
        raise ValueError(
            f"the validation split of {path} must have two people with photos by two cameras each, got {len(people)}: provide "
            "more people or cameras"
        )
    return samples


def sampling_identities(clips: pd.DataFrame) -> np.ndarray:
    """The identity of each photo for drawing batches of P people with K photos each.

    Junk is split into groups as large as people have photos: as one identity it would be in few batches.
    """
    subjects, is_junk = clips["subject_id"].to_numpy(str), clips["kind"].to_numpy(str) == JUNK
    people = np.unique(subjects[~is_junk])
    size = max(1, round(np.count_nonzero(~is_junk) / max(len(people), 1)))
    groups = [f"{subject}-{number // size:06d}" for number, subject in enumerate(subjects[is_junk])]
    identities = subjects.astype(object)
    identities[is_junk] = groups
    return identities.astype(str)


def cross_camera_subjects(clips: pd.DataFrame) -> list[str]:
    """The people with photos by two or more cameras."""
    cameras: dict[str, set[int]] = {}
    for subject, camera in clips.loc[clips["kind"] == PERSON, ["subject_id", "camera"]].to_numpy():
        cameras.setdefault(subject, set()).add(camera)
    return [subject for subject, numbers in cameras.items() if len(numbers) > 1]


def statistics(train: Samples) -> dict[str, Tensor]:
    """Mean and deviation of each channel (3, 1, 1) over all pixels of the training photos, or those of ImageNet."""
    if train.config.normalise == "imagenet":
        return {name: torch.tensor(values)[:, None, None] for name, values in IMAGENET.items()}
    pixels, total, squares = 0, torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for rows in torch.arange(len(train)).split(STATISTICS_BATCH):
        values = train.images(rows.tolist()).double().transpose(0, 1).flatten(1)  # (channel, pixel)
        pixels, total, squares = pixels + values.shape[1], total + values.sum(1), squares + values.square().sum(1)
    mean = total / pixels
    deviation = (squares / pixels - mean.square()).clamp(min=MIN_DEVIATION**2).sqrt()
    return {"mean": mean.float()[:, None, None], "std": deviation.float()[:, None, None]}


def spec(train: Samples) -> dict[str, Any]:
    """What the network must know of the training data: subjects, size of the photos, and the attributes' classes."""
    return {
        "subjects": sorted(set(train.clips.loc[train.clips["kind"] == PERSON, "subject_id"])),
        "size_hw": list(train.config.size_hw),
        "attributes": {name: list(classes) for name, classes in ATTRIBUTES.items()},
    }
