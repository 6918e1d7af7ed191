"""How terms are weighted, and when a task stops: cases worked by hand."""

import math

import numpy as np
import pytest
import torch

from people.training.task_weights import Fixed, Scale, TaskStopping, Uncertainty, total


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


EQ_2 = {"attributes": Scale(1.0, 2.0), "identity": Scale(0.5, 2.0)}
EQ_3 = {"attributes": Scale(1.0, 1.0), "identity": Scale(1.0, 2.0)}
LOSSES = {"attributes": torch.tensor(0.7), "identity": torch.tensor(0.2)}


def descended(weighting: Uncertainty, terms: dict[str, torch.Tensor], steps: int = 400) -> Uncertainty:
    """The weighting after steps down the gradient of its total, the terms being constant."""
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        weighting.total(terms).backward()
        optimizer.step()
        weighting.step_end()
    return weighting


def test_given_weights_are_the_weighted_sum_and_a_stopped_term_weighs_nothing():
    weights = {"identity": 1.0, "age": 0.2}
    terms = {"identity": torch.tensor(2.0), "age": torch.tensor(5.0)}
    assert Fixed(weights).lambdas() == weights
    assert Fixed(weights).total(terms).item() == total(terms, weights).item() == pytest.approx(3.0)
    assert Fixed(weights).total(terms, {"age"}).item() == 2.0
    assert not list(Fixed(weights).parameters())


def test_uncertainty_weighting_is_eq_2_term_by_term():
    weighting = Uncertainty(EQ_2, {}, (-3, 3))
    assert weighting.lambdas() == {"attributes": 1.0, "identity": 0.5}  # s = 0
    with torch.no_grad():
        weighting.s.copy_(torch.tensor([0.4, -0.3]))
    expected = 0.7 * math.exp(-0.8) + 0.2 * math.exp(0.6) / 2 + 0.4 - 0.3
    assert weighting.total(LOSSES).item() == pytest.approx(expected)


def test_at_its_optimum_eq_2_gives_both_tasks_half_and_eq_3_gives_attributes_one():
    found = descended(Uncertainty(EQ_2, {}, (-3, 3)), LOSSES)
    variance = (2 * found.s).exp().tolist()  # σ² = exp 2s
    assert variance == pytest.approx([2 * 0.7, 0.2], rel=1e-3)  # σ_ar² = 2 L_ar, σ_id² = L_id
    assert [found.lambdas()[name] * LOSSES[name].item() for name in EQ_2] == pytest.approx([0.5, 0.5], rel=1e-3)
    printed = descended(Uncertainty(EQ_3, {}, (-3, 3)), LOSSES)
    assert [printed.lambdas()[name] * LOSSES[name].item() for name in EQ_3] == pytest.approx([1.0, 0.5], rel=1e-3)


def test_given_and_learned_weights_may_be_mixed():
    weighting = Uncertainty({"identity": Scale(0.5, 2.0)}, {"junk": 0.3}, (-3, 3))
    terms = {"junk": torch.tensor(2.0), "identity": torch.tensor(4.0)}
    assert weighting.lambdas() == {"identity": 0.5, "junk": 0.3}
    assert weighting.total(terms).item() == pytest.approx(0.3 * 2 + 0.5 * 4)


def test_a_stopped_term_moves_its_learned_weight_no_more():
    weighting = Uncertainty(EQ_2, {}, (-3, 3))
    assert weighting.total(LOSSES, {"attributes"}).item() == pytest.approx(0.5 * 0.2)
    weighting.total(LOSSES, {"attributes"}).backward()
    assert weighting.s.grad is not None
    assert weighting.s.grad[0] == 0
    assert weighting.s.grad[1] != 0


def test_a_loss_that_reaches_zero_takes_its_s_to_the_bound_and_it_comes_back():
    weighting = descended(Uncertainty(EQ_2, {}, (-1, 2)), LOSSES | {"identity": torch.tensor(0.0)})
    assert weighting.s[1].item() == -1
    assert descended(weighting, LOSSES | {"identity": torch.tensor(1.0)}).s[1].item() == pytest.approx(0, abs=1e-3)


def test_a_learned_weight_of_no_term_or_without_room_is_refused():
    with pytest.raises(ValueError, match="junk"):
        Uncertainty(EQ_2, {}, (-3, 3)).total(LOSSES | {"junk": torch.tensor(1.0)})
    with pytest.raises(ValueError, match="needs a term whose weight is learned"):
        Uncertainty({}, {"identity": 1.0}, (-3, 3))
    with pytest.raises(ValueError, match="low < 0 < high"):
        Uncertainty(EQ_2, {}, (0, 3))


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
