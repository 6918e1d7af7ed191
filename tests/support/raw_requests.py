"""Raw pictures to ask a registered model of each system, and how a model of `small_checkpoints` prepares them."""

from pathlib import Path
from typing import Any

import numpy as np
import small_checkpoints
import torch

from people.serving.raw_input import KINDS, STUDENT, Recorded
from people.video import poses
from stages.registration import versions

SIZE_HW = (60, 80)
STUDENT_SETTINGS: dict[str, Any] = small_checkpoints.load("params.yaml")["poses"]["casiab"] | {
    "widths": [8, 8], "head": [8], "every": 4,
}  # fmt: skip
BY_BACKGROUND = {"method": "background", "soft": False, "pretreatment": "scaled"}
SLOTS: dict[str, dict[str, Any]] = {
    "dmt": {
        "frames": {
            "kind": "flow", "dataset": "tumgaid", "method": "farneback", "compute_size_hw": [60, 80], "size_hw": [60, 80],
        },
    },
    "gaittake": {
        "frames": {"kind": "silhouettes", "dataset": "casiab", "size_hw": [64, 44], **BY_BACKGROUND},
        "poses": {
            "kind": "poses", "dataset": "casiab",
            "student_settings": {name: value for name, value in STUDENT_SETTINGS.items() if name != "weights"},
        },
    },
    "gaitnet": {
        "frames": {
            "kind": "foregrounds", "dataset": "fvg", "size_hw": [64, 32], "silhouettes_size_hw": [64, 32],
            **BY_BACKGROUND, "soft": True,
        },
    },
    "reid": {"frames": {"kind": "crops", "dataset": "market1501", "size_hw": [64, 32]}},
    "multipose": {"frames": {"kind": "scenes", "dataset": "coco"}},
}  # fmt: skip


def recorded(system: str, folder: Path) -> Recorded:
    """How a model of this system prepares pictures; an untrained network that finds keypoints is written to the folder."""
    files = {}
    if "poses" in SLOTS[system]:
        files = {STUDENT: folder / poses.STUDENT_FILE}
        config = poses.Config(**STUDENT_SETTINGS)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            files[STUDENT].write_bytes(poses.student_bytes(poses.build_student(config, (64, 44)), config, (64, 44)))
    return Recorded(SLOTS[system], files)


def served(system: str, checkpoint: Path, folder: Path) -> versions.Served:
    """What a model of this checkpoint is asked and answers, as `register` finds out from stores."""
    prepared = versions.served_as(checkpoint, {"frames": folder / "unknown" / "store"})
    how, raw = recorded(system, folder), KINDS[SLOTS[system]["frames"]["kind"]]
    outputs = {spec.name: spec.shape for spec in prepared.signature.outputs}
    return versions.Served(prepared.inputs, how, raw, versions.signature_of(prepared.inputs, outputs, raw))


def scene(size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """A wall and a floor with a pattern, as RGB."""
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    grey = 90 + 12 * np.sin(rows / 5) + 12 * np.sin(columns / 7)
    return np.clip(np.stack([grey, grey + 8, grey - 8], axis=2), 0, 255).astype(np.uint8)


def walk(count: int = 30, size_hw: tuple[int, int] = SIZE_HW) -> tuple[np.ndarray, np.ndarray]:
    """Frames in which a figure crosses the scene, its legs swinging, and its masks."""
    frames, masks = np.repeat(scene(size_hw)[None], count, axis=0), np.zeros((count, *size_hw), np.uint8)
    height, width = size_hw
    for index in range(count):
        middle = int(width * (0.2 + 0.6 * index / max(count - 1, 1)))
        swing = int(4 * np.sin(index / 2))
        top, hip, foot = int(0.15 * height), int(0.55 * height), int(0.9 * height)
        masks[index, top:hip, middle - 5 : middle + 5] = 255
        for leg in (swing, -swing):
            masks[index, hip:foot, middle - 2 + leg : middle + 2 + leg] = 255
        frames[index][masks[index] > 0] = (220, 60 + 2 * (index % 3), 40)
    return frames, masks


def request(system: str) -> dict[str, np.ndarray]:
    """Raw pictures for a model of this system."""
    frames, masks = walk()
    background = np.repeat(scene()[None], 3, axis=0)
    return {
        "dmt": {"frames": frames},
        "gaittake": {"masks": masks},
        "gaitnet": {"frames": frames, "background": background},
        "reid": {"photos": frames[:3]},
        "multipose": {"photos": frames[:2]},
    }[system]
