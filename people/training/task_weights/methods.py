"""The ways of weighting tasks by the names that `objective.weighting` in params.yaml gives them, and their parameters.

A parameter that is left out has the value of the method's paper.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from people.config import check, named
from people.training.task_weights.base import CLASSIFICATION, REGRESSION, Fixed, Weighting
from people.training.task_weights.dynamic_weight_average import DynamicWeightAverage
from people.training.task_weights.gradient_surgery import GradientSurgery
from people.training.task_weights.gradnorm import GradNorm
from people.training.task_weights.random_weights import RandomWeights
from people.training.task_weights.uncertainty import SCALES, Uncertainty

WHERE = "objective.weighting."


@runtime_checkable
class Method(Protocol):
    """The configuration of a way of weighting."""

    @property
    def name(self) -> str: ...

    def build(self, lambdas: Mapping[str, float], kinds: Mapping[str, str]) -> Weighting:
        """The weighting of two or more terms; `kinds` says of each whether it is a classification or a regression."""
        ...


@dataclass(frozen=True)
class FixedConfig:
    """The numbers λ alone: see `Fixed`."""

    name: str

    def build(self, lambdas: Mapping[str, float], kinds: Mapping[str, str]) -> Weighting:
        """See `Method`."""
        return Fixed(lambdas)


@dataclass(frozen=True)
class UncertaintyConfig:
    """See `Uncertainty`. `equation`: eq_2, Kendall's, or eq_3, as reid's paper prints it; `bounds` of s are ours."""

    name: str
    equation: str = "eq_2"
    bounds: Sequence[float | int] = (-3.0, 3.0)

    def __post_init__(self) -> None:
        are_numbers = isinstance(self.bounds, list | tuple) and all(is_number(bound) for bound in self.bounds)
        encloses_0 = are_numbers and len(self.bounds) == 2 and self.bounds[0] < 0 < self.bounds[1]
        rules = {
            "equation": (self.equation in SCALES, f"one of {', '.join(SCALES)}"),
            "bounds": (encloses_0, "[low, high], low < 0 < high"),
        }
        check(WHERE, self, rules)

    def build(self, lambdas: Mapping[str, float], kinds: Mapping[str, str]) -> Weighting:
        """See `Method`."""
        return Uncertainty(lambdas, {name: SCALES[self.equation][kinds[name]] for name in lambdas}, self.bounds)


@dataclass(frozen=True)
class DynamicWeightAverageConfig:
    """See `DynamicWeightAverage`."""

    name: str
    temperature: float | int = 2.0

    def __post_init__(self) -> None:
        check(WHERE, self, {"temperature": (is_number(self.temperature) and self.temperature > 0, "a number above 0")})

    def build(self, lambdas: Mapping[str, float], kinds: Mapping[str, str]) -> Weighting:
        """See `Method`."""
        return DynamicWeightAverage(lambdas, float(self.temperature))


@dataclass(frozen=True)
class GradNormConfig:
    """See `GradNorm`; 1.5 and 0.025 are those of its paper's experiments on NYUv2."""

    name: str
    alpha: float | int = 1.5
    learning_rate: float | int = 0.025

    def __post_init__(self) -> None:
        rules = {
            "alpha": (is_number(self.alpha) and self.alpha >= 0, "a number of at least 0"),
            "learning_rate": (is_number(self.learning_rate) and self.learning_rate > 0, "a number above 0"),
        }
        check(WHERE, self, rules)

    def build(self, lambdas: Mapping[str, float], kinds: Mapping[str, str]) -> Weighting:
        """See `Method`."""
        return GradNorm(lambdas, float(self.alpha), float(self.learning_rate))


@dataclass(frozen=True)
class RandomConfig:
    """See `RandomWeights`."""

    name: str

    def build(self, lambdas: Mapping[str, float], kinds: Mapping[str, str]) -> Weighting:
        """See `Method`."""
        return RandomWeights(lambdas)


@dataclass(frozen=True)
class GradientSurgeryConfig:
    """See `GradientSurgery`, whose method is the name."""

    name: str

    def build(self, lambdas: Mapping[str, float], kinds: Mapping[str, str]) -> Weighting:
        """See `Method`."""
        return GradientSurgery(lambdas, self.name)


METHODS: dict[str, type] = {
    "fixed": FixedConfig,
    "uncertainty": UncertaintyConfig,
    "dynamic_weight_average": DynamicWeightAverageConfig,
    "gradnorm": GradNormConfig,
    "random": RandomConfig,
    "pcgrad": GradientSurgeryConfig,
    "imtl_g": GradientSurgeryConfig,
    "aligned_mtl": GradientSurgeryConfig,
}


def method(where: str, block: Any) -> Method:
    """The way of weighting that a block `weighting` describes; `where` names the block in an error."""
    if not isinstance(block, Mapping):
        raise ValueError(f"{where} must be a block such as {{name: fixed}}, got {block!r}; correct params.yaml")
    return named(where, block, METHODS)


def weighting(method: Method, lambdas: Mapping[str, float], kinds: Mapping[str, str]) -> Weighting:
    """The weighting of the terms whose λ is not 0; of a single term every method is `Fixed`: there is nothing to weigh.

    `kinds` says of every term of the system whether it is a `CLASSIFICATION` or a `REGRESSION`.
    """
    if wrong := {name: kinds.get(name) for name in lambdas if kinds.get(name) not in (CLASSIFICATION, REGRESSION)}:
        raise ValueError(f"every term must be of the kind {CLASSIFICATION} or {REGRESSION}, got {wrong}; correct the objective")
    return method.build(lambdas, kinds) if len(lambdas) > 1 else Fixed(lambdas)


def is_number(value: Any) -> bool:
    """Whether a value of params.yaml is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
