"""How a network is trained: the numbers of a system's `training` block, and the devices that they are trained on."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR, ReduceLROnPlateau

from people.config import build, check, named
from people.training.samplers import Batches, IdentityBatches, PairBatches, ShuffledBatches

PRECISIONS = ("auto", "32-true", "bf16-mixed")
MAX_LOADER_WORKERS = 8  # of those that `auto` starts on a machine


@dataclass(frozen=True)
class Shuffled:
    """Every sample once per epoch, `samples` at a step over all devices."""

    samples: int

    def __post_init__(self) -> None:
        check("training.batches.", self, {"samples": (self.samples >= 1, "at least 1")})

    def sampler(self, targets: Mapping[str, Tensor], count: int, seed: int, *, rank: int, world: int) -> Batches:
        """The batches of one rank of `count` samples."""
        return ShuffledBatches(count, self.samples, seed, rank=rank, world=world)


@dataclass(frozen=True)
class Identities:
    """P x K: `samples_each` samples of each of `identities` at a step over all devices, `per_epoch` steps an epoch."""

    identities: int
    samples_each: int
    per_epoch: int

    def __post_init__(self) -> None:
        rules = {
            "identities": (self.identities >= 2, "at least 2: a single person has no negatives"),
            "samples_each": (self.samples_each >= 2, "at least 2: a single sample has no positives"),
            "per_epoch": (self.per_epoch >= 1, "at least 1"),
        }
        check("training.batches.", self, rules)

    @property
    def samples(self) -> int:
        """Samples of a batch, over all devices."""
        return self.identities * self.samples_each

    def sampler(self, targets: Mapping[str, Tensor], count: int, seed: int, *, rank: int, world: int) -> Batches:
        """The batches of one rank, by the target "subject"."""
        identity = targets["subject"].tolist()
        return IdentityBatches(identity, self.identities, self.samples_each, self.per_epoch, seed, rank=rank, world=world)


@dataclass(frozen=True)
class Pairs:
    """`pairs` pairs of samples of one person that differ in the target `across`, at a step over all devices."""

    pairs: int
    across: str
    per_epoch: int

    def __post_init__(self) -> None:
        rules = {"pairs": (self.pairs >= 1, "at least 1"), "per_epoch": (self.per_epoch >= 1, "at least 1")}
        check("training.batches.", self, rules)

    @property
    def samples(self) -> int:
        """Samples of a batch, over all devices."""
        return 2 * self.pairs

    def sampler(self, targets: Mapping[str, Tensor], count: int, seed: int, *, rank: int, world: int) -> Batches:
        """The batches of one rank, by the targets "subject" and `across`."""
        if self.across not in targets:
            raise ValueError(f"training.batches.across must be a target of the data, {', '.join(targets)}, got {self.across!r}")
        identity, condition = targets["subject"].tolist(), targets[self.across].tolist()
        return PairBatches(identity, condition, self.pairs, self.per_epoch, seed, rank=rank, world=world)


BATCHES = {"samples": Shuffled, "identities": Identities, "pairs": Pairs}  # by the key that tells them apart


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum; each group of parameters brings its own `weight_decay`."""

    name: str
    momentum: float

    def __post_init__(self) -> None:
        check("training.optimizer.", self, {"momentum": (0 <= self.momentum < 1, "in [0, 1)")})

    def build(self, groups: Iterable[dict[str, Any]], learning_rate: float) -> Optimizer:
        """The optimiser of these groups of parameters."""
        return torch.optim.SGD(groups, lr=learning_rate, momentum=self.momentum)


@dataclass(frozen=True)
class Adam:
    """Adam with its usual β = (0.9, 0.999); the weight decay is added to the gradient, as in the papers of gait."""

    name: str

    def build(self, groups: Iterable[dict[str, Any]], learning_rate: float) -> Optimizer:
        """The optimiser of these groups of parameters."""
        return torch.optim.Adam(groups, lr=learning_rate)


@dataclass(frozen=True)
class Plateau:
    """The learning rate is multiplied by `factor` when the main error has not fallen for more than `patience_epochs`."""

    name: str
    factor: float
    patience_epochs: int

    def __post_init__(self) -> None:
        rules = {
            "factor": (0 < self.factor < 1, "in (0, 1)"),
            "patience_epochs": (self.patience_epochs >= 0, "at least 0"),
        }
        check("training.schedule.", self, rules)

    def build(self, optimizer: Optimizer) -> ReduceLROnPlateau:
        """The scheduler of an optimiser."""
        return ReduceLROnPlateau(optimizer, "min", factor=self.factor, patience=self.patience_epochs)

    def step(self, scheduler: Any, main_error: float) -> None:
        """An epoch has ended with this error."""
        scheduler.step(main_error)


@dataclass(frozen=True)
class Milestones:
    """The learning rate is multiplied by `factor` after each of these epochs."""

    name: str
    factor: float
    epochs: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", tuple(self.epochs))
        rising = list(self.epochs) == sorted(set(self.epochs)) and min(self.epochs, default=1) >= 1
        rules = {"factor": (0 < self.factor < 1, "in (0, 1)"), "epochs": (rising, "rising numbers from 1")}
        check("training.schedule.", self, rules)

    def build(self, optimizer: Optimizer) -> MultiStepLR:
        """The scheduler of an optimiser."""
        return MultiStepLR(optimizer, list(self.epochs), gamma=self.factor)

    def step(self, scheduler: Any, main_error: float) -> None:
        """An epoch has ended, with whatever error."""
        scheduler.step()


