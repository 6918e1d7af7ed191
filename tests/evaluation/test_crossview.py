"""Identification across views: both protocols against loops that follow their definitions, and what is never compared."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch

from people.evaluation import crossview
from people.evaluation.crossview import CrossViewRanks, ViewedClips
from people.nn import distances

VIEWS_DEG = (0.0, 36.0, 90.0)


def people(
    count: int, sequences: int, seed: int, views_deg: tuple[float, ...] = VIEWS_DEG, separation: float = 0.6
) -> ViewedClips:
    """Every person in every sequence and view; embeddings of three strips around each person's centre."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(count, 3, 4))
    rows = list(product(range(count), range(sequences), views_deg))
    embedding = np.stack([separation * centres[person] + draw.normal(size=(3, 4)) for person, _, _ in rows])
    names = np.array([f"p{person}" for person, _, _ in rows])
    return ViewedClips(torch.from_numpy(embedding).float(), names, np.array([view for _, _, view in rows]))


def without(clips: ViewedClips, left_out: np.ndarray) -> ViewedClips:
    return ViewedClips(clips.embedding[torch.from_numpy(~left_out)], clips.subject[~left_out], clips.view_deg[~left_out])


def naive_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.mean([np.sqrt(((x - y) ** 2).sum()) for x, y in zip(a.double().numpy(), b.double().numpy(), strict=True)]))


def naive_ranks(probe: ViewedClips, gallery: ViewedClips, number: int, clips: list[int]) -> list[int]:
    """The ranks of the clips of a probe's person among these gallery clips, nearest first."""
    ordered = sorted(clips, key=lambda clip: naive_distance(probe.embedding[number], gallery.embedding[clip]))
    return [rank for rank, clip in enumerate(ordered, start=1) if gallery.subject[clip] == probe.subject[number]]


def naive_single_view(probe: ViewedClips, gallery: ViewedClips, rank: int) -> float:
    """Mean over probe views of the mean over other gallery views of the share of probes with a match within this rank."""
    probe_view_means = []
    for probe_view in np.unique(probe.view_deg):
        gallery_view_means = []
        for gallery_view in np.unique(gallery.view_deg):
            clips = np.flatnonzero(gallery.view_deg == gallery_view).tolist()
            probes = np.flatnonzero(probe.view_deg == probe_view)
            ranks = [naive_ranks(probe, gallery, number, clips) for number in probes]
            if probe_view != gallery_view and any(ranks):
                gallery_view_means.append(np.mean([matches[0] <= rank for matches in ranks if matches]))
        probe_view_means.append(np.mean(gallery_view_means))
    return float(np.mean(probe_view_means))


def naive_cross_view(probe: ViewedClips, gallery: ViewedClips) -> tuple[float, float]:
    """Rank-1 and mean average precision against all clips but the same person's from the same view, the mean over views."""
    hits, precisions = [], []
    for view in np.unique(probe.view_deg):
        ranks = []
        for number in np.flatnonzero(probe.view_deg == view):
            is_removed = (gallery.view_deg == view) & (gallery.subject == probe.subject[number])
            ranks.append(naive_ranks(probe, gallery, number, np.flatnonzero(~is_removed).tolist()))
        hits.append(np.mean([matches[0] == 1 for matches in ranks]))
        precisions.append(np.mean([np.mean([(i + 1) / rank for i, rank in enumerate(matches)]) for matches in ranks]))
    return float(np.mean(hits)), float(np.mean(precisions))


def mean(ranks: CrossViewRanks, values: np.ndarray) -> float:
    return ranks.weighted_mean(values)(np.ones(len(ranks.subject)))


@pytest.mark.parametrize("rank", [1, 5])
def test_a_single_view_as_gallery_equals_loops_over_both_views_also_where_clips_are_missing(rank: int):
    probe, gallery = people(6, 2, seed=1), people(6, 4, seed=2)
    ranks = crossview.single_view_gallery(probe, gallery)
    assert mean(ranks, ranks.hits_within(rank)) == pytest.approx(naive_single_view(probe, gallery, rank), abs=1e-12)
    fewer = without(gallery, (gallery.subject == "p2") & (gallery.view_deg == 36.0))
    ranks = crossview.single_view_gallery(probe, fewer)
    assert mean(ranks, ranks.hits_within(rank)) == pytest.approx(naive_single_view(probe, fewer, rank), abs=1e-12)


