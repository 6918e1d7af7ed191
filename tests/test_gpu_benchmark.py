"""The benchmark for a GPU machine: it runs with its short list of packages, and its settings are those of params.yaml."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import settings, workloads
from benchmarks.gpu.__main__ import PARTS
from people import systems

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "torch", "torchvision", "lightning-fabric", "numpy", "pandas", "scipy", "scikit-learn", "opencv-python-headless",
    "jaxtyping",
)  # fmt: skip
REFUSE = """
import json, re, sys
from importlib.machinery import PathFinder
from pathlib import Path
REFUSED = json.loads(Path(__file__).with_name("refused.json").read_text())
class Listed(PathFinder):  # finds nothing of what is refused, as if it were not installed
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in REFUSED["modules"] else super().find_spec(name, path, target)
    @staticmethod
    def find_distributions(*context):
        found = PathFinder.find_distributions(*context)
        return (one for one in found if re.sub("[-_.]+", "-", one.metadata["Name"]).lower() not in REFUSED["packages"])
sys.meta_path[sys.meta_path.index(PathFinder)] = Listed
"""


def test_the_settings_are_those_of_params_yaml() -> None:
    assert settings.FILE.read_text() == settings.written(), "run: python -m benchmarks.gpu.settings"


def test_every_system_has_generated_data() -> None:
    for size in settings.PROFILES:
        of_size = settings.load(size)
        assert sorted(of_size) == systems.names()
        assert {block["dataset"] for block in of_size.values()} <= set(workloads.GENERATORS)


def required(names: tuple[str, ...]) -> set[str]:
    """These distributions and all that they require."""
    found: set[str] = set()
    waiting = [normal(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another platform
            continue
        waiting += [normal(re.split(r"[^\w.-]", line)[0]) for line in requirements if "extra ==" not in line]
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """`python -m benchmarks.gpu --tiny` where nothing can be imported that is not required by its list of packages."""
    folder = tmp_path_factory.mktemp("gpu")
    allowed = required(PACKAGES)
    owners = importlib.metadata.packages_distributions()
    modules = {name for name, of_name in owners.items() if not {normal(owner) for owner in of_name} & allowed}
    modules -= {"benchmarks", "people", "stages", "pipelines"}
    assert {"dvc", "mlflow", "optuna", "pandera", "ruamel", "prefect"} <= modules
    packages = {normal(owner) for name in modules & set(owners) for owner in owners[name]} - allowed
    (folder / "refused.json").write_text(json.dumps({"modules": sorted(modules), "packages": sorted(packages)}))
    (folder / "sitecustomize.py").write_text(REFUSE)
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--out", str(folder / "out")]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    return run, folder / "out"


def test_the_tiny_run_needs_only_the_listed_packages(tiny_run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    run, _ = tiny_run
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]


def test_the_tiny_run_reports_every_part_of_every_system(
    tiny_run: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    run, out = tiny_run
    found = json.loads((out / "gpu.json").read_text())
    assert set(found) == set(PARTS)
    for part in set(PARTS) - {"machine", "plain"}:
        assert sorted(found[part]) == systems.names(), part
    for part, by_system in found.items():
        for system, figures in by_system.items():
            assert not {"error", "not_run"} & set(figures), (part, system, figures)
    for system in systems.names():
        assert found["training"][system]["bf16-mixed"]["steps_per_second"] > 0
        assert found["computing"][system]["operations"] > 0
        assert found["computing"][system]["bound_by"]
        assert found["agreement"][system]["beyond_tolerance"] == []
        assert found["resumed"][system]["bit_for_bit"]
        assert "needs CUDA" in found["graphs"][system]["one CUDA graph"]
    assert (out / "gpu.md").read_text().strip() in run.stdout


def test_without_a_gpu_the_full_run_says_what_to_do() -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "benchmarks.gpu"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode != 0
    assert "no GPU is there" in run.stderr
    assert "--tiny" in run.stderr
