"""One sample of reid: one photo, with the person in it, twelve attributes, the camera, and whether there is a person at all."""

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
from people.nn.resize import AreaResize
from people.records import ATTRIBUTES
from people.storage.store import Store

PERSON, DISTRACTOR, JUNK = "person", "distractor", "junk"
IS_PERSON = {PERSON: 1, JUNK: 0, DISTRACTOR: -1}  # a distractor may show anything: unknown
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
NORMALISE = ("training", "imagenet")
AT_ONCE = 1024  # photos, of which the statistics are summed: bounds memory
LEAST_DEVIATION = 1 / 255  # of a channel, by which is divided


@dataclass(frozen=True)
class Config:
    """To what size photos are shrunk, by whose mean and deviation they are normalised, and how they are varied in training.

    `normalise`: "training" (the training photos'), or "imagenet" for a network that starts from ImageNet's weights. Training
    photos are mirrored with probability `flip`, turned by up to `rotation_deg`, and moved by up to `translation` of their size.
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


def kinds(split: str, tasks: Collection[str]) -> tuple[str, ...]:
    """Which photos of a split are samples: people, and for the task junk photos without a person; in the test split all."""
    if split == "test":
        return PERSON, DISTRACTOR, JUNK
    return (PERSON, JUNK) if "junk" in tasks else (PERSON,)


class Samples:
    """The photos of one split; `clips` are their rows of the index."""

    def __init__(self, crops: Store, split: str, config: Config, tasks: Collection[str]) -> None:
        self.config, self._images = config, crops.field("image")
        chosen = (crops.clips["split"] == split) & crops.clips["kind"].isin(kinds(split, tasks))
        self.clips: pd.DataFrame = crops.clips.loc[chosen].reset_index(drop=True)
        self._rows = self.clips["start"].to_numpy()
        stored_hw = self._images.shape[1:3]
        where = f"the photos in {crops.path}"
        self._resize = AreaResize(stored_hw, config.size_hw, setting="reid.data.size_hw", where=where)
        self._targets: tuple[tuple[str, ...], dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def targets(self, spec: dict[str, Any]) -> dict[str, Tensor]:
        """What is to be said of every photo; `spec["subjects"]` are the people who have an identity.

        "identity" their index or -1; "subject" a number within this split, by which batches are drawn
        (`sampling_identities`); "clip" the photo's; "camera" as named; "person" 1, 0 for junk, -1 for distractors; of each
        attribute, by its name, the class or -1 where it is unknown.
        """
        known = tuple(spec["subjects"])
        if self._targets is None or self._targets[0] != known:
            subjects = self.clips["subject_id"].to_numpy(str)
            of_photo = {
                "identity": pd.Index(known).get_indexer(subjects),
                "subject": pd.factorize(sampling_identities(self.clips), sort=True)[0],
                "clip": np.arange(len(self.clips)),
                "camera": self.clips["camera"].to_numpy(),
                "person": np.array([IS_PERSON[kind] for kind in self.clips["kind"]]),
                **{name: codes(self.clips[name].to_list(), name, classes) for name, classes in spec["attributes"].items()},
            }
            self._targets = known, {name: torch.from_numpy(values.astype(np.int64)) for name, values in of_photo.items()}
        return self._targets[1]

    def images(self, photos: Sequence[int]) -> Float[Tensor, "sample 3 height width"]:
        """These photos, RGB in [0, 1]: of the stored pixels under each pixel the mean."""
        stored = torch.from_numpy(self._images[self._rows[list(photos)]]).permute(0, 3, 1, 2)
        return self._resize(stored.float().div_(255))

    def batch(
        self,
        indices: Sequence[int],
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment: np.random.Generator | None,
    ) -> dict[str, Tensor]:
        """The targets of these photos and what the network sees of them: "image" (sample, 3, height, width), normalised.

        With `augment` they are varied. How follows from the generator's state and the index alone; an index beyond the last is
        the photo at its remainder, varied once more. What comes into the picture from outside is the mean colour.
        """
        photos = [index % len(self) for index in indices]
        image = (self.images(photos) - statistics["mean"]) / statistics["std"]
        if augment is not None:
            key = int(augment.integers(2**63))
            image = moved(image, np.stack([self.drawn(np.random.default_rng([key, index])) for index in indices]))
        chosen = torch.tensor(photos)
        return {"image": image, **{name: values[chosen] for name, values in self.targets(spec).items()}}

    def drawn(self, draw: np.random.Generator) -> Float[np.ndarray, " 4"]:
        """How one photo is varied, see `moved`."""
        mirror, turn, right, down = draw.random(4)
        asked = self.config
        return np.array([
            -1.0 if mirror < asked.flip else 1.0,
            math.radians(asked.rotation_deg) * (2 * turn - 1),
            asked.translation * (2 * right - 1),
            asked.translation * (2 * down - 1),
        ])  # fmt: skip


def moved(
    image: Float[Tensor, "sample 3 height width"], how: Float[np.ndarray, "sample 4"]
) -> Float[Tensor, "sample 3 height width"]:
    """Each picture mirrored where `how`[0] is -1, turned about its middle by `how`[1] (radians, counter-clockwise), and moved
    by `how`[2] of its width to the right and `how`[3] of its height down; bilinear, zeros from outside.
    """
    height, width = image.shape[2:]
    mirror, angle, right, down = how.T
    cosine, sine = np.cos(angle), np.sin(angle)
    # from a place in the result, in [-1, 1] over the picture, to the place in the source that is seen there
    linear = np.array([[mirror * cosine, mirror * -sine * height / width], [sine * width / height, cosine]])  # (2, 2, sample)
    offset = -np.einsum("ijs,js->is", linear, np.stack([2 * right, 2 * down]))
    theta = torch.from_numpy(np.concatenate([linear, offset[:, None]], axis=1).transpose(2, 0, 1)).to(image)
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    return functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def codes(named: Sequence[Any], attribute: str, classes: Sequence[str]) -> Int[np.ndarray, " photo"]:
    """The number of each photo's class, -1 where it is unknown (a missing value)."""
    if strange := sorted({str(one) for one in named if not pd.isna(one)} - set(classes)):
        raise ValueError(
            f"{attribute} is one of {', '.join(classes)}, or empty, got {', '.join(strange[:5])}: correct the index "
            "and run the stage crops again"
        )
    number = {one: code for code, one in enumerate(classes)}
    return np.array([number.get(one, -1) for one in named], np.int64)


