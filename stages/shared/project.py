"""What every stage needs: its parameters, a place for its output that cannot be half-written, and the project's state."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PARAMS = Path("params.yaml")
ERROR = "error_"  # begins the name of an error's column in curves.csv


def params(*keys: str) -> Any:
    """The value at `keys` in params.yaml, as plain dicts, lists and numbers.

    YAML 1.2 (the same parser as DVC's): `1e-3` is a number.
    """
    if not PARAMS.is_file():
        raise ValueError(f"params.yaml not found in {Path.cwd()}; run the stage from the project's root folder")
    value = YAML(typ="safe", pure=True).load(PARAMS)
    for depth, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            there = ", ".join(value) if isinstance(value, dict) else "no block"
            raise ValueError(
                f"params.yaml has no {'.'.join(keys[: depth + 1])}: at that place there is {there}; add the key or correct it"
            )
        value = value[key]
    return value


@contextmanager
def output(path: Path | str) -> Iterator[Path]:
    """A temporary sibling of `path` to write to, a file or a folder, which becomes `path` only when the block ends well."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    remove(partial)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        if not partial.exists():
            raise ValueError(f"nothing was written to {partial}, which was to become {path}")
        remove(path)
        os.replace(partial, path)
    except BaseException:
        remove(partial)
        raise


def remove(path: Path) -> None:
    """Delete a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def state(*parts: str) -> Path:
    """A path where services and unfinished work live, below `PEOPLE_STATE` or `.state/`: nothing there is a stage's output."""
    path = Path(os.environ.get("PEOPLE_STATE") or ".state", *parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def tracking_uri() -> str:
    """Where MLflow keeps its runs: `MLFLOW_TRACKING_URI`, or a database of the project's own."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{state('mlflow.db').resolve()}"


def optuna_storage() -> str:
    """Where Optuna keeps its studies: `OPTUNA_STORAGE`, or a database of the project's own."""
    return os.environ.get("OPTUNA_STORAGE") or f"sqlite:///{state('optuna.db').resolve()}"
