"""The table of several trainings: outcomes that survive a kill, milestones that move along, variants of the command line."""

from pathlib import Path

import pytest

from benchmarks import ablation


def test_an_outcome_that_a_kill_cut_short_is_no_outcome_and_is_taken_out(tmp_path: Path):
    results = tmp_path / "results.jsonl"
    assert ablation.lines(results) == []
    results.write_text('{"key": "a"}\n{"key": "b"')
    assert ablation.lines(results) == [{"key": "a"}]
    assert results.read_text() == '{"key": "a"}\n'
    results.write_text('{"ke')
    assert ablation.lines(results) == []
    assert results.read_text() == ""


def test_a_variant_of_the_command_line_is_a_name_and_what_it_changes():
    changes = {"objective": {"lambda": {"identity": 3.0}}}
    assert ablation.also(["three={objective: {lambda: {identity: 3.0}}}"]) == {"three": changes}
    for text in ("three", "three=4", "={objective: {}}"):
        with pytest.raises(SystemExit, match="NAME=CHANGES"):
            ablation.also([text])


def test_means_and_deviations_are_over_seeds_in_percent_but_for_years_with_the_baselines_last():
    outcomes = [
        {"variant": "all", "seed": seed, "metrics": {"rank_1": share, "age.mae_years": 4.0, "nearest.rank_1": 0.25}}
        for seed, share in ((1, 0.5), (2, 0.7))
    ]
    outcomes.append({"variant": "lacks", "seed": 1, "metrics": {"age.mae_years": 5.0}})
    found = ablation.table(outcomes, {"rank-1": ("rank_1", "nearest.rank_1"), "age": ("age.mae_years", None)})
    assert found.to_dict("index") == {
        "all": {"rank-1": "60.0±14.1", "age": "4.0±0.0"},
        "lacks": {"rank-1": "", "age": "5.0"},
        "baseline": {"rank-1": "25.0", "age": ""},
    }
