"""GaitTAKE's samples, its objective and its validation errors."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import silhouette_stores
import torch
from same_batches import assert_same
from silhouette_stores import DATA, DATA_BLOCK, FRAMES, HEIGHT, WIDTH

from people.storage.store import Store
from people.systems.gaittake import data, model, objective
from people.training import validation_errors

TASKS = ("weighted", "batch_all")
OBJECTIVE: dict[str, Any] = {
    "lambda": {"batch_all": 0.5, "cross_entropy": 0.0},
    "margin": {"weighted": 0.3, "batch_all": 0.2},
    "pair_weights": True,
    "weighting": {"name": "fixed"},
}


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return silhouette_stores.write_stores(
        tmp_path_factory.mktemp("walking"), sequences=silhouette_stores.FEW, lengths=(7, 3, 1, 12, 2)
    )


@pytest.fixture(scope="module")
def train(reads: dict[str, Path]) -> data.Samples:
    return data.open_samples(reads, DATA, "train", TASKS)


def batch_of(samples: data.Samples, indices: list[int], seed: int | None = None) -> dict[str, torch.Tensor]:
    augment = None if seed is None else np.random.default_rng(seed)
    return samples.batch(indices, spec=data.spec(samples), statistics={}, augment=augment)


def test_a_sample_is_a_full_clip_padded_with_zeros_to_the_longest_of_its_batch(train: data.Samples, reads: dict[str, Path]):
    store = Store.open(reads["frames"])
    rows = np.flatnonzero(store.clips["split"] == "train")
    batch = batch_of(train, [0, 1, 2, 3])
    assert batch["length"].tolist() == [7, 3, 1, 12]
    assert batch["silhouette"].shape == (4, 12, HEIGHT, WIDTH)
    for sample, length in enumerate([7, 3, 1, 12]):
        expected = store.clip(int(rows[sample]), "silhouette") / np.float32(255)
        np.testing.assert_allclose(batch["silhouette"][sample, :length].numpy(), expected, rtol=1e-6)
        assert not batch["silhouette"][sample, length:].any()
        assert not batch["keypoints"][sample, length:].any()


def test_a_training_sample_is_consecutive_frames_and_a_short_clip_starts_again(train: data.Samples):
    for index, seed in product(range(8), range(3)):
        rows = train.frames(index, np.random.default_rng(seed))
        start, length = int(train.clips["start"][index]), int(train.clips["length"][index])
        within = rows - start
        assert len(rows) == DATA.frames
        assert ((within >= 0) & (within < length)).all()
        assert (np.diff(within) % length == 1 % length).all()
        if length >= DATA.frames:
            assert (np.diff(within) == 1).all()


def test_every_start_of_a_long_clip_is_drawn(train: data.Samples):
    starts = {int(train.frames(3, np.random.default_rng(seed))[0] - train.clips["start"][3]) for seed in range(200)}
    assert starts == set(range(12 - DATA.frames + 1))


def test_the_frames_drawn_follow_the_generator_and_the_index_alone(train: data.Samples):
    first, second = batch_of(train, [3, 8, 3 + len(train)], seed=7), batch_of(train, [8, 3], seed=7)
    assert torch.equal(first["silhouette"][:2], second["silhouette"][[1, 0]])
    assert first["clip"].tolist() == [3, 8, 3]
    draws = [batch_of(train, [3 + times * len(train)], seed=7)["silhouette"] for times in range(8)]
    assert any(not torch.equal(draws[0], repeated) for repeated in draws[1:])  # the same clip, other frames


def test_pixels_are_the_means_of_the_stored_ones_they_cover(reads: dict[str, Path], train: data.Samples):
    small = data.open_samples(reads, data.Config(frames=5, size_hw=[HEIGHT // 2, WIDTH // 3], keypoints=True), "train", TASKS)
    full, reduced = batch_of(train, [0])["silhouette"], batch_of(small, [0])["silhouette"]
    expected = full.unflatten(2, (HEIGHT // 2, 2)).unflatten(4, (WIDTH // 3, 3)).mean((3, 5))
    torch.testing.assert_close(reduced, expected)
    with pytest.raises(ValueError, match=r"size_hw must divide .* \[16, 12\], got \[5, 12\]"):
        data.open_samples(reads, data.Config(frames=5, size_hw=[5, WIDTH], keypoints=True), "train", TASKS)


def test_keypoints_lie_in_the_unit_square_of_the_picture_and_joints_not_found_are_zero(
    reads: dict[str, Path], train: data.Samples
):
    stored = Store.open(reads["poses"]).clip(0, "keypoints")
    keypoints = batch_of(train, [0])["keypoints"][0].numpy()
    np.testing.assert_allclose((keypoints[:, 0, 0] + 1) / 2 * WIDTH, stored[:, 0, 0], rtol=1e-5)
    np.testing.assert_allclose((keypoints[:, 0, 1] + 1) / 2 * HEIGHT, stored[:, 0, 1], rtol=1e-5)
    assert (keypoints[:, 0, 2] == 1).all()
    assert not keypoints[:, 3].any()


def test_without_keypoints_no_poses_are_read_all_are_zero_and_the_spec_has_none(reads: dict[str, Path], tmp_path: Path):
    config = data.Config(**{**DATA_BLOCK, "keypoints": False})
    samples = data.open_samples({"frames": reads["frames"], "poses": tmp_path / "no store"}, config, "train", TASKS)
    assert data.spec(samples)["keypoints"] is False
    assert not batch_of(samples, [0, 1])["keypoints"].any()


def test_poses_of_other_silhouettes_are_refused(reads: dict[str, Path], tmp_path: Path):
    other = silhouette_stores.write_stores(tmp_path, sequences=silhouette_stores.FEW, lengths=(7,))
    with pytest.raises(ValueError, match=r"must hold the clips of .* run the stage poses again"):
        data.open_samples({"frames": reads["frames"], "poses": other["poses"]}, DATA, "train", TASKS)


@pytest.mark.parametrize("changes", [{}, {"size_hw": [HEIGHT // 2, WIDTH // 3]}, {"keypoints": False}])
@pytest.mark.parametrize("seed", [None, 4])
def test_clips_on_a_device_are_those_of_the_host_also_shorter_ones_than_a_sample(
    reads: dict[str, Path], changes: dict[str, Any], seed: int | None
):
    samples = data.open_samples(reads, data.Config(**{**DATA_BLOCK, **changes}), "validation", TASKS)
    moved, spec = samples.to("cpu"), data.spec(samples)
    lengths = samples.clips["length"]
    assert lengths.min() == 1 < DATA.frames < lengths.max()
    for indices in ([0, 1, 2, 3, 4], [2], [4, 4, 2], [3 + len(samples), 3, 2 + 2 * len(samples)]):
        augment = None if seed is None else np.random.default_rng(seed)
        on_device = moved.batch(indices, spec=spec, statistics={}, augment=augment)
        assert_same(batch_of(samples, indices, seed), on_device)
    frame_bytes = HEIGHT * WIDTH + (17 * 3 * 4 if samples.has_keypoints else 0)
    assert moved.nbytes == samples.nbytes == lengths.sum() * frame_bytes


def test_targets_tell_person_walk_view_and_condition(train: data.Samples):
    targets, clips = train.targets({"subjects": ["t01", "t02"]}), train.clips
    row = int(np.flatnonzero(clips["clip_id"] == "t02/bg-01/090")[0])
    same_walk = np.flatnonzero((clips["subject_id"] == "t02") & (clips["sequence"] == "bg-01"))
    assert {name: int(targets[name][row]) for name in ("identity", "subject", "view")} == {
        "identity": 1,
        "subject": 2,
        "view": 1,
    }
    assert (targets["walk"] == targets["walk"][row]).nonzero().flatten().tolist() == same_walk.tolist()
    assert targets["identity"][0] == -1  # t00 is not among those who have an identity
    assert ((targets["condition"] == 0).numpy() == (clips["condition"] == "nm").to_numpy()).all()


def test_validation_people_who_cannot_be_identified_across_views_are_refused(tmp_path: Path):
    reads = silhouette_stores.write_stores(tmp_path, subjects={"train": 2, "validation": 3}, sequences=("nm-01", "bg-01"))
    data.open_samples(reads, DATA, "train", TASKS)
    with pytest.raises(ValueError, match="two people with two normal walks"):
        data.open_samples(reads, DATA, "validation", TASKS)
    with pytest.raises(ValueError, match=r"split 'test' .* got none"):
        data.open_samples(reads, DATA, "test", TASKS)


@pytest.mark.parametrize(("changed", "message"), [({"frames": 0}, "at least 1"), ({"size_hw": [16]}, "a height and a width")])
def test_impossible_samples_are_refused(changed: dict, message: str):
    with pytest.raises(ValueError, match=message):
        data.Config(**{**DATA_BLOCK, **changed})


def outputs_of(train: data.Samples, **changes: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    batch = batch_of(train, [0, 1, 4, 5, 16, 17, 20, 33])
    draw = torch.Generator().manual_seed(0)
    embedding = torch.randn(8, 3, 6, generator=draw, requires_grad=True)
    return {"embedding": embedding, **changes}, batch


def test_the_weighted_triplet_loss_of_one_strip_is_eq_11_by_hand():
    terms = objective.Objective(objective.Config(**OBJECTIVE), {})
    embedding = torch.tensor([0.0, 1.0, 3.0, 7.0])[:, None, None]  # two of one person, two of another
    loss = terms({"embedding": embedding}, {"subject": torch.tensor([0, 0, 1, 1])})["weighted"]

    def anchor(positive: float, negatives: list[float]) -> float:
        weights = np.exp(-np.array(negatives)) / np.exp(-np.array(negatives)).sum()
        return max(0.0, 0.3 + positive - float(weights @ negatives))

    expected = np.mean([anchor(1, [3, 7]), anchor(1, [2, 6]), anchor(4, [3, 2]), anchor(4, [7, 6])])
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_terms_and_the_classifier_are_those_of_the_weights_above_0(train: data.Samples):
    outputs, batch = outputs_of(train)
    logits = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(1))
    main, plain, with_head = (
        objective.Objective(objective.Config(**{**OBJECTIVE, "lambda": {"batch_all": batch_all, "cross_entropy": weight}}), {})
        for batch_all, weight in ((0, 0), (0.5, 0), (0.5, 1.0))
    )
    assert set(main(outputs, batch)) == set(main.weighting.lambdas()) == {"weighted"}
    assert set(plain(outputs, batch)) == set(plain.weighting.lambdas()) == {"weighted", "batch_all"}
    terms = with_head({**outputs, "logits": logits}, batch)
    assert set(terms) == set(with_head.weighting.lambdas()) == {"weighted", "batch_all", "cross_entropy"}
    by_strip = [torch.nn.functional.cross_entropy(logits[:, strip], batch["identity"]) for strip in range(3)]
    assert terms["cross_entropy"].item() == pytest.approx(torch.stack(by_strip).mean().item(), rel=1e-5)
    for terms in (main, plain, with_head):
        spec = data.spec(train) | {"tasks": list(terms.config.tasks)}
        network = model.Network(model.Config(**silhouette_stores.MODEL_BLOCK), spec)
        assert ("logits" in network(batch)) == (terms is with_head)
        assert set(terms(network(batch), batch)) == set(terms.config.tasks)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lambda": {"batch_all": -1.0, "cross_entropy": 0.0}}, "a weight >= 0"),
        ({"lambda": {"batch_all": 1.0}}, "batch_all, cross_entropy"),
        ({"margin": {"weighted": 0.0, "batch_all": 0.2}}, "a distance > 0"),
        ({"margins": 1}, "has the keys lambda, margin, pair_weights and weighting"),
    ],
)
def test_a_wrong_objective_is_refused(changed: dict, message: str):
    with pytest.raises(ValueError, match=message):
        objective.Config(**{**OBJECTIVE, **changed})


def naive_across_views(distance: np.ndarray, subject, walk, view, condition) -> tuple[float, float]:
    """For each probe and each other view: its normal clips of other walks, nearest first; mean over conditions."""
    hits: dict[int, list[float]] = {}
    precisions: dict[int, list[float]] = {}
    for probe, gallery_view in product(range(len(subject)), set(view)):
        clips = [i for i in range(len(subject)) if view[i] == gallery_view and condition[i] == 0 and walk[i] != walk[probe]]
        if view[probe] == gallery_view or subject[probe] not in [subject[i] for i in clips]:
            continue
        ranked = sorted(clips, key=lambda i: distance[probe, i])
        ranks = [rank for rank, i in enumerate(ranked, start=1) if subject[i] == subject[probe]]
        hits.setdefault(condition[probe], []).append(ranks[0] == 1)
        average_precision = np.mean([(n + 1) / rank for n, rank in enumerate(ranks)])
        precisions.setdefault(condition[probe], []).append(float(average_precision))
    rank_1, precision = (float(np.mean([np.mean(values) for values in numbers.values()])) for numbers in (hits, precisions))
    return 1 - rank_1, 1 - precision


def test_the_validation_errors_across_views_are_those_of_naive_loops():
    draw = np.random.default_rng(2)
    rows = [
        (person, 5 * person + walk, view, int(walk > 2))
        for person, walk, view in product(range(4), range(5), range(3))
        if draw.random() > 0.2
    ]
    subject, walk, view, condition = (list(column) for column in zip(*rows, strict=True))
    embedding = torch.from_numpy(draw.normal(size=(len(rows), 2, 5)) + 0.5 * np.array(subject)[:, None, None]).float()
    labels = {"subject": subject, "walk": walk, "view": view, "condition": condition}
    targets = {name: torch.tensor(values) for name, values in labels.items()}
    validation = objective.validate({"embedding": embedding}, targets)
    distance = (embedding[:, None] - embedding[None]).norm(dim=3).mean(2).numpy()
    identity, ranking = naive_across_views(distance, subject, walk, view, condition)
    assert validation["errors"] == pytest.approx({"identity": identity, "ranking": ranking}, abs=1e-9)
    assert validation["score"] == pytest.approx(-identity - ranking / 1000)
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(rows)))
    shuffled = objective.validate({"embedding": embedding[order]}, {name: values[order] for name, values in targets.items()})
    assert shuffled["errors"] == pytest.approx(validation["errors"])


def test_a_single_view_has_no_error_across_views():
    zeros = torch.zeros(4, dtype=torch.long)
    errors = validation_errors.across_views(torch.zeros(4, 1, 4), torch.tensor([0, 0, 1, 1]), torch.arange(4), zeros, zeros)
    assert np.isnan(errors).all()


def test_the_clips_of_a_split_are_those_of_the_index(train: data.Samples):
    assert len(train) == 4 * len(silhouette_stores.FEW) * len(silhouette_stores.VIEWS_DEG)
    assert FRAMES in train.clips["length"].tolist()
