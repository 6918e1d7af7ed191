"""The smallest system with every part that the training loop needs: who and how old, from eight noisy numbers."""

import copy
import types
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from people.training import task_weights
from people.training.loop import Training
from people.training.monitor import Concatenated, Validation
from people.training.system import Problem
from people.training.task_weights import CLASSIFICATION, REGRESSION
from people.training.train_config import Config

SUBJECTS, SAMPLES_EACH, CHANNELS = 6, 20, 8


class Samples:
    """Each subject is a point in space; a sample is that point and noise. `shift` makes another split's people."""

    def __init__(self, shift: int, subjects: int = SUBJECTS, scale: float = 1.0) -> None:
        draw = np.random.default_rng(shift)
        centres = draw.normal(size=(subjects, CHANNELS))
        self.subject = torch.arange(subjects).repeat_interleave(SAMPLES_EACH)
        noise = draw.normal(size=(len(self.subject), CHANNELS))
        self.values = torch.from_numpy(scale * (centres[self.subject] + noise)).float()
        self.ages = 20 + 5.0 * self.subject

    @property
    def nbytes(self) -> int:
        return self.values.nbytes

    def __len__(self) -> int:
        return len(self.subject)

    def to(self, device: torch.device | str) -> "Samples":
        moved = copy.copy(self)
        moved.subject, moved.values, moved.ages = (kept.to(device) for kept in (self.subject, self.values, self.ages))
        return moved

    def targets(self, spec: dict[str, Any]) -> dict[str, Tensor]:
        return {
            "subject": self.subject,
            "identity": self.subject,
            "age_years": self.ages,
            "session": torch.arange(len(self), device=self.values.device) % 2,
            "marks": [self.values[i, : i % 3] for i in range(len(self))],  # of another length for each sample
        }

    def batch(
        self,
        indices: Sequence[int],
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment: np.random.Generator | None,
    ) -> dict[str, Tensor]:
        rows, device = [index % len(self) for index in indices], self.values.device
        chosen = torch.tensor(rows, device=device)
        values = self.values[chosen] - statistics["mean"].to(device)
        if augment is not None:
            key = int(augment.integers(2**31))
            values = values + torch.stack([torch.full((CHANNELS,), ((key + i) % 97) / 500) for i in indices]).to(device)
        marks = [self.values[row, : row % 3] for row in rows]
        targets = {"identity": self.subject, "subject": self.subject, "age_years": self.ages}
        return {"values": values, "marks": marks, **{name: value[chosen] for name, value in targets.items()}}


@dataclass(frozen=True)
class ModelConfig:
    channels: int
    dropout: float


class Network(nn.Module):
    def __init__(self, config: ModelConfig, spec: dict[str, Any]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(CHANNELS, config.channels), nn.ReLU(), nn.Dropout(config.dropout))
        self.identity, self.age = nn.Linear(config.channels, spec["subjects"]), nn.Linear(config.channels, 1)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        signature = self.trunk(batch["values"])
        return {"identity": self.identity(signature), "age_years": self.age(signature).squeeze(1), "signature": signature}

    def pretrained(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class ObjectiveConfig:
    weight: float  # of age
    weighting: Any  # a `task_weights.Method`, or its block

    def __post_init__(self) -> None:
        object.__setattr__(self, "weighting", task_weights.method("objective.weighting", self.weighting))

    @property
    def tasks(self) -> tuple[str, ...]:
        return ("identity", "age") if self.weight != 0 else ("identity",)


class Objective(nn.Module):
    def __init__(self, config: ObjectiveConfig, spec: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        lambdas = {"identity": 1.0} | ({"age": config.weight} if config.weight else {})
        kinds = {"identity": CLASSIFICATION, "age": REGRESSION}
        self.weighting = task_weights.weighting(config.weighting, lambdas, kinds)
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        assert all(value.dtype == torch.float32 for value in outputs.values())
        terms = {"identity": nn.functional.cross_entropy(outputs["identity"], batch["identity"])}
        if "age" in self.config.tasks:
            terms["age"] = ((outputs["age_years"] - batch["age_years"]) / 10).square().mean()
        return terms

    def diagnostics(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"steps": self.steps.float()}

    def step_end(self) -> None:
        self.steps += 1


def monitor(targets: Collection[str]) -> Concatenated:
    return Concatenated(validate, targets)


def validate(outputs: dict[str, Tensor], targets: dict[str, Any]) -> Validation:
    assert len(targets["marks"]) == len(targets["identity"])
    wrong = (outputs["identity"].argmax(1) != targets["identity"]).double().mean().item()
    age = (outputs["age_years"] - targets["age_years"]).abs().double().mean().item()
    return {"score": -wrong - age / 1e3, "errors": {"identity": wrong, "age": age}}


def module(name: str, **contents: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__dict__.update(contents)
    return made


MODEL = module("toy_system", Config=ModelConfig, Network=Network)
OBJECTIVE = module(
    "toy_system",
    Config=ObjectiveConfig,
    Objective=Objective,
    monitor=monitor,
    MAIN="identity",
    MAIN_ERROR="identity",
    ERRORS=("identity", "age"),
)
TRAINING = {
    "epochs": 4,
    "batches": {"samples": 32},
    "optimizer": {"name": "sgd", "momentum": 0.9},
    "learning_rate": 0.05,
    "weight_decay": 5e-4,
    "schedule": {"name": "plateau", "factor": 0.1, "patience_epochs": 1},
    "task_stopping": {"window_epochs": 2, "threshold": 0.5},
    "clip_gradient_norm": 5.0,
    "accelerator": "cpu",
    "devices": 1,
    "precision": "32-true",
    "loader_workers": 0,
    "data_on_device": False,
}


def config(**changes: Any) -> Config:
    return Config(**{**TRAINING, **changes})


def problem(
    *,
    train: Any = None,
    validation: Any = None,
    weight: float = 0.1,
    weighting: str = "fixed",
    dropout: float = 0.2,
    data_digest: str = "made up",
    learns: tuple[str, ...] = (),
    phase: str = "",
) -> Problem:
    train = Samples(shift=1) if train is None else train
    return Problem(
        system="toy",
        model=MODEL,
        objective=OBJECTIVE,
        config={
            "data": {},
            "model": {"channels": 16, "dropout": dropout},
            "objective": {"weight": weight, "weighting": {"name": weighting}},
        },
        train=train,
        validation=Samples(shift=1) if validation is None else validation,
        spec={"subjects": SUBJECTS},
        statistics={"mean": train.values.mean(0) if len(train) else torch.zeros(CHANNELS)},
        data_digest=data_digest,
        learns=learns,
        phase=phase,
    )


def training(*, learns: tuple[str, ...] = (), phase: str = "", weight: float = 0.1, **changes: Any) -> Training:
    """One phase of several."""
    return Training(problem(learns=learns, phase=phase, weight=weight), config(**changes))
