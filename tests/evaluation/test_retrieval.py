"""Retrieval against a naive loop over the protocol, and against scikit-learn; what is removed, kept and skipped."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from people.evaluation import retrieval
from people.evaluation.retrieval import NO_RANK, MatchRanks, Photos
from people.nn import distances

DISTRACTOR = "0000"


def photos(count: int, seed: int, *, people: int = 6, first: int = 0, distractors: float = 0.2) -> tuple[torch.Tensor, Photos]:
    """Photos of people by three cameras, around each person's centre; some are distractors."""
    draw = np.random.default_rng(seed)
    person = draw.integers(people, size=count)
    embedding = 0.8 * np.random.default_rng(99).normal(size=(people, 5))[person] + draw.normal(size=(count, 5))
    subject = np.array([f"p{number}" for number in person])
    subject[draw.random(count) < distractors] = DISTRACTOR
    labels = Photos(subject, draw.integers(1, 4, count), np.arange(first, first + count))
    return torch.from_numpy(embedding).float(), labels


def naive(
    distance: np.ndarray, query: Photos, gallery: Photos, *, same_camera_removed: bool
) -> list[tuple[list[int], list[bool]]]:
    """For every query which gallery photos are compared, nearest first, and which of them are matches."""
    rankings = []
    for index, row in enumerate(distance):
        compared = []
        for photo in range(len(row)):
            same_person = gallery.subject[photo] == query.subject[index]
            same_camera = gallery.camera[photo] == query.camera[index]
            if gallery.photo_id[photo] == query.photo_id[index] or (same_camera_removed and same_person and same_camera):
                continue
            compared.append(photo)
        compared.sort(key=lambda photo: row[photo])
        rankings.append((compared, [bool(gallery.subject[photo] == query.subject[index]) for photo in compared]))
    return rankings


def naive_trapezoid(is_match: list[bool]) -> float:
    """The area as the published MATLAB code adds it up: one trapezoid for each photo down to the last match."""
    area, old_recall, old_precision, hits = 0.0, 0.0, 1.0, 0
    for rank, hit in enumerate(is_match, start=1):
        hits += hit
        recall, precision = hits / sum(is_match), hits / rank
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return area


