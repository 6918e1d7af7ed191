"""The same numbers on both devices: outputs and gradients of one batch, and outputs for batches of different sizes."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu import workloads
from benchmarks.gpu.parts import BF16, FP32, Figures, Setting
from benchmarks.gpu.workloads import Workload
from people.nn import inference
from people.nn.inference import Batch
from people.training import loop
from people.training.fabric import launch

# Of the norm of the difference over the norm. Sums are added in another order on another device; how much of that a gradient
# feels (ReLUs near 0, statistics of few samples) is measured on the CPU, its inputs changed by as much as rounding does.
TOLERANCES = {"outputs": 1e-4, "outputs_tf32": 2e-2, "outputs_bf16": 1e-1, "batch_1_and_8": 1e-4}
GRADIENT_TOLERANCE, TIMES_ROUNDING = 1e-3, 3.0
ROUNDING = 1e-7
COMPARED_SAMPLES = 8
EVALUATED_SAMPLES = 16


def agreement(setting: Setting, system: str) -> Figures:
    """Outputs and gradients of one batch on the CPU and on the device, and outputs for batches of 1 and of 8."""
    workload = setting.workload(system)
    with tensor_float_32(allowed=False):
        reference = outputs_and_gradients(workload, "cpu", FP32)
        rounded = outputs_and_gradients(workload, "cpu", FP32, noise=ROUNDING)
        exact = outputs_and_gradients(workload, setting.device, FP32)
        lower = outputs_and_gradients(workload, setting.device, BF16)
        batches = of_batch_sizes(workload, setting.device)
    as_trained = outputs_and_gradients(workload, setting.device, FP32)
    if not any(gradient.any() for gradient in reference[1].values()):
        raise ValueError("every gradient is 0: comparing them says nothing; generate people who are harder to tell apart")
    figures = {
        "outputs": differences(reference[0], exact[0]),
        "gradient": {"all": difference_of_all(reference[1], exact[1])},
        "gradient_by_rounding": {"all": difference_of_all(reference[1], rounded[1])},
        "outputs_tf32": differences(reference[0], as_trained[0]),
        "outputs_bf16": differences(reference[0], lower[0]),
        "gradient_bf16": {"all": difference_of_all(reference[1], lower[1])},
        "batch_1_and_8": batches,
    }
    where = {name: max(values, key=lambda key: values[key]) for name, values in figures.items()}
    worst = {name: figures[name][key] for name, key in where.items()}
    limits = {**TOLERANCES, "gradient": max(GRADIENT_TOLERANCE, TIMES_ROUNDING * worst["gradient_by_rounding"])}
    beyond = [f"{name} {worst[name]:.1e} > {limit:.0e}" for name, limit in limits.items() if worst[name] > limit]
    return {"worst": worst, "where": where, "beyond_tolerance": beyond}


@contextmanager
def tensor_float_32(*, allowed: bool) -> Iterator[None]:
    """Whether float32 convolutions and products may be rounded to TF32, which PyTorch allows convolutions by default."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def outputs_and_gradients(
    workload: Workload, device: str, precision: str, *, noise: float = 0.0
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of one small batch, in training mode but without dropout, which draws other numbers on other devices.

    `noise`: by how much the network's inputs are changed at random, relative to each number.
    """
    config = workload.config(precision=precision, accelerator=device, loader_workers=0)
    run = loop._Run(workload.problem, config, workloads.SEED, launch(config))
    run.module.train()
    for module in run.step.network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    draw = torch.Generator().manual_seed(workloads.SEED)
    batch = {
        name: value * (1 + noise * torch.randn(value.shape, generator=draw))
        if noise and isinstance(value, Tensor) and value.dim() > 2
        else value
        for name, value in small_batch(workload).items()
    }
    batch = inference.to_device(batch, device)
    result = run.module(batch, frozenset())
    run.fabric.backward(result.loss)
    named = run.step.named_parameters()
    gradients = {name: value.grad.float().cpu() for name, value in named if value.grad is not None}
    return {name: value.detach().cpu() for name, value in result.outputs.items()}, gradients


def small_batch(workload: Workload) -> Batch:
    """Samples of several people, two of each."""
    problem = workload.problem
    subject = problem.train.targets(problem.spec)["subject"].numpy()
    chosen = [index for person in np.unique(subject) for index in np.flatnonzero(subject == person)[:2]]
    return problem.train.batch(
        [int(index) for index in chosen[:COMPARED_SAMPLES]], spec=problem.spec, statistics=problem.statistics, augment=None
    )


class First:
    """The first samples of a split."""

    def __init__(self, samples: Any, count: int) -> None:
        self.samples, self.count = samples, min(count, len(samples))

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int], **more: Any) -> Batch:
        return self.samples.batch(indices, **more)


def of_batch_sizes(workload: Workload, device: str) -> dict[str, float]:
    """The differences of the outputs in evaluation mode between batches of 1 and of 8."""
    problem = workload.problem
    config = workload.config(precision=FP32, accelerator=device)
    network = loop._Run(problem, config, workloads.SEED, launch(config)).step.network
    by_size = [
        joined(
            [
                outputs
                for outputs, _ in inference.over_split(
                    network, First(problem.validation, EVALUATED_SAMPLES), problem.spec, problem.statistics, size
                )
            ]
        )
        for size in (1, 8)
    ]
    return differences(*by_size)


def joined(parts: Sequence[Batch]) -> dict[str, Tensor]:
    """The outputs of several batches one behind another; what has an axis of frames is padded with zeros to the longest."""
    found = {}
    for name in parts[0]:
        sizes = [max(lengths) for lengths in zip(*(part[name].shape[1:] for part in parts), strict=True)]
        found[name] = torch.cat([padded(part[name], sizes) for part in parts])
    return found


def padded(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """The values with zeros behind them up to these sizes of all axes but the first."""
    missing = [size - length for size, length in zip(sizes, values.shape[1:], strict=True)]
    return nn.functional.pad(values, [side for count in reversed(missing) for side in (0, count)])


def differences(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, float]:
    """By name the norm of the difference, over that of the first; over a thousandth of the largest norm if that is more.

    Infinite where a number is not finite or there is no second.
    """
    norms = {name: value.double().norm().item() for name, value in first.items()}
    floor = max(1e-3 * max(norms.values(), default=1.0), 1e-30)
    found = {name: difference(value, second.get(name), max(norms[name], floor)) for name, value in first.items()}
    return found | dict.fromkeys(second.keys() - first.keys(), math.inf)


def difference_of_all(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The norm of the difference of all values, over that of the first."""
    together, others = (torch.cat([values[name].double().flatten() for name in sorted(first)]) for values in (first, second))
    return difference(together, others, together.norm().item())


def difference(first: Tensor, second: Tensor | None, norm: float) -> float:
    if second is None:
        return math.inf
    found = (first.double() - second.to(first.device).double()).norm().item() / norm
    return found if math.isfinite(found) else math.inf
