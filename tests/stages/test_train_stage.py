"""The stages train and compare, on a small store: their outputs, which neither a kill nor a second run changes."""

import json
import sys
import time
from pathlib import Path

import dmt_workspace
import killable
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from stages import compare, train
from stages.compare import area


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One tracking database for all tests: making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking: str) -> Path:
    dmt_workspace.write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    monkeypatch.setattr(sys, "argv", ["stage", "dmt"])
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def newest_runs(tracking: str, count: int) -> list:
    client = mlflow.MlflowClient(tracking)
    experiment = client.get_experiment_by_name("dmt")
    if experiment is None:  # nothing has been trained yet
        return []
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=count)


def test_training_leaves_the_best_checkpoint_its_curve_and_its_summary_twice_the_same(workspace: Path):
    train.main()
    first = contents(workspace / "data/models/dmt")
    assert sorted(first) == ["checkpoint.pt", "history.csv", "summary.json"]
    history, summary = pd.read_csv(workspace / "data/models/dmt/history.csv"), json.loads(first["summary.json"])
    checkpoint = torch.load(workspace / "data/models/dmt/checkpoint.pt", weights_only=True)
    assert list(history["epoch"]) == [1, 2, 3]
    assert checkpoint["epoch"] == summary["best_epoch"] == history.loc[history["score"].idxmax(), "epoch"]
    assert checkpoint["spec"]["subjects"] == ["t00", "t01", "t02", "t03"]
    assert not [path for path in (workspace / ".state/checkpoints").rglob("*") if path.is_file()]
    train.main()
    assert contents(workspace / "data/models/dmt") == first


def test_a_killed_training_goes_on_to_the_same_result_in_the_same_run_of_mlflow(workspace: Path, tracking: str):
    train.main()
    uninterrupted = contents(workspace / "data/models/dmt")
    (workspace / "data/models/dmt/checkpoint.pt").unlink()
    killed = killable.start(killable.stage, workspace, "train", "dmt", 5, MLFLOW_TRACKING_URI=tracking)
    assert killable.exit_code(killed) == killable.KILLED
    (left,) = newest_runs(tracking, 1)
    assert left.info.status == "RUNNING"
    again = killable.start(killable.stage, workspace, "train", "dmt", MLFLOW_TRACKING_URI=tracking)
    assert killable.exit_code(again) == 0, (workspace / "output").read_text()
    assert contents(workspace / "data/models/dmt") == uninterrupted
    (run,) = newest_runs(tracking, 1)
    assert (run.info.run_id, run.info.status) == (left.info.run_id, "FINISHED")
    scores = mlflow.MlflowClient(tracking).get_metric_history(run.info.run_id, "score")
    assert [metric.step for metric in scores] == [1, 2, 3]


def test_a_terminated_training_is_marked_killed_and_exits_with_an_error(workspace: Path, tracking: str):
    dmt_workspace.write_workspace(workspace / "longer", training={"epochs": 10_000})
    before = {run.info.run_id for run in newest_runs(tracking, 100)}
    process = killable.start(killable.stage, workspace / "longer", "train", "dmt", MLFLOW_TRACKING_URI=tracking)
    while not any(run.info.run_id not in before and "score" in run.data.metrics for run in newest_runs(tracking, 1)):
        assert process.is_alive(), (workspace / "longer/output").read_text()
        time.sleep(0.1)
    process.terminate()
    assert killable.exit_code(process) == 143
    assert newest_runs(tracking, 1)[0].info.status == "KILLED"
    assert not (workspace / "longer/data/models").exists() or not list((workspace / "longer/data/models").iterdir())


def test_a_run_left_running_in_mlflow_by_a_dead_process_is_ended_by_the_next(workspace: Path, tracking: str):
    killed = killable.start(killable.stage, workspace, "train", "dmt", 5, MLFLOW_TRACKING_URI=tracking)
    assert killable.exit_code(killed) == killable.KILLED
    (left,) = newest_runs(tracking, 1)
    params = YAML(typ="safe").load(workspace / "params.yaml")
    params["seed"] = 4  # another training: it does not continue the first
    YAML().dump(params, workspace / "params.yaml")
    train.main()
    assert mlflow.MlflowClient(tracking).get_run(left.info.run_id).info.status == "KILLED"


