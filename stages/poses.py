"""The keypoints in every silhouette of a dataset, by a Keypoint R-CNN that this stage trains on silhouettes.

python -m stages.poses casiab
"""

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from people import datasets
from people.storage.store import OFFSETS, Field, Store, StoreWriter
from people.video import keypoints, poses
from people.video.masks import MASK_THRESHOLD
from people.video.mean_overlap import MeanOverlap
from stages.shared.project import argument, params


def main(dataset: str) -> None:
    config = poses.Config(**params("poses", dataset))
    write(Path("data/poses", dataset), dataset, Store.open(Path("data/silhouettes", dataset)), config, params("seed"))


def write(path: Path, dataset: str, store: Store, config: poses.Config, seed: int) -> None:
    """The pose store of a silhouette store: the same clips in the same order, with as many frames.

    Inference runs in this process: one network on all cores, in batches, is faster than one in each of many processes.
    """
    silhouettes, labels = training_samples(dataset, store, config, seed)
    with tqdm(total=config.epochs, desc=f"poses {dataset}: student", unit="epoch", mininterval=1.0) as bar:
        network, loss = poses.train_student(silhouettes, labels, config, seed, on_epoch_end=bar.update)
    student = {"parameters": sum(p.numel() for p in network.parameters()), "frames": len(silhouettes), "loss": loss}
    meta = {"dataset": dataset, "size_hw": store.meta["size_hw"], "teacher": config.teacher, "student": student}
    meta |= {"silhouettes": store.digest}
    clips, mean_oks = clip_rows(store), MeanOverlap("oks")
    with StoreWriter(path, {"keypoints": Field("float32", (17, 3))}, meta, expected_frames=len(store.field("frame"))) as writer:
        for index, row in enumerate(tqdm(clips, desc=f"poses {dataset}", unit="clip", mininterval=1.0)):
            silhouettes = store.clip(index, "silhouette")
            predicted = poses.predict_clip(network, silhouettes, store.clip(index, "frame")[:, 0], config)
            writer.append(row, {"keypoints": predicted})
            if row["split"] == "test" and has_true_keypoints(row):
                area_px = (silhouettes >= MASK_THRESHOLD).sum(axis=(1, 2)).astype(float)
                true = true_keypoints(dataset, store, index, row)
                mean_oks.add(row["condition"], keypoints.object_keypoint_similarity(predicted, true, area_px))
        writer.meta |= mean_oks.facts()
    agreement = "" if writer.meta["oks"] is None else f", OKS {writer.meta['oks']:.3f} on test subjects"
    print(f"{path}: {len(clips)} clips, {writer.frames} poses, taught by {config.teacher}{agreement}")


def clip_rows(store: Store) -> list[dict[str, Any]]:
    """The clips' rows without the columns that every store adds."""
    return store.clips.drop(columns=list(OFFSETS)).to_dict("records")


def training_samples(dataset: str, store: Store, config: poses.Config, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Silhouettes of training subjects, sampled over all their clips, and the teacher's keypoints in their pixels."""
    clip = np.repeat(np.arange(len(store)), store.clips["length"])
    frame = np.arange(len(clip)) - store.clips["start"].to_numpy()[clip]
    training = np.flatnonzero((store.clips["split"] == "train").to_numpy()[clip])
    if not len(training):
        raise ValueError(f"{store.path} has no clip of a training subject to teach the student with; look at its splits")
    sampled = np.sort(np.random.default_rng([seed, 1]).choice(training, min(config.frames, len(training)), replace=False))
    clips, labels = clip_rows(store), []
    for index in tqdm(
        np.unique(clip[sampled]).tolist(), desc=f"poses {dataset}: {config.teacher}", unit="clip", mininterval=1.0
    ):
        frames = frame[sampled[clip[sampled] == index]]
        labels.append(teacher_keypoints(dataset, store, index, clips[index], frames, config))
    return store.field("silhouette")[sampled], np.concatenate(labels)


def teacher_keypoints(
    dataset: str, store: Store, index: int, row: dict[str, Any], frames: np.ndarray, config: poses.Config
) -> np.ndarray:
    """The teacher's keypoints of the silhouettes `frames` of a clip, in their pixels."""
    if config.teacher == "truth":
        return true_keypoints(dataset, store, index, row)[frames]
    from people.video import detectors

    weights = detectors.weights_file("keypointrcnn", config.weights)
    frames_rgb = list(datasets.find(dataset).frames(Path(row["root"]), row["frames"]))
    numbers = store.clip(index, "frame")[frames, 0]
    keypoints_px = np.stack(list(detectors.person_keypoints((frames_rgb[number] for number in numbers), weights)))
    return keypoints.to_silhouette(keypoints_px, store.clip(index, "box")[frames], store.meta["size_hw"])


def true_keypoints(dataset: str, store: Store, index: int, row: dict[str, Any]) -> np.ndarray:
    """The layout's keypoints of all silhouettes of a clip, in their pixels."""
    if not has_true_keypoints(row):
        raise ValueError(
            f"clip {row['clip_id']} has no true keypoints to learn from; set poses.{dataset}.teacher to keypointrcnn in "
            "params.yaml and give it its weights (docs/models.md)"
        )
    keypoints_px = datasets.find(dataset).keypoints(Path(row["root"]), row["keypoints"])
    return keypoints.to_silhouette(
        keypoints_px[store.clip(index, "frame")[:, 0]], store.clip(index, "box"), store.meta["size_hw"]
    )


def has_true_keypoints(row: dict[str, Any]) -> bool:
    """Whether the layout has true keypoints of a clip."""
    return isinstance(row.get("keypoints"), str)


if __name__ == "__main__":
    main(argument("dataset", __doc__))
