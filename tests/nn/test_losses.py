"""Losses against independent references: nested loops, statsmodels, scipy, scikit-learn."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.reducers import AvgNonZeroReducer
from scipy.stats import median_abs_deviation
from sklearn.metrics import log_loss
from statsmodels.robust import mad as statsmodels_mad
from statsmodels.robust.norms import TukeyBiweight

from people.nn import losses

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


def test_cross_entropy_is_the_log_loss_of_the_softmax():
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(50, 7, generator=generator) * 3, torch.randint(7, (50,), generator=generator)
    expected = log_loss(target, torch.softmax(logits.double(), 1), labels=range(7))
    assert losses.cross_entropy(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_ignores_samples_of_unknown_class():
    logits = torch.randn(6, 3)
    target = torch.tensor([0, -1, 2, -1, 1, 1])
    expected = losses.cross_entropy(logits[target >= 0], target[target >= 0])
    torch.testing.assert_close(losses.cross_entropy(logits, target), expected)


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
    (undetached,) = torch.autograd.grad(rho.mean(), prediction)
    (ours,) = torch.autograd.grad(losses.tukey_biweight(prediction, target), prediction)
    radial = residual.detach() / residual.detach().norm()
    assert abs((undetached * radial).sum().item()) < 1e-12
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


def test_the_age_loss_ignores_people_of_unknown_age():
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
        losses.cross_entropy(values, unknown),
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
    current = torch.tensor(0.5)
    assert losses.adaptive_margin(torch.randn(4, 2), torch.zeros(4, dtype=torch.long), current) == current
    assert losses.adaptive_margin(torch.randn(4, 2), torch.arange(4), current) == current


def strips(seed: int, samples: int = 12, people: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    identity = torch.randint(-1, people, (samples,), generator=generator)
    return torch.randn(samples, 3, 5, generator=generator, dtype=torch.float64), identity


def relations(identity: list[int], anchor: int) -> tuple[list[int], list[int]]:
    """An anchor's positives and its negatives."""
    if identity[anchor] < 0:
        return [], []
    others = [i for i in range(len(identity)) if identity[i] >= 0 and i != anchor]
    positives = [i for i in others if identity[i] == identity[anchor]]
    return positives, [i for i in others if identity[i] != identity[anchor]]


def naive_weighted_triplet(features: np.ndarray, identity: list[int], margin: float, *, weighting: bool) -> float:
    """Eq. 11 for one strip, anchor by anchor."""
    values = []
    for anchor in range(len(identity)):
        positives, negatives = relations(identity, anchor)
        if not positives or not negatives:
            continue
        far = np.array([np.linalg.norm(features[anchor] - features[i]) for i in positives])
        near = np.array([np.linalg.norm(features[anchor] - features[i]) for i in negatives])
        far_weight = np.exp(far) if weighting else np.ones_like(far)
        near_weight = np.exp(-near) if weighting else np.ones_like(near)
        values.append(max(0.0, margin + np.average(far, weights=far_weight) - np.average(near, weights=near_weight)))
    return float(np.mean(values)) if values else 0.0


def naive_triplets(features: np.ndarray, identity: list[int], margin: float) -> list[float]:
    """The hinge of every triplet of one strip."""
    values = []
    for anchor in range(len(identity)):
        positives, negatives = relations(identity, anchor)
        for p in positives:
            for n in negatives:
                apart = np.linalg.norm(features[anchor] - features[p]) - np.linalg.norm(features[anchor] - features[n])
                values.append(max(0.0, margin + apart))
    return values


@pytest.mark.parametrize("weighting", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_the_weighted_triplet_loss_is_eq_11_anchor_by_anchor_and_strip_by_strip(seed: int, weighting: bool):
    embedding, identity = strips(seed)
    expected = [
        naive_weighted_triplet(strip.numpy(), identity.tolist(), 0.5, weighting=weighting) for strip in embedding.unbind(1)
    ]
    ours = losses.weighted_triplet(embedding, identity, 0.5, weighting=weighting)
    assert ours.item() == pytest.approx(np.mean(expected), rel=1e-6)


def test_the_weights_of_negatives_do_not_vanish_where_all_are_far():
    embedding = torch.tensor([[[0.0]], [[1.0]], [[400.0]], [[401.0]]])
    value = losses.weighted_triplet(embedding, torch.tensor([0, 0, 1, 1]), 500.0).item()
    assert value == pytest.approx(500 + 1 - 400, abs=1)


@pytest.mark.parametrize("seed", range(3))
def test_the_batch_all_triplet_loss_is_the_mean_of_the_triplets_above_zero(seed: int):
    embedding, identity = strips(seed)
    hinges = [np.array(naive_triplets(strip.numpy(), identity.tolist(), 0.2)) for strip in embedding.unbind(1)]
    expected = np.mean([hinge[hinge > 0].mean() for hinge in hinges])
    assert losses.batch_all_triplet(embedding, identity, 0.2).item() == pytest.approx(expected, rel=1e-6)
    active = np.mean([(hinge > 0).mean() for hinge in hinges])
    assert losses.active_triplets(embedding, identity, 0.2).item() == pytest.approx(active)


def test_the_batch_all_triplet_loss_is_that_of_pytorch_metric_learning():
    embedding, identity = torch.randn(16, 1, 6, generator=torch.Generator().manual_seed(1)), torch.arange(4).repeat(4)
    reference = TripletMarginLoss(margin=0.2, distance=LpDistance(normalize_embeddings=False), reducer=AvgNonZeroReducer())
    expected = reference(embedding[:, 0], identity).item()
    assert losses.batch_all_triplet(embedding, identity, 0.2).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [losses.weighted_triplet, losses.batch_all_triplet])
