"""Open-set identification: the distribution of impostors' distances, thresholds and fusion, against counting and simulation."""

import numpy as np
import pytest

from people.serving import open_set
from people.serving.open_set import Impostors

RNG = np.random.default_rng(4)
PEOPLE, EACH = 12, 6


def recordings(dimensions: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Distances between recordings of people, and whose they are."""
    person = np.repeat(np.arange(PEOPLE), EACH)
    places = np.random.default_rng(4).normal(size=(PEOPLE, dimensions))[person]
    places = places + 0.2 * np.random.default_rng(5).normal(size=places.shape)
    return np.linalg.norm(places[:, None] - places[None], axis=2), person


def normal(count: int, mean: float, deviation: float, seed: int) -> tuple[Impostors, np.ndarray]:
    """The distribution of normal distances of so many pairs of strangers, and these distances."""
    values = np.sort(np.random.default_rng(seed).normal(mean, deviation, count))
    ranks = open_set.kept_ranks(count)
    made = Impostors(
        tuple(ranks.tolist()), tuple(values[ranks - 1].tolist()), float(values.mean()), float(values.std()), 9, count
    )
    return made, values


def test_pairs_of_one_person_do_not_count_and_every_other_pair_counts_once():
    distance, person = recordings()
    impostors = open_set.between_people(distance, person)
    assert impostors.people == PEOPLE
    assert impostors.pairs == PEOPLE * (PEOPLE - 1) // 2 * EACH**2
    apart = distance[person[:, None] != person]
    assert impostors.mean == pytest.approx(apart.mean())
    assert impostors.deviation == pytest.approx(apart.std())
    assert impostors.distances[0] == pytest.approx(apart.min(), rel=1e-5)
    assert impostors.distances[-1] == pytest.approx(apart.max(), rel=1e-5)


def test_the_share_of_strangers_as_near_is_that_which_is_counted_and_never_zero():
    distance, person = recordings()
    impostors = open_set.between_people(distance, person)
    apart = distance[person[:, None] != person]
    asked = np.quantile(apart, [0.001, 0.01, 0.05, 0.3, 0.9])
    counted = (apart[None] <= asked[:, None]).mean(axis=1)
    np.testing.assert_allclose(impostors.match_rate(asked), counted, rtol=0.1, atol=2 / impostors.pairs)
    assert impostors.match_rate(np.array([0.0])) == 1 / (impostors.pairs + 1)
    assert impostors.match_rate(np.array([np.nan])) == 1
    assert impostors.match_rate(np.array([1e9])) == 1


@pytest.mark.parametrize("comparisons", [1, 7, 40])
@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_the_threshold_accepts_as_many_strangers_as_asked(rate: float, comparisons: int):
    impostors, _ = normal(400_000, 10.0, 2.0, seed=6)
    threshold = impostors.threshold(rate, comparisons)
    strangers = np.random.default_rng(8).normal(10.0, 2.0, (40_000, comparisons)).min(axis=1)
    accepted = (strangers <= threshold).mean()
    assert accepted == pytest.approx(rate, rel=0.25)
    assert impostors.accept_rate(np.array([threshold]), comparisons) == pytest.approx(rate, rel=1e-3)


def test_so_small_a_rate_that_so_few_pairs_cannot_show_it_accepts_nobody():
    impostors, values = normal(50, 1.0, 0.1, seed=1)
    assert impostors.threshold(0.01, 1) == -np.inf
    assert impostors.accept_rate(np.array([values[0] - 1]), 1) > 0.01
    assert impostors.threshold(0.03, 1) > values[0] - 1e-9


def test_the_fused_distribution_is_that_of_the_mean_of_independent_systems():
    first, _ = normal(20_000, 10.0, 2.0, seed=2)
    second, _ = normal(30_000, 0.5, 0.1, seed=3)
    both = open_set.fused(first, second)
    draw = np.random.default_rng(9)
    drawn = draw.normal(10.0, 2.0, 200_000), draw.normal(0.5, 0.1, 200_000)
    mean = open_set.fused_distance((first, second), drawn)
    for share in (0.001, 0.01, 0.1, 0.5):
        assert both.match_rate(np.quantile(mean, [share])) == pytest.approx(share, rel=0.15)
    assert both.pairs == 30_000
    assert both.deviation == pytest.approx(2**-0.5, rel=0.06)


def test_the_fused_distribution_of_one_system_is_its_own():
    impostors, values = normal(1000, 3.0, 0.5, seed=2)
    alone = open_set.fused(impostors)
    np.testing.assert_allclose(alone.match_rate(impostors.normalised(values)), impostors.match_rate(values))


def test_as_text_it_is_the_same_and_short():
    distance, person = recordings()
    impostors = open_set.between_people(distance, person)
    text = impostors.to_json()
    assert Impostors.from_json(text) == impostors
    assert len(text) <= 5000


@pytest.mark.parametrize("text", ["", "[]", '{"counts": [1]}', "no"])
def test_other_text_is_refused(text: str):
    with pytest.raises(ValueError, match="expected the distances of impostors as `register` writes them"):
        Impostors.from_json(text)


def test_one_person_has_no_strangers():
    with pytest.raises(ValueError, match="expected recordings of two people at least, got those of 1"):
        open_set.between_people(np.zeros((3, 3)), np.zeros(3, int))


def test_distances_that_are_not_finite_are_refused():
    distance = np.ones((3, 3))
    distance[0, 2] = np.nan
    with pytest.raises(ValueError, match="distances between validation people are not finite"):
        open_set.between_people(distance, np.arange(3))
