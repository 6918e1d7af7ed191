"""Dynamic weight averaging: a term whose loss falls more slowly than the others' weighs more in the next epoch."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from people.training.task_weights.base import Weighting


class DynamicWeightAverage(Weighting):
    """w_t = K exp(r_t / T) / Σ_i exp(r_i / T), r_t = L_t(e-1) / L_t(e-2) (Liu et al., CVPR 2019, eq. 7).

    K is the number of terms, T the `temperature`, L_t(e) the mean of the term in epoch e, unweighted. r_t is 1 in the first two
    epochs, and where the earlier mean is not a number above 0, so that no rate follows from it.
    """

    means: Tensor

    def __init__(self, given: Mapping[str, float], temperature: float) -> None:
        super().__init__(given)
        self.temperature = temperature
        self.register_buffer("means", torch.full((2, len(self.names)), math.nan))  # of the last epoch but one, and of the last

    def weights(self, active: Sequence[str]) -> dict[str, Tensor]:
        """w_t in the present epoch."""
        before, last = self.means[:, self.rows(active)]
        is_known = before.isfinite() & last.isfinite() & (before > 0)
        rates = torch.where(is_known, last / before, 1.0)
        weights = len(active) * torch.softmax(rates / self.temperature, 0)
        return dict(zip(active, weights, strict=True))

    def epoch_end(self, means: Mapping[str, float]) -> None:
        """Keep the means of the last two epochs."""
        last = torch.tensor([means[name] for name in self.names], device=self.means.device)
        self.means.copy_(torch.stack([self.means[1], last]))
