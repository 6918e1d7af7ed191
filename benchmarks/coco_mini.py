"""A trained multipose on annotated photos in COCO's format: what it finds, and its pose residual network alone.

    python -m benchmarks.coco_mini path/to/coco path/to/checkpoint.pt [--out folder]

The annotation file is read and written back, and its own annotations are judged as detections. All images are judged, whatever
split they are in, by COCO's official evaluator: keypoints and boxes as the network answers for pictures (`serving`); the same
images at the size of the training's (`stages.scenes`), also in labelled boxes, against the strongest peak of each heat map in
the box and against people who all stand upright; and the pose residual network with labelled boxes and all labelled keypoints
of an image as peaks, against two rules that have not learned anything: the peak nearest to the mean pose, and the peak nearest
to the upright line through the middle of the box.

With `--out` the photos are written with the people found in them.
"""

import argparse
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

from people import checkpoints
from people.config import build
from people.datasets import coco
from people.evaluation import coco as evaluator
from people.evaluation.coco import Detections
from people.evaluation.results import Results
from people.records import Annotation
from people.storage import write_atomic
from people.systems.multipose import data, paper, score, serving
from people.systems.multipose.data import People
from people.systems.multipose.model import FoundPeople, Network, heatmaps
from people.systems.multipose.score import found, pictures
from people.systems.multipose.score.found import Split
from people.video.scenes import Config
from stages import scenes

SPLIT = "train"
SERVED = "found by serving"
TITLES = {
    "keypoints": "keypoints, % of OKS",
    "boxes": "boxes, %",
    "residual": "the pose residual network alone, labelled boxes and keypoints, % of OKS",
}
SHOWN = ("ap", "ap_50", "ap_75", "ap_medium", "ap_large", "ar", "ar_100")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--out", type=Path, help="a folder for the photos with the people found in them")
    parser.add_argument("--least-score", type=float, default=0.4, help="of people who are drawn (0.4)")
    asked = parser.parse_args()
    network, entries = checkpoints.load(asked.checkpoint)
    if not isinstance(network, Network) or not {"keypoints", "detector", "residual"} <= set(entries["spec"]["tasks"]):
        parser.error(f"{asked.checkpoint}: expected a multipose with keypoints, detector and residual; train one")
    clips = coco.read(asked.folder).assign(split=SPLIT)
    truth = [coco.people(asked.folder, location) for location in clips["people"]]
    check_annotations(asked.folder, clips, truth)
    images = [next(iter(coco.frames(asked.folder, location))) for location in clips["frames"]]
    people = serving.find_people(network, entries["statistics"], [image.astype(np.float32) / 255 for image in images])
    scores = torch.cat([each.score for each in people])
    print(f"people found: {len(scores)}, {int((scores >= asked.least_score).sum())} of a score of {asked.least_score} or more")
    with tempfile.TemporaryDirectory() as folder:
        split = split_of(network, entries, clips, Path(folder))
        judge(network, split, truth, people)
    if asked.out:
        for location, image, each in zip(clips["frames"], images, people, strict=True):
            drawn = pictures.with_found_people(image, each, asked.least_score)
            _, png = cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
            write_atomic(asked.out / f"{Path(location).stem}.png", png.tobytes())
        print(f"\n{len(images)} pictures in {asked.out}")


# --- annotations -----------------------------------------------------------------------------------------------------


def check_annotations(folder: Path, clips: pd.DataFrame, truth: Sequence[Sequence[Annotation]]) -> None:
    """Print whether the annotation files survive reading and writing, and how their own annotations are judged."""
    for name in sorted({location.partition("!")[0] for location in clips["people"]}):
        content = coco.load(folder / name)
        with tempfile.TemporaryDirectory() as temporary:
            coco.save(Path(temporary) / "copy.json", content)
            is_same = coco.load(Path(temporary) / "copy.json") == content
        counts = f"{len(content['images'])} images, {len(content['annotations'])} annotations"
        print(f"{name}: {counts}; read and written back {'the same' if is_same else 'ANOTHER CONTENT'}")
    everybody = [as_detections([each for each in people if not each.is_crowd]) for people in truth]
    labelled = [as_detections([each for each in people if (each.keypoints_px[:, 2] > 0).any()]) for people in truth]
    boxes, keypoints = evaluator.box_metrics(truth, everybody), evaluator.keypoint_metrics(truth, labelled)
    print(f"its own annotations as detections: box AP {boxes['ap']:.4f}, keypoint AP {keypoints['ap']:.4f}")


def as_detections(people: Sequence[Annotation]) -> Detections:
    """Annotated people as if they had been found."""
    boxes = np.array([each.box_xyxy_px for each in people]).reshape(-1, 4)
    return Detections(boxes, np.ones(len(people)), np.array([each.keypoints_px for each in people]).reshape(-1, 17, 3))


# --- network ---------------------------------------------------------------------------------------------------------


def split_of(network: Network, entries: dict[str, Any], clips: pd.DataFrame, folder: Path) -> Split:
    """What is labelled and found in the images at the size at which the network was trained; activities are not labelled."""
    reads = {"frames": folder / "scenes", "poses": folder / "annotations"}
    scenes.write(reads["frames"], reads["poses"], "coco", clips, Config(entries["spec"]["size_hw"]), workers=1)
    config = build(data.Config, entries["config"]["data"])
    tasks = [task for task in entries["spec"]["tasks"] if task != "activity"]
    samples = data.open_samples(reads, config, SPLIT, tasks)
    assert samples.clips["clip_id"].tolist() == clips["clip_id"].tolist()
    return found.over_split(network, samples, entries["spec"], entries["statistics"], 8, (1.0,), False)


