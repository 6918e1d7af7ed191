"""An Optuna study whose trials have numbered slots: several processes work on it, and no trial is done twice.

A study of n trials has the slots 0 to n - 1. A trial that is done - complete, pruned, or failed because its training
diverged - fills its slot. A process that dies leaves a running trial, which is failed once its death is known, and with that
the slot is free again; whoever takes it gets the dead trial's parameters and so finds its unfinished training. The sampler is
seeded by the slot, so that a study that was killed goes on as it would have.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from people.training.loop import Diverged
from stages.shared.project import optuna_storage
from stages.shared.tracking import is_dead, process

SAMPLERS: dict[str, Callable[..., BaseSampler]] = {"tpe": TPESampler, "gp": GPSampler, "random": RandomSampler}
SLOT, PROCESS, REASON, FINISHED = "slot", "process", "reason", "finished"
HEARTBEAT_S, GRACE_S, POLL_S = 20, 90, 2.0  # a process on another machine is dead after GRACE_S without a heartbeat


class SlotFilled(Exception):
    """Another process has this trial's slot already."""


@dataclass(frozen=True)
class Pruner:
    """A trial is ended when its score is below the median of the others' at the same epoch; not before these numbers."""

    startup_trials: int
    warmup_epochs: int


@dataclass(frozen=True)
class Search:
    """How many trials of how many epochs, and over which ranges of the objective's values (log-uniform)."""

    trials: int
    epochs: int
    sampler: str
    pruner: Pruner
    ranges: Mapping[str, Any]

    def __post_init__(self) -> None:
        if isinstance(self.pruner, Mapping):
            object.__setattr__(self, "pruner", Pruner(**self.pruner))
        if self.trials < 1 or self.epochs < 1:
            raise ValueError(
                f"search needs at least 1 trial of 1 epoch, got {self.trials} of {self.epochs}; correct params.yaml"
            )
        if self.sampler not in SAMPLERS:
            raise ValueError(f"search.sampler must be one of {', '.join(SAMPLERS)}, got {self.sampler!r}; correct params.yaml")
        if not self.ranges:
            raise ValueError("search.ranges must name at least one value of the objective, such as lambda.gender: [0.01, 1.0]")
        for key, limits in self.ranges.items():
            if len(limits) != 2 or not 0 < limits[0] < limits[1]:
                raise ValueError(f"search.ranges.{key} must be [low, high], 0 < low < high, got {limits}; correct params.yaml")

    def baseline(self, objective: Mapping[str, Any]) -> dict[str, float]:
        """The numbers that params.yaml gives to what is searched: the first trial. A word there, such as a weight that is
        learned, is no slot to begin a search of numbers: the sampler chooses instead.
        """
        found = {key: looked_up(objective, key) for key in self.ranges}
        values: dict[str, float] = {key: value for key, value in found.items() if not isinstance(value, str)}
        for key, value in values.items():
            low, high = self.ranges[key]
            if not low <= value <= high:
                raise ValueError(
                    f"objective.{key} = {value} must lie in search.ranges.{key} = [{low}, {high}], for the first trial is "
                    "params.yaml's own; widen the range, or leave this key out of the search"
                )
        return values


def looked_up(block: Mapping[str, Any], key: str) -> float | str:
    """The number or the word at a dotted key."""
    value: Any = block
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            there = ", ".join(map(str, value)) if isinstance(value, Mapping) else repr(value)
            raise ValueError(f"search.ranges.{key}: the objective has no {part!r} there but {there}; correct params.yaml")
        value = value[part]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"search.ranges.{key}: a number can be searched, objective.{key} is {value!r}; correct params.yaml")
    return value if isinstance(value, str) else float(value)


def nested(values: Mapping[str, float]) -> dict[str, Any]:
    """Dotted keys as nested blocks."""
    blocks: dict[str, Any] = {}
    for key, value in values.items():
        *above, last = key.split(".")
        block = blocks
        for part in above:
            block = block.setdefault(part, {})
        block[last] = value
    return blocks


