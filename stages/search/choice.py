"""How good a trial is, which trials no other one surpasses, and which of them is chosen.

The merit (`stages.search.settings.merit`) prunes trials and chooses among those of the Pareto front: the trials than which no
other has all errors as low and one lower.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState, create_trial

from stages.search.proposals import CHOICE, MERITS, VALUES, distributions
from stages.search.settings import FIXED, SCORE, Search, column, merit
from stages.search.slots import SLOT
from stages.search.space import Space

MIN_TRIALS = 8  # complete trials with fixed weights, for importances that say anything


def values(search: Search, numbers: Mapping[str, float]) -> list[float]:
    """The values of a trial's objectives, of "score" and "error_<name>" of the epoch that is kept."""
    return [float(numbers[column(name)]) for name in search.objectives]


def merit_of(search: Search, trial: FrozenTrial) -> float:
    """The merit of a complete trial's kept epoch."""
    return merit_at(search, trial.values)


def merit_at(search: Search, reached: Sequence[float]) -> float:
    """The merit of the objectives' values."""
    return merit(search, dict(zip(map(column, search.objectives), reached, strict=True)))


def pareto_front(search: Search, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete trials than which no other is at least as good in every objective and better in one, in their order."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    sign = -1.0 if SCORE in search.objectives else 1.0
    points = np.array([trial.values for trial in complete]) * sign
    return [
        trial
        for trial, mine in zip(complete, points, strict=True)
        if not ((points <= mine).all(1) & (points < mine).any(1)).any()
    ]


def best_trial(search: Search, trials: Sequence[FrozenTrial], position: Mapping[int, int], reason: str) -> FrozenTrial:
    """The trial of the highest merit on the front, the first of equals by `position` (of its number).

    An error says why no trial is complete, with `reason`: what ended each.
    """
    front = pareto_front(search, trials)
    if not front:
        raise ValueError(f"no trial is complete; narrow search.ranges. The reasons:\n{reason}")
    return max(front, key=lambda trial: (merit_of(search, trial), -position[trial.number]))


def importances(space: Space, trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """How much each searched number decides of the merit: PED-ANOVA (Watanabe et al., IJCAI 2023) over the complete trials.

    Columns `parameter` and `importance`, which sum to 1; no rows where fewer than `MIN_TRIALS` complete trials have fixed
    weights, or all of them the same merit. Trials that were pruned say nothing of what they would have come to: they are left
    out.
    """
    known = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.params.get(CHOICE) == FIXED]
    keys = space.keys(FIXED)
    shares: dict[str, float] = {}
    differ = len({merit_of(space.search, trial) for trial in known}) > 1
    if len(known) >= MIN_TRIALS and len(keys) > 1 and differ:
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # imports scikit-learn's forests

        study = optuna.create_study(direction="maximize")
        space_of_keys = distributions({key: space.ranges[key] for key in keys})
        for trial in known:
            params = {key: trial.params[key] for key in keys}
            study.add_trial(create_trial(value=merit_of(space.search, trial), params=params, distributions=space_of_keys))
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return pd.DataFrame({"parameter": list(shares), "importance": list(shares.values())})


def trials_table(space: Space, trials: Sequence[FrozenTrial], best: FrozenTrial) -> pd.DataFrame:
    """A row for each trial, in the order of the slots.

    `weights`: whose weights the first trials have; `state`; `weighting` and the searched numbers, where the trial has them;
    `epochs`; the objectives at its kept epoch and their `merit`; `front`: whether no other trial surpasses it; `chosen`.
    """
    front = {trial.number for trial in pareto_front(space.search, trials)}
    rows = []
    for trial in trials:
        reached = trial.user_attrs.get(VALUES) or [float("nan")] * len(space.search.objectives)
        rows.append(
            {
                "number": trial.user_attrs[SLOT],
                "state": trial.state.name.lower(),
                "weights": trial.user_attrs.get("weights", ""),
                "weighting": trial.params.get(CHOICE, ""),
                **{key: trial.params.get(key, float("nan")) for key in space.ranges},
                "epochs": len(trial.user_attrs.get(MERITS, [])),
                **dict(zip(space.search.objectives, reached, strict=True)),
                "merit": merit_at(space.search, reached),
                "front": trial.number in front,
                "chosen": trial.number == best.number,
            }
        )
    return pd.DataFrame(rows)
