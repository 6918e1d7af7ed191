"""The command `people`: every command of the project under one name, run in the project's folder.

Each is a module that `python -m` runs as well, with the same arguments. The code is that of the folder in which it is typed,
not that of the folder from which it was installed.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from stages.shared.project import COMMAND, PARAMS


class Command(NamedTuple):
    """A command's module and what it does, in a line."""

    module: str
    purpose: str


GROUPS = {
    "the pipeline": {
        "run": Command("stages.command.run", "everything that is not done yet, from rendered people to the report"),
        "demo": Command("stages.command.demo", "the same on the smallest sizes, in a copy: nothing of yours changes"),
        "configure": Command("stages.configure", "change params.yaml by name, or lay a profile over it"),
        "tune": Command("stages.tune", "search the weights of a system's objective; several processes share the trials"),
        "doctor": Command("stages.command.doctor", "whether this machine and this folder are ready, and what to do if not"),
    },
    "results": {
        "report": Command("stages.report", "the report pages: make one, print where they are, open them"),
        "versions": Command("pipelines.versions", "results of flow runs: list, show, compare, restore"),
        "register": Command("stages.register", "register a model, choose the champion by hand, check the entry"),
        "lineage": Command("stages.lineage", "where a registered model came from; make its numbers or weights again"),
    },
    "trained models on your own data": {
        "identify": Command("stages.identify", "the people in a video: found, followed, described, named"),
        "predict": Command("stages.predict", "the people in pictures: boxes, keypoints, activities"),
        "enroll": Command("stages.enroll", "put a person into a gallery, with consent"),
        "forget": Command("stages.forget", "take a person out of a gallery, and of its versions"),
        "models": Command("stages.models", "trained models of others: list and fetch"),
    },
    "servers": {
        "serve": Command("pipelines.serve", "Prefect, MLflow, Optuna dashboard and a worker on this machine"),
        "dashboard": Command("stages.dashboard", "the Optuna dashboard alone"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
HELP = ("-h", "--help", "help")
SIMILARITY = 0.5  # of names, from 0 to 1, above which one is taken for the other


def main() -> None:
    arguments = sys.argv[1:]
    if not is_this_folders():
        replace_process("stages", arguments, Path.cwd())
    if not arguments or arguments[0] in HELP:
        print(overview())
        return
    name, *rest = arguments
    if name not in COMMANDS:
        sys.exit(unknown(name))
    if not PARAMS.is_file() and not set(rest) & set(HELP[:2]):
        sys.exit(no_project(Path.cwd()))
    module = COMMANDS[name].module
    if module.startswith("stages."):
        os.environ[COMMAND] = f"people {name}"
    replace_process(module, rest, Path(__file__).parents[1])


def is_this_folders() -> bool:
    """Whether the code that runs here is that of the current folder, or the current folder is no project."""
    here = Path("stages", "__main__.py")
    return not (PARAMS.is_file() and here.is_file()) or here.resolve() == Path(__file__).resolve()


def replace_process(module: str, arguments: Sequence[str], code: Path) -> None:
    """Become `python -m module`, with the code of this folder where the current one has none; its exit code is this one's."""
    if not Path(module.partition(".")[0], "__init__.py").is_file():
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(code), os.environ.get("PYTHONPATH"))))
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def overview() -> str:
    """Every command with a line, in groups."""
    width = max(map(len, COMMANDS))
    lines = ["usage: people COMMAND ...        in the project's folder, the one with params.yaml"]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:<{width}}  {command.purpose}" for name, command in commands.items())]
    return "\n".join([*lines, "", "`people COMMAND --help` shows a command's arguments, with an example."])


def unknown(name: str) -> str:
    """The message about a command that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=SIMILARITY)
    guess = f" (did you mean {near[0]}?)" if near else ""
    return f"people: there is no command {name!r}{guess}. `people --help` lists them: {', '.join(COMMANDS)}"


def no_project(here: Path) -> str:
    """The message about a folder without params.yaml, with the nearest folder above that has one."""
    above = next((folder for folder in here.parents if (folder / PARAMS).is_file()), None)
    advice = f"cd {above}" if above else "change to the project's folder, the one with params.yaml"
    return f"people: no params.yaml in {here}: the command works on the project in whose folder it is typed; {advice}"


if __name__ == "__main__":
    main()
