"""An Optuna study whose trials have numbered slots: several processes share it, and no trial is done twice.

A study of n trials has the slots 0 to n - 1. A trial that is done - complete, pruned, or failed because its training
diverged - fills its slot. The running trial of a process that has exited is set to failed, which opens its slot again; the
next trial of that slot gets the same parameters and so resumes the unfinished training. The sampler is seeded by the slot, so
that a study that was killed continues with the same proposals.

Whether a running trial's process has exited is known from its identifier on the same machine, from missing heartbeats on
others, and, for a process that was killed before it had left either, from the time for which nobody has claimed the trial.
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
from stages.shared.databases import optuna_database
from stages.shared.tracking import describe, has_exited, process

SAMPLERS: dict[str, Callable[..., BaseSampler]] = {"tpe": TPESampler, "gp": GPSampler, "random": RandomSampler}
SLOT, PROCESS, REASON, FINISHED = "slot", "process", "reason", "finished"
HEARTBEAT_S, GRACE_S, POLL_S = 20, 90, 2.0  # a process on another machine has exited if its heartbeat is older than GRACE_S


class SlotFilled(Exception):
    """An earlier trial has the slot of this one already."""


@dataclass(frozen=True)
class Pruner:
    """A trial is pruned when its score is below the median of the other trials' at that epoch; not before these numbers."""

    startup_trials: int
    warmup_epochs: int


@dataclass(frozen=True)
class Search:
    """The number of trials and their epochs, and the ranges of the searched values of the objective (log-uniform)."""

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
        """The searched values as they are in params.yaml, which the first trial has. A key whose value is a word, such as
        `learned`, is left out: the sampler chooses its number.
        """
        present = {key: value_at(objective, key) for key in self.ranges}
        values: dict[str, float] = {key: value for key, value in present.items() if not isinstance(value, str)}
        for key, value in values.items():
            low, high = self.ranges[key]
            if not low <= value <= high:
                raise ValueError(
                    f"objective.{key} = {value} must lie in search.ranges.{key} = [{low}, {high}], for the first trial is "
                    "params.yaml's own; widen the range, or leave this key out of the search"
                )
        return values


def value_at(block: Mapping[str, Any], key: str) -> float | str:
    """The number or the word at a dotted key."""
    value: Any = block
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            present = ", ".join(map(str, value)) if isinstance(value, Mapping) else repr(value)
            raise ValueError(f"search.ranges.{key}: the objective has no {name!r} there but {present}; correct params.yaml")
        value = value[name]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"search.ranges.{key}: a number can be searched, objective.{key} is {value!r}; correct params.yaml")
    return value if isinstance(value, str) else float(value)


def nested_blocks(values: Mapping[str, float]) -> dict[str, Any]:
    """Values of dotted keys as nested blocks."""
    blocks: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = key.split(".")
        block = blocks
        for parent in parents:
            block = block.setdefault(parent, {})
        block[leaf] = value
    return blocks


