"""When an auxiliary task stops: cases worked by hand."""

import numpy as np
import pytest

from people.training.task_weights import TaskStopping


def fed(errors: list[float], validation: float, weight: float = 0.5, window: int = 2, threshold: float = 1.0) -> TaskStopping:
    stopping = TaskStopping(window, threshold)
    for error in errors:
        stopping.update({"age": float(error)}, {"age": float(validation)}, {"age": weight})
    return stopping


def test_the_criterion_of_a_task_by_hand():
    # k = 2, errors 10, 8, 7: k·median = 16, sum = 25, tendency 16/9; gap (9 - 7) / (0.5 · 7) = 4/7
    assert fed([10, 8, 7], 9).criterion("age", 9.0, 0.5) == pytest.approx(16 / 9 * 4 / 7)
    # only the last three errors make the tendency, but the least of all makes the gap: 2·6 / (24 - 12) · (9 - 4) / (0.5 · 4)
    assert fed([4, 12, 6, 6], 9).criterion("age", 9.0, 0.5) == pytest.approx(12 / 12 * 5 / 2)


def test_a_task_stops_when_the_criterion_passes_the_threshold_and_not_before_the_window_is_full():
    assert fed([10, 8], 90).stopped == set()
    assert fed([10, 8, 7], 9).stopped == {"age"}  # 1.016 > 1
    assert fed([10, 8, 7], 8.9).stopped == set()  # 0.965


def test_a_task_without_a_generalisation_gap_goes_on():
    assert fed([7, 7, 7, 7, 7], 6.9).stopped == set()


def test_a_larger_weight_lets_a_task_live_longer():
    assert fed([10, 8, 7], 9, weight=0.5).stopped == {"age"}
    assert fed([10, 8, 7], 9, weight=0.6).stopped == set()


def test_a_denominator_of_zero_does_not_divide():
    # errors 0, 6, 6: k·median = 12 = sum, the first factor is beyond all bounds
    assert fed([0.0, 6.0, 6.0], 7).stopped == {"age"}


def test_a_training_error_that_has_stayed_at_0_stops_a_task_that_does_not_carry_over():
    assert fed([0.5, 0.2, 0.0, 0.0], 0.1).stopped == set()  # it fell within the last three epochs
    assert fed([0.5, 0.2, 0.0, 0.0, 0.0], 0.1).stopped == {"age"}
    assert fed([0.0, 0.001, 0.0], 0.1).stopped == {"age"}
    assert fed([0.0, 0.0, 0.0], 0.0).stopped == set()  # no generalisation gap


def falling(errors: list[float], validation: float = 0.3) -> TaskStopping:
    """By the settings of params.yaml: a window of 5 epochs, a threshold of 50, λ = 0.1."""
    return fed(errors, validation, weight=0.1, window=5, threshold=50.0)


def test_one_epoch_without_an_error_does_not_stop_a_task_that_still_falls():
    # k·median = 5 · 0.275, sum = 1.65, first factor 5; the least error that counts is 0.2: gap (0.3 - 0.2) / (0.1 · 0.2) = 5
    with_zero = falling([0.5, 0.4, 0.0, 0.3, 0.25, 0.2])
    assert with_zero.criterion("age", 0.3, 0.1) == pytest.approx(25)
    assert with_zero.stopped == falling([0.5, 0.4, 0.35, 0.3, 0.25, 0.2]).stopped == set()
    assert falling([0.5, 0.4, 0.0, 0.3, 0.25, 0.2, *[0.2] * 5], validation=0.5).stopped == {"age"}


def test_an_epoch_whose_error_is_unknown_is_left_out_of_those_that_follow():
    unknown = float("nan")
    assert fed([unknown, 10, 8, 7], 9).stopped == {"age"}  # as without it: 1.016 > 1
    assert fed([10, unknown, 8, float("inf"), 7], 9).stopped == {"age"}
    assert fed([unknown, 10, 8], 9).stopped == set()  # two errors are known, not three
    assert fed([unknown, 10, 8, 7], 8.9).stopped == set()
    stopping = fed([10, 8, 7], 8.9)
    stopping.update({"age": unknown}, {"age": 90.0}, {"age": 0.5})
    assert stopping.stopped == set()
    assert stopping.train_errors == {"age": [10, 8, 7]}


@pytest.mark.parametrize("seed", range(20))
def test_errors_above_0_stop_a_task_exactly_when_the_formula_says_so(seed: int):
    draw = np.random.default_rng(seed)
    train, validation = (draw.uniform(0.01, 1, 12) * 0.8 ** np.arange(12) for _ in range(2))
    validation += draw.uniform(0, 1)
    stopping, weight, k = TaskStopping(4, 30.0), float(draw.uniform(0.05, 1)), 4
    expected = False
    for epoch in range(12):
        stopped = stopping.update({"age": train[epoch]}, {"age": validation[epoch]}, {"age": weight})
        if epoch >= k:
            window, least = train[epoch - k : epoch + 1], train[: epoch + 1].min()
            tendency = k * np.median(window) / abs(window.sum() - k * np.median(window))
            expected |= bool(tendency * (validation[epoch] - least) / (weight * least) > 30)
        assert stopped == ({"age"} if expected else set())


def test_a_stopped_task_stays_stopped():
    stopping = fed([10, 8, 7], 9)
    assert stopping.update({"age": 1.0}, {"age": 1.0}, {"age": 0.0}) == {"age"}


def test_an_error_that_is_unknown_or_a_task_without_weight_stops_nothing():
    assert fed([float("nan")] * 4, float("nan")).stopped == set()
    assert fed([10, 8, 7], 9, weight=0.0).stopped == set()


def test_a_resumed_run_stops_where_the_uninterrupted_one_would():
    resumed = TaskStopping(2, 1.0)
    resumed.load_state_dict(fed([10, 8], 9).state_dict())
    assert resumed.update({"age": 7.0}, {"age": 9.0}, {"age": 0.5}) == {"age"}
    again = TaskStopping(2, 1.0)
    again.load_state_dict(resumed.state_dict())
    assert again.state_dict() == {"train_errors": {"age": [10, 8, 7]}, "stopped": ["age"]}


def test_a_threshold_or_window_of_zero_is_refused():
    for window, threshold in [(0, 1.0), (3, 0.0)]:
        with pytest.raises(ValueError, match="window_epochs"):
            TaskStopping(window, threshold)
