"""DVC hashes the paths listed in dvc.yaml: one too few serves stale results, silently; one too many computes for nothing."""

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import run, workspace
from dvc.repo import Repo
from dvc_data.hashfile.meta import Meta
from reachability import PACKAGES, ROOT, has_code, reachable, with_code
from ruamel.yaml import YAML

from people import systems
from people.training import resume

PARAMS: dict[str, Any] = YAML(typ="safe").load(ROOT / "params.yaml")


@functools.cache
def stages() -> dict[str, tuple[str, str, list[Path]]]:
    """Every DVC stage by its address: the script's module, the key it runs for, and the paths that it depends on."""
    listed = {}
    with Repo(str(ROOT)) as repo:
        for stage in repo.index.stages:
            module, key = (stage.cmd.split("python -m ")[1].split() + [""])[:2]
            listed[stage.addressing] = (module, key, [Path(dep.fs_path) for dep in stage.deps])
    return listed


def listed_sources(deps: list[Path]) -> set[Path]:
    """The Python files with code among and below the paths."""
    sources = [dep for dep in deps if dep.is_relative_to(ROOT) and dep.relative_to(ROOT).parts[0] in PACKAGES]
    return with_code({file for dep in sources for file in ([dep] if dep.suffix == ".py" else dep.rglob("*.py"))})


@pytest.mark.parametrize("address", sorted(stages()))
def test_a_stage_depends_on_the_source_files_that_it_can_reach_and_on_no_others(address: str):
    script, key, deps = stages()[address]
    reached, listed = with_code(reachable(script, key, PARAMS)), listed_sources(deps)
    missing, superfluous = (
        sorted(str(path.relative_to(ROOT)) for path in paths) for paths in (reached - listed, listed - reached)
    )
    assert not missing, f"add to the deps of {address} in dvc.yaml: {missing}"
    assert not superfluous, f"{address} cannot reach these; remove them from its deps in dvc.yaml: {superfluous}"
    empty = [str(dep.relative_to(ROOT)) for dep in deps if dep.name == "__init__.py" and not has_code(dep)]
    assert not empty, f"these hold no code; remove them from the deps of {address} in dvc.yaml: {empty}"


@pytest.mark.parametrize("address", sorted(stages()))
def test_a_stage_depends_on_no_source_file_that_does_not_exist(address: str):
    gone = [str(dep) for dep in stages()[address][2] if dep.is_relative_to(ROOT / "people") and not dep.exists()]
    assert not gone, f"remove from the deps of {address} in dvc.yaml: {gone}"


@pytest.mark.parametrize("system", systems.names())
def test_a_new_metric_retrains_nothing(system: str):
    judging = {ROOT / "people/evaluation/metrics.py", ROOT / f"people/systems/{system}/score/__init__.py"}
    assert all(path.is_file() for path in judging)
    for stage in ("train", "tune", "compare"):
        script, key, deps = stages()[f"{stage}@{system}"]
        assert not judging & reachable(script, key, PARAMS)
        assert not judging & listed_sources(deps)


@pytest.mark.parametrize("system", systems.names())
def test_an_unfinished_training_goes_on_as_long_as_what_it_reaches_is_unchanged(system: str):
    script, key, _ = stages()[f"train@{system}"]
    parts = [f"people.systems.{system}.{part}" for part in ("data", "model", "objective")]
    hashed = set(resume.reachable(["people.training.loop", *parts]).values())
    assert hashed == {path for path in reachable(script, key, PARAMS) if path.is_relative_to(ROOT / "people")}
    assert not [path for path in hashed if path.is_relative_to(ROOT / "people/synth")]


@pytest.mark.parametrize("system", systems.names())
def test_the_variants_of_a_system_concern_its_comparison_alone(system: str):
    file = ROOT / f"people/systems/{system}/variants.yaml"
    assert file.is_file()
    assert [address for address, (_, _, deps) in stages().items() if file in deps] == [f"compare@{system}"]


def test_no_stage_depends_on_a_folder_that_holds_other_stages_outputs():
    with Repo(str(ROOT)) as repo:
        outputs = [Path(out.fs_path) for stage in repo.index.stages for out in stage.outs]
    parents = {
        dep for _, _, deps in stages().values() for dep in deps for out in outputs if dep != out and out.is_relative_to(dep)
    }
    assert not parents


def test_scoring_reaches_the_protocol_and_reading_a_dataset_does_not():
    protocols = ROOT / "people/protocols/probe_set.py"
    reaching = {address for address, (script, key, _) in stages().items() if protocols in reachable(script, key, PARAMS)}
    assert reaching == {f"evaluate@{system}" for system in PARAMS["systems"]}


def test_a_function_that_is_not_called_imports_nothing(tmp_path: Path):
    program = tmp_path / "used.py"
    program.write_text("import sys\nfrom people.datasets import casiab\nprint('people.protocols.probe_set' in sys.modules)\n")
    done = subprocess.run([sys.executable, program], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which DVC takes every stage for done, with outputs that are made up."""
    copy = workspace(tmp_path_factory.mktemp("recorded") / "project")
    with Repo(str(copy)) as repo:
        for out in (out for stage in repo.index.stages for out in stage.outs):
            path = Path(out.fs_path)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix:
                path.write_text("{}\n")
            else:
                path.mkdir()
                (path / "made-up.txt").write_text(str(path.relative_to(copy)))
    run(["dvc", "commit", "--force"], copy)
    assert changed(copy) == []
    return copy


def changed(copy: Path) -> list[str]:
    """The stages that DVC would run again."""
    return sorted(json.loads(run(["dvc", "status", "--json"], copy).stdout))


@pytest.mark.parametrize(
    "new",
    [
        "people/datasets/x.py",
        "people/datasets/x/__init__.py",
        "people/video/x.py",
        "people/storage/x.py",
        "people/protocols/box_set.py",
        "people/synth/motion/x/__init__.py",
        "people/systems/x/model.py",
        "people/systems/dmt/README.md",
        "people/evaluation_x.py",
        "stages/shared/x.py",
        "stages/profiles/x.yaml",
    ],
)
def test_what_is_new_runs_nothing_that_exists(recorded: Path, new: str):
    path = recorded / new
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('"""New."""\n')
    try:
        assert changed(recorded) == []
    finally:
        path.unlink()
        if before is not None:
            path.write_text(before)
        elif not any(path.parent.iterdir()):
            path.parent.rmdir()


def test_a_changed_source_runs_what_reaches_it(recorded: Path):
    path = recorded / "people/systems/dmt/serving.py"
    before = path.read_text()
    path.write_text(before + "\n")
    try:
        assert changed(recorded) == ["register@dmt"]
    finally:
        path.write_text(before)


def test_make_clean_removes_what_every_stage_makes():
    recipe = (ROOT / "Makefile").read_text().split("\nclean:")[1]
    with Repo(str(ROOT)) as repo:
        folders = {Path(out.fs_path).relative_to(ROOT).parts[:2] for stage in repo.index.stages for out in stage.outs}
    assert {"/".join(parts) for parts in folders} == {word for word in recipe.split() if word.startswith("data/")}


def test_no_parameter_has_a_name_that_dvc_leaves_out_of_its_run_cache():
    """DVC's run cache ignores every key `size` and `nfiles`, at any depth: a stage with such a parameter gets stale results."""

    def keys(block: object) -> set[str]:
        return {name for key, value in block.items() for name in {key} | keys(value)} if isinstance(block, dict) else set()

    used = keys(PARAMS)
    assert {"seed", "epochs"} <= used
    assert not used & {Meta.PARAM_SIZE, Meta.PARAM_NFILES}
