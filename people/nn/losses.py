"""Losses as pure functions: arrays in, one number with a graph out.

A batch without any known target (or without any pair) gives 0 with a graph and zero gradients, not NaN.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

TUKEY_C = 4.6851  # 95 % of the efficiency of least squares when the residuals are normal
MAD_TO_STANDARD_DEVIATION = 1.4826
TRIPLETS_AT_ONCE = 2**26  # on a GPU, where not all of these are triplets: half a gigabyte


def cross_entropy(logits: Float[Tensor, "sample class"], target: Int[Tensor, " sample"]) -> Float[Tensor, ""]:
    """Softmax log-loss L(ŷ, c) = -ŷ_c + log Σ_k exp ŷ_k (DMT, identification loss): mean over samples, -1 is unknown."""
    total = functional.cross_entropy(logits.float(), target, ignore_index=-1, reduction="sum")
    return total / (target >= 0).sum().clamp(min=1)


def median_absolute_deviation(values: Float[Tensor, " sample"]) -> Float[Tensor, ""]:
    """MAD = median_k |r_k - median_j r_j| (DMT, age loss) over the values that are not NaN; 0 when all are.

    The median of an even number of values is the mean of the middle two, as in numpy (`torch.median` takes the lower one).
    """
    median = values.nanquantile(0.5)
    return (values - median).abs().nanquantile(0.5).nan_to_num()


def tukey_biweight(
    prediction: Float[Tensor, " sample"],
    target: Float[Tensor, " sample"],
    *,
    mad_multiplier: float | Tensor = 1.0,
    mad_floor: float = 1e-6,
) -> Float[Tensor, ""]:
    """Tukey's biweight ρ(r) = c²/6 [1 - (1 - (r/c)²)³], c²/6 beyond c = 4.6851, of r = (y - ŷ) / (1.4826 MAD) (DMT, age loss).

    Mean over samples; a NaN target is unknown. Two things decide whether it learns: the MAD is a constant of the batch (with
    its gradient the loss does not depend on the residuals' scale and never reduces it), and the residual in the numerator is
    not centred on its median (a common offset must cost). `mad_floor`, in the target's unit, is the lower bound of the MAD,
    which is 0 where more than half of the residuals are equal. `mad_multiplier` widens the scale early in training.
    """
    is_known = ~target.isnan()
    residual = torch.where(is_known, target, prediction.detach()).float() - prediction.float()
    mad = median_absolute_deviation(residual.detach().masked_fill(~is_known, torch.nan)).clamp(min=mad_floor)
    scaled = residual / (MAD_TO_STANDARD_DEVIATION * mad * mad_multiplier)
    inlying = (1 - (scaled / TUKEY_C).square()).clamp(min=0)
    rho = TUKEY_C**2 / 6 * (1 - inlying**3)
    return (rho * is_known).sum() / is_known.sum().clamp(min=1)


def contrastive(
    signature: Float[Tensor, "sample channel"], identity: Int[Tensor, " sample"], margin: float | Tensor
) -> Float[Tensor, ""]:
    """Contrastive loss V = ½ d² for a pair of one person, ½ max(0, m - d)² for a pair of two (Hadsell 2006; DMT, verification).

    d = ‖f_i - f_j‖₂; mean over all unordered pairs i < j of samples whose identity is known (not -1).
    """
    distance, same, is_known = _pairs(signature, identity)
    positive = distance.square() / 2
    negative = (margin - distance).clamp(min=0).square() / 2
    return (torch.where(same, positive, negative) * is_known).sum() / is_known.sum().clamp(min=1)


@torch.no_grad()
def adaptive_margin(
    signature: Float[Tensor, "sample channel"], identity: Int[Tensor, " sample"], current: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """The margin for the next batch: the distance at which |TPR - TNR| of this batch's pairs is smallest.

    This is what the authors' published verification layer does after each step. A batch with only one kind of pair does not
    define the threshold between the two kinds: the `current` margin is returned.
    """
    distance, same, is_known = _pairs(signature, identity)
    distance, same = distance[is_known], same[is_known]
    if not same.any() or same.all():
        return current.clone()
    return balanced_threshold(distance, same)[0].to(current)


@torch.no_grad()
def balanced_threshold(
    distance: Float[Tensor, " pair"], same: Bool[Tensor, " pair"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """The threshold, among the distances that occur, with the smallest |TPR - TNR|, and its TPR and TNR.

    A pair is classified as the same person when its distance is at most the threshold. TPR is the share of correctly
    classified same pairs, TNR that of different pairs; both kinds must occur. Of equally good thresholds the smallest.
    """
    candidates = distance.sort().values
    accepted_same = torch.searchsorted(distance[same].sort().values, candidates, right=True)
    accepted_different = torch.searchsorted(distance[~same].sort().values, candidates, right=True)
    true_positive_rate = accepted_same.double() / same.sum()
    true_negative_rate = 1 - accepted_different.double() / (~same).sum()
    best = (true_positive_rate - true_negative_rate).abs().argmin()
    return candidates[best], true_positive_rate[best], true_negative_rate[best]


def weighted_triplet(
    embedding: Float[Tensor, "sample strip channel"], identity: Int[Tensor, " sample"], margin: float, *, weighting: bool = True
) -> Float[Tensor, ""]:
    """Triplet loss l(a) = [m + Σ_p w_p D_ap - Σ_n w_n D_an]₊ (GaitTAKE, eq. 11), of each strip independently, then the mean.

    w_p = softmax(D_ap) over the anchor's positives and w_n = softmax(-D_an) over its negatives: harder pairs weigh more
    (Ristani & Tomasi, CVPR 2018; the paper does not define them). Without `weighting` all positives weigh the same, and all
    negatives. Mean over anchors that have both; no sample is its own positive; identity -1 is unknown.
    """
    distance = _strip_distances(embedding)
    positive, negative = _relations(identity)
    scale = 1.0 if weighting else 0.0
    farthest = (_masked_softmax(scale * distance, positive) * distance).sum(2)  # (strip, anchor)
    nearest = (_masked_softmax(-scale * distance, negative) * distance).sum(2)
    anchors = positive.any(1) & negative.any(1)
    hinge = (margin + farthest - nearest).clamp(min=0) * anchors
    return (hinge.sum(1) / anchors.sum().clamp(min=1)).mean()


def batch_all_triplet(
    embedding: Float[Tensor, "sample strip channel"], identity: Int[Tensor, " sample"], margin: float
) -> Float[Tensor, ""]:
    """Batch-all triplet loss [m + D_ap - D_an]₊ over all triplets (GaitSet, GaitGL): mean over those above 0, then over strips.

    No sample is its own positive; identity -1 is unknown. The value stays near the margin while training succeeds, because
    satisfied triplets leave the mean: `active_triplets` tells the fraction that is left.
    """
    hinge, violated, _ = _triplets(embedding, identity, margin)
    return (hinge / violated.clamp(min=1)).mean()


@torch.no_grad()
def active_triplets(
    embedding: Float[Tensor, "sample strip channel"], identity: Int[Tensor, " sample"], margin: float
) -> Float[Tensor, ""]:
    """The fraction of all triplets of all strips that still violate the margin; 0 where there is no triplet."""
    _, violated, triplets = _triplets(embedding, identity, margin)
    return violated.sum() / (len(violated) * triplets).clamp(min=1)


def _triplets(
    embedding: Float[Tensor, "sample strip channel"], identity: Int[Tensor, " sample"], margin: float
) -> tuple[Float[Tensor, " strip"], Int[Tensor, " strip"], Int[Tensor, ""]]:
    """Of each strip Σ [m + D_ap - D_an]₊ over all triplets and how many violate the margin; how many triplets there are."""
    distance = _strip_distances(embedding)
    positive, negative = _relations(identity)
    most = max(len(identity) - 1, 1)
    if not distance.is_cuda or distance.numel() * most > TRIPLETS_AT_ONCE:
        most = max(int(positive.sum(1).max()), 1)  # waits for a GPU
    hinge, violated = _HingeSum.apply(distance, positive, negative, margin, most)
    return hinge, violated, (positive.sum(1) * negative.sum(1)).sum()


class _HingeSum(torch.autograd.Function):
    """Of each strip Σ [m + D_ap - D_an]₊ and the number of its terms above 0; the gradient counts in how many a distance is."""

    @staticmethod
    def forward(
        ctx: Any,
        distance: Float[Tensor, "strip anchor sample"],
        positive: Bool[Tensor, "anchor sample"],
        negative: Bool[Tensor, "anchor sample"],
        margin: float,
        most: int,
    ) -> tuple[Float[Tensor, " strip"], Int[Tensor, " strip"]]:
        """`most`: no anchor has more positives."""
        is_positive, place = (value[:, :most] for value in positive.to(torch.int8).sort(dim=1, descending=True, stable=True))
        place = place.expand(len(distance), -1, -1)  # (strip, anchor, positive)
        reach = (margin + distance.gather(2, place)).masked_fill_(is_positive == 0, -torch.inf)
        hinge = (reach[..., None] - distance.masked_fill(~negative, torch.inf)[:, :, None]).relu_()
        violated = hinge.sign()  # (strip, anchor, positive, sample), 1 or 0: whole numbers are summed exactly, without a copy
        as_positive, as_negative = violated.sum(3), violated.sum(2)
        ctx.save_for_backward(torch.zeros_like(distance).scatter_(2, place, as_positive).sub_(as_negative))
        count = as_positive.sum((1, 2), dtype=torch.float64).long()
        ctx.mark_non_differentiable(count)
        return hinge.sum((1, 2, 3)), count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None, None]:  # type: ignore[override]
        return gradient[:, None, None] * ctx.saved_tensors[0], None, None, None, None


def _strip_distances(embedding: Float[Tensor, "sample strip channel"]) -> Float[Tensor, "strip sample sample"]:
    """Euclidean distances of all samples in each strip; 0 for equal features, and its gradient there 0."""
    strips = embedding.transpose(0, 1)
    if embedding.device.type == "mps":  # has no float64
        return torch.cdist(strips, strips, compute_mode="donot_use_mm_for_euclid_dist")
    return _Distances.apply(strips)


class _Distances(torch.autograd.Function):
    """Euclidean distances from products of matrices, in float64: in float32 ‖a‖² + ‖b‖² - 2ab has no digit left where a ≈ b.

    What is below the rounding of that sum is 0.
    """

    @staticmethod
    def forward(ctx: Any, strips: Float[Tensor, "strip sample channel"]) -> Float[Tensor, "strip sample sample"]:
        centred = strips.to(torch.float64, memory_format=torch.contiguous_format, copy=True)
        centred -= centred.mean(1, keepdim=True)
        products = centred @ centred.mT
        squares = products.diagonal(dim1=1, dim2=2)
        sums = squares[:, :, None] + squares[:, None]
        squared = sums.sub(products, alpha=2)
        rounding = strips.shape[2] * torch.finfo(torch.float64).eps
        distance = squared.masked_fill_(squared <= sums.mul_(rounding), 0).to(strips.dtype).sqrt_()
        ctx.save_for_backward(centred, distance)
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        centred, distance = ctx.saved_tensors
        weight = ((gradient + gradient.mT) / distance).masked_fill_(distance == 0, 0).double()
        return (centred * weight.sum(2, keepdim=True)).sub_(weight @ centred).to(gradient.dtype)


def _relations(identity: Int[Tensor, " sample"]) -> tuple[Bool[Tensor, "sample sample"], Bool[Tensor, "sample sample"]]:
    """Masks of each sample's positives (the same person, another sample) and of its negatives."""
    is_known = (identity >= 0) & (identity >= 0)[:, None]
    same = identity == identity[:, None]
    return same & is_known & ~torch.eye(len(identity), dtype=torch.bool, device=identity.device), ~same & is_known


def _masked_softmax(
    values: Float[Tensor, "strip anchor sample"], mask: Bool[Tensor, "anchor sample"]
) -> Float[Tensor, "strip anchor sample"]:
    """Softmax over the last axis where the mask is True, 0 elsewhere; all 0 where it is True nowhere."""
    is_empty = ~mask.any(1)[:, None]
    return values.masked_fill(~(mask | is_empty), -torch.inf).softmax(2) * mask


def _pairs(
    signature: Float[Tensor, "sample channel"], identity: Int[Tensor, " sample"]
) -> tuple[Float[Tensor, " pair"], Bool[Tensor, " pair"], Bool[Tensor, " pair"]]:
    """Of every unordered pair: the distance, whether the identities are equal, and whether both are known."""
    first, second = torch.triu_indices(len(identity), len(identity), offset=1, device=identity.device)
    # pdist, not cdist: no matrix product, so equal features are at distance 0, and its gradient there is 0, not NaN
    distance = functional.pdist(signature.float())
    return distance, identity[first] == identity[second], (identity[first] >= 0) & (identity[second] >= 0)
