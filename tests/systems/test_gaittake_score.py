"""GaitTAKE judged on people who can be told apart by their shape, on some who cannot, and with clips missing."""

from pathlib import Path

import numpy as np
import pytest
import silhouette_stores
import torch
from silhouette_stores import DATA

from people.evaluation.results import Results
from people.systems.gaittake import data, paper, score, serving

CONFIG = score.Config(batch_size=16, bootstrap={"resamples": 40, "confidence": 0.9})
MISSING = ("t00/nm-01/000", "t00/nm-02/000", "t01/nm-01/000", "t01/nm-02/000", "t01/nm-01/090", "t01/nm-02/090")


def judged(folder: Path, **stores) -> Results:
    reads = silhouette_stores.write_stores(folder, sequences=silhouette_stores.FEW, lengths=(4, 6), **stores)
    return score.evaluate(*silhouette_stores.network_for(reads), reads, DATA, CONFIG, seed=1)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return judged(tmp_path_factory.mktemp("apart"))


def test_the_table_has_a_column_for_each_probe_view_and_the_paper_s_rows_beside_ours_and_the_baseline(results: Results):
    table = results.tables["single_view"]
    assert list(table.columns) == ["probes", "method", "source", "0°", "90°", "180°", "mean"]
    assert table["source"].value_counts().to_dict() == {paper.PAPER: 15, paper.OURS: 3, paper.BASELINE: 3}
    printed = table[(table["source"] == paper.PAPER) & (table["method"] == "GaitTAKE") & (table["probes"] == "CL")].iloc[0]
    assert printed.tolist()[3:] == [89.1, 90.5, 87.0, 92.2]


def test_people_of_different_shapes_are_identified_and_the_mean_is_that_of_the_conditions(results: Results):
    for group in ("single_view", "cross_view"):
        found = [results.metrics[f"{group}.rank_1.{name}"] for name in ("NM", "BG", "CL")]
        assert min(found) > 0.8
        assert results.metrics[f"{group}.rank_1.mean"] == pytest.approx(np.mean(found))
        assert results.metrics[f"{group}.gei_rank_1.NM"] > 0.8
        assert results.metrics[f"{group}.rank_5.NM"] >= results.metrics[f"{group}.rank_1.NM"]


def test_people_of_one_shape_are_found_by_chance_alone(tmp_path: Path):
    results = judged(tmp_path, told_apart=0.0)
    assert results.metrics["single_view.gei_rank_1.mean"] < 0.6
    assert results.metrics["single_view.gei_rank_5.mean"] == pytest.approx(1.0, abs=0.3)


def test_every_number_is_finite_and_lies_in_its_interval(results: Results):
    assert all(np.isfinite(value) for value in results.metrics.values())
    names = [name.removesuffix(".low") for name in results.metrics if name.endswith(".low")]
    assert len(names) == 2 * 3 * 4
    for name in names:
        assert results.metrics[f"{name}.low"] - 1e-9 <= results.metrics[name] <= results.metrics[f"{name}.high"] + 1e-9, name


def test_the_quality_of_silhouettes_and_poses_stands_among_the_numbers(results: Results):
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
    results = judged(tmp_path, leave_out=MISSING)
    missing = results.tables["single_view_missing"].set_index("probes")
    # a probe from each of three views: a gallery view that a person lacks is asked by the two other probes of that person
    assert missing.loc["NM", "without gallery"] == results.metrics["single_view.without_gallery.NM"] == 2 + 2 * 2
    assert missing.loc["NM", "rank-1 with them"] < missing.loc["NM", "rank-1"]
    assert missing.loc["NM", "comparisons"] == 4 * 3 * 2


def test_the_result_does_not_depend_on_the_batch_size(results: Results, tmp_path: Path):
    reads = silhouette_stores.write_stores(tmp_path, sequences=silhouette_stores.FEW, lengths=(4, 6))
    other = score.Config(batch_size=5, bootstrap=CONFIG.bootstrap)
    again = score.evaluate(*silhouette_stores.network_for(reads), reads, DATA, other, seed=1)
    assert again.metrics == pytest.approx(results.metrics, abs=1e-9)


def test_an_energy_image_is_the_mean_silhouette_whatever_the_clip_is_padded_with(tmp_path: Path):
    reads = silhouette_stores.write_stores(tmp_path, sequences=silhouette_stores.FEW, lengths=(2, 6))
    samples = data.open_samples(reads, DATA, "test")
    spec = data.spec(samples)
    batch = samples.batch([0, 1], spec=spec, statistics={}, augment=None)
    alone = samples.batch([0], spec=spec, statistics={}, augment=None)
    expected = alone["silhouette"][0].mean(0)
    torch.testing.assert_close(score.energy_images(batch)[0], expected)


def test_what_is_served_is_the_embedding_that_is_judged(tmp_path: Path):
    reads = silhouette_stores.write_stores(tmp_path, sequences=silhouette_stores.FEW)
    network, spec, statistics = silhouette_stores.network_for(reads)
    samples = data.open_samples(reads, DATA, "test")
    batch = samples.batch([0, 5, 9], spec=spec, statistics=statistics, augment=None)
    clips = {name: batch[name].numpy() for name in ("silhouette", "keypoints")}
    takes, answers = serving.shapes(network, spec)
    found = serving.predict(network, statistics, clips)["embedding"]
    with torch.no_grad():
        np.testing.assert_allclose(found, network(batch)["embedding"].numpy(), rtol=1e-5, atol=1e-6)
    assert answers["embedding"][1:] == found.shape[1:]
    assert {name: shape[2:] for name, shape in takes.items()} == {name: clips[name].shape[2:] for name in takes}


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"bootstrap": {"resamples": 3}}])
def test_a_wrong_configuration_is_refused(wrong: dict):
    with pytest.raises(ValueError, match=r"gaittake\.score"):
        score.Config(**{"batch_size": 4, "bootstrap": {"resamples": 3, "confidence": 0.9}, **wrong})


def test_the_paper_s_printed_means_are_those_of_its_rows_but_for_one():
    for table in paper.TABLES.values():
        for rows in table.rows.values():
            for method, values in rows.items():
                row_mean = np.nanmean(values[: len(table.views_deg)])
                tolerance = 0.15 if method == "MT3D" else 1.0 if method == "GaitPart" else 0.06
                assert values[-1] == pytest.approx(row_mean, abs=tolerance), method
