"""One sample of GaitTAKE: one clip, as its silhouettes and the keypoints in them; in training a few frames in a row."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from people.nn.device_frames import NO_FRAME, DeviceFrames, clip_rows, frame_bytes, on_device
from people.nn.resize import AreaResize
from people.storage.store import Store

NORMAL = "nm"


@dataclass(frozen=True)
class Config:
    """How many consecutive frames a training sample has, to what size silhouettes are resized, and whether poses are read."""

    frames: int
    size_hw: Sequence[int]
    keypoints: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_hw", tuple(self.size_hw))
        if self.frames < 1:
            raise ValueError(f"gaittake.data.frames must be at least 1, got {self.frames}")
        if len(self.size_hw) != 2 or min(self.size_hw) < 1:
            raise ValueError(f"gaittake.data.size_hw must be a height and a width, got {list(self.size_hw)}")


class Samples:
    """The clips of one split; `clips` are their rows of the index. `poses` is None where the system reads no poses.

    `nbytes` is the size of the clips' silhouettes and keypoints, which `to` copies.
    """

    def __init__(self, silhouettes: Store, poses: Store | None, split: str, config: Config) -> None:
        self.config, self.has_keypoints = config, poses is not None
        self._silhouettes = silhouettes.field("silhouette")
        self._keypoints = poses.field("keypoints") if poses else None
        self.clips: pd.DataFrame = silhouettes.clips.query("split == @split").reset_index(drop=True)
        self._starts, self._lengths = self.clips["start"].to_numpy(), self.clips["length"].to_numpy()
        stored_hw = self._silhouettes.shape[1:]
        where = f"the silhouettes in {silhouettes.path}"
        self._resize = AreaResize(stored_hw, config.size_hw, setting="gaittake.data.size_hw", where=where)
        self._two_sides_per_px = torch.tensor([2 / stored_hw[1], 2 / stored_hw[0]])
        fields = [field for field in (self._silhouettes, self._keypoints) if field is not None]
        self.nbytes = int(self._lengths.sum()) * sum(map(frame_bytes, fields))
        self._device = torch.device("cpu")
        self._device_silhouettes: DeviceFrames | None = None
        self._device_keypoints: DeviceFrames | None = None
        self._targets: tuple[tuple[str, ...], dict[str, Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def to(self, device: torch.device | str) -> "Samples":
        """The same clips with their frames and targets on a device, where batches are then put together; equal values."""
        moved = copy.copy(self)
        moved._device, moved._targets = torch.device(device), None
        moved._two_sides_per_px = self._two_sides_per_px.to(device)
        moved._device_silhouettes = DeviceFrames(self._silhouettes, self._starts, self._lengths, moved._device)
        if self._keypoints is not None:
            moved._device_keypoints = DeviceFrames(self._keypoints, self._starts, self._lengths, moved._device)
        return moved

    def targets(self, spec: dict[str, Any]) -> dict[str, Tensor]:
        """The labels of every clip; `spec["subjects"]` are the people who have an identity.

        "identity" their index or -1; numbers within this split: "subject", "walk" (one sequence of one person, in all
        views), "view" (from the smallest angle), "condition" (0 is normal walking), "clip".
        """
        subjects = tuple(spec["subjects"])
        if self._targets is None or self._targets[0] != subjects:
            clips, conditions = self.clips, self.clips["condition"].to_numpy(str)
            variations = sorted(set(conditions) - {NORMAL})
            labels = {
                "identity": pd.Index(subjects).get_indexer(clips["subject_id"].to_numpy(str)),
                "subject": pd.factorize(clips["subject_id"], sort=True)[0],
                "walk": clips.groupby(["subject_id", "sequence"]).ngroup().to_numpy(),
                "view": pd.factorize(clips["view_deg"], sort=True)[0],
                "condition": pd.Index([NORMAL, *variations]).get_indexer(conditions),
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

        "silhouette" (sample, frame, height, width) in [0, 1] and "keypoints" (sample, frame, 17, 3): x and y in [-1, 1] over
        the image, and the confidence; joints that were not found, and all where there are no poses, are (0, 0, 0). Clips of
        different lengths are padded with zeros to the longest, "length" (sample,) counts the frames before the padding.

        With `augment` a sample is `frames` consecutive frames. Their start depends only on the generator's state and the
        index; an index beyond the last is the clip at its remainder, with another start.
        """
        key = None if augment is None else int(augment.integers(2**63))
        clips = [index % len(self) for index in indices]
        generators = [None if key is None else np.random.default_rng([key, index]) for index in indices]
        frames = [self.frames(clip, generator) for clip, generator in zip(clips, generators, strict=True)]
        lengths = [len(sample) for sample in frames]
        rows = on_device(np.array(clips), self._device)
        return {
            "silhouette": self._resized(frames, max(lengths)),
            "keypoints": self._normalised(frames, max(lengths)),
            "length": on_device(np.array(lengths), self._device),
            **{name: values[rows] for name, values in self.targets(spec).items()},
        }

    def _resized(self, frames: list[Int[np.ndarray, " _"]], longest: int) -> Float[Tensor, "sample frame height width"]:
        """The mean of the stored pixels under each pixel, divided by 255."""
        stored = stacked(self._device_silhouettes or self._silhouettes, frames, longest)
        return self._resize(stored.float().div_(255))

    def _normalised(self, frames: list[Int[np.ndarray, " _"]], longest: int) -> Float[Tensor, "sample frame 17 3"]:
        if self._keypoints is None:
            return torch.zeros(len(frames), longest, 17, 3, device=self._device)
        keypoints_px = stacked(self._device_keypoints or self._keypoints, frames, longest)
        confidence = keypoints_px[..., 2:]
        position = keypoints_px[..., :2] * self._two_sides_per_px - 1
        return torch.cat([position * (confidence > 0), confidence], dim=-1)


