"""Headline figures: the metrics that a system names, as far as they were measured."""

import pytest

from people.evaluation.headline import Figure, entries
from people.systems.dmt.score import headline_figures as of_dmt
from people.systems.gaitnet.score import headline_figures as of_gaitnet
from people.systems.gaittake.score import headline_figures as of_gaittake

FIGURES = (
    Figure("rank1", "Rank-1", "ours", "chance", "chance"),
    Figure("age_mae", "Age", "age.mae", unit="years", better="lower"),
)


def names(figures: list) -> list[str]:
    return [figure["name"] for figure in figures]


def test_a_figure_has_its_interval_and_its_baseline_where_there_are_some():
    metrics = {"ours": 0.5, "ours.low": 0.4, "ours.high": 0.6, "chance": 0.1, "age.mae": 5.0}
    rank_1, age = entries(FIGURES, metrics)
    assert (rank_1["value"], rank_1["low"], rank_1["high"], rank_1["baseline"]) == (0.5, 0.4, 0.6, 0.1)
    assert rank_1["baseline_title"] == "chance"
    assert (age["value"], age["low"], age["baseline"], age["unit"], age["better"]) == (5.0, None, None, "years", "lower")


def test_a_task_that_is_left_out_has_no_figure():
    assert names(entries(FIGURES, {"ours": 0.5, "chance": 0.1})) == ["rank1"]


def test_an_evaluation_without_any_figure_is_refused():
    with pytest.raises(ValueError, match=r"expected one of the headline metrics ours, age.mae, got other: add a figure"):
        entries(FIGURES, {"other": 0.5})


def test_more_figures_than_fit_are_cut_off():
    many = [Figure(f"rank1_{number}", f"Rank-1, {number}", str(number)) for number in range(12)]
    figures = entries(many, {str(number): number / 12 for number in range(12)})
    assert names(figures) == [f"rank1_{number}" for number in range(6)]


def test_dmt_shows_the_first_of_the_configured_decisions():
    both = {f"identification.{each}.N": value for each, value in (("svm", 0.7), ("softmax_product", 0.8), ("mean_flow", 0.5))}
    assert of_dmt(both)[0]["value"] == 0.8
    del both["identification.softmax_product.N"]
    (only,) = of_dmt(both)
    assert (only["name"], only["value"], only["baseline"]) == ("rank1_normal", 0.7, 0.5)


def test_gait_systems_show_the_probe_sets_of_their_dataset():
    casiab = {f"single_view.{measure}.{probes}": 0.5 for measure in ("rank_1", "gei_rank_1") for probes in ("NM", "CL")}
    casiab |= {"single_view.rank_1.NM.low": 0.4, "single_view.rank_1.NM.high": 0.6}
    assert names(of_gaittake(casiab)) == names(of_gaitnet(casiab)) == ["rank1_nm", "rank1_cl"]
    usf = {f"identification.{measure}.A": 0.5 for measure in ("rank_1", "gei_rank_1")}
    assert names(of_gaitnet(usf)) == ["rank1_a"]


def test_gaitnet_shows_the_first_false_accept_rate_under_its_own_protocol():
    fvg = {
        f"{group}.{prefix}{measure}.{probes}": 0.5
        for group, measure in (("verification", "tar_at_0.5"), ("verification", "tar_at_5"), ("identification", "rank_1"))
        for prefix in ("", "gei_")
        for probes in ("WS", "CL", "ALL")
    }
    figures = of_gaitnet(fvg)
    assert names(figures) == ["tar_at_0_5_all", "rank1_all", "tar_at_0_5_cl"]
    assert figures[0]["title"] == "True accept rate at 0.5 % false accepts, all probes"
