"""A system is added in two places, its folder and its block in params.yaml, and taken away again: two toys show it.

`phased` trains in two phases, `paired` on pairs with targets of different shapes.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, only, run
from ruamel.yaml import YAML

TOYS, NEIGHBOUR = ("paired", "phased"), "reid"
SOURCES = ROOT / "tests/support/toy_systems"
STAGES = ("train", "compare", "tune", "evaluate", "register", "report")


@pytest.fixture(scope="module")
def project(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project after its small run, to which the toys were added beside one system: more take DVC longer."""
    copy = tmp_path_factory.mktemp("toys") / "project"
    shutil.copytree(small_run, copy, symlinks=True)
    only(copy, NEIGHBOUR)
    add(copy)
    return copy


def add(project: Path) -> None:
    yaml, params = YAML(), project / "params.yaml"
    document = yaml.load(params)
    for toy in TOYS:
        shutil.copytree(SOURCES / toy, project / "people/systems" / toy, ignore=shutil.ignore_patterns("params.yaml"))
        for block, own in yaml.load(SOURCES / toy / "params.yaml").items():
            document[block][toy] = own[toy]
    yaml.dump(document, params)


def remove(project: Path) -> None:
    yaml, params = YAML(), project / "params.yaml"
    document = yaml.load(params)
    for toy in TOYS:
        shutil.rmtree(project / "people/systems" / toy)
        for block in ("systems", "compare", "search", "score"):
            del document[block][toy]
    yaml.dump(document, params)


@pytest.fixture(scope="module")
def finished(project: Path) -> Path:
    """The same after `dvc repro`."""
    done = run(["dvc", "repro"], project)
    ran = {line.split("'")[1] for line in done.stdout.splitlines() if line.startswith("Running stage")}
    assert ran == {f"{stage}@{toy}" for stage in STAGES for toy in TOYS}  # and no stage of the systems that were there
    return project


def test_a_new_system_passes_the_contracts(finished: Path):
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_contracts.py", "-k", " or ".join((*TOYS, "type_checker"))]
    done = subprocess.run(
        [*command, "--deselect", "tests/test_contracts.py::test_a_system_has_every_part_of_the_contract_and_a_readme"],
        cwd=finished,
        env={**environment(), "PEOPLE_SMALL_RUN": str(finished)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("toy", TOYS)
def test_a_new_system_goes_through_every_stage(finished: Path, toy: str):
    assert (finished / f"data/report/{toy}/index.html").read_text().count("mAP") >= 1
    assert (finished / f"data/metrics/{toy}.json").is_file()
    trials = pd.read_csv(finished / f"data/studies/{toy}/trials.csv")
    assert len(trials) == 2


def test_a_training_in_phases_shows_them_in_its_history(finished: Path):
    history = pd.read_csv(finished / "data/models/phased/history.csv")
    assert history["phase"].tolist() == ["identity"] * 2 + ["gender"] * 2
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["train/gender"].isna().tolist() == [True, True, False, False]
    assert history["train/identity"].isna().tolist() == [False, False, True, True]


def test_a_training_on_pairs_saw_pairs_of_one_person_by_two_cameras(finished: Path):
    history = pd.read_csv(finished / "data/models/paired/history.csv")
    assert history["train/pairs"].tolist() == [1.0, 1.0]
    assert np.isfinite(history["error/bright_cells"]).all()


@pytest.mark.parametrize("toy", TOYS)
def test_a_new_system_is_served(finished: Path, toy: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished)
    program = (
        f"import mlflow, numpy; mlflow.set_tracking_uri('sqlite:///{finished}/.state/mlflow.db');"
        f"model = mlflow.pyfunc.load_model('models:/{toy}@champion');"
        "answer = model.predict({'cells': numpy.zeros((5, 3, 4, 2), numpy.float32)}); print(answer['embedding'].shape)"
    )
    assert run([sys.executable, "-c", program], finished).stdout.split("\n")[-2] == "(5, 12)"
    assert mlflow.MlflowClient(f"sqlite:///{finished}/.state/mlflow.db").get_model_version_by_alias(toy, "champion")


def test_an_edit_of_code_that_a_training_cannot_reach_does_not_discard_what_it_has_done(project: Path):
    kill = (
        "import killable; killable.stage('train', 'phased', 10)"  # in the second phase: the first has two epochs of four steps
    )
    program = [sys.executable, "-c", f"import sys; sys.path[:0] = ['.', 'tests/support']; {kill}"]
    shutil.rmtree(project / "data/models/phased", ignore_errors=True)
    before = trainings(project)
    assert subprocess.run(program, cwd=project, env=environment(), capture_output=True, check=False).returncode == -9
    renderer = project / "people/synth/scene/street.py"
    source = renderer.read_text()
    try:
        renderer.write_text(source + "\n# edited\n")
        run([sys.executable, "-m", "stages.train", "phased"], project)
    finally:
        renderer.write_text(source)
    assert trainings(project) == before + 1  # one run in MLflow: the second process went on with it
    assert pd.read_csv(project / "data/models/phased/history.csv")["epoch"].tolist() == [1, 2, 3, 4]


def trainings(project: Path) -> int:
    client = mlflow.MlflowClient(f"sqlite:///{project}/.state/mlflow.db")
    experiment = client.get_experiment_by_name("phased")
    if experiment is None:
        return 0
    return len(client.search_runs([experiment.experiment_id], "tags.stage = 'train'"))


def test_a_system_that_is_taken_away_leaves_the_others_as_they_were(finished: Path):
    remove(finished)
    assert "Data and pipelines are up to date" in run(["dvc", "repro"], finished).stdout
