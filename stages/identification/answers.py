"""What trained systems say of a track: its features become the stores that a system reads, and go the way of every clip."""

import math
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from people import checkpoints, systems
from people.serving import one_clip
from people.serving.open_set import Impostors
from people.storage import file_digest
from people.tracking.track_features import Config as FeatureConfig
from people.training.system import Attribute
from people.video import crops, flow, foregrounds, poses, silhouettes
from stages.identification.champions import Trained, champion, from_file
from stages.shared.project import params


@dataclass(frozen=True, eq=False)
class Champion:
    """A trained system: its network and the checkpoint's entries; `reads`: the kind of features in each slot that it reads.

    `version` says which it is, `digest` is the checkpoint's SHA-256. `impostors` None: no distances of strangers are known.
    """

    system: str
    dataset: str
    network: Any
    checkpoint: dict[str, Any]
    reads: Mapping[str, str]
    version: str = ""
    digest: str = ""
    impostors: Impostors | None = None


class Kinds(Protocol):
    """The features of one track or recording."""

    def arrays(self, kind: str) -> dict[str, np.ndarray]:
        """The fields of one kind; empty where there are none."""
        ...


class Answer(NamedTuple):
    """What one system says of one track: the mean embedding of its samples, and attributes."""

    samples: int
    embedding: np.ndarray
    attributes: list[Attribute]


def load(system: str, trained: Trained) -> Champion:
    """The trained system in this file; ValueError where it cannot describe tracks."""
    checkpoint = trained.checkpoint
    network, entries = checkpoints.load(checkpoint)
    if entries["system"] != system:
        raise ValueError(f"{checkpoint} is a checkpoint of {entries['system']}, expected one of {system}")
    if not getattr(systems.find(system, "serving"), "EMBEDDING", ""):
        raise ValueError(f"{system} does not tell people apart and cannot describe tracks; leave it out of identify.systems")
    dataset, reads = reading(system)
    return Champion(system, dataset, network, entries, reads, trained.version, file_digest(checkpoint), trained.impostors)


def find(names: Sequence[str], given: dict[str, str]) -> tuple[list[Champion], dict[str, str]]:
    """The systems that describe tracks, and why others do not."""
    champions, missing = [], {}
    for name in names:
        try:
            champions.append(load(name, from_file(name, Path(given[name])) if name in given else champion(name)))
        except ValueError as error:
            if name in given:
                raise
            missing[name] = str(error)
    return champions, missing


def reading(system: str) -> tuple[str, dict[str, str]]:
    """The dataset whose clips a system reads, and the kind of features in each slot."""
    reads = {slot: path.split("/")[1] for slot, path in params("systems", system, "reads").items()}
    return params("systems", system, "dataset"), reads


def feature_configs(names: Iterable[str], max_frames: int) -> dict[str, FeatureConfig]:
    """How features are made, by dataset: as its stages make them, all kinds that any of these systems reads."""
    kinds: dict[str, set[str]] = {}
    for name in names:
        dataset, reads = reading(name)
        kinds.setdefault(dataset, set()).update(reads.values())
    return {dataset: feature_config(dataset, of_dataset, max_frames) for dataset, of_dataset in kinds.items()}


def feature_config(dataset: str, kinds: Collection[str], max_frames: int) -> FeatureConfig:
    """How these kinds of features are made of one dataset."""
    made: dict[str, Any] = {}
    if {"silhouettes", "poses", "foregrounds"} & set(kinds):
        made["silhouette"] = silhouettes.Config(**params("silhouettes", dataset))
    if "foregrounds" in kinds:
        made["foreground"] = foregrounds.Config(**params("foregrounds", dataset))
    if "crops" in kinds:
        made["crop"] = crops.Config(**params("crops", dataset))
    if "flow" in kinds:
        made["flow"] = flow.Config(**params("flow", dataset))
    rate_hz = params("datasets", dataset).get("frame_rate_hz")  # datasets of photos have none
    return FeatureConfig(max_frames=max_frames, frame_rate_hz=float(rate_hz or math.inf), **made)


def answer(champion: Champion, features: Kinds) -> Answer | str:
    """What a system says of a track, or why it says nothing: too little was seen, or its network has diverged."""
    serving: Any = systems.find(champion.system, "serving")
    with tempfile.TemporaryDirectory() as folder:
        reads = {slot: Path(folder, slot) for slot in champion.reads}
        for slot, kind in champion.reads.items():
            if not write(reads[slot], kind, champion.dataset, features):
                return f"the track gives no {kind}: too short, too small, or the finder has no masks"
        try:
            predicted = one_clip.predictions(champion.network, champion.checkpoint, reads)
        except ValueError as error:
            return str(error).replace(str(folder), "the track's stores")
    if names := [name for name, values in predicted.items() if not np.isfinite(values).all()]:
        return (
            f"{champion.system} gives NaN or infinity for {', '.join(names)}, expected finite numbers: its network has "
            f"diverged; train it with a lower rate and register it again, or leave {champion.system} out of identify.systems"
        )
    embedding = predicted[serving.EMBEDDING]
    return Answer(len(embedding), embedding.mean(axis=0), serving.attributes(predicted, champion.checkpoint["spec"]))


def write(path: Path, kind: str, dataset: str, features: Kinds) -> bool:
    """A store of one clip, the track, as the stage of this kind writes it; False where there is nothing to write."""
    arrays = features.arrays("silhouettes" if kind == "poses" else kind)
    if not arrays:
        return False
    if kind == "poses":
        arrays = {"keypoints": keypoints(dataset, arrays)}
    one_clip.write(path, kind, dataset, arrays)
    return True


def keypoints(dataset: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The keypoints in silhouettes, by the student of the dataset's poses."""
    config = poses.Config(**params("poses", dataset))
    student = poses.load_student(Path("data/poses", dataset, poses.STUDENT_FILE), config)
    return poses.predict_clip(student, arrays["silhouette"], arrays["frame"][:, 0], config)
