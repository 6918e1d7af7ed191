"""The keypoints in every silhouette of a dataset, by a Keypoint R-CNN that this stage trains on silhouettes.

python -m stages.poses casiab
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from people import datasets
from people.storage.store import OFFSETS, Field, Store, StoreWriter
from people.video import keypoints, poses
from people.video.masks import MASK_THRESHOLD
from people.video.mean_overlap import MeanOverlap
from stages.shared.executors import in_order, pool
from stages.shared.project import argument, params


def main(dataset: str) -> None:
    config = poses.Config(**params("poses", dataset))
    write(Path("data/poses", dataset), dataset, Store.open(Path("data/silhouettes", dataset)), config, params("seed"))


def write(path: Path, dataset: str, store: Store, config: poses.Config, seed: int, workers: int | None = None) -> None:
    """The pose store of a silhouette store: the same clips in the same order, with as many frames.

    The student runs in this process: one network on all cores, in batches, is faster than one in each of many processes.
    `workers` are the processes of the teacher `mediapipe`, any number of which gives the same bytes.
    """
    silhouettes, labels = training_samples(dataset, store, config, seed, workers)
    with tqdm(total=config.epochs, desc=f"poses {dataset}: student", unit="epoch", mininterval=1.0) as bar:
        network, loss = poses.train_student(silhouettes, labels, config, seed, on_epoch_end=bar.update)
    student = {"parameters": sum(p.numel() for p in network.parameters()), "frames": len(silhouettes), "loss": loss}
    meta = {"dataset": dataset, "size_hw": store.meta["size_hw"], "teacher": config.teacher, "student": student}
    settings = {name: value for name, value in asdict(config).items() if name != "weights"}  # a place on this machine
    meta |= {"silhouettes": store.digest, "student_settings": settings}
    clips, mean_oks = clip_rows(store), MeanOverlap("oks")
    with StoreWriter(path, {"keypoints": Field("float32", (17, 3))}, meta, expected_frames=len(store.field("frame"))) as writer:
        for index, row in enumerate(tqdm(clips, desc=f"poses {dataset}", unit="clip", mininterval=1.0)):
            silhouettes = store.clip(index, "silhouette")
            predicted = poses.predict_clip(network, silhouettes, store.clip(index, "frame")[:, 0], config)
            writer.append(row, {"keypoints": predicted})
            if row["split"] == "test" and has_true_keypoints(row):
                area_px = (silhouettes >= MASK_THRESHOLD).sum(axis=(1, 2)).astype(float)
                true_px = true_keypoints(dataset, row)[store.clip(index, "frame")[:, 0]]
                true = keypoints.to_silhouette(true_px, store.clip(index, "box"), store.meta["size_hw"])
                mean_oks.add(row["condition"], keypoints.object_keypoint_similarity(predicted, true, area_px))
        writer.meta |= mean_oks.facts()
        (writer.partial / poses.STUDENT_FILE).write_bytes(poses.student_bytes(network, config, store.meta["size_hw"]))
    agreement = "" if writer.meta["oks"] is None else f", OKS {writer.meta['oks']:.3f} on test subjects"
    print(f"{path}: {len(clips)} clips, {writer.frames} poses, taught by {config.teacher}{agreement}")


def clip_rows(store: Store) -> list[dict[str, Any]]:
    """The clips' rows without the columns that every store adds."""
    return store.clips.drop(columns=list(OFFSETS)).to_dict("records")


def training_samples(
    dataset: str, store: Store, config: poses.Config, seed: int, workers: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Silhouettes of training subjects, sampled over all their clips, and the teacher's keypoints in their pixels."""
    clip = np.repeat(np.arange(len(store)), store.clips["length"])
    frame = np.arange(len(clip)) - store.clips["start"].to_numpy()[clip]
    training = np.flatnonzero((store.clips["split"] == "train").to_numpy()[clip])
    if not len(training):
        raise ValueError(f"{store.path} has no clip of a training subject to teach the student with; look at its splits")
    sampled = np.sort(np.random.default_rng([seed, 1]).choice(training, min(config.frames, len(training)), replace=False))
    rows, samples = clip_rows(store), []
    for index in np.unique(clip[sampled]).tolist():
        silhouettes = frame[sampled[clip[sampled] == index]]
        numbers, boxes = store.clip(index, "frame")[silhouettes, 0], store.clip(index, "box")[silhouettes]
        samples.append((rows[index], numbers, boxes))
    taught = taught_keypoints(dataset, samples, config, workers)
    taught = tqdm(taught, total=len(samples), desc=f"poses {dataset}: {config.teacher}", unit="clip", mininterval=1.0)
    labels = [
        keypoints.to_silhouette(keypoints_px, boxes, store.meta["size_hw"])
        for keypoints_px, (_, _, boxes) in zip(taught, samples, strict=True)
    ]
    return store.field("silhouette")[sampled], np.concatenate(labels)


def taught_keypoints(
    dataset: str, samples: Sequence[tuple[dict[str, Any], np.ndarray, np.ndarray]], config: poses.Config, workers: int | None
) -> Iterator[np.ndarray]:
    """The teacher's keypoints in each clip's frames: of `mediapipe`, which works on one thread, by many processes."""
    tasks = [(dataset, *sample, config) for sample in samples]
    if config.teacher != "mediapipe":
        yield from starmap(teacher_keypoints, tasks)
        return
    with pool(workers) as (executor, at_once):
        yield from in_order(executor, teacher_keypoints, tasks, ahead=4 * at_once)


def teacher_keypoints(
    dataset: str, row: dict[str, Any], numbers: np.ndarray, boxes_xyxy_px: np.ndarray, config: poses.Config
) -> np.ndarray:
    """The teacher's keypoints in these frames of a clip, in their pixels; the boxes show the person."""
    if config.teacher == "truth":
        return true_keypoints(dataset, row)[numbers]
    if config.teacher == "mediapipe":
        from people.video import mediapipe

        weights = mediapipe.landmark_file(config.weights)
        return np.stack(list(mediapipe.person_keypoints(chosen_frames(dataset, row, numbers), boxes_xyxy_px, weights)))
    from people.video import detectors

    weights = detectors.weights_file("keypointrcnn", config.weights)
    return np.stack(list(detectors.person_keypoints(chosen_frames(dataset, row, numbers), weights)))


def chosen_frames(dataset: str, row: dict[str, Any], numbers: np.ndarray) -> list[np.ndarray]:
    """The frames of a clip with these numbers."""
    frames_rgb = list(datasets.find(dataset).frames(Path(row["root"]), row["frames"]))
    return [frames_rgb[number] for number in numbers]


def true_keypoints(dataset: str, row: dict[str, Any]) -> np.ndarray:
    """The layout's keypoints in all frames of a clip, in their pixels."""
    if not has_true_keypoints(row):
        raise ValueError(
            f"clip {row['clip_id']} has no true keypoints to learn from; set poses.{dataset}.teacher to keypointrcnn or "
            "mediapipe in params.yaml and fetch its weights (docs/models.md)"
        )
    return datasets.find(dataset).keypoints(Path(row["root"]), row["keypoints"])


def has_true_keypoints(row: dict[str, Any]) -> bool:
    """Whether the layout has true keypoints of a clip."""
    return isinstance(row.get("keypoints"), str)


if __name__ == "__main__":
    main(argument("dataset", __doc__))
