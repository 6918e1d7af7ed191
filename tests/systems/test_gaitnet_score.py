"""GaitNet judged: rates against scikit-learn, phases that are known, probes that find what is there and nothing else."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from foreground_stores import DATA_BLOCK, FRAMES, MODEL_BLOCK, RATE_HZ, TASKS, write_casiab_store, write_store
from sklearn.metrics import roc_curve

from people.datasets import casiab
from people.evaluation import ProbeSet, metrics
from people.evaluation.results import Results
from people.storage.store import Store
from people.systems.gaitnet import data, model, score, serving
from people.systems.gaitnet.score import disentanglement, verification
from people.systems.gaitnet.score.embedded import Embedded

DATA = data.Config(**DATA_BLOCK)
CONFIG = score.Config(
    batch_size=8, false_accepts=[0.01, 0.05], public_code_reading=True, protocol={}, folds=3,
    bootstrap={"resamples": 20, "confidence": 0.9},
)  # fmt: skip


def probe_sets(clips: pd.DataFrame) -> list[ProbeSet]:
    """Gallery: video 2; probes: all others of session 1 or 2, and those with a bag."""
    test = clips[clips["split"] == "test"]
    gallery = tuple(test.loc[test["sequence"].str.endswith("-02"), "clip_id"])
    others = test[~test["sequence"].str.endswith("-02")]
    bags = tuple(others.loc[others["condition"] == "bag", "clip_id"])
    return [ProbeSet("CB", "fvg", gallery, bags), ProbeSet("ALL", "fvg", gallery, tuple(others["clip_id"]))]


DATASET = SimpleNamespace(
    protocol=lambda clips, split: probe_sets(clips), left_out=lambda clips, split: {"CB": ("s1/t99_10",), "ALL": ()}
)


def judged(
    reads: dict[str, Path],
    tasks: tuple[str, ...] = TASKS,
    config: score.Config = CONFIG,
    dataset: Any = DATASET,
    **changes: Any,
) -> Results:
    train = data.open_samples(reads, DATA, "train", tasks)
    spec = data.spec(train) | {"tasks": list(tasks)}
    torch.manual_seed(0)
    network = model.Network(model.Config(**MODEL_BLOCK), spec).eval()
    return score.evaluate(network, spec, {}, reads, DATA, config, dataset, seed=1)


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_store(tmp_path_factory.mktemp("stores"), lengths=(FRAMES, FRAMES - 2))


@pytest.fixture(scope="module")
def results(reads: dict[str, Path]) -> Results:
    return judged(reads)


def test_every_probe_set_has_rates_ranks_intervals_and_the_baseline_s(results: Results):
    for name in ("CB", "ALL"):
        for measure in ("verification.tar_at_1", "verification.tar_at_5", "identification.rank_1", "identification.rank_5"):
            value, low, high = (results.metrics[f"{measure}.{name}{suffix}"] for suffix in ("", ".low", ".high"))
            assert 0 <= low <= value <= high <= 1
            task, short = measure.split(".")
            assert 0 <= results.metrics[f"{task}.gei_{short}.{name}"] <= 1
        assert (
            results.metrics[f"verification.tar_at_1_public_code.{name}"]
            >= results.metrics[f"verification.tar_at_1.{name}"] - 0.005
        )
    assert results.metrics["identification.gei_rank_1.ALL"] > 0.5  # people differ in width
    table = results.tables["verification"]
    assert table["source"].tolist() == ["ours", "baseline"] * 2


def test_probes_of_people_without_a_gallery_clip_are_counted_and_not_ranked(results: Results):
    missing = results.tables["verification_missing"].set_index("probes")
    assert missing.loc["CB", "without gallery"] == 1
    assert results.metrics["verification.without_gallery.CB"] == 1
    assert results.metrics["verification.without_gallery.ALL"] == 0


def test_the_score_is_read_after_every_number_of_frames_up_to_the_longest_and_ends_as_the_whole_clip_s(results: Results):
    curve = results.curves["frames_seen"]
    of_all = curve[curve["probes"] == "ALL"]
    assert of_all["frames seen"].iloc[0] == 1
    assert of_all["frames seen"].iloc[-1] == FRAMES
    assert of_all["TAR at 1 % FAR"].iloc[-1] == pytest.approx(results.metrics["verification.tar_at_1.ALL"])


def test_pictures_a_walk_of_swapped_codes_and_the_probes_are_there(results: Results):
    assert {"reconstructions", "swapped"} <= set(results.pictures)
    frames = results.animations["swapped_walks"]
    assert len(frames) == FRAMES - 2
    assert frames.dtype == np.uint8
    assert set(results.tables["disentanglement"].columns) == {"told from the code", "gait", "appearance", "pixels", "constant"}
    assert results.metrics["disentanglement.phase_r2.constant"] == 0
    assert results.metrics["disentanglement.colour_r2.pixels"] > 0.4
    assert set(results.captions) >= set(results.tables) | set(results.curves) | set(results.pictures) | set(results.animations)


@pytest.mark.parametrize("tasks", [("identity",), ("gait_similarity",), ("cross_reconstruction", "gait_similarity")])
def test_a_network_with_fewer_tasks_is_judged_by_what_it_has(reads: dict[str, Path], tasks: tuple[str, ...]):
    results = judged(reads, tasks)
    assert ("frames_seen" in results.curves) == ("identity" in tasks)
    assert ("swapped" in results.pictures) == ("cross_reconstruction" in tasks)
    assert ("disentanglement.colour_r2.appearance" in results.metrics) == ("cross_reconstruction" in tasks)
    assert all(np.isfinite(value) for value in results.metrics.values())


def test_on_casiab_people_are_identified_across_views_by_its_three_protocols(tmp_path: Path):
    results = judged(write_casiab_store(tmp_path), dataset=casiab)
    for group, names in {"single_view": ("NM", "BG", "CL"), "cross_view": ("NM", "BG", "CL"), "from_90": ("NM",)}.items():
        table = results.tables[group]
        assert table["probes"].unique().tolist() == list(names)
        assert all(0 <= results.metrics[f"{group}.rank_1.{name}"] <= 1 for name in names)
        assert results.metrics[f"{group}.gei_rank_1.NM"] > 0.5
    assert list(results.tables["from_90"].columns) == ["probes", "method", "source", "0°", "90°", "mean"]
    assert results.tables["from_90"]["90°"].isna().all()  # the gallery's own view
    assert "verification" not in results.tables
    curve = results.curves["frames_seen"]
    assert set(curve["probes"]) == {
        "from_90 NM",
        *(f"{a} {b}" for a in ("single_view", "cross_view") for b in ("NM", "BG", "CL")),
    }
    last = curve[curve["probes"] == "single_view CL"].iloc[-1]
    assert (last["frames seen"], last["rank-1"]) == (FRAMES, pytest.approx(results.metrics["single_view.rank_1.CL"]))


def test_by_gender_and_age_band_a_probe_of_two_sets_counts_once(tmp_path: Path, results: Results):
    judged_by_subgroup = judged(write_store(tmp_path, lengths=(FRAMES, FRAMES - 2), labelled=True))
    assert "subgroups" not in results.tables  # nobody's label is known
    assert judged_by_subgroup.metrics == results.metrics
    rows = judged_by_subgroup.tables["subgroups"].set_index("subgroup")
    assert rows.index.tolist() == ["everybody", "female", "male", "18 to 29", "30 to 44", "45 to 59", "60 and over"]
    assert rows["people"].tolist() == [6, 3, 3, 1, 1, 1, 3]
    assert rows["value"].iloc[0] == pytest.approx(results.metrics["identification.rank_1.ALL"])  # of which CB is a part
    assert rows["recordings"].iloc[0] == 6 * 4  # all videos of a person but the second
    for group in ("gender", "age band"):
        part = rows[rows["group"] == group]
        assert np.average(part["value"], weights=part["recordings"]) == pytest.approx(rows["value"].iloc[0])


def test_across_views_subgroups_are_those_of_every_protocol(tmp_path: Path):
    results = judged(write_casiab_store(tmp_path, labelled=True), dataset=casiab)
    table = results.tables["subgroups"]
    assert table["measure"].unique().tolist() == ["rank-1, single view", "rank-1, all views", "rank-1, gallery from 90°"]
    everybody = table[table["group"] == "everybody"].set_index("measure")
    names = [f"single_view.rank_1.{name}" for name in ("NM", "BG", "BG", "CL", "CL")]  # one normal walk is a probe, two others
    assert everybody.loc["rank-1, single view", "value"] == pytest.approx(np.mean([results.metrics[name] for name in names]))
    assert everybody.loc["rank-1, gallery from 90°", "value"] == pytest.approx(results.metrics["from_90.rank_1.NM"])


def test_without_keypoints_there_is_no_phase(tmp_path: Path):
    results = judged(write_store(tmp_path, keypoints=False))
    assert not [name for name in results.metrics if "phase" in name]
    assert "codes_over_time" not in results.curves


def test_strict_rates_are_scikit_learn_s_on_ties_too():
    draw = np.random.default_rng(3)
    for scores in (draw.normal(size=400), draw.integers(0, 6, 400).astype(float)):
        positive = draw.random(400) < 0.2 + 0.1 * (scores > scores.mean())
        false_rate, true_rate, _ = roc_curve(positive, scores, drop_intermediate=False)
        for wanted in (0.01, 0.05, 0.3):
            expected = true_rate[false_rate <= wanted].max()
            assert metrics.true_accepts_at(scores, positive, wanted) == pytest.approx(expected)
            slack = false_rate < wanted + 0.005
            assert verification.public_code_tar(scores, positive, false_accepts=wanted) == pytest.approx(
                round(float(true_rate[slack].max()), 2)
            )


def test_the_public_code_reads_its_rates_at_up_to_half_a_percent_more():
    positive = np.array([True] * 100 + [False] * 1000)
    scores = np.concatenate([np.linspace(1, 0, 100), np.linspace(0.9, -0.1, 1000)])
    strict = metrics.true_accepts_at(scores, positive, 0.01)
    assert verification.public_code_tar(scores, positive, false_accepts=0.01) > strict
    assert (
        verification.public_code_tar(scores, positive, false_accepts=0.01)
        <= metrics.true_accepts_at(scores, positive, 0.015) + 0.005
    )


def walker(phase: np.ndarray, view_deg: float) -> np.ndarray:
    """Keypoints of which the left ankle is ahead by the sine of the phase, along the walking direction in the picture."""
    keypoints = np.full((len(phase), 17, 3), 2, np.float32)
    ahead = np.array([-np.sin(np.radians(view_deg)), np.cos(np.radians(view_deg))])
    keypoints[:, 15, :2] = 30 + 4 * np.sin(phase)[:, None] * ahead
    keypoints[:, 16, :2] = 30 - 4 * np.sin(phase)[:, None] * ahead
    return keypoints


@pytest.mark.parametrize("view_deg", [0.0, 45.0, 90.0, 270.0, 315.0])
def test_the_walking_phase_is_found_from_the_ankles_from_any_side(view_deg: float):
    phase = 2 * np.pi * (np.arange(24) / 15 / 1.13 + 0.3)
    found = disentanglement.walking_phase(walker(phase, view_deg), view_deg, 15.0)
    assert found is not None
    assert np.abs(np.angle(np.exp(1j * (found - phase)))).max() < 0.05


def test_there_is_no_phase_where_ankles_are_hidden_still_or_erratic():
    phase = 2 * np.pi * np.arange(24) / 17
    hidden = walker(phase, 0.0)
    hidden[3, 15, 2] = 0
    erratic = walker(phase, 0.0)
    erratic[:, 15, 1] = 30 + 4 * np.where(np.arange(24) % 3, 1, -1)  # faster than anybody steps
    for keypoints in (hidden, erratic, walker(np.zeros(24), 0.0), walker(phase[:3], 0.0)):
        assert disentanglement.walking_phase(keypoints, 0.0, 15.0) is None


def test_probes_find_what_a_code_holds_on_people_they_have_not_seen_and_nothing_in_noise(reads: dict[str, Path]):
    store = Store.open(reads["frames"])
    clips = data.open_samples(reads, DATA, "test", TASKS).clips
    draw, phase_rows = np.random.default_rng(0), []
    for start, length, view_deg in clips[["start", "length", "view_deg"]].to_numpy():
        keypoints = np.asarray(store.field("keypoints")[int(start) : int(start + length)])
        phase = disentanglement.walking_phase(keypoints, view_deg, RATE_HZ)
        assert phase is not None
        phase_rows.append(np.stack([np.sin(phase), np.cos(phase)], axis=1))
    mixed = draw.normal(size=(2, 4))
    gait = [torch.from_numpy((rows @ mixed).astype(np.float32)) for rows in phase_rows]
    noise = [torch.from_numpy(draw.normal(size=(len(rows), 4)).astype(np.float32)) for rows in phase_rows]
    embedded = Embedded.build(clips, torch.zeros(len(clips), 3), {"gait": gait, "appearance": noise}, store)
    results = Results(metrics={})
    disentanglement.judge(embedded, 3, 1, results)
    assert results.metrics["disentanglement.phase_r2.gait"] > 0.8
    assert abs(results.metrics["disentanglement.phase_r2.appearance"]) < 0.2
    assert results.metrics["disentanglement.colour_r2.gait"] < 0.3
    assert 0.2 < results.metrics["disentanglement.bag_balanced_accuracy.appearance"] < 0.8


def test_of_white_silhouettes_no_colour_is_told(reads: dict[str, Path]):
    store = Store.open(reads["frames"])
    clips = data.open_samples(reads, DATA, "test", TASKS).clips
    codes = [torch.randn(length, 4) for length in clips["length"]]
    embedded = Embedded.build(clips, torch.zeros(len(clips), 3), {"gait": codes}, store)
    white = replace(embedded, pictures=[mask[..., None].repeat(3, axis=3) for mask in embedded.masks])
    results = Results(metrics={})
    disentanglement.judge(white, 3, 1, results)
    assert not [name for name in results.metrics if "colour" in name]
    assert "disentanglement.phase_r2.gait" in results.metrics


def test_an_output_that_is_not_finite_names_the_clip(reads: dict[str, Path]):
    train = data.open_samples(reads, DATA, "train", TASKS)
    spec = data.spec(train) | {"tasks": list(TASKS)}
    network = model.Network(model.Config(**MODEL_BLOCK), spec).eval()
    torch.nn.init.constant_(network.encoder.code[0].weight, torch.nan)
    with pytest.raises(ValueError, match=r"gaitnet: the output 'embedding' of clip s1/t00_01 is not finite"):
        score.evaluate(network, spec, {}, reads, DATA, CONFIG, DATASET, seed=1)


def test_options_go_to_the_dataset_s_protocol_and_unknown_ones_are_refused(reads: dict[str, Path]):
    asked: list[str] = []

    def protocol(clips: pd.DataFrame, split: str, clutter: str = "paper") -> list[ProbeSet]:
        asked.append(clutter)
        return probe_sets(clips)

    dataset = SimpleNamespace(protocol=protocol, left_out=lambda clips, split, clutter="paper": {})
    judged(reads, config=replace(CONFIG, protocol={"clutter": "code"}), dataset=dataset)
    assert asked == ["code"]
    with pytest.raises(ValueError, match=r"score\.gaitnet\.protocol has 'clutterr', but .* has the options clutter"):
        judged(reads, config=replace(CONFIG, protocol={"clutterr": "code"}), dataset=dataset)
    with pytest.raises(ValueError, match="has no options"):
        judged(reads, config=replace(CONFIG, protocol={"clutter": "code"}))


def test_a_split_without_probes_is_an_error_that_says_so(reads: dict[str, Path]):
    nobody = SimpleNamespace(protocol=lambda clips, split: [], left_out=lambda clips, split: {})
    train = data.open_samples(reads, DATA, "train", TASKS)
    spec = data.spec(train) | {"tasks": list(TASKS)}
    network = model.Network(model.Config(**MODEL_BLOCK), spec)
    with pytest.raises(ValueError, match="no probe with a gallery clip of its person"):
        score.evaluate(network, spec, {}, reads, DATA, CONFIG, nobody, seed=1)


def test_the_served_feature_is_that_of_the_evaluation(reads: dict[str, Path]):
    train = data.open_samples(reads, DATA, "train", TASKS)
    spec = data.spec(train) | {"tasks": list(TASKS)}
    network = model.Network(model.Config(**MODEL_BLOCK), spec).eval()
    batch = train.batch([0], spec=spec, statistics={}, augment=None)
    with torch.no_grad():
        expected = network(batch)
    served = serving.predict(network, {}, {"foreground": batch["foreground"].numpy()})
    np.testing.assert_allclose(served["embedding"], expected["embedding"].numpy(), rtol=1e-6)
    np.testing.assert_allclose(served["gait"], expected["gait"].mean(1).numpy(), rtol=1e-5, atol=1e-6)
    assert np.linalg.norm(served["embedding"], axis=1) == pytest.approx(1)
