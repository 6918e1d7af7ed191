"""Sources of walks: one folder each, whose name is the `source` of a dataset in params.yaml.

Each offers `walks(wanted)`: a list of walks, or None where the dataset brings frames of its own.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import NamedTuple


class Wanted(NamedTuple):
    """What a dataset asks of a source: so many people, each with so many walks of so many frames, out of this archive."""

    archive: Path
    people: int
    walks: int
    frames: int
    frame_rate_hz: float
    seed: int


def names() -> list[str]:
    """All sources, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> ModuleType:
    """The module of the source called `name`; a `ValueError` lists the sources there are."""
    if name not in names():
        raise ValueError(
            f"source {name!r} is not one of {', '.join(names())}; add people/synth/motion/{name}/ or correct params.yaml"
        )
    return importlib.import_module(f"{__name__}.{name}")
