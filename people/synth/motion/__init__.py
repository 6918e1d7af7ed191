"""Motion sources: one subpackage each, named as the `source` of a dataset in params.yaml.

Each provides `walks(request)`, which returns a list of `Motion`; `walks` is None if the dataset's archive contains frames.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from people.config import Block


class WalkRequest(NamedTuple):
    """The walks that a dataset needs: the archive to read, and the numbers of people, walks per person and frames per walk.

    `variation` is for sources that generate walks: how much people differ from each other, and from walk to walk; so is
    `speeds`, of each walk relative to a comfortable one (empty: all comfortable).
    """

    archive: Path
    people: int
    walks: int
    frames: int
    frame_rate_hz: float
    seed: int
    variation: Block | None
    speeds: tuple[float, ...] = ()


def names() -> list[str]:
    """The names of all motion sources, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> ModuleType:
    """The module of the source `name`; a `ValueError` lists the available sources."""
    if name not in names():
        raise ValueError(
            f"source {name!r} is not one of {', '.join(names())}; add people/synth/motion/{name}/ or correct params.yaml"
        )
    return importlib.import_module(f"{__name__}.{name}")
