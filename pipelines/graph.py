"""The graph of the stages, as DVC reads it from dvc.yaml; there is no second list."""

import difflib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipelines import commands

Graph = Mapping[str, tuple[str, ...]]  # each stage's direct upstream stages, in topological order

LOCK, PARAMS, STAGES = Path("dvc.lock"), Path("params.yaml"), Path("dvc.yaml")
KEY = r"[a-z][a-z0-9_]*"  # of a dataset or a system: dvc.yaml puts it into commands of a shell
STAGE_NAME = rf"[a-z][a-z0-9_-]*(@{KEY})?"
_EDGE = re.compile(r'^"(?P<before>[^"]+)"(?: -> "(?P<after>[^"]+)")?;$')


def read() -> Graph:
    """The graph of the workspace, from `dvc dag`."""
    check_keys()
    read_lock()
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
            nearest = [near for name in unknown for near in difflib.get_close_matches(name, existing, n=1)]
            hint = f"; did you mean {', '.join(nearest)}?" if nearest else ""
            raise commands.Failed(
                f"{label} {', '.join(unknown)}: not in dvc.yaml, which has {', '.join(sorted(filter(None, existing)))}{hint}"
            )
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


def check_keys() -> None:
    """Raise `Failed` for a key of params.yaml that is no plain word: dvc.yaml puts such keys into commands of a shell."""
    yaml = YAML(typ="safe", pure=True)
    stages, params = yaml.load(STAGES).get("stages") or {}, yaml.load(PARAMS) if PARAMS.is_file() else {}
    for stage in stages.values():
        block = re.fullmatch(r"\$\{(\w+)\}", str(stage.get("foreach") or ""))
        for key in (params or {}).get(block[1]) or () if block else ():
            if not re.fullmatch(KEY, str(key)):
                rule = "must be lower-case letters, digits and _, beginning with a letter"
                raise commands.Failed(f"params.yaml, {stage['foreach']}: {key!r} {rule}; rename it")


def read_lock() -> dict[str, Any]:
    """The record of every stage in dvc.lock; empty before the first run, `Failed` with the remedy where it is damaged."""
    if not LOCK.is_file():
        return {}
    try:
        content = YAML(typ="safe").load(LOCK)
    except (YAMLError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        raise commands.Failed(
            f"{LOCK} is empty or cut off, as a full disk or a kill leaves it: DVC writes it in place. Make room, then either "
            f"`git checkout -- {LOCK}` if git has it, or remove it: `dvc repro` takes what was computed from its run cache. "
            "Unfinished files named *.tmp in .dvc/cache can be removed too"
        )
    return content["stages"]


def outs(record: Mapping[str, Any]) -> list[Path]:
    """A stage's outputs, files and folders, by its record in dvc.lock."""
    return [Path(out["path"]) for out in record.get("outs", [])]


def metrics(record: Mapping[str, Any]) -> list[Path]:
    """A stage's outputs that are metrics files."""
    return [path for path in outs(record) if path.is_relative_to("data/metrics") and path.suffix == ".json"]


def write_lock(stages: Mapping[str, Any]) -> None:
    """Write a dvc.lock with these records, whole or not at all."""
    partial = LOCK.with_name(f"{LOCK.name}.partial")
    with partial.open("w") as file:
        YAML().dump({"schema": "2.0", "stages": dict(stages)}, file)
    os.replace(partial, LOCK)
