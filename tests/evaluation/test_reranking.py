"""Re-ranking against naive loops over sets, after the paper's definitions and after the published algorithm."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from people.evaluation import reranking
from people.evaluation.reranking import Config
from people.nn import distances

CONFIG = Config(k1=6, k2=3, share=0.3, reading="published")


def clouds(people: int = 5, each: int = 6, seed: int = 0) -> torch.Tensor:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(draw.normal(size=(people, 1, 4)) + 0.5 * draw.normal(size=(people, each, 4))).flatten(0, 1)


def sets(d: np.ndarray, config: Config, is_enough: Callable[[int, int], bool]) -> list[set[int]]:
    """R*(p, k1) of every photo; `is_enough`: of the numbers of shared neighbours and of all neighbours of a neighbour."""
    photos = range(len(d))

    def reciprocal(p: int, k: int) -> set[int]:
        return {g for g in nearest(d, p, k + 1) if p in nearest(d, g, k + 1)}

    expanded = []
    for p in photos:
        neighbours, union = reciprocal(p, config.k1), set(reciprocal(p, config.k1))
        for q in neighbours:
            candidates = reciprocal(q, round(config.k1 / 2))
            if is_enough(len(neighbours & candidates), len(candidates)):
                union |= candidates
        expanded.append(union)
    return expanded


def nearest(d: np.ndarray, p: int, count: int) -> list[int]:
    """A photo itself and then the nearest others, so many in all."""
    return sorted(range(len(d)), key=lambda g: (g != p, d[p, g]))[:count]


def shares_of_largest(embedding: np.ndarray) -> np.ndarray:
    squared = ((embedding[:, None] - embedding[None]) ** 2).sum(-1)
    return squared / squared.max(axis=1, keepdims=True)


def by_the_paper(embedding: np.ndarray, query: list[int], gallery: list[int], config: Config) -> np.ndarray:
    """Every quantity as the paper prints it."""
    d, photos = shares_of_largest(embedding), range(len(embedding))
    neighbours = sets(d, config, lambda shared, count: 3 * shared >= 2 * count)
    v = np.array([[np.exp(-d[p, g]) if g in neighbours[p] else 0.0 for g in photos] for p in photos])
    v = np.array([np.mean([v[g] for g in nearest(d, p, config.k2)], axis=0) for p in photos])
    jaccard = [[1 - np.minimum(v[p], v[g]).sum() / np.maximum(v[p], v[g]).sum() for g in gallery] for p in query]
    return (1 - config.share) * np.array(jaccard) + config.share * d[np.ix_(query, gallery)]


def by_the_published_code(embedding: np.ndarray, query: list[int], gallery: list[int], config: Config) -> np.ndarray:
    """More than two thirds are shared; a photo's weights are shares of their sum; the Jaccard distance of such shares."""
    d, photos = shares_of_largest(embedding), range(len(embedding))
    neighbours = sets(d, config, lambda shared, count: shared > 2 / 3 * count)
    v = np.zeros(d.shape)
    for p in photos:
        weights = {g: np.exp(-d[p, g]) for g in neighbours[p]}
        for g, weight in weights.items():
            v[p, g] = weight / sum(weights.values())
    v = np.array([np.mean([v[g] for g in nearest(d, p, config.k2)], axis=0) for p in photos])
    result = np.zeros((len(query), len(gallery)))
    for row, p in enumerate(query):
        for column, g in enumerate(gallery):
            minima = sum(min(v[p, i], v[g, i]) for i in photos)
            result[row, column] = (1 - config.share) * (1 - minima / (2 - minima)) + config.share * d[p, g]
    return result


TWINS = {"paper": by_the_paper, "published": by_the_published_code}


