"""What a system's training costs on a device: `fit` as it is, a step without its data, and the step against plain code."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import gaittake
from benchmarks.gpu import measure, workloads
from benchmarks.gpu.workloads import Workload
from people.training import loop
from people.training.fabric import launch

FP32, BF16 = "32-true", "bf16-mixed"
PRECISIONS = (FP32, BF16)
Figures = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """Where it is measured, with how many steps, on workloads below `folder`."""

    device: str
    size: str
    folder: Path
    steps: int
    worker_counts: tuple[int, ...]
    compile_backend: str

    def workload(self, system: str) -> Workload:
        """A system with its generated data."""
        return workloads.make(system, self.size, self.folder, self.device, self.steps)


def training(setting: Setting, system: str) -> Figures:
    """`fit` in float32 and in bfloat16, as it is configured by default."""
    workload = setting.workload(system)
    figures: Figures = {"batch_samples": workload.batch_samples, "data_bytes": data_bytes(workload)}
    for precision in PRECISIONS:
        figures[precision] = fitted(setting, workload, precision=precision)
    return figures


def data_bytes(workload: Workload) -> int:
    return workload.problem.train.nbytes + workload.problem.validation.nbytes


def fitted(setting: Setting, workload: Workload, **changes: Any) -> Figures:
    """Three epochs of `fit`: the speed of the last, the peak of memory, the time spent waiting for the loader."""
    config = workload.config(epochs=3, **changes)
    if setting.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with measure.waiting(setting.device) as clock:
        epochs = list(loop.fit(workload.problem, config, seed=workloads.SEED, fabric=launch(config), on_step=clock.on_step))
    per_step = clock.spent / max(clock.steps, 1)
    peak = torch.cuda.max_memory_allocated() if setting.device == "cuda" else None
    return {
        "step_seconds": per_step,
        "steps_per_second": 1 / per_step,
        "samples_per_second": config.batches.samples / per_step,
        "loader_share": min(1.0, clock.loader / clock.spent),
        "epoch_seconds": epochs[-1].seconds,
        "peak_bytes": peak,
    }


class Compute:
    """The optimisation step of `fit` on one batch that lies on the device."""

    def __init__(
        self, workload: Workload, precision: str = BF16, change: Callable[[nn.Module], Any] | None = None, **changes: Any
    ) -> None:
        config = workload.config(precision=precision, loader_workers=0, **changes)
        self.run = loop._Run(workload.problem, config, workloads.SEED, launch(config))
        self.run.module.train()
        if change is not None:
            change(self.run.step.network)
        self.batch = next(iter(self.run.training.epoch(1)))

    def __call__(self) -> Tensor:
        """One step; its loss."""
        return self.run.optimise(self.batch)[0].loss


def computing(setting: Setting, system: str) -> Figures:
    """A step without its data: time, counted operations, share of the peak; and what bounds the training."""
    workload = setting.workload(system)
    figures: Figures = {}
    loop.deterministic(launch(workload.config()))
    for precision in PRECISIONS:
        step = Compute(workload, precision)
        spent = measure.steps_seconds(step, setting.device, steps=setting.steps)
        figures[precision] = {"step_seconds": spent}
        if precision == BF16:
            figures["operations"] = measure.operations(step)
            kernels = measure.profiled(step, setting.device, min(5, setting.steps), spent)
            figures["kernels"] = vars(kernels)
            figures["waits_for_the_device"] = measure.synchronizations(step, setting.device)
            trained = fitted(setting, workload, precision=precision)
            figures["fit_step_seconds"] = trained["step_seconds"]
            figures["bound_by"] = measure.bound(trained["step_seconds"], spent, trained["loader_share"], kernels)
        del step
    return figures


def plain_gaittake(setting: Setting) -> Figures:
    """GaitGL's step, ours and one convolution a strip, in float32 and in bfloat16; times as fast as the plain ones."""
    tiny = setting.size == "tiny"
    size = gaittake.SETTINGS["small" if tiny else "gaitgl"]
    if tiny:
        size = gaittake.Setting(**{**vars(size), "batch": "2x2", "frames": 6})
    spent = {
        name: float(np.median(values))
        for name, values in gaittake.measured(size, setting.device, 2 if tiny else 6, compiled=False).items()
    }
    ours = spent["ours, bfloat16"]
    return {
        "seconds": spent,
        "times_as_fast_as_plain_float32": spent["plain, float32"] / ours,
        "times_as_fast_as_plain_bfloat16": spent["plain, bfloat16"] / ours,
    }
