"""One sample of GaitNet: one clip, as RGB frames round the person times the soft mask; in training a few frames in a row."""

import copy
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from people.config import check
from people.nn.device_frames import NO_FRAME, DeviceFrames, clip_rows, frame_bytes, on_device
from people.nn.resize import AreaResize
from people.records import Split
from people.storage.store import Store

PAIRED_TASK = "gait_similarity"
NAMES_SHOWN = 10
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Config:
    """How many consecutive frames a training sample has, and to what size the stored pictures are reduced."""

    frames: int
    size_hw: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_hw", tuple(self.size_hw))
        rules = {
            "frames": (self.frames >= 1, "at least 1"),
            "size_hw": (len(self.size_hw) == 2 and min(self.size_hw) >= 1, "a height and a width"),
        }
        check("gaitnet.data.", self, rules)


class Samples:
    """The clips of one split; `clips` are their rows of the index. `nbytes`: of their pictures, which `to` copies."""

    def __init__(self, foregrounds: Store, split: str, config: Config) -> None:
        self.config = config
        self._pictures = foregrounds.field("foreground")
        self.clips: pd.DataFrame = foregrounds.clips.query("split == @split").reset_index(drop=True)
        self._starts, self._lengths = self.clips["start"].to_numpy(), self.clips["length"].to_numpy()
        where = f"the pictures in {foregrounds.path}"
        self._resize = AreaResize(self._pictures.shape[1:3], config.size_hw, setting="gaitnet.data.size_hw", where=where)
        self.nbytes = int(self._lengths.sum()) * frame_bytes(self._pictures)
        self._device = torch.device("cpu")
        self._device_pictures: DeviceFrames | None = None
        self._targets: tuple[tuple[str, ...], dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def to(self, device: torch.device | str) -> "Samples":
        """The same clips with their pictures and targets on a device, where batches are then put together; equal values."""
        moved = copy.copy(self)
        moved._device, moved._targets = torch.device(device), None
        moved._device_pictures = DeviceFrames(self._pictures, self._starts, self._lengths, moved._device)
        return moved

    def targets(self, spec: dict[str, Any]) -> dict[str, Tensor]:
        """The labels of every clip; `spec["subjects"]` are the people who have an identity.

        "identity" their index or -1; numbers within this split: "subject", "clip", and what the clips of a pair can
        differ in: "condition", "session", "view" (from the smallest angle).
        """
        subjects = tuple(spec["subjects"])
        if self._targets is None or self._targets[0] != subjects:
            clips = self.clips
            labels = {
                "identity": pd.Index(subjects).get_indexer(clips["subject_id"].to_numpy(str)),
                "subject": pd.factorize(clips["subject_id"], sort=True)[0],
                "condition": pd.factorize(clips["condition"], sort=True)[0],
                "session": pd.factorize(clips["session"], sort=True)[0],
                "view": pd.factorize(clips["view_deg"], sort=True)[0],
                "clip": np.arange(len(clips)),
            }
            tensors = {name: torch.from_numpy(codes.astype(np.int64)).to(self._device) for name, codes in labels.items()}
            self._targets = subjects, tensors
        return self._targets[1]

    def frames(self, index: int, generator: np.random.Generator | None) -> Int[np.ndarray, " frame"]:
        """The frames of a sample, as rows of the store (`clip_rows`)."""
        return clip_rows(int(self._starts[index]), int(self._lengths[index]), self.config.frames, generator)

    def batch(
        self,
        indices: Sequence[int],
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment: np.random.Generator | None,
    ) -> dict[str, Tensor]:
        """The targets of these clips and the network's inputs.

        "foreground" (sample, frame, 3, height, width), RGB in [0, 1]; "length" (sample,), the frames before the padding of
        zeros; "appearance_frame" (sample,), t1 of the cross reconstruction: the frame whose appearance code is used.

        With `augment` a sample is `frames` consecutive frames and t1 is drawn among them; both depend only on the generator's
        state and the index, and an index beyond the last is the clip at its remainder, with another draw. Without, t1 is the
        middle frame.
        """
        key = None if augment is None else int(augment.integers(2**63))
        clips = [index % len(self) for index in indices]
        generators = [None if key is None else np.random.default_rng([key, index]) for index in indices]
        frames = [self.frames(clip, generator) for clip, generator in zip(clips, generators, strict=True)]
        lengths = [len(sample) for sample in frames]
        appearance = [
            length // 2 if generator is None else int(generator.integers(length))
            for length, generator in zip(lengths, generators, strict=True)
        ]
        rows = on_device(np.array(clips), self._device)
        return {
            "foreground": self._pictures_of(frames, max(lengths)),
            "length": on_device(np.array(lengths), self._device),
            "appearance_frame": on_device(np.array(appearance), self._device),
            **{name: values[rows] for name, values in self.targets(spec).items()},
        }

    def _pictures_of(self, frames: list[Int[np.ndarray, " _"]], longest: int) -> Float[Tensor, "sample frame 3 height width"]:
        """The mean of the stored pixels under each pixel, divided by 255; zeros behind a clip's end."""
        rows = np.full((len(frames), longest), NO_FRAME)
        for row, sample in zip(rows, frames, strict=True):
            row[: len(sample)] = sample
        if self._device_pictures is not None:
            stored = self._device_pictures.take(rows)
        else:
            is_frame = rows != NO_FRAME
            pictures = np.zeros((*rows.shape, *self._pictures.shape[1:]), self._pictures.dtype)
            pictures[is_frame] = self._pictures[rows[is_frame]]
            stored = torch.from_numpy(pictures)
        flat = stored.flatten(0, 1).permute(0, 3, 1, 2).float().div_(255)
        return self._resize(flat).unflatten(0, (len(frames), longest))


def open_samples(reads: dict[str, Path], config: Config, split: str, tasks: Collection[str]) -> Samples:
    """The clips of one split of the foregrounds at `reads["frames"]`.

    Model selection ranks validation people across conditions, and the gait similarity compares training people under two: two
    validation people need clips under two conditions each; training people with one condition alone are named in a warning.
    """
    path = reads["frames"]
    if split not in get_args(Split):
        raise ValueError(f"a split is one of {', '.join(get_args(Split))}, got {split!r}")
    samples = Samples(Store.open(path), split, config)
    if len(samples) == 0:
        raise ValueError(f"the split {split!r} of {path} must have clips, got none: provide subjects for it")
    several, single = subjects_by_conditions(samples.clips)
    if split == "validation" and len(several) < 2:
        raise ValueError(
            f"the validation split of {path} must have two people with clips under two conditions each, got {len(several)}: "
            "provide more people or conditions"
        )
    if split == "train" and PAIRED_TASK in tasks:
        if not several:
            raise ValueError(
                f"the training split of {path} has no pair: each of its {len(single)} people has clips under one condition; "
                f"provide others, or set gaitnet.objective.lambda.{PAIRED_TASK} to 0 and draw samples without pairs"
            )
        if single:
            more = f" and {len(single) - NAMES_SHOWN} more" if len(single) > NAMES_SHOWN else ""
            _LOG.warning(
                "gaitnet: %d of %d training people have clips under one condition alone and are in no pair: %s%s",
                len(single), len(single) + len(several), ", ".join(single[:NAMES_SHOWN]), more,
            )  # fmt: skip
    return samples


def subjects_by_conditions(clips: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The people with clips under several conditions, and those with clips under one, sorted."""
    conditions: dict[str, set[str]] = {}
    for subject, condition in sorted(zip(clips["subject_id"], clips["condition"], strict=True)):
        conditions.setdefault(subject, set()).add(condition)
    several = [subject for subject, names in conditions.items() if len(names) > 1]
    return several, [subject for subject, names in conditions.items() if len(names) == 1]


def statistics(train: Samples) -> dict[str, Tensor]:
    """None: pictures in [0, 1] are what the decoder's sigmoid gives."""
    return {}


def spec(train: Samples) -> dict[str, Any]:
    """What the network must know of the training data: subjects, and the size of the pictures."""
    return {"subjects": sorted(train.clips["subject_id"].unique().tolist()), "size_hw": list(train.config.size_hw)}
