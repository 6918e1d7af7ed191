"""Convergence: a system trained on the same batches in other variants, curve beside curve.

    python -m stages.compare dmt

writes data/compare/<system>/: curves.csv (variant, seed, epoch, each error on validation subjects, the main one first) and
areas.csv (the area under each error's curve, of each variant and seed; lower is faster).
data/plots/<system>/convergence.csv is what `dvc plots show` draws. A variant (people/systems/<system>/variants.yaml, copied to
variants.json) changes the system's data, model or objective; those that `select` names are trained, and `all`, the system as it
is. A variant has no curve of an error that it does not have: that of a task which its network lacks, and then that of all tasks
together. Killed and started again it goes on where it was.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from people.storage import facts_digest
from people.training import loop
from people.training.fabric import launch
from people.training.validation_errors import COMBINED
from stages.shared.project import ERROR, argument_parser, output, params, remove, state
from stages.shared.variants import FULL, read_variants, variants_file
from stages.tracking import runs
from stages.training.problem import Trainings
from stages.training.progress import Bar


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("system", help="one of the systems in params.yaml")
    name = parser.parse_args().system
    settings, seed, trainings = params("compare", name), params("seed"), Trainings(name)
    variants = read_variants(name)
    phases = {
        variant: trainings.phases(changes, changed_by=f"variant {variant} of {variants_file(name)}", epochs=settings["epochs"])
        for variant, changes in selected(name, variants, settings["select"]).items()
    }
    fabric = launch(trainings.config, in_phases=any(len(each) > 1 for each in phases.values()))
    seeds = range(seed, seed + settings["seeds"])
    key = facts_digest(settings=settings, runs=[loop.phases_key(each, seed) for each in phases.values()])
    folder = state("checkpoints", "compare", name, key[:16])
    count = sum(phase.config.epochs for each in phases.values() for phase in each)
    curves = []
    with runs.interruptible(), Bar(count * len(seeds), name, shown=fabric.is_global_zero) as bar:
        for number, (variant, each) in enumerate(phases.items()):
            for each_seed in seeds:
                run_folder = folder / f"{number}-{each_seed}"
                epochs = loop.fit_phases(each, seed=each_seed, fabric=fabric, checkpoint_folder=run_folder, on_step=bar.step)
                if fabric.is_global_zero:
                    epochs = logged(trainings, each, variant, each_seed, run_folder, epochs)
                for epoch in epochs:
                    bar.epoch(epoch)
                    if epoch.phase == each[-1].problem.phase:
                        curves.append(point(variant, each_seed, epoch, each[-1].problem.objective.MAIN_ERROR))
    if fabric.is_global_zero:
        table = comparable(pd.DataFrame(curves))
        with output(Path("data/compare", name)) as written:
            written.mkdir()
            table.to_csv(written / "curves.csv", index=False)
            areas(table).to_csv(written / "areas.csv", index=False)
            (written / "variants.json").write_text(json.dumps(variants, indent=1) + "\n")
        with output(Path("data/plots", name, "convergence.csv")) as file:
            plotted(table).to_csv(file, index=False)
        remove(folder)
        print(f"{name}: {', '.join(phases)} compared; epochs: {settings['epochs']}, seeds: {len(seeds)}")


def logged(
    trainings: Trainings, phases: Sequence[loop.Training], variant: str, seed: int, folder: Path, epochs: Iterable[loop.Epoch]
) -> Iterator[loop.Epoch]:
    """The epochs of a variant's training, each logged to a run of its own in MLflow."""
    name, epoch = trainings.system, None
    tags = {"stage": "compare", "system": name, "variant": variant, "data.digest": trainings.data_digest}
    facts = {"seed": seed, "variant": variant, **phases[-1].problem.config, "training": trainings.block["training"]}
    with runs.run(name, f"{name}, variant {variant}, seed {seed}", folder=folder, params=facts, tags=tags) as run:
        for epoch in epochs:
            run.log(epoch.metrics, epoch.number)
            yield epoch
        assert epoch is not None
        run.log_convergence(epoch.history)


def selected(system: str, changes: Mapping[str, dict[str, Any]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The variants that these names choose, and last the system as it is."""
    if unknown := [name for name in names if name not in changes]:
        raise ValueError(
            f"compare.{system}.select names {unknown[0]!r}, the variants in {variants_file(system)} are {', '.join(changes)}; "
            "correct params.yaml"
        )
    return {name: changes[name] for name in names} | {FULL: {}}


def point(variant: str, seed: int, epoch: loop.Epoch, main_error: str) -> dict[str, Any]:
    """One point of every curve, that of the main error first."""
    errors = {name.replace("/", "_"): value for name, value in epoch.metrics.items() if name.startswith("error/")}
    first = f"error_{main_error}"
    return {"variant": variant, "seed": seed, "epoch": epoch.number, first: errors[first], **errors}


def comparable(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves without the combined error of variants that lack a task: it is of other tasks than that of the others."""
    combined = f"{ERROR}{COMBINED}"
    if combined not in curves:
        return curves
    parts = [name for name in curves if name.startswith(ERROR)]
    return curves.assign(**{combined: curves[combined].where(curves[parts].notna().all(axis=1))})


def areas(curves: pd.DataFrame) -> pd.DataFrame:
    """The area under each curve of each variant and seed."""
    names = ["variant", "seed", "error"]
    table = points(curves).groupby(names, sort=False)["height"].apply(lambda heights: area(heights.to_list())).reset_index()
    return table.rename(columns={"height": "area"})


def points(curves: pd.DataFrame) -> pd.DataFrame:
    """A row for each point of each curve: variant, seed, epoch, the error's name and its height."""
    parts = [name for name in curves if name.startswith(ERROR)]
    long = curves.melt(["variant", "seed", "epoch"], parts, "error", "height").dropna(subset="height")
    return long.assign(error=long["error"].str.removeprefix(ERROR))


def plotted(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves as DVC draws them, panel, series, epoch and value: each error of each variant, the mean over seeds."""
    names = ["error", "variant", "epoch"]
    means = pd.DataFrame(points(curves).groupby(names, sort=False).agg({"height": "mean"})).reset_index()
    panels = "error, " + means["error"]
    return pd.DataFrame({"panel": panels, "series": means["variant"], "epoch": means["epoch"], "value": means["height"]})


def area(errors: Sequence[float]) -> float:
    """∫ E(t) dt / (T - 1) over epochs 1 to T by the trapezoidal rule: the mean height of the error curve."""
    return float(np.trapezoid(errors) / (len(errors) - 1)) if len(errors) > 1 else float(errors[0])


if __name__ == "__main__":
    main()
