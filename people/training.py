"""The one training loop: a generator of epochs on Lightning Fabric, for every system and on any device.

Whatever happens in an epoch follows from (seed, epoch): the order of the samples, their augmentation, dropout. A state file
after each epoch is therefore all that a killed run needs to go on with the same curve.
"""

import math
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from people import states
from people.loading import InOrder, Loader, Recent, Samples, over_ranks, rows
from people.recipe import Config, resolve_precision
from people.weighting import TaskStopping

STEPS_BETWEEN_CHECKS = 50  # each check waits for the device
STATE_FILE = "state.pt"


class Diverged(ValueError):
    """A loss term or the gradient is no longer a finite number."""


@dataclass(frozen=True)
class Problem:
    """What is learned from what: a system's network and objective, their configuration as plain blocks, and the opened data.

    `spec` and `statistics` come from the training split alone; `data_digest` stands for the content of both splits.
    """

    system: str
    model: ModuleType
    objective: ModuleType
    config: dict[str, dict[str, Any]]
    train: Samples
    validation: Samples
    spec: dict[str, Any]
    statistics: dict[str, Tensor]
    data_digest: str

    def __post_init__(self) -> None:
        for split, samples in (("train", self.train), ("validation", self.validation)):
            if len(samples) == 0:
                raise ValueError(f"{self.system}: the split {split!r} has no samples; provide subjects and clips for it")

    def changed(self, **blocks: dict[str, Any]) -> "Problem":
        """The same data with another `model` or `objective`."""
        return replace(self, config={**self.config, **blocks})


@dataclass(frozen=True)
class Epoch:
    """One epoch's outcome: its named numbers, whether it is the best so far, and the checkpoint of the best.

    `metrics`: "train/<term>" (mean over the epoch, unweighted), "train/total", "train/<name>" of what the objective monitors,
    "learning_rate", "lambda/<term>" (as the epoch began), "train_error/<task>", "error/<task>" and "score" (validation
    subjects). A run that was killed yields what it had done
    before once more, with `replayed` set and `best` already that of the newest of them.
    """

    number: int
    metrics: dict[str, float]
    is_best: bool
    seconds: float
    replayed: bool
    best: dict[str, Any]
    history: pd.DataFrame


def run_key(problem: Problem, config: Config, seed: int) -> str:
    """What the result of `fit` follows from: configuration, data, this library's code, precision and torch's version."""
    return states.key(
        system=problem.system,
        config=problem.config,
        training=asdict(config),
        precision=resolve_precision(config),
        seed=seed,
        data=problem.data_digest,
        code=states.source_digest(Path(__file__).parent),
        torch=torch.__version__,
    )


