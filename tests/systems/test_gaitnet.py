"""GaitNet's samples and objective: clips cut at random, pairs under two conditions, the three losses against naive twins."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreground_stores import DATA_BLOCK, FRAMES, HEIGHT, OBJECTIVE_BLOCK, TASKS, WIDTH, write_store, write_workspace
from ruamel.yaml import YAML

from people.storage.store import Store
from people.systems.gaitnet import data, objective
from people.training import loop
from people.training.fabric import launch
from people.training.samplers import PairBatches
from stages.training.problem import Trainings

DATA = data.Config(**DATA_BLOCK)


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_store(tmp_path_factory.mktemp("stores"), lengths=(FRAMES, 3, 6), single=("t03",))


@pytest.fixture(scope="module")
def train(reads: dict[str, Path]) -> data.Samples:
    return data.open_samples(reads, DATA, "train", TASKS)


def batch(samples: data.Samples, indices: list[int], seed: int | None) -> dict[str, torch.Tensor]:
    augment = None if seed is None else np.random.default_rng(seed)
    return samples.batch(indices, spec=data.spec(samples), statistics={}, augment=augment)


def test_a_training_sample_is_frames_in_a_row_and_a_short_clip_is_repeated(reads: dict[str, Path], train: data.Samples):
    store = Store.open(reads["frames"])
    for index, length in enumerate(train.clips["length"]):
        cut = batch(train, [index], seed=index)
        frames = np.asarray(
            store.clip(int(store.clips.index[store.clips["clip_id"] == train.clips["clip_id"][index]][0]), "foreground")
        )
        seen = cut["foreground"][0].permute(0, 2, 3, 1).mul(255).round().byte().numpy()
        starts = [first for first in range(length) if all((seen[t] == frames[(first + t) % length]).all() for t in range(5))]
        assert starts, "the frames are consecutive ones of the clip"
        assert int(cut["length"]) == 5
        assert 0 <= int(cut["appearance_frame"]) < 5


def test_the_appearance_frame_is_drawn_and_differs_from_clip_to_clip_and_time_to_time(train: data.Samples):
    count = len(train)
    drawn = [batch(train, [index % count + count * (index // count) for index in range(count)], seed) for seed in range(8)]
    frames = torch.stack([each["appearance_frame"] for each in drawn])
    assert set(frames.flatten().tolist()) == {0, 1, 2, 3, 4}
    assert (frames != frames[0]).any()
    again = batch(train, [0, count], seed=0)
    assert batch(train, [0, count], seed=0)["appearance_frame"].tolist() == again["appearance_frame"].tolist()


def test_without_augmentation_a_clip_is_whole_and_padded_with_zeros(train: data.Samples):
    lengths = train.clips["length"].tolist()
    whole = batch(train, [0, 1, 2], seed=None)
    assert whole["length"].tolist() == lengths[:3]
    assert whole["foreground"].shape == (3, max(lengths[:3]), 3, HEIGHT, WIDTH)
    for clip, length in enumerate(lengths[:3]):
        assert not whole["foreground"][clip, length:].any()
        assert whole["foreground"][clip, :length].flatten(1).any(1).all()


def test_who_has_one_condition_alone_is_named_and_never_drawn(reads: dict[str, Path], caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        samples = data.open_samples(reads, DATA, "train", TASKS)
    assert "1 of 4 training people have clips under one condition alone and are in no pair: t03" in caplog.text
    targets = samples.targets(data.spec(samples))
    pairs = PairBatches(targets["subject"].tolist(), targets["condition"].tolist(), 3, 20, seed=1)
    drawn = [index % len(samples) for indices in pairs for index in indices]
    assert set(samples.clips["subject_id"].iloc[drawn]) == {"t00", "t01", "t02"}
    conditions = samples.clips["condition"].iloc[drawn].to_numpy().reshape(-1, 2)
    assert (conditions[:, 0] != conditions[:, 1]).all()


def test_a_split_without_any_pair_is_refused_where_pairs_are_compared_and_only_there(tmp_path: Path):
    reads = write_store(tmp_path, videos={1: "normal", 2: "normal"})
    with pytest.raises(ValueError, match=r"has no pair: each of its 4 people has clips under one condition"):
        data.open_samples(reads, DATA, "train", TASKS)
    assert len(data.open_samples(reads, DATA, "train", ("identity",))) == 8
    with pytest.raises(ValueError, match=r"two people with clips under two conditions each, got 0"):
        data.open_samples(reads, DATA, "validation", ("identity",))
    with pytest.raises(ValueError, match="must have clips, got none"):
        data.open_samples(write_store(tmp_path / "none", people={"train": 2}), DATA, "test", TASKS)


def test_pictures_are_reduced_by_whole_factors_alone(reads: dict[str, Path]):
    half = data.open_samples(reads, data.Config(frames=5, size_hw=[8, 4]), "train", TASKS)
    pixels = batch(data.open_samples(reads, DATA, "train", TASKS), [0], None)["foreground"]
    means = pixels.unflatten(-1, (4, 2)).unflatten(-3, (8, 2)).mean((-3, -1))
    torch.testing.assert_close(batch(half, [0], None)["foreground"], means)
    with pytest.raises(ValueError, match=r"gaitnet\.data\.size_hw must divide the size of the pictures"):
        data.open_samples(reads, data.Config(frames=5, size_hw=[9, 4]), "train", TASKS)


AUTOENCODER_FIRST = [{"name": "autoencoder", "objective": {"lambda": {"identity": 0.0}}}, {"name": "all"}]


def test_the_autoencoder_may_be_trained_first_and_the_rest_starts_from_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_workspace(tmp_path, YAML(typ="safe").load(root / "params.yaml"), phases=AUTOENCODER_FIRST)
    monkeypatch.chdir(tmp_path)
    phases = Trainings("gaitnet").phases()
    assert phases[0].problem.spec["tasks"] == ["cross_reconstruction", "gait_similarity", "identity"]
    first, second = loop.fit_phases(phases, seed=1, fabric=launch(phases[0].config))
    assert "train/identity" not in first.metrics
    assert {"train/identity", "train/cross_reconstruction", "train/gait_similarity"} <= set(second.metrics)
    assert second.metrics["train/cross_reconstruction"] < first.metrics["train/cross_reconstruction"]
    assert first.metrics["train/pairs"] == second.metrics["train/pairs"] == 1


# --- losses ----------------------------------------------------------------------------------------------------------


def built(**changes: Any) -> objective.Objective:
    return objective.Objective(objective.Config(**{**OBJECTIVE_BLOCK, **changes}), {})


def example() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(2)
    outputs = {
        "logits": torch.randn(4, 6, 3, generator=draw, dtype=torch.float64),
        "gait": torch.randn(4, 6, 5, generator=draw, dtype=torch.float64),
        "pictures": torch.rand(4, 6, 3, 4, 2, generator=draw, dtype=torch.float64),
    }
    length = torch.tensor([6, 4, 5, 6])
    behind = torch.arange(6) >= length[:, None]
    outputs["gait"][behind] = 0
    outputs["pictures"][behind] = 0
    inputs = {
        "foreground": torch.rand(4, 6, 3, 4, 2, generator=draw, dtype=torch.float64),
        "length": length, "identity": torch.tensor([0, 0, 2, 1]), "subject": torch.tensor([0, 0, 2, 1]),
        "clip": torch.arange(4),
    }  # fmt: skip
    inputs["foreground"][behind] = 0
    return outputs, inputs


@pytest.mark.parametrize(("name", "power"), [("squares", 2), ("ones", 0)])
def test_the_identity_loss_is_the_weighted_mean_over_prefixes(name: str, power: int):
    outputs, inputs = example()
    clips = []
    for logits, identity, length in zip(outputs["logits"], inputs["identity"], inputs["length"].tolist(), strict=True):
        terms = [-(t**power) * logits[t - 1].log_softmax(0)[identity] for t in range(1, length + 1)]
        clips.append(sum(terms) / length)
    expected = torch.stack(clips).mean()
    torch.testing.assert_close(built(frame_weights=name)(outputs, inputs)["identity"], expected)


@pytest.mark.parametrize("norm", ["squared_norm", "mean"])
def test_both_norms_of_the_reconstruction_and_of_the_similarity(norm: str):
    outputs, inputs = example()
    terms = built(norm={"cross_reconstruction": norm, "gait_similarity": norm})(outputs, inputs)
    pictures = [
        (outputs["pictures"][clip, frame] - inputs["foreground"][clip, frame]).square().sum()
        for clip in range(4)
        for frame in range(inputs["length"][clip])
    ]
    pixels = 1 if norm == "squared_norm" else 24
    torch.testing.assert_close(terms["cross_reconstruction"], sum(pictures) / len(pictures) / pixels)
    first, second = outputs["gait"][0, :6].mean(0), outputs["gait"][1, :4].mean(0)  # the third and the fourth are two people
    expected = (first - second).square().sum() / (1 if norm == "squared_norm" else 5)
    torch.testing.assert_close(terms["gait_similarity"], expected)


def test_a_batch_without_a_pair_has_no_similarity_but_a_gradient_of_zero():
    outputs, inputs = example()
    outputs["gait"].requires_grad_()
    term = built()(outputs, {**inputs, "subject": torch.arange(4)})["gait_similarity"]
    assert term.item() == 0
    term.backward()
    assert outputs["gait"].grad is not None
    assert not outputs["gait"].grad.any()


@pytest.mark.parametrize("across", ["condition", "view"])
def test_a_pair_may_differ_in_something_else_than_the_condition(train: data.Samples, across: str):
    targets = train.targets(data.spec(train))
    for indices in PairBatches(targets["subject"].tolist(), targets[across].tolist(), 3, 4, seed=1):
        drawn = batch(train, indices, seed=0)
        assert objective.is_pair(drawn).all()
        assert (drawn[across][0::2] != drawn[across][1::2]).all()


def test_the_pairs_of_a_batch_are_logged():
    outputs, inputs = example()
    assert built().diagnostics(outputs, inputs)["pairs"].item() == 0.5


def test_validation_ranks_across_conditions_by_cosine():
    angle = torch.tensor([0.0, 0.1, 1.5, 1.6, 0.05])
    embedding = torch.stack([angle.cos(), angle.sin()], dim=1)
    targets = {"subject": torch.tensor([0, 0, 1, 1, 2]), "condition": torch.tensor([0, 1, 0, 1, 0])}
    verdict = objective.validate({"embedding": embedding}, targets)
    # both clips of person 0 have the clip of person 2 nearest but one: 1/2 each; those of person 1 find each other
    assert verdict["errors"]["ranking"] == pytest.approx(1 - (0.5 + 0.5 + 1 + 1) / 4)
    assert verdict["score"] == -verdict["errors"]["ranking"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lambda": {"identity": 1.0}}, "must give identity, cross_reconstruction, gait_similarity a weight"),
        ({"lambda": dict.fromkeys(TASKS, 0.0)}, "one of them above 0"),
        ({"norm": {"cross_reconstruction": "l1", "gait_similarity": "mean"}}, "one of squared_norm, mean"),
        ({"frame_weights": "cubes"}, "frame_weights must be one of squares, ones"),
        ({"margin": 1}, "has the keys lambda, norm, frame_weights and weighting"),
    ],
)
def test_objectives_that_mean_nothing_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        objective.Config(**{**OBJECTIVE_BLOCK, **changes})
