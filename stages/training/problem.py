"""A system's trainings, as its block in params.yaml describes them: what train, compare and tune start from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from people import systems
from people.config import Block, build
from people.storage import facts_digest
from people.storage.serialization import serialize
from people.storage.store import stores_digest
from people.training.loop import Epoch, Training, refuse_several_devices
from people.training.system import Phase, Problem, Samples
from people.training.train_config import Config
from stages.shared.project import params

PARTS = ("data", "model", "objective")
SPLITS = ("train", "validation")


class Trainings:
    """The trainings of one system, on the stores that it reads: as params.yaml has them, or with changes laid over it.

    A split is opened once for equal data and tasks, however many trainings use it.
    """

    def __init__(self, system: str) -> None:
        self.system, self.block = system, params("systems", system)
        self.reads = {slot: Path(path) for slot, path in self.block["reads"].items()}
        self.data_digest = stores_digest(self.reads)
        self._opened: dict[str, Any] = {}

    @property
    def config(self) -> Config:
        """The block training, without its phases: on which devices they all run."""
        return train_config(self._common)

    @property
    def listed_phases(self) -> list[Phase]:
        """The phases as `training.phases` lists them."""
        return named_phases(self.block["training"].get("phases") or [])

    @property
    def facts(self) -> Block:
        """The blocks from which a training follows, as they are in params.yaml."""
        return {part: self.block[part] for part in (*PARTS, "training")}

    def phases(
        self, changes: Mapping[str, Any] | None = None, *, changed_by: str = "a variant", **training: Any
    ) -> list[Training]:
        """A problem and its training configuration for each phase; one, where `training.phases` lists none.

        `changes` are laid over the blocks data, model and objective, `training` over the block training of every phase;
        `changed_by` says in an error where the changes are from.
        """
        blocks = merged({part: self.block[part] for part in PARTS}, dict(changes or {}), self.system)
        phases = self.listed_phases
        for path in leaves(changes or {}):
            refuse_overridden(path, phases, changed_by)
        objectives = [objective_of(phase, blocks["objective"]) for phase in phases]
        tasks_of_phases = self._tasks(objectives)
        all_tasks = list(dict.fromkeys(task for tasks in tasks_of_phases for task in tasks))
        spec, statistics = self._facts(blocks["data"], all_tasks)
        build(systems.find(self.system, "model").Config, blocks["model"])
        validated = [*tasks_of_phases[:-1], all_tasks]
        trainings = [
            Training(
                self._problem(
                    phase, {**blocks, "objective": objective}, dict(zip(SPLITS, tasks, strict=True)), spec, statistics
                ),
                train_config({**self._common, **(phase.training or {}), **training}),
            )
            for phase, objective, *tasks in zip(phases, objectives, tasks_of_phases, validated, strict=True)
        ]
        for each in trainings:
            refuse_idle_stopping(each)
            refuse_gradients_on_several(each)
        return trainings

    @property
    def _common(self) -> Block:
        return {name: value for name, value in self.block["training"].items() if name != "phases"}

    def _problem(self, phase: Phase, blocks: Block, tasks: Mapping[str, Sequence[str]], spec: Any, statistics: Any) -> Problem:
        data = merged(blocks["data"], dict(phase.data or {}), f"{phase.name}.data")
        train, validation = (self._samples(data, split, tasks[split]) for split in SPLITS)
        own_spec = systems.find(self.system, "data").spec(train)
        if changed := [name for name, value in own_spec.items() if value != spec[name]]:
            raise ValueError(
                f"training.phases, {phase.name}: its data have another {changed[0]} than the block data, by which the network "
                f"is built ({own_spec[changed[0]]} and {spec[changed[0]]}); correct params.yaml"
            )
        return Problem(
            system=self.system,
            model=systems.find(self.system, "model"),
            objective=systems.find(self.system, "objective"),
            config={**blocks, "data": data},
            train=train,
            validation=validation,
            spec=spec,
            statistics=statistics,
            data_digest=self.data_digest,
            phase=phase.name,
            learns=tuple(phase.learns),
        )

    def _tasks(self, objectives: Sequence[Block]) -> list[list[str]]:
        """The tasks of each phase; the network has the heads of all of them throughout."""
        config = systems.find(self.system, "objective").Config
        tasks = [list(build(config, block).tasks) for block in objectives]
        if not all(tasks):
            raise ValueError(
                f"{self.system}: phase {tasks.index([]) + 1} has no task, all its weights are 0; correct params.yaml"
            )
        return tasks

    def _facts(self, data: Block, tasks: Sequence[str]) -> tuple[Any, Any]:
        """Spec and statistics of the training split, by the system's own data block."""
        key = facts_digest(data=data, tasks=tasks, facts=True)
        if key not in self._opened:
            train, module = self._samples(data, "train", tasks), systems.find(self.system, "data")
            self._opened[key] = module.spec(train) | {"tasks": list(tasks)}, module.statistics(train)
        return self._opened[key]

    def _samples(self, data: Block, split: str, tasks: Sequence[str]) -> Samples:
        key = facts_digest(data=data, tasks=tasks, split=split)
        if key not in self._opened:
            module = systems.find(self.system, "data")
            self._opened[key] = module.open_samples(self.reads, build(module.Config, data), split, tasks)
        return self._opened[key]


