"""What each of a system's ingredients is worth on test subjects, over several seeds, on the stores of this workspace.

python -m benchmarks.ablation gaittake --seeds 3 --variants baseline,attention,keypoints,all --steps 1000
python -m benchmarks.ablation reid --seeds 3 --metrics retrieval.official.map,attributes.balanced_accuracy.mean
python -m benchmarks.ablation reid --variants id_x3 --also "id_x3={objective: {lambda: {identity: 3.0, attributes: 1.0}}}"

Variants are those of systems.<system>.compare in params.yaml, and `all`, the system as it is. Each is trained from every seed
for so many steps; its best epoch on validation subjects is judged as `evaluate` judges. Every outcome is a line of the results
file (JSON): a second call goes on with what is missing, also in the middle of a training. Columns are the metrics that are
named, or the `COLUMNS` of the system's score.py, with the baselines in the last row.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from people import checkpoints, systems
from people.training import loop, resume
from people.training.train_config import Milestones, launch
from stages.compare import FULL, variants
from stages.shared.problem import prepare, recipe
from stages.shared.progress import Bar
from stages.shared.project import params, remove, state

Columns = Mapping[str, tuple[str, str | None]]  # what is shown under a title: our metric, and that of the baseline


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", choices=systems.names())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", help="names parted by commas; all of them if left out")
    parser.add_argument(
        "--also", action="append", default=[], metavar="NAME=CHANGES", help="one more variant, as in params.yaml"
    )
    parser.add_argument("--steps", type=int, help="of each training; those of params.yaml if left out")
    parser.add_argument("--metrics", help="names parted by commas; the system's own columns if left out")
    parser.add_argument("--results", type=Path, help="a file in the project's state if left out")
    asked = parser.parse_args()
    system, results = asked.system, asked.results or state(f"ablation-{asked.system}.jsonl")
    problem = prepare(system)
    config = recipe_of(system, asked.steps, steps_of(problem, recipe(system)))
    there = variants(problem.config, params("systems", system, "compare", "variants") | also(asked.also))
    names = asked.variants.split(",") if asked.variants else list(there)
    if unknown := [name for name in names if name not in there]:
        parser.error(f"no such variant: {', '.join(unknown)}; params.yaml has {', '.join(there)} ({FULL}: nothing changed)")
    fabric, seeds = launch(config), range(params("seed"), params("seed") + asked.seeds)
    known = {line["key"]: line for line in lines(results)}
    with Bar(len(names) * len(seeds) * config.epochs, system) as bar:
        wanted = []
        for seed in seeds:  # one seed of every variant before the next: half of a run is a whole comparison
            for name in names:
                other = problem.changed(**there[name])
                key = resume.key(run=loop.run_key(other, config, seed), score=params("systems", system, "score"))
                wanted.append(key)
                if key in known:
                    bar.skip(config.epochs)
                    continue
                bar.name = f"{name}, seed {seed}"
                known[key] = {"key": key, "variant": name, "seed": seed, **judged(other, config, seed, fabric, bar, key)}
                with results.open("a") as file:
                    file.write(json.dumps(known[key]) + "\n")
    columns = {name: (name, None) for name in asked.metrics.split(",")} if asked.metrics else of_system(system)
    steps = config.epochs * steps_of(problem, config)
    print(f"\n{system}, {steps} steps, mean and standard deviation over {len(seeds)} seeds; shares in %\n")
    print(table([known[key] for key in wanted], columns).to_string())


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


def of_system(system: str) -> Columns:
    """The columns that the system's score names."""
    return systems.find(system, "score").COLUMNS


def steps_of(problem: loop.Problem, config: loop.Config) -> int:
    """How many steps an epoch has."""
    subjects = problem.train.targets(problem.spec)["subject"].tolist()
    return len(config.batches.of(subjects, 0, rank=0, world=1))


def recipe_of(system: str, steps: int | None, per_epoch: int) -> loop.Config:
    """The system's recipe for so many steps: milestones stay at the same share of the training."""
    config = recipe(system)
    if steps is None:
        return config
    epochs = math.ceil(steps / per_epoch)
    schedule = config.schedule
    if isinstance(schedule, Milestones):
        moved = sorted({max(1, round(epoch * epochs / config.epochs)) for epoch in schedule.epochs})
        schedule = Milestones(schedule.name, schedule.factor, moved)
    return recipe(system, epochs=epochs, schedule=schedule)


def lines(path: Path) -> list[dict[str, Any]]:
    """The outcomes so far; a line that a kill cut short is no outcome."""
    written = path.read_text().split("\n") if path.is_file() else []
    if written and written[-1]:  # no end of line: cut short
        path.write_text("\n".join(written[:-1]) + "\n" * (len(written) > 1))
    return [json.loads(line) for line in written[:-1]]


def judged(
    problem: loop.Problem, config: loop.Config, seed: int, fabric: Any, bar: Bar, key: str
) -> dict[str, float | dict[str, float]]:
    """Train, and judge the epoch that is best on validation subjects."""
    system, epoch = problem.system, None
    folder = state("checkpoints", "ablation", key[:16])
    for epoch in loop.fit(problem, config, seed=seed, fabric=fabric, checkpoint_folder=folder, on_step=bar.step):
        bar.epoch(epoch)
    assert epoch is not None
    network = problem.model.Network(problem.model.Config(**problem.config["model"]), problem.spec)
    network.load_state_dict(epoch.best["network"])
    score, data = systems.find(system, "score"), systems.find(system, "data")
    settings = checkpoints.config_of(score.Config, params("systems", system, "score"))
    reads = {slot: Path(path) for slot, path in params("systems", system, "reads").items()}
    samples = checkpoints.config_of(data.Config, problem.config["data"])
    results = score.evaluate(network.eval(), problem.spec, problem.statistics, reads, samples, settings, seed)
    remove(folder)
    found = {name: value for name, value in results.metrics.items() if not name.endswith((".low", ".high"))}
    return {"validation_score": epoch.best["watched"]["score"], "best_epoch": epoch.best["epoch"], "metrics": found}


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
