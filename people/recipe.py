"""How a network is trained: the numbers of a system's `training` block, and the devices that they are trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy

PRECISIONS = ("auto", "32-true", "bf16-mixed")


@dataclass(frozen=True)
class Plateau:
    """The learning rate is multiplied by `factor` when the watched error has not fallen for more than `patience_epochs`."""

    factor: float
    patience_epochs: int


@dataclass(frozen=True)
class Stopping:
    """When an auxiliary task has done its part: see `people.weighting.TaskStopping`."""

    window_epochs: int
    threshold: float


@dataclass(frozen=True)
class Config:
    """How a network is trained: stochastic gradient descent with momentum, and on which device.

    `batch_size` is that of one step over all devices. `clip_gradient_norm` bounds the norm of the whole gradient.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    plateau: Any  # Plateau, or its block in params.yaml
    task_stopping: Any  # Stopping, or its block
    clip_gradient_norm: float
    accelerator: str
    devices: int | Literal["auto"]
    precision: str
    loader_workers: int

    def __post_init__(self) -> None:
        for name, kind in (("plateau", Plateau), ("task_stopping", Stopping)):
            if isinstance(block := getattr(self, name), Mapping):
                object.__setattr__(self, name, kind(**block))
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "plateau": (
                0 < self.plateau.factor < 1 and self.plateau.patience_epochs >= 0,
                "a factor in (0, 1), a patience >= 0",
            ),
            "task_stopping": (
                self.task_stopping.window_epochs >= 1 and self.task_stopping.threshold > 0,
                "a window >= 1, a threshold > 0",
            ),
            "clip_gradient_norm": (self.clip_gradient_norm > 0, "above 0"),
            "accelerator": (self.accelerator in ("auto", "cpu", "cuda", "gpu", "mps"), "auto, cpu, cuda, gpu or mps"),
            "devices": (self.devices == "auto" or (isinstance(self.devices, int) and self.devices >= 1), "at least 1, or auto"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            "loader_workers": (self.loader_workers >= 0, "at least 0"),
        }
        for name, (kept, rule) in rules.items():
            if not kept:
                raise ValueError(f"training.{name} must be {rule}, got {getattr(self, name)!r}; correct params.yaml")


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
