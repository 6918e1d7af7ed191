"""How terms are weighted, and when a task stops: cases worked by hand."""

import pytest
import torch

from people.weighting import TaskStopping, total


def fed(errors: list[float], validation: float, weight: float = 0.5, window: int = 2, threshold: float = 1.0) -> TaskStopping:
    stopping = TaskStopping(window, threshold)
    for error in errors:
        stopping.update({"age": float(error)}, {"age": float(validation)}, {"age": weight})
    return stopping


def test_the_total_is_the_main_loss_and_the_weighted_others():
    terms = {"identity": torch.tensor(2.0), "gender": torch.tensor(3.0), "age": torch.tensor(5.0)}
    assert total(terms, {"identity": 1.0, "gender": 0.1, "age": 0.2}).item() == pytest.approx(3.3)


def test_a_weight_of_zero_keeps_the_graph_and_passes_no_gradient():
    values = torch.ones(2, requires_grad=True)
    total({"identity": values[0], "age": values[1] ** 2}, {"identity": 1.0, "age": 0.0}).backward()
    assert values.grad.tolist() == [1, 0]


def test_a_term_without_a_weight_is_refused():
    with pytest.raises(ValueError, match="age"):
        total({"identity": torch.tensor(1.0), "age": torch.tensor(1.0)}, {"identity": 1.0})


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


def test_denominators_of_zero_do_not_divide():
    # errors 0, 6, 6: k·median = 12 = sum, and the least error is 0
    assert fed([0.0, 6.0, 6.0], 7).stopped == {"age"}
    assert fed([0.0, 0.0, 0.0], 0.0).stopped == set()


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
