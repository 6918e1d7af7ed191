"""Every valid image of a dataset of scenes at one size, and the people labelled in them: two stores.

python -m stages.scenes coco
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from people import datasets, schemas
from people.storage.store import Field, Store, StoreWriter
from people.video import scenes
from people.video.scenes import MASK_STRIDE, Config
from stages.shared.executors import in_order, pool
from stages.shared.project import argument, params


def main(dataset: str) -> None:
    config = Config(**params("scenes", dataset))
    clips = schemas.load(Path("data/valid", dataset, "clips.csv"))
    write(Path("data/scenes", dataset), Path("data/annotations", dataset), dataset, clips, config)


def write(path: Path, annotations: Path, dataset: str, clips: pd.DataFrame, config: Config, workers: int | None = None) -> None:
    """The stores of these images at `path`, and of their people at `annotations`: the same bytes with any number of workers.

    An image is a clip of one frame; its row has the scale and the size at which it is stored. The people of an image are the
    frames of a clip of its own, which images without people lack.
    """
    if clips.empty:
        raise ValueError(f"no valid image of {dataset} to pack; look at data/valid/{dataset}/quarantine.csv")
    height, width = config.size_hw
    fields = {
        "image": Field("uint8", (height, width, 3)),
        "ignored": Field("uint8", (height // MASK_STRIDE, width // MASK_STRIDE)),
    }
    meta = {"dataset": dataset, "size_hw": config.size_hw}
    rows, people = clips.to_dict("records"), []
    with pool(workers) as (executor, at_once), StoreWriter(path, fields, meta, expected_frames=len(rows)) as store:
        results = in_order(executor, process_clip, ((dataset, row, config) for row in rows), ahead=8 * at_once)
        progress = tqdm(results, total=len(rows), desc=f"scenes {dataset}", unit="image", mininterval=1.0)
        for row, (stored, images, of_image) in zip(rows, progress, strict=True):
            store.append({**row, **stored}, images)
            people.append(({"clip_id": row["clip_id"], "split": row["split"]}, of_image))
        if not any(len(each["box"]) for _, each in people):
            raise ValueError(f"nobody is labelled in the {len(rows)} images of {dataset}; provide annotations of people")
    write_people(annotations, people, {**meta, "scenes": Store.open(path).digest})
    print(f"{path}: {len(store.rows)} images of {height} x {width} px, {sum(len(each['box']) for _, each in people)} people")


def write_people(path: Path, people: list[tuple[dict[str, Any], dict[str, np.ndarray]]], meta: dict[str, Any]) -> None:
    """The store of the people of all images, in their order."""
    types = {
        "box": ("float32", (4,)),
        "keypoints": ("float32", (17, 3)),
        "area": ("float32", (1,)),
        "is_crowd": ("uint8", (1,)),
    }
    types |= {"activity": ("int8", (1,)), "annotation": ("int64", (1,))}
    fields = {name: Field(*types[name]) for name in scenes.FIELDS}
    with StoreWriter(path, fields, meta, expected_frames=sum(len(each["box"]) for _, each in people)) as store:
        for row, of_image in people:
            if len(of_image["box"]):
                store.append(row, of_image)


def process_clip(
    dataset: str, row: dict[str, Any], config: Config
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """How an image is stored, its fields, and those of its people; a ValueError names the image and its path."""
    module, root = datasets.find(dataset), Path(row["root"])
    try:
        images = list(module.frames(root, row["frames"]))
        if len(images) != 1:
            raise ValueError(f"expected one image, got {len(images)}; run dvc repro validate@{dataset}")
        people = module.people(root, row["people"], masks=True)
        scene = scenes.fit(images[0], (config.size_hw[0], config.size_hw[1]))
        fields = {"image": scene.image[None], "ignored": scenes.ignored(people, scene)[None]}
    except (ValueError, OSError, cv2.error) as error:
        raise ValueError(f"image {row['clip_id']} ({root / row['frames']}): {error}") from error
    stored = {"scale": scene.scale, "stored_height_px": scene.content_hw[0], "stored_width_px": scene.content_hw[1]}
    return stored, fields, scenes.arrays(people, scene.scale)


if __name__ == "__main__":
    main(argument("dataset", __doc__))
