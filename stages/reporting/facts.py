"""How a run was made and can be made again: its size, its commands, and the hashes of what a stage read."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

LOCK = Path("dvc.lock")
SMALL = Path("stages/profiles/small.yaml")
STAGES = ("train", "compare", "tune", "evaluate", "register")  # whose outputs a report shows


def is_small(params: Mapping[str, Any], system: str, dataset: str, profile: Path = SMALL) -> bool:
    """Whether a system and its dataset have all the values of the profile `small`, which has something of the system."""
    small = YAML(typ="safe", pure=True).load(profile)
    places = [("datasets", dataset), *((kind, system) for kind in ("systems", "compare", "search", "score"))]
    if _at(small, ("systems", system)) is None:
        return False
    return all(value == _at(params, (*place, *keys)) for place in places for keys, value in leaves(_at(small, place) or {}))


def leaves(block: Mapping[str, Any], keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a nested block with its keys; a list is one value."""
    for key, value in block.items():
        if isinstance(value, dict):
            yield from leaves(value, (*keys, key))
        else:
            yield (*keys, key), value


def _at(block: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not isinstance(block, dict) or key not in block:
            return None
        block = block[key]
    return block


def changes(block: Mapping[str, Any]) -> str:
    """A nested block on one line: `model.gem: False, objective.pair_weights: False`."""
    return ", ".join(f"{'.'.join(keys)}: {value}" for keys, value in leaves(block))


def hashes(system: str, dataset: str, lock: Path = LOCK) -> pd.DataFrame:
    """The hashes of the outputs that a report shows, as dvc.lock has them; empty where DVC has not run these stages."""
    stages = (YAML(typ="safe").load(lock) or {}).get("stages") or {} if lock.is_file() else {}
    names = [f"ingest@{dataset}", f"validate@{dataset}", *(f"{stage}@{system}" for stage in STAGES)]
    rows = [
        {"stage": name, "output": out["path"], "hash": f"{out.get('hash', 'md5')} {out[out.get('hash', 'md5')]}"}
        for name in names
        for out in stages.get(name, {}).get("outs", [])
    ]
    return pd.DataFrame(rows, columns=pd.Index(["stage", "output", "hash"]))


def commands(system: str, version: str, small: bool) -> dict[str, str]:
    """Commands by what they do."""
    configure = {"The same small sizes": "python -m stages.configure --profile small"} if small else {}
    return configure | {
        "This page, and what has changed before it": f"dvc repro report@{system}",
        "The evaluation, whether or not anything has changed": f"dvc repro --force --single-item evaluate@{system}",
        "Versions, machine, parameters and data of the model": f"python -m stages.lineage {system}@{version}",
        "Its figures again, from the registered weights": f"python -m stages.lineage {system}@{version} --check",
        "The weights again, from the recorded versions": f"python -m stages.lineage {system}@{version} --rebuild",
    }
