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

PARAMS = YAML(typ="safe").load(Path(__file__).parent.parent.parent / "params.yaml")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the system was trained, tuned, judged and registered."""
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


def test_every_variant_of_params_yaml_is_trained_and_the_system_as_it_is_comes_last(judged: Path):
    areas = pd.read_csv(judged / "data/compare/gaittake/areas.csv")
    curves = pd.read_csv(judged / "data/compare/gaittake/curves.csv")
    assert areas["variant"].unique().tolist() == [*PARAMS["systems"]["gaittake"]["compare"]["variants"], "all"]
    assert list(curves.columns) == ["variant", "seed", "epoch", "error_identity", "error_ranking"]


def test_a_variant_can_change_the_network_or_the_objective_and_nothing_else():
    config = {"model": {"gem": True}, "objective": {"weighting": True}, "data": {"frames": 3}}
    found = compare.variants(config, {"mean": {"model": {"gem": False}}})
    assert found == {
        "mean": {"model": {"gem": False}, "objective": {"weighting": True}},
        "all": {"model": {"gem": True}, "objective": {"weighting": True}},
    }
    with pytest.raises(ValueError, match=r"variants\.short\.data names nothing to change: there are model, objective"):
        compare.variants(config, {"short": {"data": {"frames": 1}}})
    with pytest.raises(ValueError, match=r"variants\.mean\.model\.gmm names nothing"):
        compare.variants(config, {"mean": {"model": {"gmm": False}}})


def test_the_figures_stand_beside_those_of_gait_energy_images(judged: Path):
    metrics = json.loads((judged / "data/metrics/gaittake.json").read_text())
    for name in ("single_view.rank_1.mean", "single_view.gei_rank_1.mean", "cross_view.map.NM", "cross_view.gei_map.NM"):
        assert 0 <= metrics[name] <= 1
    trials = pd.read_csv(judged / "data/studies/gaittake/trials.csv")
    assert {"lambda.batch_all", "margin.weighted", "margin.batch_all"} <= set(trials.columns)


def test_the_registered_model_takes_silhouettes_with_keypoints_by_name(judged: Path):
    entry = json.loads((judged / "data/registry/gaittake.json").read_text())
    mlflow.set_tracking_uri(f"sqlite:///{judged / 'mlflow.db'}")
    served = mlflow.pyfunc.load_model(f"models:/gaittake/{entry['version']}")
    reads = {slot: judged / path for slot, path in PARAMS["systems"]["gaittake"]["reads"].items()}
    samples = data.open_samples(reads, silhouette_stores.DATA, "test")
    batch = samples.batch([0, 7], spec=data.spec(samples), statistics={}, augment=None)
    found = served.predict({name: batch[name].numpy() for name in ("silhouette", "keypoints")})["embedding"]
    checkpoint = torch.load(judged / json.loads((judged / "data/metrics/gaittake/selected.json").read_text())["checkpoint"])
    assert found.shape[0] == 2
    assert np.isfinite(found).all()
    assert checkpoint["spec"]["keypoints"] is True
