"""GaitTAKE evaluated on people who can be told apart by their shape, on some who cannot, and with clips missing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from silhouette_stores import DATA, FEW, MODEL_BLOCK, write_stores

from people.datasets import casiab
from people.evaluation.results import Results
from people.systems.gaittake import data, model, paper, score, serving

TASKS = ("weighted", "batch_all")
CONFIG = score.Config(batch_size=16, bootstrap={"resamples": 40, "confidence": 0.9})
MISSING = ("t00/nm-01/000", "t00/nm-02/000", "t01/nm-01/000", "t01/nm-02/000", "t01/nm-01/090", "t01/nm-02/090")


def network_for(
    reads: dict[str, Path], config: data.Config = DATA
) -> tuple[model.Network, dict[str, Any], dict[str, torch.Tensor]]:
    """A network with its first random weights (which keep people apart), its spec, and no statistics."""
    train = data.open_samples(reads, config, "train", TASKS)
    spec = data.spec(train) | {"tasks": list(TASKS)}
    torch.manual_seed(0)
    return model.Network(model.Config(**MODEL_BLOCK), spec).eval(), spec, data.statistics(train)


def evaluate(reads: dict[str, Path], data_config: data.Config = DATA, config: score.Config = CONFIG) -> Results:
    return score.evaluate(*network_for(reads, data_config), reads, data_config, config, casiab, seed=1)


def stores(folder: Path, **changes: Any) -> dict[str, Path]:
    return write_stores(folder, sequences=FEW, **{"lengths": (4, 6)} | changes)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return evaluate(stores(tmp_path_factory.mktemp("apart")))


def test_the_table_has_a_column_for_each_probe_view_and_the_paper_s_rows_with_ours_and_the_baseline(results: Results):
    table = results.tables["single_view"]
    assert list(table.columns) == ["probes", "method", "source", "0°", "90°", "180°", "mean"]
    assert table["source"].value_counts().to_dict() == {paper.PAPER: 15, paper.OURS: 3, paper.BASELINE: 3}
    printed = table[(table["source"] == paper.PAPER) & (table["method"] == "GaitTAKE") & (table["probes"] == "CL")].iloc[0]
    assert printed.tolist()[3:] == [89.1, 90.5, 87.0, 92.2]


def test_people_of_different_shapes_are_identified_and_the_mean_is_that_of_the_conditions(results: Results):
    for group in ("single_view", "cross_view"):
        values = [results.metrics[f"{group}.rank_1.{name}"] for name in ("NM", "BG", "CL")]
        assert min(values) > 0.8
        assert results.metrics[f"{group}.rank_1.mean"] == pytest.approx(np.mean(values))
        assert results.metrics[f"{group}.gei_rank_1.NM"] > 0.8
        assert results.metrics[f"{group}.rank_5.NM"] >= results.metrics[f"{group}.rank_1.NM"]


def test_people_of_one_shape_are_identified_by_chance(tmp_path: Path):
    results = evaluate(stores(tmp_path, separation=0.0))
    assert results.metrics["single_view.gei_rank_1.mean"] < 0.6
    assert results.metrics["single_view.gei_rank_5.mean"] == pytest.approx(1.0, abs=0.3)


def test_every_number_is_finite_and_lies_in_its_interval(results: Results):
    assert all(np.isfinite(value) for value in results.metrics.values())
    names = [name.removesuffix(".low") for name in results.metrics if name.endswith(".low")]
    assert len(names) == 2 * 3 * 4
    for name in names:
        assert results.metrics[f"{name}.low"] - 1e-9 <= results.metrics[name] <= results.metrics[f"{name}.high"] + 1e-9, name


def test_the_quality_of_silhouettes_and_poses_is_among_the_metrics(results: Results):
    assert results.metrics["silhouettes.iou"] == 0.9
    assert results.metrics["silhouettes.iou.nm"] == 0.9
    assert results.metrics["poses.oks"] == 0.6


def test_the_pairs_of_views_leave_the_diagonal_empty_and_their_mean_is_the_table_s(results: Results):
    pairs = results.tables["single_view_pairs"].query("probes == 'NM'").set_index("probe view")[["0°", "90°", "180°"]]
    assert np.isnan(np.diag(pairs.to_numpy())).all()
    table = results.tables["single_view"]
    ours = table[(table["source"] == paper.OURS) & (table["probes"] == "NM")].iloc[0]
    np.testing.assert_allclose(pairs.mean(axis=1).to_numpy(), ours[["0°", "90°", "180°"]].to_numpy(float), atol=0.1)


def test_missing_gallery_clips_are_counted_and_lower_the_figure_that_counts_them(tmp_path: Path):
    results = evaluate(stores(tmp_path, leave_out=MISSING))
    missing = results.tables["single_view_missing"].set_index("probes")
    # a probe from each of three views: a missing gallery view is missed by the two other probes of that person
    assert missing.loc["NM", "without gallery"] == results.metrics["single_view.without_gallery.NM"] == 2 + 2 * 2
    assert missing.loc["NM", "rank-1 with them"] < missing.loc["NM", "rank-1"]
    assert missing.loc["NM", "comparisons"] == 4 * 3 * 2


def test_by_gender_and_age_band_every_probe_counts_once(results: Results, tmp_path: Path):
    by_subgroup = evaluate(stores(tmp_path, labelled=True, separation=0.0), replace(DATA, keypoints=False))
    assert "subgroups" not in results.tables  # nobody's label is known
    assert not [name for name in by_subgroup.metrics if name not in results.metrics]
    rows = by_subgroup.tables["subgroups"].set_index("subgroup")
    assert rows["people"].to_dict() == {
        "everybody": 4, "female": 2, "male": 2, "18 to 29": 1, "30 to 44": 1, "45 to 59": 1, "60 and over": 1
    }  # fmt: skip
    assert (rows["recordings"] == 3 * 3 * rows["people"]).all()  # conditions, views
    assert rows["value"].iloc[0] == pytest.approx(by_subgroup.metrics["single_view.rank_1.mean"])  # as many of each view
    assert rows["value"].nunique() > 1
    for group in ("gender", "age band"):
        part = rows[rows["group"] == group]
        assert np.average(part["value"], weights=part["recordings"]) == pytest.approx(rows["value"].iloc[0])
    assert set(by_subgroup.captions) >= set(by_subgroup.tables)


def test_the_result_does_not_depend_on_the_batch_size(results: Results, tmp_path: Path):
    smaller_batches = evaluate(stores(tmp_path), config=replace(CONFIG, batch_size=5))
    assert smaller_batches.metrics == pytest.approx(results.metrics, abs=1e-9)


def test_without_poses_the_same_metrics_come_from_silhouettes_alone(results: Results, tmp_path: Path):
    reads = stores(tmp_path) | {"poses": tmp_path / "nowhere"}
    without = evaluate(reads, replace(DATA, keypoints=False))
    assert set(results.metrics) - set(without.metrics) == {"poses.oks"}
    assert set(without.metrics) <= set(results.metrics)
    assert without.metrics["single_view.rank_1.mean"] > 0.8
    assert without.metrics["single_view.gei_rank_1.mean"] == results.metrics["single_view.gei_rank_1.mean"]
    assert without.pictures["silhouettes"].shape == results.pictures["silhouettes"].shape
    is_grey = np.ptp(without.pictures["silhouettes"].astype(int), axis=2) == 0
    assert is_grey.all()  # keypoints are drawn in red
    assert (np.ptp(results.pictures["silhouettes"].astype(int), axis=2) > 0).any()


def test_an_energy_image_is_the_mean_silhouette_whatever_the_clip_is_padded_with(tmp_path: Path):
    samples = data.open_samples(stores(tmp_path, lengths=(2, 6)), DATA, "test", TASKS)
    spec = data.spec(samples)
    batch = samples.batch([0, 1], spec=spec, statistics={}, augment=None)
    single = samples.batch([0], spec=spec, statistics={}, augment=None)
    expected = single["silhouette"][0].mean(0)
    torch.testing.assert_close(score.energy_images(batch)[0], expected)


def test_the_served_embedding_is_the_evaluated_one(tmp_path: Path):
    reads = write_stores(tmp_path, sequences=FEW)
    network, spec, statistics = network_for(reads)
    samples = data.open_samples(reads, DATA, "test", TASKS)
    batch = samples.batch([0, 5, 9], spec=spec, statistics=statistics, augment=None)
    clips = {name: batch[name].numpy() for name in ("silhouette", "keypoints")}
    input_shapes, output_shapes = serving.shapes(network, spec)
    embedding = serving.predict(network, statistics, clips)["embedding"]
    with torch.no_grad():
        np.testing.assert_allclose(embedding, network(batch)["embedding"].numpy(), rtol=1e-5, atol=1e-6)
    assert output_shapes["embedding"][1:] == embedding.shape[1:]
    assert {name: shape[2:] for name, shape in input_shapes.items()} == {name: clips[name].shape[2:] for name in input_shapes}


def test_a_clip_whose_embedding_is_not_finite_is_refused_by_its_name(tmp_path: Path):
    reads = stores(tmp_path)
    network, spec, statistics = network_for(reads)

    def spoil_the_third(_: Any, __: Any, outputs: dict[str, torch.Tensor]) -> None:
        outputs["embedding"][2, 0] = torch.nan

    network.register_forward_hook(spoil_the_third)
    clips = data.open_samples(reads, DATA, "test", TASKS).clips["clip_id"]
    with pytest.raises(
        ValueError, match=f"gaittake: the output 'embedding' of clip {clips[2]} is not finite .* that of 4 of 60"
    ):
        score.evaluate(network, spec, statistics, reads, DATA, CONFIG, casiab, seed=1)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"bootstrap": {"resamples": 3}}])
def test_a_wrong_configuration_is_refused(wrong: dict):
    with pytest.raises(ValueError, match=r"score\.gaittake"):
        score.Config(**{"batch_size": 4, "bootstrap": {"resamples": 3, "confidence": 0.9}, **wrong})


def test_the_paper_s_printed_means_are_those_of_its_rows_but_for_one():
    for table in paper.TABLES.values():
        for rows in table.rows.values():
            for method, values in rows.items():
                row_mean = np.nanmean(values[: len(table.views_deg)])
                tolerance = 0.15 if method == "MT3D" else 1.0 if method == "GaitPart" else 0.06
                assert values[-1] == pytest.approx(row_mean, abs=tolerance), method
