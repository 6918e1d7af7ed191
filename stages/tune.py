"""Search the weights and margins of a system's objective: an Optuna study that maximises the score on validation subjects.

    python -m stages.tune dmt [--trials-only]

writes data/studies/<system>/: trials.csv, best.yaml (the best objective), and the best trial's checkpoint.pt and history.csv.
The study is in the database at OPTUNA_STORAGE, or in .state/. Several processes, on one machine or on many, can share its
trials; with --trials-only a process runs trials and leaves the result to the others. A trial whose process is killed resumes
from its last complete epoch. A finished study is not opened again: a further run starts a new one.
"""

import argparse
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, Trial, TrialState
from ruamel.yaml import YAML
from tqdm import tqdm

from people.config import build
from people.storage import facts_digest, file_digest
from people.training import loop
from people.training.train_config import launch
from stages.shared import tracking
from stages.shared.problem import Trainings, merged, refuse_overridden, write_model
from stages.shared.progress import Bar
from stages.shared.project import file_lock, output, params, remove, state
from stages.shared.study import FINISHED, REASON, SLOT, Search, nested_blocks, open_study, run_trials, slots


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", help="one of the systems in params.yaml")
    parser.add_argument("--trials-only", action="store_true", help="run trials until all are done, write no result")
    arguments = parser.parse_args()
    name = arguments.system
    search = build(Search, params("systems", name, "search"))
    tuning = Tuning(name, search, params("seed"), trials_only=arguments.trials_only)
    if arguments.trials_only and tuning.study.user_attrs.get(FINISHED):
        print(f"the study {tuning.study.study_name} is finished: no trials are left")
        return
    with tracking.interruptible(), tuning.run("tune", tuning.folder) as parent, tuning.bar:
        run_trials(tuning.study, search, tuning.baseline, lambda trial: tuning.train(trial, parent), log=tqdm.write)
        if arguments.trials_only:
            return
        with file_lock(state(f"tune-{name}.lock")):
            tuning.finish(Path("data/studies", name), parent)


