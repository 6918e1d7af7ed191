"""Weights are compared over seeds: what is judged has the higher mean merit, and a difference counts beside its spread."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flow_stores import write_checkpoint, write_store
from ruamel.yaml import YAML

from stages import evaluate
from stages.shared import weights_comparison

SEARCH: dict[str, Any] = {
    "trials": 1, "epochs": 1, "objectives": ["score"], "sampler": "tpe", "grid_points": 3, "pruner": {"name": "none"},
    "baselines": [], "weightings": ["fixed"], "ranges": {}, "finals": {"seeds": 1, "also": []},
}  # fmt: skip
COLUMNS = {"rank-1": ("identification", None), "age": ("age.mae", None)}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained network of score -0.5, and one of found weights of score -0.4."""
    monkeypatch.chdir(tmp_path)
    store = write_store(tmp_path / "store", subjects=3)
    write_checkpoint(tmp_path / "data/models/dmt/checkpoint.pt", store, seed=0, score=-0.5)
    write_checkpoint(tmp_path / "data/studies/dmt/finals/found-seed1/checkpoint.pt", store, seed=1, score=-0.4)
    set_search({})
    finals({"weights": "found", "seed": 1, "score": -0.4})
    return tmp_path


def set_search(changes: dict[str, Any]) -> None:
    YAML().dump({"seed": 1, "search": {"dmt": {**SEARCH, **changes}}}, Path("params.yaml"))


def finals(*rows: dict[str, Any]) -> None:
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["weights", "seed", "score"])
    table.to_csv("data/studies/dmt/finals.csv", index=False)


def test_found_weights_are_judged_where_their_network_is_better_on_validation_people(workspace: Path):
    selected = evaluate.select("dmt", seed=1)
    assert selected["selected"] == "tuned"
    assert selected["checkpoint"] == "data/studies/dmt/finals/found-seed1/checkpoint.pt"
    assert selected["validation_scores"] == {"trained": -0.5, "tuned": -0.4}


def test_where_nothing_was_found_the_trained_network_is_judged(workspace: Path):
    finals()
    (workspace / "data/studies/dmt/finals/found-seed1/checkpoint.pt").unlink()
    assert evaluate.select("dmt", seed=1)["selected"] == "trained"


def test_over_several_seeds_the_means_decide(workspace: Path):
    others = [("found", 2, -0.9), ("params.yaml", 2, -0.5), ("single_task", 1, -0.1), ("single_task", 2, -0.1)]
    finals(*({"weights": name, "seed": seed, "score": score} for name, seed, score in [("found", 1, -0.4), *others]))
    selected = evaluate.select("dmt", seed=1)
    assert selected["merits"] == pytest.approx({"trained": -0.5, "tuned": -0.65})
    assert selected["selected"] == "trained"


def test_seeds_from_which_one_of_both_was_not_trained_to_the_end_do_not_count(workspace: Path):
    rows = [("found", 1, -0.4), ("found", 3, -0.4), ("params.yaml", 2, -0.1), ("params.yaml", 3, -0.5)]
    finals(*({"weights": name, "seed": seed, "score": score} for name, seed, score in rows))
    assert evaluate.select("dmt", seed=1)["merits"] == pytest.approx({"trained": -0.5, "tuned": -0.4})


def test_the_merit_is_that_of_the_search(workspace: Path):
    store = workspace / "store"
    better_at_gender = {"identity": 0.5, "gender": 0.1}
    write_checkpoint(workspace / "data/models/dmt/checkpoint.pt", store, seed=0, score=-0.5, errors=better_at_gender)
    found = workspace / "data/studies/dmt/finals/found-seed1/checkpoint.pt"
    write_checkpoint(found, store, seed=1, score=-0.4, errors={"identity": 0.4, "gender": 0.4})
    set_search({"objectives": ["identity", "gender"]})
    selected = evaluate.select("dmt", seed=1)
    assert selected["merits"] == pytest.approx({"trained": -math.sqrt(0.05), "tuned": -0.4})
    assert (selected["selected"], selected["validation_score"]) == ("trained", -0.5)


def test_a_validation_score_that_is_not_finite_selects_nothing(workspace: Path):
    write_checkpoint(workspace / "data/models/dmt/checkpoint.pt", workspace / "store", seed=0, score=float("nan"))
    with pytest.raises(ValueError, match=r"must be a finite number.* train trained again"):
        evaluate.select("dmt", seed=1)


def runs() -> pd.DataFrame:
    return weights_comparison.runs_table(
        [
            ("params.yaml", 1, -0.5, {"identification": 0.5, "age.mae": 5.0}),
            ("params.yaml", 2, -0.5, {"identification": 0.6, "age.mae": 5.2}),
            ("found", 1, -0.4, {"identification": 0.8, "age.mae": 5.1}),
            ("found", 2, -0.4, {"identification": 0.9, "age.mae": 5.3}),
            ("single_task", 1, -0.3, {"identification": 0.95}),
            ("single_task", 2, -0.3, {"identification": 0.97}),
            ("equal", 1, -0.6, {"identification": 0.1, "age.mae": 9.0}),
        ],
        COLUMNS,
    )


def test_means_and_standard_deviations_over_seeds_by_hand():
    table = weights_comparison.means(runs()).set_index("weights")
    assert table.loc["found", "rank-1"] == "0.85 ± 0.071"
    assert table.loc["found", "validation score"] == "-0.4 ± 0"
    assert table.loc["single_task", "age"] == "", "a network without this task"
    assert table.loc["equal", "rank-1"] == "0.1"
    assert list(table["seeds"]) == [2, 2, 2, 1]


def test_a_difference_is_better_or_worse_only_beyond_the_spread_and_says_so_in_the_direction_of_the_measure():
    table = weights_comparison.differences(runs(), COLUMNS, ["age"]).set_index(["against", "measure"])
    gain = table.loc[("params.yaml", "rank-1")]
    assert (gain["difference"], gain["spread"]) == pytest.approx((0.3, math.sqrt(0.005)))
    assert gain["found"] == "better"
    older = table.loc[("params.yaml", "age")]
    assert older["difference"] == pytest.approx(-0.1), "an error that rose"
    assert older["found"] == "within the spread"
    assert table.loc[("single_task", "rank-1"), "found"] == "worse"
    assert ("single_task", "age") not in table.index
    assert table.loc[("equal", "rank-1"), "found"] == "one seed says nothing"


def test_where_nothing_was_found_params_yamls_weights_are_compared():
    table = weights_comparison.differences(runs().query("weights != 'found'"), COLUMNS, ["age"])
    assert set(table["against"]) == {"single_task", "equal"}
    assert "params.yaml" in table.columns
    assert np.isfinite(table["difference"]).all()
