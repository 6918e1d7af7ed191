"""Shrinkage of age predictions towards the centre of the training ages, chosen on validation subjects."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from people.evaluation import finite, metrics
from people.systems.dmt.score.windows import Windows


@dataclass(frozen=True)
class Shrinkage:
    """The factor by which predictions keep their distance from the centre of the training ages: 0 none of it, 1 all of it."""

    centre_years: float
    factor: float

    def __call__(self, predicted_years: Float[np.ndarray, " clip"]) -> Float[np.ndarray, " clip"]:
        """The predictions, shrunk."""
        return self.centre_years + self.factor * (predicted_years - self.centre_years)


def fit_shrinkage(validation: Windows, centre_years: float) -> Shrinkage:
    """The factor, in tenths, with the lowest error on validation subjects, the smallest of equals.

    The error is the MAE over each subject's sequences, every subject counting once. 0 with fewer than two subjects of
    known age. (The smallest factor within one standard error of the best one is too small for a dozen subjects.)
    """
    true_years = validation.clips["age_years"].to_numpy(dtype=float)
    is_labelled = ~np.isnan(true_years)
    assert validation.age_years is not None
    predicted_years = metrics.group_mean(validation.age_years, validation.clip)
    subjects, clip_subject = np.unique(validation.clips["subject_id"].to_numpy(dtype=str)[is_labelled], return_inverse=True)
    finite.check("the ages predicted for validation clips", predicted_years)
    if len(subjects) < 2:
        return Shrinkage(centre_years, 0.0)
    candidates = [Shrinkage(centre_years, tenths / 10) for tenths in range(11)]
    clip_errors_years = [np.abs(shrunk(predicted_years) - true_years)[is_labelled] for shrunk in candidates]
    errors_years = [(np.bincount(clip_subject, errors) / np.bincount(clip_subject)).mean() for errors in clip_errors_years]
    return candidates[int(np.argmin(np.round(errors_years, 9)))]
