"""Multipose judged: metrics against scikit-learn, folds of images, matches of found and labelled people, a whole evaluation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scene_stores import DATA_BLOCK, MODEL_BLOCK, TASKS, drawn_people, person, write
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from people.datasets import coco
from people.evaluation.results import Results
from people.records import ACTIVITIES
from people.systems.multipose import data, model, score, serving
from people.systems.multipose.data import People
from people.systems.multipose.model.config import Activity
from people.systems.multipose.score import activities, found
from people.systems.multipose.score.activities import CrossValidation, Poses

DATA = data.Config(**DATA_BLOCK)
VALIDATION: dict[str, Any] = {"folds": 3, "epochs": 2, "batch_size": 8, "learning_rate": 1.0e-3, "patience": 1}
CONFIG = score.Config(batch_size=4, scales=[1.0], flip=False, cross_validation=VALIDATION)
CLASSIFIER = Activity(hidden=[16, 8], dropout=0.0)
SIZE_HW = (64, 96)


def images_to_test() -> list[list[Any]]:
    """Somebody of every activity in one or two of nine images each, crowds, somebody without keypoints, and nobody."""
    draw = np.random.default_rng(3)
    images = [[person((8.0 + number, 4.0, 36.0, 60.0), 1, ACTIVITIES[number % 4])] for number in range(8)]
    images += [[person((8.0, 4.0, 36.0, 60.0), 1, each), person((50.0, 8.0, 80.0, 60.0), 2, "sitting")] for each in ACTIVITIES]
    images[0].append(person((60.0, 10.0, 90.0, 60.0), 3, None, labelled=False))
    images[1].append(person((60.0, 10.0, 90.0, 60.0), 3, None, labelled=False, crowd=True))
    three = [person((2.0 + 30 * number, 4.0, 28.0 + 30 * number, 60.0), number, "running") for number in range(3)]
    return [*images, three, [], *[drawn_people(draw, SIZE_HW) for _ in range(2)]]


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    train = [drawn_people(np.random.default_rng(seed), SIZE_HW) for seed in range(8)]
    return write(tmp_path_factory.mktemp("stores"), {"train": train, "test": images_to_test()})


def parts(
    reads: dict[str, Path], tasks: tuple[str, ...] = TASKS
) -> tuple[model.Network, dict[str, Any], dict[str, torch.Tensor]]:
    """A network of random weights that finds people, what it must know, and the images' statistics."""
    train = data.open_samples(reads, DATA, "train", tasks)
    spec = data.spec(train) | {"tasks": list(tasks)}
    torch.manual_seed(0)
    network = model.Network(model.Config(**MODEL_BLOCK), spec).eval()
    assert network.detector is not None
    assert network.keypoints is not None
    torch.nn.init.normal_(network.keypoints.heatmaps.weight, std=0.4)
    torch.nn.init.constant_(network.detector.head.classification_head.cls_logits.bias, 0.5)
    return network, spec, data.statistics(train)


@pytest.fixture(scope="module")
def results(reads: dict[str, Path]) -> Results:
    network, spec, statistics = parts(reads)
    return score.evaluate(network, spec, statistics, reads, DATA, CONFIG, coco, seed=1)


# --- evaluation ------------------------------------------------------------------------------------------------------


def test_every_way_is_judged_on_every_image_set_and_all_is_finite(results: Results):
    names = (
        "keypoints",
        "keypoints_strongest",
        "keypoints_true_boxes",
        "keypoints_strongest_true_boxes",
        "residual",
        "residual_nearest",
    )
    for image_set in ("all", "sparse", "crowded"):
        for name in names:
            assert {f"{name}.{image_set}.{measure}" for measure in ("ap", "ap_50", "ar")} <= set(results.metrics)
        assert f"boxes.{image_set}.ap_50" in results.metrics
    for kind in ("labelled", "nearest_neighbour", "majority"):
        assert f"activity.{kind}.f1" in results.metrics
    for name, value in results.metrics.items():
        assert 0 <= value <= 1, name
    assert {metric for pair in score.COLUMNS.values() for metric in pair if metric and "found" not in metric} <= set(
        results.metrics
    )


