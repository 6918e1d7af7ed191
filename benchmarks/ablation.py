"""What each of a system's ingredients is worth on test subjects, over several seeds, on the stores of this workspace.

python -m benchmarks.ablation gaittake --seeds 3 --variants baseline,attention,keypoints,all --steps 1000
python -m benchmarks.ablation reid --seeds 3 --metrics retrieval.official.map,attributes.balanced_accuracy.mean
python -m benchmarks.ablation reid --variants x3 --also "x3={objective: {lambda: {identity: 3.0}, weighting: {name: fixed}}}"

Variants are those of people/systems/<system>/variants.yaml, and `all`, the system as it is. Each is trained from every seed
for so many steps; its best epoch on validation subjects is judged as `evaluate` judges. Every outcome is a line of the results
file (JSON): a second call goes on with what is missing, also in the middle of a training. Columns are the metrics that are
named, or the `COLUMNS` of the system's score, with the baselines in the last row.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from people import checkpoints, datasets, systems
from people.config import Block, build
from people.storage import facts_digest, write_atomic
from people.storage.serialization import serialize
from people.training import loop
from people.training.fabric import launch
from people.training.resume import source_digest
from stages.shared.project import params, remove, state
from stages.shared.variants import FULL, check_variants, read_variants
from stages.training.problem import Trainings
from stages.training.progress import Bar

Columns = Mapping[str, tuple[str, str | None]]  # what is shown under a title: our metric, and that of the baseline


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", choices=systems.names())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", help="names parted by commas; all of them if left out")
    parser.add_argument(
        "--also", action="append", default=[], metavar="NAME=CHANGES", help="one more variant, as in variants.yaml"
    )
    parser.add_argument("--steps", type=int, help="of each training; those of params.yaml if left out")
    parser.add_argument("--metrics", help="names parted by commas; the system's own columns if left out")
    parser.add_argument("--results", type=Path, help="a file in the project's state if left out")
    arguments = parser.parse_args()
    system, results = arguments.system, arguments.results or state(f"ablation-{arguments.system}.jsonl")
    trainings = Trainings(system)
    added = also(arguments.also)
    check_variants(added, "--also")
    changes = read_variants(system) | added | {FULL: {}}
    names = arguments.variants.split(",") if arguments.variants else list(changes)
    if unknown := [name for name in names if name not in changes]:
        parser.error(f"no such variant: {', '.join(unknown)}; there are {', '.join(changes)} ({FULL}: nothing changed)")
    length = lengthened(trainings, arguments.steps)
    phases = {name: trainings.phases(changes[name], **length) for name in names}
    judging = ["people.checkpoints", f"people.systems.{system}.score", f"people.datasets.{trainings.block['dataset']}"]
    code = source_digest(judging)
    fabric, seeds = launch(trainings.config), range(params("seed"), params("seed") + arguments.seeds)
    outcomes = {line["key"]: line for line in lines(results)}
    with Bar(sum(map(epochs_of, phases.values())) * len(seeds), system) as bar:
        keys = []
        for seed in seeds:  # one seed of every variant before the next: half of a run is a whole comparison
            for name, training in phases.items():
                key = facts_digest(run=loop.phases_key(training, seed), score=params("score", system), code=code)
                keys.append(key)
                if key in outcomes:
                    bar.skip(epochs_of(training))
                    continue
                bar.name = f"{name}, seed {seed}"
                outcomes[key] = {"key": key, "variant": name, "seed": seed, **judged(training, seed, fabric, bar, key)}
                with results.open("a") as file:
                    file.write(json.dumps(outcomes[key]) + "\n")
    columns = {name: (name, None) for name in arguments.metrics.split(",")} if arguments.metrics else columns_of(system)
    steps = sum(steps_of(training) for training in phases[names[0]])
    print(f"\n{system}, {steps} steps, mean and standard deviation over {len(seeds)} seeds; shares in %\n")
    print(table([outcomes[key] for key in keys], columns).to_string())


def also(texts: Sequence[str]) -> dict[str, Any]:
    """Variants of the command line, each a name and what it changes in YAML."""
    found = {}
    for text in texts:
        name, separator, changes = text.partition("=")
        found[name] = YAML(typ="safe").load(changes) if separator else None
        if not name or not isinstance(found[name], dict):
            raise SystemExit(
                f"--also wants NAME=CHANGES, such as 'one={{objective: {{lambda: {{identity: 1.0}}}}}}', got {text!r}"
            )
    return found


def columns_of(system: str) -> Columns:
    """The columns that the system's score names."""
    return systems.find(system, "score").COLUMNS


