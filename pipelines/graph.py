"""The graph of the stages, as DVC reads it from dvc.yaml; there is no second list."""

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
    for edge in filter(None, (_EDGE.match(line.strip()) for line in lines)):
        upstream.setdefault(edge["before"], [])
        if edge["after"]:
            upstream.setdefault(edge["after"], []).append(edge["before"])
    if not upstream:
        raise commands.Failed("`dvc dag --dot` showed no stage; is this the project's root folder, with its dvc.yaml?")
    return _topological(upstream)


def _topological(upstream: Mapping[str, list[str]]) -> Graph:
    order: dict[str, tuple[str, ...]] = {}
    while len(order) < len(upstream):
        for stage, before in upstream.items():
            if stage not in order and all(name in order for name in before):
                order[stage] = tuple(sorted(before))
    return order


def select(graph: Graph, stages: Collection[str] = (), systems: Collection[str] = ()) -> list[str]:
    """The stages of these kinds and systems (all where none is named) with everything that they need, in order.

    A kind is a stage's name in dvc.yaml, such as `train`; a system or dataset follows the `@`.
    """
    for label, names, existing in (
        ("stages", stages, {name.partition("@")[0] for name in graph}),
        ("systems", systems, {name.partition("@")[2] for name in graph}),
    ):
        if unknown := sorted(set(names) - existing):
            raise commands.Failed(f"{label} {', '.join(unknown)}: not in dvc.yaml, which has {', '.join(sorted(existing))}")
    selected = {name for name in graph if _matches(name, stages, 0) and _matches(name, systems, 2)}
    if not selected:
        raise commands.Failed(
            f"no stage of {', '.join(stages)} belongs to {', '.join(systems)}; choose from {', '.join(graph)}"
        )
    for name in reversed(list(graph)):
        if name in selected:
            selected |= set(graph[name])
    return [name for name in graph if name in selected]


def _matches(name: str, accepted: Collection[str], index: int) -> bool:
    return not accepted or name.partition("@")[index] in accepted


def read_lock() -> dict[str, Any]:
    """The record of every stage in dvc.lock; empty before the first run."""
    return YAML(typ="safe").load(LOCK)["stages"] if LOCK.is_file() else {}


def outs(record: Mapping[str, Any]) -> list[Path]:
    """A stage's outputs, files and folders, by its record in dvc.lock."""
    return [Path(out["path"]) for out in record.get("outs", [])]


def metrics(record: Mapping[str, Any]) -> list[Path]:
    """A stage's outputs that are metrics files."""
    return [path for path in outs(record) if path.is_relative_to("data/metrics") and path.suffix == ".json"]


def write_lock(stages: Mapping[str, Any]) -> None:
    """Write a dvc.lock with these records."""
    with LOCK.open("w") as file:
        YAML().dump({"schema": "2.0", "stages": dict(stages)}, file)
