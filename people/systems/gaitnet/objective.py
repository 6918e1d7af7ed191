"""What GaitNet minimises: L = λ_id L_id-inc-avg + λ_r L_xrecon + λ_s L_gait-sim; its validation errors."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from people.config import check
from people.nn.blocks import frame_mask
from people.training import task_weights, validation_errors
from people.training.monitor import Concatenated, Validation
from people.training.task_weights import CLASSIFICATION, REGRESSION

MAIN = "identity"
TERMS = ("identity", "cross_reconstruction", "gait_similarity")
KINDS = {"identity": CLASSIFICATION, "cross_reconstruction": REGRESSION, "gait_similarity": REGRESSION}
MAIN_ERROR = "ranking"  # by which the learning rate falls and trainings are compared
ERRORS = (MAIN_ERROR, "cross_reconstruction")
NORMS = ("squared_norm", "mean")
FRAME_WEIGHTS = ("squares", "ones")


@dataclass(frozen=True, init=False)
class Config:
    """The weight λ of each term, how the terms λ_t L_t are weighted, and how each is measured.

    `norm`: of cross_reconstruction and gait_similarity: `squared_norm` ‖·‖² as in the paper, the sum over a picture's pixels
    and channels and over a code's channels; `mean` as in the public code, the mean over them, 6,144 times smaller for pictures
    of 64x32 and 32 times for a gait code of 32 channels. `frame_weights`: w_t of the identity loss, t² (squares) or 1 (ones).
    """

    lambdas: dict[str, float]
    norm: dict[str, str]
    frame_weights: str
    weighting: task_weights.Method

    def __init__(self, *, norm: Mapping[str, str], frame_weights: str, weighting: Mapping[str, Any], **weights: Any) -> None:
        if set(weights) != {"lambda"}:  # a keyword of Python, therefore not a parameter
            raise ValueError(
                f"gaitnet.objective has the keys lambda, norm, frame_weights and weighting, got besides: {sorted(weights)}"
            )
        object.__setattr__(self, "lambdas", {term: float(weight) for term, weight in weights["lambda"].items()})
        object.__setattr__(self, "norm", dict(norm))
        object.__setattr__(self, "frame_weights", frame_weights)
        object.__setattr__(self, "weighting", task_weights.method("gaitnet.objective.weighting", weighting))
        if set(self.lambdas) != set(TERMS) or min(self.lambdas.values()) < 0 or not any(self.lambdas.values()):
            raise ValueError(
                f"gaitnet.objective.lambda must give {', '.join(TERMS)} a weight >= 0, one of them above 0, got "
                f"{self.lambdas}; correct params.yaml"
            )
        if set(self.norm) != set(TERMS[1:]) or not set(self.norm.values()) <= set(NORMS):
            raise ValueError(
                f"gaitnet.objective.norm must give {' and '.join(TERMS[1:])} one of {', '.join(NORMS)}, got {self.norm}; "
                "correct params.yaml"
            )
        is_known = self.frame_weights in FRAME_WEIGHTS
        check("gaitnet.objective.", self, {"frame_weights": (is_known, f"one of {', '.join(FRAME_WEIGHTS)}")})

    @property
    def tasks(self) -> tuple[str, ...]:
        """The terms whose weight is not 0."""
        return tuple(term for term in TERMS if self.lambdas[term])


class Objective(nn.Module):
    """The named loss terms whose weight is not 0, unweighted; stateless."""

    def __init__(self, config: Config, spec: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        lambdas = {term: config.lambdas[term] for term in config.tasks}
        self.weighting = task_weights.weighting(config.weighting, lambdas, KINDS)

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of each term, a scalar with a graph."""
        return {term: getattr(self, f"_{term}")(outputs, batch) for term in self.config.tasks}

    def diagnostics(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The share of neighbours in the batch that are a pair."""
        return {"pairs": is_pair(batch).float().mean()} if "gait_similarity" in self.config.tasks else {}

    def step_end(self) -> None:
        """Nothing: there is no state."""

    def _identity(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        is_frame = frame_mask(batch["length"], outputs["logits"].shape[1])
        return incremental_identity(outputs["logits"], batch["identity"], is_frame, self.config.frame_weights)

    def _cross_reconstruction(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        errors = reconstruction_errors(outputs, batch, self.config.norm["cross_reconstruction"])
        return errors.sum() / batch["length"].sum()

    def _gait_similarity(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        means = outputs["gait"].sum(1) / batch["length"][:, None]  # codes are 0 behind a clip's end
        return gait_similarity(means, is_pair(batch), self.config.norm["gait_similarity"])


def incremental_identity(
    logits: Float[Tensor, "sample frame subject"],
    identity: Int[Tensor, " sample"],
    is_frame: Bool[Tensor, "sample frame"],
    frame_weights: str,
) -> Float[Tensor, ""]:
    """L_id-inc-avg = 1/n Σ_t -w_t log C_k(1/t Σ_{s≤t} h^s), the mean over clips; `logits` are those of every prefix."""
    losses = functional.cross_entropy(logits.flatten(0, 1), identity.repeat_interleave(logits.shape[1]), reduction="none")
    frame = torch.arange(1, logits.shape[1] + 1, device=logits.device)
    weights = frame.square() if frame_weights == "squares" else torch.ones_like(frame)
    weighted = losses.view_as(is_frame) * weights * is_frame
    return (weighted.sum(1) / is_frame.sum(1)).mean()


def reconstruction_errors(outputs: dict[str, Tensor], batch: dict[str, Tensor], norm: str) -> Float[Tensor, "sample frame"]:
    """‖D(f_a^t1, f_g^t2) - I_t2‖² of every frame t2, or the mean over its pixels and channels; 0 behind a clip's end."""
    squares = (outputs["pictures"] - batch["foreground"]).square().flatten(2)
    return squares.sum(2) if norm == "squared_norm" else squares.mean(2)


def gait_similarity(means: Float[Tensor, "sample code"], pairs: Bool[Tensor, " pair"], norm: str) -> Float[Tensor, ""]:
    """L_gait-sim = ‖mean f_g of one clip - mean f_g of the other‖², the mean over pairs: samples 2i and 2i + 1.

    A batch without any pair gives 0, with a graph.
    """
    squares = (means[0 : 2 * len(pairs) : 2] - means[1 : 2 * len(pairs) : 2]).square()
    distances = squares.sum(1) if norm == "squared_norm" else squares.mean(1)
    return (distances * pairs).sum() / pairs.sum().clamp(min=1)


def is_pair(batch: dict[str, Tensor]) -> Bool[Tensor, " pair"]:
    """Whether the samples 2i and 2i + 1 are two clips of one person; `training.batches.across` says in what they differ."""
    count = len(batch["subject"]) // 2 * 2
    same_person, same_clip = (batch[name][0:count:2] == batch[name][1:count:2] for name in ("subject", "clip"))
    return same_person & ~same_clip


def monitor(targets: Collection[str]) -> Concatenated:
    """An accumulator of a split's embeddings, reconstruction errors and of these targets, for `validate`."""
    return Concatenated(validate, targets, reduce=reduced)


def reduced(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of each clip the embedding, and the mean squared error of its pictures where they are made again."""
    kept = {"embedding": outputs["embedding"]}
    if "pictures" in outputs:
        kept["reconstruction_error"] = reconstruction_errors(outputs, batch, "mean").sum(1) / batch["length"]
    return kept


def validate(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> Validation:
    """The errors of a whole split from what `reduced` kept.

    ranking: 1 - the mean average precision of every clip as a probe, by cosine, against all clips but those of its own person
    under its own condition; cross_reconstruction: the mean squared error of pixels in [0, 1]. The score is -ranking -
    cross_reconstruction / 1000: what decides between equal rankings.
    """
    ranking = 1 - validation_errors.mean_average_precision(outputs["embedding"], targets["subject"], targets["condition"])
    errors = {MAIN_ERROR: ranking}
    if "reconstruction_error" in outputs:
        errors["cross_reconstruction"] = outputs["reconstruction_error"].double().mean().item()
    return {"score": -ranking - errors.get("cross_reconstruction", 0.0) / 1000, "errors": errors}
