"""What GaitTAKE minimises: L = L_weighted + λ L_batch_all (+ λ L_cross_entropy); its validation errors."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from people.nn import losses
from people.training import task_weights, validation_errors
from people.training.monitor import Concatenated, Validation
from people.training.task_weights import CLASSIFICATION, REGRESSION

MAIN = "weighted"
MAIN_ERROR = "identity"  # by which the learning rate falls and trainings are compared
ERRORS = (MAIN_ERROR, "ranking")
AUXILIARIES = ("batch_all", "cross_entropy")
KINDS = {MAIN: REGRESSION, "batch_all": REGRESSION, "cross_entropy": CLASSIFICATION}


@dataclass(frozen=True, init=False)
class Config:
    """The weight λ of each further term, how the terms λ_t L_t are weighted, the margins of both triplet losses, and whether
    eq. 11 weights its pairs.

    Without `pair_weights` all positives of an anchor have equal weights, and all negatives.
    """

    lambdas: dict[str, float]
    margin: dict[str, float]
    pair_weights: bool
    weighting: task_weights.Method

    def __init__(
        self, *, margin: Mapping[str, float | int], pair_weights: bool, weighting: Mapping[str, Any], **weights: Any
    ) -> None:
        if set(weights) != {"lambda"}:  # a keyword of Python, therefore not a parameter
            raise ValueError(
                f"gaittake.objective has the keys lambda, margin, pair_weights and weighting, got besides: {sorted(weights)}"
            )
        object.__setattr__(self, "lambdas", {term: float(weight) for term, weight in weights["lambda"].items()})
        object.__setattr__(self, "margin", {term: float(distance) for term, distance in margin.items()})
        object.__setattr__(self, "pair_weights", pair_weights)
        object.__setattr__(self, "weighting", task_weights.method("gaittake.objective.weighting", weighting))
        if set(self.lambdas) != set(AUXILIARIES) or min(self.lambdas.values()) < 0:
            raise ValueError(f"gaittake.objective.lambda must give {', '.join(AUXILIARIES)} a weight >= 0, got {self.lambdas}")
        if set(self.margin) != {MAIN, "batch_all"} or not min(self.margin.values()) > 0:
            raise ValueError(f"gaittake.objective.margin must give {MAIN} and batch_all a distance > 0, got {self.margin}")

    @property
    def tasks(self) -> tuple[str, ...]:
        """The terms whose weight is not 0."""
        return (MAIN, *(term for term in AUXILIARIES if self.lambdas[term]))


class Objective(nn.Module):
    """The named loss terms of GaitTAKE whose weight is not 0, unweighted; stateless."""

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        lambdas = {MAIN: 1.0, **{term: config.lambdas[term] for term in config.tasks[1:]}}
        self.weighting = task_weights.weighting(config.weighting, lambdas, KINDS)

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of each term, a scalar with a graph: computed for each strip of the embedding, averaged over strips."""
        embedding, subject, margin = outputs["embedding"], batch["subject"], self.config.margin
        terms = {MAIN: losses.weighted_triplet(embedding, subject, margin[MAIN], weighting=self.config.pair_weights)}
        if "batch_all" in self.config.tasks:
            terms["batch_all"] = losses.batch_all_triplet(embedding, subject, margin["batch_all"])
        if "cross_entropy" in self.config.tasks:
            logits = outputs["logits"]
            identity = batch["identity"].repeat_interleave(logits.shape[1])
            terms["cross_entropy"] = losses.cross_entropy(logits.flatten(0, 1), identity)
        return terms

    def diagnostics(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The share of triplets that still violate the margin of the batch-all loss, which itself stays near the margin."""
        margin = self.config.margin["batch_all"]
        return {"active_triplets": losses.active_triplets(outputs["embedding"], batch["subject"], margin)}

    def step_end(self) -> None:
        """Nothing: there is no state."""


def monitor(targets: Collection[str]) -> Concatenated:
    """An accumulator of a split's embeddings and of these targets, for `validate`."""
    return Concatenated(validate, targets)


def validate(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Validation:
    """The errors of a whole split from its concatenated outputs and targets, and the score that selects the model.

    identity: 1 - rank-1 across views, one view as gallery at a time; ranking: 1 - mean average precision of the same
    comparisons (`people.training.validation_errors.across_views`). The score is -identity -
    ranking / 1000: the mean average precision decides between equal ranks.
    """
    labels = (targets[name] for name in ("subject", "walk", "view", "condition"))
    identity, ranking = validation_errors.across_views(outputs["embedding"], *labels)
    return {"score": -identity - ranking / 1000, "errors": {MAIN_ERROR: identity, "ranking": ranking}}
