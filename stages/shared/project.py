"""What every stage needs: its parameters, outputs that are never incomplete, and paths of the project's state."""

import argparse
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

PARAMS = Path("params.yaml")
EXPERIMENTS = (".dvc", "tmp", "exps")  # the folder in which DVC runs experiments in copies of the workspace
COMMAND = "PEOPLE_COMMAND"  # under which name a command of `people` was called: stages/__main__.py
ERROR = "error_"  # prefix of the columns of validation errors in curves.csv


def params(*keys: str) -> Any:
    """The value at `keys` in params.yaml, as plain dicts, lists and numbers.

    YAML 1.2 (the same parser as DVC's): `1e-3` is a number.
    """
    if not PARAMS.is_file():
        raise ValueError(f"params.yaml not found in {Path.cwd()}; run the stage from the project's root folder")
    value = YAML(typ="safe").load(PARAMS)
    for depth, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            present = ", ".join(value) if isinstance(value, dict) else "none"
            raise ValueError(
                f"params.yaml has no {'.'.join(keys[: depth + 1])}: the keys there are {present}; add the key or correct it"
            )
        value = value[key]
    return value


def round_trip() -> YAML:
    """A reader and writer of params.yaml that keeps its comments and its form; nothing is written as the word null."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def on_one_line(value: Any) -> Any:
    """Lists and short mappings as params.yaml writes them."""
    if not isinstance(value, list | dict):
        return value
    line = CommentedSeq(value) if isinstance(value, list) else CommentedMap(value)
    line.fa.set_flow_style()
    return line


def argument_parser(document: str | None) -> argparse.ArgumentParser:
    """A command's parser, whose help shows the first line of the module's docstring, and the rest of it below the options.

    It goes by the name that `people` has given it in `PEOPLE_COMMAND`, or else by that of its file.
    """
    first, _, rest = (document or "").strip().partition("\n")
    return argparse.ArgumentParser(
        prog=os.environ.pop(COMMAND, None),
        description=first,
        epilog=rest.strip("\n"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def argument(name: str, description: str | None) -> str:
    """The single argument of a stage's command, with its help; `description`: the docstring of the stage."""
    parser = argument_parser(description)
    parser.add_argument(name, help=f"one of the {name}s in params.yaml")
    return vars(parser.parse_args())[name]


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
    """A path for services and unfinished work, below `PEOPLE_STATE` or `.state/`: no stage has an output there.

    A relative folder is one of the workspace, also where DVC runs an experiment in a temporary copy of it: what is registered
    there is in the registry of the workspace, and not gone with the copy.
    """
    path = Path(workspace(), os.environ.get("PEOPLE_STATE") or ".state", *parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def workspace() -> Path:
    """The project's root folder: the current one, or the one whose temporary copy it is (`.dvc/tmp/exps/`, of `dvc exp run
    --temp` and of queued experiments).
    """
    here = Path.cwd()
    copies = [folder for folder in here.parents if folder.parts[-3:] == EXPERIMENTS]
    return copies[-1].parents[2] if copies else Path()


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock among the processes of this machine; the system releases it if the process is killed."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tracking_uri() -> str:
    """The database of MLflow's runs: `MLFLOW_TRACKING_URI`, or an SQLite file of the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_address(state("mlflow.db"))


def optuna_storage() -> str:
    """The database of Optuna's studies: `OPTUNA_STORAGE`, or an SQLite file of the project."""
    return os.environ.get("OPTUNA_STORAGE") or sqlite_address(state("optuna.db"))


def sqlite_address(file: Path) -> str:
    """The address of an SQLite file: ? begins options and % an escape, so these two are escaped.

    All others stay as they are, for MLflow makes a folder of the address as it is written, beside the one that it means.
    """
    return f"sqlite:///{str(file.resolve()).replace('%', '%25').replace('?', '%3F')}"