OPTIMIZERS = {"sgd": Sgd, "adam": Adam}
SCHEDULES = {"plateau": Plateau, "milestones": Milestones}


@dataclass(frozen=True)
class Stopping:
    """When an auxiliary task stops: see `people.training.task_weights.TaskStopping`."""

    window_epochs: int
    threshold: float

    def __post_init__(self) -> None:
        rules = {
            "window_epochs": (self.window_epochs >= 1, "at least 1"),
            "threshold": (self.threshold > 0, "above 0"),
        }
        check("training.task_stopping.", self, rules)


@dataclass(frozen=True)
class Config:
    """How a network is trained: in which batches, by which optimiser and schedule, and on which device.

    Blocks of params.yaml become what they describe: `batches` is {samples}, {identities, samples_each, per_epoch} or {pairs,
    across, per_epoch}; `optimizer` and `schedule` go by their `name`. `task_stopping` is null where no task stops before the
    others. `clip_gradient_norm` bounds the norm of the whole gradient. `data_on_device` and `loader_workers`, see
    `resolve_loading`, change where batches are made and may differ from phase to phase.
    """

    epochs: int
    batches: Any  # Shuffled, Identities or Pairs, or its block in params.yaml
    optimizer: Any  # Sgd or Adam, or its block
    learning_rate: float
    weight_decay: float
    schedule: Any  # Plateau or Milestones, or its block
    task_stopping: Any  # Stopping, its block, or None
    clip_gradient_norm: float
    accelerator: str
    devices: int | Literal["auto"]
    precision: str
    loader_workers: int | str
    data_on_device: bool | str

    def __post_init__(self) -> None:
        if isinstance(self.batches, Mapping):
            object.__setattr__(self, "batches", _batches(self.batches))
        for name, kinds in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if isinstance(block := getattr(self, name), Mapping):
                object.__setattr__(self, name, named(f"training.{name}", block, kinds))
        if isinstance(self.task_stopping, Mapping):
            object.__setattr__(self, "task_stopping", build(Stopping, self.task_stopping))
        workers, on_device = self.loader_workers, self.data_on_device
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "clip_gradient_norm": (self.clip_gradient_norm > 0, "above 0"),
            "accelerator": (self.accelerator in ("auto", "cpu", "cuda", "gpu", "mps"), "auto, cpu, cuda, gpu or mps"),
            "devices": (self.devices == "auto" or (isinstance(self.devices, int) and self.devices >= 1), "at least 1, or auto"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            "loader_workers": (workers == "auto" or (isinstance(workers, int) and workers >= 0), "at least 0, or auto"),
            "data_on_device": (isinstance(on_device, bool) or on_device == "auto", "auto, true or false"),
        }
        check("training.", self, rules)


def _batches(block: Mapping[str, Any]) -> Any:
    for key, kind in BATCHES.items():
        if key in block:
            return build(kind, block)
    raise ValueError(
        "training.batches must be {samples}, {identities, samples_each, per_epoch} or {pairs, across, per_epoch}, got the keys "
        f"{', '.join(block)}; correct params.yaml"
    )


# On Zen 4 (AVX-512 BF16) a step in bf16 took half the time of one in float32; with AMX a quarter.
CPU_BF16_UNITS = ("amx_bf16", "avx512_bf16")


def resolve_precision(config: Config) -> str:
    """`auto` made definite: bf16-mixed where the device multiplies matrices in bf16 by itself, else 32-true."""
    if config.precision != "auto":
        return config.precision
    if uses_cuda(config):
        return "bf16-mixed" if torch.cuda.get_device_capability() >= (8, 0) else "32-true"
    on_cpu = config.accelerator == "cpu" or (config.accelerator == "auto" and not torch.backends.mps.is_available())
    capabilities = torch.cpu.get_capabilities()
    return "bf16-mixed" if on_cpu and any(capabilities.get(unit, False) for unit in CPU_BF16_UNITS) else "32-true"


def uses_cuda(config: Config) -> bool:
    return config.accelerator in ("cuda", "gpu", "auto") and torch.cuda.is_available()


class Loading(NamedTuple):
    """Where a training's batches are made: on its device, from data that lie there, or on the host by so many processes.

    0 processes: by the training's own.
    """

    on_device: bool
    workers: int


def resolve_loading(config: Config, nbytes: int, device: torch.device, *, processes: int = 1) -> Loading:
    """`data_on_device` and `loader_workers` made definite for data of this size and so many trainings beside each other.

    Data go to a GPU by themselves if they fill no more than half of its free memory. Otherwise up to `MAX_LOADER_WORKERS`
    processes feed the GPUs, and one core stays free; a CPU trains best without others beside it.
    """
    on_gpu = device.type == "cuda"
    fits = config.data_on_device == "auto" and on_gpu and nbytes <= free_bytes(device) / 2
    if config.data_on_device is True or fits:
        return Loading(on_device=True, workers=0)
    if isinstance(config.loader_workers, int):
        return Loading(on_device=False, workers=config.loader_workers)
    return Loading(on_device=False, workers=min(MAX_LOADER_WORKERS, available_cores() - 1) // processes if on_gpu else 0)


def free_bytes(device: torch.device) -> int:
    """A GPU's memory that this process can still fill: what nobody has, and what PyTorch keeps of tensors that are gone."""
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
