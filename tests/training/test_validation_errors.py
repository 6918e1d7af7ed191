"""What training watches: against scikit-learn, nested loops and cases by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_curve

from people.training import validation_errors
from people.training.loop import Diverged


def split(seed: int, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    clip = np.sort(generator.integers(0, 12, 60))
    subject = clip % 4
    signature = generator.normal(size=(4, 6))[subject] + generator.normal(size=(60, 6)) * spread
    return torch.tensor(signature, dtype=torch.float32), torch.tensor(subject), torch.tensor(clip)


def test_unknown_classes_and_ages_do_not_count():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0], [0.0, 9.0]])
    assert validation_errors.error_rate(logits, torch.tensor([0, 0, -1, 1])) == pytest.approx(1 / 3)
    ages = torch.tensor([20.0, 30.0, float("nan")])
    assert validation_errors.mean_absolute_error(torch.tensor([22.0, 36.0, 50.0]), ages) == pytest.approx(4)
    assert np.isnan(validation_errors.error_rate(logits, torch.full((4,), -1)))
    assert np.isnan(validation_errors.mean_absolute_error(torch.ones(3), torch.full((3,), float("nan"))))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_output_that_is_not_finite_has_no_error(value: float):
    signature, subject, clip = split(1)
    signature[7, 2] = value
    zeros = torch.zeros_like(subject)
    refused = [
        lambda: validation_errors.error_rate(signature, subject),
        lambda: validation_errors.balanced_accuracy(signature, subject),
        lambda: validation_errors.mean_absolute_error(signature[:, 2], torch.ones(60)),
        lambda: validation_errors.nearest_neighbour_error(signature, subject, clip),
        lambda: validation_errors.equal_error_rate(signature, subject, clip),
        lambda: validation_errors.across_views(signature[:, None], subject, clip, zeros, zeros),
        lambda: validation_errors.mean_average_precision(signature, subject, clip),
    ]
    for error in refused:
        with pytest.raises(Diverged, match="1 of 60 samples have NaN or infinity, the first is number 7"):
            error()


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_neighbour_is_sought_in_other_clips_only(seed: int):
    signature, subject, clip = split(seed)
    wrong = 0
    for i in range(60):
        others = [j for j in range(60) if clip[j] != clip[i]]
        nearest = min(others, key=lambda j: float((signature[i] - signature[j]).double().norm()))
        wrong += int(subject[nearest] != subject[i])
    assert validation_errors.nearest_neighbour_error(signature, subject, clip) == pytest.approx(wrong / 60)


def test_a_person_with_a_single_clip_is_no_probe_but_can_be_mistaken_for_the_answer():
    signature = torch.tensor([[0.0], [1.0], [0.1], [5.0]])
    subject, clip = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 2, 3])
    assert validation_errors.nearest_neighbour_error(signature, subject, clip) == 1.0  # 0 and 1 both find the sample at 0.1
    with pytest.raises(ValueError, match="two clips"):
        validation_errors.nearest_neighbour_error(signature, torch.arange(4), clip)


@pytest.mark.parametrize("seed", range(3))
def test_the_equal_error_rate_lies_where_the_receiver_operating_curve_crosses_the_diagonal(seed: int):
    signature, subject, clip = split(seed)
    first, second = np.triu_indices(60, 1)
    between = (clip[first] != clip[second]).numpy()
    distance = (signature[first] - signature[second]).double().norm(dim=1).numpy()[between]
    same = (subject[first] == subject[second]).numpy()[between]
    false_positive, true_positive, _ = roc_curve(same, -distance, drop_intermediate=False)
    crossing = np.abs(false_positive - (1 - true_positive)).argmin()
    expected = (false_positive[crossing] + 1 - true_positive[crossing]) / 2
    assert validation_errors.equal_error_rate(signature, subject, clip) == pytest.approx(expected, abs=1e-3)


def test_people_far_apart_are_verified_without_error_and_equal_ones_need_both_kinds_of_pairs():
    signature, subject, clip = split(0, spread=1e-3)
    assert validation_errors.equal_error_rate(signature, subject, clip) == 0
    with pytest.raises(ValueError, match="verification needs"):
        validation_errors.equal_error_rate(signature, torch.zeros(60, dtype=torch.long), clip)


def test_a_common_offset_changes_no_error():
    signature, subject, clip = split(1)
    moved = signature.double() + 1e6
    for error in (validation_errors.nearest_neighbour_error, validation_errors.equal_error_rate):
        assert error(moved, subject, clip) == pytest.approx(error(signature, subject, clip), abs=1e-6)


def photographed(seed: int, photos: int = 70) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    subject, camera = generator.integers(0, 9, photos), generator.integers(1, 4, photos)
    subject[:2] = [100, 101]  # two people with one photo each: no queries, but in everybody's gallery
    embedding = generator.normal(size=(102, 6))[subject] + generator.normal(size=(photos, 6))
    return torch.tensor(embedding, dtype=torch.float32), torch.tensor(subject), torch.tensor(camera)


@pytest.mark.parametrize("seed", range(3))
def test_mean_average_precision_leaves_out_the_person_s_photos_by_the_same_camera(seed: int, monkeypatch: pytest.MonkeyPatch):
    embedding, subject, camera = photographed(seed)
    by_loop, by_sklearn = [], []
    for query in range(len(subject)):
        others = [i for i in range(len(subject)) if not (subject[i] == subject[query] and camera[i] == camera[query])]
        distance = [float((embedding[i] - embedding[query]).double().norm()) for i in others]
        right = [bool(subject[i] == subject[query]) for i in others]
        if not any(right):
            continue
        found, precisions = 0, []
        for rank, place in enumerate(np.argsort(distance, kind="stable"), start=1):
            if right[place]:
                found += 1
                precisions.append(found / rank)
        by_loop.append(np.mean(precisions))
        by_sklearn.append(average_precision_score(right, [-one for one in distance]))
    ours = validation_errors.mean_average_precision(embedding, subject, camera)
    assert ours == pytest.approx(np.mean(by_loop)) == pytest.approx(np.mean(by_sklearn))
    monkeypatch.setattr(validation_errors, "QUERIES", 7)
    assert validation_errors.mean_average_precision(embedding, subject, camera) == pytest.approx(ours, abs=1e-12)


def test_where_nobody_was_seen_twice_there_is_no_mean_average_precision():
    embedding, subject, _ = photographed(0)
    assert np.isnan(validation_errors.mean_average_precision(embedding, subject, torch.ones_like(subject)))


@pytest.mark.parametrize("seed", range(3))
def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_occur(seed: int):
    generator = torch.Generator().manual_seed(seed)
    logits, target = torch.randn(40, 4, generator=generator), torch.randint(-1, 3, (40,), generator=generator)
    known = target >= 0
    predicted = logits[:, :3].argmax(1)
    logits[:, 3] = -9  # a class that nobody has and nobody is called
    expected = balanced_accuracy_score(target[known], predicted[known])
    assert validation_errors.balanced_accuracy(logits, target) == pytest.approx(expected)
    assert np.isnan(validation_errors.balanced_accuracy(logits, torch.full((40,), -1)))
