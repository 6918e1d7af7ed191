"""DMT evaluated on flow in which people can be told apart, and on flow in which they cannot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flow_stores import CURRENT, DATA, MODEL_BLOCK, TASKS, write_store
from sklearn.neighbors import KNeighborsClassifier

from people.datasets import tumgaid
from people.evaluation import answers, bootstrap, identification, metrics
from people.evaluation.results import Results
from people.systems.dmt import data, model, score
from people.systems.dmt.score.windows import extract

CONFIG = score.Config(
    decisions=score.DECISIONS,
    neighbours=7,
    pca_components=128,
    svm_cost=10.0,
    batch_size=16,
    adapt={"epochs": 15, "learning_rate": 0.1, "batch_size": 16, "scope": "head"},
    bootstrap={"resamples": 40, "confidence": 0.9},
    elapsed_gallery=("n01", "n02", "n03", "n04"),
)


def network_for(
    reads: dict[str, Path], tasks: tuple[str, ...]
) -> tuple[model.Network, dict[str, Any], dict[str, torch.Tensor]]:
    """A network for these tasks with its first random weights (which keep people apart), its spec and the training mean."""
    train = data.open_samples(reads, DATA, "train", tasks)
    spec = data.spec(train) | {"tasks": list(tasks)}
    torch.manual_seed(0)
    return model.Network(model.Config(**MODEL_BLOCK), spec).eval(), spec, data.statistics(train)


def evaluate(trained: tuple, reads: dict[str, Path], config: score.Config) -> Results:
    return score.evaluate(*trained, reads, DATA, config, tumgaid, seed=1)


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    path = write_store(tmp_path_factory.mktemp("flow") / "store", subjects=5, elapsed=2, separation=1.0)
    return {"frames": path, "poses": path}


@pytest.fixture(scope="module")
def trained(reads: dict[str, Path]) -> tuple[model.Network, dict[str, Any], dict[str, torch.Tensor]]:
    return network_for(reads, TASKS)


@pytest.fixture(scope="module")
def results(trained: tuple, reads: dict[str, Path]) -> Results:
    return evaluate(trained, reads, CONFIG)


def test_the_table_has_the_papers_columns_and_its_rows_with_ours_and_the_baselines(results: Results) -> None:
    table = results.tables["identification"]
    assert list(table.columns) == ["method", "source", "N", "B", "S", "Avg", "TN", "TB", "TS", "TAvg"]
    assert table["source"].value_counts().to_dict() == {score.PAPER: 7, score.OURS: 4, score.BASELINE: 2}
    paper = table[table["method"] == "Ours-2 (7-NN on PCA-128)"].iloc[0]
    assert paper.tolist()[2:] == [99.7, 97.4, 99.7, 98.9, 59.4, 62.5, 68.8, 63.6]


def test_people_with_patterns_of_their_own_are_identified_and_the_average_is_that_of_its_columns(results: Results) -> None:
    values = results.metrics
    for method in (*score.DECISIONS, "mean_flow"):
        assert values[f"identification.{method}.N"] > 0.8
        expected = np.mean([values[f"identification.{method}.{column}"] for column in "NBS"])
        assert values[f"identification.{method}.Avg"] == pytest.approx(expected)
    assert values["identification.chance.N"] == pytest.approx(1 / 5)
    assert values["verification.equilibrium_accuracy"] > 0.8


def test_every_interval_contains_its_number_and_lies_in_range(results: Results) -> None:
    names = [name.removesuffix(".low") for name in results.metrics if name.endswith(".low")]
    assert len(names) > 30
    for name in names:
        assert results.metrics[f"{name}.low"] - 1e-9 <= results.metrics[name] <= results.metrics[f"{name}.high"] + 1e-9, name
    assert all(np.isfinite(value) for value in results.metrics.values())


def test_the_trivial_baselines_are_those_worked_by_hand(results: Results) -> None:
    # genders female, male, male, female, male in training and in test; ages 20, 23, 26, 29, 32; the first two came back,
    # with 20 sequences instead of 10, so that female weighs 2 + 1 and male 2 + 1 + 1 of 7
    assert results.metrics["gender.baseline"] == pytest.approx(4 / 7)
    assert results.metrics["gender.baseline.N"] == pytest.approx(3 / 5)
    assert results.metrics["gender.baseline_balanced"] == pytest.approx(0.5)
    assert results.metrics["age.baseline_mae_years"] == pytest.approx((2 * 6 + 2 * 3 + 0 + 3 + 6) / 7)
    # 5 people, 4 gallery and 6 probe sequences each: one pair in five is of the same person
    assert results.metrics["verification.chance_auc"] == pytest.approx(1 / 5)


def test_subgroups_are_those_of_the_index_and_their_weighted_mean_is_the_overall_number(results: Results) -> None:
    table = results.tables["subgroups"]
    titles = {
        "rank-1, k-NN on signatures after PCA": "identification.nearest_neighbours.Avg",
        "rank-1 in the elapsed session, k-NN on signatures after PCA": "identification.nearest_neighbours.TAvg",
        "gender accuracy": "gender.accuracy",
        "age error in years": "age.mae_years",
    }
    assert table["measure"].unique().tolist() == list(titles)
    for measure, name in titles.items():
        rows = table[table["measure"] == measure].set_index("subgroup")
        assert rows.loc["everybody", "value"] == pytest.approx(results.metrics[name]), measure
        for group in ("gender", "age band"):
            part = rows[rows["group"] == group]
            assert np.average(part["value"], weights=part["recordings"]) == pytest.approx(results.metrics[name]), measure
    identified = table[table["measure"] == next(iter(titles))].set_index("subgroup")
    # genders female, male, male, female, male; ages 20, 23, 26, 29, 32; six probes a person
    assert identified["people"].to_dict() == {"everybody": 5, "female": 2, "male": 3, "18 to 29": 4, "30 to 44": 1}
    assert (identified["recordings"] == 6 * identified["people"]).all()
    assert np.isnan(identified.loc["30 to 44", "low"])
    assert not [name for name in results.metrics if "subgroup" in name]


def test_columns_of_the_elapsed_session_are_absent_without_its_clips(tmp_path: Path, trained: tuple) -> None:
    path = write_store(tmp_path / "store", subjects=3, elapsed=0, separation=0.0)
    few = replace(CONFIG, decisions=("svm",))
    results = evaluate(trained, {"frames": path, "poses": path}, few)
    assert list(results.tables["identification"].columns) == ["method", "source", "N", "B", "S", "Avg"]
    assert not [name for name in results.metrics if ".T" in name]


def test_the_result_does_not_depend_on_the_batch_size(trained: tuple, reads: dict[str, Path], results: Results) -> None:
    smaller_batches = evaluate(trained, reads, replace(CONFIG, batch_size=7))
    assert smaller_batches.metrics.keys() == results.metrics.keys()
    assert list(smaller_batches.metrics.values()) == pytest.approx(list(results.metrics.values()), abs=1e-5)


@pytest.mark.parametrize("scope", ["head", "all"])
def test_the_same_seed_gives_the_same_numbers_and_leaves_the_network_as_it_was(
    trained: tuple, reads: dict[str, Path], scope: str
) -> None:
    network = trained[0]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    adapt = {"epochs": 1, "learning_rate": 0.01, "batch_size": 16, "scope": scope}
    config = replace(CONFIG, decisions=("softmax_product",), adapt=adapt)
    first = evaluate(trained, reads, config)
    torch.rand(3)
    assert evaluate(trained, reads, config).metrics == first.metrics
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_network_without_gender_and_age_has_no_metric_of_these(reads: dict[str, Path], results: Results) -> None:
    without = evaluate(network_for(reads, ("identity", "verification")), reads, CONFIG)
    names = [*without.metrics, *without.tables, *without.curves]
    assert not [name for name in names if name.startswith(("gender", "age"))]
    assert {name for name in results.metrics if not name.startswith(("gender", "age"))} == set(without.metrics)


def test_decisions_about_a_probe_do_not_depend_on_other_probes(trained: tuple, reads: dict[str, Path]) -> None:
    """Nothing is fitted to probes."""
    network, spec, statistics = trained
    samples = data.open_samples(reads, DATA, "test", TASKS)

    def batch(rows: np.ndarray) -> dict[str, torch.Tensor]:
        return samples.batch(rows.tolist(), spec=spec, statistics=statistics, augment=None)

    windows = extract(network, samples, spec, statistics, 16)
    judge = score.Judge(windows, CONFIG, 1)
    adaptation = identification.Adaptation(network, batch, CONFIG.adapt, 1)
    sequences = samples.clips["sequence"]
    gallery = np.flatnonzero(sequences.isin(CURRENT[:4]) & (samples.clips["session"] == 0))
    probes = np.flatnonzero(sequences == "b01")
    _, all_scores = score.decision_scores(judge, gallery, probes, adaptation)
    _, single_scores = score.decision_scores(judge, gallery, probes[:1], adaptation)
    for method, scores in all_scores.items():
        assert np.allclose(scores[:1], single_scores[method], atol=1e-6), method


def test_pictures_are_colour_images_and_every_table_and_picture_has_a_caption(results: Results) -> None:
    assert set(results.pictures) - {answers.RIGHT, answers.WRONG} == {"filters_spatial", "filters_temporal", "flow"}
    assert set(results.pictures) & {answers.RIGHT, answers.WRONG}
    for picture in results.pictures.values():
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.std() > 0
    shown = set(results.tables) | set(results.pictures) | set(results.curves) | set(results.animations)
    assert set(results.captions) == shown | {"title", "question"}


def test_votes_of_the_nearest_neighbours_equal_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    gallery, probes = generator.normal(size=(40, 6)), generator.normal(size=(15, 6))
    labels = np.repeat(np.arange(4), 10)
    votes = identification.neighbour_scores(gallery, labels, probes, neighbours=7, components=128)
    expected = KNeighborsClassifier(7).fit(gallery, labels).predict_proba(probes) * 7
    assert np.array_equal(np.floor(votes), expected)  # a vote weighs a little over 1, all seven together less than one more


def test_pca_is_fitted_to_the_gallery_and_keeps_no_more_components_than_it_has_items() -> None:
    generator = np.random.default_rng(0)
    gallery, probes = generator.normal(size=(9, 50)), generator.normal(size=(4, 50))
    points, queries = identification.project(gallery, probes, 128)
    assert points.shape == (9, 8)
    assert np.allclose(points.mean(axis=0), 0)
    assert np.allclose(identification.project(gallery, 100 * probes[:1], 128)[0], points)
    assert queries.shape == (4, 8)


def test_a_person_drawn_twice_counts_twice_in_negative_and_in_positive_pairs() -> None:
    pairs = bootstrap.Pairs.from_distances(np.array(["a", "b"]), np.array(["a", "b"]), np.array([[0.1, 0.5], [0.4, 0.9]]))
    drawn = {"a": 2.0, "b": 1.0}
    weights = []
    pairs.statistic(lambda score, positive, weight: weights.extend(weight) or 0.0)(
        np.array([drawn[name] for name in pairs.gallery]), np.array([drawn[name] for name in pairs.probe])
    )
    counted = {(gallery, probe): weight for gallery, probe, weight in zip(pairs.gallery, pairs.probe, weights, strict=True)}
    assert counted == {("a", "a"): 2, ("b", "b"): 1, ("a", "b"): 2, ("b", "a"): 2}
    assert metrics.average_precision(pairs.score, pairs.positive) == pytest.approx((1 + 2 / 4) / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decisions": ("dice",)}, "decisions must be some of majority_vote"),
        ({"neighbours": 0}, "neighbours must be at least 1"),
        ({"adapt": {"epochs": 1}}, "adapt has the keys batch_size, epochs"),
        ({"adapt": {"epochs": 1, "learning_rate": 1.0, "batch_size": 1, "scope": "tail"}}, "scope head or all"),
    ],
)
def test_settings_out_of_range_are_refused_with_what_is_expected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)


@pytest.mark.parametrize("output", ["signature", "gender", "age_years"])
def test_a_clip_of_which_an_output_is_not_finite_is_refused_by_its_name(reads: dict[str, Path], output: str) -> None:
    network, spec, statistics = network_for(reads, TASKS)

    def spoil_the_fifth(_: Any, __: Any, outputs: dict[str, torch.Tensor]) -> None:
        outputs[output][4] = torch.nan

    network.register_forward_hook(spoil_the_fifth)
    samples = data.open_samples(reads, DATA, "test", TASKS)
    clip = samples.clips["clip_id"][int(samples.targets(spec)["clip"][4])]
    with pytest.raises(ValueError, match=f"dmt: the output '{output}' of clip {clip} is not finite"):
        extract(network, samples, spec, statistics, batch_size=1000)


def test_an_adaptation_that_diverges_is_refused_not_voted_on() -> None:
    values = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    settings = {"epochs": 5, "learning_rate": 1e38, "batch_size": 8, "scope": "head"}
    adaptation = identification.Adaptation(torch.nn.Linear(1, 1), lambda rows: {}, settings, 1)
    with pytest.raises(ValueError, match=r"head that was adapted by score.adapt .*: 10 of 10 are not finite"):
        adaptation.logits(values, np.arange(10), np.repeat([0, 1], 5), np.arange(10, 20))


@pytest.mark.parametrize("scope", ["head", "all"])
def test_the_adapted_head_does_not_depend_on_the_scale_of_the_signature_and_changes_no_input(scope: str) -> None:
    class Scaled(torch.nn.Module):
        """A network whose signature is its input, in other units."""

        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale, self.unused = scale, torch.nn.Parameter(torch.zeros(1))

        def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"signature": self.scale * batch["flow"]}

    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 10)
    values = (np.eye(3)[np.tile(labels, 2)] + 0.2 * generator.normal(size=(60, 3))).astype(np.float32)
    gallery, probes = np.arange(30), np.arange(30, 60)
    logits = {}
    for scale in (1.0, 1000.0):
        signature = scale * values
        before = signature.copy()
        settings = {"epochs": 5, "learning_rate": 0.1, "batch_size": 8, "scope": scope}
        adaptation = identification.Adaptation(
            Scaled(scale), lambda rows: {"flow": torch.from_numpy(values[rows])}, settings, 1
        )
        logits[scale] = adaptation.logits(signature, gallery, labels, probes)
        assert np.array_equal(signature, before)
    assert np.allclose(logits[1.0], logits[1000.0], atol=1e-3)
    assert np.mean(logits[1.0].argmax(axis=1) == labels) > 0.9
