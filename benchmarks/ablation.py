"""What each of GaitTAKE's ingredients is worth on test subjects, over several seeds, on the stores of this workspace.

python -m benchmarks.ablation --seeds 3 --variants baseline,attention,keypoints,all --steps 1000

Variants are those of systems.gaittake.compare in params.yaml, and `all`, the system as it is. Each is trained from every seed
for so many steps; its best epoch on validation subjects is judged on test subjects, one view as gallery at a time. Every
outcome is a line of the results file (JSON): a second call goes on with what is missing, also in the middle of a training.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from people import checkpoints, states, systems, training
from people.recipe import Milestones, launch
from stages.common import params, remove, state
from stages.compare import FULL, variants
from stages.prepare import prepare, recipe
from stages.progress import Bar

SYSTEM = "gaittake"
CONDITIONS = ("NM", "BG", "CL", "mean")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", help="names parted by commas; all of them if left out")
    parser.add_argument("--steps", type=int, help="of each training; those of params.yaml if left out")
    parser.add_argument("--results", type=Path, default=state("ablation.jsonl"))
    asked = parser.parse_args()
    config, problem = recipe_of(asked.steps), prepare(SYSTEM)
    there = variants(problem.config, params("systems", SYSTEM, "compare", "variants"))
    names = asked.variants.split(",") if asked.variants else list(there)
    if unknown := [name for name in names if name not in there]:
        parser.error(f"no such variant: {', '.join(unknown)}; params.yaml has {', '.join(there)} ({FULL}: nothing changed)")
    fabric, seeds = launch(config), range(params("seed"), params("seed") + asked.seeds)
    known = {line["key"]: line for line in lines(asked.results)}
    with Bar(len(names) * len(seeds) * config.epochs, SYSTEM) as bar:
        wanted = []
        for seed in seeds:  # one seed of every variant before the next: half of a run is a whole comparison
            for name in names:
                other = problem.changed(**there[name])
                key = states.key(run=training.run_key(other, config, seed), score=params("systems", SYSTEM, "score"))
                wanted.append(key)
                if key in known:
                    bar.skip(config.epochs)
                    continue
                bar.name = f"{name}, seed {seed}"
                known[key] = {"key": key, "variant": name, "seed": seed, **judged(other, config, seed, fabric, bar, key)}
                with asked.results.open("a") as file:
                    file.write(json.dumps(known[key]) + "\n")
    steps = config.epochs * config.batches.per_epoch
    print(f"\nrank-1 in % on test subjects, {steps} steps, mean and standard deviation over {len(seeds)} seeds\n")
    print(table([known[key] for key in wanted]).to_string())


def recipe_of(steps: int | None) -> training.Config:
    """The system's recipe for so many steps: milestones stay at the same share of the training."""
    config = recipe(SYSTEM)
    if steps is None:
        return config
    epochs = math.ceil(steps / config.batches.per_epoch)
    schedule = config.schedule
    if isinstance(schedule, Milestones):
        moved = sorted({max(1, round(epoch * epochs / config.epochs)) for epoch in schedule.epochs})
        schedule = Milestones(schedule.name, schedule.factor, moved)
    return recipe(SYSTEM, epochs=epochs, schedule=schedule)


def lines(path: Path) -> list[dict[str, Any]]:
    """The outcomes so far; a line that a kill cut short is no outcome."""
    written = path.read_text().split("\n") if path.is_file() else []
    if written and written[-1]:  # no end of line: cut short
        path.write_text("\n".join(written[:-1]) + "\n" * (len(written) > 1))
    return [json.loads(line) for line in written[:-1]]


def judged(
    problem: training.Problem, config: training.Config, seed: int, fabric: Any, bar: Bar, key: str
) -> dict[str, float | dict[str, float]]:
    """Train, and judge the epoch that is best on validation subjects."""
    folder, epoch = state("checkpoints", "ablation", key[:16]), None
    for epoch in training.fit(problem, config, seed=seed, fabric=fabric, checkpoint_folder=folder, on_step=bar.step):
        bar.epoch(epoch)
    assert epoch is not None
    network = problem.model.Network(problem.model.Config(**problem.config["model"]), problem.spec)
    network.load_state_dict(epoch.best["network"])
    score, data = systems.find(SYSTEM, "score"), systems.find(SYSTEM, "data")
    settings = checkpoints.config_of(score.Config, params("systems", SYSTEM, "score"))
    reads = {slot: Path(path) for slot, path in params("systems", SYSTEM, "reads").items()}
    samples = checkpoints.config_of(data.Config, problem.config["data"])
    results = score.evaluate(network.eval(), problem.spec, problem.statistics, reads, samples, settings, seed)
    remove(folder)
    found = {name: value for name, value in results.metrics.items() if not name.endswith((".low", ".high"))}
    return {"validation_score": epoch.best["watched"]["score"], "best_epoch": epoch.best["epoch"], "metrics": found}


def table(outcomes: list[dict[str, Any]]) -> pd.DataFrame:
    """Rank-1 of each variant and condition as mean±deviation, gait energy images in the last row."""
    rows: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(outcome["variant"] for outcome in outcomes):
        rows[name] = row([outcome["metrics"] for outcome in outcomes if outcome["variant"] == name], "rank_1")
    rows["gait energy images"] = row([outcomes[0]["metrics"]], "gei_rank_1")
    return pd.DataFrame(rows).T


def row(metrics: list[dict[str, float]], measure: str) -> dict[str, str]:
    shown = {}
    for name in CONDITIONS:
        if (key := f"single_view.{measure}.{name}") in metrics[0]:
            values = 100 * pd.Series([one[key] for one in metrics])
            shown[name] = f"{values.mean():.1f}" + (f"±{values.std():.1f}" if len(values) > 1 else "")
    return shown


if __name__ == "__main__":
    main()