def test_the_gradient_of_a_triplet_loss_is_its_slope(loss: Callable[..., torch.Tensor]):
    embedding, identity = strips(4, samples=7, people=2)
    assert torch.autograd.gradcheck(lambda values: loss(values, identity, 0.7), embedding.requires_grad_(), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("loss", [losses.weighted_triplet, losses.batch_all_triplet])
def test_equal_embeddings_cost_the_margin_and_have_a_finite_gradient(loss: Callable[..., torch.Tensor]):
    embedding = torch.full((6, 2, 3), 1000.0, requires_grad=True)
    value = loss(embedding, torch.tensor([0, 0, 0, 1, 1, 1]), 0.2)
    value.backward()
    assert value.item() == pytest.approx(0.2)
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()


@pytest.mark.parametrize("loss", [losses.weighted_triplet, losses.batch_all_triplet])
@pytest.mark.parametrize("identity", [[0, 0, 0, 0], [0, 1, 2, 3], [-1, -1, -1, -1], [0, -1, 0, -1], [0]])
def test_without_a_triplet_the_loss_is_zero_with_a_zero_gradient(loss: Callable[..., torch.Tensor], identity: list[int]):
    embedding = torch.randn(len(identity), 2, 3, requires_grad=True)
    value = loss(embedding, torch.tensor(identity), 0.2)
    value.backward()
    assert value.item() == 0
    assert embedding.grad is not None
    assert (embedding.grad == 0).all()
    assert losses.active_triplets(embedding, torch.tensor(identity), 0.2) == 0


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_distances_of_strips_are_right_where_features_are_far_from_zero_and_near_each_other(offset: float):
    draw = torch.Generator().manual_seed(0)
    near = torch.randn(1, 3, 64, generator=draw) + offset + 1e-3 * torch.randn(6, 3, 64, generator=draw)
    embedding = torch.cat([near, near[:2], torch.randn(4, 3, 64, generator=draw) + offset]).requires_grad_()
    exact = torch.cdist(*[embedding.detach().transpose(0, 1).double()] * 2, compute_mode="donot_use_mm_for_euclid_dist")
    distance = losses._strip_distances(embedding)
    assert distance.double().numpy(force=True) == pytest.approx(exact.numpy(), rel=1e-5, abs=1e-9)
    assert (distance[:, [0, 1], [6, 7]] == 0).all()
    assert (distance.diagonal(dim1=1, dim2=2) == 0).all()


def test_the_gradient_of_distances_is_that_of_direct_differences():
    draw = torch.Generator().manual_seed(1)
    embedding = (torch.randn(8, 2, 16, generator=draw) + 30).requires_grad_()
    weight = torch.randn(2, 8, 8, generator=draw)
    (ours,) = torch.autograd.grad((losses._strip_distances(embedding) * weight).sum(), embedding)
    strips = embedding.transpose(0, 1).double()
    direct = torch.cdist(strips, strips, compute_mode="donot_use_mm_for_euclid_dist")
    (expected,) = torch.autograd.grad((direct * weight).sum(), embedding)
    assert ours.numpy() == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("identity", [[0, 0, 0, 0, 1, 1, 2, -1], [0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 0, 0, 0, 0, 0, 1]])
def test_the_hinges_of_a_batch_do_not_depend_on_how_many_places_there_are_for_positives(identity: list[int]):
    distance = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2), requires_grad=True)
    relations = losses._relations(torch.tensor(identity))
    found = []
    for most in (int(relations[0].sum(1).max()), len(identity) - 1):
        hinge, violated = losses._HingeSum.apply(distance, *relations, 0.2, most)
        found.append((hinge, violated, torch.autograd.grad(hinge.square().sum(), distance)[0]))
    for least, all_places in zip(*found, strict=True):
        assert torch.equal(least, all_places) or torch.allclose(least, all_places, rtol=1e-6)
