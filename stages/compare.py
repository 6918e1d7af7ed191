"""Convergence: the same network trained on the same batches with other weights, curve beside curve.

    python -m stages.compare dmt

writes data/compare/<system>/: curves.csv (variant, seed, epoch, the main task's error on validation subjects, the other
errors) and areas.csv (the area under the error curve of each variant and seed; lower is faster). The variants are those of
params.yaml and `all`, the system's objective as it is. Killed and started again it goes on where it was.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from people import states, training
from people.recipe import launch
from stages.common import output, params, remove, state
from stages.prepare import merged, prepare, recipe
from stages.progress import Bar

FULL = "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system")
    name = parser.parse_args().system
    asked, seed = params("systems", name, "compare"), params("seed")
    config = recipe(name, epochs=asked["epochs"])
    fabric = launch(config)
    problem = prepare(name)
    variants = objectives(problem.config["objective"], asked["variants"])
    seeds = range(seed, seed + asked["seeds"])
    folder = state("checkpoints", "compare", name, states.key(asked=asked, run=training.run_key(problem, config, seed))[:16])
    curves = []
    with Bar(len(variants) * len(seeds) * config.epochs, name, shown=fabric.is_global_zero) as bar:
        for number, (variant, block) in enumerate(variants.items()):
            for one in seeds:
                there, other = folder / f"{number}-{one}", problem.with_objective(block)
                for epoch in training.fit(other, config, seed=one, fabric=fabric, checkpoint_folder=there, on_step=bar.step):
                    bar.epoch(epoch)
                    curves.append(point(variant, one, epoch, problem.objective.MAIN))
    if fabric.is_global_zero:
        table = pd.DataFrame(curves)
        with output(Path("data/compare", name)) as written:
            written.mkdir()
            table.to_csv(written / "curves.csv", index=False)
            areas(table).to_csv(written / "areas.csv", index=False)
        remove(folder)


def objectives(block: dict[str, Any], variants: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each variant's objective: the system's own with the variant's values laid over it, and the system's own."""
    if FULL in variants:
        raise ValueError(f"compare.variants.{FULL} is the name of the objective as it is; give the variant another name")
    found = {name: merged(block, changes, f"compare.variants.{name}: objective") for name, changes in variants.items()}
    return {**found, FULL: block}


def point(variant: str, seed: int, epoch: training.Epoch, main: str) -> dict[str, Any]:
    """One point of one curve."""
    errors = {name.replace("/", "_"): value for name, value in epoch.metrics.items() if name.startswith("error/")}
    return {"variant": variant, "seed": seed, "epoch": epoch.number, "error": epoch.metrics[f"error/{main}"], **errors}


def areas(curves: pd.DataFrame) -> pd.DataFrame:
    """The area of each curve, and the mean over the seeds of its variant."""
    table = curves.groupby(["variant", "seed"], sort=False)["error"].apply(lambda error: area(error.to_list())).reset_index()
    table = table.rename(columns={"error": "area"})
    return table.assign(area_mean=table.groupby("variant")["area"].transform("mean"))


def area(errors: Sequence[float]) -> float:
    """∫ E(t) dt / (T - 1) over epochs 1 to T by the trapezoidal rule: the mean height of the error curve."""
    return float(np.trapezoid(errors) / (len(errors) - 1)) if len(errors) > 1 else float(errors[0])


if __name__ == "__main__":
    main()
