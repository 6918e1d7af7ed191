"""Metrics of classification, regression, identification and verification, from numpy arrays.

Statistics that get an interval take `weights`, one per row: a bootstrap draws subjects, and a row counts as often as its
subject was drawn. A prediction, a label or a score that is NaN or infinite is refused: compared or sorted, it would count as
wrong or as the first class, and no figure would tell.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped
from scipy.special import logsumexp

from people.evaluation import finite


def accuracy(
    predicted: Shaped[np.ndarray, " row"], true: Shaped[np.ndarray, " row"], weights: Float[np.ndarray, " row"] | None = None
) -> float:
    """Share of rows whose prediction is the true label."""
    return _mean(_same_length(predicted, true) == true, weights)


def balanced_accuracy(
    predicted: Shaped[np.ndarray, " row"], true: Shaped[np.ndarray, " row"], weights: Float[np.ndarray, " row"] | None = None
) -> float:
    """Mean over the classes that occur of the share of the class's rows that are predicted correctly; NaN of no row."""
    labels, codes = np.unique(np.concatenate([_same_length(predicted, true), true]), return_inverse=True)
    predicted_codes, true_codes = np.split(codes, 2)
    counts = np.bincount(true_codes * len(labels) + predicted_codes, weights, minlength=len(labels) ** 2)
    return confusion_balanced_accuracy(counts.reshape(len(labels), len(labels)))


def confusion_matrices(
    predicted: Int[np.ndarray, " row"], true: Int[np.ndarray, " row"], groups: Int[np.ndarray, " row"], shape: tuple[int, int]
) -> Int[np.ndarray, "group true predicted"]:
    """The confusion matrix of each group of rows; `shape`: the numbers of groups and of classes."""
    count, classes = shape
    for name, values in (("predicted", predicted), ("true", true)):
        if len(values) and not 0 <= values.min() <= values.max() < classes:
            raise ValueError(f"{name} classes must be 0 to {classes - 1}, got {values.min()} to {values.max()}")
    cells = (groups * classes + true) * classes + _same_length(predicted, true)
    return np.bincount(cells, minlength=count * classes**2).reshape(count, classes, classes)


def confusion_accuracy(confusion: Num[np.ndarray, "true predicted"]) -> float:
    """Accuracy from a confusion matrix: the share on the diagonal; NaN if it is all 0."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total > 0 else float("nan")


def confusion_balanced_accuracy(confusion: Num[np.ndarray, "true predicted"]) -> float:
    """Balanced accuracy from a confusion matrix: the mean recall of the classes that occur; NaN if it is all 0."""
    class_counts = confusion.sum(axis=1)
    occurs = class_counts > 0
    return float((np.diag(confusion)[occurs] / class_counts[occurs]).mean()) if occurs.any() else float("nan")


def macro_f1(confusion: Num[np.ndarray, "true predicted"]) -> float:
    """The mean of F1 = 2 TP / (2 TP + FP + FN) over the classes that occur or are predicted."""
    counts = confusion.sum(axis=0) + confusion.sum(axis=1)
    occurs = counts > 0
    return float((2 * np.diag(confusion)[occurs] / counts[occurs]).mean()) if occurs.any() else float("nan")


def mean_absolute_error(
    predicted: Num[np.ndarray, " row"], true: Num[np.ndarray, " row"], weights: Float[np.ndarray, " row"] | None = None
) -> float:
    """Mean of |predicted - true|, in the unit of both."""
    return _mean(np.abs(_same_length(predicted, true).astype(float) - true), weights)


def hits_at_rank(
    scores: Float[np.ndarray, "probe identity"],
    probe_labels: Shaped[np.ndarray, " probe"],
    identities: Shaped[np.ndarray, " identity"],
) -> Bool[np.ndarray, "probe identity"]:
    """Whether the identity at each rank, best score first, is the probe's own; equal scores keep the order of `identities`."""
    finite.check("the scores of probes", scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    return identities[order] == probe_labels[:, None]


def cumulative_match(hits: Bool[np.ndarray, "probe identity"]) -> Float[np.ndarray, " identity"]:
    """The cumulative match characteristic: share of probes identified up to each rank; NaN of no probe."""
    if len(hits) == 0:
        return np.full(hits.shape[1], np.nan)
    return np.maximum.accumulate(hits, axis=1).mean(axis=0)


def majority_vote(
    scores: Float[np.ndarray, "window identity"], groups: Int[np.ndarray, " window"]
) -> Float[np.ndarray, "group identity"]:
    """Majority voting: each window of a group (a sequence) votes for its best score; ties go to the larger sum of scores.

    The result ranks identities: votes, less a fraction below one in the order of the summed scores. `groups` are the row
    numbers of the result, and every group needs a window.
    """
    finite.check("the scores of windows", scores)
    count = _group_count(groups)
    votes = np.zeros((count, scores.shape[1]))
    np.add.at(votes, (groups, scores.argmax(axis=1)), 1.0)
    sums = np.zeros_like(votes)
    np.add.at(sums, groups, scores)
    rank = np.argsort(np.argsort(-sums, axis=1, kind="stable"), axis=1, kind="stable")  # 0 for the largest sum
    return votes - rank / votes.shape[1]


def softmax_product(
    logits: Float[np.ndarray, "window identity"], groups: Int[np.ndarray, " window"]
) -> Float[np.ndarray, "group identity"]:
    """Product of softmax scores over the windows of each group, as a sum of logarithms: a product of many would underflow."""
    finite.check("the logits of windows", logits)
    logits = logits.astype(np.float64)
    log_probabilities = logits - logsumexp(logits, axis=1, keepdims=True)
    products = np.zeros((_group_count(groups), logits.shape[1]))
    np.add.at(products, groups, log_probabilities)
    return products


def group_mean(
    values: Float[np.ndarray, "window *item"], groups: Int[np.ndarray, " window"]
) -> Float[np.ndarray, "group *item"]:
    """Mean over the windows of each group."""
    counts = np.bincount(groups, minlength=_group_count(groups))
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, groups, values)
    return sums / counts.reshape(-1, *[1] * (values.ndim - 1))


