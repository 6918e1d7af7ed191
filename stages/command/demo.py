"""The whole pipeline on the smallest sizes, in a copy of the project: everything is seen once, and nothing of yours changes.

    people demo

The copy is .state/demo. It has params.yaml as git has it, with the profile `small`, and its own DVC cache, MLflow and Optuna.
It runs a stage on each core. A second call does only what the code of the project has changed since.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.command.plan import environment
from stages.configure import configure, profile
from stages.shared.project import PARAMS, argument_parser, remove, state

SOURCES = ("people", "stages", "pipelines")  # folders of which DVC's stages depend on some as a whole
FILES = (PARAMS, Path("dvc.yaml"), Path(".dvc/config"), Path(".dvcignore"))
SERVERS = ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "PEOPLE_STATE", "DVC_ROOT")  # the demonstration has its own
PROFILE = "small"
UNUSED = shutil.ignore_patterns("__pycache__", "*.pyc")


def main() -> None:
    argument_parser(__doc__).parse_args()
    folder = state("demo").resolve()
    copy_project(folder)
    own = {"OMP_NUM_THREADS": "1"}  # networks this small are no faster on several, and slower beside other work
    own |= {name: value for name, value in environment().items() if name not in SERVERS}
    if not (folder / ".git").exists():
        subprocess.run(["git", "init", "--quiet"], cwd=folder, env=own, check=True)
    configure(folder / PARAMS, profile(PROFILE), is_checked=False)  # its values are those that tests run
    print(f"a demonstration on the smallest sizes, in {os.path.relpath(folder)}", flush=True)
    code = passing_signals_on([sys.executable, "-m", "stages.command.run", "--jobs", "auto"], folder, own)
    print(f"\nto remove the demonstration: rm -r {os.path.relpath(folder)}")
    sys.exit(code)


def passing_signals_on(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> int:
    """Run a command, which gets the signals that ask this one to end: its exit code."""
    process = subprocess.Popen(command, cwd=folder, env=variables, start_new_session=True)  # Ctrl-C comes here alone
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: process.send_signal(number))
    return process.wait()


def copy_project(folder: Path) -> None:
    """Copy the project's sources as they are, and its params.yaml as git has it, over those in the folder."""
    for name in SOURCES:
        remove(folder / name)
        shutil.copytree(name, folder / name, ignore=UNUSED)
    for file in FILES:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(committed(file) if file == PARAMS else file.read_bytes())


def committed(file: Path) -> bytes:
    """A file as git has it, or as it is where there is no git."""
    shown = subprocess.run(["git", "show", f"HEAD:./{file}"], capture_output=True)
    return file.read_bytes() if shown.returncode else shown.stdout


if __name__ == "__main__":
    main()
