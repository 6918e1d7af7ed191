"""A registry whose project is renamed, copied, cloned, given another disk or run in a copy; and two registrations at once."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from conftest import ROOT, run, users_environment
from flow_stores import write_checkpoint, write_store
from registry_workspace import (
    TRAINED,
    client,
    empty_database,
    make_blind,
    registered,
    selected,
    use,
    version_with,
    without_onnx,
    write_judged,
    write_workspace,
)
from ruamel.yaml import YAML

from stages import register
from stages.identification import champions
from stages.tracking import databases, runs

HOSTILE = "a b%20c#d?é"  # characters that mean something in a URI
INPUT = {"flow": np.ones((1, 10, 60, 60), np.float32)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("flow") / "store", subjects=3)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_database(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def project(tmp_path: Path, store: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with a champion, the blind version 1."""
    folder = tmp_path / "project"
    (folder / ".state").mkdir(parents=True)
    shutil.copy(database, folder / ".state/mlflow.db")
    write_workspace(folder, store)
    use(folder, monkeypatch)
    without_onnx(monkeypatch)
    registered(store, folder, seed=1, score=-0.9, blind=True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # which `mlflow.set_tracking_uri` has set
    yield folder
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def check_that_all_is_in(state: Path, store: Path, folder: Path) -> None:
    """Version 1 loads by its alias, and version 2 is registered, becomes champion and loads, its files in the state folder."""
    register.connect("dmt")
    first = mlflow.pyfunc.load_model("models:/dmt@champion").predict(INPUT)
    assert champions.champion("dmt").version == "version 1"
    entry = registered(store, folder, seed=2, score=-0.4)
    assert (entry["version"], entry["champion_version"]) == ("2", "2"), entry["why"]
    second = mlflow.pyfunc.load_model("models:/dmt@champion").predict(INPUT)
    assert np.ptp(first["signature"]) == 0, "of the blind one"
    assert np.ptp(second["signature"]) > 0
    for number in ("1", "2"):
        place = client().get_model_version_download_uri("dmt", number)
        assert place.startswith(f"{(state / 'mlruns').resolve().as_uri()}/")
        run_of_version = client().get_run(client().get_model_version("dmt", number).run_id)
        assert run_of_version.info.artifact_uri.startswith((state / "mlruns").resolve().as_uri())
    assert len(list(state.resolve().rglob("MLmodel"))) == 2
    assert not list(folder.glob("mlruns"))


def test_a_project_whose_folder_is_renamed_has_its_models_and_writes_new_ones_into_its_state(
    project: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = project.rename(project.with_name(HOSTILE.replace("%20", "")))
    use(renamed, monkeypatch)
    check_that_all_is_in(renamed / ".state", store, renamed)
    assert not project.exists()


def test_a_copy_of_a_project_leaves_the_original_alone(project: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = project.with_name("copy")
    shutil.copytree(project, copy)
    before = contents(project)
    use(copy, monkeypatch)
    check_that_all_is_in(copy / ".state", store, copy)
    assert contents(project) == before
    use(project, monkeypatch)
    check_that_all_is_in(project / ".state", store, project)


def test_a_state_that_moves_to_another_disk_is_found_by_the_variable_that_names_it(
    project: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = (project / ".state").rename(tmp_path / "disk")
    monkeypatch.setenv("PEOPLE_STATE", str(disk))
    check_that_all_is_in(disk, store, project)
    assert not (project / ".state").exists()


def test_a_state_folder_that_becomes_a_link_to_another_disk_is_found(project: Path, store: Path, tmp_path: Path) -> None:
    (project / ".state").rename(tmp_path / "disk")
    (project / ".state").symlink_to(tmp_path / "disk")
    check_that_all_is_in(project / ".state", store, project)


def test_places_that_are_not_of_the_state_folder_stay_as_they_are(project: Path, tmp_path: Path, monkeypatch) -> None:
    places = ["s3://bucket/mlruns", "mlflow-artifacts:/7", (tmp_path / "shared/artifacts").as_uri()]
    numbers = [client().create_experiment(place[-9:], artifact_location=place) for place in places]
    use(project.rename(tmp_path / "renamed"), monkeypatch)
    register.connect("dmt")
    assert [client().get_experiment(number).artifact_location for number in numbers] == places
    default = client().get_experiment_by_name("Default")
    assert default is not None
    assert default.artifact_location == (tmp_path / "renamed/.state/mlruns").as_uri() + "/0"


def test_a_database_that_is_not_the_projects_own_is_not_changed_and_its_new_files_are_in_the_state_folder(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(tmp_path, monkeypatch)
    shutil.copy(database, tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    moved = (tmp_path / "elsewhere/mlruns").as_uri()
    number = mlflow.MlflowClient("sqlite:///other.db").create_experiment("old", artifact_location=moved)
    connected, experiment = runs.connect("dmt")
    assert connected.get_experiment(number).artifact_location == moved
    assert connected.get_experiment(experiment).artifact_location == (tmp_path / ".state/mlruns").as_uri()


def test_the_projects_own_database_is_known_however_its_address_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(tmp_path, monkeypatch)
    for address in ("sqlite:///.state/mlflow.db", f"sqlite:///{tmp_path}/.state/../.state/mlflow.db"):
        assert databases.is_own(address)
    for address in ("sqlite:///mlflow.db", "sqlite:///.state/mlflow.db?mode=ro", "http://127.0.0.1:5000", "sqlite://"):
        assert not databases.is_own(address)


def test_in_a_clone_the_entry_of_a_model_is_found_wanting_until_it_is_registered_there(
    project: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_judged(project, project / "seed-1/checkpoint.pt", -0.9)
    monkeypatch.setattr(sys, "argv", ["register", "dmt"])
    register.main()
    monkeypatch.setattr(sys, "argv", ["register", "dmt", "--check"])
    register.main()
    assert "data/registry/dmt.json is true of the registry" in capsys.readouterr().out
    clone = project.with_name("clone")  # with what DVC restores, and without the state
    shutil.copytree(project, clone, ignore=shutil.ignore_patterns(".state"))
    use(clone, monkeypatch)
    with pytest.raises(ValueError, match=r"no version of dmt has the checkpoint .*dvc repro --force .*register@dmt"):
        register.main()
    monkeypatch.setattr(sys, "argv", ["register", "dmt"])
    register.main()
    monkeypatch.setattr(sys, "argv", ["register", "dmt", "--check"])
    register.main()
    assert not Path("mlruns").exists()
    client().delete_run(json.loads(Path("data/registry/dmt.json").read_text())["run_id"])
    shutil.rmtree(".state/mlruns")
    with pytest.raises(ValueError, match=r"no run has the id \w{32}; the files of version 1 of dmt are gone"):
        register.main()


def test_a_state_folder_of_any_name_has_models_and_their_database(
    project: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEOPLE_STATE", str((project / ".state").rename(tmp_path / HOSTILE)))
    entry = registered(store, project, seed=2, score=-0.4)
    assert entry["champion_version"] == "2", entry["why"]
    assert champions.champion("dmt").version == "version 2"
    (tmp_path / "loaded").mkdir()  # MLflow reads %20 in the path of a model as a space
    loaded = mlflow.pyfunc.load_model("models:/dmt@champion", dst_path=str(tmp_path / "loaded"))
    assert set(loaded.predict(INPUT)) >= {"signature"}
    assert not (project / "mlruns").exists()


def test_two_registrations_at_once_leave_one_champion_the_better_one(project: Path, store: Path) -> None:
    paths = [write_checkpoint(project / f"seed-{seed}/checkpoint.pt", store, seed=seed, score=-0.5) for seed in (2, 3)]
    make_blind(paths[0])
    program = (
        "import sys\nfrom pathlib import Path\nfrom people.storage import file_digest\nfrom stages import register\n"
        "from stages.registration import onnx_export\nonnx_export.export = lambda *_: None\n"
        "checkpoint = Path(sys.argv[1])\n"
        "chosen = {'selected': 'trained', 'checkpoint': sys.argv[1], 'sha256': file_digest(checkpoint)}\n"
        "chosen['validation_score'] = 0.0\n"
        "reads = dict.fromkeys(('frames', 'poses'), Path(sys.argv[2]))\n"
        "register.register('dmt', chosen, {}, reads)\n"
    )
    commands = [[sys.executable, "-W", "ignore", "-c", program, str(path), str(store)] for path in (*paths, paths[1])]
    environment = {**users_environment(), "PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen(command, cwd=project, env=environment) for command in commands]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    numbers = {version.tags["checkpoint.sha256"]: version for version in client().search_model_versions("name = 'dmt'")}
    assert len(numbers) == 3, "each checkpoint once, also that of two processes"
    better = client().get_model_version("dmt", version_with("champion"))
    assert better.tags["checkpoint.sha256"] == selected(paths[1], 0.0)["sha256"]


def test_an_experiment_in_a_temporary_copy_registers_in_the_registry_of_the_workspace(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / ".state").mkdir(parents=True)
    shutil.copy(database, project / ".state/mlflow.db")
    use(project, monkeypatch)
    write_tiny_pipeline(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run(["git", "init", "--quiet"], project)
    run(["dvc", "init", "--quiet"], project)
    run(["git", "add", "--all"], project)
    identity = ["-c", "user.name=someone", "-c", "user.email=someone@localhost"]
    run(["git", *identity, "commit", "--quiet", "--message", "the project"], project)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "someone@localhost")
    run(["dvc", "exp", "run", "--temp", "--name", "other-seed", "--set-param", "seed=2"], project)
    assert version_with("champion") == "1"
    assert sorted(path.name for path in project.rglob("mlruns")) == ["mlruns"]
    assert (project / ".state/mlruns").is_dir()
    assert not Path("data/registry/dmt.json").exists()
    run(["dvc", "exp", "apply", "other-seed"], project)
    entry = json.loads(Path("data/registry/dmt.json").read_text())
    assert client().get_run(entry["run_id"]).info.status == "FINISHED"
    run([sys.executable, "-m", "stages.register", "dmt", "--check"], project)
    register.connect("dmt")
    assert set(mlflow.pyfunc.load_model(f"models:/dmt/{entry['version']}").predict(INPUT)) >= {"signature"}


def write_tiny_pipeline(project: Path) -> None:
    """A DVC project of one stage, which registers a checkpoint that git has."""
    write_store(project / "store", subjects=3)
    write_workspace(project, Path("store"))
    write_judged(project, TRAINED, -0.5)
    stage = {
        "cmd": f"{sys.executable} -W ignore -m stages.register dmt",
        "deps": ["data/metrics/dmt"],
        "params": ["seed"],
        "outs": ["data/registry/dmt.json"],
    }
    YAML().dump({"stages": {"register": stage}}, project / "dvc.yaml")
    (project / ".gitignore").write_text(".state\n")


def test_the_state_of_a_temporary_copy_is_that_of_its_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / ".dvc/tmp/exps/tmp1234"
    copy.mkdir(parents=True)
    use(copy, monkeypatch)
    assert runs.state("mlflow.db") == tmp_path / ".state/mlflow.db"
    monkeypatch.setenv("PEOPLE_STATE", "of/this project")
    assert runs.state() == tmp_path / "of/this project"
    monkeypatch.setenv("PEOPLE_STATE", str(tmp_path / "disk"))
    assert runs.state() == tmp_path / "disk"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEOPLE_STATE")
    assert runs.state() == Path(".state")
    assert os.path.isabs(databases.mlflow_database().removeprefix("sqlite:///"))
