"""The benchmarks of multipose run on tiny input, and print what they should."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from scene_stores import DATA_BLOCK, MODEL_BLOCK, OBJECTIVE_BLOCK, STANDING, TASKS, person, picture

from benchmarks import activities, coco_mini, multipose
from people.datasets import coco, mpii
from people.records import ACTIVITIES, COCO_KEYPOINTS
from people.storage.serialization import serialize
from people.systems.multipose import model

TEXTS = {"walking": "walking", "running": "running", "sitting": "sitting quietly", "standing": "standing"}
SIZE_HW = (64, 96)
SPEC = {"joints": 17, "activities": list(ACTIVITIES), "grid_hw": [14, 9], "aspect": "kept", "size_hw": [64, 96]}


def run(
    benchmark: Any, arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What a benchmark prints."""
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    benchmark.main()
    return capsys.readouterr().out


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A network of random weights that finds people."""
    torch.manual_seed(0)
    spec = SPEC | {"tasks": list(TASKS)}
    network = model.Network(model.Config(**MODEL_BLOCK), spec)
    assert network.detector is not None
    torch.nn.init.constant_(network.detector.head.classification_head.cls_logits.bias, 0.5)
    entries = {
        "system": "multipose",
        "config": {"data": DATA_BLOCK, "model": MODEL_BLOCK, "objective": OBJECTIVE_BLOCK},
        "spec": spec,
        "statistics": {"mean": torch.full((3, 1, 1), 0.4), "std": torch.full((3, 1, 1), 0.2)},
        "network": network.state_dict(),
        "objective": {},
        "epoch": 1,
        "validation": {"score": 0.0},
    }
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(serialize(entries))
    return path


def mpii_table(folder: Path, counts: dict[str, int]) -> Path:
    """MPII's table of so many people of each activity, with one joint missing."""
    draw, rows = np.random.default_rng(0), []
    for activity, count in counts.items():
        for _ in range(count):
            joints = np.round(100 + 200 * draw.random((len(mpii.JOINTS), 2)))
            joints[3] = -1
            names = [name.replace("right_", "r ").replace("left_", "l ").replace("_", " ") for name in mpii.JOINTS]
            columns = {f"{name}_{axis}": joints[row, i] for row, name in enumerate(names) for i, axis in enumerate("XY")}
            text = {"Scale": 1.0, "Activity": TEXTS[activity], "Category": "any"}
            rows.append({"ID": 0, "NAME": f"{len(rows):09d}.jpg", **columns, **text})
    pd.DataFrame(rows).to_csv(folder / "mpii_joints_activities.csv", index=False)
    return folder


def test_activities_are_told_from_as_many_poses_as_asked_and_as_the_rarest_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = mpii_table(tmp_path, {"walking": 9, "running": 5, "sitting": 7, "standing": 6})
    arguments = [folder, "--seeds", 2, "--most", 8, "--joints", "limbs", "--epochs", 1]
    printed = run(activities, arguments, monkeypatch, capsys)
    assert "9 walking, 5 running, 7 sitting, 6 standing poses; 0 of fewer than 4 joints" in printed
    assert "24 coordinates: limbs, aspect kept" in printed
    assert "8 walking, 5 running, 7 sitting, 6 standing poses used, 26 in all" in printed
    assert "5 walking, 5 running, 5 sitting, 5 standing poses used, 20 in all" in printed
    assert printed.count("nearest neighbour") == 2
    assert "±" in printed


def test_a_missing_joint_is_at_0_and_the_twelve_limb_joints_are_cocos(tmp_path: Path):
    mpii_table(tmp_path, {"walking": 2, "sitting": 1})
    everybody, left_out = activities.labelled_poses(tmp_path, "mpii", "lost")
    assert (everybody.vector.shape, left_out) == ((3, 32), 0)
    np.testing.assert_array_equal(everybody.vector[:, 6:8], 0)
    assert (everybody.vector.min(), everybody.vector.max()) == (0, 1)
    assert everybody.activity.tolist() == [0, 0, 2]
    assert activities.labelled_poses(tmp_path, "limbs", "kept")[0].vector.shape == (3, 24)


