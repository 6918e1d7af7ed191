"""The one training loop: a generator of epochs on Lightning Fabric, for every system and on any device.

Whatever happens in an epoch follows from (seed, epoch): the order of the samples, their augmentation, dropout. A state file
after each epoch is therefore all that a killed run needs to go on with the same curve.
"""

import hashlib
import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from people.nn import inference, pretrained
from people.nn.inference import Batch
from people.storage import facts_digest
from people.storage.serialization import canonical, serialize
from people.training import resume
from people.training.fabric import Fabric
from people.training.loader import InOrder, Loader, over_ranks
from people.training.monitor import Validation
from people.training.step import Diverged, Step, StepResult, TermMeans
from people.training.system import Phase, Problem, Samples, Weighting
from people.training.task_weights import TaskStopping
from people.training.train_config import Config, resolve_loading, resolve_precision

__all__ = ["Diverged", "Epoch", "Training", "fit", "fit_phases", "phases_key", "run_key"]

STATE_FILE = "state.pt"


class Training(NamedTuple):
    """A problem and how its network is trained: one phase of a system's training, or all of it."""

    problem: Problem
    config: Config


@dataclass(frozen=True)
class Epoch:
    """One epoch's outcome: its named numbers, whether it is the best so far, and the checkpoint of the best.

    `metrics`: "train/<term>" (mean over the epoch, unweighted), "train/total", "train/<name>" of the objective's diagnostics,
    "learning_rate", "lambda/<term>" (as the epoch began), "train_error/<task>", "error/<task>" and "score" (validation
    subjects). A run that was killed yields what it had done before once more, with `replayed` set and `best` already that of
    the newest of them. Over several phases (`fit_phases`) `number` and `history` go on; "best" is always the phase's own.
    """

    number: int
    metrics: dict[str, float]
    is_best: bool
    seconds: float
    replayed: bool
    best: dict[str, Any]
    history: pd.DataFrame
    phase: str = Phase.SINGLE


def run_key(problem: Problem, config: Config, seed: int) -> str:
    """What the result of `fit` follows from: configuration, data, code, precision, torch's version, and the phase before."""
    return facts_digest(
        system=problem.system,
        config=problem.config,
        training=asdict(config),
        precision=resolve_precision(config),
        seed=seed,
        data=problem.data_digest,
        spec=problem.spec,
        statistics=hashlib.sha256(serialize(problem.statistics)).hexdigest(),
        code=resume.source_digest(modules_of(problem)),
        torch=torch.__version__,
        phase=[problem.phase, problem.learns],
        start=hashlib.sha256(serialize(problem.start)).hexdigest() if problem.start else None,
    )


def phases_key(phases: Sequence[Training], seed: int) -> str:
    """The same for several trainings in a row, each of which starts from what the one before will have found."""
    return facts_digest(phases=[run_key(phase.problem, phase.config, seed) for phase in phases])


def modules_of(problem: Problem) -> list[str]:
    """The modules from which everything that a training executes can be reached."""
    parts = (problem.model, problem.objective, problem.train)
    return [__name__, *(getattr(part, "__name__", type(part).__module__) for part in parts)]


