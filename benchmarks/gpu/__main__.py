"""What training on a GPU costs, whether its numbers are right, what bounds it, and what would be faster, in a few minutes.

python -m benchmarks.gpu [--out FOLDER] [--systems dmt reid] [--minutes 6]
python -m benchmarks.gpu --tiny                                                  everything on the CPU, within a minute

It needs torch, torchvision, lightning-fabric, numpy, pandas, scipy, scikit-learn, opencv and jaxtyping,
and a GPU without --tiny. A part that fails is reported and the rest goes on; FOLDER/gpu.json and FOLDER/gpu.md
are written after every part.
"""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import agreement, candidates, measure, parts, resuming
from benchmarks.gpu.parts import Setting
from benchmarks.gpu.report import Report, table
from people import systems

PEAK_SIDE = {"paper": 8192, "tiny": 256}
COPY_MEGABYTES = {"paper": 2048, "tiny": 16}

OF_ONE_SYSTEM: dict[str, Callable[[Setting, str], dict[str, Any]]] = {
    "training": parts.training,
    "computing": parts.computing,
    "agreement": agreement.agreement,
    "loading": candidates.loading,
    "candidates": candidates.layouts_and_optimizers,
    "compiled": candidates.compiled,
    "graphs": candidates.graphs,
}
PARTS = ("machine", "training", "computing", "agreement", "resumed", "plain", "loading", "candidates", "compiled", "graphs")


class OutOfTimeError(Exception):
    """The minutes are over."""


def main() -> None:
    asked = arguments()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
    if not asked.tiny and not torch.cuda.is_available():
        raise SystemExit("no GPU is there (torch.cuda.is_available() is False); --tiny runs everything on the CPU")
    folder = Path(tempfile.mkdtemp(prefix="gpu-benchmark-"))
    report = Report(asked.out, [name for name in PARTS if name in asked.parts])
    deadline = time.monotonic() + 60 * asked.minutes
    try:
        run(report, setting_of(asked, folder), asked, deadline)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        report.write()
        print(table(report.results))
    sys.exit(1 if report.errors else 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.gpu"
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-benchmark"), help="where gpu.json and gpu.md are written")
    parser.add_argument("--systems", nargs="+", choices=systems.names(), default=systems.names())
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--minutes", type=float, default=6.0, help="when these are over, what is left is not run")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes on the CPU, to try the command")
    return parser.parse_args()


def setting_of(asked: argparse.Namespace, folder: Path) -> Setting:
    if asked.tiny:
        return Setting("cpu", "tiny", folder, steps=3, worker_counts=(0, 1), compile_backend="eager")
    return Setting("cuda", "paper", folder, steps=12, worker_counts=(0, 4, 8), compile_backend="inductor")


def run(report: Report, setting: Setting, asked: argparse.Namespace, deadline: float) -> None:
    """All parts in the order of their worth, each for all systems before the next, as long as there is time."""
    for part in (name for name in PARTS if name in asked.parts):
        if part == "machine":
            measured(report, part, "", deadline, lambda: machine(setting))
        elif part == "plain":
            if "gaittake" in asked.systems:
                measured(report, part, "gaittake", deadline, lambda: parts.plain_gaittake(setting))
        elif part == "resumed":
            measured(report, part, "", deadline, lambda: resuming.resumed(setting, asked.systems))
        else:
            for system in asked.systems:
                call = OF_ONE_SYSTEM[part]
                measured(report, part, system, deadline, lambda call=call, system=system: call(setting, system))


def measured(report: Report, part: str, system: str, deadline: float, call: Callable[[], dict[str, Any]]) -> None:
    """Run one part and keep what it found, or its error."""
    started = time.monotonic()
    try:
        with until(deadline), contextlib.redirect_stdout(sys.stderr):
            figures = call()
    except OutOfTimeError:
        report.add(part, system, {"not_run": "the time was over"})
    except Exception as error:
        traceback.print_exc()
        report.add(part, system, {"error": f"{type(error).__name__}: {error}"[:600]})
    else:
        report.add(part, system, figures, seconds=time.monotonic() - started)
    if torch.cuda.is_available():
        with contextlib.suppress(Exception):
            torch.cuda.empty_cache()
    print(f"{part:12} {system:10} {time.monotonic() - started:6.1f} s", flush=True)


@contextlib.contextmanager
def until(deadline: float) -> Iterator[None]:
    """Stop the block with `OutOfTimeError` at this time."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise OutOfTimeError

    def stop(*_: Any) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, left)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def machine(setting: Setting) -> dict[str, Any]:
    """The card, the versions, and the rates that the card reaches."""
    size, on_gpu = setting.size, setting.device == "cuda"
    rates = measure.copy_rate(setting.device, COPY_MEGABYTES[size])
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory if on_gpu else None,
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "bf16_operations_per_second": measure.matrix_rate(setting.device, torch.bfloat16, PEAK_SIDE[size]),
        "fp32_operations_per_second": measure.matrix_rate(setting.device, torch.float32, PEAK_SIDE[size]),
        "copy_bytes_per_second": rates,
    }


if __name__ == "__main__":
    main()
