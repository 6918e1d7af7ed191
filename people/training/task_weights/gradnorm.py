"""GradNorm: weights that bring the gradients of all terms to like norms, and let terms that lag behind have larger ones."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from people.training.task_weights.base import Backward, Weighting, gradients

BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's
MIN_WEIGHT = 1e-6  # a weight that a step takes below 0 would turn its term round


class GradNorm(Weighting):
    """Weights w_t that descend L_grad = Σ_t |G_t - Ḡ r_t^α|, a step of Adam for each of the network (Chen et al., ICML 2018).

    G_t = ‖∇_W w_t λ_t L_t‖ for W, the last weight of the network, of at least 2 dimensions, that all terms reach; Ḡ is the mean
    of G_t. r_t is L_t / L_t(0) over the mean of these: how far a term lags behind. Ḡ r_t^α is held constant, so that
    ∂L_grad / ∂w_t = ‖∇_W λ_t L_t‖ sign(G_t - Ḡ r_t^α). Then weights are divided so that they sum to the number of terms; they
    start at 1. L_t(0) is the loss in the first step in which it is above 0; without one r_t is taken with a ratio of 1.
    """

    needs_gradients: ClassVar[bool] = True

    w: Tensor
    initial: Tensor
    layer: Tensor
    moments: Tensor
    updates: Tensor

    def __init__(self, given: Mapping[str, float], alpha: float, learning_rate: float) -> None:
        super().__init__(given)
        self.alpha, self.learning_rate = alpha, learning_rate
        count = len(self.names)
        self.register_buffer("w", torch.ones(count))
        self.register_buffer("initial", torch.full((count,), math.nan))
        self.register_buffer("layer", torch.tensor(-1))  # the number of W among the weights of at least 2 dimensions
        self.register_buffer("moments", torch.zeros(2, count))
        self.register_buffer("updates", torch.zeros(count))
        self._gradient: tuple[list[int], Tensor] | None = None

    def weights(self, active: Sequence[str]) -> dict[str, Tensor]:
        """w_t, which sum to the number of terms; where terms have stopped, to the number of the others."""
        w = self.w[self.rows(active)]
        return dict(zip(active, w * (len(active) / w.sum()), strict=True))

    def backward(
        self,
        loss: Tensor,
        terms: Mapping[str, Tensor],
        stopped: Collection[str],
        parameters: Sequence[nn.Parameter],
        backward: Backward,
    ) -> None:
        """The gradients of the weighted sum; those of the weights are kept for `step_end`."""
        active = self.active(stopped)
        if len(active) > 1:
            weight = self._shared_weight(terms, active, parameters, backward)
            norms = self._norms(terms, active, weight, backward)
            losses = torch.stack([terms[name].detach() for name in active])
            self._gradient = self.rows(active), self.gradient(losses, norms, active)
        backward(loss)

    def gradient(
        self, losses: Float[Tensor, " term"], norms: Float[Tensor, " term"], active: Sequence[str]
    ) -> Float[Tensor, " term"]:
        """∂L_grad / ∂w_t; `losses` are L_t, `norms` ‖∇_W λ_t L_t‖."""
        rows = self.rows(active)
        initial = self.initial[rows]
        self.initial[rows] = initial = torch.where(initial.isnan() & (losses > 0), losses, initial)
        ratios = torch.where(initial.isnan(), 1.0, losses / initial).clamp(min=0)
        rates = ratios / ratios.mean().clamp(min=EPSILON)
        weighted = torch.stack([*self.weights(active).values()]) * norms
        return norms * torch.sign(weighted - weighted.mean() * rates**self.alpha)

    def step_end(self) -> None:
        """Move the weights of the terms that have not stopped by one step of Adam, and divide them by their mean."""
        if self._gradient is None:
            return
        rows, gradient = self._gradient
        self._gradient = None
        mean, variance = (beta * old for beta, old in zip(BETAS, self.moments[:, rows], strict=True))
        self.moments[:, rows] = torch.stack([mean + (1 - BETAS[0]) * gradient, variance + (1 - BETAS[1]) * gradient**2])
        self.updates[rows] += 1
        mean, variance = (
            moment / (1 - beta ** self.updates[rows]) for beta, moment in zip(BETAS, self.moments[:, rows], strict=True)
        )
        moved = (self.w[rows] - self.learning_rate * mean / (variance.sqrt() + EPSILON)).clamp(min=MIN_WEIGHT)
        self.w[rows] = moved * (len(rows) / moved.sum())

    def _norms(
        self, terms: Mapping[str, Tensor], active: Sequence[str], weight: nn.Parameter, backward: Backward
    ) -> Float[Tensor, " term"]:
        """‖∇_W λ_t L_t‖; 0 where a batch's term does not reach W."""
        of_terms = [gradients(self.given[name] * terms[name], [weight], backward)[0] for name in active]
        return torch.stack([self.w.new_zeros(()) if each is None else each.norm() for each in of_terms])

    def _shared_weight(
        self, terms: Mapping[str, Tensor], active: Sequence[str], parameters: Sequence[nn.Parameter], backward: Backward
    ) -> nn.Parameter:
        """W; found in the first step, and kept by its number."""
        weights = [parameter for parameter in parameters if parameter.ndim >= 2]
        if self.layer < 0:
            reached = set(range(len(weights)))
            for name in active:
                reached &= {number for number, each in enumerate(gradients(terms[name], weights, backward)) if each is not None}
            if not reached:
                raise ValueError(
                    "objective.weighting: gradnorm needs a weight of at least 2 dimensions that all terms reach, and there is "
                    f"none for {', '.join(active)}; choose another weighting, or train these tasks in phases"
                )
            self.layer.fill_(max(reached))
        return weights[int(self.layer)]
