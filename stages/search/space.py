"""What of a system's objective is searched: its weights and margins, each in a range, and the trials that come first.

The space follows from the objective. Searched are the weight λ of every term but the main one (only ratios matter) that is
trained together with another, and every margin, log-uniformly: a weight from a tenth to ten times its value in params.yaml, a
margin from a quarter to four times, both widened to what the paper prints. `search.ranges` gives other ranges, and further
numbers of the objective. A weight of 0 is a task that is not there, and stays 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from people import systems
from people.config import Block, build
from people.training.system import Phase
from people.training.validation_errors import COMBINED
from stages.search.settings import EQUAL, FIXED, GRID, SCORE, SINGLE_TASK, Search
from stages.shared.weights_comparison import PARAMS
from stages.training.problem import merged, named_phases, objective_of, refuse_overridden

WEIGHT_FACTOR, MARGIN_FACTOR = 10.0, 4.0
LAMBDA, MARGIN = "lambda", "margin"
PAPER = "paper"

Ranges = dict[str, tuple[float, float]]


class Candidate(NamedTuple):
    """Weights that a trial tries.

    `choice`: `fixed`, where `values` has a number for every key of the space; the name of a baseline or of a way of weighting,
    where it has those that are no weights. `title`: whose they are; empty for what the sampler proposes.
    """

    choice: str
    values: dict[str, float]
    title: str = ""


class Space:
    """The searched keys of one system's objective, and the candidates before those that the sampler proposes."""

    def __init__(
        self, search: Search, objective: Block, published: Mapping[str, Any], main: str, phases: Sequence[Phase] = ()
    ) -> None:
        self.search, self.objective_block, self.published, self.main = search, objective, published, main
        for key in search.ranges:
            refuse_overridden(("objective", *key.split(".")), phases, f"search.ranges.{key}")
        self.weights = [key for key in searched_weights(objective, main, phases) if follows(key, phases)]
        margins = [key for key in dotted(objective.get(MARGIN) or {}, MARGIN) if follows(key, phases)]
        self.ranges: Ranges = {key: self._range(key) for key in [*self.weights, *margins]}
        self.ranges |= {key: (float(low), float(high)) for key, (low, high) in search.ranges.items()}
        self.weights = [key for key in self.ranges if key.startswith(f"{LAMBDA}.")]
        own = {key: value_at(objective, key) for key in self.ranges}
        if len(search.weightings) < 2 and not self.keys(search.weightings[0]):
            reason = "the objective has no margin and no two terms that are trained together"
            if self.ranges:
                reason = f"with search.weightings: [{search.weightings[0]}] no weight is, and the objective has no margin"
            raise ValueError(f"there is nothing to search: {reason}; name a number of it in search.ranges")
        self.candidates = self._candidates(own)
        for candidate in self.candidates:
            self._refuse_outside(candidate)
        if search.trials < len(self.candidates):
            names = ", ".join(candidate.title for candidate in self.candidates)
            raise ValueError(
                f"search.trials = {search.trials} must be at least {len(self.candidates)}, a trial each for {names}; correct "
                "params.yaml"
            )
        self._refuse_trials_beyond_grid()

    def _refuse_trials_beyond_grid(self) -> None:
        cells = sum(self.search.grid_points ** len(self.keys(choice)) for choice in self.search.weightings)
        asked = self.search.trials - len(self.candidates)
        if self.search.sampler == GRID and asked > cells:
            raise ValueError(
                f"search.trials asks for {asked} trials of a grid of {cells} cells, after {len(self.candidates)} trials of "
                "named weights; lower search.trials, or raise search.grid_points"
            )

    @property
    def choices(self) -> list[str]:
        """Every choice that a trial can have, in a fixed order."""
        return list(dict.fromkeys([*(c.choice for c in self.candidates), *self.search.weightings]))

    def keys(self, choice: str) -> list[str]:
        """The searched keys of a choice: all where weights are fixed, otherwise those that are no weights."""
        return [key for key in self.ranges if choice == FIXED or key not in self.weights]

    def objective(self, choice: str, values: Mapping[str, float]) -> Block:
        """The objective block of a candidate."""
        block = self.objective_block
        if choice not in (PARAMS, PAPER):
            block = merged(block, self._changes(choice), "objective")
        if choice == PAPER:
            block = merged(block, dict(self.published), "objective")
        return merged(block, nested_blocks(values), "objective")

    def named(self, name: str) -> Candidate:
        """The weights of this name: params.yaml's own, the paper's, a baseline's or a way of weighting, with their margins."""
        own = {key: value_at(self.objective_block, key) for key in self.ranges}
        if name == PARAMS:
            return self._own(own)
        if name == PAPER:
            return self._paper(own)
        if name == FIXED:
            return Candidate(FIXED, own, name)
        return Candidate(name, {key: own[key] for key in self.keys(name)}, name)

    def _candidates(self, own: dict[str, float]) -> list[Candidate]:
        first = [self._own(own)]
        if self.published and self.objective(PAPER, {}) != self.objective_block:
            first.insert(0, self._paper(own))
        return [*first, *(self.named(name) for name in self.search.baselines)]

    def _own(self, own: dict[str, float]) -> Candidate:
        choice = FIXED if weighting_of(self.objective_block) == FIXED else PARAMS
        return Candidate(choice, {key: own[key] for key in self.keys(choice)}, PARAMS)

    def _paper(self, own: dict[str, float]) -> Candidate:
        if not self.published:
            raise ValueError("the paper prints no weights; take `paper` out of search.finals.also")
        block = self.objective(PAPER, {})
        choice = FIXED if weighting_of(block) == FIXED else PAPER
        return Candidate(choice, {key: value_at(block, key) for key in self.keys(choice)}, PAPER)

    def _changes(self, choice: str) -> Block:
        weighting = {"weighting": {"name": FIXED if choice in (EQUAL, SINGLE_TASK) else choice}}
        weighting = weighting if "weighting" in self.objective_block else {}
        present = {task: value for task, value in self.objective_block[LAMBDA].items() if value}
        if choice == FIXED:
            return weighting
        if choice == SINGLE_TASK:
            others = [task for task in present if task != self.main]
            return {**weighting, LAMBDA: dict.fromkeys(others, 0.0)}
        return {**weighting, LAMBDA: dict.fromkeys(present, 1.0)}

    def _range(self, key: str) -> tuple[float, float]:
        factor = WEIGHT_FACTOR if key.startswith(LAMBDA) else MARGIN_FACTOR
        values = [value_at(self.objective_block, key)]
        if self.published:
            values.append(value_at(self.objective(PAPER, {}), key))
        values = [value for value in values if value > 0]
        return min(values) / factor, max(values) * factor

    def _refuse_outside(self, candidate: Candidate) -> None:
        for key, value in candidate.values.items():
            low, high = self.ranges[key]
            if value == 0:
                raise ValueError(
                    f"objective.{key} of {candidate.title} is 0, which lies in no range of numbers above 0: give it a value in "
                    f"params.yaml, or take {key} out of search.ranges"
                )
            if not low <= value <= high:
                raise ValueError(
                    f"objective.{key} = {value} of {candidate.title} must lie in search.ranges.{key} = [{low}, {high}], for it "
                    "has one of the first trials; widen the range"
                )


