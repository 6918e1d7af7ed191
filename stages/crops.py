"""Every valid photo of a dataset at one size, packed into one store with all columns of the index.

python -m stages.crops market1501
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from people import datasets, schemas
from people.storage.store import Field, StoreWriter
from people.video.crops import Config, resize
from stages.shared.executors import in_order, pool
from stages.shared.project import argument, params

BATCH_SIZE = 64  # photos in a task: reading one takes less time than sending it to another process


def main(dataset: str) -> None:
    config = Config(**params("crops", dataset))
    write(Path("data/crops", dataset), dataset, schemas.load(Path("data/valid", dataset, "clips.csv")), config)


def write(path: Path, dataset: str, clips: pd.DataFrame, config: Config, workers: int | None = None) -> None:
    """The store of these photos at `path`, in their order: the same bytes with any number of workers."""
    if clips.empty:
        raise ValueError(f"no valid photo of {dataset} to pack; look at data/valid/{dataset}/quarantine.csv")
    fields, meta = {"image": Field("uint8", (*config.size_hw, 3))}, {"dataset": dataset, "size_hw": config.size_hw}
    rows = clips.to_dict("records")
    batches = [rows[start : start + BATCH_SIZE] for start in range(0, len(rows), BATCH_SIZE)]
    frames = sum(clips["frame_count"].tolist())
    with pool(workers) as (executor, at_once), StoreWriter(path, fields, meta, expected_frames=frames) as store:
        results = in_order(executor, process_clips, ((dataset, batch, config) for batch in batches), ahead=4 * at_once)
        with tqdm(total=len(rows), desc=f"crops {dataset}", unit="clip", mininterval=1.0) as bar:
            for batch, images in zip(batches, results, strict=True):
                for row, image in zip(batch, images, strict=True):
                    store.append(row, {"image": image})
                    bar.update()
    print(f"{path}: {len(store.rows)} clips, {store.frames} images of {config.size_hw[0]} x {config.size_hw[1]} px")


def process_clips(dataset: str, rows: Sequence[dict[str, Any]], config: Config) -> list[np.ndarray]:
    """The frames of several clips at one size."""
    return [process_clip(dataset, row, config) for row in rows]


def process_clip(dataset: str, row: dict[str, Any], config: Config) -> np.ndarray:
    """The frames of a clip, a photo's only one, at one size; a ValueError names the clip and the path of its frames."""
    root = Path(row["root"])
    try:
        images = resize(datasets.find(dataset).frames(root, row["frames"]), (config.size_hw[0], config.size_hw[1]))
        if len(images) != row["frame_count"]:
            raise ValueError(
                f"it was validated with {row['frame_count']} frames and has {len(images)} now; run dvc repro validate@{dataset}"
            )
    except (ValueError, OSError, cv2.error) as error:
        raise ValueError(f"clip {row['clip_id']} ({root / row['frames']}): {error}") from error
    return images


if __name__ == "__main__":
    main(argument("dataset", __doc__))
