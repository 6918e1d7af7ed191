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
    """The factor, in tenths, with the smallest MAE on validation subjects; of equals the smallest, 0 without any known age."""
    true_years = validation.clips["age_years"].to_numpy(dtype=float)
    predicted_years = metrics.group_mean(validation.age_years, validation.clip)
    known = ~np.isnan(true_years)
    if not known.any():
        return Shrinkage(centre_years, 0.0)
    factors = [Shrinkage(centre_years, tenths / 10) for tenths in range(11)]
    mae_years = [metrics.mean_absolute_error(shrunk(predicted_years)[known], true_years[known]) for shrunk in factors]
    return factors[int(np.argmin(mae_years))]
