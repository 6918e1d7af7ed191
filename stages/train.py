"""Train one system on its training split and keep the epoch that is best on validation subjects.

    python -m stages.train dmt

writes data/models/<system>/: checkpoint.pt, history.csv, summary.json. Killed at any moment and started again, it goes on from
the last whole epoch; the curves are in MLflow as they grow.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from people import checkpoints, training
from people.recipe import launch, resolve_precision
from stages import tracking
from stages.common import output, params, remove, state
from stages.prepare import prepare, recipe, write_model
from stages.progress import Bar


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system")
    name = parser.parse_args().system
    config, seed = recipe(name), params("seed")
    fabric = launch(config)
    problem = prepare(name)
    key = training.run_key(problem, config, seed)
    folder = state("checkpoints", "train", name, key[:16])
    bar = Bar(config.epochs, name, shown=fabric.is_global_zero)
    epochs = training.fit(problem, config, seed=seed, fabric=fabric, checkpoint_folder=folder, on_step=bar.step)
    if not fabric.is_global_zero:  # the first process alone logs and writes
        for _ in epochs:
            pass
        return
    facts = {"seed": seed, **problem.config, "training": {**asdict(config), "precision": resolve_precision(config)}}
    tags = {"stage": "train", "system": name, "data.digest": problem.data_digest, "run.key": key}
    with tracking.interruptible(), tracking.run(name, "train", folder=folder, params=facts, tags=tags) as run, bar:
        epoch = None
        for epoch in epochs:
            run.log({**epoch.metrics, "seconds": epoch.seconds}, epoch.number)
            bar.epoch(epoch)
        assert epoch is not None
        with output(Path("data/models", name)) as written:
            write_model(written, epoch)
            (written / "summary.json").write_text(json.dumps(summary(problem, config, epoch), indent=2) + "\n")
        run.tag(checkpoint__sha256=checkpoints.digest(Path("data/models", name, "checkpoint.pt")))
    remove(folder)


def summary(problem: training.Problem, config: training.Config, epoch: training.Epoch) -> dict[str, object]:
    """What was trained on how much, and what was watched at the epoch that is kept."""
    return {
        "system": problem.system,
        "best_epoch": epoch.best["epoch"],
        "epochs": config.epochs,
        **epoch.best["watched"],
        "samples": {"train": len(problem.train), "validation": len(problem.validation)},
        "parameters": sum(weights.numel() for weights in epoch.best["network"].values()),
        "precision": resolve_precision(config),
    }


if __name__ == "__main__":
    main()
