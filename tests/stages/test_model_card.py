"""A model card says what was measured, on whom, by which subgroups it was not, and how the model is called."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flow_stores import write_store
from ruamel.yaml import YAML

from people.evaluation import subgroups
from people.evaluation.results import Results
from stages.registration import model_card

METRICS = {
    "gender.accuracy": 0.8, "gender.accuracy.low": 0.6, "gender.accuracy.high": 0.95, "gender.baseline": 0.5,
}  # fmt: skip


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A lineage by hand of a project with a flow store of three people a split, and tables of an evaluation."""
    monkeypatch.chdir(tmp_path)
    write_store(Path("data/flow/tumgaid"), subjects=3)
    YAML().dump({"datasets": {"tumgaid": {"source": "parametric", "size_hw": [60, 80]}}}, Path("params.yaml"))
    written = {
        "identification": pd.DataFrame({"method": ["svm"], "source": ["ours"], "N": [50.0], "B": [None]}),
        "gender_intervals": pd.DataFrame({"measure": ["accuracy", "accuracy.N"], "value": [0.8, 0.7]}),
        "attributes_intervals": pd.DataFrame({"measure": ["accuracy.hat"], "value": [0.8]}),
        "pairs": pd.DataFrame({"probes": ["N"], "probe view": ["0°"], "90°": [12.5]}),
        "long": pd.DataFrame({"row": range(100)}),
    }
    Path("data/metrics/dmt/tables").mkdir(parents=True)
    for name, table in written.items():
        table.to_csv(Path("data/metrics/dmt/tables", f"{name}.csv"), index=False)
    Path("data/metrics/dmt/captions.json").write_text(json.dumps({"identification": "Rank-1 in %.", "flow": "A picture."}))
    return {
        "system": "dmt",
        "recorded": "2026-11-27T01:15:11+00:00",
        "checkpoint": {"sha256": "f28c", "selected": "trained"},
        "git": {"commit": "e50c", "dirty": True, "changed": {"params.yaml": "0"}},
        "data_digest": "01b1",
        "seed": 3,
        "precision": "bf16-mixed",
        "study": None,
        "stages": {},
        "packages": {"torch build": "2.15.0"},
        "machine": {"processor": "a processor"},
        "validation": {"score": -0.5129721},
        "metrics": METRICS,
        "parameters": {
            "dataset": "tumgaid",
            "reads": {"frames": "data/flow/tumgaid"},
            "score": {"bootstrap": {"resamples": 1000, "confidence": 0.95}},
        },
    }


def section(card: str, title: str) -> str:
    return card.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_card_has_every_section_and_says_where_the_model_came_from(record: dict[str, Any]):
    card = model_card.card(record)
    titles = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        "How to use it", "Data", "Protocol", "Results", "By subgroup", "Limits", "Consent and licence"
    ]  # fmt: skip
    for fact in ("`f28c`", "`e50c`, with 1 files changed", "`01b1`", "-0.512972", "3, bf16-mixed", "those of params.yaml"):
        assert fact in card, fact


def test_people_of_each_split_are_counted_by_gender_and_age(record: dict[str, Any]):
    rows = [line for line in section(model_card.card(record), "Data").splitlines() if line.startswith("| ")]
    names, *_ = ([cell.strip() for cell in row.strip("|").split("|")] for row in rows)
    test = dict(zip(names, [cell.strip() for cell in rows[-1].strip("|").split("|")], strict=True))
    assert (test["split"], test["people"], test["women"], test["men"], test["gender unknown"]) == ("test", "3", "1", "2", "0")
    assert (test["age 18 to 29"], test["age under 18"], test["age unknown"]) == ("3", "0", "0")


def test_people_in_pictures_of_several_are_counted_and_nothing_is_known_of_them():
    clips = pd.DataFrame({"subject_id": ["a", "b"], "person_count": [2, 3], "gender": [None, None]})
    row = model_card.split_row("test", clips)
    assert row[:6] == ["test", 5, 2, 0, 0, 5]
    assert row[-1] == 5