@pytest.mark.parametrize("same_camera_removed", [False, True])
@pytest.mark.parametrize("together", [True, False])
def test_precision_and_ranks_equal_a_naive_loop_and_scikit_learn(
    same_camera_removed: bool, together: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(distances, "PROBE_BLOCK", 7)
    gallery_embedding, gallery = photos(60, seed=1)
    people = np.flatnonzero(gallery.subject != DISTRACTOR)
    query_embedding, query = gallery_embedding[people], gallery.select(people)
    if not together:
        query_embedding, query = photos(20, 2, first=60, distractors=0.0)
    distance = distances.mean_strip_distance(query_embedding[:, None], gallery_embedding[:, None]).numpy()
    ranks = retrieval.rank(query_embedding, gallery_embedding, query, gallery, same_camera_removed=same_camera_removed)
    step, trapezoid = ranks.average_precision(), ranks.average_precision(trapezoid=True)
    for index, (compared, is_match) in enumerate(naive(distance, query, gallery, same_camera_removed=same_camera_removed)):
        match_ranks = ranks.ranks[index][ranks.ranks[index] != NO_RANK].tolist()
        assert match_ranks == [rank for rank, hit in enumerate(is_match, start=1) if hit]
        expected = average_precision_score(np.array(is_match), -distance[index][compared])
        assert step[index] == pytest.approx(expected, abs=1e-12)
        assert trapezoid[index] == pytest.approx(naive_trapezoid(is_match), abs=1e-12)
        assert ranks.hits_within(5)[index] == any(is_match[:5])
        order, marked = retrieval.rank_gallery(
            distance[index], query.select(np.array([index])), gallery, same_camera_removed=same_camera_removed
        )
        assert (order.tolist(), marked.tolist()) == (compared, is_match)
    curve = ranks.cumulative_match(60)
    assert curve[0] == pytest.approx(np.nanmean(ranks.hits_within(1)))
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1.0


def test_the_average_precision_of_wrong_right_wrong_right_by_hand():
    ranks = MatchRanks(np.array(["p"]), np.array([[2, 4]]))
    assert ranks.average_precision()[0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert ranks.average_precision(trapezoid=True)[0] == pytest.approx(((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
    assert (ranks.hits_within(1)[0], ranks.hits_within(2)[0]) == (0.0, 1.0)


def test_of_equally_near_photos_the_first_of_the_gallery_comes_first():
    same = torch.zeros(4, 3)
    gallery = Photos(np.array(["b", "a", "b", "a"]), np.full(4, 2), np.arange(4))
    ranks = retrieval.rank(
        same[:1], same, Photos(np.array(["a"]), np.ones(1, int), np.array([9])), gallery, same_camera_removed=True
    )
    assert ranks.ranks.tolist() == [[2, 4]]


def test_a_query_whose_only_match_was_taken_by_its_own_camera_counts_in_no_mean():
    gallery = Photos(np.array(["a", "b"]), np.array([1, 2]), np.array([10, 11]))
    query = Photos(np.array(["a", "b"]), np.array([1, 1]), np.array([0, 1]))
    embedding = torch.tensor([[0.0], [1.0]])
    ranks = retrieval.rank(embedding, embedding, query, gallery, same_camera_removed=True)
    assert ranks.without_match == 1
    assert np.isnan(ranks.average_precision()).tolist() == [True, False]
    assert np.isnan(ranks.hits_within(1)).tolist() == [True, False]
    assert ranks.cumulative_match(2).tolist() == [1.0, 1.0]


def test_a_photo_of_the_same_person_and_camera_changes_no_rank():
    embedding, gallery = photos(40, seed=3)
    query = Photos(np.array(["p1"]), np.array([1]), np.array([99]))
    same_camera = (gallery.subject == "p1") & (gallery.camera == 1)
    assert same_camera.any()
    ranks = retrieval.rank(embedding[:1], embedding, query, gallery, same_camera_removed=True)
    kept = torch.from_numpy(~same_camera)
    without = retrieval.rank(embedding[:1], embedding[kept], query, gallery.select(~same_camera), same_camera_removed=True)
    assert ranks.ranks.tolist() == without.ranks.tolist()


def test_distractors_are_ranked_and_are_never_a_match():
    embedding = torch.tensor([[0.0], [0.1], [0.2]])
    gallery = Photos(np.array([DISTRACTOR, DISTRACTOR, "a"]), np.array([2, 3, 2]), np.arange(3))
    ranks = retrieval.rank(
        embedding[:1], embedding, Photos(np.array(["a"]), np.array([1]), np.array([9])), gallery, same_camera_removed=True
    )
    assert ranks.ranks.tolist() == [[3]]


def test_without_any_match_everything_is_nan():
    embedding, query = photos(3, seed=1, distractors=0.0)
    _, gallery = photos(5, seed=2, distractors=1.0)
    ranks = retrieval.rank(embedding, torch.zeros(5, 5), query, gallery, same_camera_removed=False)
    assert ranks.without_match == 3
    assert np.isnan(ranks.average_precision()).all()
    assert np.isnan(ranks.cumulative_match(4)).all()


def test_scaling_and_rotating_the_embedding_changes_no_rank():
    embedding, labels = photos(50, seed=4, distractors=0.0)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0))).Q
    first = retrieval.rank(embedding, embedding, labels, labels, same_camera_removed=True)
    second = retrieval.rank(3 * embedding @ turn, 3 * embedding @ turn, labels, labels, same_camera_removed=True)
    np.testing.assert_allclose(first.average_precision(), second.average_precision(), atol=1e-2)


def test_an_embedding_that_is_not_finite_is_refused():
    embedding, labels = photos(5, seed=1)
    embedding[2] = torch.nan
    with pytest.raises(ValueError, match=r"embeddings of queries: 1 of \d+ are not finite .*number 2"):
        retrieval.rank(embedding, embedding, labels, labels, same_camera_removed=False)
