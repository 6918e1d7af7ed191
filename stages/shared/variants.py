"""The variants of a system: the values that each has in place of the system's own when `compare` trains it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML, YAMLError

from people import systems

FULL = "all"  # the name of the system as it is
CHANGED: tuple[Literal["data", "model", "objective"], ...] = ("data", "model", "objective")


def variants_file(system: str) -> Path:
    """Where a system's variants stand."""
    return Path(systems.__path__[0], system, "variants.yaml")


def read_variants(system: str) -> dict[str, dict[str, Any]]:
    """What each variant of a system changes of its blocks data, model and objective: people/systems/<system>/variants.yaml.

    Raises:
        ValueError: there is no such file, or a variant that can be none.
    """
    file = variants_file(system)
    if not file.is_file():
        raise ValueError(f"{file}: expected the variants of {system}, no such file exists; write one, or {{}} into it for none")
    try:
        changes = YAML(typ="safe").load(file) or {}
    except YAMLError as error:
        raise ValueError(f"{file}: expected YAML, but {error}; correct it") from None
    check_variants(changes, str(file))
    return changes


def check_variants(changes: Any, where: str) -> None:
    """Refuse variants that can be none; `where` names in errors where they stand."""
    if not isinstance(changes, Mapping):
        raise ValueError(f"{where}: expected a block of changes by the name of each variant, got {changes!r}; correct it")
    if FULL in changes:
        raise ValueError(f"{where}: {FULL} is the name of the system as it is; give the variant another name")
    for name, blocks in changes.items():
        if not isinstance(blocks, Mapping):
            raise ValueError(f"{where}: variant {name} must be a block of values, got {blocks!r}")
        if unknown := sorted(set(blocks) - set(CHANGED)):
            raise ValueError(f"{where}: variant {name} can change {', '.join(CHANGED)}, got {unknown[0]}; correct it")
