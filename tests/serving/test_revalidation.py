"""Networks compared on the same people: the interval of the difference of their scores."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flow_stores import write_checkpoint, write_store
from scipy import stats

from people.serving.revalidation import OtherSubjects, Validated, difference, revalidate, subsets, validated
from people.training.monitor import Concatenated, Validation


def mean_score(outputs: dict[str, Any], targets: dict[str, Any]) -> Validation:
    return {"score": outputs["quality"].double().mean().item(), "errors": {}}


def with_qualities(qualities: np.ndarray, subject: np.ndarray | None = None, validate: Any = mean_score) -> Validated:
    """A network that has this quality on each sample, two batches of them, of another person each."""
    monitor = Concatenated(validate, ())
    for part in torch.from_numpy(qualities).tensor_split(2):
        monitor.add({"quality": part, "recordings": list(part)}, {})
    return Validated(monitor, np.arange(len(qualities)) if subject is None else subject)


@pytest.mark.parametrize("people", [3, 4, 5, 8])
def test_the_interval_of_a_mean_is_students_over_people(people: int):
    """The delete-d jackknife of a mean over all subsets is s / sqrt(n), whatever d is (Shao and Wu, 1989)."""
    first, second = np.random.default_rng(people).normal(size=(2, people))
    found = difference(with_qualities(first), with_qualities(second), confidence=0.9, seed=1)
    interval = stats.t.interval(0.9, people - 1, np.mean(first - second), stats.sem(first - second))
    assert found.subjects == people
    assert np.allclose(found[:3], (np.mean(first - second), *interval))


def test_random_halves_of_many_people_give_nearly_the_same_and_the_same_seed_the_same_to_the_bit():
    first, second = np.random.default_rng(0).normal(size=(2, 40))
    found = difference(with_qualities(first), with_qualities(second), confidence=0.95, seed=1)
    expected = stats.t.ppf(0.975, 39) * stats.sem(first - second)
    assert found.high - found.value == pytest.approx(expected, rel=0.2)
    assert difference(with_qualities(first), with_qualities(second), confidence=0.95, seed=1) == found
    assert difference(with_qualities(first), with_qualities(second), confidence=0.95, seed=2) != found


def test_what_both_networks_have_in_common_is_no_noise():
    hard_people = np.random.default_rng(0).normal(scale=100, size=12)
    found = difference(with_qualities(hard_people + 0.5), with_qualities(hard_people), confidence=0.95, seed=1)
    assert np.allclose(found[:3], 0.5)


def test_subsets_are_of_different_people_half_of_all_and_the_same_for_both_networks():
    drawn = subsets(np.arange(30), seed=1)
    assert len(drawn) == 100
    assert {(len(subset), len(set(subset.tolist()))) for subset in drawn} == {(15, 15)}
    assert sorted(map(tuple, subsets(np.array([4, 7, 9]), seed=1))) == [(4, 7), (4, 9), (7, 9)]


@pytest.mark.parametrize("people", [1, 2])
def test_of_two_people_nothing_is_estimated(people: int):
    found = difference(with_qualities(np.ones(people)), with_qualities(np.zeros(people)), confidence=0.95, seed=1)
    assert found == (1.0, -math.inf, math.inf, people)


def test_a_score_that_is_not_defined_on_most_halves_gives_no_estimate_and_on_a_few_none_the_less():
    def without(least: int) -> Any:
        def validate(outputs: dict[str, Any], targets: dict[str, Any]) -> Validation:
            if len(outputs["quality"]) < 6 and outputs["quality"].min() < least:
                raise ValueError("no pairs")
            return mean_score(outputs, targets)

        return validate

    qualities = np.arange(6.0)
    for least, is_known in ((0, True), (1, True), (3, False)):
        network = with_qualities(qualities, validate=without(least))
        found = difference(network, with_qualities(np.zeros(6)), confidence=0.95, seed=1)
        assert math.isfinite(found.low) == is_known
        assert found.value == 2.5


def test_networks_validated_on_other_people_are_not_compared():
    one, other = with_qualities(np.ones(4)), with_qualities(np.ones(4), np.array([0, 1, 2, 2]))
    with pytest.raises(OtherSubjects, match="got 4 and 3 of them"):
        difference(one, other, confidence=0.95, seed=1)


def test_a_monitor_that_keeps_no_row_for_each_sample_cannot_be_asked_about_some_people():
    kept = with_qualities(np.ones(6), np.arange(5))
    assert kept.result()["score"] == 1
    with pytest.raises(ValueError, match="keeps 6 rows of 'quality' for 5 samples"):
        kept.result(np.array([0, 1]))


def test_a_network_on_some_people_scores_as_if_the_split_had_no_others(tmp_path: Path):
    """The samples of each person alone, validated by the system itself."""
    store = write_store(tmp_path / "store", subjects=4, separation=0.02)
    path = write_checkpoint(tmp_path / "checkpoint.pt", store)
    reads = {"frames": store, "poses": store}
    network = validated(path, reads)
    assert network.result(np.unique(network.subject)) == network.result() == revalidate(path, reads)
    monitor = network.monitor
    assert isinstance(monitor, Concatenated)
    rows = torch.from_numpy(np.isin(network.subject, [1, 3]))
    outputs = {name: torch.cat([part[name] for part in monitor.outputs])[rows] for name in monitor.outputs[0]}
    targets = {name: torch.cat([part[name] for part in monitor.targets])[rows] for name in monitor.targets[0]}
    assert network.result(np.array([1, 3])) == monitor.validate(outputs, targets)
    assert network.result(np.array([1, 3])) != network.result()
