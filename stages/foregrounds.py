"""The person of every silhouette of a dataset in colour, on black: one store beside that of the silhouettes.

python -m stages.foregrounds fvg
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from people import datasets
from people.storage.store import OFFSETS, Field, Store, StoreWriter
from people.video import foregrounds, keypoints
from people.video.foregrounds import Config
from stages.shared.executors import in_order, pool
from stages.shared.project import argument, params


class Clip(NamedTuple):
    """A clip of a silhouette store: its row of the table, and its silhouettes with box and frame number of each."""

    row: dict[str, Any]
    silhouette: np.ndarray
    box: np.ndarray
    frame: np.ndarray


def main(dataset: str) -> None:
    config = Config(**params("foregrounds", dataset))
    write(Path("data/foregrounds", dataset), dataset, Store.open(Path("data/silhouettes", dataset)), config)


def write(path: Path, dataset: str, silhouettes: Store, config: Config, workers: int | None = None) -> None:
    """The foreground store of a silhouette store at `path`: the same clips and frames in the same order.

    Beside the pictures their masks, and the layout's own keypoints in the pictures' pixels, for measurements: (0, 0, 0) where a
    joint is outside or the layout has none. The bytes are the same with any number of workers.
    """
    if silhouettes.meta["dataset"] != dataset:
        raise ValueError(
            f"{silhouettes.path} has silhouettes of {silhouettes.meta['dataset']}, expected those of {dataset}; run dvc repro "
            f"silhouettes@{dataset}"
        )
    height, width = config.size_hw
    fields = {"foreground": Field("uint8", (height, width, 3)), "mask": Field("uint8", (height, width))}
    fields |= {"keypoints": Field("float32", (17, 3)), "box": Field("float32", (4,)), "frame": Field("int32", (1,))}
    meta = {"dataset": dataset, "size_hw": config.size_hw, "silhouettes": silhouettes.digest}
    meta["silhouettes_iou"] = silhouettes.meta.get("iou")
    meta |= {name: silhouettes.meta[name] for name in ("method", "soft", "pretreatment")}
    meta["silhouettes_size_hw"] = silhouettes.meta["size_hw"]
    clips, frames = list(clips_of(silhouettes)), len(silhouettes.field("frame"))
    with pool(workers) as (executor, at_once), StoreWriter(path, fields, meta, expected_frames=frames) as store:
        tasks = ((dataset, clip, meta["method"], config) for clip in clips)
        results = in_order(executor, process_clip, tasks, ahead=4 * at_once)
        progress = tqdm(results, total=len(clips), desc=f"foregrounds {dataset}", unit="clip", mininterval=1.0)
        for clip, arrays in zip(clips, progress, strict=True):
            store.append(clip.row, arrays)
    masks = "soft masks" if meta["soft"] else "masks that were black and white in the frame"
    print(f"{path}: {len(store.rows)} clips, {store.frames} foregrounds of {height} x {width} px, by {masks}")


def clips_of(silhouettes: Store) -> Iterator[Clip]:
    """The clips of a silhouette store, in its order."""
    for index, row in enumerate(silhouettes.clips.drop(columns=list(OFFSETS)).to_dict("records")):
        yield Clip(row, *(silhouettes.clip(index, name) for name in ("silhouette", "box", "frame")))


def process_clip(dataset: str, clip: Clip, method: str, config: Config) -> dict[str, np.ndarray]:
    """The fields of a clip's foregrounds; a ValueError names the clip and the path of its frames.

    `method`: that of the silhouettes.
    """
    module, row, root = datasets.find(dataset), clip.row, Path(clip.row["root"])
    index_of, shown_by, count = {number: index for index, number in enumerate(clip.frame[:, 0].tolist())}, {}, 0
    shown = np.stack([foregrounds.region(box, config.size_hw) for box in clip.box])
    try:
        if method == "layout" and row["masks"] != row["frames"]:
            check_masks(module, root, row)
        for count, frame_rgb in enumerate(module.frames(root, row["frames"]), start=1):
            index = index_of.get(count - 1)
            if index is not None:
                arrays = (clip.silhouette[index], clip.box[index], shown[index])
                shown_by[index] = foregrounds.foreground(frame_rgb, *arrays, config.size_hw)
        if count != row["frame_count"]:
            raise ValueError(
                f"its silhouettes were found in {row['frame_count']} frames and it has {count} now; run dvc repro "
                f"silhouettes@{dataset}"
            )
        joints = true_keypoints(module, root, row, clip.frame[:, 0], shown, config)
    except (ValueError, OSError, cv2.error) as error:
        raise ValueError(f"clip {row['clip_id']} ({root / row['frames']}): {error}") from error
    made = [shown_by[index] for index in range(len(shown))]
    pictures, masks = (np.stack(arrays) for arrays in zip(*made, strict=True))
    return {"foreground": pictures, "mask": masks, "keypoints": joints, "box": shown, "frame": clip.frame}


def true_keypoints(
    module: ModuleType, root: Path, row: dict[str, Any], frames: np.ndarray, shown_xyxy_px: np.ndarray, config: Config
) -> np.ndarray:
    """The layout's keypoints of these frames in the pixels of their foregrounds; zeros where it has none of the clip."""
    if not isinstance(row.get("keypoints"), str) or not row["keypoints"]:
        return np.zeros((len(frames), 17, 3), np.float32)
    return keypoints.to_silhouette(module.keypoints(root, row["keypoints"])[frames], shown_xyxy_px, config.size_hw)


def check_masks(module: ModuleType, root: Path, row: dict[str, Any]) -> None:
    """Refuse masks of the layout that do not lie on its frames one by one, or pixel by pixel."""
    shapes = [mask.shape[:2] for mask in module.masks(root, row["masks"])]
    size_px = (row["height_px"], row["width_px"])
    if len(shapes) != row["frame_count"]:
        raise ValueError(
            f"the layout has {len(shapes)} masks of it and {row['frame_count']} frames: which belong together is not known; "
            f"choose another silhouettes.{row['dataset']}.method than layout"
        )
    if other := sorted(set(shapes) - {size_px}):
        raise ValueError(
            f"the layout's masks of it are {other[0]} px and its frames {size_px}: expected one size; replace the masks, or "
            f"choose another silhouettes.{row['dataset']}.method than layout"
        )


if __name__ == "__main__":
    main(argument("dataset", __doc__))
