"""The blocks of params.yaml, checked as the stages read them: a mistake is found before anything runs, by its key's name."""

import difflib
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Literal

from people import datasets, systems
from people.config import Block, build
from stages.shared.variants import CHANGED, read_variants, variants_file

Key = tuple[str, ...]

VIDEO_BLOCKS = ("flow", "silhouettes", "poses", "crops", "foregrounds", "scenes")  # people/video has a Config for each
STAGE_BLOCKS = ("compare", "search", "score")  # by system: what one stage reads beside the system's own block
RENDERING_TYPES: dict[str, Any] = {
    "source": str,
    "archive": str,
    "variation": Mapping | None,
    "frame_rate_hz": float,
    "size_hw": Sequence[int],
    "jpeg_quality": int,
}
LIMIT_TYPES: dict[str, Any] = {"min_frames": int, "age_years": Sequence[float], "max_bad_share": float}
COMPARE_TYPES: dict[str, Any] = {"epochs": int, "seeds": int, "select": Sequence[str]}
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
OTHER_KIND = "something else"
MAX_NAMED = 6


def check_changed(document: Block, before: Block, changed: Mapping[Key, Any]) -> None:
    """Refuse changes by which a block of the document is none that its stage would take; the error names the keys."""
    groups: dict[Key, list[Key]] = {}
    for key in changed:
        groups.setdefault(key[:3] if key[0] == "systems" else key[:2], []).append(key)
    for group, keys in groups.items():
        try:
            check_block(group, document, before)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            names = ", ".join(f"{'.'.join(key)}={changed[key]}" for key in keys[:MAX_NAMED])
            more = f" and {len(keys) - MAX_NAMED} more" if len(keys) > MAX_NAMED else ""
            raise ValueError(f"{names}{more}: {error}") from error


def check_block(group: Key, document: Block, before: Block) -> None:
    """Refuse a block of a dataset or a part of a system; `group`: the keys that lead to it."""
    kind, where, block, name = group[0], ".".join(group), value_at(document, group), group[1] if len(group) > 1 else ""
    if kind == "seed":
        check_type("seed", block, int)
    elif kind == "archives":
        check_type(kind, document["archives"], Mapping[str, str])
    elif kind == "datasets" and name:
        check_dataset(where, datasets.find(name), block)
    elif kind == "validate" and name:
        check_keys_and_types(where, block, LIMIT_TYPES, LIMIT_TYPES)
        check_limits(where, block)
    elif kind in VIDEO_BLOCKS and name:
        check_config(where, importlib.import_module(f"people.video.{kind}").Config, block)
    elif kind == "identify":
        from stages.identification.following import PARTS, Config

        for part, config in PARTS.items():
            check_config(f"identify.{part}", config, value_at(document, ("identify", part)))
        check_config("identify", Config, document["identify"])
        check_kinds("identify", before.get("identify"), document["identify"])
    elif kind == "systems" and len(group) == 3:
        check_part(where, name, group[2], document["systems"][name], document)
        check_kinds(where, value_at(before, group), block)
    elif kind in STAGE_BLOCKS and name:
        check_kinds(where, value_at(before, group), block)
        check_stage_block(where, kind, name, document)


def value_at(document: Any, key: Key) -> Any:
    """The value at these keys; None where there is none."""
    for name in key:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def check_dataset(where: str, dataset: types.ModuleType, block: Block) -> None:
    """Refuse what neither the rendering nor the plan of a dataset takes."""
    from people.synth import motion

    if not hasattr(dataset, "plan"):
        check_keys_and_types(where, block, RENDERING_TYPES, RENDERING_TYPES, required={"source", "archive"})
        if block["source"] != "official":
            raise ValueError(f"{where}.source must be official, as nobody is rendered into its layout, got {block['source']!r}")
        return
    plan = {name: hint for name, hint in typing.get_type_hints(dataset.plan).items() if name in block or name == "subjects"}
    required = set(inspect.signature(dataset.plan).parameters) - {"motions", "seed"}
    accepted = {*RENDERING_TYPES, *required}
    check_keys_and_types(where, block, RENDERING_TYPES | plan, accepted, required=required | {"source", "archive"})
    source = motion.find(block["source"])
    counts = {name: value for name, value in block.items() if isinstance(value, int) and value < 0}
    counts |= {name: size for name, size in sizes("subjects", block["subjects"]) if not is_count(size)}
    if counts:
        name, value = next(iter(counts.items()))
        raise ValueError(f"{where}.{name} must be a whole number of at least 0, got {value!r}")
    for name in ("frames_per_sequence", "frame_rate_hz", "jpeg_quality"):
        if name in block and not block[name] > 0:
            raise ValueError(f"{where}.{name} must be above 0, got {block[name]}")
    if "size_hw" in block and (len(block["size_hw"]) != 2 or min(block["size_hw"]) < 1):
        raise ValueError(f"{where}.size_hw must be [height, width] in px, got {block['size_hw']}")
    if block.get("variation") is not None and hasattr(source, "Variation"):
        check_config(f"{where}.variation", source.Variation, block["variation"])


