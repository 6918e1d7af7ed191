import numpy as np
import pandas as pd
import pytest

from people.systems.dmt.ages import Shrinkage, shrinkage
from people.systems.dmt.windows import Windows


def said(predicted_years: list[float], true_years: list[float]) -> Windows:
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
    assert shrinkage(said([20.0, 60.0], [20.0, 60.0]), 40.0).factor == 1.0


def test_predictions_that_say_nothing_become_the_centre():
    assert shrinkage(said([20.0, 60.0, 20.0, 60.0], [60.0, 20.0, 40.0, 40.0]), 40.0).factor == 0.0


def test_predictions_twice_too_far_out_are_halved_by_hand():
    found = shrinkage(said([20.0, 60.0], [30.0, 50.0]), 40.0)
    assert found.factor == pytest.approx(0.5)
    np.testing.assert_allclose(found(np.array([20.0, 60.0])), [30.0, 50.0])


def test_a_gain_that_could_be_luck_is_not_believed():
    helped_one_of_four = said([25.0, 41.0, 39.0, 41.0], [20.0, 40.0, 40.0, 40.0])
    assert shrinkage(helped_one_of_four, 40.0).factor == 0.0


def test_without_a_known_age_nothing_is_believed():
    assert shrinkage(said([20.0], [np.nan]), 40.0) == Shrinkage(40.0, 0.0)
