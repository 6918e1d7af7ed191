"""Retrieval against a loop that follows the protocol, and against scikit-learn; what is removed, kept and skipped."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from people import distances
from people.evaluation import retrieval
from people.evaluation.retrieval import NO_PLACE, Photos, Ranked

DISTRACTOR = "0000"


def photos(count: int, seed: int, *, people: int = 6, first: int = 0, distractors: float = 0.2) -> tuple[torch.Tensor, Photos]:
    """Photos of people by three cameras, around a point of each person's own; some are of nobody that is asked for."""
    draw = np.random.default_rng(seed)
    person = draw.integers(people, size=count)
    embedding = 0.8 * np.random.default_rng(99).normal(size=(people, 5))[person] + draw.normal(size=(count, 5))
    subject = np.array([f"p{number}" for number in person])
    subject[draw.random(count) < distractors] = DISTRACTOR
    known = Photos(subject, draw.integers(1, 4, count), np.arange(first, first + count))
    return torch.from_numpy(embedding).float(), known


def naive(
    distance: np.ndarray, query: Photos, gallery: Photos, *, same_camera_removed: bool
) -> list[tuple[list[int], list[bool]]]:
    """For every query which gallery photos are compared, nearest first, and which of them are right."""
    found = []
    for asked, row in enumerate(distance):
        compared = []
        for photo in range(len(row)):
            same_person = gallery.subject[photo] == query.subject[asked]
            same_camera = gallery.camera[photo] == query.camera[asked]
            if gallery.number[photo] == query.number[asked] or (same_camera_removed and same_person and same_camera):
                continue
            compared.append(photo)
        compared.sort(key=lambda photo: row[photo])
        found.append((compared, [bool(gallery.subject[photo] == query.subject[asked]) for photo in compared]))
    return found


def naive_trapezoid(right: list[bool]) -> float:
    """The area as the published MATLAB code adds it up: one trapezoid for each photo down to the last match."""
    area, old_recall, old_precision, hits = 0.0, 0.0, 1.0, 0
    for seen, hit in enumerate(right, start=1):
        hits += hit
        recall, precision = hits / sum(right), hits / seen
        area += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return area


@pytest.mark.parametrize("same_camera_removed", [False, True])
@pytest.mark.parametrize("together", [True, False])
def test_precision_and_ranks_are_those_of_a_loop_and_of_scikit_learn(
    same_camera_removed: bool, together: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(distances, "PROBES_TOGETHER", 7)
    gallery_embedding, gallery = photos(60, seed=1)
    own = np.flatnonzero(gallery.subject != DISTRACTOR)
    query_embedding, query = (gallery_embedding[own], gallery.at(own)) if together else photos(20, 2, first=60, distractors=0.0)
    distance = distances.mean_strip_distance(query_embedding[:, None], gallery_embedding[:, None]).numpy()
    found = retrieval.rank(query_embedding, gallery_embedding, query, gallery, same_camera_removed=same_camera_removed)
    step, trapezoid = found.precision(), found.precision(trapezoid=True)
    for asked, (compared, right) in enumerate(naive(distance, query, gallery, same_camera_removed=same_camera_removed)):
        places = found.place[asked][found.place[asked] != NO_PLACE].tolist()
        assert places == [place for place, hit in enumerate(right, start=1) if hit]
        expected = average_precision_score(np.array(right), -distance[asked][compared])
        assert step[asked] == pytest.approx(expected, abs=1e-12)
        assert trapezoid[asked] == pytest.approx(naive_trapezoid(right), abs=1e-12)
        assert found.within(5)[asked] == any(right[:5])
        order, marked = retrieval.listing(
            distance[asked], query.at(np.array([asked])), gallery, same_camera_removed=same_camera_removed
        )
        assert (order.tolist(), marked.tolist()) == (compared, right)
    curve = found.cumulative(60)
    assert curve[0] == pytest.approx(np.nanmean(found.within(1)))
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1.0


def test_the_average_precision_of_wrong_right_wrong_right_by_hand():
    found = Ranked(np.array(["p"]), np.array([[2, 4]]))
    assert found.precision()[0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found.precision(trapezoid=True)[0] == pytest.approx(((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
    assert (found.within(1)[0], found.within(2)[0]) == (0.0, 1.0)


def test_of_equally_near_photos_the_first_of_the_gallery_comes_first():
    same = torch.zeros(4, 3)
    gallery = Photos(np.array(["b", "a", "b", "a"]), np.full(4, 2), np.arange(4))
    found = retrieval.rank(
        same[:1], same, Photos(np.array(["a"]), np.ones(1, int), np.array([9])), gallery, same_camera_removed=True
    )
    assert found.place.tolist() == [[2, 4]]


def test_a_query_whose_only_match_was_taken_by_its_own_camera_counts_in_no_mean():
    gallery = Photos(np.array(["a", "b"]), np.array([1, 2]), np.array([10, 11]))
    query = Photos(np.array(["a", "b"]), np.array([1, 1]), np.array([0, 1]))
    embedding = torch.tensor([[0.0], [1.0]])
    found = retrieval.rank(embedding, embedding, query, gallery, same_camera_removed=True)
    assert found.without_match == 1
    assert np.isnan(found.precision()).tolist() == [True, False]
    assert np.isnan(found.within(1)).tolist() == [True, False]
    assert found.cumulative(2).tolist() == [1.0, 1.0]


def test_a_photo_of_the_same_person_and_camera_neither_helps_nor_harms():
    embedding, gallery = photos(40, seed=3)
    query = Photos(np.array(["p1"]), np.array([1]), np.array([99]))
    seen = (gallery.subject == "p1") & (gallery.camera == 1)
    assert seen.any()
    found = retrieval.rank(embedding[:1], embedding, query, gallery, same_camera_removed=True)
    kept = torch.from_numpy(~seen)
    without = retrieval.rank(embedding[:1], embedding[kept], query, gallery.at(~seen), same_camera_removed=True)
    assert found.place.tolist() == without.place.tolist()


def test_distractors_stand_before_matches_and_are_never_right():
    embedding = torch.tensor([[0.0], [0.1], [0.2]])
    gallery = Photos(np.array([DISTRACTOR, DISTRACTOR, "a"]), np.array([2, 3, 2]), np.arange(3))
    found = retrieval.rank(
        embedding[:1], embedding, Photos(np.array(["a"]), np.array([1]), np.array([9])), gallery, same_camera_removed=True
    )
    assert found.place.tolist() == [[3]]


def test_where_nobody_has_a_match_nothing_is_measured():
    embedding, query = photos(3, seed=1, distractors=0.0)
    _, gallery = photos(5, seed=2, distractors=1.0)
    found = retrieval.rank(embedding, torch.zeros(5, 5), query, gallery, same_camera_removed=False)
    assert found.without_match == 3
    assert np.isnan(found.precision()).all()
    assert np.isnan(found.cumulative(4)).all()


def test_scaling_and_turning_the_embedding_changes_no_place():
    embedding, known = photos(50, seed=4, distractors=0.0)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0))).Q
    first = retrieval.rank(embedding, embedding, known, known, same_camera_removed=True)
    second = retrieval.rank(3 * embedding @ turn, 3 * embedding @ turn, known, known, same_camera_removed=True)
    np.testing.assert_allclose(first.precision(), second.precision(), atol=1e-2)


def test_an_embedding_that_is_not_finite_is_refused():
    embedding, known = photos(5, seed=1)
    embedding[2] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        retrieval.rank(embedding, embedding, known, known, same_camera_removed=False)
