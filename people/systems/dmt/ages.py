"""Age where there is little to learn it from: predictions leave the centre only as far as validation subjects bear out."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from people import metrics
from people.systems.dmt.windows import Windows


@dataclass(frozen=True)
class Shrinkage:
    """How far age predictions may leave the centre of the training ages: 0 not at all, 1 as far as the network says."""

    centre_years: float
    factor: float

    def __call__(self, predicted_years: Float[np.ndarray, " clip"]) -> Float[np.ndarray, " clip"]:
        return self.centre_years + self.factor * (predicted_years - self.centre_years)


def shrinkage(validation: Windows, centre_years: float) -> Shrinkage:
    """The smallest factor, in tenths, that is as good on validation subjects as the best: within one standard error of it.

    The error is the MAE over each subject's sequences, the standard error that of the subjects' differences to the best
    factor (the one-standard-error rule of Breiman et al., 1984). A handful of validation subjects cannot tell a small gain
    from luck; then the centre is the safer answer. 0 without any known age, and with one subject alone.
    """
    true_years = validation.clips["age_years"].to_numpy(dtype=float)
    predicted_years = metrics.group_mean(validation.age_years, validation.clip)
    subjects, of_clip = np.unique(
        validation.clips["subject_id"].to_numpy(dtype=str)[~np.isnan(true_years)], return_inverse=True
    )
    if len(subjects) < 2:
        return Shrinkage(centre_years, 0.0)
    factors = [Shrinkage(centre_years, tenths / 10) for tenths in range(11)]
    misses_years = [np.abs(shrunk(predicted_years) - true_years)[~np.isnan(true_years)] for shrunk in factors]
    errors_years = np.stack([np.bincount(of_clip, missed) / np.bincount(of_clip) for missed in misses_years])
    worse_years = errors_years - errors_years[errors_years.mean(axis=1).argmin()]
    standard_error_years = worse_years.std(axis=1, ddof=1) / np.sqrt(len(subjects))
    return factors[int(np.argmax(worse_years.mean(axis=1) <= standard_error_years))]
