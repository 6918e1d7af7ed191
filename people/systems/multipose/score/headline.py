"""The headline figures of MultiPoseNet."""

from collections.abc import Mapping

from people.evaluation.headline import Entry, Figure, entries
from people.systems.multipose.paper import STRONGEST

FIGURES = (
    Figure("box_ap", "Boxes, AP", "boxes.all.ap"),
    Figure("keypoint_ap", "Keypoints, AP", "keypoints.all.ap", "keypoints_strongest.all.ap", STRONGEST),
    Figure(
        "keypoint_ap_true_boxes", "Keypoints in true boxes, AP", "keypoints_true_boxes.all.ap",
        "keypoints_strongest_true_boxes.all.ap", STRONGEST,
    ),
    Figure(
        "residual_ap", "Pose residual network alone, AP", "residual.all.ap", "residual_nearest.all.ap",
        "nearest to the mean pose",
    ),
    Figure(
        "activity_f1", "Activities of labelled poses, mean F1", "activity.labelled.f1", "activity.nearest_neighbour.f1",
        "nearest neighbour",
    ),
)  # fmt: skip


def headline_figures(metrics: Mapping[str, float]) -> list[Entry]:
    """People, their keypoints and their activities, as far as they were measured."""
    return entries(FIGURES, metrics)
