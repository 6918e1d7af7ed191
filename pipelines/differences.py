"""What differs between two sets of nested values, by dotted names: parameters and metrics of two versions."""

import json
from collections.abc import Mapping
from typing import Any


def change(before: float | None, now: float) -> float | None:
    """The difference `now - before`; None without a number before."""
    return None if before is None else now - before


def numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of nested blocks, by dotted names."""
    flat: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= numbers(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            flat[f"{prefix}{key}"] = value
    return flat


def leaves(block: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """All values of nested blocks by dotted keys; an empty block is a value."""
    flat: dict[str, Any] = {}
    for key, value in block.items():
        if isinstance(value, Mapping) and value:
            flat |= leaves(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def parameter_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each parameter that differs, such as `search.dmt.trials: 2 -> 4`."""
    keys = [*new, *(key for key in old if key not in new)]
    values = ((key, *(json.dumps(side[key], default=str) if key in side else "none" for side in (old, new))) for key in keys)
    return [f"{key}: {before} -> {after}" for key, before, after in values if before != after]


def metric_changes(file: str, old: Mapping[str, float], new: Mapping[str, float]) -> list[str]:
    """A line for each metric of one file that differs, such as `dmt.rank1: 0.5 -> 0.6 (+0.1)`."""
    lines = []
    for name in [*new, *(name for name in old if name not in new)]:
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            sides = ["none" if value is None else f"{value:.4f}" for value in (before, after)]
            lines.append(f"{file}.{name}: {sides[0]} -> {sides[1]}")
        elif before != after:
            lines.append(f"{file}.{name}: {before:.4f} -> {after:.4f} ({after - before:+.4f})")
    return lines