def coco_folder(root: Path) -> Path:
    """Three photos of stick figures: one person, two who overlap, nobody."""
    images = [[person((8, 4, 36, 60))], [person((8, 4, 36, 60), 2), person((28, 4, 58, 60), 3)], []]
    listed, annotations, draw = [], [], np.random.default_rng(0)
    (root / "train2017").mkdir(parents=True)
    for number, people in enumerate(images, start=1):
        name = f"{number:012d}.jpg"
        cv2.imwrite(str(root / "train2017" / name), picture(people, SIZE_HW, draw)[..., ::-1])
        listed.append({"id": number, "file_name": name, "height": SIZE_HW[0], "width": SIZE_HW[1]})
        for each in people:
            left, top, right, bottom = each.box_xyxy_px.tolist()
            box = [left, top, right - left, bottom - top]
            polygon = [left, top, right, top, right, bottom, left, bottom]
            facts = {"id": each.annotation_id, "image_id": number, "category_id": 1, "iscrowd": 0, "num_keypoints": 17}
            shape = {"bbox": box, "area": each.area_px, "segmentation": [polygon]}
            annotations.append(facts | shape | {"keypoints": each.keypoints_px.astype(float).ravel().tolist()})
    category = {"id": 1, "name": "person", "keypoints": list(COCO_KEYPOINTS), "skeleton": []}
    content = {"images": listed, "annotations": annotations, "categories": [category]}
    coco.save(root / "annotations" / "person_keypoints_train2017.json", content)
    return root


def test_a_checkpoint_is_judged_on_photos_and_their_annotations_are_right(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder, out = coco_folder(tmp_path / "coco"), tmp_path / "out"
    printed = run(coco_mini, [folder, checkpoint, "--out", out], monkeypatch, capsys)
    assert "3 images, 3 annotations; read and written back the same" in printed
    assert "its own annotations as detections: box AP 1.0000, keypoint AP 1.0000" in printed
    for method in (
        "strongest peak in the box",
        "found by serving",
        "nearest to the mean pose",
        "nearest to the middle of the box",
    ):
        assert method in printed
    assert sorted(path.name for path in out.iterdir()) == [f"{number:012d}.png" for number in (1, 2, 3)]


def test_the_rule_of_the_middle_takes_the_nearest_keypoint_in_the_box_whoevers_it_is(checkpoint: Path):
    network, _ = coco_mini.checkpoints.load(checkpoint)
    boxes = np.array([[0, 0, 20, 40], [8, 0, 48, 40]], np.float32)
    keypoints = np.zeros((2, 17, 3), np.float32)
    keypoints[0, :2] = (11, 5, 2)
    keypoints[1, 0] = (26, 5, 2)
    people = coco_mini.People(boxes, keypoints, np.ones(2, np.float32), np.zeros(2, bool), np.zeros(2, np.int64))
    found = coco_mini.nearest_to_middle(network, people).keypoints_px  # type: ignore[arg-type]
    assert found[:, :3].tolist() == [[[11, 5, 1], [11, 5, 1], [10, 20, 0]], [[26, 5, 1], [11, 5, 1], [28, 20, 0]]]


def test_one_backbone_is_timed_against_two_with_as_many_people_as_asked(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments = [checkpoint, "--size", 64, 96, "--people", 2, "--times", 2, "--batches", 1, 2, "--clock", "processor"]
    printed = run(multipose, arguments, monkeypatch, capsys)
    assert printed.count("times as long as everything, one backbone") == 2
    assert "ms an image, 2 at a time" in printed
    for name in ("keypoints and detector, a backbone each", "pose residual network and assignment", "activities"):
        assert name in printed
    with pytest.raises(SystemExit):
        run(multipose, [checkpoint, "--size", 64, 96, "--people", 40], monkeypatch, capsys)


def test_the_people_of_the_benchmark_are_those_that_the_network_is_made_to_find(checkpoint: Path):
    one, two = multipose.networks(checkpoint, paper=False)
    assert (one.config.shared, two.config.shared) == (True, False)
    one.found = multipose.people_in(one, SIZE_HW, 2)
    (found,) = one.people(torch.randn(1, 3, *SIZE_HW))
    order = found.box_xyxy_px[:, 0].argsort()
    torch.testing.assert_close(found.box_xyxy_px[order], one.found.box_xyxy_px)
    assert len(STANDING) == len(multipose.MEAN_POSE)
    assert multipose.model_block(paper=True)["backbone"] == "resnet50"
