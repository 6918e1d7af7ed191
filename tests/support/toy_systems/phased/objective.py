"""Cross-entropies of identity and gender."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from people.nn import losses
from people.training import task_weights, validation_errors
from people.training.monitor import Concatenated, Validation
from people.training.system import Batch, Spec
from people.training.task_weights import CLASSIFICATION

MAIN, MAIN_ERROR, ERRORS = "identity", "ranking", ("ranking", "gender")
KINDS = {"identity": CLASSIFICATION, "gender": CLASSIFICATION}


@dataclass(frozen=True, init=False)
class Config:
    lambdas: dict[str, float]
    weighting: task_weights.Method

    def __init__(self, *, weighting: Mapping[str, Any], **weights: Any) -> None:
        object.__setattr__(self, "weighting", task_weights.method("objective.weighting", weighting))
        object.__setattr__(self, "lambdas", {task: float(weight) for task, weight in weights["lambda"].items()})

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task for task, weight in self.lambdas.items() if weight)


class Objective(nn.Module):
    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__()
        self.config = config
        lambdas = {task: config.lambdas[task] for task in config.tasks}
        self.weighting = task_weights.weighting(config.weighting, lambdas, KINDS)

    def forward(self, outputs: Batch, batch: Batch) -> dict[str, Tensor]:
        return {task: losses.cross_entropy(outputs[task], batch[task]) for task in self.config.tasks}

    def diagnostics(self, outputs: Batch, batch: Batch) -> dict[str, Tensor]:
        return {"embedding_norm": outputs["embedding"].norm(dim=1).mean()}

    def step_end(self) -> None:
        pass


def monitor(targets: Collection[str]) -> Concatenated:
    return Concatenated(validate, targets)


def validate(outputs: Batch, targets: Batch) -> Validation:
    ranking = 1 - validation_errors.mean_average_precision(outputs["embedding"], targets["subject"], targets["camera"])
    errors = {MAIN_ERROR: ranking}
    if "gender" in outputs:
        errors["gender"] = validation_errors.error_rate(outputs["gender"], targets["gender"])
    return {"score": -sum(errors.values()), "errors": errors}
