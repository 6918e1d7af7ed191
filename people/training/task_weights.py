"""How the losses of several tasks become one, and when an auxiliary task stops.

A weighting is a module: what it learns is trained, saved and resumed with the network, in a parameter group of its own that has
no weight decay.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

EPSILON = 1e-12


class Fixed(nn.Module):
    """L = L_main + Σ_t λ_t L_t (DMT, loss function) with weights that are given; the main task's λ is 1."""

    def __init__(self, lambdas: Mapping[str, float]) -> None:
        super().__init__()
        self._lambdas = dict(lambdas)

    def lambdas(self) -> dict[str, float]:
        """The weight of each term."""
        return dict(self._lambdas)

    def total(self, terms: Mapping[str, Tensor], stopped: Collection[str] = ()) -> Float[Tensor, ""]:
        """The weighted sum; a term that is stopped weighs 0 and stays in the graph."""
        return total(terms, {name: 0.0 if name in stopped else weight for name, weight in self._lambdas.items()})

    def step_end(self) -> None:
        """One optimisation step is done: nothing has changed."""


class Scale(NamedTuple):
    """The weight of a learned term, λ = factor · exp(-exponent · s), as a function of s."""

    factor: float
    exponent: float


class Uncertainty(nn.Module):
    """L = Σ_t λ_t(s_t) L_t + Σ_t s_t over the learned terms + Σ_t λ_t L_t over the fixed ones (Kendall et al., CVPR 2018).

    s_t = log σ_t starts at 0, σ_t² being the variance of the noise in task t: 1/σ² is Scale(1, 2), 1/(2σ²) is Scale(½, 2).
    A loss that reaches 0 would draw its s to minus infinity: `bounds` are the limits of every s. The total may be negative.
    """

    s: Tensor

    def __init__(self, learned: Mapping[str, Scale], fixed: Mapping[str, float], bounds: Sequence[float | int]) -> None:
        super().__init__()
        if not learned:
            raise ValueError("uncertainty weighting needs a term whose weight is learned, got none: use fixed weights")
        if len(bounds) != 2 or not bounds[0] < 0 < bounds[1]:
            raise ValueError(f"the bounds of s must be [low, high], low < 0 < high, got {list(bounds)}; s starts at 0")
        self.learned, self.fixed, self.bounds = dict(learned), dict(fixed), (float(bounds[0]), float(bounds[1]))
        self.s = nn.Parameter(torch.zeros(len(self.learned)))

    def lambdas(self) -> dict[str, float]:
        """The present weight of each term, learned ones first."""
        return {name: float(weight.detach()) for name, weight in self._weights().items()} | self.fixed

    def total(self, terms: Mapping[str, Tensor], stopped: Collection[str] = ()) -> Float[Tensor, ""]:
        """The weighted sum and every s; of a stopped term both weigh 0 and stay in the graph."""
        weights: dict[str, Any] = {**self._weights(), **self.fixed}
        _check(terms, weights)
        kept = {name: float(name not in stopped) for name in weights}
        weighted = [kept[name] * weights[name] * term for name, term in terms.items()]
        return torch.stack([*weighted, *(kept[name] * s for name, s in zip(self.learned, self.s, strict=True))]).sum()

    @torch.no_grad()
    def step_end(self) -> None:
        """Take every s back within its bounds; it can leave them again when its gradient turns, which a clamp would forbid."""
        self.s.clamp_(*self.bounds)

    def _weights(self) -> dict[str, Tensor]:
        return {
            name: scale.factor * torch.exp(-scale.exponent * s)
            for (name, scale), s in zip(self.learned.items(), self.s, strict=True)
        }


def total(terms: Mapping[str, Tensor], lambdas: Mapping[str, float]) -> Float[Tensor, ""]:
    """L = L_main + Σ_t λ_t L_t (DMT, loss function): the weighted sum of named terms; the main task's λ is 1."""
    _check(terms, lambdas)
    return torch.stack([lambdas[name] * term for name, term in terms.items()]).sum()


