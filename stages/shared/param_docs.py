"""What the code and params.yaml say of each parameter: types, docstrings, comments."""

import importlib
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

from people import datasets
from people.synth.motion import parametric
from people.training import task_weights, train_config
from stages.identification import following
from stages.search import settings
from stages.shared.param_blocks import (
    COMPARE_TYPES,
    LIMIT_TYPES,
    RENDERING_TYPES,
    VIDEO_BLOCKS,
    Key,
    in_words,
)

OF_PAPERS = re.compile(r"(paper|official|published|public code|later code|profile study)")  # how a note begins
AS_ABOVE = "as above"
SEMICOLON = re.compile(r";(?![^(]*\))")  # outside of brackets
PARTS = ("data", "model", "objective", "score")


@dataclass(frozen=True)
class Sources:
    """The configuration behind each block of params.yaml, by the block's keys; and functions that take a block's values."""

    blocks: dict[Key, Any]

    def sentences(self, key: Key) -> list[str]:
        """What the docstring of the configuration says of a parameter: the sentences that name it."""
        return sentences_on(key[-1], inspect.getdoc(self.blocks.get(key[:-1])) or "")

    def type_of(self, key: Key, value: Any) -> str:
        """The type of a parameter in words."""
        config = self.blocks.get(key[:-1])
        hints = config if isinstance(config, Mapping) else hints_of(config) if config else {}
        shared = {"datasets": RENDERING_TYPES, "validate": LIMIT_TYPES, "compare": COMPARE_TYPES}.get(key[0], {})
        hint = {**shared, **hints}.get(key[-1], Any)
        return in_words(type(value) if hint is Any else hint).replace("a number or a whole number", "a number")

    def kinds(self) -> Iterator[tuple[str, str, str]]:
        """The blocks that are one of several configurations: the block, the kind's name or keys, and its docstring."""
        training = "systems.*.training"
        tables: list[tuple[str, Mapping[str, Any]]] = [
            (f"{training}.batches", train_config.BATCHES),
            (f"{training}.optimizer", train_config.OPTIMIZERS),
            (f"{training}.schedule", train_config.SCHEDULES),
            ("search.*.pruner", settings.PRUNERS),
            ("systems.*.objective.weighting", task_weights.METHODS),
        ]
        for where, kinds in tables:
            for name, config in kinds.items():
                keys = ", ".join(field for field in config.__dataclass_fields__ if field != "name")
                yield where, f"{{{keys}}}" if kinds is train_config.BATCHES else f"{name} {{{keys}}}", description(config)


def description(config: type) -> str:
    """The docstring of a configuration, with the summary of the class that it refers to by "See `Name`"."""
    text = inspect.getdoc(config) or ""
    if referred := re.match(r".*?[Ss]ee `(\w+)`", text):
        seen = inspect.getdoc(getattr(inspect.getmodule(config), referred[1])) or ""
        return f"{seen.split(chr(10) * 2)[0]} {text}"
    return text


def sources(document: Mapping[str, Any]) -> Sources:
    """The configurations behind the blocks of a params.yaml."""
    blocks: dict[Key, Any] = {}
    for name in document["datasets"]:
        if plan := getattr(datasets.find(name), "plan", None):
            blocks["datasets", name] = plan
            blocks["datasets", name, "variation"] = parametric.Variation
    for kind in VIDEO_BLOCKS:
        for name in document.get(kind) or {}:
            blocks[kind, name] = importlib.import_module(f"people.video.{kind}").Config
    for name in document["validate"]:
        blocks["validate", name] = LIMIT_TYPES
    blocks["identify",] = following.Config
    blocks |= {("identify", part): config for part, config in following.PARTS.items()}
    for name in document["systems"]:
        blocks |= blocks_of_system(name)
    return Sources(blocks)


def blocks_of_system(name: str) -> dict[Key, Any]:
    """The configurations of a system's blocks, and of the blocks in them that have one of their own."""
    training = ("systems", name, "training")
    found: dict[Key, Any] = {training: train_config.Config, (*training, "task_stopping"): train_config.Stopping}
    found |= {("search", name): settings.Search, ("search", name, "finals"): settings.Finals, ("compare", name): COMPARE_TYPES}
    for part in PARTS:
        module = importlib.import_module(f"people.systems.{name}.{part}")
        above = ("score", name) if part == "score" else ("systems", name, part)
        found[above] = module.Config
        for inner, config in getattr(inspect.getmodule(module.Config), "PARTS", {}).items():
            if is_dataclass(config):
                found[(*above, inner)] = config
    return found


def hints_of(config: Any) -> dict[str, Any]:
    """The types of a configuration's parameters, or of a function's."""
    return typing.get_type_hints(config.__init__ if inspect.isclass(config) else config)


def sentences_on(name: str, docstring: str) -> list[str]:
    """The sentences of a docstring that name a parameter; an entry "`name`: ..." ends before the next one."""
    flat = " ".join(docstring.split())
    flat = re.sub(r"; (?=(?:`\w+`(?:, | and )?)+:)", ". ", flat)
    texts = [text for text in re.split(r"(?<=[.)])\s+(?=[A-Z`])", flat) if f"`{name}`" in text]
    return [re.sub(rf"^`{name}`: ", "", text) for text in texts]


def meaning_and_notes(comment: str) -> tuple[list[str], list[str]]:
    """The parts of a comment that say what a parameter means, and those that say what others have."""
    parts = [part.strip() for part in SEMICOLON.split(comment) if part.strip() not in ("", AS_ABOVE)]
    notes = [part for part in parts if OF_PAPERS.match(part)]
    meaning = "; ".join(part for part in parts if part not in notes)
    return [meaning] if meaning else [], notes
