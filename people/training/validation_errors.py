"""Errors of held-out people, computed after each epoch: by them models are selected and learning rates fall.

Nothing here is differentiated, nothing depends on how the samples were batched, and `people.evaluation` is not imported: a new
metric retrains nothing. Distances are computed in float64 from centred features, so that a large common offset costs no digits.
An output that is NaN or infinite is refused: sorted or compared it would give an error like any other, and select a model.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from people.nn.distances import mean_strip_distance
from people.nn.losses import balanced_threshold
from people.training.monitor import Diverged

COMBINED = "combined"  # names the error of all of a network's tasks together: networks with other tasks have another one
# the equal error rate looks at all pairs of at most this many samples: two million pairs, sorted in a moment
PAIRED_WINDOWS = 2048
QUERIES = 256  # at a time, against all photos: bounds memory


def error_rate(logits: Float[Tensor, "sample class"], target: Int[Tensor, " sample"]) -> float:
    """The share of samples whose largest logit is not their class; -1 is unknown and does not count (NaN if all are)."""
    _check_finite("logits", logits)
    is_labelled = target >= 0
    return (logits.argmax(1) != target)[is_labelled].double().mean().item()


def balanced_accuracy(logits: Float[Tensor, "sample class"], target: Int[Tensor, " sample"]) -> float:
    """The mean over the classes that occur of the share of their samples whose largest logit is that class (the mean recall).

    A target of -1 is unknown and does not count (NaN if all are).
    """
    _check_finite("logits", logits)
    is_labelled = target >= 0
    target, right = target[is_labelled], (logits.argmax(1) == target)[is_labelled]
    recalls = [right[target == label].double().mean() for label in target.unique()]
    return torch.stack(recalls).mean().item() if recalls else torch.nan


def mean_absolute_error(prediction: Float[Tensor, " sample"], target: Float[Tensor, " sample"]) -> float:
    """The mean of |ŷ - y| in the target's own unit; a NaN target is unknown and does not count (NaN if all are)."""
    _check_finite("prediction", prediction)
    return (prediction.double() - target.double()).abs().nanmean().item()


def nearest_neighbour_error(
    signature: Float[Tensor, "sample channel"], subject: Int[Tensor, " sample"], clip: Int[Tensor, " sample"]
) -> float:
    """1 - rank-1: the share of samples whose nearest sample of another clip shows another person.

    Every sample is a probe against all samples of other clips; one whose person appears in no other clip is no probe, as no
    answer could be right. The first of equally near samples counts.
    """
    people_of_clips = torch.unique(torch.stack([subject, clip]), dim=1)[0]
    people, clips = torch.unique(people_of_clips, return_counts=True)
    probes = torch.isin(subject, people[clips > 1]).nonzero().squeeze(1)
    if len(probes) == 0:
        raise ValueError(
            f"identification needs a person with samples of two clips, got {len(people)} people with one clip each: "
            "give the validation split more clips per person"
        )
    features = _centred(signature)
    right = 0
    for rows in probes.split(1024):
        distance = _squared_distance(features[rows], features)
        distance.masked_fill_(clip[rows, None] == clip[None, :], torch.inf)
        right += int((subject[distance.argmin(1)] == subject[rows]).sum())
    return 1 - right / len(probes)


def equal_error_rate(
    signature: Float[Tensor, "sample channel"], subject: Int[Tensor, " sample"], clip: Int[Tensor, " sample"]
) -> float:
    """The error of verification at the distance where false acceptances and false rejections are equally frequent.

    All unordered pairs of samples of different clips count, of at most `PAIRED_WINDOWS` samples spread evenly over the split.
    """
    count = min(len(subject), PAIRED_WINDOWS)
    chosen = torch.linspace(0, len(subject) - 1, count, dtype=torch.float64).round().long().to(subject.device)
    features, subject, clip = _centred(signature)[chosen], subject[chosen], clip[chosen]
    first, second = torch.triu_indices(len(chosen), len(chosen), offset=1, device=subject.device)
    pairs = clip[first] != clip[second]
    distance = _squared_distance(features, features)[first[pairs], second[pairs]]
    same = (subject[first] == subject[second])[pairs]
    if not same.any() or same.all():
        raise ValueError(
            f"verification needs pairs of one person and pairs of two, got {int(same.sum())} and {int((~same).sum())}: "
            "give the validation split more people, and more clips per person"
        )
    _, true_positive_rate, true_negative_rate = balanced_threshold(distance, same)
    return (1 - (true_positive_rate + true_negative_rate) / 2).item()


