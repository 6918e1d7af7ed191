"""Losses as pure functions: arrays in, one number with a graph out.

A batch without any known target (or without any pair) gives 0 with a graph and zero gradients: never NaN.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from people.validation import balanced_threshold

TUKEY_C = 4.6851  # 95 % of the efficiency of least squares when the residuals are normal
MAD_TO_STANDARD_DEVIATION = 1.4826


def softmax_log_loss(logits: Float[Tensor, "sample class"], target: Int[Tensor, " sample"]) -> Float[Tensor, ""]:
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
    not centred on its median (a common offset must cost). `mad_floor`, in the target's unit, stands in where more than half of
    the residuals are equal. `mad_multiplier` widens the basin while predictions are still far off.
    """
    known = ~target.isnan()
    residual = torch.where(known, target, prediction.detach()).float() - prediction.float()
    mad = median_absolute_deviation(residual.detach().masked_fill(~known, torch.nan)).clamp(min=mad_floor)
    scaled = residual / (MAD_TO_STANDARD_DEVIATION * mad * mad_multiplier)
    inlying = (1 - (scaled / TUKEY_C).square()).clamp(min=0)
    rho = TUKEY_C**2 / 6 * (1 - inlying**3)
    return (rho * known).sum() / known.sum().clamp(min=1)


def contrastive(
    signature: Float[Tensor, "sample channel"], identity: Int[Tensor, " sample"], margin: float | Tensor
) -> Float[Tensor, ""]:
    """Contrastive loss V = ½ d² for a pair of one person, ½ max(0, m - d)² for a pair of two (Hadsell 2006; DMT, verification).

    d = ‖f_i - f_j‖₂; mean over all unordered pairs i < j of samples whose identity is known (not -1).
    """
    distance, same, known = _pairs(signature, identity)
    positive = distance.square() / 2
    negative = (margin - distance).clamp(min=0).square() / 2
    return (torch.where(same, positive, negative) * known).sum() / known.sum().clamp(min=1)


@torch.no_grad()
def adaptive_margin(
    signature: Float[Tensor, "sample channel"], identity: Int[Tensor, " sample"], present: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """The margin for the next batch: the distance at which |TPR - TNR| of this batch's pairs is smallest.

    This is what the authors' published verification layer does after each step. A batch with only one kind of pair tells
    nothing about the distance between the two kinds: the `present` margin stays.
    """
    distance, same, known = _pairs(signature, identity)
    distance, same = distance[known], same[known]
    if not same.any() or same.all():
        return present.clone()
    return balanced_threshold(distance, same)[0].to(present)


def _pairs(
    signature: Float[Tensor, "sample channel"], identity: Int[Tensor, " sample"]
) -> tuple[Float[Tensor, " pair"], Bool[Tensor, " pair"], Bool[Tensor, " pair"]]:
    """Of every unordered pair: the distance, whether it shows one person, and whether both persons are known."""
    first, second = torch.triu_indices(len(identity), len(identity), offset=1, device=identity.device)
    # pdist, not cdist: no matrix product, so equal features are at distance 0, and its gradient there is 0, not NaN
    distance = functional.pdist(signature.float())
    return distance, identity[first] == identity[second], (identity[first] >= 0) & (identity[second] >= 0)