def test_one_gallery_of_all_views_equals_a_loop_over_probes():
    probe, gallery = people(6, 1, seed=3), people(6, 3, seed=4)
    ranks = crossview.cross_view_gallery(probe, gallery)
    rank_1, precision = naive_cross_view(probe, gallery)
    assert mean(ranks, ranks.hits_within(1)) == pytest.approx(rank_1, abs=1e-12)
    assert mean(ranks, ranks.average_precision) == pytest.approx(precision, abs=1e-12)
    assert 0.2 < rank_1 < 1


def at(*positions: float, subject: str, view_deg: tuple[float, ...]) -> ViewedClips:
    """Clips on a line, one letter of `subject` each."""
    return ViewedClips(torch.tensor(positions)[:, None, None], np.array(list(subject)), np.array(view_deg))


def test_strangers_from_the_probe_s_view_stay_in_the_gallery_by_hand():
    probe = at(0.0, subject="a", view_deg=(0.0,))
    stranger_first = crossview.cross_view_gallery(probe, at(0.1, 1.0, subject="ba", view_deg=(0.0, 18.0)))
    assert stranger_first.rank.tolist() == [[2]]
    assert mean(stranger_first, stranger_first.hits_within(1)) == 0.0
    assert stranger_first.average_precision.tolist() == [[0.5]]
    # the same person's clip from the same view, the nearest of all, is the only one that leaves
    own_view_too = crossview.cross_view_gallery(probe, at(0.05, 0.1, 1.0, subject="aba", view_deg=(0.0, 0.0, 18.0)))
    assert own_view_too.rank.tolist() == [[2]]
    # with a single view as gallery the stranger is in none that is compared
    assert crossview.single_view_gallery(probe, at(0.1, 1.0, subject="ba", view_deg=(0.0, 18.0))).rank.tolist() == [[-1, 1]]


def test_a_probe_whose_person_has_gallery_clips_of_its_own_view_alone_has_no_match():
    probe = at(0.0, subject="a", view_deg=(0.0,))
    with_stranger = crossview.cross_view_gallery(probe, at(0.1, 1.0, subject="ab", view_deg=(0.0, 18.0)))
    assert with_stranger.rank.tolist() == [[crossview.NOT_IN_GALLERY]]
    alone = crossview.cross_view_gallery(probe, at(0.1, subject="a", view_deg=(0.0,)))
    assert alone.rank.tolist() == [[crossview.NOT_COMPARED]]


@pytest.mark.parametrize("galleries", [crossview.single_view_gallery, crossview.cross_view_gallery])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_embedding_that_is_not_finite_is_refused_not_ranked(galleries: Callable, value: float):
    probe, gallery = people(20, 1, seed=1, separation=9.0), people(20, 1, seed=2, separation=9.0)
    ranks = galleries(probe, gallery)
    assert mean(ranks, ranks.hits_within(1)) == 1.0
    gallery.embedding[7, 1, 2] = value
    with pytest.raises(ValueError, match=r"gallery clips: 1 of 60 are not finite .*number 7"):
        galleries(probe, gallery)
    with pytest.raises(ValueError, match=r"probe clips: 1 of 60 are not finite"):
        galleries(gallery, probe)


def test_the_identical_view_of_a_person_is_never_compared():
    probe, gallery = people(4, 1, seed=1), people(4, 1, seed=1)  # the same clips: the nearest clip would be the probe itself
    ranks = crossview.single_view_gallery(probe, gallery)
    assert ((ranks.rank == crossview.NOT_COMPARED) == (probe.view_deg[:, None] == ranks.gallery_deg)).all()
    is_own = torch.tensor((gallery.view_deg == 0.0) & (gallery.subject == "p1"))
    moved = ViewedClips(gallery.embedding + 100 * is_own[:, None, None], *gallery[1:])
    first, second = (crossview.cross_view_gallery(probe, clips).rank[is_own.numpy()] for clips in (gallery, moved))
    assert (first == second).all()


