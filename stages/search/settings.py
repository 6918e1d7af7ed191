"""A system's entry in the block `search` of params.yaml."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from people.config import build, check, named
from stages.shared.project import ERROR

LEAST_ERROR = 0.01
SCORE = "score"  # names the one objective that is maximised; every other objective is a validation error
FIXED = "fixed"
EQUAL, SINGLE_TASK = "equal", "single_task"
GRID = "grid"
SAMPLERS = ("tpe", "gp", "quasi_random", GRID, "random")


@dataclass(frozen=True)
class Median:
    """A trial is pruned when its best epoch so far is below the median of the other trials' at that epoch.

    Not before these numbers of other trials and of epochs.
    """

    name: str
    startup_trials: int
    warmup_epochs: int

    def __post_init__(self) -> None:
        rules = {
            "startup_trials": (self.startup_trials >= 0, "at least 0"),
            "warmup_epochs": (self.warmup_epochs >= 0, "at least 0"),
        }
        check("search.pruner.", self, rules)


@dataclass(frozen=True)
class Hyperband:
    """Successive halving (Li et al., JMLR 2018): of each bracket's trials one in `factor` goes on, from `min_epochs` on."""

    name: str
    min_epochs: int
    factor: int

    def __post_init__(self) -> None:
        rules = {"min_epochs": (self.min_epochs >= 1, "at least 1"), "factor": (self.factor >= 2, "at least 2")}
        check("search.pruner.", self, rules)


@dataclass(frozen=True)
class Unpruned:
    """Every trial is trained for all its epochs."""

    name: str


PRUNERS = {"median": Median, "hyperband": Hyperband, "none": Unpruned}


@dataclass(frozen=True)
class Finals:
    """What is trained to the end after the trials: the weights that were found, params.yaml's own, and those named in `also`.

    `seeds`: how many times each, from the pipeline's seed on; 0: nothing is, the search ends with its best trial.
    """

    seeds: int
    also: Sequence[str]

    def __post_init__(self) -> None:
        rules = {
            "seeds": (self.seeds >= 1 or (self.seeds == 0 and not self.also), "at least 1, or 0 where `also` names nothing"),
            "also": (not isinstance(self.also, str) and len(set(self.also)) == len(self.also), "a list of different names"),
        }
        check("search.finals.", self, rules)


@dataclass(frozen=True)
class Search:
    """How many trials of how many epochs are made, what they are to lower, who proposes them, and what is trained to the end.

    `objectives` are validation errors, all of which a trial is to lower, or `score` alone. `ranges` are [low, high] by the key
    of a number in the block objective; weights and margins that are not named have ranges that follow from params.yaml.
    `weightings` are the ways of weighting among which the sampler chooses: `fixed` has weights to be searched, others have
    all weights 1. `baselines` have a trial each: `equal` (all weights 1), `single_task` (the main task alone), or a way of
    weighting. `grid_points` is the number of values of each range where the sampler is `grid`.
    """

    trials: int
    epochs: int
    objectives: Sequence[str]
    sampler: str
    grid_points: int
    pruner: Any  # Median, Hyperband or Unpruned, or its block in params.yaml
    baselines: Sequence[str]
    weightings: Sequence[str]
    ranges: Mapping[str, Any]
    finals: Any  # Finals, or its block

    def __post_init__(self) -> None:
        if isinstance(self.pruner, Mapping):
            object.__setattr__(self, "pruner", named("search.pruner", self.pruner, PRUNERS))
        if isinstance(self.finals, Mapping):
            object.__setattr__(self, "finals", build(Finals, self.finals))
        rules = {
            "trials": (self.trials >= 1, "at least 1"),
            "epochs": (self.epochs >= 1, "at least 1"),
            "objectives": (_names(self.objectives) and len(self.objectives) > 0, "a list of validation errors, or [score]"),
            "sampler": (self.sampler in SAMPLERS, f"one of {', '.join(SAMPLERS)}"),
            "grid_points": (self.grid_points >= 2, "at least 2"),
            "baselines": (_names(self.baselines), "a list of different names"),
            "weightings": (_names(self.weightings) and len(self.weightings) > 0, "a list of different ways of weighting"),
            "ranges": (isinstance(self.ranges, Mapping), "a block of [low, high] by key, {} for none"),
        }
        check("search.", self, rules)
        if SCORE in self.objectives and len(self.objectives) > 1:
            raise ValueError(
                f"search.objectives must be validation errors, or {SCORE} alone, got {list(self.objectives)}; correct "
                "params.yaml"
            )
        for key, limits in self.ranges.items():
            if not _are_limits(limits):
                raise ValueError(f"search.ranges.{key} must be [low, high], 0 < low < high, got {limits}; correct params.yaml")
        if isinstance(self.pruner, Hyperband) and len(self.objectives) > 1:
            raise ValueError(
                "search.pruner: hyperband goes by one number and search.objectives has several; take median, or one objective"
            )
        if isinstance(self.pruner, Hyperband) and self.pruner.min_epochs > self.epochs:
            raise ValueError(
                f"search.pruner.min_epochs = {self.pruner.min_epochs} must not exceed search.epochs = {self.epochs}; "
                "correct params.yaml"
            )

    @property
    def is_single(self) -> bool:
        """Whether there is one objective, so that one trial is the best."""
        return len(self.objectives) == 1


def column(objective: str) -> str:
    """The name of an objective among the numbers of a validation: "score" or "error_<name>"."""
    return SCORE if objective == SCORE else f"{ERROR}{objective}"


def merit(search: Search, numbers: Mapping[str, float]) -> float:
    """How good a network is, by its validation: "score" and "error_<name>"; higher is better.

    With `search.objectives: [score]` the system's validation score. With validation errors minus their geometric mean, in which
    a relative change counts alike whatever an error's unit is; an error below 0.01 counts as 0.01, for halving what is next to
    nothing is worth next to nothing.
    """
    if SCORE in search.objectives:
        return float(numbers[SCORE])
    if absent := [name for name in search.objectives if column(name) not in numbers]:
        measured = sorted(name.removeprefix(ERROR) for name in numbers if name.startswith(ERROR))
        raise ValueError(
            f"search.objectives has {', '.join(absent)}, but this network's validation measures {', '.join(measured)}: it has "
            "no such task; correct search.objectives in params.yaml"
        )
    errors = [max(numbers[column(name)], LEAST_ERROR) for name in search.objectives]
    return -math.exp(sum(map(math.log, errors)) / len(errors))


def _are_limits(limits: Any) -> bool:
    if not isinstance(limits, Sequence) or len(limits) != 2:
        return False
    numbers = [value for value in limits if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return len(numbers) == 2 and 0 < numbers[0] < numbers[1] < math.inf


def _names(values: Any) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and len(set(values)) == len(values)
