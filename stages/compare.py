"""Convergence: a system trained on the same batches in other variants, curve beside curve.

    python -m stages.compare dmt

writes data/compare/<system>/: curves.csv (variant, seed, epoch, each error on validation subjects, the watched one first) and
areas.csv (the area under each error's curve, of each variant and seed; lower is faster). The variants of params.yaml change the
system's objective or its model; `all` is the system as it is. A variant has no curve of an error that it does not have: that of
a task which its network lacks, and then that of all tasks together. Killed and started again it goes on where it was.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from people import states, training, validation
from people.recipe import launch
from stages.common import ERROR, output, params, remove, state
from stages.prepare import merged, prepare, recipe
from stages.progress import Bar

FULL = "all"
CHANGED = ("model", "objective")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system")
    name = parser.parse_args().system
    asked, seed = params("systems", name, "compare"), params("seed")
    config = recipe(name, epochs=asked["epochs"])
    fabric = launch(config)
    problem = prepare(name)
    problems = {variant: problem.changed(**blocks) for variant, blocks in variants(problem.config, asked["variants"]).items()}
    seeds = range(seed, seed + asked["seeds"])
    folder = state("checkpoints", "compare", name, states.key(asked=asked, run=training.run_key(problem, config, seed))[:16])
    curves = []
    with Bar(len(problems) * len(seeds) * config.epochs, name, shown=fabric.is_global_zero) as bar:
        for number, (variant, other) in enumerate(problems.items()):
            for one in seeds:
                there = folder / f"{number}-{one}"
                for epoch in training.fit(other, config, seed=one, fabric=fabric, checkpoint_folder=there, on_step=bar.step):
                    bar.epoch(epoch)
                    curves.append(point(variant, one, epoch, problem.objective.WATCHED))
    if fabric.is_global_zero:
        table = comparable(pd.DataFrame(curves))
        with output(Path("data/compare", name)) as written:
            written.mkdir()
            table.to_csv(written / "curves.csv", index=False)
            areas(table).to_csv(written / "areas.csv", index=False)
        remove(folder)


def variants(config: dict[str, Any], asked: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The blocks that each variant changes, laid over the system's own; the last variant changes nothing."""
    if FULL in asked:
        raise ValueError(f"compare.variants.{FULL} is the name of the system as it is; give the variant another name")
    blocks = {part: config[part] for part in CHANGED}
    laid_over = {name: merged(blocks, changes, f"compare.variants.{name}") for name, changes in asked.items()}
    return {**laid_over, FULL: blocks}


def point(variant: str, seed: int, epoch: training.Epoch, watched: str) -> dict[str, Any]:
    """One point of every curve, that of the watched error first."""
    errors = {name.replace("/", "_"): value for name, value in epoch.metrics.items() if name.startswith("error/")}
    first = f"error_{watched}"
    return {"variant": variant, "seed": seed, "epoch": epoch.number, first: errors[first], **errors}


def comparable(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves without the combined error of variants that lack a task: it is of other tasks than that of the others."""
    combined = f"{ERROR}{validation.COMBINED}"
    if combined not in curves:
        return curves
    parts = [name for name in curves if name.startswith(ERROR)]
    return curves.assign(**{combined: curves[combined].where(curves[parts].notna().all(axis=1))})


def areas(curves: pd.DataFrame) -> pd.DataFrame:
    """The area under each curve of each variant and seed."""
    parts = [name for name in curves if name.startswith(ERROR)]
    long = curves.melt(["variant", "seed", "epoch"], parts, "error", "height").dropna(subset="height")
    names = ["variant", "seed", "error"]
    table = long.groupby(names, sort=False)["height"].apply(lambda heights: area(heights.to_list())).reset_index()
    return table.rename(columns={"height": "area"}).assign(error=table["error"].str.removeprefix(ERROR))


def area(errors: Sequence[float]) -> float:
    """∫ E(t) dt / (T - 1) over epochs 1 to T by the trapezoidal rule: the mean height of the error curve."""
    return float(np.trapezoid(errors) / (len(errors) - 1)) if len(errors) > 1 else float(errors[0])


if __name__ == "__main__":
    main()