def across_views(
    embedding: Float[Tensor, "sample strip channel"],
    subject: Int[Tensor, " sample"],
    walk: Int[Tensor, " sample"],
    view: Int[Tensor, " sample"],
    condition: Int[Tensor, " sample"],
) -> tuple[float, float]:
    """1 - rank-1 across views, and 1 - mean average precision, with one view as gallery at a time.

    Every sample is a probe against the normal samples (condition 0) of each other view; its own walk, which other cameras saw
    at the same time, is not in its gallery, and a view without another sample of its person is left out. Both numbers are means
    over the probes of a condition, then over the conditions, so that rare ones count as much. NaN where nothing is compared.
    Samples are as far apart as their strips are on average (`people.nn.distances.mean_strip_distance`).
    """
    _check_finite("embedding", embedding)
    distance = mean_strip_distance(embedding, embedding)
    same_walk = walk[:, None] == walk[None, :]
    right_one = subject[:, None] == subject[None, :]
    results: list[Tensor] = []
    for seen in view[condition == 0].unique():
        gallery = ((view == seen) & (condition == 0)).nonzero().squeeze(1)
        probes = (view != seen).nonzero().squeeze(1)
        allowed = ~same_walk[probes][:, gallery]
        right = right_one[probes][:, gallery] & allowed
        has_match = right.any(1)
        order = (
            distance[probes][:, gallery].double().masked_fill(~allowed, torch.inf)[has_match].sort(dim=1, stable=True).indices
        )
        hit = right[has_match].gather(1, order).double()
        precision = average_precision(hit)
        results.append(torch.stack([condition[probes][has_match].double(), hit[:, 0], precision], dim=1))
    joined = torch.cat(results) if results else torch.zeros(0, 3)
    by_condition = [joined[joined[:, 0] == name, 1:].mean(0) for name in joined[:, 0].unique()]
    rank_1, precision = torch.stack(by_condition).mean(0).tolist() if by_condition else (torch.nan, torch.nan)
    return 1 - rank_1, 1 - precision


def mean_average_precision(
    embedding: Float[Tensor, "sample channel"], subject: Int[Tensor, " sample"], camera: Int[Tensor, " sample"]
) -> float:
    """Mean average precision (step form) of every photo as a query against all photos, by Euclidean distance.

    Photos of the query's person by the query's camera, itself among them, are left out; a query whose person no other camera
    saw is left out. Of equally near photos the first counts as nearer. NaN where no query is left.
    """
    features, precisions = _centred(embedding), []
    for queries in torch.arange(len(subject), device=subject.device).split(QUERIES):
        same_person, same_camera = subject[queries, None] == subject, camera[queries, None] == camera
        right = same_person & ~same_camera
        has_match = right.any(1)
        distance = _squared_distance(features[queries], features).masked_fill(same_person & same_camera, torch.inf)[has_match]
        precisions.append(average_precision(right[has_match].gather(1, distance.sort(dim=1, stable=True).indices).double()))
    return torch.cat(precisions).mean().item()


def average_precision(right: Float[Tensor, "query rank"]) -> Float[Tensor, " query"]:
    """Average precision in steps: 1/M Σ_k P(k) r_k, of each query's results in order, r_k being 1 where the k-th is right."""
    rank = torch.arange(1, right.shape[1] + 1, device=right.device)
    return (right.cumsum(1) / rank * right).sum(1) / right.sum(1)


def _check_finite(what: str, outputs: Float[Tensor, "sample *shape"]) -> None:
    is_finite = outputs.isfinite().flatten(1).all(1) if outputs.dim() > 1 else outputs.isfinite()
    if not is_finite.all():
        rows = (~is_finite).nonzero().squeeze(1)
        raise Diverged(
            f"the {what} must be finite numbers, {len(rows)} of {len(outputs)} samples have NaN or infinity, the first is "
            f"number {int(rows[0])}, counted from 0; lower training.learning_rate, or look at the arrays of these samples"
        )


def _centred(signature: Float[Tensor, "sample channel"]) -> Float[Tensor, "sample channel"]:
    _check_finite("embedding", signature)
    features = signature.double()
    return features - features.mean(0)


def _squared_distance(
    probe: Float[Tensor, "probe channel"], gallery: Float[Tensor, "gallery channel"]
) -> Float[Tensor, "probe gallery"]:
    products = probe @ gallery.T
    return probe.square().sum(1)[:, None] + gallery.square().sum(1)[None, :] - 2 * products
