"""What the documents say is there: commands are run or have a reason, links lead somewhere, names exist."""

import glob
import json
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from conftest import run, users_environment
from documents import ROOT, anchors, commands, links, pages
from ruamel.yaml import YAML

TABLE = Path(__file__).parent / "documents.yaml"
MODULE = re.compile(r"python -m ((?:stages|pipelines|benchmarks|tests|people)[\w.]*)")
DOTTED = re.compile(r"^((?:people|stages|pipelines|benchmarks)(?:\.\w+)+)(?:\(\))?$")
FOLDERS = ("people", "stages", "pipelines", "tests", "docs", "benchmarks")
IN_A_FOLDER = re.compile(rf"^((?:{'|'.join(FOLDERS)})/[\w.<>*/-]*)(?:: (\w+))?")
BY_NAME = (
    "datasets",
    "validate",
    "flow",
    "silhouettes",
    "poses",
    "crops",
    "foregrounds",
    "scenes",
    "systems",
    "compare",
    "search",
    "score",
)
PARAMETER = re.compile(rf"(?<![\w./-])((?:identify|{'|'.join(BY_NAME)})(?:\.(?:\w+|<\w+>|\*))+)(?![\w/-]|\.\w)")
NO_MODULES = ("people.env",)  # a file of systemd
EXAMPLES = ("colours", "portraits")  # of docs/extending.md

RUN_MODULES = """
import json, runpy, shutil, sys
failed = []
for command in json.loads(sys.argv[1]):
    shutil.copyfile("params.before.yaml", "params.yaml")
    _, _, module, *arguments = command
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as ended:
        if ended.code not in (None, 0):
            failed.append([command, str(ended.code)])
    except Exception as error:
        failed.append([command, repr(error)])
    finally:
        for name in [name for name in sys.modules if name == module]:
            del sys.modules[name]
print("failed:", json.dumps(failed))
"""

TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in pages()}
COMMANDS = {command: name for name, text in TEXTS.items() for command in commands(text)}
LISTED: dict[str, Any] = YAML(typ="safe").load(TABLE)
PATTERNS = {
    **{pattern: kind for kind in ("modules", "shell", "dry_run") for pattern in LISTED[kind]},
    **{pattern: "reason" for entry in LISTED["not_run"] for pattern in entry["commands"]},
}


def kind_of(command: str) -> str | None:
    """How a command is treated: the exact entry, or else the longest pattern that fits."""
    fitting = [pattern for pattern in PATTERNS if pattern == command or fnmatchcase(command, pattern.replace("[", "[[]"))]
    return PATTERNS[max(fitting, key=lambda pattern: (pattern == command, len(pattern)))] if fitting else None


def test_every_command_is_run_or_has_its_reason():
    unlisted = [f"{name}: {command}" for command, name in COMMANDS.items() if kind_of(command) is None]
    assert not unlisted, "list these commands in tests/documents.yaml:\n" + "\n".join(unlisted)
    assert all(len(entry["reason"]) > 10 for entry in LISTED["not_run"])


def test_every_listed_command_is_on_some_page():
    unused = [
        pattern
        for pattern in PATTERNS
        if not any(pattern == command or fnmatchcase(command, pattern.replace("[", "[[]")) for command in COMMANDS)
    ]
    assert not unused, "no page has these commands; take them out of tests/documents.yaml:\n" + "\n".join(unused)