def roc(
    scores: Float[np.ndarray, " pair"], positive: Bool[np.ndarray, " pair"], weights: Float[np.ndarray, " pair"] | None = None
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """False positive rate, true positive rate and threshold (a pair is accepted when its score is at least this high).

    The first point accepts no pair. Pairs of equal score are accepted together: no threshold separates them.
    """
    thresholds, positives, negatives = _accepted_weights(scores, positive, weights)
    if positives[-1] <= 0 or negatives[-1] <= 0:
        undefined = np.full(len(thresholds) + 1, np.nan)
        return undefined, undefined, np.concatenate([[np.inf], thresholds])
    false_rate = np.concatenate([[0.0], negatives / negatives[-1]])
    true_rate = np.concatenate([[0.0], positives / positives[-1]])
    return false_rate, true_rate, np.concatenate([[np.inf], thresholds])


def equal_error_rate(
    scores: Float[np.ndarray, " pair"], positive: Bool[np.ndarray, " pair"], weights: Float[np.ndarray, " pair"] | None = None
) -> float:
    """The error where false positives and false negatives are equally frequent, on the straight lines between ROC points."""
    false_rate, true_rate, _ = roc(scores, positive, weights)
    if np.isnan(false_rate[-1]):
        return float("nan")
    excess = false_rate - (1 - true_rate)  # rises from -1 to 1
    after = int(np.argmax(excess >= 0))
    before = after - 1
    share = -excess[before] / (excess[after] - excess[before])
    return float(false_rate[before] + share * (false_rate[after] - false_rate[before]))


def equilibrium_accuracy(
    scores: Float[np.ndarray, " pair"], positive: Bool[np.ndarray, " pair"], weights: Float[np.ndarray, " pair"] | None = None
) -> float:
    """Accuracy at the equilibrium point, where the true positive rate equals the true negative rate: 1 - equal error rate."""
    return 1.0 - equal_error_rate(scores, positive, weights)


def roc_auc(
    scores: Float[np.ndarray, " pair"], positive: Bool[np.ndarray, " pair"], weights: Float[np.ndarray, " pair"] | None = None
) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, equal scores counting half."""
    false_rate, true_rate, _ = roc(scores, positive, weights)
    return float(np.trapezoid(true_rate, false_rate))


def average_precision(
    scores: Float[np.ndarray, " pair"], positive: Bool[np.ndarray, " pair"], weights: Float[np.ndarray, " pair"] | None = None
) -> float:
    """Area under the precision-recall curve in steps: sum over thresholds of (recall gained) x (precision there)."""
    precision, recall = precision_recall(scores, positive, weights)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def precision_recall(
    scores: Float[np.ndarray, " pair"], positive: Bool[np.ndarray, " pair"], weights: Float[np.ndarray, " pair"] | None = None
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Precision and recall at every distinct threshold, the strictest first."""
    _, positives, negatives = _accepted_weights(scores, positive, weights)
    if positives[-1] <= 0:
        return np.full(len(positives), np.nan), np.full(len(positives), np.nan)
    accepted = positives + negatives
    precision = np.divide(positives, accepted, out=np.ones_like(positives), where=accepted > 0)
    return precision, positives / positives[-1]


def true_accepts_at(
    scores: Float[np.ndarray, " pair"],
    positive: Bool[np.ndarray, " pair"],
    false_accepts: float,
    weights: Float[np.ndarray, " pair"] | None = None,
) -> float:
    """TAR@FAR: the largest true positive rate whose false positive rate is not above `false_accepts`, strictly."""
    false_rate, true_rate, _ = roc(scores, positive, weights)
    return float(true_rate[false_rate <= false_accepts].max()) if not np.isnan(false_rate[-1]) else float("nan")


def bootstrap_interval(
    statistic: Callable[[Float[np.ndarray, " subject"]], float], subjects: int, *, resamples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Percentile bootstrap over subjects: `statistic` takes how often each subject was drawn, with replacement.

    Windows and sequences of one person are not independent, so people are drawn, not rows. A draw in which the statistic is
    not defined (no row left of a class) is left out.
    """
    if subjects < 1 or resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"bootstrap of {subjects} subjects, {resamples} resamples, confidence {confidence}: expected at least 1, "
            "at least 1 and between 0 and 1; correct the block `bootstrap` in params.yaml"
        )
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples).astype(float)
    values = np.array([statistic(counts) for counts in draws])
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)


def _accepted_weights(
    scores: Float[np.ndarray, " pair"], positive: Bool[np.ndarray, " pair"], weights: Float[np.ndarray, " pair"] | None
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Distinct thresholds, falling, and the weight of positive and of negative pairs accepted at each."""
    if len(scores) == 0 or len(scores) != len(positive):
        raise ValueError(f"{len(scores)} scores for {len(positive)} labels: expected one for each, and at least one pair")
    finite.check("the scores of pairs", scores)
    order = np.argsort(-scores, kind="stable")
    ordered, is_positive = scores[order], positive[order]
    weight = np.ones(len(scores)) if weights is None else weights[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    return ordered[last], np.cumsum(weight * is_positive)[last], np.cumsum(weight * ~is_positive)[last]


def _mean(values: Num[np.ndarray, " row"] | Bool[np.ndarray, " row"], weights: Float[np.ndarray, " row"] | None) -> float:
    if len(values) == 0:
        raise ValueError("mean of no rows; the split has no labelled row for this metric")
    weights = np.ones(len(values)) if weights is None else weights
    total = weights.sum()
    return float(np.dot(weights, values) / total) if total > 0 else float("nan")


def _same_length(predicted: Shaped[np.ndarray, " row"], true: Shaped[np.ndarray, " other"]) -> Shaped[np.ndarray, " row"]:
    if len(predicted) != len(true):
        raise ValueError(f"{len(predicted)} predictions for {len(true)} labels: expected one for each")
    for name, values in (("predictions", predicted), ("labels", true)):
        if values.dtype.kind == "f":
            finite.check(name, values)
    return predicted


def _group_count(groups: Int[np.ndarray, " window"]) -> int:
    counts = np.bincount(groups)
    if len(counts) == 0 or (counts == 0).any():
        empty = np.flatnonzero(counts == 0).tolist() or "all"
        raise ValueError(f"groups without a window: {empty}; every sequence needs at least one window")
    return len(counts)
