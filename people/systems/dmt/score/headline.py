"""The headline figures of DMT."""

from collections.abc import Mapping

from people.evaluation.headline import Entry, Figure, entries
from people.systems.dmt.paper import MEAN_FLOW, TITLES

DECISIONS = ("softmax_product", "nearest_neighbours", "svm", "majority_vote")  # the first that is configured is shown
RANK_1 = {
    "N": ("rank1_normal", "Rank-1, normal walk"),
    "Avg": ("rank1_mean", "Rank-1, mean over normal walk, bag and coating shoes"),
    "TAvg": ("rank1_elapsed", "Rank-1, the same in other clothes"),
}
OTHERS = (
    Figure("gender_accuracy", "Gender, accuracy", "gender.accuracy", "gender.baseline", "majority gender of training people"),
    Figure(
        "age_mae", "Age, mean absolute error", "age.mae_years", "age.baseline_mae_years", "mean age of training people",
        unit="years", better="lower",
    ),
    Figure(
        "verification_accuracy", "Verification, accuracy at equal error rates", "verification.equilibrium_accuracy",
        f"verification.{MEAN_FLOW}_equilibrium_accuracy", "distance of mean flows after PCA",
    ),
)  # fmt: skip


def headline_figures(metrics: Mapping[str, float]) -> list[Entry]:
    """Rank-1 of one decision, gender, age and verification, as far as they were measured."""
    measured = [each for each in DECISIONS if any(f"identification.{each}.{column}" in metrics for column in RANK_1)]
    rank_1 = [
        Figure(name, title, f"identification.{each}.{column}", f"identification.{MEAN_FLOW}.{column}", TITLES[MEAN_FLOW])
        for each in measured[:1]
        for column, (name, title) in RANK_1.items()
    ]
    return entries([*rank_1, *OTHERS], metrics)
