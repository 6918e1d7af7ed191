"""The headline figures of a toy."""

from collections.abc import Mapping

from people.evaluation.headline import Entry, Figure, entries

FIGURES = (
    Figure("map_paper", "mAP, the paper's protocol", "retrieval.paper.map", "retrieval.paper.chance", "chance"),
    Figure("map_official", "mAP", "retrieval.official.map", "retrieval.official.chance", "chance"),
    Figure("gender_accuracy", "Gender, accuracy", "gender.accuracy"),
)


def headline_figures(metrics: Mapping[str, float]) -> list[Entry]:
    return entries(FIGURES, metrics)
