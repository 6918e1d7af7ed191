"""Names that are options, commands of a shell or paths are refused before git or dvc gets them; nothing is executed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreach import foreach_blocks
from pydantic import ValidationError
from ruamel.yaml import YAML

from pipelines import commands, flows, graph, identify, versions, work, workspace
from pipelines.commands import Failed
from pipelines.parameters import Inputs, RunOptions

ROOT = Path(__file__).parent.parent.parent
HOSTILE = {
    "--help": "--help",
    "-rf": "-rf",
    "a path": "../../x",
    "two commands": "a;touch executed",
    "a substitution": "$(touch executed)",
    "backticks": "`touch executed`",
    "a pipe": "a|touch executed",
    "spaces": "two words",
    "a line feed": "a\ntouch executed",
    "a line feed at the end": "a\n",
    "a zero byte": "a\0b",
    "an escape sequence": "\x1b[2J",
    "very long": "a" * 200_000,
}
SUBSTITUTION = "--upload-pack=touch executed"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, in which nothing may appear."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main"], check=True)
    return tmp_path


@pytest.fixture
def no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command may be run."""

    def fail(*arguments: Any, **_: Any) -> None:
        pytest.fail(f"a command is run: {str(arguments)[:300]}")

    monkeypatch.setattr(subprocess, "Popen", fail)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".git" not in path.parts]


@pytest.mark.usefixtures("no_command")
@pytest.mark.parametrize("kind", ["branch", "tag"])
@pytest.mark.parametrize("name", HOSTILE)
def test_branches_and_tags(folder: Path, name: str, kind: str):
    with pytest.raises(Failed, match=rf"is no name for a {kind}: expected letters, .* choose another, such as") as refused:
        versions.check_names(**({"branch": "", "tag": ""} | {kind: HOSTILE[name]}))
    assert len(str(refused.value)) < 1000
    assert files(folder) == []


@pytest.mark.parametrize("name", ["results", "v1.0", "feature/gait_2", "Größe", "a+b"])
def test_usual_names_of_branches_and_tags_are_accepted(name: str):
    versions.check_names(name, name)


@pytest.mark.parametrize("name", ["a/../../x", "x.lock", "a//b", "a/", "a.", "HEAD/.x"])
def test_what_only_git_refuses(folder: Path, name: str):
    with pytest.raises(Failed, match=r"git refuses .* as the name of a branch; choose another"):
        versions.check_names(name, "")
    assert files(folder) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_versions(folder: Path, name: str):
    with pytest.raises(SystemExit, match=r"there is no version .*; there are none yet") as refused:
        versions.find(HOSTILE[name])
    assert len(str(refused.value)) < 2000
    plain = versions.unused_name(HOSTILE[name])
    assert subprocess.run(["git", "check-ref-format", f"{versions.REFS}/{plain}"], check=False).returncode == 0
    assert not plain.startswith("-")
    assert len(plain) <= 200
    assert files(folder) == []


@pytest.mark.parametrize("verb", ["show", "restore"])
@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in ("a zero byte", "very long")])
def test_versions_in_a_terminal(folder: Path, name: str, verb: str):
    (folder / "dvc.yaml").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines.versions", verb, "--", HOSTILE[name]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("there is no version")
    assert files(folder) == [folder / "dvc.yaml"]


@pytest.mark.usefixtures("no_command")
@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "very long"])
def test_systems_and_pools_of_a_run(folder: Path, name: str):
    for flow in (flows.reproduce, flows.train, flows.tune, flows.evaluate, flows.register):
        with pytest.raises(Exception, match=r"should match pattern|pattern"):
            flow.validate_parameters({"systems": [HOSTILE[name]]})
    with pytest.raises(ValidationError, match="should be 'here', 'cpu' or 'gpu'"):
        RunOptions.model_validate({"pools": {"train": HOSTILE[name]}})
    with pytest.raises(ValidationError, match="not permitted"):
        RunOptions.model_validate({"pools": {HOSTILE[name]: "gpu"}})
    assert files(folder) == []


