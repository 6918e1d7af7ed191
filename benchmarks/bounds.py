"""Where a training step's time goes on a CPU: convolutions and matrix products against everything else, and their pace.

python -m benchmarks.bounds [--systems gaittake,dmt,reid] [--times 3]
ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python -m benchmarks.bounds     as on a processor without AVX-512

Networks of the papers' sizes on small batches, in float32: forward, a sum of the outputs as loss, backward, Adam. PyTorch's
profiler adds up the time of each kind of operation. Products of the convolutions are counted as in their definition; the pace
of a bare matrix product of 2048 x 2048 on the same threads is what they can be held against. `bound` is what would be left of
the step if everything but convolutions and matrix products cost nothing.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gaittake
from benchmarks.gpu import settings
from people import systems
from people.config import build
from people.records import ATTRIBUTES

MATRIX = 2048
FORWARD, BACKWARD, PRODUCTS = "convolutions, forward", "convolutions, backward", "matrix products"
KINDS = {
    FORWARD: ("aten::mkldnn_convolution", "aten::_slow_conv", "aten::thnn_conv"),
    BACKWARD: ("aten::convolution_backward",),
    PRODUCTS: ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "mkldnn::_linear", "aten::mkldnn_linear"),
    "activations and pooling": ("relu", "threshold", "max_pool", "aten::add", "aten::mul", "aten::where", "clamp"),
    "copies and layouts": ("aten::copy_", "aten::cat", "aten::contiguous", "aten::clone", "aten::zero_", "aten::fill_"),
    "normalisation": ("batch_norm",),
    "optimiser": ("_foreach_", "aten::_fused_adam"),
}


MULTIPLYING = (FORWARD, BACKWARD, PRODUCTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--systems", default="gaittake,dmt,reid", help="names parted by commas")
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    peak = matrix_flops_per_s()
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"{torch.get_num_threads()} threads, {capability}; a matrix product: {peak / 1e9:.0f} GFLOP/s")
    for name in asked.systems.split(","):
        report(name, *PROBLEMS[name](), asked.times, peak)


def matrix_flops_per_s() -> float:
    """The pace of a product of two square matrices in float32, the best of five."""
    first, second = torch.rand(2, MATRIX, MATRIX)
    best = min(seconds(lambda: first @ second) for _ in range(5))
    return 2 * MATRIX**3 / best


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def report(name: str, network: nn.Module, batch: dict[str, Tensor], times: int, peak: float) -> None:
    """One table: seconds and share of each kind of operation in a step, and the pace of the convolutions."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-5)

    def step() -> None:
        outputs = network(batch)
        loss = torch.stack([value.float().square().mean() for value in outputs.values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()  # prepares
    with FlopCounterMode(display=False) as counter:
        step()
    whole = min(seconds(step) for _ in range(times))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    spent: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        if event.device_type == DeviceType.CPU:
            spent[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    products, multiplied, total = counter.get_total_flops(), sum(spent[kind] for kind in MULTIPLYING), sum(spent.values())
    counts: dict[str, float] = defaultdict(float)
    for operation, flops in counter.get_flop_counts()["Global"].items():
        forward = FORWARD if "convolution" in str(operation) else PRODUCTS
        counts[BACKWARD if "convolution_backward" in str(operation) else forward] += flops
    print(f"\n{name}: {whole:.3f} s a step, {products / 1e9:.0f} GFLOP of products: {products / whole / 1e9:.0f} GFLOP/s")
    for kind, value in sorted(spent.items(), key=lambda pair: -pair[1]):
        pace = f"{counts[kind] / value / 1e9:6.0f} GFLOP/s" if kind in MULTIPLYING and value else ""
        print(f"  {kind:26} {value:7.3f} s {value / total:6.1%} {pace}")
    print(
        f"  convolutions and matrix products alone reach {products / multiplied / 1e9:.0f} GFLOP/s, "
        f"{products / multiplied / peak:.0%} of the matrix product; bound: {multiplied / total:.2f} of the step"
    )


def kind_of(operation: str) -> str:
    return next((kind for kind, names in KINDS.items() if any(name in operation for name in names)), "other")


def gaitgl() -> tuple[nn.Module, dict[str, Tensor]]:
    """GaitGL's network, 2 people with 2 sequences of 30 frames each."""
    setting = gaittake.Setting(**{**vars(gaittake.SETTINGS["gaitgl"]), "batch": "2x2"})
    return gaittake.network_of(setting).train(), gaittake.batch_of(setting, "cpu")


def of_system(name: str, spec: dict[str, Any], batch: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    block = settings.load("paper")[name]
    tasks = list(build(systems.find(name, "objective").Config, block["objective"]).tasks)
    model = systems.find(name, "model")
    torch.manual_seed(0)
    return model.Network(build(model.Config, block["model"]), spec | {"tasks": tasks}).train(), batch


def dmt() -> tuple[nn.Module, dict[str, Tensor]]:
    """DMT's type B, 32 windows of 25 flow maps of 60x60."""
    spec = {
        "size_hw": [60, 60],
        "channels": 50,
        "subjects": list(range(100)),
        "age_centre_years": 30.0,
        "age_scale_years": 10.0,
    }
    return of_system("dmt", spec, {"flow": torch.randn(32, 50, 60, 60)})


def reid() -> tuple[nn.Module, dict[str, Tensor]]:
    """ResNet-18 with ConvHead, 32 photos of 128x64."""
    spec = {
        "size_hw": [128, 64],
        "subjects": list(range(526)),
        "attributes": {key: list(value) for key, value in ATTRIBUTES.items()},
    }
    return of_system("reid", spec, {"image": torch.randn(32, 3, 128, 64)})


PROBLEMS: dict[str, Callable[[], tuple[nn.Module, dict[str, Tensor]]]] = {"gaittake": gaitgl, "dmt": dmt, "reid": reid}


if __name__ == "__main__":
    main()
