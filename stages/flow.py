"""Optical flow and the person's box for every valid clip of a dataset, packed into one store.

python -m stages.flow tumgaid
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from people import datasets, schemas
from people.storage.store import Field, StoreWriter
from people.video import flow
from people.video.tracks import person_boxes_xyxy_px
from stages.shared.executors import in_order, pool
from stages.shared.project import params


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", help="one of the datasets in params.yaml")
    dataset = parser.parse_args().dataset
    config = flow.Config(**params("flow", dataset))
    clips = schemas.load(Path("data/valid") / dataset / "clips.csv")
    write(Path("data/flow") / dataset, dataset, clips, config)


def write(path: Path, dataset: str, clips: pd.DataFrame, config: flow.Config, workers: int | None = None) -> None:
    """The flow store of these clips at `path`: the same bytes with any number of workers."""
    if clips.empty:
        raise ValueError(f"no valid clip of {dataset} to compute flow from; look at data/valid/{dataset}/quarantine.csv")
    height, width = config.size_hw
    fields = {"flow": Field("int16", (2, height, width)), "box": Field("float32", (4,))}
    meta: dict[str, Any] = {"dataset": dataset, "flow_scale": flow.FLOW_SCALE, "method": config.method}
    meta |= {"size_hw": config.size_hw, "compute_size_hw": config.compute_size_hw, "saturated_values": 0}
    rows = clips.to_dict("records")
    frames = sum(row["frame_count"] - 1 for row in rows)
    with pool(workers) as (executor, at_once), StoreWriter(path, fields, meta, expected_frames=frames) as store:
        results = in_order(executor, process_clip, ((dataset, row, config) for row in rows), ahead=4 * at_once)
        progress = tqdm(results, total=len(rows), desc=f"flow {dataset}", unit="clip")
        for row, (flows, boxes, saturated) in zip(rows, progress, strict=True):
            store.append(row, {"flow": flows, "box": boxes})
            store.meta["saturated_values"] += saturated
    share = store.meta["saturated_values"] / (frames * 2 * height * width)
    print(f"{path}: {len(rows)} clips, {frames} flow maps of {width}x{height}, {share:.2%} of the values beyond int16")


def process_clip(dataset: str, row: dict[str, Any], config: flow.Config) -> tuple[np.ndarray, np.ndarray, int]:
    """Flow, boxes and the number of saturated values of a clip; a ValueError names the clip and the path of its frames."""
    try:
        stored, grey, saturated = flow.clip_flow(datasets.find(dataset).frames(Path(row["root"]), row["frames"]), config)
    except (ValueError, OSError, cv2.error) as error:
        raise ValueError(f"clip {row['clip_id']} ({Path(row['root']) / row['frames']}): {error}") from error
    if len(grey) != row["frame_count"]:
        raise ValueError(
            f"clip {row['clip_id']} ({Path(row['root']) / row['frames']}) was validated with {row['frame_count']} frames "
            f"and has {len(grey)} now; run dvc repro validate@{dataset} again"
        )
    return stored, person_boxes_xyxy_px(stored, grey), saturated


if __name__ == "__main__":
    main()
