"""Losses against independent references: nested loops, statsmodels, scipy, scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.stats import median_abs_deviation
from sklearn.metrics import log_loss
from statsmodels.robust import mad as statsmodels_mad
from statsmodels.robust.norms import TukeyBiweight

from people import losses

C = 4.6851


def ages(seed: int, count: int = 41) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    target = generator.uniform(18, 75, count)
    prediction = target + generator.standard_t(1.5, count) * 6 + 2
    return torch.tensor(prediction, dtype=torch.float32, requires_grad=True), torch.tensor(target, dtype=torch.float32)


def naive_contrastive(signature: np.ndarray, identity: np.ndarray, margin: float) -> float:
    values = []
    for i in range(len(identity)):
        for j in range(i + 1, len(identity)):
            if identity[i] < 0 or identity[j] < 0:
                continue
            distance = np.sqrt(np.sum((signature[i] - signature[j]) ** 2))
            values.append(0.5 * distance**2 if identity[i] == identity[j] else 0.5 * max(0.0, margin - distance) ** 2)
    return float(np.mean(values))


def test_softmax_log_loss_is_the_log_loss_of_the_softmax():
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(50, 7, generator=generator) * 3, torch.randint(7, (50,), generator=generator)
    expected = log_loss(target, torch.softmax(logits.double(), 1), labels=range(7))
    assert losses.softmax_log_loss(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_a_sample_of_unknown_class_has_no_part_in_the_log_loss():
    logits = torch.randn(6, 3)
    target = torch.tensor([0, -1, 2, -1, 1, 1])
    expected = losses.softmax_log_loss(logits[target >= 0], target[target >= 0])
    torch.testing.assert_close(losses.softmax_log_loss(logits, target), expected)


@pytest.mark.parametrize("count", [5, 8, 41])
def test_the_median_absolute_deviation_is_that_of_scipy(count: int):
    values = np.random.default_rng(count).normal(3, 8, count)
    ours = losses.median_absolute_deviation(torch.tensor(values)).item()
    assert ours == pytest.approx(median_abs_deviation(values))
    assert ours * losses.MAD_TO_STANDARD_DEVIATION == pytest.approx(statsmodels_mad(values), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_tukeys_biweight_is_that_of_statsmodels(seed: int):
    prediction, target = ages(seed)
    residual = (target - prediction.detach()).double().numpy()
    scale = 1.4826 * median_abs_deviation(residual)
    expected = TukeyBiweight(c=C).rho(residual / scale).mean()
    assert losses.tukey_biweight(prediction, target).item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_tukeys_biweight_is_its_influence_function_at_a_constant_scale():
    prediction, target = ages(0)
    losses.tukey_biweight(prediction, target).backward()
    residual = (target - prediction.detach()).double().numpy()
    scale = 1.4826 * median_abs_deviation(residual)
    expected = -TukeyBiweight(c=C).psi(residual / scale) / scale / len(residual)
    np.testing.assert_allclose(prediction.grad, expected, rtol=1e-3, atol=1e-7)


def test_a_detached_scale_pulls_residuals_towards_zero_and_an_undetached_one_would_not():
    prediction, target = ages(1)
    prediction = prediction.detach().double().requires_grad_()
    residual = target.double() - prediction
    spread = (residual - residual.quantile(0.5)).abs().quantile(0.5)
    scaled = residual / (1.4826 * spread)
    rho = C**2 / 6 * (1 - (1 - (scaled / C) ** 2).clamp(min=0) ** 3)
    (careless,) = torch.autograd.grad(rho.mean(), prediction)
    (ours,) = torch.autograd.grad(losses.tukey_biweight(prediction, target), prediction)
    radial = residual.detach() / residual.detach().norm()
    assert abs((careless * radial).sum().item()) < 1e-12
    assert -(ours * radial).sum().item() > 1e-3


def test_a_common_offset_of_all_ages_costs():
    target = torch.linspace(20, 60, 21)
    noise = torch.randn(21, generator=torch.Generator().manual_seed(0))
    assert losses.tukey_biweight(target + noise + 3, target) > losses.tukey_biweight(target + noise, target) + 0.1


def test_an_age_far_off_is_an_outlier_that_pulls_nothing():
    target = torch.linspace(20, 60, 21)
    prediction = (target + torch.randn(21, generator=torch.Generator().manual_seed(0))).index_fill(0, torch.tensor(4), 400.0)
    prediction.requires_grad_()
    losses.tukey_biweight(prediction, target).backward()
    assert prediction.grad[4] == 0
    assert prediction.grad[5] != 0


def test_residuals_that_are_mostly_equal_have_a_loss_and_a_gradient():
    prediction = torch.full((9,), 40.0, requires_grad=True)
    target = torch.tensor([40.0] * 6 + [41.0, 39.0, 60.0])
    loss = losses.tukey_biweight(prediction, target, mad_floor=0.5)
    loss.backward()
    expected = TukeyBiweight(c=C).rho((target.numpy() - 40.0) / (1.4826 * 0.5)).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert prediction.grad[6] < 0 < prediction.grad[7]


def test_a_wider_scale_is_the_loss_of_smaller_residuals():
    prediction, target = ages(2)
    residual = (target - prediction.detach()).double().numpy()
    expected = TukeyBiweight(c=C).rho(residual / (7 * 1.4826 * median_abs_deviation(residual))).mean()
    assert losses.tukey_biweight(prediction, target, mad_multiplier=7.0).item() == pytest.approx(expected, rel=1e-5)


def test_a_person_of_unknown_age_has_no_part_in_the_age_loss():
    prediction, target = ages(3)
    unknown = torch.cat([target, torch.full((5,), torch.nan)])
    more = torch.cat([prediction, torch.randn(5)])
    loss = losses.tukey_biweight(more, unknown)
    torch.testing.assert_close(loss, losses.tukey_biweight(prediction, target))
    loss.backward()
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("margin", [0.5, 4.0])
def test_the_contrastive_loss_is_the_mean_over_all_unordered_pairs(margin: float):
    generator = np.random.default_rng(3)
    signature, identity = generator.normal(size=(30, 5)) + 1000, generator.integers(-1, 6, 30)
    ours = losses.contrastive(torch.tensor(signature, dtype=torch.float32), torch.tensor(identity), margin)
    assert ours.item() == pytest.approx(naive_contrastive(signature.astype(np.float32), identity, margin), rel=1e-4)


def test_two_pairs_by_hand():
    signature = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert losses.contrastive(signature, torch.tensor([7, 7]), 6.0).item() == pytest.approx(12.5)
    assert losses.contrastive(signature, torch.tensor([7, 8]), 6.0).item() == pytest.approx(0.5)
    assert losses.contrastive(signature, torch.tensor([7, 8]), 5.0).item() == 0


def test_equal_signatures_of_two_people_have_a_finite_gradient():
    signature = torch.ones(4, 3, requires_grad=True)
    losses.contrastive(signature, torch.tensor([0, 0, 1, 1]), 1.0).backward()
    assert signature.grad.isfinite().all()


@pytest.mark.parametrize("count", [1, 4])
def test_without_a_known_target_every_loss_is_zero_with_a_zero_gradient(count: int):
    values = torch.randn(count, 3, requires_grad=True)
    unknown = torch.full((count,), -1)
    terms = [
        losses.softmax_log_loss(values, unknown),
        losses.tukey_biweight(values[:, 0], torch.full((count,), torch.nan)),
        losses.contrastive(values, unknown, 1.0),
    ]
    for term in terms:
        (gradient,) = torch.autograd.grad(term, values)
        assert term.item() == 0
        assert (gradient == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_adaptive_margin_is_the_distance_where_both_rates_are_closest(seed: int):
    generator = np.random.default_rng(seed)
    identity = generator.integers(0, 5, 24)
    signature = (generator.normal(size=(5, 3))[identity] + generator.normal(size=(24, 3))).astype(np.float32)
    pairs = [(i, j) for i in range(24) for j in range(i + 1, 24)]
    distance = np.array([np.linalg.norm(signature[i] - signature[j]) for i, j in pairs])
    same = np.array([identity[i] == identity[j] for i, j in pairs])
    gaps = [abs((distance[same] <= t).mean() - (distance[~same] > t).mean()) for t in distance]
    expected = min(t for t, gap in zip(distance, gaps, strict=True) if np.isclose(gap, min(gaps)))
    margin = losses.adaptive_margin(torch.tensor(signature), torch.tensor(identity), torch.tensor(0.5))
    assert margin.item() == pytest.approx(expected, rel=1e-5)
    assert not margin.requires_grad


def test_a_batch_of_one_person_leaves_the_margin_as_it_was():
    present = torch.tensor(0.5)
    assert losses.adaptive_margin(torch.randn(4, 2), torch.zeros(4, dtype=torch.long), present) == present
    assert losses.adaptive_margin(torch.randn(4, 2), torch.arange(4), present) == present
