"""Weightings that need one gradient for each term, against autograd, naive twins and numbers by hand."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from people.training.task_weights import Fixed
from people.training.task_weights.gradient_surgery import METHODS, GradientSurgery, combination
from people.training.task_weights.gradnorm import GradNorm

LAMBDAS = {"identity": 1.0, "gender": 0.5, "age": 2.0}


class Net(nn.Module):
    """A trunk of two layers and a head for each of three terms."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.ModuleList([nn.Linear(5, 6), nn.Linear(6, 4)])
        self.heads = nn.ModuleDict({name: nn.Linear(4, 3) for name in LAMBDAS})
        self.unused = nn.Linear(2, 2)

    def forward(self, values: Tensor) -> dict[str, Tensor]:
        features = torch.tanh(self.trunk[1](torch.tanh(self.trunk[0](values))))
        targets = {"identity": 0.3, "gender": -1.0, "age": 4.0}
        return {name: (head(features) - targets[name]).square().mean() for name, head in self.heads.items()}


@pytest.fixture
def net() -> Net:
    return Net()


def values(seed: int = 1) -> Tensor:
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(seed))


def stepped(weighting: Any, net: nn.Module, terms: Mapping[str, Tensor], stopped: frozenset[str] = frozenset()) -> None:
    """Fill the gradients as the training loop does."""
    net.zero_grad()
    loss = weighting.total(terms, stopped)
    weighting.backward(loss, terms, stopped, list(net.parameters()), Tensor.backward)


def gradients(net: nn.Module) -> dict[str, Tensor | None]:
    return {name: None if each.grad is None else each.grad.clone() for name, each in net.named_parameters()}


# --- GradNorm


def naive_gradient(net: Net, terms: dict[str, Tensor], first: dict[str, Tensor], w: Tensor, alpha: float) -> Tensor:
    """∂L_grad / ∂w by autograd through the norms of the gradients."""
    w = w.clone().requires_grad_()
    norms = []
    for weight, (name, term) in zip(w, terms.items(), strict=True):
        (gradient,) = torch.autograd.grad(weight * LAMBDAS[name] * term, net.trunk[1].weight, create_graph=True)
        norms.append(gradient.norm())
    ratios = torch.stack([terms[name].detach() / first[name].detach() for name in terms])
    norms = torch.stack(norms)
    target = (norms.mean() * (ratios / ratios.mean()) ** alpha).detach()
    return torch.autograd.grad((norms - target).abs().sum(), w)[0]


@pytest.mark.parametrize("alpha", [0.0, 0.12, 1.5])
def test_gradnorm_descends_l_grad_with_adam_and_keeps_the_sum_of_its_weights(net: Net, alpha: float):
    made = GradNorm(LAMBDAS, alpha, 0.025)
    twin = nn.Parameter(torch.ones(3))
    adam = torch.optim.Adam([twin], lr=0.025)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    first = net(values(0))
    for step in range(12):
        terms = net(values(step))
        twin.grad = naive_gradient(net, terms, first, twin.detach(), alpha)
        stepped(made, net, terms)
        adam.step()
        twin.data *= 3 / twin.data.sum()
        optimizer.step()
        made.step_end()
        torch.testing.assert_close(made.w, twin.detach(), rtol=1e-4, atol=1e-5)
        assert made.w.sum().item() == pytest.approx(3, rel=1e-5)
    assert (made.w - 1).abs().max() > 0.1
    assert made.lambdas() == pytest.approx({name: LAMBDAS[name] * w for name, w in zip(LAMBDAS, made.w.tolist(), strict=True)})


def test_the_network_gets_the_gradients_of_the_weighted_sum(net: Net):
    made = GradNorm(LAMBDAS, 1.5, 0.025)
    made.w.copy_(torch.tensor([0.5, 1.0, 1.5]))
    stepped(made, net, net(values()))
    ours, terms = gradients(net), net(values())
    net.zero_grad()
    (0.5 * 1.0 * terms["identity"] + 1.0 * 0.5 * terms["gender"] + 1.5 * 2.0 * terms["age"]).backward()
    for name, expected in gradients(net).items():
        assert (ours[name] is None) == (expected is None), name
        if expected is not None:
            torch.testing.assert_close(ours[name], expected)


def test_gradnorm_brings_gradients_of_unlike_size_to_like_norms(net: Net):
    scales = {"identity": 1.0, "gender": 30.0, "age": 0.02}
    made = GradNorm(scales, 0.0, 0.025)

    def norms() -> list[float]:
        terms = net(values())
        of = [torch.autograd.grad(made.lambdas()[name] * terms[name], net.trunk[1].weight, retain_graph=True) for name in terms]
        return [gradient.norm().item() for (gradient,) in of]

    before = max(norms()) / min(norms())
    for _ in range(400):
        stepped(made, net, net(values()))
        made.step_end()
    assert max(norms()) / min(norms()) < 2 < 20 < before