def test_tables_pictures_and_captions_are_there(results: Results):
    tables = {"keypoints", "boxes", "residual", "activity", "cross_validation", "images", "published"}
    pictures = {
        "best_images",
        "worst_images",
        "heatmaps",
        "residual_before_after",
        "activity_confusion",
        "cross_validation_confusion",
    }
    assert set(results.tables) == tables
    assert pictures - {"residual_before_after"} <= set(results.pictures) <= pictures
    assert set(results.captions) >= set(results.tables) | set(results.pictures)
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in results.pictures.values())
    assert all(len(table) for table in results.tables.values())


def test_images_and_people_are_counted(results: Results):
    table, images = results.tables["images"].set_index("images"), images_to_test()
    everybody = [each for image in images for each in image]
    row = table.loc["all"]
    assert row["count"] == len(images)
    assert row["crowds"] == 1
    assert row["people"] == len(everybody) - 1
    assert row["with keypoints"] == len(everybody) - 2
    assert table.loc["sparse", "count"] == sum(1 <= sum(not each.is_crowd for each in image) <= 2 for image in images)
    assert table.loc["crowded", "count"] >= 1


def test_standing_people_alone_are_posed_right_by_the_nearest_peaks_and_by_an_untrained_residual_network(results: Results):
    assert results.metrics["residual_nearest.sparse.ap_50"] > 0.8
    assert results.metrics["residual.sparse.ap_50"] > 0.8
    assert results.metrics["activity.nearest_neighbour.accuracy"] > results.metrics["activity.majority.accuracy"]


def test_the_same_network_is_judged_the_same_twice_and_without_activities_by_what_it_has(
    reads: dict[str, Path], results: Results
):
    network, spec, statistics = parts(reads)
    again = score.evaluate(network, spec, statistics, reads, DATA, CONFIG, coco, seed=1)
    assert again.metrics == results.metrics
    tasks = TASKS[:-1]
    network, spec, statistics = parts(reads, tasks)
    fewer = score.evaluate(network, spec, statistics, reads, DATA, replace(CONFIG, scales=(0.5, 1.0), flip=True), coco, seed=1)
    assert not [name for name in fewer.metrics if name.startswith(("activity", "cross_validation"))]
    assert {name for name in results.metrics if name.startswith(("keypoints", "boxes", "residual"))} <= set(fewer.metrics)