def named_phases(blocks: Sequence[Block]) -> list[Phase]:
    """The phases that `training.phases` lists, each with a name of its own; one without a name where it lists none."""
    phases = [build(Phase, block) for block in blocks]
    names = [phase.name for phase in phases]
    if len(set(names)) < len(names) or Phase.SINGLE in names:
        raise ValueError(f"training.phases must have a name each, and no two the same, got {names}; correct params.yaml")
    return phases or [Phase(Phase.SINGLE)]


def objective_of(phase: Phase, block: Block) -> Block:
    """The block objective in a phase: with the phase's own values, and the weight of every task that it does not name at 0."""
    where = f"training.phases, {phase.name}: "
    block = merged(block, dict(phase.objective or {}), f"{where}objective")
    weights = block.get("lambda") or {}
    if unknown := [task for task in phase.tasks if task not in weights]:
        raise ValueError(f"{where}tasks must be among {', '.join(weights)}, got {', '.join(unknown)}; correct params.yaml")
    if not phase.tasks:
        return block
    return {**block, "lambda": {task: weight if task in phase.tasks else 0.0 for task, weight in weights.items()}}


def refuse_overridden(path: Sequence[str], phases: Sequence[Phase], changed_by: str) -> None:
    """Refuse to change a value in whose place a phase has its own: there the change would do nothing, and nobody would notice.

    A weight of 0 leaves a task out of a phase: the change may then be for the other phases, if there are any.
    """
    name, blocks = ".".join(path), {phase.name: {"data": phase.data, "objective": phase.objective} for phase in phases}
    own = {phase: value for phase, block in blocks.items() for value in values_at(block, path)}
    own |= {phase: value for phase, block in blocks.items() for value in values_at(block, (*path[:-1], "name"))}
    if path[:2] == ("objective", "lambda"):
        own |= {phase.name: 0.0 for phase in phases if phase.tasks and path[2] not in phase.tasks}
        weighted = {phase: value for phase, value in own.items() if value != 0}
        own = weighted if len(own) < len(phases) else weighted or own
    if own:
        phase, value = next(iter(own.items()))
        raise ValueError(
            f"{changed_by} changes {name}, but phase {phase} of training.phases has its own, {value}, and would not follow; "
            f"take {name} out of one of the two"
        )


def refuse_idle_stopping(training: Training) -> None:
    """Refuse to stop tasks by their errors where no auxiliary task has one; without auxiliary tasks there is none to stop."""
    problem, config = training
    objective = problem.objective
    tasks = build(objective.Config, problem.config["objective"]).tasks
    auxiliary = [task for task in tasks if task not in (objective.MAIN, objective.MAIN_ERROR)]
    if config.task_stopping and auxiliary and not set(auxiliary) & set(objective.ERRORS):
        raise ValueError(
            f"training.task_stopping would stop nothing in {problem.system}: a task stops by its validation error, and the "
            f"auxiliary tasks are {', '.join(auxiliary)}, the errors {', '.join(objective.ERRORS)}; set task_stopping: null in "
            "params.yaml"
        )


def refuse_gradients_on_several(training: Training) -> None:
    """Refuse a way of weighting that needs one gradient for each term where `training.devices` names several devices."""
    problem, config = training
    objective = problem.objective
    weighting = objective.Objective(build(objective.Config, problem.config["objective"]), problem.spec).weighting
    if isinstance(config.devices, int):  # of `auto` the training itself knows how many there are
        refuse_several_devices(weighting, config.devices)


def train_config(block: Mapping[str, Any]) -> Config:
    """How a network is trained, by a block `training` without its phases."""
    return build(Config, block)


def merged(block: dict[str, Any], changes: dict[str, Any], where: str) -> dict[str, Any]:
    """The block with some of its values replaced, at any depth; a key that it does not have is refused.

    A block that goes by its `name`, such as `objective.weighting`, is replaced whole where the changes give another name; what
    it may have besides follows from the name, and is checked where it is built.
    """
    if "name" in block:
        return dict(changes) if changes.get("name", block["name"]) != block["name"] else {**block, **changes}
    result = dict(block)
    for key, value in changes.items():
        if key not in block:
            raise ValueError(
                f"{where}.{key} names nothing to change: there are {', '.join(map(str, block))}; rename or remove it"
            )
        nested = isinstance(block[key], dict)
        if nested != isinstance(value, dict):
            raise ValueError(f"{where}.{key} must be {'a block' if nested else 'a value'} as in params.yaml, got {value!r}")
        result[key] = merged(block[key], value, f"{where}.{key}") if nested else value
    return result


def leaves(block: Mapping[str, Any], *parents: str) -> Iterator[tuple[str, ...]]:
    """The keys, from the outermost on, of each value in nested blocks."""
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from leaves(value, *parents, key)
        else:
            yield (*parents, key)


def values_at(block: Any, path: Sequence[str]) -> list[Any]:
    """The value at these keys, if there is one."""
    for key in path:
        if not isinstance(block, Mapping) or key not in block:
            return []
        block = block[key]
    return [block]


def write_model(folder: Path, epoch: Epoch) -> None:
    """The best epoch's checkpoint and the whole curve; nothing of when or how fast they came about."""
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(serialize(epoch.best))
    epoch.history.to_csv(folder / "history.csv", index=False)
