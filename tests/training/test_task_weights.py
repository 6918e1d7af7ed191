"""How terms are weighted by their losses: cases worked by hand."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from people.training.task_weights import CLASSIFICATION, METHODS, REGRESSION, Fixed, Weighting, method, total, weighting
from people.training.task_weights.dynamic_weight_average import DynamicWeightAverage
from people.training.task_weights.random_weights import RandomWeights
from people.training.task_weights.uncertainty import SCALES, Uncertainty

LAMBDAS = {"identity": 1.0, "attributes": 1.0}
KINDS = {"identity": REGRESSION, "attributes": CLASSIFICATION, "junk": CLASSIFICATION}
LOSSES = {"identity": torch.tensor(0.2), "attributes": torch.tensor(0.7)}


def built(name: str, lambdas: Mapping[str, float] = LAMBDAS, **parameters: Any) -> Any:
    return weighting(method("it.weighting", {"name": name, **parameters}), lambdas, KINDS)


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


def test_given_weights_are_the_weighted_sum_and_a_stopped_term_weighs_nothing():
    weights = {"identity": 1.0, "age": 0.2}
    terms = {"identity": torch.tensor(2.0), "age": torch.tensor(5.0)}
    assert Fixed(weights).lambdas() == weights
    assert Fixed(weights).lambdas({"age"}) == {"identity": 1.0, "age": 0.0}
    assert Fixed(weights).total(terms).item() == total(terms, weights).item() == pytest.approx(3.0)
    assert Fixed(weights).total(terms, {"age"}).item() == 2.0
    assert not list(Fixed(weights).parameters())


# --- uncertainty


def descended(made: Uncertainty, terms: dict[str, torch.Tensor], steps: int = 400) -> Uncertainty:
    """The weighting after steps down the gradient of its total, the terms being constant."""
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        made.total(terms).backward()
        optimizer.step()
        made.step_end()
    return made


def test_uncertainty_weighting_is_eq_2_term_by_term_and_multiplies_the_numbers_given():
    for given in (1.0, 3.0):
        made = built("uncertainty", {"identity": 1.0, "attributes": given})
        assert made.lambdas() == {"identity": 0.5, "attributes": given}  # s = 0
        with torch.no_grad():
            made.s.copy_(torch.tensor([-0.3, 0.4]))
        expected = 0.2 * math.exp(0.6) / 2 + given * 0.7 * math.exp(-0.8) - 0.3 + 0.4
        assert made.total(LOSSES).item() == pytest.approx(expected)


def test_at_its_optimum_eq_2_gives_both_tasks_half_and_eq_3_gives_attributes_one():
    found = descended(built("uncertainty"), LOSSES)
    variance = (2 * found.s).exp().tolist()  # σ² = exp 2s
    assert variance == pytest.approx([0.2, 2 * 0.7], rel=1e-3)  # σ_id² = L_id, σ_ar² = 2 L_ar
    assert [found.lambdas()[name] * LOSSES[name].item() for name in LOSSES] == pytest.approx([0.5, 0.5], rel=1e-3)
    printed = descended(built("uncertainty", equation="eq_3"), LOSSES)
    assert [printed.lambdas()[name] * LOSSES[name].item() for name in LOSSES] == pytest.approx([0.5, 1.0], rel=1e-3)


def test_a_number_given_to_a_learned_weight_is_taken_back_by_s():
    plain, tenfold = (descended(built("uncertainty", LAMBDAS | {"attributes": given}), LOSSES) for given in (1.0, 10.0))
    assert tenfold.s[1].item() == pytest.approx(plain.s[1].item() + math.log(10) / 2, abs=1e-3)
    assert tenfold.lambdas() == pytest.approx(plain.lambdas(), rel=1e-3)


def test_a_stopped_term_moves_its_learned_weight_no_more():
    made = built("uncertainty")
    assert made.total(LOSSES, {"attributes"}).item() == pytest.approx(0.5 * 0.2)
    made.total(LOSSES, {"attributes"}).backward()
    assert made.s.grad is not None
    assert made.s.grad[0] != 0
    assert made.s.grad[1] == 0


def test_a_loss_that_reaches_zero_takes_its_s_to_the_bound_and_it_comes_back():
    made = descended(built("uncertainty", bounds=[-1, 2]), LOSSES | {"identity": torch.tensor(0.0)})
    assert made.s[0].item() == -1
    assert descended(made, LOSSES | {"identity": torch.tensor(1.0)}).s[0].item() == pytest.approx(0, abs=1e-3)


def test_a_learned_weight_of_no_term_or_without_room_is_refused():
    with pytest.raises(ValueError, match="junk"):
        built("uncertainty").total(LOSSES | {"junk": torch.tensor(1.0)})
    with pytest.raises(ValueError, match="low < 0 < high"):
        Uncertainty(LAMBDAS, {name: SCALES["eq_2"][KINDS[name]] for name in LAMBDAS}, (0, 3))


# --- dynamic weight averaging


def test_weights_follow_the_rates_of_the_last_two_epochs_by_hand():
    made = built("dynamic_weight_average", {"identity": 1.0, "attributes": 0.5}, temperature=2.0)
    assert made.lambdas() == {"identity": 1.0, "attributes": 0.5}
    made.epoch_end({"identity": 4.0, "attributes": 1.0})
    assert made.lambdas() == {"identity": 1.0, "attributes": 0.5}  # no rate is known yet
    made.epoch_end({"identity": 2.0, "attributes": 0.9})
    rates = math.exp(0.5 / 2), math.exp(0.9 / 2)
    expected = {"identity": 2 * rates[0] / sum(rates), "attributes": 0.5 * 2 * rates[1] / sum(rates)}
    assert made.lambdas() == pytest.approx(expected)
    total = sum(expected[name] * LOSSES[name].item() for name in expected)
    assert made.total(LOSSES).item() == pytest.approx(total)
    assert made.lambdas({"identity"}) == {"identity": 0.0, "attributes": 0.5}
    made.epoch_end({"identity": 2.0, "attributes": 0.9})
    assert made.lambdas() == pytest.approx({"identity": 1.0, "attributes": 0.5})  # both stand still


def test_a_term_whose_loss_was_0_or_unknown_has_no_rate():
    made = DynamicWeightAverage(LAMBDAS, 2.0)
    for earlier in (0.0, math.nan):
        made.epoch_end({"identity": earlier, "attributes": 3.0})
        made.epoch_end({"identity": 5.0, "attributes": 3.0})
        assert made.lambdas() == pytest.approx(LAMBDAS)


# --- random weights


def test_random_weights_are_drawn_for_each_step_sum_to_the_number_of_terms_and_follow_the_seed():
    def drawn() -> torch.Tensor:
        torch.manual_seed(4)
        made, steps = RandomWeights({"identity": 1.0, "age": 1.0, "gender": 1.0}), []
        for _ in range(200):
            steps.append(list(made.lambdas().values()))
            made.step_end()
        return torch.tensor(steps)

    weights = drawn()
    torch.testing.assert_close(weights.sum(1), torch.full((200,), 3.0))
    assert len(weights[:, 0].unique()) > 190
    assert weights.mean(0).tolist() == pytest.approx([1.0] * 3, abs=0.2)
    assert torch.equal(weights, drawn())


def test_random_weights_are_the_softmax_of_what_was_drawn():
    torch.manual_seed(4)
    z = torch.randn(2)
    torch.manual_seed(4)
    made = built("random")
    assert list(made.lambdas().values()) == pytest.approx((2 * torch.softmax(z, 0)).tolist())
    assert made.lambdas({"identity"}) == {"identity": 0.0, "attributes": 1.0}


# --- all of them


@pytest.mark.parametrize("name", METHODS)
def test_a_single_term_is_its_number_times_its_loss_whatever_the_method(name: str):
    made = built(name, {"attributes": 0.3})
    assert made.lambdas() == {"attributes": 0.3}
    assert made.total({"attributes": torch.tensor(2.0)}).item() == pytest.approx(0.6)
    assert not made.needs_gradients


@pytest.mark.parametrize("name", METHODS)
def test_a_method_needs_no_more_than_its_name(name: str):
    made = built(name, {"identity": 1.0, "attributes": 0.3, "junk": 2.0})
    assert isinstance(made, Weighting)
    assert set(made.lambdas()) == {"identity", "attributes", "junk"}
    assert all(weight > 0 for weight in made.lambdas().values())


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"name": "pcgard"},
            r"it\.weighting\.name must be one of fixed, uncertainty, dynamic_weight_average, gradnorm, random",
        ),
        ({"equation": "eq_2"}, r"it\.weighting\.name must be one of .*, got None"),
        ("fixed", r"it\.weighting must be a block such as {name: fixed}, got 'fixed'"),
        ({"name": "fixed", "alpha": 1.0}, "alpha"),
        ({"name": "pcgrad", "alpha": 1.0}, "alpha"),
        ({"name": "gradnorm", "alpha": -1.0}, r"objective\.weighting\.alpha must be a number of at least 0, got -1\.0"),
        ({"name": "gradnorm", "alpha": "high"}, "alpha"),
        ({"name": "gradnorm", "learning_rate": 0}, r"learning_rate must be a number above 0, got 0"),
        ({"name": "dynamic_weight_average", "temperature": math.nan}, r"temperature must be a number above 0, got nan"),
        ({"name": "uncertainty", "equation": "eq_4"}, r"equation must be one of eq_2, eq_3, got 'eq_4'"),
        ({"name": "uncertainty", "bounds": [0, 3]}, r"bounds must be \[low, high\], low < 0 < high, got \[0, 3\]"),
        ({"name": "uncertainty", "bounds": 3}, "bounds"),
    ],
)
def test_a_wrong_block_is_refused_by_the_name_of_its_key(block: Any, message: str):
    with pytest.raises(ValueError, match=message):
        method("it.weighting", block)


def test_a_term_of_no_kind_is_refused():
    with pytest.raises(ValueError, match=r"of the kind classification or regression, got \{'age': None\}"):
        weighting(method("it.weighting", {"name": "fixed"}), {"identity": 1.0, "age": 1.0}, {"identity": CLASSIFICATION})
