"""One folder per dataset: its module reads and writes the official layout, and has its splits and protocols.

All offer `read`, `frames` and `protocol`, those into whose layout people are rendered also `plan`, `write` and `SEQUENCES` (all
but `usf` and `mpii`), those with silhouettes `masks`, those of videos `keypoints` and `background`, those of scenes `people`
(root, location, masks).
"""

import importlib
import pkgutil
from types import ModuleType


def names() -> list[str]:
    """All datasets, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> ModuleType:
    """The module of the dataset called `name`; a `ValueError` lists all datasets."""
    if name not in names():
        raise ValueError(
            f"dataset {name!r} is not one of {', '.join(names())}; add people/datasets/{name}/ or correct params.yaml"
        )
    return importlib.import_module(f"{__name__}.{name}")