def test_what_is_judged_is_what_is_served(reads: dict[str, Path]):
    network, spec, statistics = parts(reads)
    samples = data.open_samples(reads, DATA, "test", TASKS)
    split = found.over_split(network, samples, spec, statistics, 4, (1.0,), False)
    images = list(samples.images(range(len(samples))).permute(0, 2, 3, 1).numpy())
    assert sum(len(each.joined.score) for each in split.found) > 10
    for judged, answer in zip(split.found, serving.find_people(network, statistics, images), strict=True):
        for one, other in zip(judged.joined, answer, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    for judged, people in zip(split.found, samples.people, strict=True):
        assert len(judged.in_true_boxes.score) == len(judged.strongest_in_true_boxes.score) == int((~people.is_crowd).sum())
        assert len(judged.strongest.score) == len(judged.joined.score)


def test_an_output_that_is_not_finite_names_the_image(reads: dict[str, Path]):
    network, spec, statistics = parts(reads)
    assert network.keypoints is not None
    torch.nn.init.constant_(network.keypoints.heatmaps.weight, torch.nan)
    with pytest.raises(ValueError, match=r"multipose: the output 'heatmaps' of clip 000000000008 is not finite"):
        score.evaluate(network, spec, statistics, reads, DATA, CONFIG, coco, seed=1)


def test_a_test_split_without_activities_is_refused(tmp_path: Path):
    unknown = [[person((8.0, 4.0, 36.0, 60.0), 1, None)]]
    reads = write(tmp_path, {"train": [[person((8.0, 4.0, 36.0, 60.0))]], "test": unknown})
    network, spec, statistics = parts(reads)
    with pytest.raises(ValueError, match=r"lambda\.activity is not 0, but the split 'test' .* whose activity is known"):
        score.evaluate(network, spec, statistics, reads, DATA, CONFIG, coco, seed=1)


# --- found people ----------------------------------------------------------------------------------------------------


def labelled(*boxes: tuple[float, float, float, float], crowd: tuple[int, ...] = ()) -> People:
    several = [person(box) for box in boxes]
    return People(
        np.array([each.box_xyxy_px for each in several]).reshape(-1, 4), np.array([each.keypoints_px for each in several]),
        np.array([each.area_px for each in several], np.float32), np.isin(np.arange(len(several)), crowd),
        np.zeros(len(several), np.int64),
    )  # fmt: skip


def as_found(people: People, shift_px: float = 0.0) -> model.FoundPeople:
    count = len(people.activity)
    keypoints = torch.from_numpy(people.keypoints_px) + torch.tensor([shift_px, 0.0, 0.0])
    return model.FoundPeople(torch.from_numpy(people.box_xyxy_px), torch.ones(count), keypoints, torch.zeros(count, 4))


def test_found_people_are_matched_best_first_with_whom_they_overlap_most_and_with_no_crowd():
    people = labelled((0, 0, 20, 40), (10, 0, 30, 40), (50, 0, 70, 40), crowd=(2,))
    boxes = torch.tensor([[8.0, 0, 28, 40], [9.0, 0, 29, 40], [50, 0, 70, 40], [1, 0, 21, 40]])
    person_found = model.FoundPeople(boxes, torch.ones(4), torch.zeros(4, 17, 3), torch.zeros(4, 4))
    assert found.matched(person_found, people) == [(0, 1), (3, 0)]
    assert found.matched(person_found, people.rows(np.zeros(0, int))) == []


def test_similarity_counts_who_was_not_found_as_0_and_is_nan_without_keypoints():
    people = labelled((0, 0, 20, 40), (50, 0, 70, 40))
    assert found.similarity(as_found(people), people) == pytest.approx(1)
    assert found.similarity(as_found(people.rows(np.array([1]))), people) == pytest.approx(0.5)
    assert 0.1 < found.similarity(as_found(people, 2.0), people) < 0.95
    assert np.isnan(found.similarity(as_found(people), people.rows(np.zeros(0, int))))


def test_people_are_judged_in_pixels_of_their_files():
    people = labelled((10, 10, 20, 40))
    (truth,), detections = found.annotations(people, 0.5), found.detections(as_found(people), 0.5)
    for boxes, keypoints in (
        (truth.box_xyxy_px[None], truth.keypoints_px),
        (detections.boxes_xyxy_px, detections.keypoints_px[0]),
    ):
        assert boxes.tolist() == [[20, 20, 40, 80]]
        np.testing.assert_allclose(keypoints[:, :2], 2 * people.keypoints_px[0, :, :2], rtol=1e-6)
        assert set(keypoints[:, 2]) == {2}
    assert truth.area_px == 4 * people.area_px[0]


# --- activities ------------------------------------------------------------------------------------------------------


def test_metrics_of_activities_are_scikit_learns_means_over_those_that_occur():
    draw = np.random.default_rng(0)
    for number in range(20):
        true = draw.integers(0, 4 if number % 2 else 3, 60)
        predicted = np.where(draw.random(60) < 0.5, true, draw.integers(0, 4, 60))
        labels = np.unique(true)
        precision, recall, f1, _ = precision_recall_fscore_support(
            true, predicted, labels=labels, average="macro", zero_division=0
        )
        expected = {"accuracy": accuracy_score(true, predicted), "precision": precision, "recall": recall, "f1": f1}
        assert activities.summary(predicted, true, 4) == pytest.approx(expected)
    shares = activities.confusion_shares(np.array([0, 1, 1, 3]), np.array([0, 0, 1, 1]), 4)
    assert shares.tolist() == [[0.5, 0.5, 0, 0], [0, 0.5, 0, 0.5], [0, 0, 0, 0], [0, 0, 0, 0]]


def separable(people: int = 120, seed: int = 0) -> Poses:
    """Poses that lie near one of four corners, up to three in an image."""
    draw = np.random.default_rng(seed)
    code = np.arange(people) % 4
    vector = draw.normal(0, 0.05, (people, 34)).astype(np.float32)
    vector[:, 0] += code % 2
    vector[:, 1] += code // 2
    return Poses(vector, code, np.arange(people) // 3)


def test_no_image_is_in_two_folds_and_every_pose_is_in_one():
    several = separable()
    fold = activities.folds_of(several, 5, seed=1)
    assert set(fold) == {0, 1, 2, 3, 4}
    assert all(len(set(fold[several.image == image])) == 1 for image in np.unique(several.image))
    assert all(5 <= count <= 7 for number in range(5) for count in np.bincount(several.activity[fold == number]))
    assert (activities.folds_of(several, 5, seed=1) == fold).all()
    assert (activities.folds_of(several, 5, seed=2) != fold).any()


@pytest.mark.parametrize("changes", [{"image": np.zeros(120, int)}, {"activity": np.array([1] * 3 + [0] * 117)}])
def test_too_few_images_or_poses_of_an_activity_for_the_folds_are_refused(changes: dict[str, Any]):
    with pytest.raises(ValueError, match=r"cross-validation in 5 folds needs as many images and poses of each activity, got"):
        activities.folds_of(separable()._replace(**changes), 5, seed=1)


def test_cross_validation_tells_what_is_separable_and_is_the_same_with_the_same_seed():
    several, config = separable(), CrossValidation(folds=3, epochs=25, batch_size=16, learning_rate=0.02, patience=5)
    fold = activities.folds_of(several, 3, 1)
    state = torch.random.get_rng_state()
    first, again = (activities.cross_validate(several, fold, CLASSIFIER, config, 4, seed=1) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    averages = first.averages(several.activity, 4)
    for method in ("classifier", "nearest neighbour"):
        assert averages[method] == dict.fromkeys(("accuracy", "precision", "recall", "f1"), 1.0)
    assert averages["majority"]["accuracy"] < 0.4
    for method, predicted in first.predicted.items():
        assert (predicted == again.predicted[method]).all()
    shuffled = several._replace(activity=np.random.default_rng(0).permutation(several.activity))
    assert (
        activities.cross_validate(shuffled, fold, CLASSIFIER, config, 4, 1).averages(shuffled.activity, 4)["classifier"][
            "accuracy"
        ]
        < 0.5
    )


def test_each_pose_is_told_by_what_was_learned_from_other_folds(monkeypatch: pytest.MonkeyPatch):
    several, seen = separable(), []
    fit = activities.fit

    def watched(train: Poses, *rest: Any) -> Any:
        seen.append(set(train.image))
        return fit(train, *rest)

    monkeypatch.setattr(activities, "fit", watched)
    config = CrossValidation(**VALIDATION)
    fold = activities.folds_of(several, config.folds, 1)
    validated = activities.cross_validate(several, fold, CLASSIFIER, config, 4, seed=1)
    for number, images in enumerate(seen):
        assert images.isdisjoint(several.image[validated.fold == number])
        assert images | set(several.image[validated.fold == number]) == set(several.image)


def test_the_nearest_and_the_most_frequent_activity():
    train = Poses(np.array([[0.0, 0], [1, 1], [1, 1.2]], np.float32), np.array([2, 0, 0]), np.arange(3))
    test = Poses(np.array([[0.1, 0.1], [2, 2]], np.float32), np.array([2, 2]), np.arange(2))
    assert activities.nearest(train, test).tolist() == [2, 0]
    assert activities.majority(train, test).tolist() == [0, 0]


@pytest.mark.parametrize(("changes", "message"), [
    ({"batch_size": 0}, r"score\.multipose\.batch_size must be"), ({"scales": []}, r"score\.multipose\.scales must be"),
    ({"scales": [1.0, 0.0]}, r"score\.multipose\.scales must be"),
    *[({"cross_validation": VALIDATION | {name: value}}, rf"cross_validation\.{name} must be")
      for name, value in {"folds": 1, "epochs": 0, "batch_size": 1, "patience": -1, "learning_rate": 0.0}.items()],
    ({"cross_validation": {"folds": 3}}, "does not take folds"),
])  # fmt: skip
def test_every_rule_of_the_score_names_its_key(changes: dict[str, Any], message: str):
    block = {"batch_size": 4, "scales": [1.0], "flip": False, "cross_validation": VALIDATION}
    with pytest.raises(ValueError, match=message):
        score.Config(**{**block, **changes})