def test_a_term_that_lags_behind_weighs_more(net: Net):
    made = GradNorm({"identity": 1.0, "age": 1.0}, 1.5, 0.1)
    losses, norms = torch.ones(2), torch.ones(2)
    assert made.gradient(losses, norms, ["identity", "age"]).tolist() == [0, 0]  # the first step: alike
    falls = made.gradient(torch.tensor([0.2, 0.9]), norms, ["identity", "age"])
    assert falls.tolist() == [1, -1]  # descending it, that of identity falls and that of age rises


def test_a_term_that_begins_with_a_loss_of_0_gets_its_first_loss_later():
    made = GradNorm({"identity": 1.0, "age": 1.0}, 1.0, 0.1)
    for loss in (0.0, 0.5):
        assert made.gradient(torch.tensor([1.0, loss]), torch.ones(2), ["identity", "age"]).isfinite().all()
    assert made.initial.tolist() == [1.0, 0.5]


def test_a_stopped_term_weighs_nothing_and_its_weight_stays(net: Net):
    made = GradNorm(LAMBDAS, 1.5, 0.025)
    for _ in range(3):
        stepped(made, net, net(values()), frozenset({"gender"}))
        made.step_end()
    assert made.w[1] == 1
    assert made.w[[0, 2]].sum().item() == pytest.approx(2, rel=1e-5)
    assert made.lambdas({"gender"})["gender"] == 0
    assert made.lambdas({"gender"})["identity"] + made.lambdas({"gender"})["age"] / 2 == pytest.approx(2)


def test_the_weight_whose_gradients_are_compared_is_the_last_that_all_terms_reach(net: Net):
    made = GradNorm(LAMBDAS, 1.5, 0.025)
    stepped(made, net, net(values()))
    weights = [name for name, parameter in net.named_parameters() if parameter.ndim >= 2]
    assert weights[int(made.layer)] == "trunk.1.weight"
    apart = nn.ModuleList([nn.Linear(2, 1), nn.Linear(2, 1)])
    terms = {name: layer(torch.ones(2)).square().sum() for name, layer in zip(("identity", "age"), apart, strict=True)}
    with pytest.raises(ValueError, match=r"gradnorm needs a weight .* none for identity, age; choose another weighting"):
        stepped(GradNorm({"identity": 1.0, "age": 1.0}, 1.5, 0.025), apart, terms)


# --- gradient surgery


def points(*rows: list[float]) -> tuple[nn.ParameterDict, dict[str, Tensor]]:
    """A shared parameter on which terms have these gradients."""
    shared = nn.ParameterDict({"x": nn.Parameter(torch.zeros(len(rows[0])))})
    return shared, {f"t{number}": (torch.tensor(row) * shared["x"]).sum() for number, row in enumerate(rows)}


def combined(method: str, *rows: list[float], given: float = 1.0) -> np.ndarray:
    net, terms = points(*rows)
    stepped(GradientSurgery(dict.fromkeys(terms, given), method), net, terms)
    gradient = net["x"].grad
    assert gradient is not None
    return gradient.numpy()


def test_pcgrad_of_two_gradients_in_conflict_by_hand():
    # (1, 0) without its part along (-1, 1): (½, ½); (-1, 1) without its part along (1, 0): (0, 1)
    np.testing.assert_allclose(combined("pcgrad", [1.0, 0.0], [-1.0, 1.0]), [0.5, 1.5], rtol=1e-6)
    np.testing.assert_allclose(combined("pcgrad", [1.0, 0.0], [-1.0, 1.0], given=3.0), [1.5, 4.5], rtol=1e-6)
    np.testing.assert_allclose(combined("pcgrad", [1.0, 0.0], [1.0, 1.0]), [2.0, 1.0], rtol=1e-6)  # no conflict: the sum


def naive_pcgrad(rows: np.ndarray, orders: list[list[int]]) -> np.ndarray:
    projected = rows.copy()
    for i, order in enumerate(orders):
        for j in order:
            if j != i and projected[i] @ rows[j] < 0:
                projected[i] -= projected[i] @ rows[j] / (rows[j] @ rows[j]) * rows[j]
    return projected.sum(0)