def _check(terms: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    if set(terms) != set(weights):
        raise ValueError(
            f"every term needs a weight and every weight a term: terms {sorted(terms)}, weights {sorted(weights)}; "
            "correct `lambda` in the system's objective block"
        )


class TaskStopping:
    """Task-wise early stopping: an auxiliary task ends when its training error stagnates and no longer carries over.

    After epoch t, with k = `window_epochs` and E_tr, E_val the task's training and validation errors, task a stops when

        k · med_{j=t-k..t} E_tr(j)                       E_val(t) - min_{j≤t} E_tr(j)
        ---------------------------------------------  ·  ------------------------------  >  threshold
        |Σ_{j=t-k..t} E_tr(j) - k · med_{j=t-k..t} E_tr|    λ_a · min_{j≤t} E_tr(j)

    (Zhang et al., ECCV 2014, eq. 5 - written down from memory of the paper, not checked against it. The absolute value and a
    tiny constant in both denominators are ours: they reach 0 in practice.) The first factor is large once the training error
    no longer falls (k where it is constant), the second measures the generalisation gap against the training error. An error
    must carry a scale: for age it is the mean absolute error in years, never Tukey's loss, which is divided by the spread of
    its own residuals.

    An error of 0 (a gender that is always right) leaves the quotients undefined. What they mean is kept:
    - While the median of the last k + 1 errors is 0, the task's training error is 0. The first factor is k, that of a constant
      error, or 0 if the last of these errors is below the first of them, for then it still falls; any validation error above 0
      is an infinite gap, and without one there is none.
    - While the median is above 0, an epoch with an error of 0 is an exception: it is no minimum by which a gap is measured.

    No task stops before k + 1 errors are known; a stopped task stays stopped. An epoch whose training error is unknown (NaN, or
    infinite) is left out of the sums, the median and the minimum, and stops nothing, nor does an unknown validation error; a
    task whose λ is 0 is left alone. The main task must not be among the errors: it has nothing to stop for.
    """

    def __init__(self, window_epochs: int, threshold: float) -> None:
        if window_epochs < 1 or not threshold > 0:
            raise ValueError(f"task stopping needs window_epochs >= 1 and threshold > 0, got {window_epochs} and {threshold}")
        self.window_epochs, self.threshold = window_epochs, threshold
        self.train_errors: dict[str, list[float]] = {}
        self.stopped: set[str] = set()

    def update(
        self, train_errors: Mapping[str, float], validation_errors: Mapping[str, float], lambdas: Mapping[str, float]
    ) -> set[str]:
        """Take in one epoch's errors of the auxiliary tasks; return all tasks that are stopped by now."""
        if not set(train_errors) <= set(validation_errors) & set(lambdas):
            raise ValueError(
                f"each task needs a training error, a validation error and a weight, got {sorted(train_errors)}, "
                f"{sorted(validation_errors)} and {sorted(lambdas)}"
            )
        for task, error in train_errors.items():
            history = self.train_errors.setdefault(task, [])
            if not math.isfinite(error):
                continue
            history.append(float(error))
            if lambdas[task] > 0 and self.criterion(task, validation_errors[task], lambdas[task]) > self.threshold:
                self.stopped.add(task)
        return set(self.stopped)

    def criterion(self, task: str, validation_error: float, weight: float) -> float:
        """The left side of the inequality for one task; 0 while fewer than k + 1 errors are known."""
        history, k = self.train_errors[task], self.window_epochs
        if len(history) <= k:
            return 0.0
        recent = history[-(k + 1) :]
        typical = k * median(recent)
        if typical == 0:
            return math.inf if validation_error > 0 and recent[-1] >= recent[0] else 0.0
        tendency = typical / (abs(sum(recent) - typical) + EPSILON)
        least = min(error for error in history if error != 0)
        gap = (validation_error - least) / (weight * least + EPSILON)
        return tendency * gap

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain lists and numbers."""
        return {
            "train_errors": {task: list(errors) for task, errors in self.train_errors.items()},
            "stopped": sorted(self.stopped),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self.train_errors = {task: list(errors) for task, errors in state["train_errors"].items()}
        self.stopped = set(state["stopped"])
