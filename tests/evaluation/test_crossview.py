"""Identification across views: both protocols against loops that follow their definitions, and what is never compared."""

from itertools import product

import numpy as np
import pytest
import torch

from people import distances
from people.evaluation import crossview
from people.evaluation.crossview import Found, Seen

VIEWS_DEG = (0.0, 36.0, 90.0)


def people(count: int, sequences: int, seed: int, views_deg: tuple[float, ...] = VIEWS_DEG, told_apart: float = 0.6) -> Seen:
    """Every person in every sequence and view; embeddings of three strips around a point of their own."""
    draw = np.random.default_rng(seed)
    own = np.random.default_rng(99).normal(size=(count, 3, 4))
    rows = list(product(range(count), range(sequences), views_deg))
    embedding = np.stack([told_apart * own[person] + draw.normal(size=(3, 4)) for person, _, _ in rows])
    names = np.array([f"p{person}" for person, _, _ in rows])
    return Seen(torch.from_numpy(embedding).float(), names, np.array([view for _, _, view in rows]))


def without(seen: Seen, left_out: np.ndarray) -> Seen:
    return Seen(seen.embedding[torch.from_numpy(~left_out)], seen.subject[~left_out], seen.view_deg[~left_out])


def naive_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.mean([np.sqrt(((x - y) ** 2).sum()) for x, y in zip(a.double().numpy(), b.double().numpy(), strict=True)]))


def naive_places(probe: Seen, gallery: Seen, number: int, clips: list[int]) -> list[int]:
    """At which places a probe's own person stands among these gallery clips, nearest first."""
    ranked = sorted(clips, key=lambda clip: naive_distance(probe.embedding[number], gallery.embedding[clip]))
    return [place for place, clip in enumerate(ranked, start=1) if gallery.subject[clip] == probe.subject[number]]


def naive_single_view(probe: Seen, gallery: Seen, rank: int) -> float:
    """Mean over probe views of the mean over other gallery views of the share of probes found."""
    of_probe_views = []
    for probe_view in np.unique(probe.view_deg):
        of_gallery_views = []
        for gallery_view in np.unique(gallery.view_deg):
            clips = np.flatnonzero(gallery.view_deg == gallery_view).tolist()
            probes = np.flatnonzero(probe.view_deg == probe_view)
            places = [naive_places(probe, gallery, number, clips) for number in probes]
            if probe_view != gallery_view and any(places):
                of_gallery_views.append(np.mean([found[0] <= rank for found in places if found]))
        of_probe_views.append(np.mean(of_gallery_views))
    return float(np.mean(of_probe_views))


def naive_cross_view(probe: Seen, gallery: Seen) -> tuple[float, float]:
    """Rank-1 and mean average precision with all other views as gallery, the mean over probe views."""
    hits, precisions = [], []
    for view in np.unique(probe.view_deg):
        clips = np.flatnonzero(gallery.view_deg != view).tolist()
        places = [naive_places(probe, gallery, number, clips) for number in np.flatnonzero(probe.view_deg == view)]
        hits.append(np.mean([found[0] == 1 for found in places]))
        precisions.append(np.mean([np.mean([(i + 1) / place for i, place in enumerate(found)]) for found in places]))
    return float(np.mean(hits)), float(np.mean(precisions))


def mean(found: Found, values: np.ndarray) -> float:
    return found.mean(values)(np.ones(len(found.subject)))


@pytest.mark.parametrize("rank", [1, 5])
def test_a_single_view_as_gallery_is_what_loops_over_both_views_find_also_where_clips_are_missing(rank: int):
    probe, gallery = people(6, 2, seed=1), people(6, 4, seed=2)
    found = crossview.single_view_gallery(probe, gallery)
    assert mean(found, found.within(rank)) == pytest.approx(naive_single_view(probe, gallery, rank), abs=1e-12)
    fewer = without(gallery, (gallery.subject == "p2") & (gallery.view_deg == 36.0))
    found = crossview.single_view_gallery(probe, fewer)
    assert mean(found, found.within(rank)) == pytest.approx(naive_single_view(probe, fewer, rank), abs=1e-12)


def test_all_other_views_as_one_gallery_are_what_a_loop_over_probes_finds():
    probe, gallery = people(6, 1, seed=3), people(6, 3, seed=4)
    found = crossview.cross_view_gallery(probe, gallery)
    rank_1, precision = naive_cross_view(probe, gallery)
    assert mean(found, found.within(1)) == pytest.approx(rank_1, abs=1e-12)
    assert mean(found, found.precision) == pytest.approx(precision, abs=1e-12)
    assert 0.2 < rank_1 < 1