def epochs_of(phases: Sequence[loop.Training]) -> int:
    """How many epochs all phases have together."""
    return sum(phase.config.epochs for phase in phases)


def steps_of(training: loop.Training) -> int:
    """How many steps a phase has."""
    problem, config = training
    targets = problem.train.targets(problem.spec)
    return config.epochs * len(config.batches.sampler(targets, len(problem.train), 0, rank=0, world=1))


def lengthened(trainings: Trainings, steps: int | None) -> Block:
    """The epochs of a training of so many steps; milestones stay at the same share of it. Nothing where no number is given."""
    if steps is None:
        return {}
    block = trainings.block["training"]
    if block.get("phases"):
        raise SystemExit(
            f"--steps is for a training in one phase; {trainings.system} has {len(block['phases'])}: set their epochs"
        )
    (training,) = trainings.phases()
    epochs = math.ceil(steps * training.config.epochs / steps_of(training))
    schedule = block["schedule"]
    if "epochs" in schedule:
        moved = sorted({max(1, round(epoch * epochs / block["epochs"])) for epoch in schedule["epochs"]})
        schedule = {**schedule, "epochs": moved}
    return {"epochs": epochs, "schedule": schedule}


def lines(path: Path) -> list[dict[str, Any]]:
    """The outcomes so far; a line that a kill cut short is no outcome."""
    written = path.read_text().split("\n") if path.is_file() else []
    if written and written[-1]:  # no end of line: cut short
        path.write_text("\n".join(written[:-1]) + "\n" * (len(written) > 1))
    return [json.loads(line) for line in written[:-1]]


def judged(phases: Sequence[loop.Training], seed: int, fabric: Any, bar: Bar, key: str) -> dict[str, float | dict[str, float]]:
    """Train, and judge the epoch that is best on validation subjects."""
    problem, epoch = phases[-1].problem, None
    system, folder = problem.system, state("checkpoints", "ablation", key[:16])
    for epoch in loop.fit_phases(phases, seed=seed, fabric=fabric, checkpoint_folder=folder, on_step=bar.step):
        bar.epoch(epoch)
    assert epoch is not None
    write_atomic(folder / "best.pt", serialize(epoch.best))
    network, checkpoint = checkpoints.load(folder / "best.pt")
    score, data = systems.find(system, "score"), systems.find(system, "data")
    results = score.evaluate(
        network,
        checkpoint["spec"],
        checkpoint["statistics"],
        {slot: Path(path) for slot, path in params("systems", system, "reads").items()},
        build(data.Config, problem.config["data"]),
        build(score.Config, params("score", system)),
        datasets.find(params("systems", system, "dataset")),
        seed,
    )
    remove(folder)
    metrics = {name: value for name, value in results.metrics.items() if not name.endswith((".low", ".high"))}
    return {
        "validation_score": epoch.best["validation"]["score"],
        "best_epoch": epochs_of(phases[:-1]) + epoch.best["epoch"],
        "metrics": metrics,
    }


def table(outcomes: list[dict[str, Any]], columns: Columns) -> pd.DataFrame:
    """Each variant's metrics as mean±deviation over seeds, the baselines in the last row."""
    rows: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(outcome["variant"] for outcome in outcomes):
        metrics = [outcome["metrics"] for outcome in outcomes if outcome["variant"] == name]
        rows[name] = {title: shown(ours, metrics) for title, (ours, _) in columns.items()}
    # a baseline knows no network, but a variant that lacks a task lacks its baseline too
    trivial = [{name: value for outcome in outcomes for name, value in outcome["metrics"].items()}]
    if baselines := {title: shown(baseline, trivial) for title, (_, baseline) in columns.items() if baseline}:
        rows["baseline"] = baselines
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def shown(metric: str, metrics: list[dict[str, float]]) -> str:
    """A metric's mean±deviation: years as they are, all else in %; nothing where the variant has no such metric."""
    values = pd.Series([one[metric] for one in metrics if metric in one])
    if values.empty:
        return ""
    values = values if metric.endswith("_years") else 100 * values
    return f"{values.mean():.1f}" + (f"±{values.std():.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
