"""Train one system on its training split and keep the epoch that is best on validation subjects.

    python -m stages.train dmt

writes data/models/<system>/: checkpoint.pt, history.csv, summary.json; and data/plots/<system>/training.csv, which
`dvc plots show` draws. Killed at any moment and started again, it goes on from
the last whole epoch; the curves are in MLflow as they grow.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from people.storage import file_digest
from people.training import loop
from people.training.fabric import launch
from people.training.train_config import resolve_precision
from stages.shared.project import argument_parser, output, params, remove, state
from stages.tracking import runs
from stages.training.problem import Trainings, write_model
from stages.training.progress import Bar

ERROR = "error/"  # before the names of errors in history.csv


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("system", help="one of the systems in params.yaml")
    name = parser.parse_args().system
    trainings, seed = Trainings(name), params("seed")
    phases = trainings.phases()
    fabric = launch(trainings.config, in_phases=len(phases) > 1)
    key = loop.phases_key(phases, seed)
    folder = state("checkpoints", "train", name, key[:16])
    bar = Bar(sum(phase.config.epochs for phase in phases), name, shown=fabric.is_global_zero)
    epochs = loop.fit_phases(phases, seed=seed, fabric=fabric, checkpoint_folder=folder, on_step=bar.step)
    if not fabric.is_global_zero:  # the first process alone logs and writes
        for _ in epochs:
            pass
        return
    tags = {"stage": "train", "system": name, "data.digest": trainings.data_digest, "run.key": key}
    facts = {"seed": seed, **trainings.facts, "precision": resolve_precision(trainings.config)}
    title = f"{name}, trained on {trainings.reads['frames'].name}"
    with runs.interruptible(), runs.run(name, title, folder=folder, params=facts, tags=tags) as run, bar:
        epoch = None
        for epoch in epochs:
            run.log({**epoch.metrics, "seconds": epoch.seconds}, epoch.number)
            bar.epoch(epoch)
        assert epoch is not None
        with output(Path("data/models", name)) as written:
            write_model(written, epoch)
            (written / "summary.json").write_text(json.dumps(summary(phases, epoch), indent=2) + "\n")
        with output(Path("data/plots", name, "training.csv")) as file:
            plotted(epoch.history).to_csv(file, index=False)
        run.log_convergence(epoch.history)
        run.tag(checkpoint__sha256=file_digest(Path("data/models", name, "checkpoint.pt")))
    remove(folder)
    best = epoch.best
    score = best["validation"]["score"]
    print(f"{name}: best epoch {epoch_number(phases, best)} of {epoch.number}, validation score {score:.4f}")


def epoch_number(phases: list[loop.Training], best: dict[str, Any]) -> int:
    """The number of the best epoch, counted through all phases."""
    return sum(phase.config.epochs for phase in phases[:-1]) + best["epoch"]


def plotted(history: pd.DataFrame) -> pd.DataFrame:
    """The curves of a training as DVC draws them, panel, series, epoch and value: the loss, and each error on both splits."""
    curves = {"train/total": ("loss", "training")}
    for prefix, series in ((ERROR, "validation"), (f"train_{ERROR}", "training")):
        named = (name for name in history if name.startswith(prefix))
        curves |= {name: (f"error, {name.removeprefix(prefix)}", series) for name in named}
    parts = [
        history[["epoch"]].assign(panel=panel, series=series, value=history[name]).dropna()
        for name, (panel, series) in curves.items()
    ]
    return pd.DataFrame(pd.concat(parts), columns=["panel", "series", "epoch", "value"])


def summary(phases: list[loop.Training], epoch: loop.Epoch) -> dict[str, object]:
    """What was trained on how much, and the validation of the epoch that is kept, numbered through all phases."""
    problem, config = phases[-1]
    return {
        "system": problem.system,
        "best_epoch": epoch_number(phases, epoch.best),
        "epochs": epoch.number,
        **epoch.best["validation"],
        "samples": {"train": len(problem.train), "validation": len(problem.validation)},
        "parameters": sum(weights.numel() for weights in epoch.best["network"].values()),
        "precision": resolve_precision(config),
    }


if __name__ == "__main__":
    main()
