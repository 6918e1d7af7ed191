"""Re-ranking against naive loops over sets after the paper's definitions."""

import numpy as np
import pytest
import torch

from people import distances
from people.evaluation import reranking
from people.evaluation.reranking import Config

CONFIG = Config(k1=6, k2=3, share=0.3)


def clouds(people: int = 5, each: int = 6, seed: int = 0) -> torch.Tensor:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(draw.normal(size=(people, 1, 4)) + 0.5 * draw.normal(size=(people, each, 4))).flatten(0, 1)


def naive(embedding: np.ndarray, query: list[int], gallery: list[int], config: Config) -> np.ndarray:
    """Every quantity of the paper as sets and sums."""
    photos = range(len(embedding))
    squared = ((embedding[:, None] - embedding[None]) ** 2).sum(-1)
    d = squared / squared.max(axis=1, keepdims=True)

    def nearest(p: int, k: int) -> list[int]:
        return sorted(photos, key=lambda g: (g != p, d[p, g]))[: k + 1]

    def reciprocal(p: int, k: int) -> set[int]:
        return {g for g in nearest(p, k) if p in nearest(g, k)}

    def expanded(p: int) -> set[int]:
        neighbours, union = reciprocal(p, config.k1), set(reciprocal(p, config.k1))
        for q in neighbours:
            candidates = reciprocal(q, round(config.k1 / 2))
            if len(neighbours & candidates) >= 2 / 3 * len(candidates):
                union |= candidates
        return union

    v = np.array([[np.exp(-d[p, g]) if g in expanded(p) else 0.0 for g in photos] for p in photos])
    v = np.array([np.mean([v[g] for g in nearest(p, config.k2 - 1)], axis=0) for p in photos])
    jaccard = [[1 - np.minimum(v[p], v[g]).sum() / np.maximum(v[p], v[g]).sum() for g in gallery] for p in query]
    return (1 - config.share) * np.array(jaccard) + config.share * d[np.ix_(query, gallery)]


def reranked(embedding: torch.Tensor, query: np.ndarray, gallery: np.ndarray, config: Config = CONFIG) -> np.ndarray:
    return torch.cat([block for _, block in reranking.blocks(embedding, query, gallery, config)]).numpy()


@pytest.mark.parametrize("config", [CONFIG, Config(k1=7, k2=1, share=0.0), Config(k1=3, k2=3, share=0.8)])
def test_the_distance_is_the_paper_s(config: Config, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distances, "PROBE_BLOCK", 4)
    monkeypatch.setattr(distances, "NEAR_BLOCK", 50)
    embedding, query, gallery = clouds(), np.array([0, 7, 14, 21, 28]), np.arange(3, 30)
    distance = reranked(embedding.float(), query, gallery, config)
    expected = naive(embedding.numpy(), query.tolist(), gallery.tolist(), config)
    np.testing.assert_allclose(distance, expected, rtol=1e-4, atol=1e-5)


def test_with_lambda_1_it_is_the_first_distance_and_its_order():
    embedding, rows = clouds().float(), np.arange(30)
    squared = (embedding[:, None] - embedding[None]).square().sum(-1).numpy()
    distance = reranked(embedding, rows, rows, Config(k1=6, k2=3, share=1.0))
    np.testing.assert_allclose(distance, squared / squared.max(axis=1, keepdims=True), rtol=1e-4, atol=1e-6)


def test_a_photo_is_at_distance_0_from_itself():
    rows = np.arange(30)
    np.testing.assert_allclose(np.diag(reranked(clouds().float(), rows, rows)), 0.0, atol=1e-6)


def test_scaling_turning_and_shuffling_change_nothing():
    embedding, rows = clouds().float(), np.arange(30)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0))).Q
    first = reranked(embedding, rows, rows)
    np.testing.assert_allclose(reranked(5 * embedding @ turn, rows, rows), first, atol=1e-5)
    order = np.random.default_rng(3).permutation(30)
    np.testing.assert_allclose(reranked(embedding[order], rows, rows), first[np.ix_(order, order)], atol=1e-5)


def test_more_neighbours_than_photos_and_equal_photos_are_refused():
    with pytest.raises(ValueError, match="need more photos"):
        reranked(clouds()[:6].float(), np.arange(6), np.arange(6))
    with pytest.raises(ValueError, match="all embeddings are equal"):
        reranked(torch.zeros(20, 3), np.arange(20), np.arange(20))
    with pytest.raises(ValueError, match="1 <= k2 <= k1"):
        Config(k1=3, k2=6, share=0.3)
