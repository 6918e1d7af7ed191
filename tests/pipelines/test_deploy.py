"""The commands of the documents, as they stand there, in a terminal: on a server that has nothing, and after `make serve`."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect_fleet import Fleet, fleet
from ruamel.yaml import YAML
from terminal import typed
from test_serve import running

ROOT = Path(__file__).parent.parent.parent
STAGES = "stages: {pack: {foreach: '${systems}', do: {cmd: 'mkdir -p out && echo 1 > out/${key}', outs: ['out/${key}']}}}"

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1500)]


def documented(document: str, *, containing: str) -> list[str]:
    """The commands of the first block of a document that has this text, without comments."""
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    block = next(block for block in blocks if containing in block)
    return [line.partition("  #")[0].strip() for line in block.splitlines() if line.strip()]


def deployments() -> set[str]:
    """The names of the deployments of prefect.yaml, with their flows'."""
    listed = YAML(typ="safe").load(ROOT / "prefect.yaml")["deployments"]
    flows = {"stage_on_worker": "stage", "trials_on_worker": "trials"}
    functions = [(entry["entrypoint"].rpartition(":")[2], entry["name"]) for entry in listed]
    return {f"{flows.get(function, function)}/{name}" for function, name in functions}


def on_server(request: Any) -> tuple[set[str], set[str]]:
    """The deployments, with their flows' names, and the pools of a server."""
    flows = {flow["id"]: flow["name"] for flow in request("flows/filter", {})}
    names = {f"{flows[found['flow_id']]}/{found['name']}" for found in request("deployments/filter", {})}
    return names, {pool["name"] for pool in request("work_pools/filter", {})}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("bare")) as server:
        yield server


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two stages that take no time, with the flows of this one."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "prefect.yaml", folder)
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "params.yaml").write_text("systems: {dmt: 1, reid: 2}")
    git = ["git", "-c", "user.email=someone@localhost", "-c", "user.name=someone"]
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], ["git", "add", "--all"]):
        program = str(Path(sys.executable).with_name("dvc")) if command[0] == "dvc" else "git"
        subprocess.run([program, *command[1:]], cwd=folder, check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "the project"], cwd=folder, check=True)
    return folder


def test_a_bare_server_gets_pools_and_deployments_by_one_command_which_asks_nothing(bare: Fleet):
    environment = {**bare.environment, "PEOPLE_WORKSPACE": "/not/to/be/written/down"}
    for command in documented("docs/flows.md", containing="pipelines.deploy"):
        code, output = typed(command, ROOT, environment)
        assert code == 0, output
        assert "Would you like" not in output
    assert on_server(bare.request) == (deployments(), {"cpu", "gpu"})
    assert "/not/to/be/written/down" not in str(bare.request("deployments/filter", {}))
    local = bare.request("deployments/name/reproduce/local")["id"]
    bare.request(f"deployments/{local}/schedules", [{"schedule": {"interval": 86400.0}, "active": True}])
    for command in ("python -m pipelines.deploy", "prefect deploy --all"):
        code, output = typed(command, ROOT, environment)
        assert code == 0, output
        assert "Would you like" not in output
        assert len(bare.request(f"deployments/{local}")["schedules"]) == 1
    assert on_server(bare.request) == (deployments(), {"cpu", "gpu"})


def test_outside_the_project_the_command_says_where_to_run_it(bare: Fleet, tmp_path: Path):
    command = f"PYTHONPATH={ROOT} {sys.executable} -m pipelines.deploy"
    code, output = typed(command, tmp_path, bare.environment)
    assert code == 1
    assert "no prefect.yaml" in output


def test_after_make_serve_the_documented_commands_run_and_a_wrong_system_is_answered_in_one_line(project: Path, tmp_path: Path):
    start, *commands = documented("docs/flows.md", containing="make serve")
    assert start == "make serve"
    state = tmp_path / "state"
    with running(state, PEOPLE_WORKSPACE=str(project)) as serve:
        assert on_server(serve.prefect) == (deployments(), {"cpu", "gpu"})
        (project / ".state").symlink_to(state)
        environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "500"}
        code, output = typed("; ".join(commands), project, environment)
        assert code == 0, output
        assert (project / "out/dmt").exists()
        assert (project / "out/reid").exists()
        for systems, reason in (
            ('["nobody"]', r"Flow run finished in state 'Failed: systems nobody: not in dvc\.yaml, which has dmt, reid'"),
            ('["x; touch y"]', r"does not match"),
        ):
            code, output = typed(f"{commands[0]}; {commands[-1]} --param systems='{systems}'", project, environment)
            assert code == 1
            assert re.search(reason, output), output
        assert not (project / "y").exists()
