"""reid: photos and their augmentation, the objective's terms, the validation errors, and training."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import photo_stores
import pytest
import torch
from same_batches import assert_same
from sklearn.metrics import balanced_accuracy_score
from torchvision.transforms.functional import affine

from people.config import build
from people.nn import losses
from people.records import ATTRIBUTES
from people.storage.store import Store
from people.systems.reid import data, model, objective, paper, serving
from people.training import loop
from people.training.fabric import launch

PEOPLE = ("identity", "attributes")
ALL = (*PEOPLE, "junk")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On arrays this small threads cost more time than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return photo_stores.write_store(tmp_path_factory.mktemp("reid"))


def config(**changes: Any) -> data.Config:
    return data.Config(**{**photo_stores.DATA_BLOCK, **changes})


def opened(reads: dict[str, Path], split: str = "train", *, tasks: tuple[str, ...] = PEOPLE, **changes: Any) -> data.Samples:
    return data.open_samples(reads, config(**changes), split, tasks)


def batch_of(
    samples: data.Samples, indices: list[int], augment: int | None = None, **statistics: Any
) -> dict[str, torch.Tensor]:
    moments = {"mean": torch.zeros(3, 1, 1), "std": torch.ones(3, 1, 1)} | statistics
    generator = None if augment is None else np.random.default_rng(augment)
    return samples.batch(indices, spec=data.spec(samples), statistics=moments, augment=generator)


# --- photos


def test_a_photo_is_the_stored_one_normalised_and_its_targets_are_the_index_s(reads: dict[str, Path]):
    samples = opened(reads, "test")
    stored, row = Store.open(reads["frames"]).field("image"), samples.clips.iloc[7]
    moments = data.statistics(samples)
    batch = batch_of(samples, [7], **moments)
    expected = (stored[row["start"]].transpose(2, 0, 1) / 255 - moments["mean"].numpy()) / moments["std"].numpy()
    np.testing.assert_allclose(batch["image"][0].numpy(), expected, atol=1e-5)
    assert batch["camera"].item() == row["camera"]
    for name, classes in ATTRIBUTES.items():
        code = batch[name].item()
        assert (classes[code] if code >= 0 else None) == (row[name] if isinstance(row[name], str) else None)


def test_junk_comes_into_batches_as_often_as_people_s_photos_do(tmp_path: Path):
    samples = opened(photo_stores.write_store(tmp_path, people={"train": 6, "validation": 3}, junk=12), tasks=ALL)
    subject = samples.targets(data.spec(samples))["subject"]
    is_junk = samples.clips["kind"].to_numpy() == "junk"
    people, junk = (np.unique(subject[rows], return_counts=True) for rows in (~is_junk, is_junk))
    assert not set(people[0]) & set(junk[0])
    assert junk[1].max() <= np.ceil(people[1].mean())
    share = len(junk[0]) / (len(junk[0]) + len(people[0]))
    assert share == pytest.approx(is_junk.mean(), abs=0.1)


def test_junk_has_no_identity_and_a_distractor_no_label(reads: dict[str, Path]):
    samples = opened(reads, "test")
    targets, kind = samples.targets(data.spec(opened(reads))), samples.clips["kind"].to_numpy()
    assert (targets["identity"] == -1).all()  # none of them is a training subject
    assert {name: set(targets["person"][kind == name].tolist()) for name in set(kind)} == {
        "person": {1}, "junk": {0}, "distractor": {-1}
    }  # fmt: skip
    assert all((targets[name][kind != "person"] == -1).all() for name in ATTRIBUTES)


def test_samples_are_people_and_with_the_task_also_junk(reads: dict[str, Path]):
    for split in ("train", "validation"):
        assert set(opened(reads, split).clips["kind"]) == {"person"}
        assert set(opened(reads, split, tasks=ALL).clips["kind"]) == {"person", "junk"}
    assert set(opened(reads, "test").clips["kind"]) == {"person", "junk", "distractor"}
    assert all(not name.startswith("junk") for name in data.spec(opened(reads, tasks=ALL))["subjects"])


def test_a_photo_is_reduced_to_the_mean_of_its_pixels(reads: dict[str, Path]):
    full, half = (batch_of(opened(reads, size_hw=size_hw), [3])["image"] for size_hw in ([32, 16], [16, 8]))
    torch.testing.assert_close(half, full.unflatten(3, (8, 2)).unflatten(2, (16, 2)).mean((3, 5)))


def test_training_photos_have_mean_zero_and_deviation_one_by_their_own_statistics(reads: dict[str, Path]):
    samples = opened(reads)
    image = batch_of(samples, list(range(len(samples))), **data.statistics(samples))["image"]
    assert image.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(image.transpose(0, 1).flatten(1).std(1, correction=0), torch.ones(3), rtol=1e-4, atol=0)
    assert data.statistics(opened(reads, normalise="imagenet"))["mean"].flatten().tolist() == pytest.approx(
        [0.485, 0.456, 0.406]
    )


def test_the_augmentation_of_a_photo_depends_only_on_the_generator_and_its_index(reads: dict[str, Path]):
    samples = opened(reads)
    together, single = batch_of(samples, [3, 8, 3], augment=4)["image"], batch_of(samples, [8], augment=4)["image"]
    assert torch.equal(together[1], single[0])
    assert torch.equal(together[0], together[2])
    repeated = batch_of(samples, [3 + len(samples)], augment=4)
    assert not torch.equal(repeated["image"][0], together[0])
    assert repeated["clip"].item() == 3
    assert not torch.equal(batch_of(samples, [8], augment=5)["image"], single)


@pytest.mark.parametrize("size_hw", [[32, 16], [16, 8]])
@pytest.mark.parametrize("split", ["train", "test"])
def test_photos_on_a_device_are_those_of_the_host(reads: dict[str, Path], split: str, size_hw: list[int]):
    samples, moments = opened(reads, split, size_hw=size_hw), data.statistics(opened(reads, size_hw=size_hw))
    moved, indices = samples.to("cpu"), [5, 0, 5, len(samples) - 1, 5 + len(samples), 2 * len(samples)]
    for seed in (None, 4):
        assert_same(batch_of(samples, indices, seed, **moments), batch_of(moved, indices, seed, **moments))
    assert moved.nbytes == samples.nbytes == len(samples) * 32 * 16 * 3


def smooth(height: int, width: int) -> torch.Tensor:
    rows, columns = torch.linspace(0, 3, height)[:, None], torch.linspace(0, 3, width)
    return torch.stack([torch.sin(2 * rows + columns), torch.cos(rows - 2 * columns), rows * columns])[None]


@pytest.mark.parametrize("warp", [(1, 0.0, 0.1, 0.0), (1, 0.0, 0.0, -0.1), (1, 0.3, 0.0, 0.0), (-1, -0.2, 0.05, 0.1)])
def test_the_warp_mirrors_rotates_and_shifts_as_torchvision_does(warp: tuple[float, float, float, float]):
    mirror, rotation, right, down = warp
    image = smooth(40, 20)
    warped = data.warp_affine(image, np.array([warp]))
    expected = affine(
        image.flip(3) if mirror < 0 else image,
        angle=-math.degrees(rotation),  # torchvision rotates clockwise
        translate=[round(20 * right), round(40 * down)],
        scale=1.0,
        shear=[0.0],
        interpolation=2,  # type: ignore[arg-type]
    )
    inside = (slice(None), slice(None), slice(12, 28), slice(6, 14))
    torch.testing.assert_close(warped[inside], expected[inside], rtol=1e-3, atol=2e-3)


def test_without_flip_rotation_and_translation_a_photo_stays_equal(reads: dict[str, Path]):
    plain = opened(reads, flip=0.0, rotation_deg=0, translation=0.0)
    torch.testing.assert_close(batch_of(plain, [1, 2], augment=1)["image"], batch_of(plain, [1, 2])["image"])
    mirrored = opened(reads, flip=1.0, rotation_deg=0, translation=0.0)
    torch.testing.assert_close(batch_of(mirrored, [1], augment=1)["image"], batch_of(plain, [1])["image"].flip(3))


@pytest.mark.parametrize(
    ("store", "split", "changes", "message"),
    [
        ({"cameras": 1}, "validation", {}, "two people with photos by two cameras each, got 0"),
        ({"people": {"train": 3}}, "validation", {}, "photos of people, got none"),
        ({"junk": 0}, "train", {"tasks": ALL}, "has no photo without a pedestrian: provide junk for it"),
        ({}, "train", {"size_hw": [20, 16]}, r"size_hw must divide the size of the photos in .*, \[32, 16\], got \[20, 16\]"),
    ],
)
def test_unusable_photos_are_refused(tmp_path: Path, store: dict[str, Any], split: str, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        opened(photo_stores.write_store(tmp_path, **store), split, **changes)


def test_a_class_that_an_attribute_does_not_have_is_named():
    with pytest.raises(ValueError, match="hat is one of no, yes, or empty, got sometimes: correct the index"):
        data.encode(["no", float("nan"), "sometimes"], "hat", ("no", "yes"))


# --- objective


def terms_of(**changes: Any) -> objective.Objective:
    weights = {**photo_stores.OBJECTIVE_BLOCK["lambda"], **changes.pop("weights", {})}
    block = {**photo_stores.OBJECTIVE_BLOCK, "lambda": weights, **changes}
    return objective.Objective(objective.Config(**block), {"attributes": ATTRIBUTES})


def random_outputs(
    count: int = 12, seed: int = 0, junk: bool = False
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    outputs = {name: torch.randn(count, len(classes), generator=generator) for name, classes in ATTRIBUTES.items()}
    outputs["embedding"] = torch.randn(count, 6, generator=generator)
    targets = {name: torch.randint(-1, len(classes), (count,), generator=generator) for name, classes in ATTRIBUTES.items()}
    targets["identity"] = torch.arange(count) % 4
    targets["subject"], targets["camera"] = targets["identity"], torch.arange(count) // 4 + 1
    targets["person"] = torch.ones(count, dtype=torch.long)
    if junk:
        outputs["person"] = torch.randn(count, 2, generator=generator)
        targets["person"][::5], targets["identity"][::5] = 0, -1
    return {name: value.requires_grad_() for name, value in outputs.items()}, targets


def test_the_identity_term_is_the_mean_of_the_triplets_above_zero_by_three_loops():
    outputs, targets = random_outputs(junk=True)
    features, identities, terms_of_triplets = outputs["embedding"].detach(), targets["identity"].tolist(), []
    for a, anchor in enumerate(identities):
        for p, positive in enumerate(identities):
            for n, negative in enumerate(identities):
                if a != p and anchor == positive >= 0 and negative >= 0 and negative != anchor:
                    difference = (features[a] - features[p]).norm() - (features[a] - features[n]).norm()
                    terms_of_triplets.append(max(0.0, 1.0 + difference.item()))
    hinges = np.array(terms_of_triplets)
    terms = terms_of(weights={"junk": 1.0})
    assert terms(outputs, targets)["identity"].item() == pytest.approx(hinges[hinges > 0].mean(), rel=1e-5)
    active = terms.diagnostics(outputs, targets)["active_triplets"]
    assert active.item() == pytest.approx((hinges > 0).mean())
    assert not active.requires_grad


def test_junk_is_in_no_triplet():
    outputs, targets = random_outputs(junk=True)
    people = targets["person"] == 1
    expected = losses.batch_all_triplet(outputs["embedding"][people][:, None], targets["identity"][people], 1.0)
    assert terms_of(weights={"junk": 1.0})(outputs, targets)["identity"].item() == pytest.approx(expected.item())


def test_the_attributes_term_is_the_mean_of_twelve_binary_and_other_cross_entropies():
    outputs, targets = random_outputs()
    for name, classes in ATTRIBUTES.items():
        if len(classes) == 2:
            outputs[name] = torch.nn.functional.pad(outputs[name][:, 1:], (1, 0))  # one logit against 0
    expected = []
    for name, classes in ATTRIBUTES.items():
        is_known = targets[name] >= 0
        if len(classes) == 2:
            logit, target = outputs[name][is_known, 1], targets[name][is_known].float()
            expected.append(torch.nn.functional.binary_cross_entropy_with_logits(logit, target))
        else:
            expected.append(torch.nn.functional.cross_entropy(outputs[name][is_known], targets[name][is_known]))
    assert terms_of()(outputs, targets)["attributes"].item() == pytest.approx(sum(expected).item() / 12, rel=1e-6)


def test_a_batch_without_any_label_has_a_loss_and_a_gradient_of_zero():
    outputs, targets = random_outputs(junk=True)
    unknown = {name: torch.full_like(value, -1) for name, value in targets.items()}
    terms = terms_of(weights={"junk": 1.0})(outputs, unknown)
    assert {name: term.item() for name, term in terms.items()} == {"identity": 0, "attributes": 0, "junk": 0}
    sum(terms.values()).backward()
    assert all((value.grad == 0).all() for value in outputs.values())


@pytest.mark.parametrize(
    ("weights", "tasks"),
    [({"junk": 1.0}, ALL), ({"attributes": 0}, ("identity",)), ({"identity": 0, "junk": 0.5}, ("attributes", "junk"))],
)
def test_the_terms_and_the_heads_are_those_of_the_weights_above_0(
    reads: dict[str, Path], weights: dict[str, float], tasks: tuple[str, ...]
):
    terms = terms_of(weights=weights)
    assert terms.config.tasks == tasks
    samples = opened(reads, tasks=terms.config.tasks)
    network = model.Network(model.Config(**photo_stores.MODEL_BLOCK), data.spec(samples) | {"tasks": list(terms.config.tasks)})
    batch = batch_of(samples, [0, 1, 6, 7, 12, len(samples) - 1])
    outputs = network(batch)
    heads = {"embedding": "identity", "hat": "attributes", "person": "junk"}
    assert {task for name, task in heads.items() if name in outputs} == set(tasks)
    assert set(terms(outputs, batch)) == set(terms.weighting.lambdas()) == set(tasks)
    assert set(terms.diagnostics(outputs, batch)) == ({"active_triplets"} if "identity" in tasks else set())


@pytest.mark.parametrize(
    ("equation", "expected"),
    [("eq_2", {"identity": (0.5, 2), "attributes": (1, 2)}), ("eq_3", {"identity": (1, 2), "attributes": (1, 1)})],
)
def test_learned_weights_are_those_of_the_paper_s_equation(equation: str, expected: dict[str, tuple[float, float]]):
    outputs, targets = random_outputs()
    terms = terms_of(weighting={"name": "uncertainty", "equation": equation})
    with torch.no_grad():
        terms.weighting.s.copy_(torch.tensor([0.3, -0.2]))  # s_id, s_ar
    named = terms(outputs, targets)
    by_hand = {
        name: factor * math.exp(-exponent * s)
        for (name, (factor, exponent)), s in zip(expected.items(), (0.3, -0.2), strict=True)
    }
    assert terms.weighting.lambdas() == pytest.approx(by_hand)
    total = sum(by_hand[name] * named[name].item() for name in by_hand) + 0.3 - 0.2
    assert terms.weighting.total(named).item() == pytest.approx(total, rel=1e-6)


def test_after_a_step_learned_weights_are_clamped_to_their_bounds():
    terms = terms_of(weighting={"name": "uncertainty", "bounds": [-0.5, 0.5]})
    with torch.no_grad():
        terms.weighting.s.copy_(torch.tensor([-2.0, 0.4]))
    terms.weighting.step_end()
    torch.testing.assert_close(terms.weighting.s.detach(), torch.tensor([-0.5, 0.4]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lambda": {"identity": "lernt", "attributes": 1, "junk": 0}}, "lambda.identity must be a number >= 0"),
        ({"lambda": {"identity": -1, "attributes": 1, "junk": 0}}, "lambda.identity must be"),
        ({"lambda": {"identity": 1, "attributes": 1}}, "must give identity, attributes, junk a weight each"),
        ({"lambda": {"identity": 0, "attributes": 0, "junk": 0}}, "that of identity or attributes not 0"),
        ({"lambda": {"identity": 0, "attributes": 0, "junk": 1}}, "that of identity or attributes not 0"),
        ({"margin": {"identity": 0}}, "margin must give identity a distance > 0"),
        ({"weighting": {"name": "uncertainty", "equation": "eq_4"}}, "equation must be one of eq_2, eq_3, got 'eq_4'"),
        ({"weighting": {"name": "uncertainty", "bounds": [0.5, 3]}}, r"bounds must be \[low, high\], low < 0 < high"),
        ({"weighting": {"name": "learned"}}, r"reid\.objective\.weighting\.name must be one of fixed, uncertainty"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_an_invalid_objective_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        objective.Config(**{**photo_stores.OBJECTIVE_BLOCK, **changes})


# --- validation


def test_the_combined_error_is_one_minus_the_geometric_mean_of_the_tasks_scores():
    outputs, targets = random_outputs(junk=True)
    validation = objective.validate(outputs, targets)
    errors = validation["errors"]
    right = (1 - errors["identity"]) * (1 - errors["attributes"])
    assert errors["combined"] == pytest.approx(1 - math.sqrt(right)) == pytest.approx(-validation["score"])
    scores = []
    for name in ATTRIBUTES:
        is_known = targets[name] >= 0  # a class without samples does not count
        scores.append(balanced_accuracy_score(targets[name][is_known], outputs[name][is_known].argmax(1)))
    assert errors["attributes"] == pytest.approx(1 - np.mean(scores))
    assert errors["junk"] == pytest.approx(1 - balanced_accuracy_score(targets["person"], outputs["person"].detach().argmax(1)))
    attributes = {name: outputs[name] for name in ATTRIBUTES}
    assert objective.validate(attributes, targets)["errors"] == pytest.approx(
        dict.fromkeys(("combined", "attributes"), errors["attributes"])
    )


def test_junk_and_distractors_are_left_out_of_identification():
    outputs, targets = random_outputs()
    without = objective.validate(outputs, targets)["errors"]["identity"]
    more = {name: torch.cat([value, value[:3]]) for name, value in outputs.items()}
    labels = {name: torch.cat([value, value[:3]]) for name, value in targets.items()}
    labels["person"][-3:] = torch.tensor([0, -1, -1])
    assert objective.validate(more, labels)["errors"]["identity"] == pytest.approx(without)


# --- training


def problem(reads: dict[str, Path], **blocks: dict[str, Any]) -> loop.Problem:
    weights = {**photo_stores.OBJECTIVE_BLOCK, **blocks.get("objective", {})}
    tasks = objective.Config(**weights).tasks
    train, validation = (opened(reads, split, tasks=tasks) for split in ("train", "validation"))
    return loop.Problem(
        system="reid",
        model=model,
        objective=objective,
        config={
            "data": photo_stores.DATA_BLOCK,
            "model": {**photo_stores.MODEL_BLOCK, **blocks.get("model", {})},
            "objective": weights,
        },
        train=train,
        validation=validation,
        spec=data.spec(train) | {"tasks": list(tasks)},
        statistics=data.statistics(train),
        data_digest="made up",
    )


def trained(untrained: loop.Problem, **changes: Any) -> loop.Epoch:
    config = build(loop.Config, {**photo_stores.TRAINING_BLOCK, **changes})
    *_, last = loop.fit(untrained, config, seed=1, fabric=launch(config))
    return last


def test_identification_improves_and_weights_are_learned(reads: dict[str, Path]):
    history = trained(problem(reads), epochs=8, batches={"identities": 4, "samples_each": 3, "per_epoch": 8}).history
    assert history["train_error/identity"].iloc[-1] < 0.5 * history["train_error/identity"].iloc[0]
    assert history["train/active_triplets"].iloc[-1] < 0.5 * history["train/active_triplets"].iloc[0]
    assert history["lambda/identity"].iloc[0] == 0.5
    assert history["lambda/attributes"].iloc[0] == 1
    assert history["lambda/identity"].iloc[-1] != 0.5


@pytest.mark.parametrize("kind", model.TYPES)
def test_all_three_tasks_are_trained_together_and_the_same_seed_gives_the_same_curve(reads: dict[str, Path], kind: str):
    weights = {"lambda": {"identity": 1.0, "attributes": 1.0, "junk": 1.0}}
    first, second = (trained(problem(reads, model={"type": kind}, objective=weights)) for _ in range(2))
    assert first.history.equals(second.history)
    assert first.history["lambda/attributes"].iloc[-1] != 1
    assert {"error/identity", "error/attributes", "error/junk", "error/combined"} <= set(first.history)


def test_predictions_are_the_network_s_outputs_for_a_normalised_photo(reads: dict[str, Path]):
    samples = opened(reads)
    spec, moments = data.spec(samples) | {"tasks": list(ALL)}, data.statistics(samples)
    torch.manual_seed(0)
    network = model.Network(model.Config(**photo_stores.MODEL_BLOCK), spec).eval()
    outputs = network(batch_of(samples, [0, 4], **moments))
    predictions = serving.predict(network, moments, {"image": batch_of(samples, [0, 4])["image"].numpy()})
    np.testing.assert_allclose(predictions["embedding"], outputs["embedding"].detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(predictions["hat"][:, 1], outputs["hat"][:, 1].detach().sigmoid(), rtol=1e-4)
    inputs, shapes = serving.shapes(network, spec)
    assert inputs == {"image": (-1, 3, 32, 16)}
    assert {name: (-1, *value.shape[1:]) for name, value in predictions.items()} == shapes


# --- the paper


def test_the_paper_s_averages_are_those_of_its_columns_but_for_the_most_frequent_class():
    for method, printed in paper.ATTRIBUTE_ACCURACY[paper.MEAN].items():
        mean = np.mean([paper.ATTRIBUTE_ACCURACY[name][method] for name in ATTRIBUTES])
        assert mean == pytest.approx(70.74 if method == "MFC" else printed, abs=0.01)
