"""Stores of scenes: stick figures on noise, as the stage `scenes` writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from people.records import ACTIVITIES, COCO_KEYPOINTS, Annotation
from people.storage.serialization import serialize
from people.storage.store import Field, Store, StoreWriter
from people.video import scenes
from people.video.scenes import MASK_STRIDE
from stages.scenes import write_people

DATA_BLOCK: dict[str, Any] = {
    "normalise": "training", "neck": False, "crop_px": 64, "jitter_px": 4, "scale": [0.8, 1.2],
    "rotation_deg": 20, "flip": 0.5, "person_share": None, "grid_hw": [14, 9], "box_noise": 0.1,
    "aspect": "kept", "pose_noise": 0.02,
    "pose_dropout": 0.1,
}  # fmt: skip
MODEL_BLOCK: dict[str, Any] = {
    "backbone": "resnet18", "width": 0.125, "weights": "", "batch_norm": "learned", "shared": True, "channels": 8,
    "subnet_channels": 8, "smooth_channels": 8, "norm": "group", "anchors_px": [16, 32, 64, 128, 256],
    "residual": {"hidden": 16, "dropout": 0.5, "softmax": "all"}, "activity": {"hidden": [16, 8], "dropout": 0.3},
    "answer": {
        "box_score": 0.2, "box_iou": 0.5, "people": 5, "peak": 0.1, "peak_window": 5, "window": 5, "side_px": 128,
    },
}  # fmt: skip
OBJECTIVE_BLOCK: dict[str, Any] = {
    "lambda": {"keypoints": 1.0, "detector": 1.0, "residual": 1.0, "activity": 1.0},
    "sigma_px": 4.0, "intermediate": True, "emphasis": 0.0, "focal": {"alpha": 0.25, "gamma": 2.0}, "box": 1.0,
    "weighting": {"name": "fixed"},
}  # fmt: skip
TASKS = tuple(OBJECTIVE_BLOCK["lambda"])

# x and y of the seventeen keypoints in the box of somebody who stands and looks at the camera
STANDING = np.array([
    (0.5, 0.08), (0.54, 0.06), (0.46, 0.06), (0.58, 0.08), (0.42, 0.08), (0.72, 0.22), (0.28, 0.22), (0.84, 0.38), (0.16, 0.38),
    (0.9, 0.52), (0.1, 0.52), (0.64, 0.54), (0.36, 0.54), (0.66, 0.76), (0.34, 0.76), (0.68, 0.96), (0.32, 0.96),
])  # fmt: skip
LIMBS = (
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (5, 6),
    (11, 12),
    (5, 11),
    (6, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
    (0, 5),
    (0, 6),
)


def person(
    box_xyxy_px: Sequence[float],
    number: int = 1,
    activity: str | None = "standing",
    *,
    labelled: bool = True,
    crowd: bool = False,
) -> Annotation:
    """Somebody in this box, all of whose keypoints are visible; a runner leans, a sitter has no legs to stand on."""
    box = np.array(box_xyxy_px, np.float32)
    share = STANDING.copy()
    if activity == "running":
        share[:, 0] += 0.25 * (0.5 - share[:, 1])
    if activity == "sitting":
        share[13:, 1] = [0.6, 0.6, 0.96, 0.96]
        share[13:15, 0] = [0.95, 0.05]
    position = box[:2] + share * (box[2:] - box[:2])
    keypoints = np.concatenate([position, np.full((len(COCO_KEYPOINTS), 1), 2.0)], axis=1).astype(np.float32)
    area = float(0.5 * np.prod(box[2:] - box[:2]))
    return Annotation(number, box, keypoints if labelled else np.zeros_like(keypoints), area, crowd, activity)  # type: ignore[arg-type]


def picture(people: Sequence[Annotation], size_hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Stick figures on noise, left limbs of another colour than right ones."""
    image = rng.integers(60, 120, (*size_hw, 3)).astype(np.uint8)
    for each in people:
        points = np.round(each.keypoints_px[:, :2]).astype(int)
        for first, second in LIMBS if each.keypoints_px[0, 2] else ():
            colour = (230, 60, 60) if second % 2 else (60, 230, 60)
            cv2.line(image, points[first].tolist(), points[second].tolist(), colour, 3)
    return image


def drawn_people(rng: np.random.Generator, size_hw: tuple[int, int], most: int = 3) -> list[Annotation]:
    """Up to so many people at random places."""
    people = []
    for number in range(int(rng.integers(0, most + 1))):
        height = rng.uniform(0.35, 0.8) * size_hw[0]
        left, top = rng.uniform(0, size_hw[1] - height / 2), rng.uniform(0, size_hw[0] - height)
        box = (left, top, left + height / 2, top + height)
        people.append(person(box, number + 1, str(rng.choice(ACTIVITIES))))
    return people


def write(
    folder: Path,
    images: dict[str, Sequence[list[Annotation]]] | None = None,
    *,
    size_hw: tuple[int, int] = (64, 96),
    counts: dict[str, int] | None = None,
    seed: int = 0,
) -> dict[str, Path]:
    """Stores with these people in each image of each split, or with `counts` of images at random; `reads` of multipose."""
    rng = np.random.default_rng(seed)
    if images is None:
        counts = counts or {"train": 12, "validation": 6, "test": 6}
        images = {split: [drawn_people(rng, size_hw) for _ in range(count)] for split, count in counts.items()}
    reads = {"frames": folder / "scenes", "poses": folder / "annotations"}
    fields = {"image": Field("uint8", (*size_hw, 3)), "ignored": Field("uint8", tuple(side // MASK_STRIDE for side in size_hw))}
    meta = {"dataset": "coco", "size_hw": size_hw}
    rows = [(split, people) for split, each in images.items() for people in each]
    listed = []
    with StoreWriter(reads["frames"], fields, meta) as store:
        for number, (split, people) in enumerate(rows):
            scene = scenes.fit(picture(people, size_hw, rng), size_hw)
            row = {"clip_id": f"{number:012d}", "split": split, "height_px": size_hw[0], "width_px": size_hw[1]}
            row |= {"person_count": len(people), "scale": 1.0, "stored_height_px": size_hw[0], "stored_width_px": size_hw[1]}
            store.append(row, {"image": scene.image[None], "ignored": scenes.ignored(people, scene)[None]})
            listed.append(({"clip_id": row["clip_id"], "split": split}, scenes.arrays(people, 1.0)))
    write_people(reads["poses"], listed, {**meta, "scenes": Store.open(reads["frames"]).digest})
    return reads


def write_checkpoint(folder: Path) -> Path:
    """A checkpoint of a network with random weights, that finds people where there are none."""
    from people.systems.multipose import data, model

    samples = data.open_samples(write(folder), data.Config(**DATA_BLOCK), "train", TASKS)
    spec = data.spec(samples) | {"tasks": list(TASKS)}
    answer = MODEL_BLOCK["answer"] | {"box_score": 0.001, "people": 5}
    block = {**MODEL_BLOCK, "answer": answer}
    torch.manual_seed(0)
    entries = {
        "system": "multipose",
        "config": {"data": DATA_BLOCK, "model": block, "objective": OBJECTIVE_BLOCK},
        "spec": spec,
        "statistics": data.statistics(samples),
        "network": model.Network(model.Config(**block), spec).state_dict(),
        "objective": {},
        "epoch": 1,
        "validation": {"score": 0.0, "errors": {}},
    }
    (folder / "checkpoint.pt").write_bytes(serialize(entries))
    return folder / "checkpoint.pt"
