"""One module per dataset: it reads, writes, splits and judges its own official layout.

Frame datasets offer `read`, `plan`, `write`, `frames` and `protocol`, those with silhouettes also `masks`, `keypoints` and
`background`; sources of motion offer `read` alone.
"""

import importlib
import pkgutil
from types import ModuleType


def names() -> list[str]:
    """All datasets, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> ModuleType:
    """The module of the dataset called `name`; a `ValueError` lists the datasets there are."""
    if name not in names():
        raise ValueError(
            f"dataset {name!r} is not one of {', '.join(names())}; add people/datasets/{name}.py or correct params.yaml"
        )
    return importlib.import_module(f"{__name__}.{name}")