def test_the_identical_view_is_never_compared():
    probe, gallery = people(4, 1, seed=1), people(4, 1, seed=1)  # the same clips: a probe would find itself
    found = crossview.single_view_gallery(probe, gallery)
    assert ((found.place == crossview.NOT_ASKED) == (probe.view_deg[:, None] == found.gallery_deg)).all()
    moved = Seen(gallery.embedding + 100 * torch.tensor(gallery.view_deg == 0.0)[:, None, None], *gallery[1:])
    first = crossview.cross_view_gallery(probe, gallery).place[probe.view_deg == 0.0]
    assert (first == crossview.cross_view_gallery(probe, moved).place[probe.view_deg == 0.0]).all()


def test_a_person_who_is_missing_from_a_gallery_view_counts_or_not_by_hand():
    embedding = torch.zeros(4, 1, 1)
    embedding[:, 0, 0] = torch.tensor([0.0, 1.0, 0.1, 5.0])
    gallery = Seen(embedding[2:], np.array(["a", "c"]), np.array([90.0, 90.0]))
    probe = Seen(embedding[:2], np.array(["a", "b"]), np.array([0.0, 0.0]))
    found = crossview.single_view_gallery(probe, gallery)
    assert found.place.tolist() == [[1], [crossview.NOT_THERE]]
    assert found.without_gallery == 1
    assert mean(found, found.within(1)) == 1.0
    assert mean(found, found.within(1, missing_count=True)) == 0.5


def test_where_every_clip_was_seen_from_one_side_nothing_is_asked():
    found = crossview.single_view_gallery(people(3, 1, seed=1, views_deg=(90.0,)), people(3, 2, seed=2, views_deg=(90.0,)))
    assert (found.place == crossview.NOT_ASKED).all()
    assert np.isnan(mean(found, found.within(1)))


def test_a_view_that_only_the_gallery_has_is_compared_and_one_that_only_probes_have_too():
    probe, gallery = people(3, 1, seed=1, views_deg=(0.0, 18.0)), people(3, 1, seed=2, views_deg=(0.0, 90.0))
    found = crossview.single_view_gallery(probe, gallery)
    assert found.views_deg.tolist() == [0.0, 18.0]
    assert np.isnan(found.by_view(found.within(1))).tolist() == [[True, False], [False, False]]


def test_a_clip_without_a_known_view_is_refused():
    probe = people(2, 1, seed=1)
    with pytest.raises(ValueError, match="no view_deg"):
        crossview.single_view_gallery(probe._replace(view_deg=np.full(6, np.nan)), probe)


def test_equally_near_clips_keep_their_order():
    same = torch.zeros(3, 1, 2)
    gallery = Seen(same, np.array(["b", "a", "a"]), np.full(3, 90.0))
    found = crossview.single_view_gallery(Seen(same[:1], np.array(["a"]), np.zeros(1)), gallery)
    assert found.place.tolist() == [[2]]
    assert found.precision.tolist() == [[pytest.approx((1 / 2 + 2 / 3) / 2)]]


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_the_distance_is_the_mean_over_strips_of_euclidean_distances_also_far_from_the_origin(
    offset: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(distances, "PROBES_TOGETHER", 4)
    monkeypatch.setattr(distances, "GALLERY_TOGETHER", 5)
    draw = torch.Generator().manual_seed(0)
    probe, gallery = torch.randn(9, 3, 40, generator=draw) + offset, torch.randn(31, 3, 40, generator=draw) + offset
    gallery[7], gallery[8] = probe[3], probe[3] + 1e-3
    found = distances.mean_strip_distance(probe, gallery)
    expected = torch.tensor([[naive_distance(a, b) for b in gallery] for a in probe])
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-5)
    assert found[3, 7] == 0.0


def test_the_distance_of_strips_ranks_otherwise_than_that_of_their_concatenation():
    near_in_each, near_in_one = torch.tensor([[[3.0], [3.0]]]), torch.tensor([[[0.0], [5.0]]])
    probe = torch.zeros(1, 2, 1)
    each, one = (distances.mean_strip_distance(probe, other).item() for other in (near_in_each, near_in_one))
    assert (each, one) == (3.0, 2.5)
    assert near_in_each.norm() < near_in_one.norm()
