"""Uncertainty weighting: every weight follows from the noise of its task, which is learned."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from people.training.task_weights.base import CLASSIFICATION, REGRESSION, Weighting, check_names


class Scale(NamedTuple):
    """The weight of a term as a function of s, w = factor · exp(-exponent · s)."""

    factor: float
    exponent: float


# By equation and kind of term. eq_2 is that of Kendall et al. with s = log σ: 1/σ² of a cross-entropy, 1/(2σ²) of a squared
# error or a distance. eq_3 is printed in reid's paper as the same in other letters, which it is not.
SCALES = {
    "eq_2": {CLASSIFICATION: Scale(1.0, 2.0), REGRESSION: Scale(0.5, 2.0)},
    "eq_3": {CLASSIFICATION: Scale(1.0, 1.0), REGRESSION: Scale(1.0, 2.0)},
}


class Uncertainty(Weighting):
    """L = Σ_t w_t(s_t) λ_t L_t + Σ_t s_t (Kendall et al., CVPR 2018).

    s_t = log σ_t starts at 0, σ_t² being the variance of the noise in task t: 1/σ² is Scale(1, 2), 1/(2σ²) is Scale(½, 2).
    A loss that reaches 0 would draw its s to minus infinity: `bounds` are the limits of every s. The total may be negative.
    s is learned with the network, in a group of parameters without weight decay.
    """

    s: Tensor

    def __init__(self, given: Mapping[str, float], scales: Mapping[str, Scale], bounds: Sequence[float | int]) -> None:
        super().__init__(given)
        check_names(given, scales)
        if len(bounds) != 2 or not bounds[0] < 0 < bounds[1]:
            raise ValueError(f"the bounds of s must be [low, high], low < 0 < high, got {list(bounds)}; s starts at 0")
        self.scales, self.bounds = {name: scales[name] for name in self.names}, (float(bounds[0]), float(bounds[1]))
        self.s = nn.Parameter(torch.zeros(len(self.names)))

    def weights(self, active: Sequence[str]) -> dict[str, Tensor]:
        """w_t = factor · exp(-exponent · s_t)."""
        scaled = zip(self.scales.items(), self.s, strict=True)
        return {name: scale.factor * torch.exp(-scale.exponent * s) for (name, scale), s in scaled if name in active}

    def total(self, terms: Mapping[str, Tensor], stopped: Collection[str] = ()) -> Float[Tensor, ""]:
        """The weighted sum and every s; of a stopped term both weigh 0 and stay in the graph."""
        check_names(terms, self.given)
        coefficients = self._coefficients(stopped)
        weighted = [coefficients[name] * term for name, term in terms.items()]
        noise = [float(name not in stopped) * s for name, s in zip(self.names, self.s, strict=True)]
        return torch.stack([*weighted, *noise]).sum()

    @torch.no_grad()
    def step_end(self) -> None:
        """Take every s back within its bounds; it can leave them again when its gradient turns, which a clamp would forbid."""
        self.s.clamp_(*self.bounds)
