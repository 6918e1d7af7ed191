"""What might be faster, side by side: where the data lie, layouts, optimisers, compilation, CUDA graphs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.gpu import measure
from benchmarks.gpu.parts import BF16, Compute, Figures, Setting, fitted
from people.training import loop
from people.training.fabric import launch


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
