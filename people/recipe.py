"""How a network is trained: the numbers of a system's `training` block, and the devices that they are trained on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR, ReduceLROnPlateau

from people.sampling import Batches, IdentityBatches, ShuffledBatches

PRECISIONS = ("auto", "32-true", "bf16-mixed")


@dataclass(frozen=True)
class Shuffled:
    """Every sample once per epoch, `samples` at a step over all devices."""

    samples: int

    def __post_init__(self) -> None:
        check("training.batches.", self, {"samples": (self.samples >= 1, "at least 1")})

    def of(self, identity: Sequence[int], seed: int, *, rank: int, world: int) -> Batches:
        return ShuffledBatches(len(identity), self.samples, seed, rank=rank, world=world)


@dataclass(frozen=True)
class Identities:
    """P x K: `clips` samples of each of `people` people at a step over all devices, `per_epoch` steps an epoch."""

    people: int
    clips: int
    per_epoch: int

    def __post_init__(self) -> None:
        rules = {
            "people": (self.people >= 2, "at least 2: one person alone has nobody to be told from"),
            "clips": (self.clips >= 2, "at least 2: one clip alone has none to be like"),
            "per_epoch": (self.per_epoch >= 1, "at least 1"),
        }
        check("training.batches.", self, rules)

    @property
    def samples(self) -> int:
        return self.people * self.clips

    def of(self, identity: Sequence[int], seed: int, *, rank: int, world: int) -> Batches:
        return IdentityBatches(identity, self.people, self.clips, self.per_epoch, seed, rank=rank, world=world)


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum; each group of parameters brings its own `weight_decay`."""

    name: str
    momentum: float

    def __post_init__(self) -> None:
        check("training.optimizer.", self, {"momentum": (0 <= self.momentum < 1, "in [0, 1)")})

    def of(self, groups: Iterable[dict[str, Any]], learning_rate: float) -> Optimizer:
        return torch.optim.SGD(groups, lr=learning_rate, momentum=self.momentum)


@dataclass(frozen=True)
class Adam:
    """Adam with its usual β = (0.9, 0.999); the weight decay is added to the gradient, as in the papers of gait."""

    name: str

    def of(self, groups: Iterable[dict[str, Any]], learning_rate: float) -> Optimizer:
        return torch.optim.Adam(groups, lr=learning_rate)


@dataclass(frozen=True)
class Plateau:
    """The learning rate is multiplied by `factor` when the watched error has not fallen for more than `patience_epochs`."""

    name: str
    factor: float
    patience_epochs: int

    def __post_init__(self) -> None:
        rules = {
            "factor": (0 < self.factor < 1, "in (0, 1)"),
            "patience_epochs": (self.patience_epochs >= 0, "at least 0"),
        }
        check("training.schedule.", self, rules)

    def of(self, optimizer: Optimizer) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(optimizer, "min", factor=self.factor, patience=self.patience_epochs)

    def step(self, scheduler: Any, watched_error: float) -> None:
        """An epoch has ended with this error."""
        scheduler.step(watched_error)


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

    def of(self, optimizer: Optimizer) -> MultiStepLR:
        return MultiStepLR(optimizer, list(self.epochs), gamma=self.factor)

    def step(self, scheduler: Any, watched_error: float) -> None:
        """An epoch has ended, with whatever error."""
        scheduler.step()


OPTIMIZERS = {"sgd": Sgd, "adam": Adam}
SCHEDULES = {"plateau": Plateau, "milestones": Milestones}


@dataclass(frozen=True)
class Stopping:
    """When an auxiliary task has done its part: see `people.weighting.TaskStopping`."""

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

    Blocks of params.yaml become what they describe: `batches` is {samples} or {people, clips, per_epoch}, `optimizer` and
    `schedule` go by their `name`. `task_stopping` is null where no task stops before the others. `clip_gradient_norm` bounds
    the norm of the whole gradient.
    """

    epochs: int
    batches: Any  # Shuffled or Identities, or its block in params.yaml
    optimizer: Any  # Sgd or Adam, or its block
    learning_rate: float
    weight_decay: float
    schedule: Any  # Plateau or Milestones, or its block
    task_stopping: Any  # Stopping, its block, or None
    clip_gradient_norm: float
    accelerator: str
    devices: int | Literal["auto"]
    precision: str
    loader_workers: int

    def __post_init__(self) -> None:
        if isinstance(self.batches, Mapping):
            object.__setattr__(self, "batches", (Identities if "people" in self.batches else Shuffled)(**self.batches))
        for name, kinds in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if isinstance(block := getattr(self, name), Mapping):
                object.__setattr__(self, name, named(f"training.{name}", block, kinds))
        if isinstance(self.task_stopping, Mapping):
            object.__setattr__(self, "task_stopping", Stopping(**self.task_stopping))
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "clip_gradient_norm": (self.clip_gradient_norm > 0, "above 0"),
            "accelerator": (self.accelerator in ("auto", "cpu", "cuda", "gpu", "mps"), "auto, cpu, cuda, gpu or mps"),
            "devices": (self.devices == "auto" or (isinstance(self.devices, int) and self.devices >= 1), "at least 1, or auto"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            "loader_workers": (self.loader_workers >= 0, "at least 0"),
        }
        check("training.", self, rules)


def named(where: str, block: Mapping[str, Any], kinds: Mapping[str, type]) -> Any:
    """What a block with a `name` describes."""
    if block.get("name") not in kinds:
        raise ValueError(f"{where}.name must be one of {', '.join(kinds)}, got {block.get('name')!r}; correct params.yaml")
    return kinds[block["name"]](**block)


def check(where: str, config: Any, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Refuse the first value that does not keep its rule."""
    for name, (kept, rule) in rules.items():
        if not kept:
            raise ValueError(f"{where}{name} must be {rule}, got {getattr(config, name)!r}; correct params.yaml")


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


def launch(config: Config) -> Fabric:
    """Fabric on the devices of the configuration; over several, each process gets here (gloo on CPUs, NCCL on GPUs)."""
    strategy: Any = "auto"
    if config.devices not in (1, "auto"):
        strategy = DDPStrategy(process_group_backend="nccl" if uses_cuda(config) else "gloo")
    precision: Any = resolve_precision(config)
    fabric = Fabric(accelerator=config.accelerator, devices=config.devices, strategy=strategy, precision=precision)
    fabric.launch()
    return fabric