@pytest.mark.parametrize("seed", range(5))
def test_pcgrad_of_four_gradients_is_that_of_loops_in_the_order_drawn(seed: int):
    rows = np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32)
    torch.manual_seed(seed)
    orders = [torch.randperm(4).tolist() for _ in range(4)]
    torch.manual_seed(seed)
    np.testing.assert_allclose(combined("pcgrad", *rows.tolist()), naive_pcgrad(rows, orders), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_imtl_g_has_the_same_projection_on_every_gradient(seed: int):
    rows = np.random.default_rng(seed).normal(size=(3, 6))
    made = combined("imtl_g", *rows.tolist())
    projections = rows @ made / np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(projections, projections.mean(), rtol=1e-3)
    weights = np.linalg.lstsq(rows.T, made, rcond=None)[0]
    assert weights.sum() == pytest.approx(3, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_aligned_mtl_sums_gradients_made_orthogonal_and_as_long_as_the_least_singular_value(seed: int):
    rows = np.random.default_rng(seed).normal(size=(3, 6))
    left, singular, right = np.linalg.svd(rows, full_matrices=False)
    expected = (singular.min() * left @ right).sum(0)
    np.testing.assert_allclose(combined("aligned_mtl", *rows.tolist()), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_orthogonal_gradients_of_one_length_are_summed(method: str):
    np.testing.assert_allclose(combined(method, [2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]), [2.0] * 3, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_shared_parameters_get_the_combination_and_a_head_its_own_gradient(net: Net, method: str):
    made = GradientSurgery(LAMBDAS, method)
    terms = net(values())
    assert made.total(terms).item() == Fixed(LAMBDAS).total(terms).item()
    torch.manual_seed(3)
    stepped(made, net, terms)
    rows = {
        name: torch.cat(
            [g.flatten() for g in torch.autograd.grad(LAMBDAS[name] * term, net.trunk.parameters(), retain_graph=True)]
        )
        for name, term in terms.items()
    }
    stacked = torch.stack([*rows.values()])
    torch.manual_seed(3)
    weights = combination(method, stacked @ stacked.T)
    ours = torch.cat([parameter.grad.flatten() for parameter in net.trunk.parameters() if parameter.grad is not None])
    torch.testing.assert_close(ours, weights @ stacked, rtol=1e-4, atol=1e-5)
    expected = {name: LAMBDAS[name] * weight for name, weight in zip(LAMBDAS, weights.tolist(), strict=True)}
    assert made.lambdas() == pytest.approx(expected, rel=1e-4)
    for name, term in terms.items():
        (head,) = torch.autograd.grad(LAMBDAS[name] * term, net.heads[name].weight, retain_graph=True)
        torch.testing.assert_close(net.heads[name].weight.grad, head)
    assert net.unused.weight.grad is None


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_term_moves_nothing(net: Net, method: str):
    made, stopped = GradientSurgery(LAMBDAS, method), frozenset({"gender"})
    torch.manual_seed(3)
    stepped(made, net, net(values()), stopped)
    ours = gradients(net)
    torch.manual_seed(3)
    two = {name: term for name, term in net(values()).items() if name != "gender"}
    stepped(GradientSurgery({name: LAMBDAS[name] for name in two}, method), net, two)
    for name, expected in gradients(net).items():
        if name.startswith("heads.gender"):
            assert (ours[name] == 0).all()  # not None: momentum and weight decay go on, as with fixed weights
        elif expected is not None:
            torch.testing.assert_close(ours[name], expected)
    assert made.lambdas(stopped)["gender"] == 0


@pytest.mark.parametrize("make", [lambda: GradientSurgery(LAMBDAS, "pcgrad"), lambda: Fixed(LAMBDAS)], ids=["pcgrad", "fixed"])
def test_terms_that_share_nothing_are_summed(make: Callable[[], Any]):
    apart = nn.ParameterDict({name: nn.Parameter(torch.ones(2)) for name in LAMBDAS})
    stepped(make(), apart, {name: parameter.square().sum() for name, parameter in apart.items()})
    assert {name: parameter.grad.tolist() for name, parameter in apart.items()} == {
        name: [2 * given] * 2 for name, given in LAMBDAS.items()
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_that_is_no_number_leaves_the_sum_so_that_the_loop_names_the_term(method: str):
    inner_products = torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan]])
    assert combination(method, inner_products).tolist() == [1, 1]


@pytest.mark.parametrize("method", METHODS)
def test_a_term_without_any_gradient_changes_nothing_but_its_share(method: str):
    gradient = combined(method, [1.0, 2.0], [0.0, 0.0])
    assert np.isfinite(gradient).all()
    assert gradient @ [1.0, 2.0] > 0


@pytest.mark.parametrize("make", [lambda: GradNorm(LAMBDAS, 1.5, 0.025), lambda: GradientSurgery(LAMBDAS, "pcgrad")])
def test_what_is_kept_goes_on_where_it_was(net: Net, make: Callable[[], Any]):
    made = make()
    for step in range(3):
        stepped(made, net, net(values(step)))
        made.step_end()
    resumed = make()
    resumed.load_state_dict(copy.deepcopy(made.state_dict()))
    for each in (made, resumed):
        torch.manual_seed(7)
        stepped(each, net, net(values(3)))
        each.step_end()
    assert made.lambdas() == resumed.lambdas()
    assert functional.l1_loss(torch.tensor([*made.lambdas().values()]), torch.tensor([*LAMBDAS.values()])) > 0