def test_a_person_who_is_missing_from_a_gallery_view_counts_or_not_by_hand():
    embedding = torch.zeros(4, 1, 1)
    embedding[:, 0, 0] = torch.tensor([0.0, 1.0, 0.1, 5.0])
    gallery = ViewedClips(embedding[2:], np.array(["a", "c"]), np.array([90.0, 90.0]))
    probe = ViewedClips(embedding[:2], np.array(["a", "b"]), np.array([0.0, 0.0]))
    ranks = crossview.single_view_gallery(probe, gallery)
    assert ranks.rank.tolist() == [[1], [crossview.NOT_IN_GALLERY]]
    assert ranks.without_gallery == 1
    assert mean(ranks, ranks.hits_within(1)) == 1.0
    assert mean(ranks, ranks.hits_within(1, count_missing=True)) == 0.5


def test_with_clips_of_one_view_alone_nothing_is_compared():
    ranks = crossview.single_view_gallery(people(3, 1, seed=1, views_deg=(90.0,)), people(3, 2, seed=2, views_deg=(90.0,)))
    assert (ranks.rank == crossview.NOT_COMPARED).all()
    assert np.isnan(mean(ranks, ranks.hits_within(1)))


def test_a_view_that_only_the_gallery_has_is_compared_and_one_that_only_probes_have_too():
    probe, gallery = people(3, 1, seed=1, views_deg=(0.0, 18.0)), people(3, 1, seed=2, views_deg=(0.0, 90.0))
    ranks = crossview.single_view_gallery(probe, gallery)
    assert ranks.views_deg.tolist() == [0.0, 18.0]
    assert np.isnan(ranks.mean_by_view(ranks.hits_within(1))).tolist() == [[True, False], [False, False]]


def test_a_clip_without_a_known_view_is_refused():
    probe = people(2, 1, seed=1)
    with pytest.raises(ValueError, match="no view_deg"):
        crossview.single_view_gallery(probe._replace(view_deg=np.full(6, np.nan)), probe)


def test_equally_near_clips_keep_their_order():
    same = torch.zeros(3, 1, 2)
    gallery = ViewedClips(same, np.array(["b", "a", "a"]), np.full(3, 90.0))
    ranks = crossview.single_view_gallery(ViewedClips(same[:1], np.array(["a"]), np.zeros(1)), gallery)
    assert ranks.rank.tolist() == [[2]]
    assert ranks.average_precision.tolist() == [[pytest.approx((1 / 2 + 2 / 3) / 2)]]


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_the_distance_is_the_mean_over_strips_of_euclidean_distances_also_far_from_the_origin(
    offset: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(distances, "PROBE_BLOCK", 4)
    monkeypatch.setattr(distances, "GALLERY_BLOCK", 5)
    draw = torch.Generator().manual_seed(0)
    probe, gallery = torch.randn(9, 3, 40, generator=draw) + offset, torch.randn(31, 3, 40, generator=draw) + offset
    gallery[7], gallery[8] = probe[3], probe[3] + 1e-3
    computed = distances.mean_strip_distance(probe, gallery)
    expected = torch.tensor([[naive_distance(a, b) for b in gallery] for a in probe])
    torch.testing.assert_close(computed.double(), expected.double(), rtol=1e-5, atol=1e-5)
    assert computed[3, 7] == 0.0


def test_the_distance_of_strips_ranks_otherwise_than_that_of_their_concatenation():
    near_in_each, near_in_one = torch.tensor([[[3.0], [3.0]]]), torch.tensor([[[0.0], [5.0]]])
    probe = torch.zeros(1, 2, 1)
    values = [distances.mean_strip_distance(probe, clip).item() for clip in (near_in_each, near_in_one)]
    assert values == [3.0, 2.5]
    assert near_in_each.norm() < near_in_one.norm()