def current(name: str, search: Search, seed: int, *, finished_too: bool = False) -> Study:
    """The unfinished study of this name, or a new one: names end with the number of the computation.

    With `finished_too` the newest is taken even if it is finished: a process that only helps begins no further computation.
    """
    url = optuna_storage()
    patience = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the heartbeat
        storage = optuna.storages.RDBStorage(url, engine_kwargs=patience, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S)
    runs = [found for found in optuna.get_all_study_names(storage) if found.rpartition("-")[0] == name]
    newest = max((int(found.rpartition("-")[2]) for found in runs), default=0)
    finished = newest > 0 and optuna.load_study(study_name=f"{name}-{newest}", storage=storage).user_attrs.get(FINISHED)
    if newest == 0 or (finished and not finished_too):
        newest += 1
    pruner = optuna.pruners.MedianPruner(search.pruner.startup_trials, search.pruner.warmup_epochs)
    return optuna.create_study(
        study_name=f"{name}-{newest}",
        storage=storage,
        sampler=SeededBySlot(search.sampler, seed),
        pruner=pruner,
        direction="maximize",
        load_if_exists=True,
    )


class SeededBySlot(BaseSampler):
    """A sampler that begins each trial with a seed of the trial's own, whatever its process did before."""

    def __init__(self, kind: str, seed: int) -> None:
        self.kind, self.seed = kind, seed
        self._newest: tuple[int, BaseSampler] | None = None

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if self._newest is None or self._newest[0] != trial.number:
            self._newest = trial.number, SAMPLERS[self.kind](seed=self.seed * 10_000 + trial.user_attrs.get(SLOT, 0))
        return self._newest[1]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)


def work(study: Study, search: Search, baseline: Mapping[str, float], train: Callable[[Trial], float]) -> None:
    """Do trials until every slot is filled; slots that other processes work on are waited for."""

    def objective(trial: Trial) -> float:
        claim(study, trial)
        for key, (low, high) in search.ranges.items():
            trial.suggest_float(key, low, high, log=True)
        try:
            return train(trial)
        except Diverged as error:
            trial.set_user_attr(REASON, str(error))
            raise

    while True:
        free_dead(study)
        trials = study.get_trials(deepcopy=False)
        open_slots = set(range(search.trials)) - {trial.user_attrs[SLOT] for trial in trials if is_done(trial)}
        if not open_slots:
            return
        idle = open_slots - {trial.user_attrs.get(SLOT) for trial in trials if trial.state == TrialState.RUNNING}
        if not idle:
            time.sleep(POLL_S)
            continue
        if not any(trial.state == TrialState.WAITING for trial in trials):
            slot = min(idle)
            study.enqueue_trial(params_of(trials, slot, baseline), user_attrs={SLOT: slot})
        study.optimize(objective, n_trials=1, catch=(Diverged, SlotFilled))


def claim(study: Study, trial: Trial) -> None:
    """Make the trial this process's own, unless an earlier one has its slot: two processes may have queued the same."""
    trial.set_user_attr(PROCESS, process())
    mine = trial.user_attrs.get(SLOT)
    for other in study.get_trials(deepcopy=False):
        earlier = other.number < trial.number and (other.state == TrialState.RUNNING or is_done(other))
        if mine is None or (earlier and other.user_attrs.get(SLOT) == mine):
            raise SlotFilled(f"slot {mine} is another trial's")


def free_dead(study: Study) -> None:
    """Fail running trials of dead processes: this machine's at once, another machine's when its heartbeat is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if is_dead(trial.user_attrs.get(PROCESS, "")):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def is_done(trial: FrozenTrial) -> bool:
    """Whether the trial fills its slot."""
    diverged = trial.state == TrialState.FAIL and REASON in trial.user_attrs
    return SLOT in trial.user_attrs and (diverged or trial.state in (TrialState.COMPLETE, TrialState.PRUNED))


def params_of(trials: list[FrozenTrial], slot: int, baseline: Mapping[str, float]) -> dict[str, float]:
    """What a slot begins with: the parameters of a trial that died there, params.yaml's for the first; else the sampler's."""
    died = [trial.params for trial in trials if trial.user_attrs.get(SLOT) == slot and trial.params]
    return died[-1] if died else dict(baseline) if slot == 0 else {}


def slots(study: Study, count: int) -> list[FrozenTrial]:
    """The trial that fills each slot."""
    done = {trial.user_attrs[SLOT]: trial for trial in reversed(study.get_trials(deepcopy=False)) if is_done(trial)}
    return [done[slot] for slot in range(count)]
