"""Search the weights and margins of a system's objective: an Optuna study of trials on validation people.

    people tune dmt [--trials-only]

writes data/studies/<system>/: trials.csv, importance.csv, best.yaml (the chosen weights), params.patch (the same as a change of
params.yaml), finals.csv and finals/: those weights trained to the end, and others beside them.
The study is at OPTUNA_STORAGE - a database, or journal:path of a file on a shared disk -, or in .state/. Several processes, on
one machine or on many, can share its trials; with --trials-only a process runs trials and leaves the result to the others. A
trial whose process is killed resumes from its last complete epoch. A finished study is not opened again: a further run starts a
new one.
"""

import hashlib
import math
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial
from ruamel.yaml import YAML
from tqdm import tqdm

from people.config import Block, build
from people.storage import facts_digest, file_digest
from people.storage.serialization import serialize
from people.training import loop
from people.training.fabric import launch
from people.training.loop import Diverged, Epoch
from stages.search import choice, dashboard, finals, proposals, settings
from stages.search.patch import patch
from stages.search.settings import SCORE, Search
from stages.search.slots import FINISHED, REASON, SLOT, open_study, run_slots, slots
from stages.search.space import search_space
from stages.search.storage import open_storage
from stages.shared.project import ERROR, argument_parser, file_lock, output, params, remove, state
from stages.tracking import runs
from stages.training.problem import Trainings, write_model
from stages.training.progress import Bar


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # names of objectives, heartbeats
    parser = argument_parser(__doc__)
    parser.add_argument("system", help="one of the systems in params.yaml")
    parser.add_argument("--trials-only", action="store_true", help="run trials until all are done, write no result")
    arguments = parser.parse_args()
    name = arguments.system
    tuning = Tuning(name, trials_only=arguments.trials_only)
    if arguments.trials_only and tuning.study.user_attrs.get(FINISHED):
        print(f"the study {tuning.study.study_name} is finished: no trials are left")
        return
    with runs.interruptible(), tuning.run(f"{name}, search", tuning.folder) as parent:
        tuning.run_trials(parent)
        tuning.run_finals(parent)
        if arguments.trials_only:
            return
        with file_lock(state(f"tune-{name}.lock")):
            tuning.finish(Path("data/studies", name), parent)


