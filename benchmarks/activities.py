"""The paper's activity experiment on real poses: walking, running, sitting and standing people of MPII Human Pose.

    python -m benchmarks.activities path/to/mpii --seeds 3 [--most 531] [--joints limbs] [--aspect lost]

Each seed draws at most `--most` poses of every activity, divides them into folds in which no image is in two, and trains a
classifier of the paper's size in each; nearest neighbour and majority learn from the same poses. A second table has as many
poses of each activity as the rarest has. Metrics are means over folds, then mean and deviation over seeds. An activity is
MPII's of the whole image, and its table does not say which images are of one video, so a video may be in two folds.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks.multipose import model_block
from people.datasets import mpii
from people.records import ACTIVITIES, COCO_KEYPOINTS
from people.systems.multipose.data import FEWEST_JOINTS
from people.systems.multipose.model import poses
from people.systems.multipose.model.config import Activity
from people.systems.multipose.score import activities
from people.systems.multipose.score.activities import CrossValidation, Poses
from stages.shared.project import params

CLASSES = len(ACTIVITIES)
OURS = "classifier"


class Outcome(NamedTuple):
    """Of one seed: the metrics of each method, and the classifier's normalised confusion matrix."""

    metrics: dict[str, dict[str, float]]
    confusion: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=531, help="poses of an activity; one with fewer keeps all")
    parser.add_argument("--joints", default="mpii", choices=("mpii", "limbs"), help="all 16, or the twelve that COCO has too")
    parser.add_argument("--aspect", default="kept", choices=poses.ASPECTS)
    parser.add_argument("--epochs", type=int, help="of each training; those of params.yaml if left out")
    asked = parser.parse_args()
    config = CrossValidation(**params("score", "multipose", "cross_validation"))
    config = replace(config, epochs=asked.epochs or config.epochs)
    classifier = Activity(**model_block(paper=True)["activity"])
    everybody, left_out = labelled_poses(asked.folder, asked.joints, asked.aspect)
    counts = np.bincount(everybody.activity, minlength=CLASSES)
    print(f"{', '.join(map(counted, ACTIVITIES, counts))} poses; {left_out} of fewer than {FEWEST_JOINTS} joints left out")
    print(f"{everybody.vector.shape[1]} coordinates: {asked.joints}, aspect {asked.aspect}")
    print(f"{classifier}; {config}", flush=True)
    for most in sorted({asked.most, int(counts.min())}, reverse=True):
        used = np.minimum(counts, most)
        print(f"\n{', '.join(map(counted, ACTIVITIES, used))} poses used, {used.sum()} in all", flush=True)
        started = time.perf_counter()
        outcomes = [validated(everybody, most, classifier, config, seed) for seed in range(1, asked.seeds + 1)]
        print(table(outcomes).to_string())
        shares = np.mean([outcome.confusion for outcome in outcomes], axis=0)
        print(f"\n{OURS}: share in % of the activity in each row that is told as the column's")
        print(pd.DataFrame(100 * shares, ACTIVITIES, ACTIVITIES).to_string(float_format="{:.1f}".format))
        print(f"{asked.seeds} seeds in {time.perf_counter() - started:.0f} s, {torch.get_num_threads()} threads", flush=True)


def counted(name: str, count: int) -> str:
    return f"{count} {name}"


def labelled_poses(folder: Path, joints: str, aspect: str) -> tuple[Poses, int]:
    """The poses of the four activities as vectors, and how many are left out because too few of their joints are labelled."""
    found = mpii.poses(folder)
    chosen = [index for index, name in enumerate(mpii.JOINTS) if joints == "mpii" or name in COCO_KEYPOINTS]
    joints_px = found.joints_px[:, chosen]
    is_there = ~np.isnan(joints_px[..., 0])
    keypoints = np.concatenate([np.where(is_there[..., None], joints_px, 0), is_there[..., None]], axis=2)
    code = np.array([ACTIVITIES.index(activity) if activity else -1 for activity in found.activity])
    is_enough = is_there.sum(axis=1) >= FEWEST_JOINTS
    rows = np.flatnonzero((code >= 0) & is_enough)
    vectors = poses.coordinates(torch.from_numpy(keypoints[rows]).float(), aspect).numpy()
    _, image = np.unique(np.array(found.images)[rows], return_inverse=True)
    return Poses(vectors, code[rows], image), int(((code >= 0) & ~is_enough).sum())


def drawn(everybody: Poses, most: int, seed: int) -> Poses:
    """At most so many poses of each activity, drawn at random, in their order."""
    draw = np.random.default_rng(seed)
    kept = [draw.permutation(np.flatnonzero(everybody.activity == code))[:most] for code in range(CLASSES)]
    return everybody.rows(np.sort(np.concatenate(kept)))


def validated(everybody: Poses, most: int, classifier: Activity, config: CrossValidation, seed: int) -> Outcome:
    """Cross-validation of what one seed draws."""
    chosen = drawn(everybody, most, seed)
    fold = activities.folds_of(chosen, config.folds, seed)
    found = activities.cross_validate(chosen, fold, classifier, config, CLASSES, seed)
    confusion = activities.confusion_shares(found.predicted[OURS], chosen.activity, CLASSES)
    return Outcome(found.averages(chosen.activity, CLASSES), confusion)


def table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Each method's metrics in %, as mean ± deviation over seeds."""
    rows = {}
    for method, metrics in outcomes[0].metrics.items():
        rows[method] = {name: shown([outcome.metrics[method][name] for outcome in outcomes]) for name in metrics}
    return pd.DataFrame.from_dict(rows, orient="index")


def shown(values: Sequence[float]) -> str:
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"


if __name__ == "__main__":
    main()
