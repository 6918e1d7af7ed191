"""COCO's evaluation: the figures of the official evaluator on others' detections, its rules by hand, keypoint similarity."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from people.datasets import coco as dataset
from people.evaluation import coco
from people.evaluation.coco import Detections
from people.records import Annotation

NOTHING = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 17, 3)))
STATS = {  # by pycocotools 2.0.11
    "boxes": [
        *(0.504581, 0.696973, 0.572982, 0.585626, 0.5194, 0.501398),
        *(0.386813, 0.59368, 0.595353, 0.639811, 0.566421, 0.564291),
    ],
    "keypoints-a": [0.504884, 0.722772, 0.633663, 0.466337, 0.750495, 0.518182, 0.727273, 0.636364, 0.466667, 0.75],
    "keypoints-b": [0.86089, 0.993145, 0.910891, 0.775578, 0.937252, 0.875, 1.0, 0.916667, 0.78, 0.942857],
}


def json_of(path: Path) -> Any:
    return json.loads(path.read_text())


def person(left: float = 10, size: float = 40, crowd: bool = False, labelled: bool = True, number: int = 1) -> Annotation:
    """Somebody in a square, with keypoints on its diagonal."""
    box = np.array([left, 10.0, left + size, 10 + size])
    diagonal = np.linspace(0, size, 17)
    keypoints = np.stack([left + diagonal, 10 + diagonal, np.full(17, 2.0)], axis=1) * labelled
    return Annotation(number, box, keypoints, float(size**2), crowd)


def detections(*people: Annotation, scores: tuple[float, ...] | None = None) -> Detections:
    """Detections exactly where these people are."""
    boxes = np.array([each.box_xyxy_px for each in people]).reshape(-1, 4)
    keypoints = np.array([each.keypoints_px for each in people]).reshape(-1, 17, 3)
    return Detections(boxes, np.array(scores or [0.9] * len(people)), keypoints)


# --- real detections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(STATS))
def test_the_official_figures_of_others_detections(name: str, real_data: Path, capsys: pytest.CaptureFixture[str]):
    kind: coco.Kind = "bbox" if name == "boxes" else "keypoints"
    truth, detected = (json_of(real_data / "coco-eval" / f"{name}-{part}.json") for part in ("truth", "detected"))
    before = json.dumps([truth, detected])
    found = coco.metrics(truth, detected, kind)
    assert tuple(found) == coco.METRICS[kind]
    assert list(found.values()) == pytest.approx(STATS[name], abs=1e-6)
    assert capsys.readouterr().out == ""
    assert json.dumps([truth, detected]) == before


def test_arrays_have_the_figures_of_the_files_from_which_they_were_read(real_data: Path):
    truth, detected = (json_of(real_data / "coco-eval" / f"keypoints-b-{part}.json") for part in ("truth", "detected"))
    predictions, annotations = [], []
    for image in truth["images"]:
        found = [entry for entry in detected if entry["image_id"] == image["id"]]
        scores, keypoints = (np.array([entry[key] for entry in found], dtype=float) for key in ("score", "keypoints"))
        predictions.append(Detections(np.zeros((len(found), 4)), scores, keypoints.reshape(-1, 17, 3)))
        labelled = [entry for entry in truth["annotations"] if entry["image_id"] == image["id"]]
        annotations.append(
            [
                Annotation(
                    entry["id"],
                    np.array([*entry["bbox"][:2], *np.add(entry["bbox"][:2], entry["bbox"][2:])]),
                    np.array(entry["keypoints"], dtype=float).reshape(17, 3),
                    entry["area"],
                    bool(entry["iscrowd"]),
                )
                for entry in labelled
            ]
        )
    found = coco.keypoint_metrics(annotations, predictions)
    assert list(found.values()) == pytest.approx(STATS["keypoints-b"], abs=1e-6)


def test_the_annotations_of_seven_images_as_detections_have_an_average_precision_of_one(real_data: Path):
    root = real_data / "coco-mini"
    truth = [dataset.people(root, location) for location in dataset.read(root)["people"]]
    assert sum(map(len, truth)) == 60
    everybody = [detections(*(each for each in people if not each.is_crowd)) for people in truth]
    labelled = [detections(*(each for each in people if each.keypoints_px.any())) for people in truth]
    keypoints, boxes = coco.keypoint_metrics(truth, labelled), coco.box_metrics(truth, everybody)
    assert keypoints == pytest.approx(dict.fromkeys(keypoints, 1.0))
    assert {name: boxes[name] for name in boxes if "ar_1" not in name} == pytest.approx(
        {name: 1.0 for name in boxes if "ar_1" not in name}
    )
    assert boxes["ar_100"] == 1.0 > boxes["ar_10"] > boxes["ar_1"]  # images have up to 13 people


# --- rules by hand ---------------------------------------------------------------------------------------------------


def test_one_of_two_people_found_is_half_of_the_recall_and_51_of_101_points_of_precision():
    truth = [[person(), person(200)], []]
    found = coco.box_metrics(truth, [detections(person()), NOTHING])
    assert found["ar_100"] == 0.5
    assert found["ap"] == pytest.approx(51 / 101)
    keypoints = coco.keypoint_metrics(truth, [detections(person()), NOTHING])
    assert (keypoints["ar"], keypoints["ap"]) == (0.5, pytest.approx(51 / 101))


def test_somebody_found_in_an_image_without_people_costs_precision():
    truth = [[person()], []]
    for measure in (coco.box_metrics, coco.keypoint_metrics):
        first = measure(truth, [detections(person(), scores=(0.9,)), detections(person(), scores=(0.8,))])
        last = measure(truth, [detections(person(), scores=(0.8,)), detections(person(), scores=(0.9,))])
        assert first["ap"] == pytest.approx(1.0)
        assert last["ap"] == pytest.approx(0.5)
        assert first["ar_100" if "ar_100" in first else "ar"] == 1.0


def test_what_is_found_in_a_region_of_many_people_is_not_counted():
    truth = [[person(), person(200, 90, crowd=True, labelled=False)]]
    inside = [person(200 + 10 * number, 20) for number in range(5)]
    found = detections(*inside, person(), scores=(0.9,) * 5 + (0.1,))
    assert coco.box_metrics(truth, [found])["ap"] == pytest.approx(1.0)
    assert coco.keypoint_metrics(truth, [found])["ap"] == pytest.approx(1.0)
    without = [[person(), person(200, 90, labelled=False)]]
    assert coco.box_metrics(without, [found])["ap"] < 0.2
    assert coco.keypoint_metrics(without, [found])["ap"] < 0.5  # unlabelled keypoints match one detection only


def test_without_predictions_all_figures_are_0_and_without_people_there_are_none():
    truth = [[person()], []]
    for measure in (coco.box_metrics, coco.keypoint_metrics):
        assert set(measure(truth, [NOTHING, NOTHING]).values()) == {0.0}
    for truth in ([], [[]], [[person(crowd=True)]]):
        with pytest.raises(ValueError, match=r"expected somebody labelled for bbox .* got nobody: .* not defined"):
            coco.box_metrics(truth, [NOTHING] * len(truth))
    assert coco.box_metrics([[person(labelled=False)]], [NOTHING])["ap"] == 0
    with pytest.raises(ValueError, match="expected somebody labelled for keypoints"):
        coco.keypoint_metrics([[person(labelled=False)]], [NOTHING])


def test_a_size_of_which_there_is_nobody_has_no_entry():
    found = coco.box_metrics([[person(size=40)]], [detections(person(size=40))])
    assert {"ap_small", "ap_large", "ar_small", "ar_large"}.isdisjoint(found)
    assert found["ap_medium"] == pytest.approx(1.0)
    assert list(coco.keypoint_metrics([[person(size=100)]], [NOTHING])) == [
        name for name in coco.METRICS["keypoints"] if "medium" not in name
    ]


def test_an_annotation_with_the_id_0_can_be_found():
    truth = {
        "images": [{"id": 7}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{"id": 0, "image_id": 7, "category_id": 1, "bbox": [5, 5, 40, 40], "area": 1600, "iscrowd": 0}],
    }
    results = [{"image_id": 7, "category_id": 1, "bbox": [5, 5, 40, 40], "score": 0.5}]
    assert coco.metrics(truth, results, "bbox")["ap"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="results for the 1 images of the truth, got some for 8"):
        coco.metrics(truth, [{**results[0], "image_id": 8}], "bbox")


def test_predictions_that_do_not_fit_are_refused():
    truth, found = [[person()]], detections(person())
    with pytest.raises(ValueError, match="each of the 1 images of the truth, got 2"):
        coco.box_metrics(truth, [found, found])
    with pytest.raises(ValueError, match="expected bbox for each of the 1 scores of image number 0, got 0"):
        coco.box_metrics(truth, [found._replace(boxes_xyxy_px=np.zeros((0, 4)))])
    with pytest.raises(ValueError, match="keypoints predicted in image number 0: 1 of 1 are not finite"):
        coco.keypoint_metrics(truth, [found._replace(keypoints_px=np.full((1, 17, 3), np.nan))])
    with pytest.raises(ValueError, match="scores predicted in image number 0"):
        coco.box_metrics(truth, [found._replace(scores=np.array([np.inf]))])
