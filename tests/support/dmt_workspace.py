"""A workspace for the stages that train: a small store of flow in which every person moves in another rhythm."""

from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from people.storage.store import Field, StoreWriter
from stages.shared.variants import read_variants

SPLITS = {"train": 4, "validation": 3}
CLIPS_EACH, FRAMES, HEIGHT, WIDTH = 4, 12, 44, 48
PARAMS: dict[str, Any] = YAML(typ="safe").load(Path(__file__).parent.parent.parent / "params.yaml")


Block = dict[str, Any]


def write_workspace(folder: Path, *, training: Block | None = None, search: Block | None = None) -> None:
    """params.yaml and data/flow/rhythms, for a small network of type B."""
    block = dict(PARAMS["systems"]["dmt"])
    block["reads"] = {"frames": "data/flow/rhythms", "poses": "data/flow/rhythms"}
    block["data"] = {"window_frames": 4, "step_frames": 4, "crop_px": 40, "mirror": True, "shifts_px": [-2, 0, 2]}
    block["model"] = {"type": "B", "widths": [4, 4, 8, 8], "dense": [8], "dropout": 0.1}
    small = {"epochs": 3, "batches": {"samples": 16}, "accelerator": "cpu", "precision": "32-true"}
    block["training"] = {**block["training"], **small, **(training or {})}
    compare = {**PARAMS["compare"]["dmt"], "epochs": 2, "select": list(read_variants("dmt"))}
    quick = {"trials": 3, "epochs": 2, "pruner": {"name": "median", "startup_trials": 1, "warmup_epochs": 1}}
    search = {**PARAMS["search"]["dmt"], **quick, **(search or {})}
    folder.mkdir(parents=True, exist_ok=True)
    score = PARAMS["score"]["dmt"]
    own = {"systems": block, "compare": compare, "search": search, "score": score}
    YAML().dump({"seed": 3} | {name: {"dmt": values} for name, values in own.items()}, folder / "params.yaml")
    write_store(folder / "data/flow/rhythms")


def write_store(path: Path) -> None:
    draw = np.random.default_rng(5)
    fields = {"flow": Field("int16", (2, HEIGHT, WIDTH)), "box": Field("float32", (4,))}
    sizes = {"compute_size_hw": [HEIGHT, WIDTH], "size_hw": [HEIGHT, WIDTH]}
    with StoreWriter(path, fields, {"dataset": "tumgaid", "flow_scale": 100, "method": "farneback", **sizes}) as store:
        for split, people in SPLITS.items():
            for person in range(people):
                rhythm, height = draw.uniform(0.3, 1.5), int(draw.integers(10, 30))
                for clip in range(CLIPS_EACH):
                    time = np.arange(FRAMES)[:, None, None] * rhythm + draw.uniform(0, 6)
                    flow = draw.normal(0, 10, (FRAMES, 2, HEIGHT, WIDTH))
                    flow[:, 0, height : height + 10, 16:32] += 300 * np.sin(time)
                    flow[:, 1, height : height + 10, 16:32] += 100 * np.cos(time)
                    store.append(row(split, person, clip), {"flow": flow.astype(np.int16), "box": boxes(height)})


def boxes(top: int) -> np.ndarray:
    return np.tile(np.array([16, top, 32, top + 10], np.float32), (FRAMES, 1))


def row(split: str, person: int, clip: int) -> dict[str, Any]:
    subject = f"{split[0]}{person:02}"
    return {
        "dataset": "rhythms",
        "clip_id": f"{subject}/n{clip:02}",
        "subject_id": subject,
        "split": split,
        "sequence": f"n{clip:02}",
        "condition": "n",
        "session": 0,
        "view_deg": 90.0,
        "gender": ("female", "male")[person % 2],
        "age_years": 20.0 + 7 * person,
    }
