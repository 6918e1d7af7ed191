"""The command `people`: it lists, explains and starts every command, in the folder in which it is typed."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from stages.__main__ import COMMANDS, GROUPS, unknown

HEAVY = ("torch", "numpy", "dvc", "mlflow", "prefect", "optuna", "pandas")


def people(*arguments: str, folder: Path, code: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`people` as its console script starts it, installed from a folder of code (the current folder without one)."""
    program = f"import sys; sys.path.insert(0, {str(code or folder)!r}); from stages.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", program, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_every_command_is_listed_once_with_a_line(root: Path):
    printed = people("--help", folder=root).stdout
    for name, command in COMMANDS.items():
        assert re.findall(rf"(?m)^  {name} +{re.escape(command.purpose)}$", printed)
    assert all(f"{title}:" in printed for title in GROUPS)
    assert max(map(len, printed.splitlines())) <= 100
    assert people(folder=root).stdout == printed


def test_every_command_is_a_module_that_runs_by_itself(root: Path):
    for name, command in COMMANDS.items():
        spec = importlib.util.find_spec(command.module)
        assert spec is not None, name
        assert spec.origin is not None
        assert 'if __name__ == "__main__":' in Path(spec.origin).read_text(), name


def test_the_console_script_is_this_module(root: Path):
    project = tomllib.loads((root / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"people": "stages.__main__:main"}


def test_every_command_has_an_example(root: Path):
    for name, command in COMMANDS.items():
        spec = importlib.util.find_spec(command.module)
        assert spec is not None
        assert spec.origin is not None
        document = ast.get_docstring(ast.parse(Path(spec.origin).read_text())) or ""
        assert re.search(rf"(?m)^ *(people {name}|python -m {re.escape(command.module)})\b", document.partition("\n")[2]), name


@pytest.mark.parametrize("name", ["run", "demo", "doctor", "versions"])
def test_help_of_a_command_has_an_example(root: Path, name: str):
    done = people(name, "--help", folder=root)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"(?m)^    people {name}\b", done.stdout), done.stdout
    module = COMMANDS[name].module
    direct = subprocess.run([sys.executable, "-m", module, "--help"], cwd=root, capture_output=True, text=True).stdout
    assert direct.partition("\n\n")[2] == done.stdout.partition("\n\n")[2], "python -m says the same"
    if module.startswith("stages."):
        assert done.stdout.startswith(f"usage: people {name}")


def test_nothing_heavy_is_loaded_before_the_command_is_known(root: Path):
    program = f"import sys; import stages.__main__; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("module", "late"),
    [
        ("stages.validate, people.layouts.motion", ("scipy.signal", "scipy.interpolate", "scipy.ndimage", "scipy.io", "torch")),
        ("stages.register, people.systems.reid.model, people.video.poses", ("torchvision", "scipy.stats", "torch._dynamo")),
        ("stages.command.calibration, people.training.loop", ("lightning_fabric", "torch._dynamo")),
    ],
)
def test_what_takes_seconds_to_import_is_imported_where_it_is_used(root: Path, module: str, late: tuple[str, ...]):
    program = f"import sys; import {module}; print([name for name in {late} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(("typed", "meant"), [("identfy", "identify"), ("docter", "doctor"), ("repor", "report")])
def test_a_mistyped_command_is_answered_with_the_nearest_one(root: Path, typed: str, meant: str):
    done = people(typed, folder=root)
    assert done.returncode == 1
    assert f"no command '{typed}' (did you mean {meant}?)" in done.stderr


def test_what_resembles_no_command_is_answered_with_all():
    message = unknown("xyzzy")
    assert "did you mean" not in message
    assert all(name in message for name in COMMANDS)


def test_a_mistyped_key_of_params_yaml_is_answered_with_the_nearest_one(root: Path, tmp_path: Path):
    shutil.copy2(root / "params.yaml", tmp_path)
    done = people("configure", "--set", "systems.dmt.training.epoch=3", folder=tmp_path, code=root)
    assert done.returncode == 1
    assert "(did you mean epochs?)" in done.stderr


