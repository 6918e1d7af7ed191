"""Normalised silhouettes of every valid clip of a dataset, packed into one store.

python -m stages.silhouettes casiab
"""

from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from people import datasets, schemas
from people.storage.store import Field, StoreWriter
from people.video import masks, silhouettes
from people.video.masks import Fault, UnreadableMasksError
from people.video.mean_overlap import MeanOverlap
from people.video.silhouettes import Config, Silhouettes
from stages.shared.executors import in_order, pool
from stages.shared.project import argument, params
from stages.shared.quarantine import fail_beyond


class ClipResult(NamedTuple):
    """A clip's silhouettes; for each frame the IoU with the layout's mask where it has one for each; why masks are not used."""

    silhouettes: Silhouettes
    iou: np.ndarray
    fault: Fault | None


def main(dataset: str) -> None:
    config, valid = Config(**params("silhouettes", dataset)), Path("data/valid", dataset)
    earlier = pd.read_csv(valid / "quarantine.csv", dtype="str")["clip_id"].tolist()
    limit = params("validate", dataset, "max_bad_share")
    write(Path("data/silhouettes", dataset), dataset, schemas.load(valid / "clips.csv"), config, limit, earlier)


def write(
    path: Path,
    dataset: str,
    clips: pd.DataFrame,
    config: Config,
    max_bad_share: float,
    earlier: Collection[str] = (),
    workers: int | None = None,
) -> None:
    """The silhouette store of these clips at `path`: the same bytes with any number of workers.

    Clips whose own masks are at fault, where those are the method, are listed in the store's quarantine.csv; the stage fails
    where they and those that validation has put into quarantine `earlier` are a larger share than `max_bad_share`.
    """
    if clips.empty:
        raise ValueError(f"no valid clip of {dataset} to find people in; look at data/valid/{dataset}/quarantine.csv")
    height, width = config.size_hw
    fields = {"silhouette": Field("uint8", (height, width)), "box": Field("float32", (4,)), "frame": Field("int32", (1,))}
    meta = {name: getattr(config, name) for name in ("method", "size_hw", "soft", "pretreatment")} | {"dataset": dataset}
    rows, mean_iou = clips.to_dict("records"), MeanOverlap("iou")
    without_person, faults = [], {}
    with pool(workers) as (executor, at_once), StoreWriter(path, fields, meta) as store:
        results = in_order(executor, process_clip, ((dataset, row, config) for row in rows), ahead=4 * at_once)
        progress = tqdm(results, total=len(rows), desc=f"silhouettes {dataset}", unit="clip", mininterval=1.0)
        for row, (arrays, iou, fault) in zip(rows, progress, strict=True):
            mean_iou.add(row["condition"], iou)
            faults |= {row["clip_id"]: fault} if fault else {}
            if len(arrays.frame):
                store.append(row, arrays._asdict())
            elif not fault:
                without_person.append(row["clip_id"])
        bad = quarantine(faults) if config.method == "layout" else quarantine({})
        fail_beyond(max_bad_share, dataset, f"{dataset}-silhouettes", bad, clips["clip_id"], earlier)
        bad.to_csv(store.partial / "quarantine.csv", index=False)
        not_compared = [] if config.method == "layout" else list(faults)
        store.meta |= {"without_person": without_person, "not_compared": not_compared, **mean_iou.facts()}
    overlap = "" if store.meta["iou"] is None else f", IoU with the layout's own {store.meta['iou']:.3f}"
    overlap += f" ({len(not_compared)} clips have masks that cannot be compared)" if not_compared else ""
    print(
        f"{path}: {len(store.rows)} clips, {store.frames} silhouettes, {len(without_person)} clips without a person, "
        f"{len(bad)} in quarantine{overlap}"
    )


def quarantine(faults: dict[str, Fault]) -> pd.DataFrame:
    """The faults by clip, as the quarantine table of validation."""
    rows = [(clip_id, "masks", *fault) for clip_id, fault in sorted(faults.items())]
    return pd.DataFrame(rows, columns=["clip_id", "column", "rule", "value", "remedy"], dtype="str")


def process_clip(dataset: str, row: dict[str, Any], config: Config) -> ClipResult:
    """A clip's silhouettes, and their agreement with the layout's masks where the method is another one."""
    module, root = datasets.find(dataset), Path(row["root"])
    try:
        if config.method == "layout":
            return from_layout(module, root, row, config)
        if row.get("masks") == row["frames"]:
            raise ValueError("the layout has masks of it and no video; set `method` to layout in params.yaml")
        empty = module.background(root, row["background"]) if row.get("background") else ()
        found = list(silhouettes.segment_person(module.frames(root, row["frames"]), empty, config))
        if len(found) != row["frame_count"]:
            raise ValueError(
                f"it was validated with {row['frame_count']} frames and has {len(found)} now; run dvc repro validate@{dataset}"
            )
        iou, fault = agreement(found, module, root, row)
        return ClipResult(silhouettes.normalise_masks([masks.crop(mask) for mask in found], config), iou, fault)
    except (ValueError, OSError, cv2.error) as error:
        raise ValueError(f"clip {row['clip_id']} ({root / row['frames']}): {error}") from error


def from_layout(module: ModuleType, root: Path, row: dict[str, Any], config: Config) -> ClipResult:
    """The silhouettes of the layout's own masks, or the fault of these: a clip without a person is one."""
    if not row.get("masks"):
        raise ValueError("the layout has no masks of it; choose another `method` in params.yaml")
    try:
        own = masks.to_grey(module.masks(root, row["masks"]))
        masks.check(own)
        made = silhouettes.normalise_masks(own, config)
    except UnreadableMasksError as error:
        return ClipResult(silhouettes.normalise_masks([], config), np.zeros(0), error.fault)
    return ClipResult(made, np.zeros(0), None if len(made.frame) else silhouettes.too_small(own, config))


def agreement(found: list[np.ndarray], module: ModuleType, root: Path, row: dict[str, Any]) -> tuple[np.ndarray, Fault | None]:
    """The IoU of masks with the layout's, where there are as many, or the fault of the layout's."""
    try:
        own = masks.to_grey(module.masks(root, row["masks"])) if row.get("masks") else []
        if len(own) != len(found):
            return np.zeros(0), None
        masks.check(own)
        return masks.mask_iou(found, own), None
    except UnreadableMasksError as error:
        return np.zeros(0), error.fault


if __name__ == "__main__":
    main(argument("dataset", __doc__))
