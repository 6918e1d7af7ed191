"""One optimisation step: network and objective as one module, what a step gives, and the means of an epoch's steps."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from people.nn import inference
from people.nn.inference import Batch
from people.training.fabric import Fabric
from people.training.loader import over_ranks
from people.training.monitor import Diverged

STEPS_BETWEEN_CHECKS = 50  # each check waits for the device


class Step(nn.Module):
    """Network and objective as one module: processes that train together share the buffers and the gradients of both."""

    network: nn.Module
    objective: Any

    def __init__(self, network: nn.Module, objective: nn.Module, learns: Sequence[str]) -> None:
        super().__init__()
        self.network, self.objective, self.learns = network, objective, tuple(learns)
        names = [name for name, _ in network.named_parameters()]
        if unknown := [start for start in learns if not any(name.startswith(start) for name in names)]:
            raise ValueError(
                f"training.phases: {unknown[0]!r} in `learns` begins no parameter's name; there are {', '.join(names[:8])}, ..."
            )
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not learns or name.startswith(self.learns))
        of_weighting = {id(parameter) for parameter in self.objective.weighting.parameters()}
        others = (parameter for parameter in self.parameters() if id(parameter) not in of_weighting)
        self._others = [parameter for parameter in others if parameter.requires_grad]  # the network's come first

    def forward(self, batch: Batch, stopped: Collection[str]) -> "StepResult":
        outputs = inference.float32(self.network(batch))
        device = next(self.network.parameters()).device.type
        with torch.autocast(device, enabled=False):  # losses in float32, whatever the network computes in
            terms = self.objective(outputs, batch)
            loss = self.objective.weighting.total(terms, stopped)
            with torch.no_grad():
                diagnostics = self.objective.diagnostics(outputs, batch)
        return StepResult(outputs, terms, loss, diagnostics)

    def backward(self, result: "StepResult", stopped: Collection[str], backward: Callable[..., Any]) -> None:
        """Give the parameters their gradients, as the weighting makes them; `backward` computes those of a number as
        `Tensor.backward` does.
        """
        self.objective.weighting.backward(result.loss, result.terms, stopped, self._others, backward)

    def train(self, mode: bool = True) -> "Step":
        """Training mode, but for modules that do not learn in this phase: their statistics and dropout stand still."""
        super().train(mode)
        for module in self.network.modules() if mode and self.learns else ():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The parameters, those of the weighting in a group that does not decay: 0 is where a learned weight starts."""
        learned = list(self.objective.weighting.parameters())
        groups = [{"params": self._others, "weight_decay": weight_decay}, {"params": learned, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]


class StepResult(NamedTuple):
    """What one step gave."""

    outputs: Batch
    terms: dict[str, Tensor]
    loss: Tensor
    diagnostics: dict[str, Tensor]


class TermMeans:
    """The terms of an epoch's steps, kept on the device and read now and then: reading waits for the device."""

    def __init__(self, epoch: int, fabric: Fabric) -> None:
        self.epoch, self.fabric = epoch, fabric
        self.names: list[str] = []
        self.pending: list[Tensor] = []
        self.rows: list[list[float]] = []
        self.weights: list[int] = []

    def add(self, terms: dict[str, Tensor], samples: int) -> None:
        self.names = list(terms)
        self.pending.append(torch.stack([term.detach().float() for term in terms.values()]))
        self.weights.append(samples)
        if len(self.pending) == STEPS_BETWEEN_CHECKS:
            self._check()

    def _check(self) -> None:
        for values in torch.stack(self.pending).tolist() if self.pending else []:
            self.rows.append(values)
            for name, value in zip(self.names, values, strict=True):
                if not math.isfinite(value):
                    raise Diverged(
                        f"epoch {self.epoch}, step {len(self.rows)}: {name} must be a finite number, got {value}; lower "
                        "training.learning_rate or training.clip_gradient_norm, or the weight of this term"
                    )
        self.pending = []

    def read(self) -> dict[str, float]:
        """The mean of each term over all samples of all ranks."""
        self._check()
        sums = torch.tensor(self.rows, dtype=torch.float64).T @ torch.tensor(self.weights, dtype=torch.float64)
        *sums, count = over_ranks([*sums.tolist(), float(sum(self.weights))], self.fabric, reduce="sum")
        return {name: value / count for name, value in zip(self.names, sums, strict=True)}
