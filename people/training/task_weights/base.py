"""What every way of weighting tasks offers: L = Σ_t w_t λ_t L_t, with λ_t as given and w_t as the method has it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

CLASSIFICATION, REGRESSION = "classification", "regression"  # the kinds of terms: cross-entropies; distances and squared errors


Backward = Callable[..., Any]  # computes the gradients of a number, with the arguments of `Tensor.backward`


class Weighting(nn.Module):
    """The weights w_t of the terms λ_t L_t, as they are now; the base class of all methods.

    `given`: λ_t by term; a term whose λ is 0 is not there. What a method needs to go on after a kill lies in its parameters and
    buffers. A term that has stopped weighs 0 and stays in the graph; the method weights the others among themselves.
    """

    needs_gradients: ClassVar[bool] = False  # one for each term: only one device has them

    def __init__(self, given: Mapping[str, float]) -> None:
        super().__init__()
        self.given = dict(given)
        self.names = tuple(self.given)

    def weights(self, active: Sequence[str]) -> Mapping[str, float | Tensor]:
        """w_t of these terms, those that have not stopped."""
        return dict.fromkeys(active, 1.0)

    def lambdas(self, stopped: Collection[str] = ()) -> dict[str, float]:
        """The present weight w_t λ_t of each term."""
        coefficients = self._coefficients(stopped)
        return {name: float(value.detach() if isinstance(value, Tensor) else value) for name, value in coefficients.items()}

    def total(self, terms: Mapping[str, Tensor], stopped: Collection[str] = ()) -> Float[Tensor, ""]:
        """The weighted sum, which is logged, and minimised unless `backward` says otherwise."""
        return total(terms, self._coefficients(stopped))

    def backward(
        self,
        loss: Tensor,
        terms: Mapping[str, Tensor],
        stopped: Collection[str],
        parameters: Sequence[nn.Parameter],
        backward: Backward,
    ) -> None:
        """Give the parameters, network's and objective's in their order, their gradients; `loss` is the `total` of the terms.

        `backward` computes those of a number, with the arguments of `Tensor.backward`, in whatever precision and on whatever
        devices there are.
        """
        backward(loss)

    def step_end(self) -> None:
        """One optimisation step is done."""

    def epoch_end(self, means: Mapping[str, float]) -> None:
        """One epoch is done; `means` are those of the terms, unweighted, over its samples."""

    def active(self, stopped: Collection[str]) -> list[str]:
        """The terms that have not stopped."""
        return [name for name in self.names if name not in stopped]

    def rows(self, active: Sequence[str]) -> list[int]:
        """The numbers of these terms, by which buffers of one value a term are indexed."""
        return [self.names.index(name) for name in active]

    def _coefficients(self, stopped: Collection[str]) -> dict[str, float | Tensor]:
        weights = self.weights(self.active(stopped))
        return {name: given * weights[name] if name in weights else 0.0 for name, given in self.given.items()}


class Fixed(Weighting):
    """L = L_main + Σ_t λ_t L_t (DMT, loss function): the weights are those that are given; the main task's λ is 1."""


def gradients(number: Tensor, parameters: Sequence[nn.Parameter], backward: Backward) -> list[Tensor | None]:
    """The gradient of a number by each parameter, None where it does not reach it; the graph is kept, `grad` is None after."""
    for parameter in parameters:
        parameter.grad = None
    backward(number, retain_graph=True, inputs=list(parameters))
    of_parameters = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return of_parameters


def total(terms: Mapping[str, Tensor], lambdas: Mapping[str, float | Tensor]) -> Float[Tensor, ""]:
    """L = L_main + Σ_t λ_t L_t (DMT, loss function): the weighted sum of named terms; the main task's λ is 1."""
    check_names(terms, lambdas)
    return torch.stack([lambdas[name] * term for name, term in terms.items()]).sum()


def check_names(terms: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Refuse terms without a weight, and weights without a term."""
    if set(terms) != set(weights):
        raise ValueError(
            f"every term needs a weight and every weight a term: terms {sorted(terms)}, weights {sorted(weights)}; "
            "correct `lambda` in the system's objective block"
        )
