"""The official evaluation of COCO, by pycocotools: average precision and recall of boxes and of keypoints.

AP is the mean over ten thresholds, 0.5 to 0.95, of overlap of boxes (IoU) or of object keypoint similarity (OKS). A figure in
a name is one threshold in percent, or for the recall of boxes the number of detections an image. Small, medium and large are
people of less than 32^2, up to 96^2 and more pixels. A region of many people, and for keypoints somebody without labelled
keypoints, is not missed where nobody finds it, and what is found there is not wrong.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from people.evaluation import finite
from people.records import COCO_KEYPOINTS, Annotation

Kind = Literal["bbox", "keypoints"]

METRICS: dict[Kind, tuple[str, ...]] = {  # in the order of COCO's `stats`
    "bbox": (
        *("ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large"),
        *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
    ),
    "keypoints": (
        *("ap", "ap_50", "ap_75", "ap_medium", "ap_large"),
        *("ar", "ar_50", "ar_75", "ar_medium", "ar_large"),
    ),
}
_PERSON = {"id": 1, "name": "person"}


class Detections(NamedTuple):
    """The people found in one image; the third number of a keypoint is its own score, which the evaluation does not read."""

    boxes_xyxy_px: Float[np.ndarray, "person 4"]
    scores: Float[np.ndarray, " person"]
    keypoints_px: Float[np.ndarray, "person 17 3"]


def keypoint_metrics(truth: Sequence[Sequence[Annotation]], predictions: Sequence[Detections]) -> dict[str, float]:
    """Average precision and recall of keypoints over images, by the names and with the rules of `metrics`."""
    return metrics(_truth(truth), _results(truth, predictions, "keypoints"), "keypoints")


def box_metrics(truth: Sequence[Sequence[Annotation]], predictions: Sequence[Detections]) -> dict[str, float]:
    """Average precision and recall of boxes over images, by the names and with the rules of `metrics`."""
    return metrics(_truth(truth), _results(truth, predictions, "bbox"), "bbox")


def metrics(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], kind: Kind) -> dict[str, float]:
    """The official metrics of results against truth, both as COCO's JSON files have them.

    Without results all are 0. A size of people of which the truth has nobody has no entry (COCO writes -1); truth without
    anybody is an error. The size of a result is that of its `bbox` where it has one, otherwise that of its keypoints' bounds.
    """
    annotations = [{**entry, "id": number} for number, entry in enumerate(truth["annotations"], start=1)]  # 0 means no match
    if kind == "keypoints":
        labelled = [sum(visibility > 0 for visibility in entry.get("keypoints", ())[2::3]) for entry in annotations]
        for entry, count in zip(annotations, labelled, strict=True):
            entry.setdefault("num_keypoints", count)
    counted = [entry for entry in annotations if not entry.get("iscrowd") and (kind == "bbox" or entry["num_keypoints"])]
    if not counted:
        raise ValueError(
            f"expected somebody labelled for {kind} in the {len(truth['images'])} images of the truth, got nobody: precision "
            "and recall are not defined; evaluate on images with people"
        )
    known = {image["id"] for image in truth["images"]}
    if unknown := sorted({str(entry["image_id"]) for entry in results if entry["image_id"] not in known}):
        raise ValueError(
            f"expected results for the {len(known)} images of the truth, got some for {', '.join(unknown[:5])}, which are not "
            "among them; evaluate on the truth of these images"
        )
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints what it does
        evaluation = COCOeval(*_objects({**truth, "annotations": annotations}, results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(METRICS[kind], evaluation.stats, strict=True) if value > -1}


def _objects(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> tuple[COCO, COCO]:
    """Truth and results as pycocotools takes them; they are copies, for it writes into them."""
    official: Any = COCO()
    official.dataset = dict(truth)
    official.createIndex()
    if results:
        return official, official.loadRes([dict(entry) for entry in results])
    nothing: Any = COCO()
    nothing.dataset = {**truth, "annotations": []}
    nothing.createIndex()
    return official, nothing


def _truth(truth: Sequence[Sequence[Annotation]]) -> dict[str, Any]:
    entries = [
        {
            "image_id": image,
            "category_id": _PERSON["id"],
            "bbox": _xywh(person.box_xyxy_px[None])[0].tolist(),
            "area": person.area_px,
            "iscrowd": int(person.is_crowd),
            "keypoints": person.keypoints_px.ravel().tolist(),
            "num_keypoints": int((person.keypoints_px[:, 2] > 0).sum()),
        }
        for image, people in enumerate(truth)
        for person in people
    ]
    return {"images": [{"id": image} for image in range(len(truth))], "annotations": entries, "categories": [_PERSON]}


def _results(truth: Sequence[Sequence[Annotation]], predictions: Sequence[Detections], kind: Kind) -> list[dict[str, Any]]:
    if len(truth) != len(predictions):
        raise ValueError(
            f"expected predictions for each of the {len(truth)} images of the truth, got {len(predictions)}; predict all of "
            "them, an image without people too"
        )
    results = []
    for image, detections in enumerate(predictions):
        values = detections.boxes_xyxy_px if kind == "bbox" else detections.keypoints_px
        if len(values) != len(detections.scores):
            raise ValueError(
                f"expected {kind} for each of the {len(detections.scores)} scores of image number {image}, got {len(values)}; "
                "correct the predictions"
            )
        finite.check(f"{kind} predicted in image number {image}", values)
        finite.check(f"scores predicted in image number {image}", detections.scores)
        rows = _xywh(values) if kind == "bbox" else values.reshape(-1, 3 * len(COCO_KEYPOINTS))
        results += [
            {"image_id": image, "category_id": _PERSON["id"], "score": score, kind: row}
            for score, row in zip(detections.scores.tolist(), rows.tolist(), strict=True)
        ]
    return results


def _xywh(boxes_xyxy_px: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, "box 4"]:
    return np.concatenate([boxes_xyxy_px[:, :2], np.maximum(boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2], 0)], axis=1)
