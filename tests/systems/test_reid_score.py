"""Attributes and re-identification evaluated: networks with perfect or constant outputs, or without some tasks."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import photo_stores
import pytest
import torch
from torch import Tensor, nn

from people.datasets import market1501
from people.evaluation import plots
from people.evaluation.results import Results
from people.records import ATTRIBUTES
from people.storage.store import Store
from people.systems.reid import data, model, paper, score
from people.systems.reid.score import attributes, colour_histograms
from people.video import detectors

DATA = data.Config(**photo_stores.DATA_BLOCK | {"rotation_deg": 10.0})
BLOCK: dict[str, Any] = {
    "split": "test", "batch_size": 16, "rerank": None, "junk": ["confidence", "head"], "weights": "",
    "bootstrap": {"resamples": 40, "confidence": 0.9},
}  # fmt: skip
TASKS = ("identity", "attributes", "junk")


class Oracle(nn.Module):
    """A network that reads the labels and outputs them; if not `perfect` the first class of everything, one embedding."""

    def __init__(self, tasks: tuple[str, ...] = TASKS, *, perfect: bool = True) -> None:
        super().__init__()
        self.tasks, self.perfect, self.unused = tasks, perfect, nn.Parameter(torch.zeros(1))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = {}
        if "identity" in self.tasks:
            position = 10.0 * batch["subject"] if self.perfect else torch.zeros_like(batch["subject"])
            outputs["embedding"] = torch.stack([position, 0.1 * batch["clip"]], dim=1).float()
        confidence = 5.0 * (batch["person"] == 1)  # uniform probabilities for junk and distractors
        if "attributes" in self.tasks:
            for name, classes in ATTRIBUTES.items():
                label = batch[name].clamp(min=0) * self.perfect
                outputs[name] = confidence[:, None] * nn.functional.one_hot(label, len(classes)).float()
        if "junk" in self.tasks:
            outputs["person"] = torch.stack([-confidence, confidence], dim=1)
        return outputs


def evaluate(reads: dict[str, Path], network: nn.Module, tasks: tuple[str, ...] = TASKS, **changes: Any) -> Results:
    train = data.open_samples(reads, DATA, "train", tasks)
    spec, config = data.spec(train) | {"tasks": list(tasks)}, score.Config(**BLOCK | changes)
    return score.evaluate(network, spec, data.statistics(train), reads, DATA, config, market1501, seed=1)


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return photo_stores.write_store(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def perfect(reads: dict[str, Path]) -> Results:
    return evaluate(reads, Oracle(), rerank={"k1": 5, "k2": 2, "lambda": 0.3, "reading": "published"})


@pytest.fixture(scope="module")
def constant(reads: dict[str, Path]) -> Results:
    return evaluate(reads, Oracle(perfect=False))


def test_perfect_outputs_have_perfect_metrics(perfect: Results):
    for protocol in ("paper", "official", "paper_reranked", "official_reranked"):
        for measure in ("map", "rank_1", "rank_5", "rank_10"):
            assert perfect.metrics[f"retrieval.{protocol}.{measure}"] == pytest.approx(1.0), (protocol, measure)
    for measure in ("accuracy", "balanced_accuracy", "f1"):
        assert {perfect.metrics[f"attributes.{measure}.{name}"] for name in [*ATTRIBUTES, "mean"]} == {1.0}
    assert perfect.metrics["junk.head.auc"] == perfect.metrics["junk.confidence.auc"] == 1.0


def test_the_accuracy_of_the_first_class_is_its_frequency(constant: Results, reads: dict[str, Path]):
    clips = Store.open(reads["frames"]).clips
    test, train = (clips[(clips["split"] == split) & (clips["kind"] == "person")] for split in ("test", "train"))
    for name, classes in ATTRIBUTES.items():
        labelled = test[name].dropna()
        assert constant.metrics[f"attributes.accuracy.{name}"] == pytest.approx((labelled == classes[0]).mean())
        assert constant.metrics[f"attributes.balanced_accuracy.{name}"] in (0.0, pytest.approx(1 / labelled.nunique()))
        most_frequent = train[name].value_counts().reindex(classes).fillna(0).idxmax()
        assert constant.metrics[f"attributes.most_frequent.{name}"] == pytest.approx((labelled == most_frequent).mean())


def test_unknown_attributes_are_counted_and_left_out(perfect: Results, reads: dict[str, Path]):
    clips = Store.open(reads["frames"]).clips
    people = clips[(clips["split"] == "test") & (clips["kind"] == "person")]
    table = perfect.tables["attributes"].set_index("attribute")
    assert people[list(ATTRIBUTES)].isna().to_numpy().any()
    for name in ATTRIBUTES:
        assert table.loc[name.replace("_", " "), ["photos", "unknown"]].tolist() == [
            people[name].notna().sum(),
            people[name].isna().sum(),
        ]


def test_the_tables_have_the_paper_s_figures_and_ours(perfect: Results):
    table = perfect.tables["attributes"].set_index("attribute")
    assert table.loc["hair", ["accuracy", "paper: MFC", "paper: ConvHead"]].tolist() == [100.0, 64.32, 84.03]
    assert table.loc["mean", "paper: ConvHead"] == 83.53
    retrieval = perfect.tables["retrieval"].set_index(["protocol", "method"])
    assert retrieval.loc[("paper", "ResNet"), "mAP"] == 67.86
    assert retrieval.loc[("official", "APR"), ["mAP", "rank-1"]].tolist() == [66.89, 87.04]
    ours = retrieval[retrieval["source"] == paper.OURS]
    assert ours.index.get_level_values("method").tolist() == ["reid", "reid, re-ranked"] * 2


def test_every_number_is_finite_and_lies_in_its_interval(constant: Results, perfect: Results):
    for results in (constant, perfect):
        assert all(np.isfinite(value) for value in results.metrics.values())
        names = [name.removesuffix(".low") for name in results.metrics if name.endswith(".low")]
        for name in names:
            low, value, high = (results.metrics[f"{name}{end}"] for end in (".low", "", ".high"))
            assert low - 1e-9 <= value <= high + 1e-9 or results is constant, name  # a mean of recalls may leave it


def test_subgroups_are_people_by_labelled_gender_and_age_class(perfect: Results, constant: Results, reads: dict[str, Path]):
    clips = Store.open(reads["frames"]).clips
    photos = clips[(clips["split"] == "test") & (clips["kind"] == "person")]
    people = photos.drop_duplicates("subject_id")
    for results in (perfect, constant):
        table = results.tables["subgroups"]
        assert table["measure"].unique().tolist() == [
            "rank-1, protocol paper", "rank-1, protocol official", "age accuracy", "gender accuracy"
        ]  # fmt: skip
        for measure, name in (
            ("rank-1, protocol official", "retrieval.official.rank_1"),
            ("gender accuracy", "attributes.accuracy.gender"),
            ("age accuracy", "attributes.accuracy.age"),
        ):
            rows = table[table["measure"] == measure]
            assert rows["value"].iloc[0] == pytest.approx(results.metrics[name])
            for group in ("gender", "age band"):
                part = rows[rows["group"] == group]
                assert np.average(part["value"], weights=part["recordings"]) == pytest.approx(results.metrics[name])
        rows = table[table["measure"] == "rank-1, protocol paper"]
        for group, column in (("gender", "gender"), ("age band", "age")):
            counted = rows[rows["group"] == group].set_index("subgroup")["people"].to_dict()
            assert counted == people[column].fillna("unknown").value_counts().to_dict()
    # the constant answer is the first class: right about all men, wrong about all women
    guessed = constant.tables["subgroups"].query("measure == 'gender accuracy' and group == 'gender'").set_index("subgroup")
    assert guessed["value"].to_dict() == {name: float(name == "male") for name in people["gender"].dropna().unique()}


def test_photos_of_the_same_camera_count_in_the_paper_s_protocol_alone(reads: dict[str, Path], perfect: Results):
    sizes = perfect.tables["retrieval_protocols"].set_index("protocol")
    people, distractors = 4 * 6, 2
    assert sizes.loc["paper", ["queries", "gallery"]].tolist() == [people, people]
    assert sizes.loc["official", ["queries", "gallery"]].tolist() == [people, people + distractors]
    # one photo by the same camera and four by others: in order of the distance from the first
    curve = perfect.curves["retrieval_distances"]
    assert len(curve) == people + distractors - 2
    assert curve["same person_marked"].notna().sum() == 4
    assert (np.diff(curve["distance"]) >= 0).all()


def test_people_in_distinct_clothes_are_retrieved_by_colour_histograms(perfect: Results):
    assert perfect.metrics["retrieval.official.histogram_map"] > 0.8


def test_a_network_without_a_task_has_no_results_of_it(reads: dict[str, Path]):
    attributes = evaluate(reads, Oracle(("attributes",)), ("attributes",))
    assert not [name for name in [*attributes.metrics, *attributes.tables, *attributes.curves] if "retrieval" in name]
    assert "junk.confidence.auc" in attributes.metrics
    assert "junk.head.auc" not in attributes.metrics
    identity = evaluate(reads, Oracle(("identity", "junk")), ("identity", "junk"))
    assert not [name for name in [*identity.metrics, *identity.tables] if "attributes" in name]
    assert "junk.confidence.auc" not in identity.metrics
    assert identity.metrics["junk.head.auc"] == 1.0


@pytest.mark.parametrize("output", ["embedding", "hat", "person"])
def test_a_photo_of_which_an_output_is_not_finite_is_refused_by_its_name(reads: dict[str, Path], output: str):
    class Spoiled(Oracle):
        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            outputs = super().forward(batch)
            outputs[output][batch["clip"] == 3] = torch.inf
            return outputs

    clips = data.open_samples(reads, DATA, "test", TASKS).clips["clip_id"]
    with pytest.raises(ValueError, match=f"reid: the output '{output}' of clip {clips[3]} is not finite .* that of 1 of"):
        evaluate(reads, Spoiled())


def test_an_attribute_that_no_training_photo_has_has_no_most_frequent_class():
    photos = pd.DataFrame({"kind": ["person", "person", "junk"], "hat": [None, None, "yes"], "hair": ["long", "long", "short"]})
    assert attributes.most_frequent(photos, "hair") == ATTRIBUTES["hair"].index("long")
    with pytest.raises(ValueError, match="no training photo has a known hat"):
        attributes.most_frequent(photos, "hat")


def test_the_result_does_not_depend_on_the_batch_size(reads: dict[str, Path]):
    torch.manual_seed(3)
    spec = data.spec(data.open_samples(reads, DATA, "train", TASKS)) | {"tasks": list(TASKS)}
    network = model.Network(model.Config(**photo_stores.MODEL_BLOCK), spec)
    first, second = (evaluate(reads, network, batch_size=size) for size in (5, 64))
    assert first.metrics == pytest.approx(second.metrics, abs=1e-6)
    assert 0 < first.metrics["retrieval.official.map"] < 1


def test_validation_people_are_evaluated_without_test_people(tmp_path: Path):
    reads, tasks = photo_stores.write_store(tmp_path, people={"train": 4, "validation": 3}), ("identity", "attributes")
    with pytest.raises(ValueError, match=r"no test identities; set score\.reid\.split to validation"):
        evaluate(reads, Oracle(tasks), tasks)
    results = evaluate(reads, Oracle(tasks), tasks, split="validation")
    assert results.metrics["retrieval.official.map"] == 1.0
    assert not [name for name in results.metrics if name.startswith("junk")]  # validation has junk for the task junk alone


def test_a_detector_without_weights_is_refused_with_what_to_do(reads: dict[str, Path]):
    with pytest.raises(ValueError, match=r"nowhere\.pth is no file: expected the weights FasterRCNN"):
        evaluate(reads, Oracle(), junk=["detector"], weights="nowhere.pth")


def test_the_detector_score_is_that_of_its_best_person(monkeypatch: pytest.MonkeyPatch):
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
            labels = torch.tensor([1, 3, 1] if images[0].mean() > 0.5 else [3])
            return [{"labels": labels, "scores": torch.tensor([0.7, 0.9, 0.2])[: len(labels)]}]

    monkeypatch.setattr(detectors, "detector", lambda name, weights: Detector())
    frames = [np.full((8, 4, 3), level, np.uint8) for level in (255, 0)]
    assert list(detectors.person_scores(frames, Path("none"))) == [pytest.approx(0.7), 0.0]


def test_pictures_show_each_query_and_ten_photos_and_the_confusion_of_colours(perfect: Results):
    height, width = photo_stores.HEIGHT + 2 * 3 + 2, photo_stores.WIDTH + 2 * 3 + 2
    assert perfect.pictures["queries"].shape == (6 * (height + 2), 11 * width + 2 + 90, 3)
    assert {"upper_colour_confusion", "lower_colour_confusion"} <= set(perfect.pictures)
    confusion = perfect.tables["upper_colour_confusion"].set_index("true")
    assert confusion.to_numpy().sum() == np.trace(confusion.to_numpy()) == perfect.tables["attributes"].loc[10, "photos"]


def test_a_frame_is_green_around_the_same_picture():
    picture = np.random.default_rng(0).integers(0, 255, (6, 4, 3)).astype(np.uint8)
    framed = plots.framed(picture, (0, 200, 0), 2)
    assert (framed[2:-2, 2:-2] == picture).all()
    assert framed.shape == (10, 8, 3)
    assert (framed[0] == (0, 200, 0)).all()


def test_a_histogram_of_one_colour_has_one_bin_in_each_half_and_its_distance_is_hellinger_s():
    red_over_blue = np.zeros((1, 8, 4, 3), np.uint8)
    red_over_blue[:, :4, :, 0], red_over_blue[:, 4:, :, 2] = 255, 255
    (histogram,) = colour_histograms.histograms(red_over_blue)
    assert histogram.sum() == 2.0
    assert (histogram.reshape(2, -1).max(axis=1) == 1.0).all()
    mirrored = colour_histograms.histograms(red_over_blue[:, :, ::-1])[0]
    assert (mirrored == histogram).all()
    assert np.linalg.norm(histogram - colour_histograms.histograms(red_over_blue[:, ::-1])[0]) == pytest.approx(2.0)


def test_histograms_do_not_depend_on_light_and_tint_nor_on_the_outer_columns():
    photo = np.random.default_rng(0).integers(20, 120, (16, 8, 3)).astype(np.uint8)
    tinted = (photo * np.array([1.0, 2.0, 1.0])).astype(np.uint8)
    tinted[:, :2], tinted[:, 6:] = 255, 255
    assert np.allclose(colour_histograms.histograms(photo[None]), colour_histograms.histograms(tinted[None]))
    black = colour_histograms.histograms(np.zeros((1, 4, 1, 3), np.uint8))
    assert black.sum() == 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "train"}, "split must be one of"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"junk": ["guess"]}, "junk must be some of"),
        ({"rerank": {"k1": 3}}, "rerank has the keys k1, k2, lambda, reading"),
        ({"rerank": {"k1": 3, "k2": 6, "lambda": 0.3, "reading": "paper"}}, "1 <= k2 <= k1"),
        (
            {"rerank": {"k1": 6, "k2": 3, "lambda": 0.3, "reading": "mine"}},
            "reading of re-ranking must be one of published, paper",
        ),
        ({"bootstrap": {}}, "bootstrap has the keys confidence, resamples"),
    ],
)
def test_a_wrong_configuration_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        score.Config(**BLOCK | changes)


def test_every_measure_of_a_table_of_trainings_is_there(perfect: Results):
    assert {name for pair in score.COLUMNS.values() for name in pair} <= set(perfect.metrics)


def test_the_same_seed_gives_the_same_results(reads: dict[str, Path], constant: Results):
    assert evaluate(reads, Oracle(perfect=False)).metrics == constant.metrics