def test_metrics_have_their_intervals_and_long_tables_are_left_out(record: dict[str, Any]):
    results = section(model_card.card(record), "Results")
    assert "| gender.accuracy | 0.8 | 0.6 to 0.95 |" in results
    assert "| svm | ours | 50 |  |" in results
    assert "**long**" not in results
    assert "**gender intervals**" not in results
    protocol = section(model_card.card(record), "Protocol")
    assert "Rank-1 in %." in protocol
    assert "A picture." not in protocol
    assert "95%, 1000 bootstrap resamples" in protocol


def test_a_subgroup_without_results_is_named(record: dict[str, Any]):
    told = section(model_card.card(record), "By subgroup")
    assert "- by gender: **not measured**" in told
    assert "- by age band: **not measured**" in told
    assert "- by condition: in the tables gender intervals, pairs" in told
    assert "- by view: in the tables pairs" in told
    Path("data/metrics/dmt/tables/by_gender.csv").write_text("gender,value\nfemale,0.5\n")
    assert "- by gender: in the tables by gender" in section(model_card.card(record), "By subgroup")


def test_the_table_of_subgroups_has_a_column_for_each_measure(record: dict[str, Any]):
    clips = pd.DataFrame({"subject_id": ["a", "b", "c"], "gender": ["female", "female", "male"]})
    results, resampling = Results(metrics={}), {"resamples": 50, "confidence": 0.9, "seed": 1}
    subjects = np.array(["a", "a", "b", "b", "c", "c"])
    subgroups.record(results, "rank-1", subjects, np.array([1, 1, 0, 0, 1, 0]), clips, resampling)
    subgroups.record(results, "age error in years", subjects[:4], np.full(4, 2.5), clips, resampling)
    path = Path("data/metrics/dmt/tables", f"{model_card.SUBGROUP_TABLE}.csv")
    results.tables[subgroups.TABLE].to_csv(path, index=False)
    card = model_card.card(record)
    told = section(card, "By subgroup")
    assert "| group | subgroup | rank-1 | age error in years |" in told
    assert "| gender | female | 0.5 (0 to 1), n = 2 | 2.5 (2.5 to 2.5), n = 2 |" in told
    assert "| gender | male | 0.5, n = 1 |  |" in told
    assert "- by gender: in the tables subgroups" in told
    assert "- by age band: **not measured**" in told  # no age is known
    assert "- by condition: in the tables gender intervals, pairs" in told
    assert "**subgroups**" not in section(card, "Results")


def test_every_kind_of_subgroup_of_an_evaluation_has_its_line():
    assert {subgroups.GENDER, subgroups.AGE_BAND} <= set(model_card.SUBGROUPS)
    assert subgroups.TABLE == model_card.SUBGROUP_TABLE


@pytest.mark.parametrize("source", ["parametric", "kinectgait", "cmumocap", "official", "elsewhere"])
def test_limits_and_terms_follow_from_the_source_of_the_data(record: dict[str, Any], source: str):
    record["stages"] = {"ingest@tumgaid": {"params": {"params.yaml": {"datasets.tumgaid": {"source": source}}}}}
    card = model_card.card(record)
    assert ("Its people are rendered" in section(card, "Limits")) == (source in model_card.RENDERED)
    assert "3 test people" in section(card, "Limits")
    terms = {"parametric": "Nobody's data", "kinectgait": "Andersson", "cmumocap": "NSF", "official": "terms of the data set"}
    assert terms.get(source, "was not recorded; find out its terms") in section(card, "Consent and licence")


def test_a_model_without_its_data_here_still_has_a_card(record: dict[str, Any]):
    record["parameters"]["reads"]["frames"] = "data/flow/gone"
    assert "people are not counted" in model_card.card(record)


@pytest.mark.parametrize("count", [0, 2, 400])
def test_the_description_is_short_and_calls_the_version(record: dict[str, Any], count: int):
    for number in range(count):
        name = f"identification.of.a.rather.long.name.{number}." + "x" * 300
        record["metrics"] = {name: 0.5, f"{name}.low": 0.4, f"{name}.high": 0.6} | record["metrics"]
    text = model_card.short(record, "3")
    assert len(text) <= 1500
    assert 'load_model("models:/dmt/3")' in text
    assert ("gender.accuracy: 0.8 (0.6 to 0.95)" in text) == (count <= 2)
    assert 'load_model("models:/dmt@champion")' in model_card.short(record)
