"""The whole pipeline, small: every stage runs as a user runs it, with real files, databases and processes."""

import json
import re
import shutil
import sys
from pathlib import Path

import clip_requests
import cv2
import killable
import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import run
from rendered_videos import unpacked
from ruamel.yaml import YAML

from people import systems
from people.config import build
from people.serving import model_input
from people.serving.open_set import Impostors
from people.training.system import Identifying
from stages.search.settings import Search
from stages.search.space import search_space
from stages.tracking import runs

SYSTEMS = systems.names()


def hashes(workspace: Path) -> dict[str, dict[str, str]]:
    """The hash of every output in dvc.lock, by stage."""
    lock = YAML(typ="safe").load(workspace / "dvc.lock")
    return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in lock["stages"].items()}


COMPUTED_AGAIN = {"train": "models", "compare": "compare", "tune": "studies", "evaluate": "metrics"}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def again(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the data of the small run, from which everything that trains or judges was computed once more.

    Each in a process of its own, forked from one that has the libraries. The tests of the stages that make the data hold that
    those write the same bytes a second time.
    """
    copy = tmp_path_factory.mktemp("again") / "project"
    shutil.copytree(small_run, copy, ignore=shutil.ignore_patterns(".git", ".dvc"))
    for folder in COMPUTED_AGAIN.values():
        shutil.rmtree(copy / "data" / folder)
    for system in SYSTEMS:
        for stage in COMPUTED_AGAIN:
            process = killable.start(killable.stage, copy, stage, system)
            assert killable.exit_code(process) == 0, (copy / "output").read_text()
    return copy


def test_every_stage_leaves_its_result(small_run: Path):
    lock = hashes(small_run)
    assert {name.split("@")[0] for name in lock} == {
        "ingest", "validate", "flow", "silhouettes", "poses", "crops", "foregrounds", "scenes",
        "train", "compare", "tune", "evaluate", "register", "report",
    }  # fmt: skip
    assert all((small_run / path).exists() for outs in lock.values() for path in outs)


def test_nothing_half_written_is_left(small_run: Path):
    assert not list((small_run / "data").rglob("*.partial*"))
    assert not [path for path in (small_run / ".state/checkpoints").rglob("*") if path.is_file()]


def test_a_second_run_changes_nothing(small_run: Path):
    before = (small_run / "dvc.lock").read_bytes()
    assert "Data and pipelines are up to date" in run(["dvc", "repro"], small_run).stdout
    assert (small_run / "dvc.lock").read_bytes() == before
    assert json.loads(run(["dvc", "status", "--json"], small_run).stdout) == {}


@pytest.mark.parametrize("stage", COMPUTED_AGAIN)
def test_the_same_seed_gives_the_same_bytes(small_run: Path, again: Path, stage: str):
    first, second = (contents(workspace / "data" / COMPUTED_AGAIN[stage]) for workspace in (small_run, again))
    assert {Path(name).parts[0].removesuffix(".json") for name in first} == set(SYSTEMS)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


BESIDE = {
    "dmt": ("gender.accuracy", "gender.baseline", "age.mae_years", "age.baseline_mae_years", "verification.auc"),
    "reid": (
        "retrieval.official.map",
        "retrieval.official.histogram_map",
        "attributes.accuracy.mean",
        "attributes.most_frequent.mean",
    ),
    "gaittake": ("single_view.rank_1.NM", "single_view.gei_rank_1.NM", "cross_view.map.mean", "cross_view.gei_map.mean"),
    "gaitnet": (
        "verification.tar_at_1.ALL",
        "verification.gei_tar_at_1.ALL",
        "identification.gei_rank_1.CL",
        "disentanglement.colour_r2.gait",
        "disentanglement.colour_r2.constant",
    ),
    "multipose": (
        "keypoints.all.ap",
        "keypoints_strongest.all.ap",
        "boxes.all.ap",
        "residual.all.ap",
        "residual_nearest.all.ap",
        "activity.labelled.f1",
        "activity.nearest_neighbour.f1",
        "activity.majority.f1",
        "cross_validation.classifier.accuracy",
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_metrics_stand_beside_their_trivial_baselines(small_run: Path, system: str):
    metrics = json.loads((small_run / f"data/metrics/{system}/all.json").read_text())
    for name in BESIDE[system]:
        assert name in metrics, f"{name} is missing among {sorted(metrics)}"
    assert all(isinstance(value, (int, float)) for value in metrics.values())


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_champion_in_the_registry_is_the_checkpoint_that_was_judged(
    small_run: Path, system: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(small_run)
    client = mlflow.MlflowClient(f"sqlite:///{small_run}/.state/mlflow.db")
    champion = client.get_model_version_by_alias(system, "champion")
    registered = json.loads((small_run / f"data/registry/{system}.json").read_text())
    assert str(registered["champion_version"]) == str(champion.version)
    tells_apart = isinstance(systems.find(system, "serving"), Identifying)
    assert (runs.IMPOSTORS in champion.tags) == tells_apart
    if tells_apart:
        impostors = Impostors.from_json(champion.tags[runs.IMPOSTORS])
        assert impostors == Impostors.from_json(json.dumps(registered["impostors"]))
        assert impostors.people > 1


@pytest.mark.parametrize("system", SYSTEMS)
def test_raw_pictures_are_answered_with_the_numbers_that_the_stages_lead_to(
    small_run: Path, system: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(small_run)
    run = clip_requests.Run(system, YAML(typ="safe").load(small_run / "params.yaml"))
    preparation = run.preparation()
    for raw, expected in run.requests():
        answers = preparation.answers(model_input.pictures(raw, preparation.names))
        assert set(answers) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(answers[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_study_holds_every_lambda_and_margin_that_is_searched(small_run: Path, system: str):
    params = YAML(typ="safe").load(small_run / "params.yaml")
    space = search_space(system, build(Search, params["search"][system]), params["systems"][system])
    trials = pd.read_csv(small_run / f"data/studies/{system}/trials.csv")
    assert len(trials) == 2
    assert trials.loc[0, "weights"] == "params.yaml"
    for name, (low, high) in space.ranges.items():
        assert trials[name].iloc[1:].between(low, high).all()
    best = YAML(typ="safe").load(small_run / f"data/studies/{system}/best.yaml")
    (chosen,) = trials.query("chosen").to_dict("records")
    assert chosen["number"] == best["trial"]
    build(systems.find(system, "objective").Config, best["objective"])


@pytest.mark.parametrize(("system", "printed"), [("dmt", "Ours-2"), ("gaittake", "GaitPart"), ("reid", "ConvHead")])
def test_the_report_is_one_page_that_needs_no_other_file(small_run: Path, system: str, printed: str):
    page = (small_run / f"data/report/{system}/index.html").read_text()
    assert page.count('src="data:image/webp;base64,') >= 4
    assert set(re.findall(r'(?:src|href)="((?!data:|#)[^"]*)', page)) == {"../index.html"}
    assert printed in page  # the paper's rows stand beside ours


def test_the_report_of_gaitnet_shows_pictures_and_a_walk_that_it_has_made(small_run: Path):
    page = (small_run / "data/report/gaitnet/index.html").read_text()
    assert page.count("<picture>") == 1
    webp = np.frombuffer((small_run / "data/metrics/gaitnet/animations/swapped_walks.webp").read_bytes(), np.uint8)
    read, animation = cv2.imdecodeanimation(webp)
    assert read
    assert len(animation.frames) > 5
    assert len({frame.tobytes() for frame in animation.frames}) > 1


@pytest.mark.parametrize("system", SYSTEMS)
def test_curves_of_the_training_are_in_the_tracking_database(small_run: Path, system: str):
    client = mlflow.MlflowClient(f"sqlite:///{small_run}/.state/mlflow.db")
    experiment = client.get_experiment_by_name(system)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    training = YAML(typ="safe").load(small_run / "params.yaml")["systems"][system]["training"]
    epochs = training["epochs"] * len(training.get("phases") or [None])
    assert any(len(client.get_metric_history(found.info.run_id, "score")) == epochs for found in runs)
    assert {found.info.status for found in runs} == {"FINISHED"}


def test_the_champions_describe_a_person_in_a_video(small_run: Path, tmp_path: Path):
    clip = unpacked(small_run, "*-nm-01-*.avi", tmp_path)[-1]
    run([sys.executable, "-m", "stages.identify", str(clip), "--out", str(tmp_path / "out")], small_run)
    (track,) = pd.read_csv(tmp_path / "out/tracks.csv").to_dict("records")
    page = (tmp_path / "out/index.html").read_text()
    assert {"age", "backpack", "upper_colour"} < {name.partition(".")[2] for name in track if name.startswith("reid.")}
    assert 0 < track["reid.age.probability"] <= 1
    assert "dmt says nothing of it" in page  # a clip shorter than one window of flow
    assert set(json.loads((tmp_path / "out/results.json").read_text())["cards"][0]["pictures"]) == {
        "Photos", "Silhouettes", "Foregrounds", "Flow", "Poses",
    }  # fmt: skip
    assert not [system for system in ("reid", "gaittake", "gaitnet") if f"{system} says nothing" in page]
