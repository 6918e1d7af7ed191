"""Walking figures in colours of their own, in FVG's sequences, and the blocks of a small network for them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from people.storage.store import Field, StoreWriter

HEIGHT, WIDTH, FRAMES = 16, 8, 9
RATE_HZ, STRIDE_S = 10.0, 1.0
FIRST_SESSION = {1: "normal", 2: "normal", 4: "slow", 7: "fast", 10: "bag"}
SECOND_SESSION = {1: "normal", 2: "normal", 4: "slow", 7: "clothes", 10: "clutter"}
FIELDS = {
    "foreground": Field("uint8", (HEIGHT, WIDTH, 3)), "mask": Field("uint8", (HEIGHT, WIDTH)),
    "keypoints": Field("float32", (17, 3)), "box": Field("float32", (4,)), "frame": Field("int32", (1,)),
}  # fmt: skip
MADE: dict[str, Any] = {"method": "background", "soft": True, "pretreatment": "scaled"}
MADE |= {"size_hw": [HEIGHT, WIDTH], "silhouettes_size_hw": [HEIGHT, WIDTH]}
DATA_BLOCK: dict[str, Any] = {"frames": 5, "size_hw": [HEIGHT, WIDTH]}
MODEL_BLOCK: dict[str, Any] = {
    "channels": [4, 8, 8], "convolutions": 2, "appearance": 12, "gait": 6, "split": True, "lstm": [8, 8],
    "feature": "normalised", "appearance_of": "frame", "gait_noise": 0.0,
}  # fmt: skip
OBJECTIVE_BLOCK: dict[str, Any] = {
    "lambda": {"identity": 1.0, "cross_reconstruction": 0.1, "gait_similarity": 0.005},
    "norm": {"cross_reconstruction": "squared_norm", "gait_similarity": "squared_norm"}, "frame_weights": "squares",
    "weighting": {"name": "fixed"},
}  # fmt: skip
TASKS = tuple(OBJECTIVE_BLOCK["lambda"])


def write_store(
    folder: Path,
    *,
    people: Mapping[str, int] | None = None,
    videos: Mapping[int, str] | None = None,
    lengths: Sequence[int] = (FRAMES,),
    single: Sequence[str] = (),
    keypoints: bool = True,
    labelled: bool = False,
    seed: int = 5,
) -> dict[str, Path]:
    """The store that GaitNet reads; every second person is of session 2, `single` have normal walks alone.

    A figure is a block as wide as the person, in a colour of each video, whose lower half sways with the walking phase. If
    `labelled`, people have genders and ages (`labels_of`).
    """
    draw, number = np.random.default_rng(seed), 0
    with StoreWriter(folder / "foregrounds", FIELDS, {"dataset": "fvg", "silhouettes_iou": 0.9, **MADE}) as writer:
        for split, count in (people or {"train": 4, "validation": 4, "test": 6}).items():
            for person in range(count):
                width, sway, subject = draw.uniform(1, 3), draw.uniform(0.5, 2), f"{split[0]}{person:02d}"
                for video, condition in (videos or (SECOND_SESSION if person % 2 else FIRST_SESSION)).items():
                    if subject in single and condition != "normal":
                        continue
                    length, number = lengths[number % len(lengths)], number + 1
                    arrays = figure(draw, width, sway, length)
                    arrays["keypoints"] *= keypoints
                    row = row_of(split, subject, person % 2, video, condition)
                    writer.append(row | (labels_of(person) if labelled else {}), arrays)
    return {"frames": folder / "foregrounds", "poses": folder / "foregrounds"}


def write_casiab_store(
    folder: Path, *, views_deg: Sequence[float] = (0.0, 90.0), labelled: bool = False, seed: int = 5
) -> dict[str, Path]:
    """The same in CASIA-B's sequences, from several views: three people to train, validate and test each."""
    draw = np.random.default_rng(seed)
    with StoreWriter(folder / "foregrounds", FIELDS, {"dataset": "casiab", "silhouettes_iou": None, **MADE}) as writer:
        for split in ("train", "validation", "test"):
            for person in range(3):
                width, sway, subject = draw.uniform(1, 3), draw.uniform(0.5, 2), f"{split[0]}{person:02d}"
                for sequence in ("nm-01", "nm-02", "nm-05", "bg-01", "bg-02", "cl-01", "cl-02"):
                    for view_deg in views_deg:
                        row = row_of(split, subject, 0, 1, sequence[:2]) | {"dataset": "casiab", "view_deg": view_deg}
                        row |= {"clip_id": f"{subject}/{sequence}/{view_deg:03.0f}", "sequence": sequence}
                        row |= labels_of(person) if labelled else {}
                        writer.append(row, figure(draw, width, sway, FRAMES))
    return {"frames": folder / "foregrounds", "poses": folder / "foregrounds"}


