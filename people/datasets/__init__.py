"""One module per dataset: it reads, writes, splits and judges its own official layout.

Frame datasets offer `read`, `plan`, `write` and `protocol`; sources of motion offer `read` alone.
"""

import importlib
import pkgutil
from types import ModuleType


def find(name: str) -> ModuleType:
    """The module of the dataset called `name`; a `ValueError` lists the datasets there are."""
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in known:
        raise ValueError(
            f"dataset {name!r} is not one of {', '.join(known)}; add people/datasets/{name}.py or correct params.yaml"
        )
    return importlib.import_module(f"{__name__}.{name}")
