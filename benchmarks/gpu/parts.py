"""What is found out about each system: its training, its numbers on both devices, how it resumes, and what would be faster."""

import math
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import gaittake
from benchmarks.gpu import killed, measure, workloads
from benchmarks.gpu.workloads import Workload
from people import inference
from people.inference import Batch
from people.storage.serialization import serialize
from people.training import loop
from people.training.train_config import Config, launch

FP32, BF16 = "32-true", "bf16-mixed"
PRECISIONS = (FP32, BF16)
# Of the norm of the difference over the norm. Sums are added in another order on another device; how much of that a gradient
# feels (ReLUs near 0, statistics of few samples) is measured on the CPU, its inputs changed by as much as rounding does.
TOLERANCES = {"outputs": 1e-4, "outputs_tf32": 2e-2, "outputs_bf16": 1e-1, "batch_1_and_8": 1e-4}
GRADIENT_TOLERANCE, TIMES_ROUNDING = 1e-3, 3.0
ROUNDING = 1e-7
COMPARED_SAMPLES = 8
EVALUATED_SAMPLES = 16

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


# 1: the real training


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


# 2: the same numbers on both devices


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
        name: value * (1 + noise * torch.randn(value.shape, generator=draw)) if noise and value.dim() > 2 else value
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
        inference.joined(
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


# 3: killed and resumed


def resumed(setting: Setting, systems: Sequence[str]) -> dict[str, Figures]:
    """Every system's training killed in its second epoch and resumed, against the same one uninterrupted."""
    children = {system: start(setting, system) for system in systems}
    results: dict[str, Figures] = {}
    for system, (child, state) in children.items():
        try:
            kill(child)
            results[system] = compared(setting, system, state)
        except Exception as error:
            results[system] = {"error": f"{type(error).__name__}: {error}"}
        finally:
            child.kill()
    return results


def start(setting: Setting, system: str) -> tuple[subprocess.Popen[str], Path]:
    state = setting.folder / f"state-{system}"
    setting.workload(system)  # written before the child looks for it
    words = [system, setting.size, setting.device, BF16, str(setting.folder), str(state)]
    command = [sys.executable, "-m", killed.__name__, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ), state


def kill(child: subprocess.Popen[str]) -> None:
    """Kill the training at its first step after a state was saved."""
    assert child.stdout is not None
    if not any(killed.READY in line for line in child.stdout):
        assert child.stderr is not None
        raise RuntimeError(f"the training ended before it was killed: {child.stderr.read()[-800:]}")
    child.send_signal(signal.SIGKILL)
    child.wait()


def compared(setting: Setting, system: str, state: Path) -> Figures:
    workload = workloads.make(system, setting.size, setting.folder, setting.device, killed.STEPS)
    config = workload.config(epochs=killed.EPOCHS, precision=BF16)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        whole = last_epoch(workload, config, None)
    again = last_epoch(workload, config, state)
    found = (re.match(r"(\S+) does not have a deterministic implementation", str(warning.message)) for warning in caught)
    operations = sorted({match.group(1) for match in found if match})
    equal = bool(whole.history.equals(again.history)) and serialize(whole.best) == serialize(again.best)
    numbers = (epoch.history.drop(columns="epoch").to_numpy(float) for epoch in (whole, again))
    furthest = float(np.nanmax(np.abs(np.subtract(*numbers))))
    return {"bit_for_bit": equal, "largest_difference_of_the_curves": furthest, "not_deterministic": operations}


def last_epoch(workload: Workload, config: Config, state: Path | None) -> loop.Epoch:
    *_, last = loop.fit(workload.problem, config, seed=workloads.SEED, fabric=launch(config), checkpoint_folder=state)
    return last


# 4: against plain implementations


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


# 6: candidates


def loading(setting: Setting, system: str) -> Figures:
    """`fit` in bfloat16 with the data on the host and 0, 4, 8 workers, and with the data on the device."""
    workload = setting.workload(system)
    ways = {f"{count} workers": {"loader_workers": count, "data_on_device": False} for count in setting.worker_counts}
    ways["data on the device"] = {"loader_workers": 0, "data_on_device": True}
    return {
        name: {
            key: value
            for key, value in fitted(setting, workload, precision=BF16, **changes).items()
            if key in ("step_seconds", "samples_per_second", "loader_share")
        }
        for name, changes in ways.items()
    }


def layouts_and_optimizers(setting: Setting, system: str) -> Figures:
    """Seconds of a step without its data, with one thing changed at a time; an error in place of seconds where it fails."""
    workload = setting.workload(system)
    loop.deterministic(launch(workload.config()))

    def timed(step: Callable[[], Any]) -> float:
        return measure.steps_seconds(step, setting.device, steps=setting.steps)

    def contiguous() -> float:
        return timed(Compute(workload, change=lambda network: network.to(memory_format=torch.contiguous_format)))

    def fused() -> float:
        step = Compute(workload)
        for group in step.run.plain_optimizer.param_groups:
            group["fused"], group["foreach"] = True, False
        return timed(step)

    def free_algorithms() -> float:
        with any_algorithm():
            return timed(Compute(workload))

    candidates = {
        "as it is": lambda: timed(Compute(workload)),
        "layout contiguous": contiguous,
        "optimizer fused": fused,
        "cudnn chooses, not deterministic": free_algorithms,
    }
    return {name: attempt(call) for name, call in candidates.items()}


def compiled(setting: Setting, system: str) -> Figures:
    """Seconds of a step with the network through torch.compile."""
    workload = setting.workload(system)

    def timed() -> float:
        step = Compute(workload)
        step.run.step.network.compile(backend=setting.compile_backend)
        return measure.steps_seconds(step, setting.device, steps=setting.steps)

    return {f"torch.compile ({setting.compile_backend})": attempt(timed)}


def graphs(setting: Setting, system: str) -> Figures:
    """Seconds of a step that is replayed as one CUDA graph."""

    def timed() -> float:
        if setting.device != "cuda":
            raise RuntimeError("needs CUDA")
        step = Compute(setting.workload(system))
        for group in step.run.plain_optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = True
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return measure.steps_seconds(graph.replay, setting.device, steps=setting.steps)

    return {"one CUDA graph": attempt(timed)}


@contextmanager
def any_algorithm() -> Iterator[None]:
    """Algorithms that may add in any order, chosen by cuDNN from what it times."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)


def attempt(call: Callable[[], float]) -> float | str:
    """What a call returns, or its error in words."""
    try:
        return call()
    except Exception as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        return f"{type(error).__name__}: {first_line}"[:200]
