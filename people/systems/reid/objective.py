"""What reid minimises: triplet loss, the mean of twelve cross-entropies, person or not; its validation errors."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from people.nn import losses
from people.records import ATTRIBUTES
from people.training import task_weights, validation_errors
from people.training.monitor import Concatenated, Validation
from people.training.task_weights import CLASSIFICATION, REGRESSION

MAIN = "identity"
MAIN_ERROR = validation_errors.COMBINED  # by which the learning rate falls and trainings are compared
TERMS = ("identity", "attributes", "junk")
ERRORS = (MAIN_ERROR, *TERMS)
KINDS = {"identity": REGRESSION, "attributes": CLASSIFICATION, "junk": CLASSIFICATION}


@dataclass(frozen=True, init=False)
class Config:
    """The weight λ of each term, how the terms λ_t L_t are weighted, and the triplet loss' margin."""

    lambdas: dict[str, float]
    margin: dict[str, float]
    weighting: task_weights.Method

    def __init__(self, *, margin: Mapping[str, float | int], weighting: Mapping[str, Any], **weights: Any) -> None:
        if set(weights) != {"lambda"}:  # a keyword of Python, therefore not a parameter
            raise ValueError(f"reid.objective has the keys lambda, margin and weighting, got besides: {sorted(weights)}")
        lambdas = {term: _number(term, weight) for term, weight in weights["lambda"].items()}
        if set(lambdas) != set(TERMS) or not (lambdas["identity"] or lambdas["attributes"]):
            raise ValueError(
                f"reid.objective.lambda must give {', '.join(TERMS)} a weight each, that of identity or attributes not 0, got "
                f"{lambdas}; correct params.yaml"
            )
        if set(margin) != {"identity"} or not margin["identity"] > 0:
            raise ValueError(
                f"reid.objective.margin must give identity a distance > 0, got {dict(margin)}; correct params.yaml"
            )
        object.__setattr__(self, "lambdas", lambdas)
        object.__setattr__(self, "margin", {term: float(distance) for term, distance in margin.items()})
        object.__setattr__(self, "weighting", task_weights.method("reid.objective.weighting", weighting))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose weight is not 0."""
        return tuple(term for term in TERMS if self.lambdas[term])


def _number(term: str, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight < 0:
        raise ValueError(f"reid.objective.lambda.{term} must be a number >= 0, got {weight!r}; correct params.yaml")
    return float(weight)


class Objective(nn.Module):
    """The named loss terms, unweighted: one for each task whose weight is not 0."""

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.attributes = tuple(spec["attributes"])
        lambdas = {term: config.lambdas[term] for term in config.tasks}
        self.weighting = task_weights.weighting(config.weighting, lambdas, KINDS)

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of each term, a scalar with a graph.

        identity: the batch-all triplet loss (eq. 1) of people whose identity is known: junk is in no triplet. attributes: the
        mean of the twelve cross-entropies, each over the photos whose class is known. junk: one such cross-entropy.
        """
        return {term: getattr(self, f"_{term}")(outputs, batch) for term in self.config.tasks}

    def diagnostics(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The share of triplets that still violate the margin; the loss itself stays near it even in successful runs."""
        if "embedding" not in outputs:
            return {}
        embedding, margin = outputs["embedding"][:, None], self.config.margin["identity"]
        return {"active_triplets": losses.active_triplets(embedding, batch["identity"], margin)}

    def step_end(self) -> None:
        """Nothing: there is no state."""

    def _identity(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        embedding = outputs["embedding"][:, None]  # one strip
        return losses.batch_all_triplet(embedding, batch["identity"], self.config.margin["identity"])

    def _attributes(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        # of two classes the logits are (0, z): their cross-entropy is the binary one of z
        return torch.stack([losses.cross_entropy(outputs[name], batch[name]) for name in self.attributes]).mean()

    def _junk(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        return losses.cross_entropy(outputs["person"], batch["person"])


def monitor(targets: Collection[str]) -> Concatenated:
    """An accumulator of a split's outputs and of these targets, for `validate`."""
    return Concatenated(validate, targets)


def validate(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Validation:
    """The errors of a whole split from its concatenated outputs and targets, and the score that selects the model.

    identity: 1 - mean average precision of people's photos, those of the query's person by the query's camera left out;
    attributes: 1 - the mean balanced accuracy; junk: the error of persons and of junk, each weighing a half. combined: 1 - the
    geometric mean of 1 - identity and 1 - attributes, of those that are tasks. The score is -combined.
    """
    people = targets["person"] == 1
    errors = {}
    if "embedding" in outputs:
        labels = (targets[name][people] for name in ("subject", "camera"))
        errors["identity"] = 1 - validation_errors.mean_average_precision(outputs["embedding"][people], *labels)
    if attributes := [name for name in ATTRIBUTES if name in outputs]:
        balanced = [validation_errors.balanced_accuracy(outputs[name], targets[name]) for name in attributes]
        errors["attributes"] = 1 - torch.tensor(balanced, dtype=torch.float64).nanmean().item()
    scores = [1 - error for error in errors.values()]
    if "person" in outputs:
        errors["junk"] = 1 - validation_errors.balanced_accuracy(outputs["person"], targets["person"])
    combined = 1 - math.prod(scores) ** (1 / len(scores))
    return {"score": -combined, "errors": {MAIN_ERROR: combined, **errors}}