def search_space(system: str, search: Search, block: Block) -> Space:
    """The space of a system by its block in params.yaml; what cannot be trained or judged is refused before anything runs."""
    objective, published = systems.find(system, "objective"), systems.find(system, "paper").OBJECTIVE
    if unknown := [name for name in search.objectives if name not in (SCORE, *objective.ERRORS)]:
        raise ValueError(
            f"search.objectives must be among {', '.join(objective.ERRORS)}, or [{SCORE}], got {', '.join(unknown)}; correct "
            "params.yaml"
        )
    phases = named_phases(block["training"].get("phases") or [])
    space = Space(search, block["objective"], published, objective.MAIN, phases)
    finals = [space.named(name) for name in search.finals.also]
    for candidate in [*space.candidates, *finals, *(space.named(name) for name in search.weightings)]:
        trained = space.objective(candidate.choice, candidate.values)
        build(objective.Config, trained)
        absent = [name for name in search.objectives if trained[LAMBDA].get(name) == 0]
        if absent and candidate not in finals:
            raise ValueError(
                f"{candidate.title} leaves out {', '.join(absent)}, which search.objectives names; take it out of "
                "search.baselines (search.finals.also can have it), or search by other objectives"
            )
        refuse_phase_without_task(candidate.title or candidate.choice, trained, block["objective"], phases, objective.MAIN)
        is_combined = objective.MAIN_ERROR == COMBINED and {SCORE, COMBINED} & set(search.objectives)
        if is_combined and candidate not in finals and tasks(trained) != tasks(block["objective"]):
            raise ValueError(
                f"{candidate.title} has other tasks, and the validation score of {system} is that of all tasks together: the "
                "two cannot be compared; take it out of search.baselines (search.finals.also can have it), or search by errors "
                "of single tasks"
            )
    return space


def tasks(objective: Block) -> list[str]:
    """The terms of an objective whose weight is not 0."""
    return [task for task, weight in objective[LAMBDA].items() if weight]


def refuse_phase_without_task(title: str, trained: Block, own: Block, phases: Sequence[Phase], main: str) -> None:
    """Refuse weights that leave a phase nothing to train that has a task with params.yaml's own."""
    for phase in phases if main in own[LAMBDA] else ():  # a main task without a weight is in every phase
        if tasks(objective_of(phase, own)) and not tasks(objective_of(phase, trained)):
            raise ValueError(
                f"{title} leaves phase {phase.name} of training.phases without a task; take it out of search.baselines and "
                "search.finals.also"
            )


def searched_weights(objective: Block, main: str, phases: Sequence[Phase]) -> list[str]:
    """The keys of the weights that matter: of terms but the main one that are trained together with another term."""
    present = [task for task, value in (objective.get(LAMBDA) or {}).items() if value]
    together = [[task for task in present if not phase.tasks or task in phase.tasks] for phase in phases] or [present]
    has_own_weight = main in (objective.get(LAMBDA) or {})
    counted = [tasks for tasks in together if len(tasks) + (not has_own_weight) > 1]
    return [f"{LAMBDA}.{task}" for task in present if task != main and any(task in tasks for tasks in counted)]


def follows(key: str, phases: Sequence[Phase]) -> bool:
    """Whether every phase takes this value from the block objective."""
    try:
        refuse_overridden(("objective", *key.split(".")), phases, key)
    except ValueError:
        return False
    return True


def weighting_of(objective: Block) -> str:
    """The name of the way of weighting in a block objective."""
    return str(objective.get("weighting", {"name": FIXED})["name"])


def dotted(block: Mapping[str, Any], prefix: str) -> list[str]:
    """The keys of a block's positive numbers, after a prefix."""
    return [
        f"{prefix}.{key}"
        for key, value in block.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    ]


def value_at(block: Mapping[str, Any], key: str) -> float:
    """The number at a dotted key."""
    value: Any = block
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            present = ", ".join(map(str, value)) if isinstance(value, Mapping) else repr(value)
            raise ValueError(f"search.ranges.{key}: the objective has no {name!r} there but {present}; correct params.yaml")
        value = value[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"search.ranges.{key}: a number can be searched, objective.{key} is {value!r}; correct params.yaml")
    return float(value)


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
