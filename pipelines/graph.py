"""The order of the stages, as DVC has it in dvc.yaml: there is no second list."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines import commands

Graph = Mapping[str, tuple[str, ...]]  # each stage's direct upstream stages, in topological order

LOCK = Path("dvc.lock")
_EDGE = re.compile(r'^"(?P<before>[^"]+)"(?: -> "(?P<after>[^"]+)")?;$')


def read() -> Graph:
    """The graph of the workspace, from `dvc dag`."""
    return parse(commands.run(["dvc", "dag", "--dot"], lambda _: None))


def parse(lines: Collection[str]) -> Graph:
    """The graph in lines of the DOT language."""
    upstream: dict[str, list[str]] = {}
    for found in filter(None, (_EDGE.match(line.strip()) for line in lines)):
        upstream.setdefault(found["before"], [])
        if found["after"]:
            upstream.setdefault(found["after"], []).append(found["before"])
    if not upstream:
        raise commands.Failed("`dvc dag --dot` showed no stage; is this the project's root folder, with its dvc.yaml?")
    return _ordered(upstream)


def _ordered(upstream: Mapping[str, list[str]]) -> Graph:
    placed: dict[str, tuple[str, ...]] = {}
    while len(placed) < len(upstream):
        for stage, before in upstream.items():
            if stage not in placed and all(one in placed for one in before):
                placed[stage] = tuple(sorted(before))
    return placed


def chosen(graph: Graph, stages: Collection[str] = (), systems: Collection[str] = ()) -> list[str]:
    """The stages of these kinds and systems (all where none is named) with everything that they need, in order.

    A kind is a stage's name in dvc.yaml, such as `train`; a system or dataset stands behind the `@`.
    """
    for what, names, known in (
        ("stages", stages, {name.partition("@")[0] for name in graph}),
        ("systems", systems, {name.partition("@")[2] for name in graph}),
    ):
        if unknown := sorted(set(names) - known):
            raise commands.Failed(f"{what} {', '.join(unknown)}: not in dvc.yaml, which has {', '.join(sorted(known))}")
    wanted = {name for name in graph if _is_of(name, stages, 0) and _is_of(name, systems, 2)}
    if not wanted:
        raise commands.Failed(
            f"no stage of {', '.join(stages)} belongs to {', '.join(systems)}; choose from {', '.join(graph)}"
        )
    for name in reversed(list(graph)):
        if name in wanted:
            wanted |= set(graph[name])
    return [name for name in graph if name in wanted]


def _is_of(name: str, choice: Collection[str], part: int) -> bool:
    return not choice or name.partition("@")[part] in choice


def lock() -> dict[str, Any]:
    """What dvc.lock records of every stage; nothing before the first run."""
    return YAML(typ="safe").load(LOCK)["stages"] if LOCK.is_file() else {}


def outs(record: Mapping[str, Any]) -> list[Path]:
    """A stage's outputs, files and folders, by its record in dvc.lock."""
    return [Path(out["path"]) for out in record.get("outs", [])]


def metrics(record: Mapping[str, Any]) -> list[Path]:
    """Those of a stage's outputs that hold metrics."""
    return [path for path in outs(record) if path.is_relative_to("data/metrics") and path.suffix == ".json"]


def write_lock(stages: Mapping[str, Any]) -> None:
    """A dvc.lock with these records."""
    with LOCK.open("w") as file:
        YAML().dump({"schema": "2.0", "stages": dict(stages)}, file)