def stacked(
    field: np.ndarray | DeviceFrames, frames: list[Int[np.ndarray, " _"]], longest: int
) -> Shaped[Tensor, "sample frame ..."]:
    """The frames of every sample, zeros behind the shorter ones; gathered on the device on which the field is."""
    if not isinstance(field, DeviceFrames):
        return torch.from_numpy(padded(field, frames, longest))
    rows = np.full((len(frames), longest), NO_FRAME)
    for sample, own in zip(rows, frames, strict=True):
        sample[: len(own)] = own
    return field.take(rows)


def padded(field: np.ndarray, frames: list[Int[np.ndarray, " _"]], longest: int) -> np.ndarray:
    """The frames of every sample, zeros behind the shorter ones; consecutive frames are read as one slice of the file."""
    samples = np.zeros((len(frames), longest, *field.shape[1:]), field.dtype)
    for sample, rows in zip(samples, frames, strict=True):
        consecutive = rows[-1] - rows[0] == len(rows) - 1
        sample[: len(rows)] = field[rows[0] : rows[-1] + 1] if consecutive else field[rows]
    return samples


def open_samples(reads: dict[str, Path], config: Config, split: str, tasks: Collection[str]) -> Samples:
    """The clips of one split of the silhouettes at `reads["frames"]`, with the poses at `reads["poses"]` if they are read.

    All tasks need the same. Model selection identifies validation people across views: two of them need two normal walks each,
    from two views.
    """
    frames = reads["frames"]
    silhouettes = Store.open(frames)
    keypoints = Store.open(reads["poses"]) if config.keypoints else None
    columns = ["clip_id", "start", "length"]
    if keypoints is not None and not keypoints.clips[columns].equals(silhouettes.clips[columns]):
        raise ValueError(
            f"{keypoints.path} must hold the clips of {frames} with the same frames, in the same order; it was made from other "
            "silhouettes: run the stage poses again"
        )
    samples = Samples(silhouettes, keypoints, split, config)
    if len(samples) == 0:
        raise ValueError(f"the split {split!r} of {frames} must have clips, got none: provide subjects for it")
    if split == "validation" and len(cross_view_subjects(samples.clips)) < 2:
        raise ValueError(
            f"the validation split of {frames} must have two people with two normal walks ({NORMAL!r}) each, seen from two "
            f"views, got {len(cross_view_subjects(samples.clips))}: provide more people, sequences or views"
        )
    return samples


def cross_view_subjects(clips: pd.DataFrame) -> list[str]:
    """The people who can be identified across views: those with two normal walks, and normal walks from two views."""
    walks, views = ({} for _ in range(2))
    for subject, sequence, view_deg, condition in clips[["subject_id", "sequence", "view_deg", "condition"]].to_numpy():
        if condition == NORMAL:
            walks.setdefault(subject, set()).add(sequence)
            views.setdefault(subject, set()).add(view_deg)
    return [subject for subject in walks if len(walks[subject]) > 1 and len(views[subject]) > 1]


def statistics(train: Samples) -> dict[str, Tensor]:
    """None: nothing is subtracted from a silhouette."""
    return {}


def spec(train: Samples) -> dict[str, Any]:
    """What the network must know of the training data: subjects, size of the silhouettes, and whether there are poses."""
    return {
        "subjects": sorted(train.clips["subject_id"].unique().tolist()),
        "size_hw": list(train.config.size_hw),
        "keypoints": train.has_keypoints,
    }
