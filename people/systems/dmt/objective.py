"""What DMT minimises: L = L_identity + Σ_t λ_t L_t over gender, age and verification; its validation errors."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from people.nn import losses
from people.training import task_weights, validation_errors
from people.training.monitor import Concatenated, Validation
from people.training.task_weights import CLASSIFICATION, REGRESSION

MAIN = "identity"
MAIN_ERROR = MAIN  # by which the learning rate falls and trainings are compared
AUXILIARIES = ("gender", "age", "verification")
ERRORS = (MAIN_ERROR, *AUXILIARIES)
KINDS = {MAIN: CLASSIFICATION, "gender": CLASSIFICATION, "age": REGRESSION, "verification": REGRESSION}
# The authors' published Tukey layer multiplies the MAD by 7 for its first 50 steps, while predictions are far off.
WARM_UP_STEPS, WARM_UP_MAD_MULTIPLIER = 50, 7.0
# Below half a year ages are not labelled: a batch in which more than half of the people are equally far off has no MAD.
MAD_FLOOR_YEARS = 0.5


@dataclass(frozen=True, init=False)
class Config:
    """The weight λ_t of each auxiliary task, how the terms λ_t L_t are weighted, and the margin of verification, kept or
    adapted after each step.
    """

    lambdas: dict[str, float]
    margin: dict[str, float]
    adaptive_margin: bool
    weighting: task_weights.Method

    def __init__(
        self, *, margin: Mapping[str, float | int], adaptive_margin: bool, weighting: Mapping[str, Any], **weights: Any
    ) -> None:
        if set(weights) != {"lambda"}:  # a keyword of Python, therefore not a parameter
            raise ValueError(
                f"dmt.objective has the keys lambda, margin, adaptive_margin and weighting, got besides: {sorted(weights)}"
            )
        object.__setattr__(self, "lambdas", {task: float(weight) for task, weight in weights["lambda"].items()})
        object.__setattr__(self, "margin", {task: float(distance) for task, distance in margin.items()})
        object.__setattr__(self, "adaptive_margin", adaptive_margin)
        object.__setattr__(self, "weighting", task_weights.method("dmt.objective.weighting", weighting))
        if set(self.lambdas) != set(AUXILIARIES) or min(self.lambdas.values()) < 0:
            raise ValueError(f"dmt.objective.lambda must give {', '.join(AUXILIARIES)} a weight >= 0, got {self.lambdas}")
        if set(self.margin) != {"verification"} or not self.margin["verification"] > 0:
            raise ValueError(f"dmt.objective.margin must give verification a distance > 0, got {self.margin}")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Identity, and the auxiliary tasks whose weight is not 0."""
        return (MAIN, *(task for task in AUXILIARIES if self.lambdas[task]))


class Objective(nn.Module):
    """The named loss terms of DMT, unweighted.

    Its state (the steps done, for Tukey's warm-up, and the margin, where it adapts) is in buffers, which a resumed training
    restores. Over several processes the first one's margin, from its share of the batch, is used by all: buffers are
    broadcast.
    """

    steps: Tensor
    margin: Tensor

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        lambdas = {MAIN: 1.0, **{task: config.lambdas[task] for task in config.tasks[1:]}}
        self.weighting = task_weights.weighting(config.weighting, lambdas, KINDS)
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("margin", torch.tensor(float(config.margin["verification"])))
        self._next_margin: Tensor | None = None

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss, a scalar with a graph, of identity and of each of gender, age and verification whose weight is not 0."""
        terms = {MAIN: losses.cross_entropy(outputs["identity"], batch["identity"])}
        return terms | {task: getattr(self, f"_{task}")(outputs, batch) for task in self.config.tasks[1:]}

    def diagnostics(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is logged beside the terms: nothing."""
        return {}

    def step_end(self) -> None:
        """One optimisation step is done: count it, and set an adaptive margin to that of the last batch."""
        self.steps += 1
        if self._next_margin is not None:
            self.margin.copy_(self._next_margin)

    def _gender(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        return losses.cross_entropy(outputs["gender"], batch["gender"])

    def _age(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        warming_up = (self.steps < WARM_UP_STEPS) & self.training
        multiplier = torch.where(warming_up, WARM_UP_MAD_MULTIPLIER, 1.0)
        return losses.tukey_biweight(
            outputs["age_years"], batch["age_years"], mad_multiplier=multiplier, mad_floor=MAD_FLOOR_YEARS
        )

    def _verification(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        # "subject", not "identity": people who are not in the training set have no identity, but form pairs
        if self.config.adaptive_margin and self.training:
            self._next_margin = losses.adaptive_margin(outputs["signature"], batch["subject"], self.margin)
        return losses.contrastive(outputs["signature"], batch["subject"], self.margin)


def monitor(targets: Collection[str]) -> Concatenated:
    """An accumulator of a split's outputs and of these targets, for `validate`."""
    return Concatenated(validate, targets)


def validate(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Validation:
    """The errors of a whole split from its concatenated outputs and targets, and the score that selects the model.

    identity: 1 - rank-1 of each window's nearest window of another clip by signature, which is defined for people
    outside the training set; gender: error rate, age: mean absolute error in years, where they are tasks; verification: equal
    error rate.
    The score is -identity - verification / 1000: the equal error rate decides between equal ranks.
    """
    signature, subject, clip = outputs["signature"], targets["subject"], targets["clip"]
    errors = {MAIN_ERROR: validation_errors.nearest_neighbour_error(signature, subject, clip)}
    if "gender" in outputs:
        errors["gender"] = validation_errors.error_rate(outputs["gender"], targets["gender"])
    if "age_years" in outputs:
        errors["age"] = validation_errors.mean_absolute_error(outputs["age_years"], targets["age_years"])
    errors["verification"] = validation_errors.equal_error_rate(signature, subject, clip)
    return {"score": -errors["identity"] - errors["verification"] / 1000, "errors": errors}