def figure(draw: np.random.Generator, width: float, sway: float, length: int) -> dict[str, np.ndarray]:
    """The fields of a clip of `length` frames."""
    phase = 2 * np.pi * (np.arange(length) / RATE_HZ / STRIDE_S + draw.random())
    columns, colour = np.arange(WIDTH) - (WIDTH - 1) / 2, draw.uniform(60, 255, 3)
    centre = np.where(np.arange(HEIGHT) < HEIGHT / 2, 0.0, 1.0)[None, :, None] * sway * np.sin(phase)[:, None, None]
    mask = np.where(np.abs(columns - centre) <= width, 255, 0).astype(np.uint8)
    keypoints = np.full((length, 17, 3), 2, np.float32)
    keypoints[..., :2] = WIDTH / 2
    keypoints[:, 15, 1] = 12 + sway * np.sin(phase)  # seen from the front, the foot that is ahead is lower
    keypoints[:, 16, 1] = 12 - sway * np.sin(phase)
    return {
        "foreground": (mask[..., None] / 255 * colour).round().astype(np.uint8),
        "mask": mask,
        "keypoints": keypoints,
        "box": np.zeros((length, 4), np.float32),
        "frame": np.arange(length, dtype=np.int32)[:, None],
    }


def labels_of(person: int) -> dict[str, Any]:
    """Women and men by turns, of 20, 35, 50, ... years."""
    return {"gender": ("female", "male")[person % 2], "age_years": 20.0 + 15 * person}


def row_of(split: str, subject: str, session: int, video: int, condition: str) -> dict[str, Any]:
    return {
        "dataset": "fvg", "clip_id": f"s{session + 1}/{subject}_{video:02d}", "subject_id": subject, "split": split,
        "sequence": f"s{session + 1}-{video:02d}", "condition": condition, "session": session,
        "view_deg": {1: 315.0, 0: 45.0}.get(video % 3, 0.0), "frame_rate_hz": RATE_HZ, "gender": None,
        "age_years": float("nan"),
    }  # fmt: skip


def write_workspace(folder: Path, params: Mapping[str, Any], **training: Any) -> None:
    """params.yaml with the system alone, at a small size, and the store that it names."""
    block = dict(params["systems"]["gaitnet"])
    small = {"data": DATA_BLOCK, "model": MODEL_BLOCK, "objective": OBJECTIVE_BLOCK}
    batches = {"pairs": 2, "across": "condition", "per_epoch": 3}
    small["training"] = {**block["training"], "epochs": 1, "batches": batches, "accelerator": "cpu", **training}
    folder.mkdir(parents=True, exist_ok=True)
    own = {name: {"gaitnet": params[name]["gaitnet"]} for name in ("compare", "search", "score")}
    YAML().dump({"seed": 3, "systems": {"gaitnet": {**block, **small}}, **own}, folder / "params.yaml")
    target = folder / block["reads"]["frames"]
    target.parent.mkdir(parents=True, exist_ok=True)
    write_store(folder / "stores")["frames"].rename(target)
