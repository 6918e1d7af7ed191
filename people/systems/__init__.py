"""One folder per system, one system per paper; the folder is its registration."""

import importlib
import pkgutil
from types import ModuleType


def names() -> list[str]:
    """The systems there are: every folder in this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def find(system: str, part: str) -> ModuleType:
    """One of a system's four modules: `data`, `model`, `objective` or `score`."""
    if system not in names():
        raise ValueError(f"system {system!r} is not one of {', '.join(names())}; add its folder or correct params.yaml")
    return importlib.import_module(f"{__name__}.{system}.{part}")