def fit(
    problem: Problem,
    config: Config,
    *,
    seed: int,
    fabric: Fabric,
    checkpoint_folder: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Iterator[Epoch]:
    """Minimise the objective's weighted terms epoch by epoch; what is yielded may be logged, compared, or ended by
    leaving the loop.

    With a `checkpoint_folder` a run that was killed continues. `on_step(done, steps)` is called after each step of an epoch.
    """
    deterministic(fabric)
    run = _Run(problem, config, seed, fabric)
    file, key = (checkpoint_folder / STATE_FILE if checkpoint_folder else None), run_key(problem, config, seed)
    if file is not None and file.exists():
        run.load_state_dict(states.load(file, key))
        yield from run.replay()
    for number in range(len(run.history) + 1, config.epochs + 1):
        started = time.monotonic()
        is_best = run.epoch(number, on_step)
        if file is not None:
            if fabric.is_global_zero:
                states.save(file, run.state_dict(), key)
            fabric.barrier()
        yield run.outcome(number, is_best, time.monotonic() - started)


def deterministic(fabric: Fabric) -> None:
    """The same bytes for the same seed on the same machine; on a GPU an operation that has no such form warns by name."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=fabric.device.type != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


class _Step(nn.Module):
    """Network and objective as one module: processes that train together share the buffers and the gradients of both."""

    network: nn.Module
    objective: Any

    def __init__(self, network: nn.Module, objective: nn.Module) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, batch: dict[str, Tensor], stopped: Collection[str]) -> "_Taken":
        outputs = {name: value.float() for name, value in self.network(batch).items()}
        device = next(iter(outputs.values())).device.type
        with torch.autocast(device, enabled=False):  # losses in float32, whatever the network computes in
            terms = self.objective(outputs, batch)
            loss = self.objective.weighting.total(terms, stopped)
            with torch.no_grad():
                monitored = self.objective.monitored(outputs, batch)
        return _Taken(outputs, terms, loss, monitored)

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The parameters, those of the weighting in a group that does not decay: 0 is where a learned weight starts."""
        learned = list(self.objective.weighting.parameters())
        of_weighting = {id(parameter) for parameter in learned}
        others = [parameter for parameter in self.parameters() if id(parameter) not in of_weighting]
        groups = [{"params": others, "weight_decay": weight_decay}, {"params": learned, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]


class _Taken(NamedTuple):
    """What one step gave."""

    outputs: dict[str, Tensor]
    terms: dict[str, Tensor]
    loss: Tensor
    monitored: dict[str, Tensor]


class _Run:
    """The state of one training and its steps."""

    def __init__(self, problem: Problem, config: Config, seed: int, fabric: Fabric) -> None:
        self.problem, self.config, self.seed, self.fabric = problem, config, seed, fabric
        self._start_random(0)
        network = problem.model.Network(problem.model.Config(**problem.config["model"]), problem.spec)
        if hasattr(problem.model, "pretrain"):  # here, for a trained network is built without the file of its first weights
            problem.model.pretrain(network)
        objective = problem.objective.Objective(problem.objective.Config(**problem.config["objective"]), problem.spec)
        self.step = _Step(network, objective)
        self.plain_optimizer = config.optimizer.of(self.step.parameter_groups(config.weight_decay), config.learning_rate)
        self.schedule = config.schedule.of(self.plain_optimizer)
        self.stopping = TaskStopping(**asdict(config.task_stopping)) if config.task_stopping else None
        self.module, self.optimizer = fabric.setup(self.step, self.plain_optimizer)
        self.watched_error: str = problem.objective.WATCHED
        rank, world = fabric.global_rank, fabric.world_size
        identity = problem.train.targets(problem.spec)["subject"].tolist()
        batches = config.batches.of(identity, seed, rank=rank, world=world)
        self.in_order = InOrder(len(problem.validation), config.batches.samples, rank=rank, world=world)
        self.training = self._loader(problem.train, batches, seed)
        self.validation = self._loader(problem.validation, self.in_order, None)
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {}

    def _loader(self, samples: Samples, batches: Any, augment_seed: int | None) -> Loader:
        return Loader(
            samples,
            batches,
            spec=self.problem.spec,
            statistics=self.problem.statistics,
            augment_seed=augment_seed,
            workers=self.config.loader_workers,
            fabric=self.fabric,
        )

    def _start_random(self, epoch: int) -> None:
        source = np.random.SeedSequence([self.seed, epoch, self.fabric.global_rank])
        torch.manual_seed(int(source.generate_state(1)[0]))

    def epoch(self, number: int, on_step: Callable[[int, int], None] | None) -> bool:
        """Train on one epoch's batches, then watch the validation subjects; whether the epoch is the best so far."""
        self._start_random(number)
        lambdas, rate = self._lambdas(), self.plain_optimizer.param_groups[0]["lr"]
        terms, train_errors = self._train(number, on_step)
        watched = self.watch()
        row = {f"train/{name}": value for name, value in terms.items()}
        row |= {"learning_rate": rate} | {f"lambda/{name}": value for name, value in lambdas.items()}
        row |= {f"train_error/{task}": error for task, error in train_errors.items()}
        row |= {f"error/{task}": error for task, error in watched["errors"].items()}
        is_best = watched["score"] > max((past["score"] for past in self.history), default=-math.inf)
        self.history.append({"epoch": number, **row, "score": watched["score"]})
        if is_best:
            self.best = self._checkpoint(number, watched)
        self.config.schedule.step(self.schedule, watched["errors"][self.watched_error])
        if self.stopping:
            auxiliary = {task: error for task, error in train_errors.items() if task != self.watched_error}
            self.stopping.update(auxiliary, watched["errors"], lambdas)
        return is_best

    def _lambdas(self) -> dict[str, float]:
        weights = self.step.objective.weighting.lambdas()
        return {name: 0.0 if name in self._stopped() else value for name, value in weights.items()}

    def _stopped(self) -> set[str]:
        return self.stopping.stopped if self.stopping else set()

    def _train(self, number: int, on_step: Callable[[int, int], None] | None) -> tuple[dict[str, float], dict[str, float]]:
        """One pass: the mean of each term, and the errors on the epoch's last samples, as many as there are to be validated."""
        self.module.train()
        seen, recent = _Seen(number, self.fabric), Recent(len(self.in_order.share))
        stopped = frozenset(self._stopped())
        for done, batch in enumerate(self.training.epoch(number), start=1):
            taken = self.module(batch, stopped)
            self.optimizer.zero_grad()
            self.fabric.backward(taken.loss)
            norm = self.fabric.clip_gradients(
                self.module, self.optimizer, max_norm=self.config.clip_gradient_norm, error_if_nonfinite=False
            )
            self.optimizer.step()
            self.step.objective.step_end()
            logged = {**taken.terms, "total": taken.loss, **taken.monitored, "gradient": torch.as_tensor(norm)}
            seen.add(logged, rows(batch))
            recent.add(taken.outputs, batch)
            if on_step is not None:
                on_step(done, len(self.training))
        means = seen.means()
        errors = self.problem.objective.watch(*recent.joined())["errors"]
        return {name: value for name, value in means.items() if name != "gradient"}, self._over_ranks(errors)

    def watch(self) -> dict[str, Any]:
        """The errors and the score on the whole validation split, the same on every rank."""
        self.module.eval()
        recent = Recent(len(self.in_order.share))
        with torch.no_grad(), self.fabric.autocast():
            for batch in self.validation.epoch(0):
                recent.add({name: value.float() for name, value in self.step.network(batch).items()}, batch)
        outputs, targets = (self.in_order.gathered(share, self.fabric) for share in recent.joined())
        watched = self.problem.objective.watch(outputs, targets)
        return self.fabric.broadcast({"score": float(watched["score"]), "errors": dict(watched["errors"])})

    def _over_ranks(self, numbers: dict[str, float]) -> dict[str, float]:
        return dict(zip(numbers, over_ranks(list(numbers.values()), self.fabric, reduce="mean"), strict=True))

    def _checkpoint(self, number: int, watched: dict[str, Any]) -> dict[str, Any]:
        return states.canonical(
            {
                "system": self.problem.system,
                "config": self.problem.config,
                "spec": self.problem.spec,
                "statistics": self.problem.statistics,
                "network": self.step.network.state_dict(),
                "objective": self.step.objective.state_dict(),
                "epoch": number,
                "watched": watched,
            }
        )

    def outcome(self, number: int, is_best: bool, seconds: float, *, replayed: bool = False) -> Epoch:
        metrics = {name: value for name, value in self.history[number - 1].items() if name != "epoch"}
        return Epoch(number, metrics, is_best, seconds, replayed, self.best, pd.DataFrame(self.history[:number]))

    def replay(self) -> Iterator[Epoch]:
        best = -math.inf
        for number, row in enumerate(list(self.history), start=1):
            yield self.outcome(number, row["score"] > best, 0.0, replayed=True)
            best = max(best, row["score"])

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step.state_dict(),
            "optimizer": self.plain_optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "stopping": self.stopping.state_dict() if self.stopping else None,
            "history": self.history,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step.load_state_dict(state["step"])
        self.plain_optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.stopping:
            self.stopping.load_state_dict(state["stopping"])
        self.history, self.best = state["history"], state["best"]


class _Seen:
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
            self._read()

    def _read(self) -> None:
        for values in torch.stack(self.pending).tolist() if self.pending else []:
            self.rows.append(values)
            for name, value in zip(self.names, values, strict=True):
                if not math.isfinite(value):
                    raise Diverged(
                        f"epoch {self.epoch}, step {len(self.rows)}: {name} must be a finite number, got {value}; lower "
                        "training.learning_rate or training.clip_gradient_norm, or the weight of this term"
                    )
        self.pending = []

    def means(self) -> dict[str, float]:
        """The mean of each term over all samples of all ranks."""
        self._read()
        sums = torch.tensor(self.rows, dtype=torch.float64).T @ torch.tensor(self.weights, dtype=torch.float64)
        *sums, count = over_ranks([*sums.tolist(), float(sum(self.weights))], self.fabric, reduce="sum")
        return {name: value / count for name, value in zip(self.names, sums, strict=True)}