def fit_phases(
    phases: Sequence[Training],
    *,
    seed: int,
    fabric: Fabric,
    checkpoint_folder: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Iterator[Epoch]:
    """`fit` for each phase in turn, each from the best network of the one before; epochs are numbered through.

    With one phase this is `fit`. The history of several says of every epoch which phase it belongs to.
    """
    start, before = None, pd.DataFrame()
    for number, phase in enumerate(phases):
        problem = replace(phase.problem, start=start)
        folder = checkpoint_folder / f"phase-{number}" if checkpoint_folder and len(phases) > 1 else checkpoint_folder
        done, history = len(before), before
        for epoch in fit(problem, phase.config, seed=seed, fabric=fabric, checkpoint_folder=folder, on_step=on_step):
            history = epoch.history
            if len(phases) > 1:
                own = epoch.history.assign(epoch=epoch.history["epoch"] + done)
                own.insert(0, "phase", problem.phase)
                history = pd.concat([before, own], ignore_index=True)
            yield replace(epoch, number=epoch.number + done, history=history, phase=problem.phase)
            start = epoch.best
        before = history


def fit(
    problem: Problem,
    config: Config,
    *,
    seed: int,
    fabric: Fabric,
    checkpoint_folder: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Iterator[Epoch]:
    """Minimise the objective's weighted terms epoch by epoch; the caller may log and compare what is yielded, and stop early.

    With a `checkpoint_folder` a run that was killed continues. `on_step(done, steps)` is called after each step of an epoch.
    """
    deterministic(fabric)
    run = _Run(problem, config, seed, fabric)
    file, key = (checkpoint_folder / STATE_FILE if checkpoint_folder else None), run_key(problem, config, seed)
    if file is not None and file.exists():
        run.load_state_dict(resume.load(file, key))
        yield from run.replay()
    for number in range(len(run.history) + 1, config.epochs + 1):
        started = time.monotonic()
        is_best = run.epoch(number, on_step)
        if file is not None:
            if fabric.is_global_zero:
                resume.save(file, run.state_dict(), key)
            fabric.barrier()
        yield run.outcome(number, is_best, time.monotonic() - started)


def deterministic(fabric: Fabric) -> None:
    """The same bytes for the same seed on the same machine; on a GPU an operation that has no such form warns by name."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=fabric.device.type != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def refuse_several_devices(weighting: Weighting, devices: int) -> None:
    """Refuse a way of weighting that needs one gradient for each term where several devices each have a part of it."""
    if weighting.needs_gradients and devices > 1:
        raise ValueError(
            f"objective.weighting combines the gradients of single terms, which {devices} devices do not have: set "
            "training.devices: 1, or another objective.weighting, in params.yaml"
        )


class _Run:
    """The state of one training and its steps."""

    def __init__(self, problem: Problem, config: Config, seed: int, fabric: Fabric) -> None:
        self.problem, self.config, self.seed, self.fabric = problem, config, seed, fabric
        self._start_random(0)
        network = problem.model.Network(problem.model.Config(**problem.config["model"]), problem.spec)
        if problem.start is None:
            pretrained.load(network)
        else:
            network.load_state_dict(problem.start["network"])
        objective = problem.objective.Objective(problem.objective.Config(**problem.config["objective"]), problem.spec)
        refuse_several_devices(objective.weighting, fabric.world_size)
        self.step = Step(network, objective, problem.learns)
        self.plain_optimizer = config.optimizer.build(self.step.parameter_groups(config.weight_decay), config.learning_rate)
        self.schedule = config.schedule.build(self.plain_optimizer)
        self.stopping = TaskStopping(**asdict(config.task_stopping)) if config.task_stopping else None
        self.module, self.optimizer = fabric.setup(self.step, self.plain_optimizer)
        self.main_error: str = problem.objective.MAIN_ERROR
        rank, world = fabric.global_rank, fabric.world_size
        targets = problem.train.targets(problem.spec)
        self.targets = tuple(targets)
        self.batches = config.batches.sampler(targets, len(problem.train), seed, rank=rank, world=world)
        self.in_order = InOrder(len(problem.validation), config.batches.samples, rank=rank, world=world)
        data_bytes = problem.train.nbytes + problem.validation.nbytes
        self.loading = resolve_loading(config, data_bytes, fabric.device, processes=world)
        self.training = self._loader(problem.train, self.batches, seed)
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
            loading=self.loading,
            fabric=self.fabric,
        )

    def _start_random(self, epoch: int) -> None:
        source = np.random.SeedSequence([self.seed, epoch, self.fabric.global_rank])
        torch.manual_seed(int(source.generate_state(1)[0]))

    def epoch(self, number: int, on_step: Callable[[int, int], None] | None) -> bool:
        """Train on one epoch's batches, then validate; whether the epoch is the best so far."""
        self._start_random(number)
        lambdas, rate = self._lambdas(), self.plain_optimizer.param_groups[0]["lr"]
        terms, train_errors = self._train(number, on_step)
        validation = self.validate()
        row = {f"train/{name}": value for name, value in terms.items()}
        row |= {"learning_rate": rate} | {f"lambda/{name}": value for name, value in lambdas.items()}
        row |= {f"train_error/{task}": error for task, error in train_errors.items()}
        row |= {f"error/{task}": error for task, error in validation["errors"].items()}
        is_best = validation["score"] > max((past["score"] for past in self.history), default=-math.inf)
        self.history.append({"epoch": number, **row, "score": validation["score"]})
        if is_best:
            self.best = self._checkpoint(number, validation)
        self.config.schedule.step(self.schedule, validation["errors"][self.main_error])
        if self.stopping:
            main = {self.main_error, self.problem.objective.MAIN}
            auxiliary = {task: error for task, error in train_errors.items() if task in lambdas.keys() - main}
            self.stopping.update(auxiliary, validation["errors"], lambdas)
        return is_best

    def _lambdas(self) -> dict[str, float]:
        return self.step.objective.weighting.lambdas(self._stopped())

    def _stopped(self) -> set[str]:
        return self.stopping.stopped if self.stopping else set()

    def _train(self, number: int, on_step: Callable[[int, int], None] | None) -> tuple[dict[str, float], dict[str, float]]:
        """One pass: the mean of each term, and the errors on the epoch's last samples, as many as there are to be validated."""
        self.module.train()
        means, monitor = TermMeans(number, self.fabric), self.problem.objective.monitor(self.targets)
        first_monitored = tail_start(self.batches.sizes(), len(self.in_order.share))
        stopped = frozenset(self._stopped())
        for done, batch in enumerate(self.training.epoch(number), start=1):
            result, norm = self.optimise(batch, stopped)
            logged = {**result.terms, "total": result.loss, **result.diagnostics, "gradient": norm}
            means.add(logged, inference.count(batch))
            if done > first_monitored:
                monitor.add(result.outputs, batch)
            if on_step is not None:
                on_step(done, len(self.training))
        terms = means.read()
        self.step.objective.weighting.epoch_end({name: terms[name] for name in self.step.objective.weighting.lambdas()})
        errors = monitor.result(dict)["errors"]
        return {name: value for name, value in terms.items() if name != "gradient"}, self._over_ranks(errors)

    def optimise(self, batch: Batch, stopped: Collection[str] = ()) -> tuple[StepResult, torch.Tensor]:
        """One optimisation step; the norm of the gradient is that before it was clipped."""
        result = self.module(batch, stopped)
        self.optimizer.zero_grad()
        self.step.backward(result, stopped, self.fabric.backward)
        norm = self.fabric.clip_gradients(
            self.module, self.optimizer, max_norm=self.config.clip_gradient_norm, error_if_nonfinite=False
        )
        self.optimizer.step()
        self.step.objective.weighting.step_end()
        self.step.objective.step_end()
        return result, torch.as_tensor(norm)

    def validate(self) -> Validation:
        """The errors and the score on the whole validation split, the same on every rank."""
        self.module.eval()
        for buffer in self.step.buffers() if self.fabric.world_size > 1 else ():
            torch.distributed.broadcast(buffer, 0)  # the first process's are saved: all validate with them
        monitor = self.problem.objective.monitor(self.targets)
        with self.fabric.autocast():
            for outputs, batch in inference.forward(self.step.network, self.validation.epoch(0)):
                monitor.add(outputs, batch)
        verdict = monitor.result(lambda share: self.in_order.gathered(share, self.fabric))
        return self.fabric.broadcast({"score": float(verdict["score"]), "errors": dict(verdict["errors"])})

    def _over_ranks(self, numbers: dict[str, float]) -> dict[str, float]:
        return dict(zip(numbers, over_ranks(list(numbers.values()), self.fabric, reduce="mean"), strict=True))

    def _checkpoint(self, number: int, validation: Validation) -> dict[str, Any]:
        return canonical(
            {
                "system": self.problem.system,
                "config": self.problem.config,
                "spec": self.problem.spec,
                "statistics": self.problem.statistics,
                "network": self.step.network.state_dict(),
                "objective": self.step.objective.state_dict(),
                "epoch": number,
                "validation": validation,
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


def tail_start(sizes: Sequence[int], count: int) -> int:
    """How many batches come before the last ones that hold at least `count` samples together; 0 where all hold fewer."""
    kept, start = 0, len(sizes)
    while start > 0 and kept < count:
        start -= 1
        kept += sizes[start]
    return start
