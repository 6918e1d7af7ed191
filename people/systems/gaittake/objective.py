"""What GaitTAKE minimises: L = L_weighted + λ L_batch_all (+ λ L_cross_entropy), and what its training watches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from people import distances, losses, validation
from people.validation import Watched
from people.weighting import Fixed

MAIN = "weighted"
WATCHED = "identity"  # the error by which the learning rate falls and trainings are compared
AUXILIARIES = ("batch_all", "cross_entropy")


@dataclass(frozen=True, init=False)
class Config:
    """The weight λ of each further term, the margins of both triplet losses, and whether eq. 11 weights its pairs.

    Without `weighting` every positive and every negative of an anchor counts the same.
    """

    lambdas: dict[str, float]
    margin: dict[str, float]
    weighting: bool

    def __init__(self, *, margin: Mapping[str, float | int], weighting: bool, **weights: Any) -> None:
        if set(weights) != {"lambda"}:  # a word of Python, therefore taken by name
            raise ValueError(f"gaittake.objective has the keys lambda, margin and weighting, got besides: {sorted(weights)}")
        object.__setattr__(self, "lambdas", {term: float(weight) for term, weight in weights["lambda"].items()})
        object.__setattr__(self, "margin", {term: float(distance) for term, distance in margin.items()})
        object.__setattr__(self, "weighting", weighting)
        if set(self.lambdas) != set(AUXILIARIES) or min(self.lambdas.values()) < 0:
            raise ValueError(f"gaittake.objective.lambda must give {', '.join(AUXILIARIES)} a weight >= 0, got {self.lambdas}")
        if set(self.margin) != {MAIN, "batch_all"} or not min(self.margin.values()) > 0:
            raise ValueError(f"gaittake.objective.margin must give {MAIN} and batch_all a distance > 0, got {self.margin}")


class Objective(nn.Module):
    """The named loss terms of GaitTAKE, unweighted; it keeps no state.

    There is a term "cross_entropy" where its λ is above 0, and then only: the network must have its head just then.
    """

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        self.config, given = config, config.lambdas
        further = [term for term in AUXILIARIES if term != "cross_entropy" or given[term] > 0]
        self.weighting = Fixed({MAIN: 1.0, **{term: given[term] for term in further}})

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A number with a graph for each term, every strip of the embedding for itself, the mean over strips."""
        embedding, subject, margin = outputs["embedding"], batch["subject"], self.config.margin
        terms = {
            MAIN: losses.weighted_triplet(embedding, subject, margin[MAIN], weighting=self.config.weighting),
            "batch_all": losses.batch_all_triplet(embedding, subject, margin["batch_all"]),
        }
        if ("logits" in outputs) != (self.config.lambdas["cross_entropy"] > 0):
            raise ValueError(
                f"gaittake.objective.lambda.cross_entropy is {self.config.lambdas['cross_entropy']:g}, but the network has "
                f"{'a' if 'logits' in outputs else 'no'} head that tells the training subjects apart: a weight above 0 needs "
                "that head in gaittake.model, and the head a weight"
            )
        if "logits" in outputs:
            logits = outputs["logits"]
            identity = batch["identity"].repeat_interleave(logits.shape[1])
            terms["cross_entropy"] = losses.softmax_log_loss(logits.flatten(0, 1), identity)
        return terms

    def monitored(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The share of triplets that still violate the margin of the batch-all loss, which itself stays near the margin."""
        margin = self.config.margin["batch_all"]
        return {"active_triplets": losses.active_triplets(outputs["embedding"], batch["subject"], margin)}

    def step_end(self) -> None:
        """One optimisation step is done: nothing here counts them."""


def watch(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Watched:
    """The errors of a whole split from its concatenated outputs and targets, and the score that selects the model.

    identity: 1 - rank-1 across views, one view as gallery at a time; ranking: 1 - mean average precision of the same
    comparisons (see `people.validation.across_views`). The score is -identity, and of equally good identifications the one
    that ranks better is ahead: - ranking / 1000.
    """
    embedding = outputs["embedding"]
    distance = distances.mean_strip_distance(embedding, embedding)
    labels = (targets[name] for name in ("subject", "walk", "view", "condition"))
    identity, ranking = validation.across_views(distance, *labels)
    return {"score": -identity - ranking / 1000, "errors": {WATCHED: identity, "ranking": ranking}}