class Tuning:
    """One system's study and the trainings of its trials."""

    def __init__(self, name: str, search: Search, seed: int, *, trials_only: bool = False) -> None:
        self.name, self.search, self.seed = name, search, seed
        self.trainings = Trainings(name)
        self.objective_block = self.trainings.block["objective"]
        for key in search.ranges:
            refuse_overridden(("objective", *key.split(".")), self.trainings.listed_phases, f"search.ranges.{key}")
        self.phases = self.trainings.phases(**self.changes)
        self.fabric = launch(self.phases[-1].config)
        self.baseline = search.baseline(self.objective_block)
        self.key = facts_digest(search=asdict(search), run=loop.phases_key(self.phases, seed))
        with file_lock(state("optuna.lock")):  # only one process may choose the number of a new study
            self.study = open_study(f"{name}-{self.key[:16]}", search, seed, include_finished=trials_only)
        self.folder = state("checkpoints", "tune", self.study.study_name)
        self.bar = Bar(search.trials * search.epochs * len(self.phases), name)

    @property
    def changes(self) -> dict[str, Any]:
        """Changes of the training block for a trial; several devices are used by as many processes."""
        return {"epochs": self.search.epochs, "devices": 1}

    def run(self, name: str, folder: Path, **tags: Any) -> AbstractContextManager[tracking.Run]:
        """A run in MLflow, of the study or of one of its trials."""
        facts = {"seed": self.seed, **self.trainings.facts, "search": asdict(self.search)}
        digest = self.trainings.data_digest
        run_tags = {"stage": "tune", "system": self.name, "study": self.study.study_name, "data.digest": digest}
        return tracking.run(self.name, name, folder=folder, params=facts | tags.pop("params", {}), tags=run_tags | tags)

    def objective(self, trial: FrozenTrial | Trial) -> dict[str, Any]:
        """The objective block with the trial's values."""
        return merged(self.objective_block, nested_blocks(trial.params), "objective")

    def epochs(self, trial: FrozenTrial | Trial) -> Any:
        """The epochs of the trial's training, those of an interrupted process first."""
        phases = self.trainings.phases({"objective": nested_blocks(trial.params)}, **self.changes)
        return loop.fit_phases(
            phases,
            seed=self.seed,
            fabric=self.fabric,
            checkpoint_folder=self.trial_folder(trial),
            on_step=self.bar.step,
        )

    def trial_folder(self, trial: FrozenTrial | Trial) -> Path:
        """The folder of a trial's checkpoints."""
        return self.folder / f"trial-{trial.user_attrs[SLOT]:04}"

    def train(self, trial: Trial, parent: tracking.Run) -> float:
        """Run one trial: its best score on validation subjects; `TrialPruned` if it is below the median."""
        number, scores = trial.user_attrs[SLOT], []
        self.bar.name = f"{self.name} trial {number}"
        tags = {tracking.PARENT_TAG: parent.id, "trial": number, "params": {"objective": self.objective(trial)}}
        with self.run(f"trial {number}", self.trial_folder(trial), **tags) as run:
            for epoch in self.epochs(trial):
                run.log(epoch.metrics, epoch.number)
                self.bar.epoch(epoch)
                if epoch.phase != self.phases[-1].problem.phase:
                    continue  # earlier phases have other tasks, so their scores are not comparable
                scores.append(epoch.metrics["score"])
                trial.report(scores[-1], len(scores))
                if len(scores) < self.search.epochs and trial.should_prune():
                    break
            pruned = len(scores) < self.search.epochs
            run.tag(pruned=pruned)
        if pruned:
            self.bar.skip(self.search.epochs - len(scores))
            for file in self.trial_folder(trial).rglob(loop.STATE_FILE):
                remove(file)
            raise optuna.TrialPruned(f"trial {number}: below the median at epoch {len(scores)}")
        return max(scores)

    def finish(self, folder: Path, parent: tracking.Run) -> None:
        """Write the outputs, once for all processes that share this folder, and mark the study as finished."""
        written_key = f"written to {folder.resolve()} on {tracking.host()}"
        if self.study.user_attrs.get(written_key):
            return
        trials = slots(self.study, self.search.trials)
        best = best_trial(trials, self.study.study_name)
        epochs = list(self.epochs(best))  # from its checkpoint, or trained again if another machine has that
        with output(folder) as partial:
            write_model(partial, epochs[-1])
            trials_table(trials, list(self.search.ranges)).to_csv(partial / "trials.csv", index=False)
            result = {"trial": best.user_attrs[SLOT], "score": best.value, "objective": self.objective(best)}
            with (partial / "best.yaml").open("w") as file:
                YAML().dump(result, file)
        parent.tag(best_trial=best.user_attrs[SLOT], checkpoint__sha256=file_digest(folder / "checkpoint.pt"))
        self.study.set_user_attr(written_key, True)
        self.study.set_user_attr(FINISHED, True)
        remove(self.folder)


def best_trial(trials: list[FrozenTrial], study: str) -> FrozenTrial:
    """The complete trial with the highest score, the first of equals."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete:
        reasons = "\n".join(trial.user_attrs.get(REASON, trial.state.name.lower()) for trial in trials)
        raise ValueError(f"no trial of {study} is complete; narrow search.ranges. The reasons:\n{reasons}")
    return max(complete, key=lambda trial: (trial.value, -trial.user_attrs[SLOT]))


def trials_table(trials: list[FrozenTrial], names: list[str]) -> pd.DataFrame:
    """One row per trial: slot, final state, searched values, epochs, and best score."""
    return pd.DataFrame(
        {
            "number": trial.user_attrs[SLOT],
            "state": trial.state.name.lower(),
            **{name: trial.params[name] for name in names},
            "epochs": len(trial.intermediate_values),
            "score": max(trial.intermediate_values.values(), default=float("nan")),
        }
        for trial in trials
    )


if __name__ == "__main__":
    main()
