"""DVC hashes the paths listed in dvc.yaml and nothing else: one that is missing there would serve stale results, silently."""

import ast
import functools
from pathlib import Path

import grimp
import pytest
from dvc.repo import Repo
from dvc_data.hashfile.meta import Meta
from ruamel.yaml import YAML

from people import systems

ROOT = Path(__file__).parent.parent
MOTION_SOURCES = {"kinectgait", "cmumocap"}


@functools.cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("people", "stages", cache_dir=None)


@functools.cache
def stages() -> dict[str, tuple[str, str, list[Path]]]:
    """Every DVC stage by its address: the script's module, the key it runs for, and the paths that it depends on."""
    found = {}
    with Repo(str(ROOT)) as repo:
        for stage in repo.index.stages:
            module, key = (stage.cmd.split("python -m ")[1].split() + [""])[:2]
            found[stage.addressing] = (module, key, [Path(dep.fs_path) for dep in stage.deps])
    return found


def file_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def with_imports(modules: set[str]) -> set[str]:
    """The modules, all that they import at any depth, and the packages that contain them."""
    reached = set(modules)
    for module in modules:
        reached |= imports().find_upstream_modules(module)
    return reached | {".".join(m.split(".")[:depth]) for m in reached for depth in range(1, m.count(".") + 1)}


def found_by_name(module: str) -> set[tuple[str, str]]:
    """Loads by name in a module's source: `systems.find(x, "part")` or `datasets.find(x)`, as (package, part or *)."""
    calls = set()
    for node in ast.walk(ast.parse(file_of(module).read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "find"):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id in {"systems", "datasets"}:
            parts = [a.value for a in node.args[1:] if isinstance(a, ast.Constant)]
            calls.add((node.func.value.id, parts[0] if parts else "*"))
    return calls


def reachable(script: str, key: str) -> set[Path]:
    """Every source file that the stage can execute."""
    modules: set[str] = {script}
    while True:
        reached = with_imports(modules)
        for module in list(reached):
            for package, part in found_by_name(module):
                if package == "systems":
                    parts = ["data", "model", "objective", "score"] if part == "*" else [part]
                    reached |= {f"people.systems.{key}.{p}" for p in parts}
                else:
                    reached |= {f"people.datasets.{name}" for name in dataset_modules(script, key)}
        if reached == modules:
            return {file_of(module) for module in modules}
        modules = reached


def dataset_modules(script: str, key: str) -> set[str]:
    known = {path.stem for path in (ROOT / "people/datasets").glob("*.py")} - {"__init__"}
    if key not in known:
        return known
    return {key} | (MOTION_SOURCES if script == "stages.ingest" else set())


@pytest.mark.parametrize("address", sorted(stages()))
def test_a_stage_depends_on_every_source_file_that_it_can_reach(address: str):
    script, key, deps = stages()[address]
    missing = {
        str(path.relative_to(ROOT)) for path in reachable(script, key) if not any(path.is_relative_to(dep) for dep in deps)
    }
    assert not missing, f"add to the deps of {address} in dvc.yaml: {sorted(missing)}"


@pytest.mark.parametrize("address", sorted(stages()))
def test_a_stage_depends_on_no_source_file_that_does_not_exist(address: str):
    gone = [str(dep) for dep in stages()[address][2] if dep.is_relative_to(ROOT) and dep.suffix == ".py" and not dep.exists()]
    assert not gone, f"remove from the deps of {address} in dvc.yaml: {gone}"


@pytest.mark.parametrize("system", systems.names())
def test_a_new_metric_retrains_nothing(system: str):
    judging = {ROOT / "people/metrics.py", ROOT / f"people/systems/{system}/score.py"}
    for stage in ("train", "tune", "compare"):
        script, key, deps = stages()[f"{stage}@{system}"]
        assert not judging & reachable(script, key)
        assert not [path for path in judging if any(path.is_relative_to(dep) for dep in deps)]


def test_no_stage_depends_on_a_folder_that_holds_other_stages_outputs():
    with Repo(str(ROOT)) as repo:
        outputs = [Path(out.fs_path) for stage in repo.index.stages for out in stage.outs]
    parents = {
        dep for _, _, deps in stages().values() for dep in deps for out in outputs if dep != out and out.is_relative_to(dep)
    }
    assert not parents


def test_the_library_and_the_stages_are_found_by_the_import_graph():
    assert {"people.records", "stages.ingest", "stages.train"} <= imports().modules


def test_scoring_reaches_the_datasets_protocol():
    script, key, _ = stages()["evaluate@dmt"]
    assert ROOT / "people/datasets/tumgaid.py" in reachable(script, key)


def test_no_parameter_has_a_name_that_dvc_leaves_out_of_its_run_cache():
    """DVC's run cache ignores every key `size` and `nfiles`, at any depth: a stage with such a parameter gets stale results."""

    def keys(block: object) -> set[str]:
        return {name for key, value in block.items() for name in {key} | keys(value)} if isinstance(block, dict) else set()

    used = keys(YAML(typ="safe").load(ROOT / "params.yaml"))
    assert {"seed", "epochs"} <= used
    assert not used & {Meta.PARAM_SIZE, Meta.PARAM_NFILES}