def sizes(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value of a block and of the blocks in it, by its keys."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from sizes(f"{name}.{key}", inner)


def is_count(value: Any) -> bool:
    """Whether the value is a whole number of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_limits(where: str, limits: Block) -> None:
    """Refuse limits of the stage validate that no clip, or every clip, could keep."""
    if not 0 <= limits.get("max_bad_share", 0) <= 1:
        raise ValueError(f"{where}.max_bad_share must lie in [0, 1], got {limits['max_bad_share']}")
    youngest_oldest = limits.get("age_years", [0, 1])
    if len(youngest_oldest) != 2 or not youngest_oldest[0] <= youngest_oldest[1]:
        raise ValueError(f"{where}.age_years must be [youngest, oldest], got {youngest_oldest}")


def check_part(where: str, system: str, part: str, block: Block, document: Block) -> None:
    """Refuse a system's dataset, what it reads, or one of its blocks."""
    value = block[part]
    if part == "dataset":
        check_type(where, value, Literal[tuple(document["datasets"])])
    elif part == "reads":
        check_type(where, value, Mapping[str, str])
    elif part in ("data", "model", "objective"):
        check_config(where, systems.find(system, part).Config, value)
    elif part == "training":
        check_training(where, value)


def check_stage_block(where: str, kind: str, system: str, document: Block) -> None:
    """Refuse what a stage reads of a system beside its training's block."""
    if system not in document["systems"]:
        raise ValueError(f"{where}: there is no systems.{system}{nearest(system, document['systems'])}")
    block, own = document["systems"][system], document[kind][system]
    if kind == "score":
        check_config(where, systems.find(system, "score").Config, own)
    elif kind == "search":
        check_search(where, system, own, block)
    else:
        check_compare(where, system, own, block)


def check_search(where: str, system: str, search: Block, block: Block) -> None:
    """Refuse a block `search` that the stage tune would refuse."""
    from stages.search.settings import PRUNERS, Finals, Search
    from stages.search.space import search_space

    if isinstance(pruner := search.get("pruner"), Mapping) and pruner.get("name") in PRUNERS:
        check_config(f"{where}.pruner", PRUNERS[pruner["name"]], pruner)
    if isinstance(finals := search.get("finals"), Mapping):
        check_config(f"{where}.finals", Finals, finals)
    search_space(system, check_config(where, Search, search), block)


def check_training(where: str, block: Block) -> None:
    """Refuse a block `training`, also as each of its phases has it."""
    from stages.training.problem import named_phases

    common = {name: value for name, value in block.items() if name != "phases"}
    check_training_of_phase(where, common)
    for phase in named_phases(block.get("phases") or []):
        check_training_of_phase(f"{where}.phases, {phase.name}", {**common, **(phase.training or {})})


def check_training_of_phase(where: str, block: Block) -> None:
    """Refuse how one phase is trained; its inner blocks become one of several configurations, by their name or their keys."""
    from people.training import train_config

    for name, kinds in (("optimizer", train_config.OPTIMIZERS), ("schedule", train_config.SCHEDULES)):
        if isinstance(inner := block.get(name), Mapping) and inner.get("name") in kinds:
            check_config(f"{where}.{name}", kinds[inner["name"]], inner)
    for key, kind in train_config.BATCHES.items():
        if isinstance(batches := block.get("batches"), Mapping) and key in batches:
            check_config(f"{where}.batches", kind, batches)
    if isinstance(stopping := block.get("task_stopping"), Mapping):
        check_config(f"{where}.task_stopping", train_config.Stopping, stopping)
    check_config(where, train_config.Config, block)


def check_compare(where: str, system: str, settings: Block, block: Block) -> None:
    """Refuse a block `compare`, and variants of which no system comes about."""
    from stages.training.problem import merged

    check_keys_and_types(where, settings, COMPARE_TYPES, COMPARE_TYPES, required=COMPARE_TYPES)
    for name in ("epochs", "seeds"):
        if settings[name] < 1:
            raise ValueError(f"{where}.{name} must be at least 1, got {settings[name]}")
    variants, file = read_variants(system), variants_file(system)
    for name in settings["select"]:
        if name not in variants:
            raise ValueError(f"{where}.select: {file} has no variant {name!r}{nearest(name, variants)}")
    parts = {part: block[part] for part in ("data", "model", "objective")}
    for name, changes in variants.items():
        try:
            changed = merged(parts, changes, system)
            for part in CHANGED:
                if part in changes:
                    check_config(part, systems.find(system, part).Config, changed[part])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{file}, variant {name}: {error}") from error


def check_config(where: str, config: type, block: Any) -> Any:
    """The configuration that a block is built to; refused by the types of its parameters, then by its own rules."""
    check_type(where, block, Mapping)
    hints = typing.get_type_hints(config.__init__)
    for name, value in block.items():
        hint = hints.get(name, Any)
        check_type(f"{where}.{name}", value, hint)
        if is_dataclass(hint) and isinstance(hint, type):
            check_config(f"{where}.{name}", hint, value)
    return build(config, block)


def check_keys_and_types(
    where: str, block: Any, hints: Mapping[str, Any], accepted: Collection[str], *, required: Collection[str] = ()
) -> None:
    """Refuse a block with keys that are not accepted, without a required one, or with values of other types."""
    check_type(where, block, Mapping)
    for name in block:
        if name not in accepted:
            raise ValueError(f"{where} takes no {name}, but {', '.join(sorted(accepted))}{nearest(name, accepted)}")
    if missing := sorted(set(required) - set(block)):
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    for name, value in block.items():
        check_type(f"{where}.{name}", value, hints.get(name, Any))


def check_kinds(where: str, old: Any, new: Any, *, inner: bool = False) -> None:
    """Refuse a value of another kind than before in inner blocks, whose values have no type of their own."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return
    for name in set(old) & set(new):
        before, after = old[name], new[name]
        kinds = {kind_of(before), kind_of(after)} - {OTHER_KIND}
        check_kinds(f"{where}.{name}", before, after, inner=True)
        if inner and len(kinds) == 2:
            raise ValueError(f"{where}.{name} must be {kind_of(before)} as {before!r} is, got {after!r}")


def kind_of(value: Any) -> str:
    """A number, a text, and so on, in words; `OTHER_KIND` for a block and for nothing."""
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return next((words for kind, words in kinds.items() if isinstance(value, kind)), OTHER_KIND)


def check_type(where: str, value: Any, hint: Any) -> None:
    """Refuse a value, as YAML gives it, that is not of a type."""
    if not is_of(value, hint):
        raise ValueError(f"{where} must be {in_words(hint)}, got {value!r}")


def is_of(value: Any, hint: Any) -> bool:
    """Whether a value of YAML is of this type: lists for sequences and tuples, blocks for mappings and configurations."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(is_of(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    kind = origin or hint
    if is_dataclass(kind) or _is_subclass(kind, Mapping):
        values = arguments[1:] or (Any,)
        return isinstance(value, Mapping) and all(is_of(entry, values[0]) for entry in value.values())
    if _is_subclass(kind, Sequence):
        entry = arguments[0] if arguments else Any
        return isinstance(value, list | tuple) and all(is_of(element, entry) for element in value)
    return True


def _is_subclass(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def in_words(hint: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(in_words(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    kind: Callable[..., Any] = origin or hint
    if is_dataclass(kind) or _is_subclass(kind, Mapping):
        return f"a block, each value {in_words(arguments[1])}" if len(arguments) > 1 and arguments[1] is not Any else "a block"
    if _is_subclass(kind, Sequence) and kind is not str:
        return f"a list, each entry {in_words(arguments[0])}" if arguments else "a list"
    return WORDS.get(kind, str(hint))


def nearest(name: str, existing: Collection[str]) -> str:
    """A guess at the existing name that is meant; nothing if none is like this one."""
    close = difflib.get_close_matches(str(name), map(str, existing), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
