"""Gradient surgery: the gradients of the terms, not their losses, are combined, so that no term works against another."""

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from people.training.task_weights.base import Backward, Weighting, gradients, total

METHODS = ("pcgrad", "imtl_g", "aligned_mtl")
Gradients = Sequence[Tensor | None]  # of every parameter; None where the term does not reach it


class GradientSurgery(Weighting):
    """The gradient Σ_t c_t ∇λ_t L_t of the parameters that two or more terms reach; of all others that of the one term.

    c follows from the inner products of ∇λ_t L_t over the shared parameters, by `torchjd.aggregation`:

    - `pcgrad`: from every gradient those parts are taken away that point against another one's, the others in random order
      (torch's generator); then the sum (Yu et al., NeurIPS 2020, algorithm 1).
    - `imtl_g`: the combination whose projections on all gradients are equal (Liu et al., ICLR 2021).
    - `aligned_mtl`: the gradients are made orthogonal and as long as the least singular value of all (Senushkin et al., CVPR
      2023, algorithm 1).

    The c of the last two are weights of a mean; they are multiplied by the number of terms, so that with every method terms of
    orthogonal gradients of one length are summed, and a learning rate means the same. `total` is Σ_t λ_t L_t, `lambdas` are
    c_t λ_t of the last step.
    """

    needs_gradients: ClassVar[bool] = True
    c: Tensor

    def __init__(self, given: Mapping[str, float], method: str) -> None:
        super().__init__(given)
        self.method = method
        self.register_buffer("c", torch.ones(len(self.names)))

    def weights(self, active: Sequence[str]) -> dict[str, Tensor]:
        """c_t of the last step."""
        return dict(zip(active, self.c[self.rows(active)], strict=True))

    def total(self, terms: Mapping[str, Tensor], stopped: Collection[str] = ()) -> Float[Tensor, ""]:
        """Σ_t λ_t L_t, without c_t."""
        return total(terms, {name: 0.0 if name in stopped else given for name, given in self.given.items()})

    def backward(
        self,
        loss: Tensor,
        terms: Mapping[str, Tensor],
        stopped: Collection[str],
        parameters: Sequence[nn.Parameter],
        backward: Backward,
    ) -> None:
        """One gradient for each term, then their combination; that of a parameter which only stopped terms reach is 0."""
        active = self.active(stopped)
        by_term = {name: gradients(self.given[name] * term, parameters, backward) for name, term in terms.items()}
        kept = [by_term[name] for name in active]
        is_shared = [sum(gradient is not None for gradient in column) > 1 for column in zip(*kept, strict=True)]
        weights = combination(self.method, gramian(kept, is_shared)) if any(is_shared) else self.c.new_ones(len(active))
        self.c[self.rows(active)] = weights
        for number, parameter in enumerate(parameters):
            reached = [gradient[number] for gradient in by_term.values() if gradient[number] is not None]
            if not reached:
                continue
            parameter.grad = torch.zeros_like(parameter)
            for gradient, weight in zip(kept, weights, strict=True):
                if (own := gradient[number]) is not None:
                    parameter.grad += weight * own if is_shared[number] else own


def gramian(by_term: Sequence[Gradients], is_shared: Sequence[bool]) -> Float[Tensor, "term term"]:
    """The inner products of the terms' gradients over the shared parameters."""
    products = []
    for column, shared in zip(zip(*by_term, strict=True), is_shared, strict=True):
        if shared:
            like = next(gradient for gradient in column if gradient is not None)
            rows = torch.stack([(torch.zeros_like(like) if each is None else each).flatten() for each in column])
            products.append(rows @ rows.T)
    return torch.stack(products).sum(0)


def combination(method: str, inner_products: Float[Tensor, "term term"]) -> Float[Tensor, " term"]:
    """The weights c_t by which a method combines gradients of these inner products.

    Where one is not finite they are 1: the training then ends by the name of the term that has diverged.
    """
    from torchjd import aggregation  # 0.3 s, which only a training by these methods needs

    if not inner_products.isfinite().all():
        return torch.ones_like(inner_products[0])
    kinds = {"pcgrad": "PCGradWeighting", "imtl_g": "IMTLGWeighting", "aligned_mtl": "AlignedMTLWeighting"}
    weights = getattr(aggregation, kinds[method])()(inner_products)
    return weights if method == "pcgrad" else weights * len(weights)
