"""What the next trial tries, and whether a running one is pruned: both follow from the other trials alone.

A sampler and a pruner of Optuna are asked about a study in memory, rebuilt from the trials that are known: nothing depends on
what a process did before, so that a study that was killed goes on with the same proposals, a trial without weights (another way
of weighting) misleads no sampler, and trials with several objectives can be pruned, which Optuna itself does not offer.
"""

import itertools
import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from stages.search.settings import FIXED, SCORE, Hyperband, Median, Search
from stages.search.slots import SLOT, is_done
from stages.search.space import Candidate, Ranges, Space

CHOICE = "weighting"  # a parameter of every trial
MERITS, VALUES = "merits", "values"  # attributes: the merit of each epoch, and the objectives' values at the best of them
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True),
    "gp": lambda seed: GPSampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
}


def propose(space: Space, trials: Sequence[FrozenTrial], slot: int, seed: int) -> Candidate:
    """The candidate of a slot: those that come first by their order, then the sampler's."""
    if slot < len(space.candidates):
        return space.candidates[slot]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "The balance properties")  # of a number of points that is no power of 2
        if space.search.sampler == "grid":
            return cell(space, slot - len(space.candidates))
        if space.search.sampler == "quasi_random":
            return point(space, slot - len(space.candidates), seed)
        return sampled(space, trials, seed * 10_000 + slot)


def sampled(space: Space, trials: Sequence[FrozenTrial], seed: int) -> Candidate:
    """What the sampler proposes after these trials: first the way of weighting, if there are several, then its numbers.

    Trials of other choices are left out where numbers are drawn. A pruned trial counts by the values that it had reached: they
    are no better than those that it would have reached.
    """
    choices = list(space.search.weightings)
    choice = choices[0]
    if len(choices) > 1:
        categories: dict[str, BaseDistribution] = {CHOICE: CategoricalDistribution(choices)}
        known = [trial for trial in trials if trial.params.get(CHOICE) in choices]
        choice = str(ask(space.search, categories, known, seed)[CHOICE])
    numbers = distributions({key: space.ranges[key] for key in space.keys(choice)})
    known = [trial for trial in trials if trial.params.get(CHOICE) == choice]
    return Candidate(choice, ask(space.search, numbers, known, seed) if numbers else {})


def ask(search: Search, space: dict[str, BaseDistribution], trials: Sequence[FrozenTrial], seed: int) -> dict[str, Any]:
    """What the sampler proposes for these parameters, from those of the trials that have them all."""
    study = optuna.create_study(directions=directions(search), sampler=SAMPLERS[search.sampler](seed))
    for trial in trials:
        is_running = trial.state == TrialState.RUNNING
        values = trial.values or trial.user_attrs.get(VALUES)
        if not space.keys() <= trial.params.keys() or not (is_running or values) or trial.state == TrialState.FAIL:
            continue
        study.add_trial(
            create_trial(
                state=TrialState.RUNNING if is_running else TrialState.COMPLETE,
                values=None if is_running else values,
                params={key: trial.params[key] for key in space},
                distributions=space,
            )
        )
    return study.ask(space).params


def directions(search: Search) -> list[StudyDirection]:
    """Whether each objective is to rise or to fall."""
    return [StudyDirection.MAXIMIZE if name == SCORE else StudyDirection.MINIMIZE for name in search.objectives]


def distributions(ranges: Ranges) -> dict[str, BaseDistribution]:
    """The log-uniform distribution of each range."""
    return {key: FloatDistribution(low, high, log=True) for key, (low, high) in ranges.items()}


def cell(space: Space, number: int) -> Candidate:
    """A cell of the grid: all combinations of evenly spaced values on logarithmic scales, for each way of weighting."""
    cells = [
        Candidate(choice, dict(zip(space.keys(choice), values, strict=True)))
        for choice in space.search.weightings
        for values in itertools.product(
            *(np.geomspace(*space.ranges[key], space.search.grid_points).tolist() for key in space.keys(choice))
        )
    ]
    return cells[number]


def point(space: Space, number: int, seed: int) -> Candidate:
    """A point of the scrambled Sobol sequence with this seed, on logarithmic scales; ways of weighting take turns."""
    from scipy.stats import qmc  # takes a second to import

    choices = list(space.search.weightings)
    choice, number = choices[number % len(choices)], number // len(choices)
    keys = space.keys(choice)
    if not keys:
        return Candidate(choice, {})
    low, high = (np.log([space.ranges[key][side] for key in keys]) for side in (0, 1))
    unit = qmc.Sobol(len(keys), rng=np.random.default_rng(seed)).random(number + 1)[-1]
    return Candidate(choice, dict(zip(keys, np.exp(low + unit * (high - low)).tolist(), strict=True)))


def is_pruned(search: Search, trials: Sequence[FrozenTrial], number: int, merits: Sequence[float]) -> bool:
    """Whether the running trial of this number, whose epochs had these merits, is to end; `trials` are all of the study."""
    if not isinstance(search.pruner, Median):
        return False
    pruner = MedianPruner(search.pruner.startup_trials, search.pruner.warmup_epochs)
    study = optuna.create_study(direction="maximize")
    for trial in sorted(trials, key=lambda trial: trial.number):
        own = trial.number == number
        values = dict(enumerate(merits if own else trial.user_attrs.get(MERITS, []), start=0))
        is_complete = trial.state == TrialState.COMPLETE and bool(values) and not own
        state = TrialState.RUNNING if own else TrialState.COMPLETE if is_complete else TrialState.PRUNED
        best = max(values.values()) if is_complete else None
        study.add_trial(create_trial(state=state, value=best, intermediate_values=values))
    return pruner.prune(study, study.get_trials(deepcopy=False)[number])


def own_pruner(search: Search) -> HyperbandPruner | NopPruner:
    """Optuna's own pruner, which a study with one objective asks itself: Hyperband keeps notes of its own in the study."""
    settings = search.pruner
    if isinstance(settings, Hyperband):
        return SlotHyperband(settings.min_epochs, search.epochs, settings.factor)
    return NopPruner()


class SlotHyperband(HyperbandPruner):
    """Hyperband in which a trial's bracket follows from its slot alone.

    Optuna takes it from the study's name, which has a date, and from the trial's number, which a killed trial moves on; a trial
    that was given up would also count beside the one that goes on in its slot.
    """

    def _get_bracket_id(self, study: Any, trial: Any) -> int:
        if trial.state == TrialState.FAIL and not is_done(trial):
            return -1
        slot: Any = SimpleNamespace(number=trial.user_attrs.get(SLOT, trial.number))
        name: Any = SimpleNamespace(study_name="")
        return super()._get_bracket_id(name, slot)


def parameters(candidate: Candidate) -> dict[str, Any]:
    """What a trial of the candidate is enqueued with."""
    return {CHOICE: candidate.choice, **candidate.values}


def suggest(space: Space, trial: optuna.Trial) -> Candidate:
    """The candidate that a trial was enqueued with, its parameters made known to the study."""
    choice = trial.suggest_categorical(CHOICE, space.choices)
    for key in space.keys(choice):
        low, high = space.ranges[key]
        trial.suggest_float(key, low, high, log=True)
    return candidate_of(trial)


def candidate_of(trial: FrozenTrial | optuna.Trial) -> Candidate:
    """The candidate of a trial whose parameters are known."""
    values = {key: value for key, value in trial.params.items() if key != CHOICE}
    return Candidate(str(trial.params.get(CHOICE, FIXED)), values, str(trial.user_attrs.get("weights", "")))