def photos_of_people(people: int = 6, each: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and their people without random numbers; the first photo of every person comes before all second ones."""
    photo, person = np.divmod(np.arange(people * each), people)
    channel = np.arange(3)
    centre = np.sin(2.3 * (person[:, None] + 1) * (channel + 1))
    return centre + 0.5 * np.cos(1.7 * (photo[:, None] + 2) * (channel + 1) + 3.1 * person[:, None] ** 2), person


def by_published_arrays(embedding: np.ndarray, queries: int, k1: int, k2: int, share: float) -> np.ndarray:
    """The distances of the first photos, the queries, and all others, step by step as fast-reid's arrays go.

    V is divided by its sum, and the Jaccard distance is 1 - m / (2 - m), m being the sum of minima.
    """
    distance = ((embedding[:, None] - embedding[None]) ** 2).sum(-1)
    distance = (distance / distance.max(axis=0)).T
    order, half = np.argsort(distance, axis=1), int(np.around(k1 / 2))
    v = np.zeros_like(distance)
    for photo in range(len(distance)):
        forward = order[photo, : k1 + 1]
        reciprocal = forward[(order[forward, : k1 + 1] == photo).any(axis=1)]
        expansion = reciprocal
        for candidate in reciprocal:
            nearest_half = order[candidate, : half + 1]
            of_candidate = nearest_half[(order[nearest_half, : half + 1] == candidate).any(axis=1)]
            if len(np.intersect1d(of_candidate, reciprocal)) > 2.0 / 3 * len(of_candidate):
                expansion = np.union1d(expansion, of_candidate)
        weight = np.exp(-distance[photo, expansion])
        v[photo, expansion] = weight / weight.sum()
    v = np.stack([v[order[photo, :k2]].mean(axis=0) for photo in range(len(v))])
    minima = np.minimum(v[:queries, None], v[None, queries:]).sum(axis=2)
    return (1 - share) * (1 - minima / (2 - minima)) + share * distance[:queries, queries:]


def mean_average_precision(distance: np.ndarray, query: np.ndarray, gallery: np.ndarray) -> float:
    """The mean over queries of the mean precision at each match."""
    precisions = []
    for row, person in zip(distance, query, strict=True):
        matches = gallery[np.argsort(row, kind="stable")] == person
        precisions.append(np.mean([matches[: rank + 1].mean() for rank in np.flatnonzero(matches)]))
    return float(np.mean(precisions))


def test_reranking_is_as_published_unless_somebody_asks_for_the_paper(root: Path):
    read = YAML(typ="safe").load
    assert read(root / "params.yaml")["score"]["reid"]["rerank"]["reading"] == "published"
    for profile in (root / "stages/profiles").glob("*.yaml"):
        score = (read(profile).get("score") or {}).get("reid") or {}
        assert (score.get("rerank") or {}).get("reading", "published") == "published", profile.name


def test_a_fixed_set_of_photos_has_the_mean_average_precision_of_the_published_steps():
    embedding, person = photos_of_people()
    rows, queries = np.arange(len(person)), len(set(person))
    config = Config(k1=6, k2=3, share=0.3, reading="published")
    expected = by_published_arrays(embedding, queries, 6, 3, 0.3)
    distance = reranked(torch.from_numpy(embedding).float(), rows[:queries], rows[queries:], config)
    np.testing.assert_allclose(distance, expected, rtol=1e-4, atol=1e-5)
    first = ((embedding[:queries, None] - embedding[None, queries:]) ** 2).sum(-1)
    paper = reranked(torch.from_numpy(embedding).float(), rows[:queries], rows[queries:], replace(config, reading="paper"))
    np.testing.assert_allclose(distance[0, :4], [0.505625, 0.952604, 0.588450, 0.658850], atol=2e-6)
    found = [mean_average_precision(each, person[:queries], person[queries:]) for each in (first, expected, distance, paper)]
    assert found == pytest.approx([0.656267, 0.778644, 0.778644, 0.786177], abs=1e-6)


def reranked(embedding: torch.Tensor, query: np.ndarray, gallery: np.ndarray, config: Config = CONFIG) -> np.ndarray:
    return torch.cat([block for _, block in reranking.blocks(embedding, query, gallery, config)]).numpy()


@pytest.mark.parametrize("reading", reranking.READINGS)
@pytest.mark.parametrize(("k1", "k2", "share"), [(6, 3, 0.3), (7, 1, 0.0), (3, 3, 0.8)])
def test_the_distance_is_that_of_the_paper_or_of_the_published_code(
    reading: str, k1: int, k2: int, share: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(distances, "PROBE_BLOCK", 4)
    monkeypatch.setattr(distances, "NEAR_BLOCK", 50)
    config = Config(k1=k1, k2=k2, share=share, reading=reading)
    embedding, query, gallery = clouds(), np.array([0, 7, 14, 21, 28]), np.arange(3, 30)
    distance = reranked(embedding.float(), query, gallery, config)
    expected = TWINS[reading](embedding.numpy(), query.tolist(), gallery.tolist(), config)
    np.testing.assert_allclose(distance, expected, rtol=1e-4, atol=1e-5)


def test_the_two_readings_rank_otherwise():
    embedding, rows = clouds(seed=4).float(), np.arange(30)
    published, paper = (reranked(embedding, rows, rows, replace(CONFIG, reading=reading)) for reading in reranking.READINGS)
    assert (published.argsort(axis=1) != paper.argsort(axis=1)).any()


def test_two_thirds_of_shared_neighbours_are_enough_for_the_paper_alone():
    # With k1 = 4 photo 4 has the reciprocal neighbours 2, 3, 5 and 6. Photo 2 has, with k1 / 2, itself, 1 and 3: two of
    # three are shared, by which the paper takes photo 1 too.
    neighbours, _ = reranking.nearest(torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.9], [6.5], [7.0]]), 4)
    added = {
        reading: reranking.expanded_reciprocal_neighbours(neighbours, replace(CONFIG, k1=4, reading=reading)).toarray()
        for reading in reranking.READINGS
    }
    assert np.flatnonzero(added["published"][4]).tolist() == [2, 3, 4, 5, 6]
    assert np.flatnonzero(added["paper"][4]).tolist() == [1, 2, 3, 4, 5, 6]


def test_with_lambda_1_it_is_the_first_distance_and_its_order():
    embedding, rows = clouds().float(), np.arange(30)
    squared = (embedding[:, None] - embedding[None]).square().sum(-1).numpy()
    distance = reranked(embedding, rows, rows, replace(CONFIG, share=1.0))
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
        replace(CONFIG, k1=3, k2=6)
    with pytest.raises(ValueError, match="one of published, paper"):
        replace(CONFIG, reading="another")


def test_a_photo_whose_embedding_is_not_finite_is_refused():
    embedding = clouds().float()
    embedding[4, 0] = torch.nan
    with pytest.raises(ValueError, match=r"embeddings of photos: 1 of 30 are not finite .*number 4"):
        reranked(embedding, np.arange(30), np.arange(30))
