"""The stages train, compare, tune, evaluate and register of GaitTAKE, on small stores."""

import json
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import silhouette_stores
import torch
from ruamel.yaml import YAML

from people.systems.gaittake import data
from stages import compare, evaluate, register, train, tune
from stages.shared.variants import check_variants, read_variants
from stages.training.problem import Trainings

PARAMS = YAML(typ="safe").load(Path(__file__).parent.parent.parent / "params.yaml")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the system was trained, tuned, compared, evaluated and registered."""
    folder = tmp_path_factory.mktemp("gaittake")
    silhouette_stores.write_workspace(folder, PARAMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("OPTUNA_STORAGE", f"sqlite:///{folder / 'optuna.db'}")
        patch.setattr(sys, "argv", ["stage", "gaittake"])
        for stage in (train, tune, compare, evaluate, register):
            stage.main()
    return folder


def test_every_selected_variant_is_trained_and_the_system_as_it_is_comes_last(workspace: Path):
    areas = pd.read_csv(workspace / "data/compare/gaittake/areas.csv")
    curves = pd.read_csv(workspace / "data/compare/gaittake/curves.csv")
    assert areas["variant"].unique().tolist() == [*read_variants("gaittake"), "all"]
    assert list(curves.columns) == ["variant", "seed", "epoch", "error_identity", "error_ranking"]


def test_a_variant_can_change_data_network_and_objective_and_nothing_else(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(workspace)
    changes = {"mean": {"model": {"gem": False}}, "frames": {"data": {"frames": 3}}, "short": {"data": {"frames": 2}}}
    variants = compare.selected("gaittake", changes, ["mean", "frames"])
    assert variants == {"mean": changes["mean"], "frames": changes["frames"], "all": {}}
    trainings = Trainings("gaittake")
    changed, full = (trainings.phases(variants[name])[0].problem.config for name in ("mean", "all"))
    assert full == {name: trainings.block[name] for name in ("data", "model", "objective")}
    assert changed == {**full, "model": {**full["model"], "gem": False}}
    with pytest.raises(ValueError, match=r"file: variant short can change data, model, objective, got training"):
        check_variants({"short": {"training": {"epochs": 1}}}, "file")
    with pytest.raises(ValueError, match=r"compare\.gaittake\.select names 'men', the variants .*variants\.yaml are mean"):
        compare.selected("gaittake", changes, ["men"])
    with pytest.raises(ValueError, match=r"gaittake\.model\.gmm names nothing to change: there are channels, .*gem"):
        trainings.phases({"model": {"gmm": False}})


def test_the_metrics_include_those_of_gait_energy_images(workspace: Path):
    metrics = json.loads((workspace / "data/metrics/gaittake/all.json").read_text())
    for name in ("single_view.rank_1.mean", "single_view.gei_rank_1.mean", "cross_view.map.NM", "cross_view.gei_map.NM"):
        assert 0 <= metrics[name] <= 1
    trials = pd.read_csv(workspace / "data/studies/gaittake/trials.csv")
    assert {"lambda.batch_all", "margin.weighted", "margin.batch_all"} <= set(trials.columns)


def test_the_registered_model_takes_silhouettes_with_keypoints_by_name(workspace: Path):
    entry = json.loads((workspace / "data/registry/gaittake.json").read_text())
    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'mlflow.db'}")
    registered = mlflow.pyfunc.load_model(f"models:/gaittake/{entry['version']}")
    reads = {slot: workspace / path for slot, path in PARAMS["systems"]["gaittake"]["reads"].items()}
    samples = data.open_samples(reads, silhouette_stores.DATA, "test", ("weighted", "batch_all"))
    batch = samples.batch([0, 7], spec=data.spec(samples), statistics={}, augment=None)
    embedding = registered.predict({name: batch[name].numpy() for name in ("silhouette", "keypoints")})["embedding"]
    checkpoint = torch.load(
        workspace / json.loads((workspace / "data/metrics/gaittake/selected.json").read_text())["checkpoint"]
    )
    assert embedding.shape[0] == 2
    assert np.isfinite(embedding).all()
    assert checkpoint["spec"]["keypoints"] is True
