"""Checks of `people doctor` on the machine and its environment: versions, processor, memory, disk, ports."""

import fcntl
import os
import platform
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from stages.command.findings import Finding, ok, problem, warning
from stages.shared.project import params

OLDEST_PYTHON = (3, 11)
SHOWN = ("torch", "dvc", "prefect", "mlflow", "optuna")
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;#]+)")
NAMED = 4  # packages in a line
GIB = 2**30
LEAST_MEMORY_GIB, LITTLE_DISK_GIB, LEAST_DISK_GIB = 3, 5, 1  # a whole run at default sizes peaks at 2 GiB, and leaves 1 GiB
HOST = "127.0.0.1"
PORTS = {"Optuna dashboard": 8080, "MLflow": 5000, "Prefect": 4200}
OPTIONS = {"Optuna dashboard": "--optuna-port", "MLflow": "--mlflow-port", "Prefect": "--prefect-port"}
DECODERS, ENCODERS = ("h264", "hevc", "mjpeg", "mpeg4", "vp9"), ("libx264",)


def python() -> Iterator[Finding]:
    """Python's version."""
    version, least = platform.python_version(), ".".join(map(str, OLDEST_PYTHON))
    if sys.version_info < OLDEST_PYTHON:
        yield problem("python", f"{version}, {least} or newer is needed", "make environment PYTHON=python3.12")
    else:
        yield ok("python", f"{version} in {sys.prefix}")


def packages(requirements: Path = Path("requirements.txt")) -> Iterator[Finding]:
    """The installed packages against requirements.txt; a build for a device (2.15.0+cpu) is the same version."""
    pins = [match for line in requirements.read_text().splitlines() if (match := PINNED.match(line))]
    different = []
    for pin in pins:
        try:
            installed = metadata.version(pin["name"]).partition("+")[0]
        except metadata.PackageNotFoundError:
            installed = "absent"
        if installed != pin["version"]:
            different.append(f"{pin['name']} {installed}, not {pin['version']}")
    if different:
        more = f" and {len(different) - NAMED} more" if len(different) > NAMED else ""
        detail = f"otherwise than in {requirements.name}: {'; '.join(different[:NAMED])}{more}"
        yield problem("packages", detail, f"{Path(sys.executable).name} -m pip install --requirement {requirements}")
    else:
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN if name in {pin["name"] for pin in pins})
        yield ok("packages", f"all {len(pins)} as in {requirements.name}: {versions}")


def video() -> Iterator[Finding]:
    """The codecs with which videos are read, and annotated ones written."""
    import av.codec

    there = av.codec.codecs_available
    if missing := [name for name in (*DECODERS, *ENCODERS) if name not in there]:
        yield problem("video", f"av has no {', '.join(missing)}", "python -m pip install --force-reinstall av")
    else:
        yield ok("video", f"av {av.__version__} reads {', '.join(DECODERS)} and writes {', '.join(ENCODERS)}")


def processor() -> Iterator[Finding]:
    """Cores, units that multiply matrices in bfloat16, and the precision that `auto` chooses."""
    import torch

    from people.config import build
    from people.training.train_config import CPU_BF16_UNITS, Config, available_cores, resolve_precision

    capabilities = torch.cpu.get_capabilities()
    units = [unit for unit in CPU_BF16_UNITS if capabilities.get(unit)]
    training = next(iter(params("systems").values()), {}).get("training", {})
    chosen = ""
    if training:
        block = {key: value for key, value in training.items() if key != "phases"} | {"precision": "auto"}
        chosen = f"; precision auto is {resolve_precision(build(Config, block))}"
    described = f"BF16 units: {', '.join(units)}" if units else "no BF16 units"
    cores = available_cores()
    yield ok("processor", f"{cores} core{'s' * (cores > 1)}, {torch.backends.cpu.get_cpu_capability()}, {described}{chosen}")
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        yield ok("GPU", f"{torch.cuda.device_count()} x {gpu.name}, {gpu.total_memory / GIB:.0f} GiB")
    else:
        yield ok("GPU", "none that PyTorch can use; networks are trained on the processor")


def memory() -> Iterator[Finding]:
    """Free memory."""
    import psutil

    total, free = psutil.virtual_memory().total / GIB, psutil.virtual_memory().available / GIB
    detail = f"{free:.1f} of {total:.1f} GiB are free"
    if free < LEAST_MEMORY_GIB:
        yield warning("memory", f"{detail}; stages may be killed below {LEAST_MEMORY_GIB} GiB", "end what else uses it")
    else:
        yield ok("memory", detail)


def disk(folder: Path = Path()) -> Iterator[Finding]:
    """Free disk space of the project's folder."""
    free = shutil.disk_usage(folder).free / GIB
    detail, remedy = f"{free:.1f} GiB are free", "dvc gc --workspace removes results of earlier parameters"
    if free < LEAST_DISK_GIB:
        yield problem("disk", f"{detail}, a run leaves about {LEAST_DISK_GIB}", remedy)
    elif free < LITTLE_DISK_GIB:
        yield warning("disk", detail, remedy)
    else:
        yield ok("disk", detail)


def ports(numbers: Mapping[str, int] = PORTS) -> Iterator[Finding]:
    """The ports of `serve` and `dashboard`: free, or of the servers of this folder, or taken by others."""
    if _is_serving():
        yield ok("ports", f"`people serve` of this folder is running, on {', '.join(map(str, numbers.values()))} or others")
        return
    for name, number in numbers.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections that have ended
            try:
                probe.bind((HOST, number))
            except OSError as error:
                remedy = f"people serve {OPTIONS[name]} {number + 1}"
                yield warning("ports", f"{number} of {HOST}, for {name}, cannot be used ({error.strerror})", remedy)
            else:
                yield ok("ports", f"{number}, for {name}, is free")


def _is_serving() -> bool:
    """Whether the servers of this folder hold their lock."""
    file = Path(os.environ.get("PEOPLE_STATE") or ".state", "serve.lock")
    if not file.is_file():
        return False
    with file.open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
