"""DMT: windows and crops by hand, the network's layers, the objective's terms."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from same_batches import assert_same

from people.nn import losses
from people.storage.store import Field, StoreWriter
from people.systems.dmt import data, model, objective

SIDE = 40
WINDOWS = {"window_frames": 5, "step_frames": 2, "crop_px": SIDE, "mirror": True, "shifts_px": [-5, 0, 5]}
NETWORK = {"type": "B", "widths": [4, 8, 8, 16], "dense": [24, 12], "dropout": 0.0}
OBJECTIVE = {
    "lambda": {"gender": 0.1, "age": 0.2, "verification": 0.1},
    "margin": {"verification": 0.5},
    "adaptive_margin": False,
    "weighting": {"name": "fixed"},
}
TASKS = ("identity", "gender", "age", "verification")
SPEC = {
    "tasks": list(TASKS),
    "subjects": ["p1", "p2", "p3"],
    "channels": 10,
    "size_hw": [SIDE, SIDE],
    "age_centre_years": 41.0,
    "age_scale_years": 12.0,
}

Recording = dict[str, Any]


def recording(subject: str, number: int, length: int, split: str = "train", **labels: Any) -> Recording:
    row = {"clip_id": f"{subject}/n{number:02d}", "subject_id": subject, "split": split, "length": length}
    return row | {"gender": "female", "age_years": 30.0, "centre_px": 40.0, **labels}


def ramp(length: int, height: int = 44, width: int = 64) -> np.ndarray:
    """Every value of every map is different: it numbers map, component, row and column."""
    return np.arange(length * 2 * height * width).astype(np.int16).reshape(length, 2, height, width)


def written(folder: Path, recordings: list[Recording], fill: Callable[[int], np.ndarray] = ramp) -> dict[str, Path]:
    fields = {"flow": Field("int16", (2, 44, 64)), "box": Field("float32", (4,))}
    with StoreWriter(folder / "flow", fields, {"flow_scale": 100}) as writer:
        for entry in recordings:
            row = {name: value for name, value in entry.items() if name not in ("length", "centre_px")}
            centre = np.broadcast_to(np.asarray(entry["centre_px"], np.float32), entry["length"])
            box = np.stack([centre - 6, np.full_like(centre, 4), centre + 6, np.full_like(centre, 40)], axis=1)
            writer.append(row, {"flow": fill(entry["length"]), "box": box.astype(np.float32)})
    return {"frames": folder / "flow", "poses": folder / "flow"}


def noise(length: int) -> np.ndarray:
    return np.random.default_rng(length).normal(0, 80, (length, 2, 44, 64)).astype(np.int16)


@pytest.fixture
def train(tmp_path: Path) -> data.Samples:
    people = [("p1", "female", 30.0), ("p2", "male", 50.0), ("p3", None, float("nan"))]
    recordings = [
        recording(subject, number, 9 + 2 * number + index, gender=gender, age_years=age, centre_px=20.0 + 9 * index)
        for index, (subject, gender, age) in enumerate(people)
        for number in range(1, 3)
    ]
    return data.open_samples(written(tmp_path, recordings, noise), data.Config(**WINDOWS), "train", TASKS)


def spec_of(train: data.Samples) -> dict[str, Any]:
    return data.spec(train) | {"tasks": list(TASKS)}


def given(train: data.Samples, seed: int | None = None) -> dict[str, Any]:
    """What a batch is made with, beside its indices."""
    augment = None if seed is None else np.random.default_rng(seed)
    return {"spec": spec_of(train), "statistics": data.statistics(train), "augment": augment}


def batch_of(train: data.Samples, indices: list[int], augment: np.random.Generator | None = None) -> dict[str, torch.Tensor]:
    return train.batch(indices, **given(train) | {"augment": augment})


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On arrays this small threads cost more time than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- windows and crops


def test_windows_start_every_step_and_stay_within_their_clip(tmp_path: Path):
    reads = written(tmp_path, [recording("p1", 1, 10), recording("p1", 2, 4), recording("p2", 1, 5)])
    samples = data.open_samples(reads, data.Config(**WINDOWS), "train", TASKS)
    # maps 0-9: windows at 0, 2, 4; the clip of four maps gives none; maps 14-18: one window
    assert samples.starts.tolist() == [0, 2, 4, 14]
    assert samples.clip.tolist() == [0, 0, 0, 1]
    assert samples.clips["clip_id"].tolist() == ["p1/n01", "p2/n01"]


def test_a_crop_is_centred_on_the_person_in_the_middle_map_and_moves_no_row(tmp_path: Path):
    centres = [0, 0, 38, 0, 0]  # only the middle map counts
    samples = data.open_samples(
        written(tmp_path, [recording("p1", 1, 5, centre_px=centres)]), data.Config(**WINDOWS), "train", TASKS
    )
    np.testing.assert_array_equal(samples.crop(0), ramp(5)[:, :, 2:42, 18:58])


@pytest.mark.parametrize(
    ("centre", "of_map", "of_crop"), [(10, (0, 30), (10, 40)), (60, (40, 64), (0, 24)), (-90, (0, 0), (0, 0))]
)
def test_a_crop_is_zero_outside_the_map(tmp_path: Path, centre: float, of_map: tuple[int, int], of_crop: tuple[int, int]):
    samples = data.open_samples(
        written(tmp_path, [recording("p1", 1, 5, centre_px=centre)]), data.Config(**WINDOWS), "train", TASKS
    )
    expected = np.zeros((5, 2, SIDE, SIDE), np.int16)
    expected[..., slice(*of_crop)] = ramp(5)[:, :, 2:42, slice(*of_map)]
    np.testing.assert_array_equal(samples.crop(0), expected)


def test_a_crop_larger_than_the_map_has_a_border_of_zeros(tmp_path: Path):
    reads = written(tmp_path, [recording("p1", 1, 5, centre_px=32.0)])
    crop = data.open_samples(reads, data.Config(**{**WINDOWS, "crop_px": 70}), "train", TASKS).crop(0)
    np.testing.assert_array_equal(crop[:, :, 13:57, 3:67], ramp(5))
    assert np.count_nonzero(crop) == np.count_nonzero(ramp(5))


def test_a_positive_shift_moves_the_picture_right_and_down(train: data.Samples):
    plain, shifted = train.crop(0), train.crop(0, shift_x_px=5, shift_y_px=3)
    np.testing.assert_array_equal(shifted[:, :, 5:, 5:], train.crop(0)[:, :, 2:-3, :-5])
    assert not np.array_equal(plain, shifted)


def test_a_mirrored_walk_goes_the_other_way_and_twice_mirrored_is_itself():
    flow = noise(5)
    mirrored = data.mirror_flow(flow)
    np.testing.assert_array_equal(mirrored[:, 0], -flow[:, 0, :, ::-1])
    np.testing.assert_array_equal(mirrored[:, 1], flow[:, 1, :, ::-1])
    np.testing.assert_array_equal(data.mirror_flow(mirrored), flow)


def test_a_window_without_a_person_in_the_middle_is_not_cut(tmp_path: Path):
    centres = np.full(9, 30.0)
    centres[4] = np.nan
    samples = data.open_samples(
        written(tmp_path, [recording("p1", 1, 9, centre_px=centres)]), data.Config(**WINDOWS), "train", TASKS
    )
    assert samples.starts.tolist() == [0, 4]
    assert samples.without_person == 1


def test_a_split_without_a_window_is_refused_with_its_clips_counted(tmp_path: Path):
    reads = written(tmp_path, [recording("p1", 1, 10), recording("p9", 1, 4, "test")])
    with pytest.raises(ValueError, match="1 clips, the longest of 4 maps"):
        data.open_samples(reads, data.Config(**WINDOWS), "test", TASKS)
    with pytest.raises(ValueError, match="0 clips"):
        data.open_samples(reads, data.Config(**WINDOWS), "validation", TASKS)


@pytest.mark.parametrize(
    "wrong", [{"window_frames": 0}, {"step_frames": 0}, {"crop_px": 0}, {"shifts_px": []}, {"shifts_px": [40]}]
)
def test_ranges_of_the_data_block_are_checked(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        data.Config(**{**WINDOWS, **wrong})


# --- batches


def test_flow_is_interleaved_in_pixels_per_frame_minus_the_mean(train: data.Samples):
    batch = batch_of(train, [3, 0])
    expected = train.crop(3).reshape(10, SIDE, SIDE) / 100 - data.statistics(train)["mean"].numpy()
    np.testing.assert_allclose(batch["flow"][0], expected, rtol=1e-5, atol=1e-5)
    assert batch["flow"].shape == (2, 10, SIDE, SIDE)
    assert batch["flow"].dtype == torch.float32


def test_the_mean_is_that_of_all_training_windows_and_no_others(tmp_path: Path):
    train_only = [recording("p1", 1, 10), recording("p2", 1, 7)]
    config = data.Config(**WINDOWS)
    samples = data.open_samples(written(tmp_path / "a", train_only), config, "train", TASKS)
    mean = data.statistics(samples)["mean"]
    naive = np.mean([samples.crop(i).reshape(10, SIDE, SIDE) / 100 for i in range(len(samples))], axis=0)
    np.testing.assert_allclose(mean, naive, rtol=1e-5, atol=1e-6)
    reads = written(tmp_path / "b", [*train_only, recording("p9", 1, 20, "validation"), recording("p8", 1, 20, "test")])
    assert torch.equal(data.statistics(data.open_samples(reads, config, "train", TASKS))["mean"], mean)


def test_targets_index_people_of_the_training_set_and_number_all_people_of_the_split(tmp_path: Path):
    recordings = [
        recording("p2", 1, 5, "validation", gender="male", age_years=22.0),
        recording("p9", 1, 5, "validation", gender=None, age_years=float("nan")),
        recording("p2", 2, 5, "validation", gender="female", age_years=22.0),
    ]
    samples = data.open_samples(written(tmp_path, recordings), data.Config(**WINDOWS), "validation", TASKS)
    targets = samples.targets(SPEC)
    assert targets["identity"].tolist() == [1, -1, 1]
    assert targets["subject"].tolist() == [0, 1, 0]
    assert targets["gender"].tolist() == [1, -1, 0]
    assert targets["clip"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(targets["age_years"], np.float32([22, np.nan, 22]))


def test_the_spec_counts_each_training_person_once(train: data.Samples):
    spec = data.spec(train)
    assert spec["subjects"] == ["p1", "p2", "p3"]
    assert (spec["channels"], spec["size_hw"]) == (10, [SIDE, SIDE])
    assert spec["age_centre_years"] == 40.0
    assert spec["age_scale_years"] == pytest.approx(1.4826 * 10.0)


def test_an_augmented_window_is_one_of_its_shifts_or_its_mirror_image(train: data.Samples):
    mean = data.statistics(train)["mean"]
    shifts = [(x, y) for x in (-5, 0, 5) for y in (-5, 0, 5)]
    shifted = [train.crop(2, shift_x_px=x, shift_y_px=y) for x, y in shifts]
    allowed = [crop.reshape(10, SIDE, SIDE) for shift in shifted for crop in (shift, data.mirror_flow(shift))]
    drawn = set()
    for epoch in range(60):
        flow = batch_of(train, [2], np.random.default_rng(epoch))["flow"][0]
        stored = ((flow + mean) * 100).round().numpy().astype(np.int16)
        drawn |= {number for number, crop in enumerate(allowed) if np.array_equal(crop, stored)}
    assert len(drawn) > 12


def test_the_augmentation_of_a_window_does_not_depend_on_its_batch(train: data.Samples):
    together = batch_of(train, [0, 5, 7], np.random.default_rng(4))["flow"]
    single = [batch_of(train, [index], np.random.default_rng(4))["flow"] for index in (0, 5, 7)]
    assert torch.equal(together, torch.cat(single))
    assert not torch.equal(together, batch_of(train, [0, 5, 7], np.random.default_rng(5))["flow"])


def any_number(length: int) -> np.ndarray:
    flow = np.random.default_rng(length).integers(-32768, 32768, (length, 2, 44, 64)).astype(np.int16)
    flow[..., :2] = -32768  # the one number without an opposite
    return flow


@pytest.mark.parametrize("crop_px", [SIDE, 70], ids=["smaller than the map", "larger than the map"])
def test_windows_cut_on_a_device_are_those_of_the_host_over_every_edge(
    tmp_path: Path, crop_px: int, monkeypatch: pytest.MonkeyPatch
):
    centres = (10.0, 31.5, 60.0, -90.0, 200.0)
    recordings = [
        recording(f"p{number}", 1, 6 + number, split, centre_px=centre)
        for number, centre in enumerate(centres)
        for split in ("validation", "train", "test")
    ]
    config = data.Config(**{**WINDOWS, "crop_px": crop_px})
    samples = data.open_samples(written(tmp_path, recordings, any_number), config, "train", TASKS)
    every = list(product((-5, 0, 5), (-3, 0, 3), (0, 1)))
    indices, draws = [index for index in range(len(samples)) for _ in every], np.array(every * len(samples))
    monkeypatch.setattr(data.Samples, "_draws", lambda self, indices, augment: draws)
    assert_same(batch_of(samples, indices), samples.to("cpu").batch(indices, **given(samples)))


def test_only_the_clips_of_the_split_go_to_a_device(tmp_path: Path):
    recordings = [
        recording("p1", 1, 9, "test"),
        recording("p1", 2, 7),
        recording("p1", 3, 4),  # shorter than a window
        recording("p2", 1, 30, "validation"),
        recording("p2", 2, 5),
    ]
    samples = data.open_samples(written(tmp_path, recordings, noise), data.Config(**WINDOWS), "train", TASKS)
    assert samples.nbytes == (7 + 5) * 2 * 44 * 64 * 2
    moved = samples.to("cpu")
    assert moved.nbytes == samples.nbytes
    assert_same(batch_of(samples, [1, 2, 0, 2]), moved.batch([1, 2, 0, 2], **given(samples)))
    assert_same(batch_of(samples, [2, 0], np.random.default_rng(3)), moved.batch([2, 0], **given(samples, seed=3)))


# --- network


def test_type_a_at_paper_scale_has_the_layers_of_the_published_table():
    config = model.Config(type="A", widths=[96, 192, 512, 4096], dense=[4096, 2048], dropout=0.4)
    sizes = model.layer_sizes(config, (60, 60))
    assert [(convolved[0], pooled[0]) for convolved, pooled in sizes] == [(54, 27), (12, 6), (4, 2), (1, 1)]
    with torch.device("meta"):
        network = model.Network(config, {**SPEC, "channels": 50, "size_hw": [60, 60], "subjects": ["s"] * 100})
    shapes = [tuple(p.shape) for name, p in network.named_parameters() if name.endswith("weight")]
    assert shapes == [
        (96, 50, 7, 7),
        (192, 96, 5, 5),
        (512, 192, 3, 3),
        (4096, 512, 2, 2),
        (4096, 4096),
        (2048, 4096),
        (100, 2048),
        (2, 2048),
        (1, 2048),
    ]


def test_type_b_at_paper_scale_ends_in_three_by_three():
    config = model.Config(type="B", widths=[64, 128, 512, 512], dense=[2048], dropout=0.1)
    assert [(c[0], p[0]) for c, p in model.layer_sizes(config, (60, 60))] == [(54, 27), (23, 11), (9, 4), (3, 3)]


def test_the_sizes_computed_are_those_that_the_convolutions_give():
    for kind, height, width in [("A", 60, 60), ("A", 61, 75), ("B", 48, 60), ("B", 40, 41)]:
        config = model.Config(**{**NETWORK, "type": kind})
        network = model.Network(config, {**SPEC, "size_hw": [height, width]}).eval()
        output = network.trunk(torch.zeros(1, 10, height, width))
        assert tuple(output.shape[2:]) == model.layer_sizes(config, (height, width))[-1][1]


@pytest.mark.parametrize("side", [5, 20, 35])
def test_a_crop_too_small_for_the_network_is_refused(side: int):
    with pytest.raises(ValueError, match="too small for type B"):
        model.Network(model.Config(**NETWORK), {**SPEC, "size_hw": [side, side]})


@pytest.mark.parametrize("wrong", [{"type": "C"}, {"widths": [4, 4]}, {"dense": []}, {"dropout": 1.0}])
def test_ranges_of_the_model_block_are_checked(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        model.Config(**{**NETWORK, **wrong})


def untrained(train: data.Samples, seed: int = 0) -> model.Network:
    torch.manual_seed(seed)
    return model.Network(model.Config(**NETWORK), spec_of(train))


def test_before_training_everyone_has_about_the_mean_age_of_the_training_set(train: data.Samples):
    ages_years = untrained(train).eval()(batch_of(train, [0, 3, 6, 9]))["age_years"]
    assert (ages_years - 40).abs().max() < 3


def test_the_outputs_of_a_sample_do_not_depend_on_its_batch_mates(train: data.Samples):
    network = untrained(train).eval()
    together = network(batch_of(train, [0, 4, 8]))
    for row, index in enumerate([0, 4, 8]):
        for name, values in network(batch_of(train, [index])).items():
            torch.testing.assert_close(values[0], together[name][row], rtol=1e-4, atol=1e-5)


def trained(network: model.Network, terms: objective.Objective, batch: dict[str, torch.Tensor], steps: int) -> model.Network:
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.01, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        named = terms(network(batch), batch)
        sum(weight * named[name] for name, weight in terms.weighting.lambdas().items()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        terms.step_end()
    return network.eval()


def test_the_network_overfits_four_samples(train: data.Samples):
    batch = batch_of(train, [int(np.flatnonzero(train.clip == clip)[0]) for clip in (0, 2, 3, 4)])
    terms = objective.Objective(objective.Config(**OBJECTIVE), spec_of(train))
    outputs = trained(untrained(train), terms, batch, 150)(batch)
    assert terms(outputs, batch)["identity"] < 0.05
    assert outputs["identity"].argmax(1).tolist() == batch["identity"].tolist()
    is_known = batch["gender"] >= 0
    assert outputs["gender"].argmax(1)[is_known].tolist() == batch["gender"][is_known].tolist()


def test_the_network_learns_the_ages_of_a_batch(train: data.Samples):
    batch = batch_of(train, list(range(len(train))))
    terms = objective.Objective(objective.Config(**OBJECTIVE), spec_of(train))
    network = untrained(train)
    before = (network(batch)["age_years"] - batch["age_years"]).abs().nanmean()
    after = (trained(network, terms, batch, 150)(batch)["age_years"] - batch["age_years"]).abs().nanmean()
    assert before > 9
    assert after < 5


# --- objective


def test_each_term_reaches_the_trunk_and_together_they_reach_every_parameter(train: data.Samples):
    network, terms = untrained(train), objective.Objective(objective.Config(**OBJECTIVE), spec_of(train))
    batch = batch_of(train, list(range(0, len(train), 2)))
    for name in terms.weighting.lambdas():
        network.zero_grad()
        terms(network(batch), batch)[name].backward()
        assert network.trunk[0].weight.grad.abs().sum() > 0, name
    network.zero_grad()
    sum(terms(network(batch), batch).values()).backward()
    assert [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0] == []


def outputs_and_batch(seed: int = 0, count: int = 12) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    outputs = {
        "identity": torch.randn(count, 3, generator=generator),
        "gender": torch.randn(count, 2, generator=generator),
        "age_years": 40 + 9 * torch.randn(count, generator=generator),
        "signature": torch.randn(count, 5, generator=generator),
    }
    batch = {
        "identity": torch.arange(count) % 3,
        "subject": torch.arange(count) % 3,
        "gender": torch.arange(count) % 2,
        "age_years": 40 + 9 * torch.randn(count, generator=generator),
        "clip": torch.arange(count) // 2,
    }
    return {name: value.requires_grad_() for name, value in outputs.items()}, batch


@pytest.mark.parametrize(("task", "output"), [("gender", "gender"), ("age", "age_years"), ("verification", None)])
def test_a_task_of_weight_zero_has_neither_a_term_nor_a_head(train: data.Samples, task: str, output: str | None):
    config = objective.Config(**{**OBJECTIVE, "lambda": {**OBJECTIVE["lambda"], task: 0}})
    assert set(config.tasks) == set(TASKS) - {task}
    network = model.Network(model.Config(**NETWORK), data.spec(train) | {"tasks": list(config.tasks)})
    assert getattr(network, task, None) is None
    terms, batch = objective.Objective(config, SPEC), batch_of(train, list(range(0, len(train), 2)))
    outputs = network(batch)
    assert set(outputs) == {"identity", "gender", "age_years", "signature"} - {output}
    named = terms(outputs, batch)
    assert set(named) == set(terms.weighting.lambdas()) == set(config.tasks)
    assert task not in objective.validate(outputs, batch)["errors"] or task == "verification"
    sum(named.values()).backward()  # processes that train together wait for every parameter's gradient
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_without_any_known_target_the_terms_are_zero_with_a_graph():
    outputs, batch = outputs_and_batch()
    batch["identity"][:], batch["gender"][:], batch["age_years"][:] = -1, -1, float("nan")
    named = objective.Objective(objective.Config(**OBJECTIVE), SPEC)(outputs, batch)
    assert [named[name].item() for name in ("identity", "gender", "age")] == [0, 0, 0]
    sum(named.values()).backward()
    assert all(value.grad.isfinite().all() for value in outputs.values())


def test_the_spread_of_ages_is_widened_for_the_first_fifty_steps_of_training_only():
    outputs, batch = outputs_and_batch()
    terms = objective.Objective(objective.Config(**OBJECTIVE), SPEC)
    wide, narrow = (
        losses.tukey_biweight(outputs["age_years"], batch["age_years"], mad_multiplier=factor).item() for factor in (7.0, 1.0)
    )
    assert terms.eval()(outputs, batch)["age"].item() == pytest.approx(narrow)
    for _ in range(50):
        assert terms.train()(outputs, batch)["age"].item() == pytest.approx(wide)
        terms.step_end()
    assert terms(outputs, batch)["age"].item() == pytest.approx(narrow)


def test_an_adaptive_margin_follows_the_batch_after_the_step_and_is_resumed():
    outputs, batch = outputs_and_batch()
    terms = objective.Objective(objective.Config(**{**OBJECTIVE, "adaptive_margin": True}), SPEC)
    first = terms(outputs, batch)["verification"]
    assert first.item() == pytest.approx(losses.contrastive(outputs["signature"], batch["subject"], 0.5).item())
    terms.eval()(*outputs_and_batch(9))  # validation moves no margin
    terms.step_end()
    expected = losses.adaptive_margin(outputs["signature"], batch["subject"], torch.tensor(0.5))
    assert terms.margin == expected != 0.5
    resumed = objective.Objective(objective.Config(**{**OBJECTIVE, "adaptive_margin": True}), SPEC)
    resumed.load_state_dict(terms.state_dict())
    resumed.step_end()  # a step without a pair
    assert resumed.margin == expected


def test_a_fixed_margin_stays():
    terms = objective.Objective(objective.Config(**OBJECTIVE), SPEC)
    terms(*outputs_and_batch())
    terms.step_end()
    assert terms.margin == 0.5


def test_the_validation_score_prefers_better_identification_and_then_better_verification():
    outputs, batch = outputs_and_batch(count=24)
    outputs = {name: value.detach() for name, value in outputs.items()}
    validation = objective.validate(outputs, batch)
    assert set(validation["errors"]) == {"identity", *objective.AUXILIARIES}
    assert validation["errors"]["age"] == pytest.approx((outputs["age_years"] - batch["age_years"]).abs().mean().item())
    perfect = objective.validate({**outputs, "signature": torch.nn.functional.one_hot(batch["subject"], 5).float()}, batch)
    assert perfect["score"] == 0 > validation["score"]
    assert validation["score"] == pytest.approx(-validation["errors"]["identity"] - validation["errors"]["verification"] / 1000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lambda": {"gender": 0.1}},
        {"lambda": {"gender": 0.1, "age": -0.2, "verification": 0.1}},
        {"margin": {"verification": 0}},
        {"no_such_parameter": 1},
    ],
)
def test_ranges_of_the_objective_block_are_checked(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        objective.Config(**{**OBJECTIVE, **wrong})


def test_clips_keep_the_columns_of_the_index(train: data.Samples):
    assert isinstance(train.clips, pd.DataFrame)
    assert {"clip_id", "subject_id", "split", "gender", "age_years"} <= set(train.clips)
    assert len(train.targets(spec_of(train))["clip"]) == len(train)
