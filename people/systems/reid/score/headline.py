"""The headline figures of the multi-task re-identification."""

from collections.abc import Mapping

from people.evaluation.headline import Entry, Figure, entries

HISTOGRAM, MOST_FREQUENT = "nearest colour histogram", "most frequent class"
FIGURES = (
    Figure("map_official", "mAP", "retrieval.official.map", "retrieval.official.histogram_map", HISTOGRAM),
    Figure("rank1_official", "Rank-1", "retrieval.official.rank_1", "retrieval.official.histogram_rank_1", HISTOGRAM),
    Figure("map_paper", "mAP, the paper's protocol", "retrieval.paper.map", "retrieval.paper.histogram_map", HISTOGRAM),
    Figure(
        "attributes_accuracy", "Attributes, mean accuracy", "attributes.accuracy.mean", "attributes.most_frequent.mean",
        MOST_FREQUENT,
    ),
    Figure(
        "attributes_balanced", "Attributes, mean balanced accuracy", "attributes.balanced_accuracy.mean",
        "attributes.most_frequent_balanced_accuracy.mean", MOST_FREQUENT,
    ),
)  # fmt: skip


def headline_figures(metrics: Mapping[str, float]) -> list[Entry]:
    """Retrieval and attributes, as far as they were measured."""
    return entries(FIGURES, metrics)
