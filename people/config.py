"""From a block of params.yaml to a frozen dataclass: what is unknown, missing or out of range is refused by its key's name."""

from collections.abc import Collection, Mapping
from typing import Any

Block = dict[str, Any]  # one block of params.yaml: plain values by key


def build(config_class: type, values: Mapping[str, Any]) -> Any:
    """A configuration from a block of plain values; keys that are unknown or missing are the user's mistake."""
    try:
        return config_class(**values)
    except TypeError as error:
        where = f"{config_class.__module__}.{config_class.__name__}"
        raise ValueError(
            f"{where} does not take {', '.join(values) or 'an empty block'}: {error}; correct params.yaml"
        ) from error


def named(where: str, block: Mapping[str, Any], kinds: Mapping[str, type]) -> Any:
    """The configuration of the kind that a block's `name` gives."""
    if block.get("name") not in kinds:
        raise ValueError(f"{where}.name must be one of {', '.join(kinds)}, got {block.get('name')!r}; correct params.yaml")
    return build(kinds[block["name"]], block)


def check(where: str, config: Any, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Refuse the first value that does not keep its rule; `rules`: by attribute, whether it is kept, and in words."""
    for name, (kept, rule) in rules.items():
        if not kept:
            raise ValueError(f"{where}{name} must be {rule}, got {getattr(config, name)!r}; correct params.yaml")


def check_keys(where: str, block: Mapping[str, Any], keys: Collection[str]) -> None:
    """Refuse a block that has other keys."""
    if set(block) != set(keys):
        raise ValueError(f"{where} has the keys {', '.join(sorted(keys))}, got {', '.join(sorted(block)) or 'none'}")
