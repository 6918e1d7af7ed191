"""The smallest system with every part that the training loop asks for: who and how old, from eight noisy numbers."""

import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from people.training import loop
from people.training.task_weights import Fixed, Scale, Uncertainty

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

    def __len__(self) -> int:
        return len(self.subject)

    def targets(self, spec: dict[str, Any]) -> dict[str, Tensor]:
        return {"subject": self.subject, "age_years": self.ages}

    def batch(
        self,
        indices: Sequence[int],
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment: np.random.Generator | None,
    ) -> dict[str, Tensor]:
        chosen = torch.as_tensor(list(indices), dtype=torch.long) % len(self)
        values = self.values[chosen] - statistics["mean"]
        if augment is not None:
            key = int(augment.integers(2**31))
            values = values + torch.stack([torch.full((CHANNELS,), ((key + i) % 97) / 500) for i in indices])
        return {"values": values, "identity": self.subject[chosen], "age_years": self.ages[chosen]}


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


@dataclass(frozen=True)
class ObjectiveConfig:
    weight: float | None  # None: learned


class Objective(nn.Module):
    def __init__(self, config: ObjectiveConfig, spec: dict[str, Any]) -> None:
        super().__init__()
        self.weighting = (
            Uncertainty({"age": Scale(1.0, 2.0)}, {"identity": 1.0}, (-3, 3))
            if config.weight is None
            else Fixed({"identity": 1.0, "age": config.weight})
        )
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        assert all(value.dtype == torch.float32 for value in outputs.values())
        return {
            "identity": nn.functional.cross_entropy(outputs["identity"], batch["identity"]),
            "age": ((outputs["age_years"] - batch["age_years"]) / 10).square().mean(),
        }

    def monitored(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"steps": self.steps.float()}

    def step_end(self) -> None:
        self.steps += 1
        self.weighting.step_end()


def watch(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Any]:
    wrong = (outputs["identity"].argmax(1) != targets["identity"]).double().mean().item()
    age = (outputs["age_years"] - targets["age_years"]).abs().double().mean().item()
    return {"score": -wrong - age / 1e3, "errors": {"identity": wrong, "age": age}}


def module(name: str, **contents: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__dict__.update(contents)
    return made


MODEL = module("tiny_model", Config=ModelConfig, Network=Network)
OBJECTIVE = module(
    "tiny_objective", Config=ObjectiveConfig, Objective=Objective, watch=watch, MAIN="identity", WATCHED="identity"
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
}


def config(**changes: Any) -> loop.Config:
    return loop.Config(**{**TRAINING, **changes})


def problem(
    *, train: Any = None, validation: Any = None, weight: float | None = 0.1, dropout: float = 0.2, data_digest: str = "made up"
) -> loop.Problem:
    train = Samples(shift=1) if train is None else train
    return loop.Problem(
        system="tiny",
        model=MODEL,
        objective=OBJECTIVE,
        config={"data": {}, "model": {"channels": 16, "dropout": dropout}, "objective": {"weight": weight}},
        train=train,
        validation=Samples(shift=1) if validation is None else validation,
        spec={"subjects": SUBJECTS},
        statistics={"mean": train.values.mean(0) if len(train) else torch.zeros(CHANNELS)},
        data_digest=data_digest,
    )
