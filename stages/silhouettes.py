"""Normalised silhouettes of every valid clip of a dataset, packed into one store.

python -m stages.silhouettes casiab
"""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from people import datasets, schemas
from people.storage.store import Field, StoreWriter
from people.video import silhouettes
from people.video.mean_overlap import MeanOverlap
from people.video.silhouettes import Config, Silhouettes
from stages.shared.executors import in_order, pool
from stages.shared.project import params


def main(dataset: str) -> None:
    config = Config(**params("silhouettes", dataset))
    write(Path("data/silhouettes", dataset), dataset, schemas.load(Path("data/valid", dataset, "clips.csv")), config)


def write(path: Path, dataset: str, clips: pd.DataFrame, config: Config, workers: int | None = None) -> None:
    """The silhouette store of these clips at `path`: the same bytes with any number of workers."""
    if clips.empty:
        raise ValueError(f"no valid clip of {dataset} to find people in; look at data/valid/{dataset}/quarantine.csv")
    height, width = config.size_hw
    fields = {"silhouette": Field("uint8", (height, width)), "box": Field("float32", (4,)), "frame": Field("int32", (1,))}
    meta = {"dataset": dataset, "method": config.method, "size_hw": config.size_hw, "soft": config.soft}
    rows, mean_iou = clips.to_dict("records"), MeanOverlap("iou")
    without_person: list[str] = []
    with pool(workers) as (executor, at_once), StoreWriter(path, fields, meta) as store:
        results = in_order(executor, process_clip, ((dataset, row, config) for row in rows), ahead=4 * at_once)
        progress = tqdm(results, total=len(rows), desc=f"silhouettes {dataset}", unit="clip", mininterval=1.0)
        for row, (arrays, iou) in zip(rows, progress, strict=True):
            mean_iou.add(row["condition"], iou)
            if len(arrays.frame):
                store.append(row, arrays._asdict())
            else:
                without_person.append(row["clip_id"])
        store.meta |= {"without_person": without_person, **mean_iou.facts()}
    agreement = "" if store.meta["iou"] is None else f", IoU with the layout's own {store.meta['iou']:.3f}"
    print(
        f"{path}: {len(store.rows)} clips, {store.frames} silhouettes, {len(without_person)} clips without a person{agreement}"
    )


def process_clip(dataset: str, row: dict[str, Any], config: Config) -> tuple[Silhouettes, np.ndarray]:
    """A clip's silhouettes, and for each frame the IoU with the layout's mask where it has one for each frame."""
    module, root = datasets.find(dataset), Path(row["root"])
    try:
        true_masks = list(module.masks(root, row["masks"])) if row.get("masks") else []
        if config.method == "layout":
            if not true_masks:
                raise ValueError("the layout has no masks of it; choose another `method` in params.yaml")
            return silhouettes.normalise_masks(true_masks, config), np.zeros(0)
        if row.get("masks") == row["frames"]:
            raise ValueError("the layout has masks of it and no video; set `method` to layout in params.yaml")
        empty = module.background(root, row["background"]) if row.get("background") else ()
        masks = list(silhouettes.segment_person(module.frames(root, row["frames"]), empty, config))
        if len(masks) != row["frame_count"]:
            raise ValueError(
                f"it was validated with {row['frame_count']} frames and has {len(masks)} now; run dvc repro validate@{dataset}"
            )
        iou = silhouettes.mask_iou(masks, true_masks) if len(true_masks) == len(masks) else np.zeros(0)
        return silhouettes.normalise_masks(masks, config), iou
    except (ValueError, OSError, cv2.error) as error:
        raise ValueError(f"clip {row['clip_id']} ({root / row['frames']}): {error}") from error


if __name__ == "__main__":
    main(sys.argv[1])
