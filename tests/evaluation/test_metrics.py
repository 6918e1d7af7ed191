"""Every metric against scikit-learn, a naive loop or a number worked by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    roc_auc_score,
    roc_curve,
)

from people.evaluation import bootstrap, identification, metrics


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def test_accuracy_and_balanced_accuracy_equal_those_of_scikit_learn(generator: np.random.Generator) -> None:
    true, predicted, weights = generator.integers(0, 4, 60), generator.integers(0, 4, 60), generator.random(60)
    assert metrics.accuracy(predicted, true, weights) == pytest.approx(accuracy_score(true, predicted, sample_weight=weights))
    expected = balanced_accuracy_score(true, predicted, sample_weight=weights)
    assert metrics.balanced_accuracy(predicted, true, weights) == pytest.approx(expected)


def test_always_guessing_one_of_two_classes_has_a_balanced_accuracy_of_one_half() -> None:
    true = np.array([0, 0, 0, 0, 1])
    assert metrics.accuracy(np.zeros(5, int), true) == pytest.approx(0.8)
    assert metrics.balanced_accuracy(np.zeros(5, int), true) == pytest.approx(0.5)


def test_an_error_of_2_and_one_of_4_years_are_3_years_in_the_mean() -> None:
    assert metrics.mean_absolute_error(np.array([30.0, 44.0]), np.array([32.0, 40.0])) == pytest.approx(3.0)
    weighted = metrics.mean_absolute_error(np.array([30.0, 44.0]), np.array([32.0, 40.0]), np.array([3.0, 1.0]))
    assert weighted == pytest.approx(2.5)


def test_the_cumulative_match_curve_starts_at_rank_1_accuracy_never_falls_and_ends_at_1(generator: np.random.Generator) -> None:
    scores, labels = generator.random((20, 5)), generator.integers(0, 5, 20)
    curve = metrics.cumulative_match(metrics.hits_at_rank(scores, labels, np.arange(5)))
    assert curve[0] == pytest.approx(np.mean(scores.argmax(axis=1) == labels))
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1.0


def test_three_windows_outvote_two_whatever_the_scores_of_the_two_are() -> None:
    scores = np.array([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [0.0, 1.0]])
    assert metrics.majority_vote(scores, np.zeros(5, int)).argmax() == 0
    assert metrics.softmax_product(np.log(scores + 1e-9), np.zeros(5, int)).argmax() == 1


def test_a_tied_vote_goes_to_the_larger_sum_of_scores() -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.3, 0.4, 0.3]])
    assert metrics.majority_vote(scores, np.zeros(2, int)).argmax() == 0
    assert metrics.majority_vote(scores[:, [1, 0, 2]], np.zeros(2, int)).argmax() == 1


def test_the_majority_vote_equals_a_naive_count_with_ties_broken_by_the_sum(generator: np.random.Generator) -> None:
    scores, groups = generator.random((70, 4)), np.repeat(np.arange(14), 5)
    for group, row in enumerate(metrics.majority_vote(scores, groups)):
        windows = scores[groups == group]
        votes = [sum(window.argmax() == identity for window in windows) for identity in range(4)]
        best = max(range(4), key=lambda identity: (votes[identity], windows[:, identity].sum()))
        assert row.argmax() == best


def test_the_softmax_product_equals_the_product_of_probabilities(generator: np.random.Generator) -> None:
    logits = generator.normal(size=(6, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    product = metrics.softmax_product(logits, np.array([0, 0, 0, 1, 1, 1]))
    assert np.allclose(np.exp(product), [probabilities[:3].prod(axis=0), probabilities[3:].prod(axis=0)])


def test_the_softmax_product_of_ten_thousand_windows_does_not_underflow() -> None:
    logits = np.tile([0.0, 0.1, -50.0], (10_000, 1))
    product = metrics.softmax_product(logits, np.zeros(10_000, int))
    assert np.isfinite(product).all()
    assert product.argmax() == 1


def test_a_group_without_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match=r"groups without a window: \[1\]"):
        metrics.majority_vote(np.ones((2, 3)), np.array([0, 2]))


def test_the_roc_equals_that_of_scikit_learn_ties_and_weights_included(generator: np.random.Generator) -> None:
    scores, positive = generator.integers(0, 9, 200).astype(float), generator.random(200) < 0.3
    weights = generator.integers(0, 3, 200).astype(float)
    false_rate, true_rate, thresholds = metrics.roc(scores, positive, weights)
    expected = roc_curve(positive, scores, sample_weight=weights, drop_intermediate=False)
    for computed, reference in zip((false_rate, true_rate, thresholds), expected, strict=True):
        assert np.allclose(computed, reference)


def test_average_precision_equals_that_of_scikit_learn_ties_and_weights_included(generator: np.random.Generator) -> None:
    scores, positive = generator.integers(0, 30, 300).astype(float), generator.random(300) < 0.2
    weights = generator.integers(0, 3, 300).astype(float)
    assert metrics.average_precision(scores, positive) == pytest.approx(average_precision_score(positive, scores))
    expected = average_precision_score(positive, scores, sample_weight=weights)
    assert metrics.average_precision(scores, positive, weights) == pytest.approx(expected)


def test_the_average_precision_of_right_wrong_right_is_five_sixths() -> None:
    scores, positive = np.array([0.9, 0.8, 0.7]), np.array([True, False, True])
    assert metrics.average_precision(scores, positive) == pytest.approx((1 + 2 / 3) / 2)


def test_at_the_equilibrium_point_true_positives_and_true_negatives_are_equally_frequent() -> None:
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    positive = np.array([True, True, False, True, False, False])
    # accepting the best three: 2 of 3 positives accepted, 2 of 3 negatives rejected
    assert metrics.equilibrium_accuracy(scores, positive) == pytest.approx(2 / 3)
    assert metrics.equal_error_rate(scores, positive) == pytest.approx(1 / 3)


def test_between_two_thresholds_the_equilibrium_lies_on_the_straight_line() -> None:
    # one threshold accepts (FPR 0, TPR 0), the next everything: on the line the rates meet at one half
    assert metrics.equilibrium_accuracy(np.ones(5), np.array([True, False, False, True, False])) == pytest.approx(0.5)


def test_the_equilibrium_ignores_changes_of_scale_and_mirrors_when_the_order_turns(
    generator: np.random.Generator,
) -> None:
    scores, positive = generator.normal(size=100), generator.random(100) < 0.4
    value = metrics.equilibrium_accuracy(scores, positive)
    assert metrics.equilibrium_accuracy(np.exp(3 * scores), positive) == pytest.approx(value)
    assert metrics.equilibrium_accuracy(-scores, positive) == pytest.approx(1 - value)
    assert metrics.equilibrium_accuracy(np.where(positive, 1.0, -1.0), positive) == 1.0


def test_true_accepts_are_read_where_false_accepts_are_not_above_the_target_strictly() -> None:
    scores = np.arange(10.0, 0.0, -1.0)
    positive = np.array([True, True, False, True, False, True, False, True, False, True])
    assert metrics.true_accepts_at(scores, positive, 0.25) == pytest.approx(3 / 6)
    assert metrics.true_accepts_at(scores, positive, 0.2499) == pytest.approx(2 / 6)


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="scores of pairs: 1 of 2 are not finite"):
        metrics.roc(np.array([np.nan, 1.0]), np.array([True, False]))


NOT_FINITE = np.array([[0.2, 0.8], [np.nan, 0.1], [0.9, 0.1]])


@pytest.mark.parametrize(
    "refused",
    [
        lambda: metrics.hits_at_rank(NOT_FINITE, np.zeros(3, int), np.arange(2)),
        lambda: metrics.majority_vote(NOT_FINITE, np.zeros(3, int)),
        lambda: metrics.softmax_product(NOT_FINITE, np.zeros(3, int)),
        lambda: metrics.accuracy(NOT_FINITE[:, 0], np.zeros(3)),
        lambda: metrics.balanced_accuracy(np.zeros(3), NOT_FINITE[:, 0]),
        lambda: metrics.mean_absolute_error(NOT_FINITE[:, 0], np.zeros(3)),
        lambda: metrics.average_precision(NOT_FINITE[:, 0], np.array([True, False, True])),
        lambda: bootstrap.Pairs.from_distances(np.arange(2), np.arange(3), NOT_FINITE),
        lambda: identification.centre_and_spread(NOT_FINITE),
    ],
)
def test_a_number_that_is_not_finite_is_refused_not_ranked_first_or_last(refused: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"1 of 3 are not finite .*number 1"):
        refused()


def test_classes_outside_the_confusion_are_refused_not_counted_for_another_group() -> None:
    for predicted, true in ([0, 2], [0, 1]), ([0, 1], [0, -1]):
        with pytest.raises(ValueError, match="classes must be 0 to 1, got"):
            metrics.confusion_matrices(np.array(predicted), np.array(true), np.zeros(2, int), (1, 2))


def test_the_cumulative_match_of_no_probe_is_nan() -> None:
    assert np.isnan(metrics.cumulative_match(np.zeros((0, 3), bool))).tolist() == [True] * 3


def test_the_bootstrap_draws_people_not_rows() -> None:
    # two people with a thousand equal rows each: two independent values, not two thousand
    is_correct = np.repeat([1.0, 0.0], 1000)
    person = np.repeat([0, 1], 1000)
    low, high = metrics.bootstrap_interval(
        lambda drawn: float(np.average(is_correct, weights=drawn[person])), 2, resamples=500, confidence=0.95, seed=3
    )
    assert (low, high) == (0.0, 1.0)


def test_the_bootstrap_interval_of_a_mean_equals_a_naive_resampling_and_covers_the_normal_width(
    generator: np.random.Generator,
) -> None:
    values = generator.normal(size=100)
    low, high = metrics.bootstrap_interval(
        lambda drawn: float(np.average(values, weights=drawn)), 100, resamples=4000, confidence=0.95, seed=3
    )
    naive = [np.mean(generator.choice(values, 100)) for _ in range(4000)]
    assert np.allclose([low, high], np.percentile(naive, [2.5, 97.5]), atol=0.02)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 10, rel=0.08)


def test_the_same_seed_gives_the_same_interval_and_a_constant_has_none() -> None:
    def interval(seed: int) -> tuple[float, float]:
        return metrics.bootstrap_interval(lambda drawn: float(drawn[0]), 5, resamples=50, confidence=0.9, seed=seed)

    assert interval(1) == interval(1)
    assert metrics.bootstrap_interval(lambda drawn: 0.5, 5, resamples=50, confidence=0.9, seed=1) == (0.5, 0.5)


@pytest.mark.parametrize("classes", [2, 5])
def test_measures_of_a_confusion_equal_those_of_scikit_learn_for_every_group_and_for_any_weights(
    classes: int, generator: np.random.Generator
) -> None:
    predicted, true, groups = (generator.integers(0, count, 90) for count in (classes, classes, 3))
    counts = metrics.confusion_matrices(predicted, true, groups, (3, classes))
    weights = np.array([2.0, 0.0, 1.0])
    for group in range(3):
        rows = groups == group
        assert (counts[group] == confusion_matrix(true[rows], predicted[rows], labels=np.arange(classes))).all()
    total, row_weights = np.tensordot(weights, counts, axes=1), weights[groups]
    expected = {
        metrics.confusion_accuracy: np.average(predicted == true, weights=row_weights),
        metrics.confusion_balanced_accuracy: balanced_accuracy_score(true, predicted, sample_weight=row_weights),
        metrics.macro_f1: f1_score(true, predicted, average="macro", sample_weight=row_weights),
    }
    for measure, value in expected.items():
        assert measure(total) == pytest.approx(value)


def test_a_class_that_is_never_true_nor_predicted_is_in_no_mean() -> None:
    confusion = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert metrics.confusion_balanced_accuracy(confusion) == pytest.approx((3 / 4 + 1) / 2)
    assert metrics.macro_f1(confusion) == pytest.approx((6 / 7 + 8 / 9) / 2)
    assert metrics.confusion_accuracy(confusion) == pytest.approx(7 / 8)


def test_measures_of_a_confusion_of_no_row_are_nan() -> None:
    empty = np.zeros((2, 2))
    for measure in (metrics.confusion_accuracy, metrics.confusion_balanced_accuracy, metrics.macro_f1):
        assert np.isnan(measure(empty))


def test_the_area_under_the_roc_is_how_often_a_positive_scores_above_a_negative(generator: np.random.Generator) -> None:
    scores, positive = generator.integers(0, 9, 120).astype(float), generator.random(120) < 0.3
    weights = generator.integers(0, 3, 120).astype(float)
    above = np.sign(scores[positive][:, None] - scores[~positive][None, :])
    assert metrics.roc_auc(scores, positive) == pytest.approx(((above + 1) / 2).mean())
    assert metrics.roc_auc(scores, positive, weights) == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights))
