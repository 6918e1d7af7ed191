"""What each way of weighting tasks costs: milliseconds of a processor for a training step, and the ratio to fixed weights.

python -m benchmarks.task_weights [--systems dmt reid] [--steps 31] [--threads 1] [--precision auto]

The sizes are those of params.yaml, the frames are generated (benchmarks/gpu/workloads.py), the batch is there already. The
methods take turns, a step each, and the least of each is printed, in time of the processor, all threads together: other work on
the machine hardly changes it. All tasks are trained at once, also where params.yaml has phases.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

from benchmarks.gpu import settings, workloads
from people import systems
from people.training import loop
from people.training.fabric import launch
from people.training.task_weights import METHODS
from people.training.train_config import Config, resolve_precision
from stages.shared.project import PARAMS

AMOUNT = workloads.Amount(validation_subjects=3, maps=60, frames=45, photos=8)
SUBJECTS = 24
BATCHES = 3  # different ones, taken in turn
WARM_UP = 3  # steps of each method that are not timed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--systems", nargs="+", default=["dmt", "reid"], choices=systems.names())
    parser.add_argument("--steps", type=int, default=31, help="that are timed, of each method")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="auto", help="as training.precision")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    params: dict[str, Any] = YAML(typ="safe", pure=True).load(PARAMS)
    with tempfile.TemporaryDirectory() as folder:
        for system in asked.systems:
            block: dict[str, Any] = settings.of_system(params["systems"][system], params) | {"subjects": SUBJECTS}
            problem = generated(system, block, Path(folder) / system)
            training = {name: value for name, value in block["training"].items() if name != "phases"}
            config = Config(**{**training, "accelerator": "cpu", "devices": 1, "precision": asked.precision})
            print(f"{system}, {', '.join(problem.spec['tasks'])}; {resolve_precision(config)}, {asked.threads} threads")
            print_table(measure(problem, config, asked.steps))


def generated(system: str, block: dict[str, Any], store: Path) -> loop.Problem:
    """The system's problem on generated data."""
    workloads.GENERATORS[block["dataset"]](store, block, AMOUNT)
    poses = store.with_name(f"{store.name}-poses")
    return workloads.problem(system, block, {"frames": store, "poses": poses if poses.exists() else store})


def measure(problem: loop.Problem, config: Config, steps: int) -> dict[str, list[float]]:
    """Seconds of each step by method; none of a method that refuses these tasks."""
    fabric = launch(config)
    runs: dict[str, Any] = {}
    for name in METHODS:
        objective = {**problem.config["objective"], "weighting": {"name": name}}
        own = replace(problem, config={**problem.config, "objective": objective})
        runs[name] = loop._Run(own, config, workloads.SEED, fabric)
        runs[name].module.train()
    batches = list(islice(runs["fixed"].training.epoch(1), BATCHES))
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for number in range(WARM_UP + steps):
        for name in list(runs):
            try:
                started = time.process_time()
                runs[name].optimise(batches[number % len(batches)])
                seconds[name].append(time.process_time() - started)
            except ValueError as error:
                print(f"{name}: {error}")
                del runs[name]
    return {name: of_method[WARM_UP:] for name, of_method in seconds.items()}


def print_table(seconds: dict[str, list[float]]) -> None:
    """One line for each method."""
    fixed = min(seconds["fixed"])
    for name, of_method in seconds.items():
        if of_method:
            print(f"  {name:24} {min(of_method) * 1e3:8.1f} ms  {min(of_method) / fixed:5.2f}")


if __name__ == "__main__":
    main()