@pytest.fixture(scope="module")
def project(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small run, whose params.yaml is committed."""
    copy = tmp_path_factory.mktemp("documents") / "project"
    shutil.copytree(small_run, copy, symlinks=True)
    shutil.copy(copy / "params.yaml", copy / "params.before.yaml")
    run(["git", "init", "--quiet"], copy)
    run(["git", "add", "params.yaml", "dvc.yaml"], copy)
    run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "parameters"], copy)
    (copy / "docs").mkdir(exist_ok=True)
    return copy


def of_kind(kind: str) -> list[str]:
    return sorted(command for command in COMMANDS if kind_of(command) == kind)


def test_commands_of_the_projects_modules_run(project: Path):
    parsed = [shlex.split(command.replace("<folder>", "/data/archive")) for command in of_kind("modules")]
    done = run([sys.executable, "-c", RUN_MODULES, json.dumps(parsed)], project)
    failed = json.loads(done.stdout.rpartition("failed: ")[2])
    shutil.copyfile(project / "params.before.yaml", project / "params.yaml")
    assert failed == []
    assert len(parsed) > 20


@pytest.mark.parametrize("command", of_kind("shell"))
def test_a_command_of_the_shell_runs(command: str, project: Path):
    run(["bash", "-c", command], project)


@pytest.mark.parametrize("command", of_kind("dry_run"))
def test_make_knows_the_target_and_what_it_wants(command: str):
    done = subprocess.run(
        ["bash", "-c", f"{command} --dry-run"], cwd=ROOT, env=users_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_modules_that_are_called_exist():
    called = {module: command for command in COMMANDS for module in MODULE.findall(command)}
    missing = [command for module, command in called.items() if not module_exists(module)]
    assert not missing


def module_exists(name: str) -> bool:
    """Whether a module can be run: `python -m` takes a module, or a package with a __main__."""
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_to_files_and_headings_that_are_there(name: str):
    broken = []
    for link in links(TEXTS[name]):
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        if not target.exists():
            broken.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target.read_text()):
            broken.append(f"{link}: no such heading; there are {', '.join(sorted(anchors(target.read_text())))}")
    assert not broken, f"{name}: {broken}"


@pytest.mark.parametrize("name", TEXTS)
def test_files_and_what_is_in_them_are_there(name: str):
    if name in ("CHANGELOG.md", "docs/extending.md"):
        pytest.skip("names what is no more, or what its example adds")
    missing = []
    for part in re.findall(r"`([^`\n]+)`", TEXTS[name]):
        if match := IN_A_FOLDER.match(part):
            path, symbol = match[1].rstrip("."), match[2]
            found = [Path(file) for file in glob.glob(str(ROOT / re.sub(r"<\w+>", "*", path)))]
            is_there = bool(found) or (ROOT / f"{path}.py").is_file()
            if not is_there or (symbol and found and found[0].is_file() and symbol not in found[0].read_text()):
                missing.append(part)
        elif (match := DOTTED.match(part)) and part not in NO_MODULES and not names_something(match[1]):
            missing.append(part)
    assert not missing, f"{name} names what does not exist: {missing}"


def names_something(dotted: str) -> bool:
    """Whether a dotted name is a module or package, or something in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if source.is_file() or path.is_dir():
            rest = parts[length : length + 1]
            return not rest or (source.is_file() and re.search(rf"\b{rest[0]}\b", source.read_text()) is not None)
    return False


def blocks() -> dict[str, Any]:
    """params.yaml, with the datasets and values that profiles add."""
    yaml = YAML(typ="safe")
    values = yaml.load(ROOT / "params.yaml")
    for profile in sorted((ROOT / "stages/profiles").glob("*.yaml")):
        for kind, added in (yaml.load(profile).get("add") or {}).items():
            values.setdefault(kind, {}).update(added)
    return values


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "CHANGELOG.md"])
def test_parameters_that_a_page_names_exist(name: str):
    values, missing = blocks(), []
    text = "\n".join(re.findall(r"`([^`\n]+)`", TEXTS[name])) + "\n".join(re.findall(r"--set \S+", TEXTS[name]))
    for key in PARAMETER.findall(text):
        kind, *rest = key.split(".")
        named = rest[0] in values.get(kind, {}) or not rest[0].isidentifier()
        if kind in BY_NAME and (not named or rest[0] in EXAMPLES):
            continue  # a function of a module of that name
        if not exists(values[kind], rest):
            missing.append(key)
    assert not missing, f"{name} names parameters that do not exist: {missing}"


def exists(block: Any, keys: list[str]) -> bool:
    """Whether the keys lead somewhere; <name> and * stand for any one."""
    if not keys:
        return True
    if not isinstance(block, dict):
        return block is None or isinstance(block, str)
    chosen = block.values() if not keys[0].isidentifier() else [block[keys[0]]] if keys[0] in block else []
    return any(exists(each, keys[1:]) for each in chosen)