def test_outside_of_a_project_it_says_where_one_is(root: Path, tmp_path: Path):
    done = people("run", folder=tmp_path, code=root)
    assert done.returncode == 1
    assert f"no params.yaml in {tmp_path}" in done.stderr
    (tmp_path / "params.yaml").touch()
    (tmp_path / "data").mkdir()
    assert f"cd {tmp_path}" in people("run", folder=tmp_path / "data", code=root).stderr


def test_the_code_is_that_of_the_current_folder_and_not_of_the_installation(root: Path, tmp_path: Path):
    clone = tmp_path / "clone"
    for folder in ("stages", "people"):
        shutil.copytree(root / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(root / "params.yaml", clone)
    main = clone / "stages/__main__.py"
    main.write_text(main.read_text().replace("the Optuna dashboard alone", "as the clone has it"))
    (clone / "stages/configure.py").write_text("import sys\nprint('the clone', sys.argv[1:])\n")
    assert "as the clone has it" in people("--help", folder=clone, code=root).stdout
    assert people("configure", "--set", "seed=2", folder=clone, code=root).stdout == "the clone ['--set', 'seed=2']\n"
    assert "the Optuna dashboard alone" in people("--help", folder=root).stdout


def test_the_exit_code_is_that_of_the_command(root: Path):
    assert people("versions", "compare", folder=root).returncode == 2


def test_bars_are_drawn_on_a_terminal_and_for_who_reads_them(root: Path):
    program = "import stages, tqdm, time\nfor _ in tqdm.tqdm(range(3), mininterval=0): time.sleep(0.01)"
    environment = {key: value for key, value in os.environ.items() if key not in ("TQDM_DISABLE", "PEOPLE_PROGRESS")}
    for wanted, is_drawn in (({}, False), ({"PEOPLE_PROGRESS": "1"}, True)):
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=root, env=environment | wanted, capture_output=True, text=True, check=True
        )
        assert bool(done.stderr) is is_drawn, done.stderr


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="setuptools is not installed here")
def test_an_installed_project_has_the_command_and_leaves_other_folders_alone(root: Path, tmp_path: Path):
    """In an environment of its own, which sees the packages of this one."""
    project, environment = tmp_path / "project", tmp_path / "environment"
    shutil.copytree(root / "stages", project / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("people", "pipelines"):
        (project / name).mkdir()
        shutil.copy2(root / name / "__init__.py", project / name)
    for name in ("pyproject.toml", "params.yaml", "README.md", "LICENSE"):
        if (root / name).is_file():
            shutil.copy2(root / name, project)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    purelib = next((environment / "lib").glob("python*/site-packages"))
    packages = [folder for folder in sys.path if folder.endswith("site-packages")]
    (purelib / "packages.pth").write_text("\n".join(packages) + "\n")
    python = environment / "bin/python"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "pip", "install", *options, "--editable", project], check=True, cwd=tmp_path, timeout=100)
    script = environment / "bin/people"
    listed = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "usage: people" in listed
    other = tmp_path / "other"
    (other / "stages").mkdir(parents=True)
    (other / "params.yaml").touch()
    (other / "stages/__init__.py").touch()
    (other / "stages/__main__.py").write_text("import sys\nprint('other', sys.argv[1:])\n")
    done = subprocess.run([script, "run", "x"], cwd=other, capture_output=True, text=True, check=True)
    assert done.stdout == "other ['run', 'x']\n"


def test_make_lists_every_target_with_its_text(root: Path):
    makefile = (root / "Makefile").read_text()
    targets = re.search(r"(?m)^\.PHONY: (.*)$", makefile)
    assert targets is not None
    listed = subprocess.run(["make", "--no-print-directory"], cwd=root, capture_output=True, text=True, check=True).stdout
    for target in targets[1].split():
        text = re.search(rf"(?m)^{target}:.*?## (.+)$", makefile)
        assert text is not None, target
        assert re.search(rf"(?m)^  {target} +{re.escape(text[1])}$", listed), target
