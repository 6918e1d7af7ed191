"""Shrinkage of age predictions by hand."""

import numpy as np
import pandas as pd
import pytest

from people.systems.dmt.score.ages import Shrinkage, fit_shrinkage
from people.systems.dmt.score.windows import Windows


def predictions(predicted_years: list[float], true_years: list[float]) -> Windows:
    """One clip a subject, one window a clip."""
    count = len(predicted_years)
    return Windows(
        clips=pd.DataFrame({"age_years": true_years, "subject_id": [f"p{number}" for number in range(count)]}),
        clip=np.arange(count),
        signature=np.zeros((count, 1), np.float32),
        gender_probability=np.full((count, 2), 0.5),
        age_years=np.asarray(predicted_years, dtype=np.float64),
        mean_flow=np.zeros((count, 1)),
    )


def test_predictions_that_are_right_stay_as_they_are():
    assert fit_shrinkage(predictions([20.0, 60.0], [20.0, 60.0]), 40.0).factor == 1.0


def test_uncorrelated_predictions_become_the_centre():
    assert fit_shrinkage(predictions([20.0, 60.0, 20.0, 60.0], [60.0, 20.0, 40.0, 40.0]), 40.0).factor == 0.0


def test_predictions_twice_too_far_out_are_halved_by_hand():
    shrinkage = fit_shrinkage(predictions([20.0, 60.0], [30.0, 50.0]), 40.0)
    assert shrinkage.factor == pytest.approx(0.5)
    np.testing.assert_allclose(shrinkage(np.array([20.0, 60.0])), [30.0, 50.0])


def test_a_prediction_that_is_not_finite_chooses_no_factor():
    with pytest.raises(ValueError, match="ages predicted for validation clips: 1 of 2 are not finite"):
        fit_shrinkage(predictions([20.0, np.inf], [30.0, 50.0]), 40.0)


def test_every_subject_counts_once_however_many_sequences_there_are():
    """One subject is predicted 44 of 40 in three sequences (error 4f each), another 28 of 20 in one (20 - 12f)."""
    windows = predictions([44.0, 44.0, 44.0, 28.0], [40.0, 40.0, 40.0, 20.0])
    windows.clips["subject_id"] = ["p0", "p0", "p0", "p1"]
    assert fit_shrinkage(windows, 40.0).factor == 1.0  # 10 - 4f falls; over sequences it would be 5 for any f


def test_without_a_known_age_the_factor_is_0():
    assert fit_shrinkage(predictions([20.0], [np.nan]), 40.0) == Shrinkage(40.0, 0.0)
