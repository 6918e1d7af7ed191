"""Trainings that are killed on the device and resumed, against the same ones uninterrupted."""

import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.gpu import killed, workloads
from benchmarks.gpu.parts import BF16, Figures, Setting
from benchmarks.gpu.workloads import Workload
from people.storage.serialization import serialize
from people.training import loop
from people.training.fabric import launch
from people.training.train_config import Config


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