def open_samples(reads: dict[str, Path], config: Config, split: str, tasks: Collection[str]) -> Samples:
    """The photos of one split of the crops at `reads["frames"]`; the task junk has those without a person, too.

    Validation people are found again by other cameras, without which no epoch is better than another: two of them need photos
    by two cameras each.
    """
    path = Path(reads["frames"])
    crops = Store.open(path)
    if missing := sorted({"kind", "camera", *ATTRIBUTES} - set(crops.clips.columns)):
        raise ValueError(f"{path} must say of every photo its {', '.join(missing)}; read the crops of a dataset that has them")
    samples = Samples(crops, split, config, tasks)
    photographed = set(samples.clips["kind"])
    if PERSON not in photographed:
        raise ValueError(f"the split {split!r} of {path} must have photos of people, got none: provide subjects for it")
    if split != "test" and "junk" in tasks and JUNK not in photographed:
        raise ValueError(
            f"reid.objective.lambda.junk is not 0, but the split {split!r} of {path} has no photo without a pedestrian: "
            "provide junk for it, or set the weight to 0"
        )
    if split == "validation" and len(found := seen_twice(samples.clips)) < 2:
        raise ValueError(
            f"the validation split of {path} must have two people with photos by two cameras each, got {len(found)}: provide "
            "more people or cameras"
        )
    return samples


def sampling_identities(clips: pd.DataFrame) -> np.ndarray:
    """Whose each photo is, where batches are drawn as so many photos of so many people.

    Junk is parted as if it were people with as many photos as people have: were it one, hardly a batch would have any.
    """
    subjects, is_junk = clips["subject_id"].to_numpy(str), clips["kind"].to_numpy(str) == JUNK
    people = np.unique(subjects[~is_junk])
    size = max(1, round(np.count_nonzero(~is_junk) / max(len(people), 1)))
    groups = [f"{subject}-{number // size:06d}" for number, subject in enumerate(subjects[is_junk])]
    named = subjects.astype(object)
    named[is_junk] = groups
    return named.astype(str)


def seen_twice(clips: pd.DataFrame) -> list[str]:
    """The people whom two or more cameras saw."""
    cameras: dict[str, set[int]] = {}
    for subject, camera in clips.loc[clips["kind"] == PERSON, ["subject_id", "camera"]].to_numpy():
        cameras.setdefault(subject, set()).add(camera)
    return [subject for subject, seen in cameras.items() if len(seen) > 1]


def statistics(train: Samples) -> dict[str, Tensor]:
    """Mean and deviation of each channel (3, 1, 1) over all pixels of the training photos, or those of ImageNet."""
    if train.config.normalise == "imagenet":
        return {name: torch.tensor(values)[:, None, None] for name, values in IMAGENET.items()}
    pixels, total, squares = 0, torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for rows in torch.arange(len(train)).split(AT_ONCE):
        values = train.images(rows.tolist()).double().transpose(0, 1).flatten(1)  # (channel, pixel)
        pixels, total, squares = pixels + values.shape[1], total + values.sum(1), squares + values.square().sum(1)
    mean = total / pixels
    deviation = (squares / pixels - mean.square()).clamp(min=LEAST_DEVIATION**2).sqrt()
    return {"mean": mean.float()[:, None, None], "std": deviation.float()[:, None, None]}


def spec(train: Samples) -> dict[str, Any]:
    """What the network must know of the training data: who is in it, how large photos are, and the attributes' classes."""
    return {
        "subjects": sorted(set(train.clips.loc[train.clips["kind"] == PERSON, "subject_id"])),
        "size_hw": list(train.config.size_hw),
        "attributes": {name: list(classes) for name, classes in ATTRIBUTES.items()},
    }
