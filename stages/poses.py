"""Where the joints are in every silhouette of a dataset, found by a Keypoint R-CNN that is trained here, on silhouettes.

python -m stages.poses casiab
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from people import datasets
from people.storage.store import OFFSETS, Field, Store, StoreWriter
from people.video import keypoints, poses
from people.video.mean_overlap import MeanOverlap
from people.video.silhouettes import HALF
from stages.shared.project import params


def main(dataset: str) -> None:
    config = poses.Config(**params("poses", dataset))
    write(Path("data/poses", dataset), dataset, Store.open(Path("data/silhouettes", dataset)), config, params("seed"))


def write(path: Path, dataset: str, store: Store, config: poses.Config, seed: int) -> None:
    """The pose store beside a silhouette store: the same clips in the same order, with as many frames.

    Inference stays in this process: one network on all cores, in batches, is faster than a network in each of many processes.
    """
    pictures, labels = labelled(dataset, store, config, seed)
    with tqdm(total=config.epochs, desc=f"poses {dataset}: student", unit="epoch", mininterval=1.0) as bar:
        network, loss = poses.trained(pictures, labels, config, seed, done=bar.update)
    student = {"parameters": sum(p.numel() for p in network.parameters()), "frames": len(pictures), "loss": loss}
    meta = {"dataset": dataset, "size_hw": store.meta["size_hw"], "teacher": config.teacher, "student": student}
    meta |= {"silhouettes": store.digest}
    clips, similar = rows(store), MeanOverlap("oks")
    with StoreWriter(path, {"keypoints": Field("float32", (17, 3))}, meta, expected_frames=len(store.field("frame"))) as writer:
        for index, row in enumerate(tqdm(clips, desc=f"poses {dataset}", unit="clip", mininterval=1.0)):
            silhouettes = store.clip(index, "silhouette")
            found = poses.of_clip(network, silhouettes, store.clip(index, "frame")[:, 0], config)
            writer.append(row, {"keypoints": found})
            if row["split"] == "test" and has_truth(row):
                area_px = (silhouettes >= HALF).sum(axis=(1, 2)).astype(float)
                similar.add(row["condition"], keypoints.similarity(found, truth(dataset, store, index, row), area_px))
        writer.meta |= similar.facts()
    shown = "" if writer.meta["oks"] is None else f", OKS {writer.meta['oks']:.3f} on test subjects"
    print(f"{path}: {len(clips)} clips, {writer.frames} poses, taught by {config.teacher}{shown}")


def rows(store: Store) -> list[dict[str, Any]]:
    """The clips' rows, without the columns that every store adds."""
    return store.clips.drop(columns=list(OFFSETS)).to_dict("records")


def labelled(dataset: str, store: Store, config: poses.Config, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Silhouettes of training subjects, drawn over all their clips, and the teacher's keypoints in their pixels."""
    clip = np.repeat(np.arange(len(store)), store.clips["length"])
    place = np.arange(len(clip)) - store.clips["start"].to_numpy()[clip]
    training = np.flatnonzero((store.clips["split"] == "train").to_numpy()[clip])
    if not len(training):
        raise ValueError(f"{store.path} has no clip of a training subject to teach the student with; look at its splits")
    drawn = np.sort(np.random.default_rng([seed, 1]).choice(training, min(config.frames, len(training)), replace=False))
    clips, labels = rows(store), []
    for index in tqdm(np.unique(clip[drawn]).tolist(), desc=f"poses {dataset}: {config.teacher}", unit="clip", mininterval=1.0):
        labels.append(taught(dataset, store, index, clips[index], place[drawn[clip[drawn] == index]], config))
    return store.field("silhouette")[drawn], np.concatenate(labels)


def taught(dataset: str, store: Store, index: int, row: dict[str, Any], places: np.ndarray, config: poses.Config) -> np.ndarray:
    """The teacher's keypoints of some silhouettes of a clip, in their pixels."""
    if config.teacher == "truth":
        return truth(dataset, store, index, row)[places]
    from people.video import detectors

    weights = detectors.weights_file("keypointrcnn", config.weights)
    frames = list(datasets.find(dataset).frames(Path(row["root"]), row["frames"]))
    numbers = store.clip(index, "frame")[places, 0]
    seen = np.stack(list(detectors.person_keypoints((frames[number] for number in numbers), weights)))
    return keypoints.in_picture(seen, store.clip(index, "box")[places], store.meta["size_hw"])


def truth(dataset: str, store: Store, index: int, row: dict[str, Any]) -> np.ndarray:
    """The layout's own keypoints of all silhouettes of a clip, in their pixels."""
    if not has_truth(row):
        raise ValueError(
            f"clip {row['clip_id']} has no true keypoints to learn from; set poses.{dataset}.teacher to keypointrcnn in "
            "params.yaml and give it its weights (docs/models.md)"
        )
    seen = datasets.find(dataset).keypoints(Path(row["root"]), row["keypoints"])
    return keypoints.in_picture(seen[store.clip(index, "frame")[:, 0]], store.clip(index, "box"), store.meta["size_hw"])


def has_truth(row: dict[str, Any]) -> bool:
    """Whether the layout has true keypoints of a clip."""
    return isinstance(row.get("keypoints"), str)


if __name__ == "__main__":
    main(sys.argv[1])