def open_study(name: str, search: Search, seed: int, *, include_finished: bool = False) -> Study:
    """The unfinished study of this name, or a new one; a study's name ends with its number, from 1.

    With `include_finished` the newest is opened even if it is finished, so that a process that only helps starts no new study.
    """
    url = optuna_database()
    engine_kwargs = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the heartbeat is experimental
        storage = optuna.storages.RDBStorage(
            url, engine_kwargs=engine_kwargs, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S
        )
    names = [study for study in optuna.get_all_study_names(storage) if study.rpartition("-")[0] == name]
    newest = max((int(study.rpartition("-")[2]) for study in names), default=0)
    finished = newest > 0 and optuna.load_study(study_name=f"{name}-{newest}", storage=storage).user_attrs.get(FINISHED)
    if newest == 0 or (finished and not include_finished):
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
    """A sampler with a seed for each slot, so that proposals do not depend on what its process did before."""

    def __init__(self, kind: str, seed: int) -> None:
        self.kind, self.seed = kind, seed
        self._newest: tuple[int, BaseSampler] | None = None

    def _sampler(self, trial: FrozenTrial) -> BaseSampler:
        if self._newest is None or self._newest[0] != trial.number:
            self._newest = trial.number, SAMPLERS[self.kind](seed=self.seed * 10_000 + trial.user_attrs.get(SLOT, 0))
        return self._newest[1]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self._sampler(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler(trial).sample_independent(study, trial, param_name, param_distribution)


def run_trials(
    study: Study,
    search: Search,
    baseline: Mapping[str, float],
    train: Callable[[Trial], float],
    log: Callable[[str], object] = print,
) -> None:
    """Run trials until every slot is filled, also those that other processes have begun; `log` is told who is waited for."""
    unclaimed_since_s: dict[int, float] = {}
    waits_for = ""

    def objective(trial: Trial) -> float:
        claim_slot(study, trial)
        for key, (low, high) in search.ranges.items():
            trial.suggest_float(key, low, high, log=True)
        try:
            return train(trial)
        except Diverged as error:
            trial.set_user_attr(REASON, str(error))
            raise

    while True:
        fail_abandoned_trials(study, unclaimed_since_s)
        trials = study.get_trials(deepcopy=False)
        open_slots = set(range(search.trials)) - {trial.user_attrs[SLOT] for trial in trials if is_done(trial)}
        if not open_slots:
            return
        available = open_slots - {trial.user_attrs.get(SLOT) for trial in trials if trial.state == TrialState.RUNNING}
        if not available:
            if (waits := running_trials(trials)) != waits_for:
                log(f"{study.study_name} waits for {waits}")
            waits_for = waits
            time.sleep(POLL_S)
            continue
        if not any(trial.state == TrialState.WAITING for trial in trials):
            slot = min(available)
            study.enqueue_trial(initial_params(trials, slot, baseline), user_attrs={SLOT: slot})
        study.optimize(objective, n_trials=1, catch=(Diverged, SlotFilled))


def claim_slot(study: Study, trial: Trial) -> None:
    """Record this process as the trial's; `SlotFilled` if an earlier trial has its slot: two processes may enqueue the same.

    The heartbeat comes first: its own thread may not have begun, and a trial without one is never stale for Optuna.
    """
    study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    trial.set_user_attr(PROCESS, process())
    slot = trial.user_attrs.get(SLOT)
    for existing in study.get_trials(deepcopy=False):
        is_earlier = existing.number < trial.number and (existing.state == TrialState.RUNNING or is_done(existing))
        if slot is None or (is_earlier and existing.user_attrs.get(SLOT) == slot):
            raise SlotFilled(f"slot {slot} belongs to another trial")


def fail_abandoned_trials(study: Study, unclaimed_since_s: dict[int, float]) -> None:
    """Set running trials of exited processes to failed: this machine's at once, another machine's without a heartbeat.

    Also those that no process has claimed for `GRACE_S` seconds of this process's clock; the dictionary holds since when.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    now_s = time.monotonic()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if PROCESS in trial.user_attrs:
            is_abandoned = has_exited(trial.user_attrs[PROCESS])
        else:
            is_abandoned = now_s - unclaimed_since_s.setdefault(trial.number, now_s) > GRACE_S
        if is_abandoned:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def running_trials(trials: list[FrozenTrial]) -> str:
    """The running trials and their processes, in words."""
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    unclaimed = f"no process has claimed; it is given up after {GRACE_S} s"
    return "; ".join(
        f"trial {trial.user_attrs.get(SLOT, '?')}, which {describe(trial.user_attrs[PROCESS])} runs"
        if PROCESS in trial.user_attrs
        else f"trial {trial.user_attrs.get(SLOT, '?')}, which {unclaimed}"
        for trial in running
    )


def is_done(trial: FrozenTrial) -> bool:
    """Whether the trial fills its slot."""
    diverged = trial.state == TrialState.FAIL and REASON in trial.user_attrs
    return SLOT in trial.user_attrs and (diverged or trial.state in (TrialState.COMPLETE, TrialState.PRUNED))


def initial_params(trials: list[FrozenTrial], slot: int, baseline: Mapping[str, float]) -> dict[str, float]:
    """Parameters of a slot's next trial: an abandoned trial's, else the baseline in slot 0, else none: the sampler's."""
    abandoned = [trial.params for trial in trials if trial.user_attrs.get(SLOT) == slot and trial.params]
    return abandoned[-1] if abandoned else dict(baseline) if slot == 0 else {}


def slots(study: Study, count: int) -> list[FrozenTrial]:
    """The trials that fill the slots, in the order of the slots."""
    done = {trial.user_attrs[SLOT]: trial for trial in reversed(study.get_trials(deepcopy=False)) if is_done(trial)}
    return [done[slot] for slot in range(count)]
