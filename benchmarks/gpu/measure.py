"""Clocks, counted operations, and what a profile says bounds a step."""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from people.nn.inference import Batch
from people.training.loader import Loader

# Kernels by what they wait for: products of matrices run on the matrix units, everything else moves memory.
MATRIX_KERNELS = ("gemm", "conv", "cutlass", "xmma", "wgrad", "dgrad", "fprop", "cudnn", "nvjet", "implicit")
SMALL_KERNEL_US = 10.0
MOSTLY = 0.5


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(call: Callable[[], Any], device: str, *, times: int, warm_up: int = 2) -> float:
    """The median time of a call, the device's work included."""
    spent = []
    for number in range(warm_up + times):
        synchronize(device)
        started = time.perf_counter()
        call()
        synchronize(device)
        if number >= warm_up:
            spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def steps_seconds(call: Callable[[], Any], device: str, *, steps: int, warm_up: int = 3) -> float:
    """The mean time of calls that follow each other without waiting for the device in between, as in a training."""
    for _ in range(warm_up):
        call()
    synchronize(device)
    started = time.perf_counter()
    for _ in range(steps):
        call()
    synchronize(device)
    return (time.perf_counter() - started) / steps


@dataclass
class Waiting:
    """Seconds for which a training waited for its loader, and the steps of one epoch by the clock."""

    device: str
    loader: float = 0.0
    started: float = 0.0
    spent: float = 0.0
    steps: int = 0

    def on_step(self, done: int, steps: int) -> None:
        """For `fit`: an epoch's first step prepares, the others count; the last epoch's figures stay."""
        if done in (1, steps):
            synchronize(self.device)
        if done == 1:
            self.started, self.loader = time.perf_counter(), 0.0
        elif done == steps:
            self.spent, self.steps = time.perf_counter() - self.started, steps - 1


@contextmanager
def waiting(device: str) -> Iterator[Waiting]:
    """Measure how long training batches are waited for, while the block runs trainings."""
    result, epoch = Waiting(device), Loader.epoch

    def timed(loader: Loader, number: int) -> Iterator[Batch]:
        batches = epoch(loader, number)
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            if loader.requests.augmented:
                result.loader += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    Loader.epoch = timed  # type: ignore[method-assign]
    try:
        yield result
    finally:
        Loader.epoch = epoch  # type: ignore[method-assign]


def operations(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call, those of matrix products and convolutions counted by PyTorch."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def matrix_rate(device: str, dtype: torch.dtype, side: int) -> float:
    """Operations a second of a product of two square matrices of random numbers: the peak that can be had."""
    first, second = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: first @ second, device, times=10, warm_up=3)


def copy_rate(device: str, megabytes: int) -> dict[str, float]:
    """Bytes a second: read and written in the device's memory, and from pinned host memory to the device."""
    source = torch.zeros(megabytes * 2**20, dtype=torch.uint8)
    on_device = source.to(device)
    target = torch.empty_like(on_device)
    rates = {"device": 2 * source.numel() / seconds(lambda: target.copy_(on_device), device, times=10)}
    if device == "cuda":
        pinned = source.pin_memory()
        rates["host_to_device"] = source.numel() / seconds(lambda: target.copy_(pinned, non_blocking=True), device, times=10)
    return rates


def synchronizations(call: Callable[[], Any], device: str) -> list[str]:
    """The places in the code at which a call waits for the device; nothing on a CPU."""
    if device != "cuda":
        return []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [(Path(warning.filename).parts, warning.lineno) for warning in caught if "synchroniz" in str(warning.message)]
    return sorted({f"{'/'.join(parts[-3:])}:{line}" for parts, line in places if "people" in parts})


@dataclass
class Profile:
    """Kernels of some steps: how much of the time the device computed, and on what."""

    busy: float
    kernels: int
    mean_us: float
    matrix: float
    copies: float
    top: list[tuple[str, float]] = field(default_factory=list)


def profiled(call: Callable[[], Any], device: str, steps: int, step_seconds: float) -> Profile:
    """The device's kernels in `steps` calls; `step_seconds` is what one takes without the profiler."""
    on_device = device == "cuda"
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_device else [])
    call()
    synchronize(device)
    with profile(activities=activities, acc_events=True) as record:
        for _ in range(steps):
            call()
        synchronize(device)
    by_name: dict[str, tuple[float, int]] = {}
    for event in record.key_averages():
        is_kernel = event.device_type == torch.autograd.DeviceType.CUDA if on_device else event.self_cpu_time_total > 0
        time_us = event.self_device_time_total if on_device else event.self_cpu_time_total
        if is_kernel and time_us > 0:
            total, count = by_name.get(event.key, (0.0, 0))
            by_name[event.key] = total + time_us, count + event.count
    total_us = sum(spent for spent, _ in by_name.values()) or 1.0
    count = sum(count for _, count in by_name.values())
    copies = sum(spent for name, (spent, _) in by_name.items() if "HtoD" in name)
    matrix = sum(spent for name, (spent, _) in by_name.items() if any(key in name.lower() for key in MATRIX_KERNELS))
    top = sorted(((name[:90], spent / total_us) for name, (spent, _) in by_name.items()), key=lambda row: -row[1])[:6]
    return Profile(
        busy=total_us / steps * 1e-6 / step_seconds,
        kernels=round(count / steps),
        mean_us=total_us / max(count, 1),
        matrix=matrix / total_us,
        copies=copies / total_us,
        top=top,
    )


def bound(fit_seconds: float, compute_seconds: float, loader_share: float, kernels: Profile) -> str:
    """In one line what a training step waits for."""
    if loader_share > MOSTLY:
        return f"loader: {loader_share:.0%} of a step is waiting for data; computing alone would take {compute_seconds:.4f} s"
    if fit_seconds > 2 * compute_seconds:
        return f"host: a step of fit takes {fit_seconds:.4f} s, computing alone {compute_seconds:.4f} s"
    if kernels.busy < MOSTLY:
        return f"small kernels: the device computes {kernels.busy:.0%} of the time, {kernels.kernels} kernels a step"
    if kernels.copies > MOSTLY:
        return f"copies to the device: {kernels.copies:.0%} of the device's time"
    if kernels.mean_us < SMALL_KERNEL_US:
        return f"small kernels: {kernels.kernels} a step of {kernels.mean_us:.1f} us on average"
    if kernels.matrix > MOSTLY:
        return f"matrix units: {kernels.matrix:.0%} of the device's time is in convolutions and matrix products"
    return f"memory: {1 - kernels.matrix:.0%} of the device's time is in kernels that move memory"
