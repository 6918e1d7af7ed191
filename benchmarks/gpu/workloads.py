"""Generated data of the papers' sizes, in the packed stores that the systems read, and the problems that they are trained on.

The frames are noise with a faint pattern of each person: what a batch costs does not depend on what it shows, but the losses of
people who are told apart at once have no gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import settings
from people import systems
from people.config import build
from people.records import ACTIVITIES, ATTRIBUTES
from people.storage.store import Field, Store, StoreWriter, stores_digest
from people.training.system import Problem
from people.training.train_config import Config

SEED = 1
FLOW_SCALE = 100


@dataclass(frozen=True)
class Amount:
    """How much is generated: people to validate on, frames of a clip, photos of a person."""

    validation_subjects: int
    maps: int
    frames: int
    photos: int


AMOUNTS = {"paper": Amount(12, 100, 45, 20), "tiny": Amount(3, 30, 8, 6)}


@dataclass(frozen=True)
class Workload:
    """One system with its problem and the block from which its training configuration follows."""

    system: str
    problem: Problem
    training: dict[str, Any]

    def config(self, **changes: Any) -> Config:
        """How it is trained, some keys replaced."""
        return build(Config, {**self.training, **changes})

    @property
    def batch_samples(self) -> int:
        """Samples of a training batch."""
        return self.config().batches.samples


def make(system: str, size: str, folder: Path, device: str, steps: int) -> Workload:
    """A system's stores below `folder`, unless they are there, and its problem; an epoch is of `steps` batches or fewer."""
    block, amount = settings.load(size)[system], AMOUNTS[size]
    store = folder / system
    if not store.exists():
        GENERATORS[block["dataset"]](store, block, amount)
    reads = {"frames": store, "poses": store.with_name(f"{system}-poses")}
    reads = {slot: path if path.exists() else store for slot, path in reads.items()}
    of_system = problem(system, block, reads)
    training = {**block["training"], "accelerator": device, "devices": 1, "precision": "32-true", "task_stopping": None}
    training.pop("phases", None)  # all tasks at once
    batches = training["batches"]
    if "per_epoch" in batches:
        training["batches"] = {**batches, "per_epoch": steps}
    else:  # every sample once an epoch
        training["batches"] = {"samples": min(batches["samples"], max(2, len(of_system.train) // steps))}
    return Workload(system, of_system, training)


def problem(system: str, block: dict[str, Any], reads: dict[str, Path]) -> Problem:
    """The problem that a system's blocks describe, on these stores."""
    data, model, objective = (systems.find(system, part) for part in ("data", "model", "objective"))
    tasks = list(build(objective.Config, block["objective"]).tasks)
    train, validation = (
        data.open_samples(reads, build(data.Config, block["data"]), split, tasks) for split in ("train", "validation")
    )
    return Problem(
        system=system,
        model=model,
        objective=objective,
        config={part: block[part] for part in ("data", "model", "objective")},
        train=train,
        validation=validation,
        spec=data.spec(train) | {"tasks": tasks},
        statistics=data.statistics(train),
        data_digest=stores_digest(reads),
    )


def with_model(workload: Workload, **changes: Any) -> Workload:
    """The same with values of its block model replaced."""
    config = {**workload.problem.config, "model": {**workload.problem.config["model"], **changes}}
    return replace(workload, problem=replace(workload.problem, config=config))


def subjects_of(block: dict[str, Any], amount: Amount) -> list[tuple[str, str]]:
    """(split, id) of everybody."""
    counts = {"train": block["subjects"], "validation": amount.validation_subjects}
    return [(split, f"{split[0]}{number:04d}") for split, count in counts.items() for number in range(count)]


def row(dataset: str, split: str, subject: str, sequence: str, **more: Any) -> dict[str, Any]:
    """One clip's row of a store's table."""
    clip_id = f"{subject}/{sequence}/{'-'.join(str(value) for value in more.values())}"
    return {
        "dataset": dataset, "clip_id": clip_id, "subject_id": subject, "split": split, "sequence": sequence,
        "condition": sequence[:2].rstrip("0123456789"), "session": 0, **more,
    }  # fmt: skip


def coarse(draw: np.random.Generator, shape: Sequence[int], cell: int) -> np.ndarray:
    """Standard normal numbers (..., height, width), equal in cells of cell x cell pixels."""
    height, width = shape[-2:]
    cells = draw.normal(size=(*shape[:-2], -(-height // cell), -(-width // cell)))
    return cells.repeat(cell, axis=-2).repeat(cell, axis=-1)[..., :height, :width]


def flow(path: Path, block: dict[str, Any], amount: Amount) -> None:
    """Optical flow as for TUM-GAID: two clips of each person."""
    draw = np.random.default_rng(SEED)
    size = tuple(block["stored_size_hw"])
    noise = draw.normal(0, 40, (amount.maps, 2, *size)).astype(np.int16)
    middle = size[1] / 2
    box_xyxy_px = np.tile(np.array([middle - 10, 5, middle + 10, size[0] - 5], np.float32), (amount.maps, 1))
    fields = {"flow": Field("int16", (2, *size)), "box": Field("float32", (4,))}
    with StoreWriter(path, fields, {"flow_scale": FLOW_SCALE}) as writer:
        for number, (split, subject) in enumerate(subjects_of(block, amount)):
            pattern = (100 * coarse(draw, (2, *size), 10)).astype(np.int16)
            for sequence in ("n01", "n02"):
                labels = {"view_deg": 90.0, "gender": ("female", "male")[number % 2], "age_years": 20.0 + number % 40}
                frames = np.roll(noise, number, axis=0) + pattern
                writer.append(row("tumgaid", split, subject, sequence, **labels), {"flow": frames, "box": box_xyxy_px})


def silhouettes(path: Path, block: dict[str, Any], amount: Amount) -> None:
    """Silhouettes and poses as for CASIA-B: two normal walks of each person from two views, of different lengths."""
    draw = np.random.default_rng(SEED)
    size = tuple(block["stored_size_hw"])
    noise = draw.normal(0, 60, (amount.frames, *size))
    fields = {"silhouette": Field("uint8", size), "box": Field("float32", (4,)), "frame": Field("int32", (1,))}
    with (
        StoreWriter(path, fields, {"dataset": "casiab"}) as masks,
        StoreWriter(path.with_name(f"{path.name}-poses"), {"keypoints": Field("float32", (17, 3))}, {}) as poses,
    ):
        number = 0
        for split, subject in subjects_of(block, amount):
            pattern, joints = 127 + 8 * coarse(draw, size, 4), draw.uniform(2, min(size), (17, 2))
            for sequence in ("nm-01", "nm-02"):
                for view_deg in (0.0, 90.0):
                    length, number = amount.frames - number % 5, number + 1
                    grey = np.clip(np.roll(noise, number, axis=0)[:length] + pattern, 0, 255).astype(np.uint8)
                    keypoints = np.ones((length, 17, 3), np.float32)
                    keypoints[..., :2] = joints + draw.normal(0, 8, (length, 17, 2))
                    labels = row("casiab", split, subject, sequence, view_deg=view_deg)
                    frame = np.arange(length, dtype=np.int32)[:, None]
                    boxes = np.zeros((length, 4), np.float32)
                    masks.append(labels, {"silhouette": grey, "box": boxes, "frame": frame})
                    poses.append(labels, {"keypoints": keypoints})


def photos(path: Path, block: dict[str, Any], amount: Amount) -> None:
    """Photos as for Market-1501: of each person by two cameras, with all attributes."""
    draw = np.random.default_rng(SEED)
    size = tuple(block["stored_size_hw"])
    noise = draw.normal(0, 40, (*size, 3))
    with StoreWriter(path, {"image": Field("uint8", (*size, 3))}, {"dataset": "market1501"}) as writer:
        for split, subject in subjects_of(block, amount):
            attributes = {name: str(draw.choice(classes)) for name, classes in ATTRIBUTES.items()}
            pattern = 127 + 10 * coarse(draw, (3, *size), 16).transpose(1, 2, 0)
            for number in range(amount.photos):
                image = np.clip(pattern + np.roll(noise, number, axis=0), 0, 255).astype(np.uint8)
                facts = {"kind": "person", "camera": 1 + number % 2, "photo": number, **attributes}
                writer.append(row("market1501", split, subject, f"c{1 + number % 2}s1", **facts), {"image": image[None]})


def foregrounds(path: Path, block: dict[str, Any], amount: Amount) -> None:
    """People on black as for FVG: of each person two clips under two conditions each, of different lengths."""
    draw = np.random.default_rng(SEED)
    size, number = tuple(block["stored_size_hw"]), 0
    noise = draw.normal(0, 40, (amount.frames, *size, 3))
    with StoreWriter(path, {"foreground": Field("uint8", (*size, 3))}, {"dataset": "fvg"}) as writer:
        for split, subject in subjects_of(block, amount):
            pattern = 127 + 10 * coarse(draw, (3, *size), 8).transpose(1, 2, 0)
            for sequence in ("nm-01", "nm-02", "bg-01", "bg-02"):
                length, number = amount.frames - number % 5, number + 1
                colours = np.clip(np.roll(noise, number, axis=0)[:length] + pattern, 0, 255).astype(np.uint8)
                writer.append(row("fvg", split, subject, sequence, view_deg=0.0), {"foreground": colours})


def scenes(path: Path, block: dict[str, Any], amount: Amount) -> None:
    """Images as for COCO, one for each subject, of four people with keypoints and activities each."""
    draw = np.random.default_rng(SEED)
    height, width = block["stored_size_hw"]
    noise = draw.normal(0, 40, (height, width, 3))
    images = {"image": Field("uint8", (height, width, 3)), "ignored": Field("uint8", (height // 4, width // 4))}
    people = {"box": Field("float32", (4,)), "keypoints": Field("float32", (17, 3)), "area": Field("float32", (1,))}
    people |= {"is_crowd": Field("uint8", (1,)), "activity": Field("int8", (1,))}
    annotated = []
    with StoreWriter(path, images, {"dataset": "coco"}) as writer:
        for split, subject in subjects_of(block, amount):
            pattern = 127 + 10 * coarse(draw, (3, height, width), 16).transpose(1, 2, 0)
            image = np.clip(pattern + np.roll(noise, len(annotated), axis=0), 0, 255).astype(np.uint8)
            facts = row("coco", split, subject, "scene", number=len(annotated))
            writer.append(facts, {"image": image[None], "ignored": np.zeros((1, height // 4, width // 4), np.uint8)})
            annotated.append(facts)
    with StoreWriter(path.with_name(f"{path.name}-poses"), people, {"scenes": Store.open(path).digest}) as writer:
        for facts in annotated:
            writer.append(facts, _scene_people(draw, height, width))


def _scene_people(draw: np.random.Generator, height: int, width: int, count: int = 4) -> dict[str, np.ndarray]:
    """People at random places, their joints anywhere in their boxes."""
    size = np.array([0.2 * width, 0.6 * height])
    corner = draw.uniform(0, 1, (count, 2)) * (np.array([width, height]) - size)
    joints = np.concatenate([corner[:, None] + draw.uniform(0, 1, (count, 17, 2)) * size, np.full((count, 17, 1), 2)], axis=2)
    return {
        "box": np.concatenate([corner, corner + size], axis=1).astype(np.float32),
        "keypoints": joints.astype(np.float32),
        "area": np.full((count, 1), 0.5 * size.prod(), np.float32),
        "is_crowd": np.zeros((count, 1), np.uint8),
        "activity": np.arange(count, dtype=np.int8)[:, None] % len(ACTIVITIES),
    }


GENERATORS: dict[str, Callable[[Path, dict[str, Any], Amount], None]] = {
    "tumgaid": flow, "casiab": silhouettes, "market1501": photos, "fvg": foregrounds, "coco": scenes,
}  # fmt: skip
