"""Trials with numbered slots in an Optuna study: several processes share it, and no trial is done twice.

A study of n trials has the slots 0 to n - 1. A trial that is done - complete, pruned, or failed because its training
diverged - fills its slot. The running trial of a process that has exited is set to failed, which opens its slot again; the
next trial of that slot gets the same parameters and so resumes the unfinished training.

Whether a running trial's process has exited is known from its identifier on the same machine, from missing heartbeats on
others, and, for a process that was killed before it had left either, from the time for which nobody has claimed the trial.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from people.training.loop import Diverged
from stages.search import storage as storages
from stages.shared.project import file_lock, state
from stages.tracking.runs import describe, has_exited, process

FINISHED = "finished"  # an attribute of a study: its result is written
SLOT, PROCESS, REASON = "slot", "process", "reason"  # attributes of a trial
POLL_S = 2.0

Parameters = Callable[[Sequence[FrozenTrial], int], Mapping[str, Any]]


class SlotFilled(Exception):
    """An earlier trial has the slot of this one already."""


def open_study(
    storage: BaseStorage, key: str, title: str, directions: Sequence[StudyDirection], *, include_finished: bool = False
) -> Study:
    """The unfinished study with this key, or a new one: its name is its title, today's date, the key's beginning and a number.

    Machines that open it at the same time open the same one. With `include_finished` the newest is opened even if it is
    finished, so that a process that only helps starts no new study.
    """
    mark = f"#{key[:8]}-"
    numbered = {int(name.rpartition(mark)[2]): name for name in optuna.get_all_study_names(storage) if mark in name}
    newest = max(numbered, default=0)
    study = optuna.load_study(study_name=numbered[newest], storage=storage) if newest else None
    if study is None or (study.user_attrs.get(FINISHED) and not include_finished):
        name = f"{title}, {date.today().isoformat()} {mark}{newest + 1}"
        study = optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)
    return study


def run_slots(
    study: Study,
    count: int,
    parameters: Parameters,
    train: Callable[[Trial], float | Sequence[float]],
    log: Callable[[str], object] = print,
) -> None:
    """Run trials until every slot is filled, also those that other processes have begun; `log` is told who is waited for.

    `parameters(trials, slot)`: what the trial of a slot is enqueued with, after these trials.
    """
    watch, waits_for = storages.Watch(), ""
    while True:
        fail_abandoned_trials(study, watch)
        trials = study.get_trials(deepcopy=False)
        open_slots = set(range(count)) - {trial.user_attrs[SLOT] for trial in trials if is_done(trial)}
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
            abandoned = [enqueued(trial) for trial in trials if trial.user_attrs.get(SLOT) == slot and enqueued(trial)]
            study.enqueue_trial(abandoned[-1] if abandoned else dict(parameters(trials, slot)), user_attrs={SLOT: slot})
        if not run_trial(study, ask(study), train):
            log(f"{study.study_name}: this process was without a heartbeat for so long that others gave its trial up")


def ask(study: Study) -> Trial:
    """The next trial, for this process alone: on SQLite two that ask in the same moment would get the same one."""
    with file_lock(state("optuna-ask.lock")), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Heartbeat of storage is supposed")  # `storages.heartbeats` has them
        return study.ask()


def run_trial(study: Study, trial: Trial, train: Callable[[Trial], float | Sequence[float]]) -> bool:
    """Run a trial to its end, whatever that is; whether its end was recorded: others may have given it up meanwhile.

    An error other than divergence fails the trial, so that it is done again, and is raised. A trial that is interrupted stays
    as it is: others see that its process has exited.
    """
    values: float | Sequence[float] | None = None
    with storages.heartbeats(study._storage, trial._trial_id):
        try:
            claim_slot(study, trial)
            values, end = train(trial), TrialState.COMPLETE
        except optuna.TrialPruned:
            end = TrialState.PRUNED
        except SlotFilled:
            end = TrialState.FAIL
        except UpdateFinishedTrialError:
            return False
        except Diverged as error:
            trial.set_user_attr(REASON, str(error))
            end = TrialState.FAIL
        except Exception:
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            raise
        return study.tell(trial, values, state=end, skip_if_finished=True).state == end


def enqueued(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial was enqueued with, all of it: `params` has only what a process has asked for before it was killed."""
    return trial.system_attrs.get("fixed_params", trial.params)


def claim_slot(study: Study, trial: Trial) -> None:
    """Record this process as the trial's; `SlotFilled` if an earlier trial has its slot: two processes may enqueue the same."""
    trial.set_user_attr(PROCESS, process())
    slot = trial.user_attrs.get(SLOT)
    for existing in study.get_trials(deepcopy=False):
        is_earlier = existing.number < trial.number and (existing.state == TrialState.RUNNING or is_done(existing))
        if slot is None or (is_earlier and existing.user_attrs.get(SLOT) == slot):
            raise SlotFilled(f"slot {slot} belongs to another trial")


def fail_abandoned_trials(study: Study, watch: storages.Watch) -> None:
    """Set running trials of exited processes to failed: this machine's at once, another machine's without a heartbeat.

    Also those that no process has claimed for `GRACE_S` seconds of this process's clock.
    """
    has_heartbeats = is_heartbeat_enabled(study._storage)
    if has_heartbeats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        is_silent = watch.silent_s(trial) > storages.GRACE_S
        is_claimed = PROCESS in trial.user_attrs
        if (is_silent and not (is_claimed and has_heartbeats)) or (is_claimed and has_exited(trial.user_attrs[PROCESS])):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def running_trials(trials: Sequence[FrozenTrial]) -> str:
    """The running trials and their processes, in words."""
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    unclaimed = f"no process has claimed; it is given up after {storages.GRACE_S} s"
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


def slots(study: Study, count: int) -> list[FrozenTrial]:
    """The trials that fill the slots, in the order of the slots."""
    done = {trial.user_attrs[SLOT]: trial for trial in reversed(study.get_trials(deepcopy=False)) if is_done(trial)}
    return [done[slot] for slot in range(count)]
