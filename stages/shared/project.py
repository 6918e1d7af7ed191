"""What every stage needs: its parameters, outputs that are never incomplete, and paths of the project's state."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PARAMS = Path("params.yaml")
ERROR = "error_"  # prefix of the columns of validation errors in curves.csv


def params(*keys: str) -> Any:
    """The value at `keys` in params.yaml, as plain dicts, lists and numbers.

    YAML 1.2 (the same parser as DVC's): `1e-3` is a number.
    """
    if not PARAMS.is_file():
        raise ValueError(f"params.yaml not found in {Path.cwd()}; run the stage from the project's root folder")
    value = YAML(typ="safe", pure=True).load(PARAMS)
    for depth, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            present = ", ".join(value) if isinstance(value, dict) else "none"
            raise ValueError(
                f"params.yaml has no {'.'.join(keys[: depth + 1])}: the keys there are {present}; add the key or correct it"
            )
        value = value[key]
    return value


@contextmanager
def output(path: Path | str) -> Iterator[Path]:
    """A temporary sibling of `path` to write to, a file or a folder, which is renamed to `path` when the block succeeds."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    remove(partial)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        if not partial.exists():
            raise ValueError(f"nothing was written to {partial}, the temporary output of {path}")
        remove(path)
        os.replace(partial, path)
    except BaseException:
        remove(partial)
        raise


def remove(path: Path) -> None:
    """Delete a file or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def state(*parts: str) -> Path:
    """A path for services and unfinished work, below `PEOPLE_STATE` or `.state/`: no stage has an output there."""
    path = Path(os.environ.get("PEOPLE_STATE") or ".state", *parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def tracking_uri() -> str:
    """The database of MLflow's runs: `MLFLOW_TRACKING_URI`, or an SQLite file of the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{state('mlflow.db').resolve()}"


def optuna_storage() -> str:
    """The database of Optuna's studies: `OPTUNA_STORAGE`, or an SQLite file of the project."""
    return os.environ.get("OPTUNA_STORAGE") or f"sqlite:///{state('optuna.db').resolve()}"
