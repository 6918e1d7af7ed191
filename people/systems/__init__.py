"""One folder per system, one system per paper; the folder is its registration. What each offers: `people.training.system`."""

import importlib
import pkgutil
from typing import Any, Literal, overload

from people.training.system import Data, Model, Objective, Paper, Score, Serving


def names() -> list[str]:
    """The systems there are: every folder in this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


@overload
def find(system: str, part: Literal["data"]) -> Data: ...
@overload
def find(system: str, part: Literal["model"]) -> Model: ...
@overload
def find(system: str, part: Literal["objective"]) -> Objective: ...
@overload
def find(system: str, part: Literal["score"]) -> Score: ...
@overload
def find(system: str, part: Literal["serving"]) -> Serving: ...
@overload
def find(system: str, part: Literal["paper"]) -> Paper: ...


def find(system: str, part: str) -> Any:
    """One of a system's modules."""
    if system not in names():
        raise ValueError(f"system {system!r} is not one of {', '.join(names())}; add its folder or correct params.yaml")
    return importlib.import_module(f"{__name__}.{system}.{part}")