class Tuning:
    """One system's study, and the trainings of its trials and of the weights that are trained to the end."""

    def __init__(self, name: str, *, trials_only: bool = False) -> None:
        self.name, self.seed, self.trials_only = name, params("seed"), trials_only
        self.search: Search = build(Search, params("search", name))
        self.trainings = Trainings(name)
        self.space = search_space(name, self.search, self.trainings.block)
        self.phases = self.trainings.phases(**self.changes)
        self.fabric = launch(self.phases[-1].config)
        run_key = loop.phases_key(self.phases, self.seed)
        self.key = facts_digest(search=asdict(self.search), published=dict(self.space.published), run=run_key)
        self.storage = open_storage()
        title = f"{name} on {self.trainings.block['dataset']}"
        self.study = self._study(self.key, f"{title}, {self.search.trials} trials", proposals.directions(self.search))
        self.study.pruner = proposals.own_pruner(self.search)
        self.finals_study: optuna.Study | None = None
        self.title = title
        self.folder = state("checkpoints", "tune", name, self.study.study_name.rpartition("#")[2])
        if not self.study.user_attrs.get("described"):
            dashboard.describe_study(self.study, self.space, name, self.trainings.block["dataset"])
            self.study.set_user_attr("described", True)

    def _study(
        self, key: str, title: str, directions: Sequence[StudyDirection], *, include_finished: bool = False
    ) -> optuna.Study:
        with file_lock(state("optuna.lock")):  # only one process may choose the number of a new study
            return open_study(self.storage, key, title, directions, include_finished=include_finished or self.trials_only)

    @property
    def changes(self) -> dict[str, Any]:
        """Changes of the training block for a trial; several devices are used by as many processes."""
        return {"epochs": self.search.epochs, "devices": 1}

    def run(self, name: str, folder: Path, **tags: Any) -> AbstractContextManager[runs.Run]:
        """A run in MLflow, of the search or of one training."""
        facts = {"seed": self.seed, **self.trainings.facts, "search": asdict(self.search)}
        digest = self.trainings.data_digest
        run_tags = {"stage": "tune", "system": self.name, "study": self.study.study_name, "data.digest": digest}
        return runs.run(self.name, name, folder=folder, params=facts | tags.pop("params", {}), tags=run_tags | tags)

    def run_trials(self, parent: runs.Run) -> None:
        """Run trials until every slot of the study is filled."""
        with Bar(self.search.trials * self.search.epochs * len(self.phases), self.name) as bar:

            def parameters(trials: Sequence[FrozenTrial], slot: int) -> dict[str, Any]:
                return proposals.parameters(proposals.propose(self.space, trials, slot, self.seed))

            run_slots(self.study, self.search.trials, parameters, lambda trial: self._trial(trial, parent, bar), tqdm.write)

    def _trial(self, trial: Trial, parent: runs.Run, bar: Bar) -> float | list[float]:
        """Train one trial: its objectives' values at the kept epoch; `TrialPruned` if its merit falls behind."""
        slot = trial.user_attrs[SLOT]
        candidate = proposals.suggest(self.space, trial)
        first = self.space.candidates[slot : slot + 1]
        candidate = candidate._replace(title=first[0].title if first else "")
        bar.name = f"{self.name} trial {slot}"
        objective, merits, epoch = self.space.objective(candidate.choice, candidate.values), [], None
        tags = {runs.PARENT_TAG: parent.id, "trial": slot, "params": {"objective": objective}}
        with self.run(f"{self.name} trial {slot}", self.trial_folder(slot), **tags) as run:
            facts = {"epochs": self.search.epochs, "git commit": runs.git_sha(), "MLflow run": dashboard.run_link(run)}
            dashboard.describe_trial(trial, candidate, facts)
            for epoch in self.epochs(objective, self.trial_folder(slot), bar, **self.changes):
                run.log(epoch.metrics, epoch.number)
                bar.epoch(epoch)
                if epoch.phase != self.phases[-1].problem.phase:
                    continue  # earlier phases have other tasks, so their scores are not comparable
                merits.append(self._merit(epoch))
                trial.set_user_attr(proposals.MERITS, merits)
                trial.set_user_attr(proposals.VALUES, self._values(epoch))
                if self.search.is_single:
                    trial.report(merits[-1] if SCORE in self.search.objectives else -merits[-1], len(merits))
                if len(merits) < self.search.epochs and self._is_pruned(trial, merits):
                    break
            assert epoch is not None
            pruned = len(merits) < self.search.epochs
            run.tag(pruned=pruned)
            dashboard.add_picture(self.storage, trial, run.log_convergence(epoch.history))
        if pruned:
            bar.skip(self.search.epochs - len(merits))
            for file in self.trial_folder(slot).rglob(loop.STATE_FILE):
                remove(file)
            raise optuna.TrialPruned(f"trial {slot}: behind the others at epoch {len(merits)}")
        return self._values(epoch)

    def _is_pruned(self, trial: Trial, merits: Sequence[float]) -> bool:
        others = self.study.get_trials(deepcopy=False)
        return proposals.is_pruned(self.search, others, trial.number, merits) or (
            self.search.is_single and trial.should_prune()
        )

    def _merit(self, epoch: Epoch) -> float:
        merit = settings.merit(self.search, {name.replace("error/", ERROR): value for name, value in epoch.metrics.items()})
        if not math.isfinite(merit):
            raise Diverged(f"epoch {epoch.number}: the validation errors of {', '.join(self.search.objectives)} are not finite")
        return merit

    def _values(self, epoch: Epoch) -> list[float]:
        validation = epoch.best["validation"]
        errors = {f"{ERROR}{name}": value for name, value in validation["errors"].items()}
        return choice.values(self.search, {SCORE: validation["score"], **errors})

    def epochs(self, objective: Block, folder: Path, bar: Bar | None, *, seed: int | None = None, **changes: Any) -> Any:
        """The epochs of a training with this objective, those of an interrupted process first."""
        return loop.fit_phases(
            self.trainings.phases({"objective": objective}, changed_by="a trial", **changes)
            if objective != self.space.objective_block
            else self.trainings.phases(**changes),
            seed=self.seed if seed is None else seed,
            fabric=self.fabric,
            checkpoint_folder=folder,
            on_step=bar.step if bar else None,
        )

    def trial_folder(self, slot: int) -> Path:
        """The folder of a trial's checkpoints."""
        return self.folder / f"trial-{slot:04}"

    def best(self) -> FrozenTrial:
        """The chosen trial of the study, all of whose slots are filled."""
        trials = slots(self.study, self.search.trials)
        reasons = "\n".join(trial.user_attrs.get(REASON, trial.state.name.lower()) for trial in trials)
        return choice.best_trial(self.search, trials, {trial.number: trial.user_attrs[SLOT] for trial in trials}, reasons)

    def final_trainings(self) -> list[finals.Final]:
        """The final trainings, in their order."""
        return finals.finals(self.space, proposals.candidate_of(self.best()), self.seed)

    def completed_finals(self) -> list[finals.Final]:
        """The final trainings that came to their end; a line says of each other one why it did not."""
        listed = self.final_trainings()
        trials = slots(self.finals_study, len(listed)) if self.finals_study else []
        ended = []
        for final, trial in zip(listed, trials, strict=True):
            if reason := trial.user_attrs.get(REASON):
                tqdm.write(f"{self.name}: {final.weights} weights, seed {final.seed}, are not in finals.csv: {reason}")
            else:
                ended.append(final)
        return ended

    def run_finals(self, parent: runs.Run) -> None:
        """Train the chosen weights and those beside them to the end: slots of a study of their own."""
        listed = self.final_trainings()
        if not listed:
            return
        title = f"{self.title}, {len(listed)} final trainings"
        key = facts_digest(finals=self.key, best=listed[0].objective)
        is_finished = bool(self.study.user_attrs.get(FINISHED))  # by another process, and these trainings with it
        self.finals_study = self._study(key, title, [StudyDirection.MAXIMIZE], include_finished=is_finished)
        dataset = self.trainings.block["dataset"]
        dashboard.describe_finals(self.finals_study, self.space, self.name, dataset, self.study.study_name)
        epochs = sum(training.config.epochs for training in self.trainings.phases(devices=1))
        with Bar(len(listed) * epochs, self.name) as bar:

            def train(trial: Trial) -> float:
                final = listed[trial.user_attrs[SLOT]]
                trial.suggest_categorical("weights", list(dict.fromkeys(one.weights for one in listed)))
                trial.suggest_int("seed", min(one.seed for one in listed), max(one.seed for one in listed))
                return self._final(trial, final, parent, bar)

            def parameters(_: Sequence[FrozenTrial], slot: int) -> dict[str, Any]:
                return {"weights": listed[slot].weights, "seed": listed[slot].seed}

            run_slots(self.finals_study, len(listed), parameters, train, tqdm.write)

    def _final(self, trial: Trial, final: finals.Final, parent: runs.Run, bar: Bar) -> float:
        bar.name = f"{self.name} {final.weights} weights, seed {final.seed}"
        folder, epoch = self.folder / final.folder, None
        tags = {runs.PARENT_TAG: parent.id, "weights": final.weights, "params": {"objective": final.objective}}
        with self.run(f"{self.name}, {final.weights} weights to the end, seed {final.seed}", folder, **tags) as run:
            facts = {"git commit": runs.git_sha(), "MLflow run": dashboard.run_link(run)}
            dashboard.describe_trial(trial, proposals.Candidate("", {}, final.weights), facts)
            for epoch in self.epochs(final.objective, folder, bar, seed=final.seed, devices=1):
                run.log(epoch.metrics, epoch.number)
                bar.epoch(epoch)
            assert epoch is not None
            run.tag(checkpoint__sha256=hashlib.sha256(serialize(epoch.best)).hexdigest())
            dashboard.add_picture(self.storage, trial, run.log_convergence(epoch.history))
        return epoch.best["validation"]["score"]

    def finish(self, folder: Path, parent: runs.Run) -> None:
        """Write the outputs, once for all processes that share this folder, and mark the studies as finished."""
        written_key = f"written to {folder.resolve()} on {runs.host()}"
        if self.study.user_attrs.get(written_key) and self.study.user_attrs.get(FINISHED):
            return
        trials, best = slots(self.study, self.search.trials), self.best()
        candidate = proposals.candidate_of(best)
        objective, slot = self.space.objective(candidate.choice, candidate.values), best.user_attrs[SLOT]
        change = patch(self.name, objective)
        with output(folder) as partial:
            partial.mkdir(parents=True)
            trained = []
            for final in self.completed_finals():  # from their checkpoints, or trained again if another machine has those
                *_, epoch = self.epochs(final.objective, self.folder / final.folder, None, seed=final.seed, devices=1)
                write_model(partial / "finals" / final.folder, epoch)
                trained.append((final, epoch, file_digest(partial / "finals" / final.folder / "checkpoint.pt")))
            finals.table(trained).to_csv(partial / "finals.csv", index=False)
            choice.trials_table(self.space, trials, best).to_csv(partial / "trials.csv", index=False)
            choice.importances(self.space, trials).to_csv(partial / "importance.csv", index=False)
            (partial / "params.patch").write_text(change)
            with (partial / "best.yaml").open("w") as file:
                YAML().dump(self._result(best, candidate, objective), file)
        names = dashboard.metric_names(self.search)
        result = dashboard.result_sentence(best, slot, names, candidate.title, self.name)
        dashboard.describe_study(self.study, self.space, self.name, self.trainings.block["dataset"], result)
        parent.tag(best_trial=slot)
        self.study.set_user_attr(written_key, True)
        for study in (self.study, self.finals_study):
            if study is not None:
                study.set_user_attr(FINISHED, True)
        remove(self.folder)
        tell(self.name, folder, slot, candidate.title, change)

    def _result(self, best: FrozenTrial, candidate: proposals.Candidate, objective: Block) -> dict[str, Any]:
        return {
            "system": self.name,
            "trial": best.user_attrs[SLOT],
            "weights": candidate.title or f"proposed by {self.search.sampler}",
            "values": dict(zip(self.search.objectives, map(float, best.values), strict=True)),
            "merit": float(choice.merit_of(self.search, best)),
            "objective": objective,
        }


def tell(system: str, folder: Path, slot: int, title: str, change: str) -> None:
    """Print what was found and how it is taken over."""
    if not change:
        print(f"{system}: trial {slot} ({title or 'equal to them'}) is the best: params.yaml's own weights stay")
        return
    print(
        f"{system}: trial {slot} is the best. {folder}/params.patch changes params.yaml to its weights; to apply it:\n"
        f"  python -m stages.configure --from {folder}/best.yaml"
    )


if __name__ == "__main__":
    main()