def test_a_run_of_mlflow_has_its_inputs_and_results(workspace: Path, tracking: str):
    train.main()
    (run,) = newest_runs(tracking, 1)
    assert run.info.status == "FINISHED"
    assert {"stage", "data.digest", "git.sha", "run.key", "checkpoint.sha256"} <= run.data.tags.keys()
    assert run.data.params["objective.lambda.age"] == "0.2"
    assert run.data.params["training.precision"] == "32-true"
    client = mlflow.MlflowClient(tracking)
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["convergence.png"]
    assert Path(client.download_artifacts(run.info.run_id, "convergence.png")).read_bytes().startswith(b"\x89PNG")


def test_an_unknown_key_in_params_stops_the_training_before_it_starts(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    dmt_workspace.write_workspace(workspace / "typo", training={"learnign_rate": 0.1})
    monkeypatch.chdir(workspace / "typo")
    with pytest.raises(ValueError, match="learnign_rate"):
        train.main()


def test_variants_are_compared_by_the_area_under_their_errors_and_the_last_is_the_system_itself(workspace: Path):
    compare.main()
    first = contents(workspace / "data/compare/dmt")
    curves, areas = (pd.read_csv(workspace / "data/compare/dmt" / name) for name in ("curves.csv", "areas.csv"))
    assert list(areas["variant"].unique()) == ["identity", "identity+gender", "identity+age", "identity+verification", "all"]
    assert list(curves.columns[:4]) == ["variant", "seed", "epoch", "error_identity"]
    area_of = areas.set_index(["variant", "error"])["area"]
    for variant, curve in curves.groupby("variant"):
        assert area_of[variant, "identity"] == pytest.approx(curve["error_identity"].mean())  # two epochs: a trapezoid
    assert {error for variant, error in area_of.index if variant == "identity"} == {"identity", "verification"}
    assert area_of["identity+gender", "gender"] == pytest.approx(
        curves.groupby("variant")["error_gender"].mean()["identity+gender"]
    )
    unchanged = curves[curves["variant"] == "all"]["error_identity"].to_list()
    dmt_workspace.write_workspace(workspace, training={"epochs": 2})
    train.main()
    history = pd.read_csv(workspace / "data/models/dmt/history.csv")
    assert history["error/identity"].to_list() == unchanged
    dmt_workspace.write_workspace(workspace)
    compare.main()
    assert contents(workspace / "data/compare/dmt") == first


def test_each_variant_has_a_run_of_its_own_with_what_it_changes(workspace: Path, tracking: str):
    compare.main()
    runs = {run.data.tags["variant"]: run for run in newest_runs(tracking, 5)}
    assert set(runs) == {"identity", "identity+gender", "identity+age", "identity+verification", "all"}
    assert runs["identity"].info.run_name == "dmt, variant identity, seed 3"
    weights = {name: run.data.params["objective.lambda.gender"] for name, run in runs.items()}
    assert (weights["identity"], weights["identity+gender"], weights["all"]) == ("0.0", "0.1", "0.1")
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_a_killed_comparison_goes_on_with_the_variant_it_was_at(workspace: Path):
    killed = killable.start(killable.stage, workspace, "compare", "dmt", 3 * 2 * 2 + 4)
    assert killable.exit_code(killed) == killable.KILLED
    assert len(list((workspace / ".state/checkpoints/compare/dmt").glob("*/*"))) == 3  # two variants and the third begun
    again = killable.start(killable.stage, workspace, "compare", "dmt")
    assert killable.exit_code(again) == 0, (workspace / "output").read_text()
    resumed = contents(workspace / "data/compare/dmt")
    compare.main()
    assert contents(workspace / "data/compare/dmt") == resumed


def test_the_error_of_all_tasks_together_is_compared_among_variants_that_have_them_all():
    rows = [("one", 1, 1, 0.1, 0.1, np.nan), ("one", 1, 2, 0.3, 0.3, np.nan), ("all", 1, 1, 0.4, 0.2, 0.6)]
    names = ["variant", "seed", "epoch", "error_combined", "error_identity", "error_attributes"]
    table = compare.areas(compare.comparable(pd.DataFrame(rows, columns=names)))
    assert table.set_index(["variant", "error"])["area"].to_dict() == pytest.approx(
        {("one", "identity"): 0.2, ("all", "combined"): 0.4, ("all", "identity"): 0.2, ("all", "attributes"): 0.6}
    )


def test_the_area_under_a_curve_by_hand():
    assert area([1.0, 0.5, 0.0]) == pytest.approx(0.5)
    assert area([1.0, 0.0, 0.0]) == pytest.approx(0.25)  # a fast fall: half a unit over two epochs
    assert area([1.0, 1.0, 0.0]) == pytest.approx(0.75)
    assert area([0.3]) == 0.3