@pytest.mark.usefixtures("no_command")
@pytest.mark.parametrize("name", HOSTILE)
def test_videos_galleries_and_folders_of_results(folder: Path, name: str):
    with pytest.raises(Exception, match=r"pattern|at most"):
        identify.identify.validate_parameters({"video": "x.mp4", "gallery": HOSTILE[name]})
    if {"\n", "\0", "\x1b"} & set(HOSTILE[name]) or name == "very long":
        for parameters in ({"video": HOSTILE[name]}, {"video": "x.mp4", "out": HOSTILE[name]}):
            with pytest.raises(Exception, match=r"pattern|at most"):
                identify.identify.validate_parameters(parameters)
    assert files(folder) == []


@pytest.mark.usefixtures("no_command")
@pytest.mark.parametrize("numbers", [{"trials": -1}, {"workers": 0}, {"workers": 10**9}, {"trials": "$(touch executed)"}])
def test_numbers_of_trials_and_workers(numbers: dict[str, Any]):
    with pytest.raises(Exception, match=r"should be|valid integer"):
        flows.tune.validate_parameters(numbers)


@pytest.mark.usefixtures("no_command")
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("block", foreach_blocks(ROOT / "dvc.yaml"))
def test_keys_of_every_block_that_dvc_puts_into_commands(folder: Path, name: str, block: str):
    if name == "very long":
        return
    shutil.copy2(ROOT / "dvc.yaml", folder)
    with (folder / "params.yaml").open("w") as file:
        YAML().dump({block: {"dmt": 1, HOSTILE[name].replace("\0", "\\0"): 2}}, file)
    with pytest.raises(Failed, match=rf"params\.yaml, .*{block}.* must be lower-case letters, digits and _"):
        graph.read()


def test_dvc_puts_keys_of_ten_blocks_into_commands_and_no_other_values():
    content = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    assert len(foreach_blocks(ROOT / "dvc.yaml")) == 10
    for name, stage in content.items():
        assert re.fullmatch(r"python -m stages\.\w+ \$\{key\}", stage["do"]["cmd"]), name


@pytest.mark.usefixtures("no_command")
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("change", [
    lambda name: {"commit": name}, lambda name: {"lock": {name: {}}}, lambda name: {"lock": {f"train@{name}": {}}},
])  # fmt: skip
def test_what_is_sent_to_a_worker(name: str, change: Callable[[str], dict[str, Any]]):
    valid = {"repository": "file:///srv/people", "commit": "0" * 40, "params": "", "lock": {}}
    if name == "very long" and "commit" not in change(""):
        return  # a long word is the name of a stage that does not exist
    with pytest.raises(Failed, match=r"is no full name of a commit|is no name of a stage"):
        work.check(Inputs(**(valid | change(HOSTILE[name]))))


@pytest.mark.parametrize("repository", [*HOSTILE.values(), SUBSTITUTION, "ext::sh -c touch% executed"])
def test_repositories_that_are_sent_to_a_worker_execute_nothing(folder: Path, repository: str):
    inputs = Inputs(repository=repository, commit="0" * 40, params="", lock={})
    with pytest.raises(Failed):
        work.prepare_clone(inputs, lambda _: None)
    assert files(folder) == []


@pytest.mark.parametrize("argument", ["--help", "-rf", "../../x", "a;b"])
def test_the_command_that_deploys_takes_no_name_and_deploys_nothing_then(folder: Path, argument: str):
    (folder / "prefect.yaml").write_text("deployments: []")
    no_server = {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_HOME": str(folder)}
    environment = {**os.environ, **no_server, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines.deploy", argument]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == (0 if argument == "--help" else 2)
    assert "usage: python -m pipelines.deploy" in done.stdout + done.stderr


def test_a_command_gets_its_arguments_as_they_are(folder: Path):
    lines = commands.run([sys.executable, "-c", "import sys; print(sys.argv[1:])", *list(HOSTILE.values())[:7]], lambda _: None)
    assert lines == [str(list(HOSTILE.values())[:7])]
    assert workspace.query("git", "rev-parse", "--verify", "--quiet", "refs/versions/$(touch executed)") is None
    assert files(folder) == []