def judge(network: Network, split: Split, truth: Sequence[Sequence[Annotation]], people: Sequence[FoundPeople]) -> None:
    """Print all tables."""
    image_sets = coco.protocol(split.clips, SPLIT)
    with_people = [each for each in image_sets if score.image_set_size(split, each)["people"]]
    with_keypoints = [each for each in image_sets if score.has_keypoints(split, each)]
    results = Results(metrics={})
    score.judge_keypoints(split, with_keypoints, results)
    score.judge_boxes(split, with_people, results)
    score.judge_residual(network, split, with_keypoints, results)
    tables = {name: list(table.to_dict("records")) for name, table in results.tables.items()}
    tables["boxes"] = [{"images": row["images"], "boxes": "found boxes"} | row for row in tables["boxes"]]
    as_served = [found.detections(each, 1.0) for each in people]
    for image_set in with_people:
        rows = score.rows_of(split, image_set)
        served = [truth[row] for row in rows], [as_served[row] for row in rows]
        tables["boxes"].append({"images": image_set.name, "boxes": SERVED} | percent(evaluator.box_metrics, *served))
        if image_set in with_keypoints:
            facts = {"images": image_set.name, "boxes": SERVED, "method": paper.OURS}
            tables["keypoints"].append(facts | percent(evaluator.keypoint_metrics, *served))
    for way, (table, facts, people_by) in RULES.items():
        posed = [people_by(network, each) for each in split.labelled]
        for image_set in with_keypoints:
            rows = score.rows_of(split, image_set)
            scale = split.clips["scale"].to_numpy(float)
            judged = score.truth_of(split, rows), [found.detections(posed[row], scale[row]) for row in rows]
            row = {"images": image_set.name, **facts, "method": way}
            tables[table].append(row | percent(evaluator.keypoint_metrics, *judged))
    print("\n" + shown([score.image_set_size(split, each) for each in image_sets]))
    for name, title in TITLES.items():
        print(f"\n{title}\n{shown(tables[name])}")
    print_similarity(network, split)


def print_similarity(network: Network, split: Split) -> None:
    """The similarity itself, which tells small differences where all precisions are 0."""
    by_method = {
        paper.OURS: [each.in_true_boxes for each in split.found],
        paper.STRONGEST: [each.strongest_in_true_boxes for each in split.found],
        "the mean pose": [mean_pose(network, each) for each in split.labelled],
    }
    print("\nmean similarity (OKS) of labelled people in true boxes, mean over images")
    for method, people in by_method.items():
        values = [found.similarity(each, true) for each, true in zip(people, split.labelled, strict=True)]
        print(f"{method:>26} {np.nanmean(values):.3f}")


def percent(metrics: Callable[..., dict[str, float]], truth: Any, predictions: Any) -> dict[str, float]:
    return {name: round(100 * value, 2) for name, value in metrics(truth, predictions).items()}


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """A table of text, of all metrics those that are `SHOWN`, ordered by image set."""
    order = list(dict.fromkeys(row["images"] for row in rows))
    table = pd.DataFrame(sorted(rows, key=lambda row: order.index(row["images"])))
    hidden = [name for name in table if re.match("a[pr](_|$)", str(name)) and name not in SHOWN]
    return table.drop(columns=hidden).to_string(index=False, na_rep="")


# --- rules that have not learned anything ----------------------------------------------------------------------------


def nearest_to_middle(network: Network, people: People) -> FoundPeople:
    """The people of an image in their labelled boxes, each joint at the labelled keypoint in the box, whoever's it is, that is
    nearest to the upright line through the middle of the box; in the middle where the box holds none.
    """
    boxes = torch.from_numpy(people.rows(~people.is_crowd).box_xyxy_px)
    labelled = torch.from_numpy(people.keypoints_px)
    keypoints = torch.zeros(len(boxes), network.joints, 3)
    for row, xyxy in enumerate(boxes):
        middle = (xyxy[:2] + xyxy[2:]) / 2
        keypoints[row, :, :2] = middle
        inside = ((labelled[..., :2] >= xyxy[:2]) & (labelled[..., :2] <= xyxy[2:])).all(2) & (labelled[..., 2] > 0)
        away = torch.where(inside, (labelled[..., 0] - middle[0]).abs(), torch.inf)
        for joint in inside.any(0).nonzero()[:, 0].tolist():
            keypoints[row, joint] = torch.cat([labelled[away[:, joint].argmin(), joint, :2], torch.ones(1)])
    return in_boxes(boxes, keypoints)


def mean_pose(network: Network, people: People) -> FoundPeople:
    """The people of an image in their labelled boxes, all standing upright."""
    boxes = torch.from_numpy(people.rows(~people.is_crowd).box_xyxy_px)
    nothing = heatmaps.Peaks(torch.zeros(0, dtype=torch.long), torch.zeros(0, 2), torch.zeros(0))
    return in_boxes(boxes, score.nearest_to_mean(boxes, nothing, network.joints))


def in_boxes(boxes: torch.Tensor, keypoints: torch.Tensor) -> FoundPeople:
    return FoundPeople(boxes, torch.ones(len(boxes)), keypoints, torch.zeros(len(boxes), 0))


# by method: the table that it is a row of, and that row's further facts
RULES: dict[str, tuple[str, dict[str, str], Callable[[Network, People], FoundPeople]]] = {
    "the mean pose": ("keypoints", {"boxes": "true boxes"}, mean_pose),
    "nearest to the middle of the box": ("residual", {}, nearest_to_middle),
}


if __name__ == "__main__":
    main()
