"""Multipose's network and objective: losses by hand and against torch, naive twins of its parts, the joined network."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from scene_stores import DATA_BLOCK, MODEL_BLOCK, OBJECTIVE_BLOCK, TASKS, person, write
from torch import nn
from torch.nn import functional

from people.records import ACTIVITIES
from people.systems.multipose import data, model, objective, serving
from people.systems.multipose.data import HEADS
from people.systems.multipose.model import detector, heads, heatmaps, poses
from people.systems.multipose.model.config import SOFTMAXES

SPEC: dict[str, Any] = {
    "tasks": list(TASKS), "joints": 17, "activities": list(ACTIVITIES), "aspect": "kept", "grid_hw": DATA_BLOCK["grid_hw"],
}  # fmt: skip
STATISTICS = {"mean": torch.full((3, 1, 1), 0.4), "std": torch.full((3, 1, 1), 0.2)}


def changed(block: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A block with other values, in its parts too."""
    return {**block, **{key: {**block[key], **value} if isinstance(value, dict) else value for key, value in changes.items()}}


def network(spec: Mapping[str, Any] | None = None, **changes: Any) -> model.Network:
    torch.manual_seed(0)
    return model.Network(model.Config(**changed(MODEL_BLOCK, changes)), {**SPEC, **(spec or {})}).eval()


def lively(**changes: Any) -> model.Network:
    """A network of random weights that finds people: high scores of boxes, heat maps of many peaks."""
    made = network(**changes)
    assert made.keypoints is not None
    assert made.detector is not None
    nn.init.normal_(made.keypoints.heatmaps.weight, std=0.4)
    nn.init.zeros_(made.keypoints.heatmaps.bias)
    head = made.detector.head
    nn.init.normal_(head.classification_head.cls_logits.weight, std=0.2)
    nn.init.constant_(head.classification_head.cls_logits.bias, -0.5)
    return made


def built(**changes: Any) -> objective.Objective:
    return objective.Objective(objective.Config(**changed(OBJECTIVE_BLOCK, changes)), SPEC)


def images(count: int, size_hw: tuple[int, int] = (64, 96), seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    waves = [
        np.sin(rows / draw.uniform(3, 9) + draw.uniform(0, 6)) * np.cos(columns / draw.uniform(3, 9)) for _ in range(3 * count)
    ]
    noise = draw.random((count, *size_hw, 3))
    return list(
        (0.5 * noise + 0.25 + 0.25 * np.stack(waves, 2).reshape(*size_hw, count, 3).transpose(2, 0, 1, 3)).astype(np.float32)
    )


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> data.Samples:
    reads = write(tmp_path_factory.mktemp("stores"), counts={"train": 8})
    return data.open_samples(reads, data.Config(**DATA_BLOCK), "train", TASKS)


def batch_of(samples: data.Samples, indices: list[int], seed: int | None = 0) -> dict[str, Any]:
    augment = None if seed is None else np.random.default_rng(seed)
    return samples.batch(indices, spec=SPEC, statistics=STATISTICS, augment=augment)


# --- losses ----------------------------------------------------------------------------------------------------------


def keypoint_example() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    draw = torch.Generator().manual_seed(1)
    people = [torch.tensor([[[9.0, 10.0, 2.0]], [[20.0, 5.0, 1.0]]]), torch.zeros(0, 1, 3)]
    outputs = {"heatmaps": torch.rand(2, 2, 5, 6, generator=draw), "intermediate": torch.rand(2, 4, 2, 5, 6, generator=draw)}
    return outputs, {"keypoints": people, "counted": (torch.rand(2, 5, 6, generator=draw) > 0.3).float()}


@pytest.mark.parametrize("intermediate", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_the_keypoint_loss_is_the_halved_mean_over_images_of_squared_distances_of_all_outputs(
    intermediate: bool, training: bool
):
    outputs, batch = keypoint_example()
    if not training:
        del outputs["intermediate"]
    target = heatmaps.gaussian_maps(batch["keypoints"], (5, 6), 4, 4.0)
    expected = 0.0
    for image in range(2):
        maps = [outputs["heatmaps"][image], *(outputs["intermediate"][image] if intermediate and training else ())]
        for predicted in maps:
            expected += (batch["counted"][image] * (predicted - target[image])).square().sum().item() / 4
    assert built(intermediate=intermediate)._keypoints(outputs, batch).item() == pytest.approx(expected, rel=1e-5)


def test_with_an_emphasis_cells_count_1_and_as_many_times_their_target():
    outputs, batch = keypoint_example()
    target = heatmaps.gaussian_maps(batch["keypoints"], (5, 6), 4, 4.0)
    squares = batch["counted"][:, None] * (outputs["heatmaps"] - target).square()
    expected = (squares.sum() + 9 * (target * squares).sum()) / 4
    torch.testing.assert_close(built(intermediate=False, emphasis=9.0)._keypoints(outputs, batch), expected)


def test_cells_that_do_not_count_change_no_loss():
    outputs, batch = keypoint_example()
    before = built()._keypoints(outputs, batch)
    off = batch["counted"][:, None] == 0
    changed_maps = {
        "heatmaps": torch.where(off, 7.0, outputs["heatmaps"]),
        "intermediate": torch.where(off[:, None], -3.0, outputs["intermediate"]),
    }
    assert torch.equal(built()._keypoints(changed_maps, batch), before)
    counted = {**batch, "counted": torch.ones(2, 5, 6)}
    assert built()._keypoints(changed_maps, counted) > built()._keypoints(outputs, counted) + 1
    nowhere = {**batch, "counted": torch.zeros(2, 5, 6)}
    assert built()._keypoints(outputs, nowhere).item() == 0


def test_the_detectors_loss_is_focal_plus_weighted_box_loss(samples: data.Samples):
    batch, made = batch_of(samples, [0, 1, 2, 3]), network()
    outputs = made(batch)
    parts = detector.loss(
        outputs["box_logit"],
        outputs["box_delta"],
        outputs["box_anchor"][0],
        batch["boxes"],
        batch["is_crowd"],
        alpha=0.25,
        gamma=2.0,
    )
    assert built(box=3.0)._detector(outputs, batch).item() == pytest.approx((parts[0] + 3 * parts[1]).item())
    assert parts[1].item() > 0


@pytest.mark.parametrize("softmax", SOFTMAXES)
def test_the_residual_loss_is_torchs_binary_cross_entropy_summed_over_a_persons_maps(softmax: str):
    made = network(residual={"softmax": softmax}).residual
    assert made is not None
    impulses = (torch.rand(3, 17, 14, 9, generator=torch.Generator().manual_seed(0)) < 0.01).float()
    predicted = made(poses.blurred(impulses, 1.0))
    target = poses.blurred(impulses, 2.0)
    expected = functional.binary_cross_entropy(predicted.exp(), target, reduction="sum") / 3
    torch.testing.assert_close(objective.residual_loss(predicted, impulses), expected, rtol=1e-4, atol=1e-4)
    assert objective.residual_loss(predicted[:0], impulses[:0]).item() == 0


def test_the_activity_loss_is_the_mean_cross_entropy_of_people_in_poses():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    batch = {
        "activity": [torch.tensor([-1, 2, 0]), torch.tensor([3])],
        "pose_person": [torch.tensor([1, 2]), torch.tensor([0])],
    }
    expected = -sum(logits.log_softmax(1)[row, code] for row, code in enumerate((2, 0, 3))) / 3
    torch.testing.assert_close(built()._activity({"activity": logits}, batch), expected)


def test_tasks_without_weight_have_no_term(samples: data.Samples):
    batch, made = batch_of(samples, [0, 1]), network()
    terms = built(**{"lambda": {"keypoints": 0.0, "activity": 0.0}})(made(batch), batch)
    assert set(terms) == {"detector", "residual"}
    assert set(built()(made(batch), batch)) == set(HEADS)


# --- training --------------------------------------------------------------------------------------------------------


def trained_on(batch: dict[str, Any], **changes: Any) -> model.Network:
    """A network after the gradients of one step; losses are finite."""
    made = network(**changes).train()
    terms = built()(made(batch), batch)
    assert all(torch.isfinite(term) and term.requires_grad for term in terms.values())
    sum(terms.values(), torch.zeros(())).backward()
    return made


@pytest.mark.parametrize("changes", [
    {}, {"shared": False}, {"norm": "none"}, {"backbone": "mobilenet_v2"}, {"batch_norm": "frozen"},
    {"residual": {"softmax": "joint"}},
], ids=str)  # fmt: skip
def test_every_parameter_has_a_finite_gradient_of_a_batch_with_people(samples: data.Samples, changes: dict[str, Any]):
    made = trained_on(batch_of(samples, list(range(8))), **changes)
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_images_without_people_alone_train_and_are_validated(tmp_path: Path):
    reads = write(tmp_path, {"train": [[], [], [person((36.0, 12.0, 56.0, 52.0))]]})
    train = data.open_samples(reads, data.Config(**DATA_BLOCK), "train", TASKS)
    batch = batch_of(train, [0, 1])
    assert [len(each) for each in (*batch["boxes"], *batch["joint_maps"], *batch["poses"])] == [0] * 6
    made = trained_on(batch)
    assert made.keypoints is not None
    assert made.detector is not None
    for layer in (made.keypoints.heatmaps, made.detector.head.classification_head.cls_logits):
        assert layer.weight.grad is not None
        assert layer.weight.grad.abs().sum() > 0
    assert all(torch.isfinite(each.grad).all() for each in made.parameters() if each.grad is not None)
    plain = batch_of(train, [0, 1], None)
    with torch.no_grad():
        outputs = made.eval()(plain)
        reduced = objective.reduced(outputs, plain)
        assert all(len(values) == 2 for values in reduced.values())
        assert all(torch.isfinite(term) for term in built()(outputs, plain).values())
        whole = batch_of(train, [0, 1, 2], None)
        errors = objective.validate(objective.reduced(made(whole), whole), train.targets(SPEC))["errors"]
    assert set(errors) == {*HEADS, objective.MAIN_ERROR}
    assert all(0 <= error <= 1 for error in errors.values())
    assert errors[objective.MAIN_ERROR] == pytest.approx(np.mean([errors[head] for head in HEADS]))


def test_what_is_perfect_has_no_error(samples: data.Samples):
    batch = batch_of(samples, list(range(8)), None)
    maps = heatmaps.gaussian_maps(batch["keypoints"], (16, 24), 4, 4.0)
    activity = functional.one_hot(objective.pose_activities(batch), len(ACTIVITIES)).float()
    outputs = {"heatmaps": maps, "residual": torch.cat(batch["true_maps"]).clamp(min=1e-9).log(), "activity": activity}
    reduced = objective.reduced(outputs, batch)
    found = {"found_boxes": batch["boxes"], "scores": [torch.ones(len(boxes)) for boxes in batch["boxes"]]}
    errors = objective.validate(reduced | found, samples.targets(SPEC))["errors"]
    assert errors["detector"] == pytest.approx(0)
    assert errors["activity"] == 0
    assert errors["keypoints"] < 0.5  # a cell of 4 px is coarse for people of 20 to 50 px
    assert errors["residual"] < 0.2
    wrong = objective.reduced({**outputs, "heatmaps": maps.flip(2), "activity": activity.roll(1, 1)}, batch)
    worse = objective.validate(
        wrong | {**found, "found_boxes": [boxes + 60 for boxes in batch["boxes"]]}, samples.targets(SPEC)
    )
    assert worse["errors"]["detector"] > 0.9
    assert worse["errors"]["activity"] == 1
    assert worse["errors"]["keypoints"] > errors["keypoints"] + 0.2
    assert worse["score"] == -worse["errors"][objective.MAIN_ERROR]


def test_the_phases_of_params_learn_parameters_that_there_are(root: Path):
    block = YAML(typ="safe").load(root / "params.yaml")["systems"]["multipose"]
    names = [name for name, _ in network(spec={"grid_hw": [14, 9]}).named_parameters()]
    phases = block["training"]["phases"]
    assert phases
    learned: set[str] = set()
    for phase in phases:
        assert set(phase["tasks"]) <= set(TASKS)
        for start in phase["learns"]:
            matching = {name for name in names if name.startswith(start)}
            assert matching, f"{phase['name']}: {start} begins no parameter's name"
            learned |= matching
    assert learned == set(names)
    for config, part in ((data.Config, "data"), (model.Config, "model"), (objective.Config, "objective")):
        config(**block[part])


# --- parts of the network --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("softmax", SOFTMAXES)
@torch.no_grad()
def test_the_pose_residual_network_is_its_naive_twin(softmax: str):
    made = network(residual={"softmax": softmax}).residual
    assert made is not None
    maps = torch.rand(2, 17, 14, 9, generator=torch.Generator().manual_seed(0))
    first, second, last = (layer for layer in made.layers if isinstance(layer, nn.Linear))
    for one, found in zip(maps, made(maps), strict=True):
        hidden = one.reshape(-1)
        for layer in (first, second, last):
            hidden = (layer.weight @ hidden + layer.bias).clamp(min=0)
        total = (one.reshape(-1) + hidden).double()
        if softmax == "all":
            expected = (total.exp() / total.exp().sum()).view(17, 14, 9)
            assert found.exp().sum().item() == pytest.approx(1, rel=1e-4)
        else:
            of_joints = total.view(17, -1)
            expected = (of_joints.exp() / of_joints.exp().sum(1, keepdim=True)).view(17, 14, 9)
        torch.testing.assert_close(found.exp(), expected.float(), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("softmax", SOFTMAXES)
@torch.no_grad()
def test_a_residual_of_zero_keeps_the_order_of_the_input(softmax: str):
    made = network(residual={"softmax": softmax}).residual
    assert made is not None
    last = [layer for layer in made.layers if isinstance(layer, nn.Linear)][-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    maps = poses.blurred((torch.rand(3, 17, 14, 9, generator=torch.Generator().manual_seed(0)) < 0.02).float(), 1.0)
    found = made(maps)
    assert (found.flatten(2).diff(dim=2) - maps.flatten(2).diff(dim=2)).abs().max() < 1e-5
    assert (found.flatten(2).gather(2, maps.flatten(2).argmax(2, keepdim=True)) >= found.flatten(2).amax(2, True) - 1e-5).all()


def test_the_classifiers_layers_are_relu_then_batch_norm_then_dropout():
    made = network().activity
    assert made is not None
    kinds = [type(layer) for layer in made.layers]
    assert kinds == [*2 * [nn.Linear, nn.ReLU, heads.BatchNorm, nn.Dropout], nn.Linear]
    assert [layer.out_features for layer in made.layers if isinstance(layer, nn.Linear)] == [16, 8, 4]
    made.train()
    vectors = torch.rand(16, 34)
    hidden = made.layers[2](made.layers[1](made.layers[0](vectors)))
    torch.testing.assert_close(hidden.mean(0), torch.zeros(16), atol=1e-5, rtol=0)


@pytest.mark.parametrize("people", [0, 1, 2])
def test_the_classifier_trains_on_any_number_of_people(people: int):
    made = network().activity
    assert made is not None
    before = {name: value.clone() for name, value in made.state_dict().items()}
    logits = made.train()(torch.rand(people, 34))
    assert logits.shape == (people, 4)
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    same = all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert same == (people < 2)


@torch.no_grad()
def test_levels_of_the_pyramid_are_laid_over_each_other_cell_by_cell_at_any_size():
    made = network().keypoints
    assert made is not None
    maps = torch.rand(1, 2, 3, 4)
    for level, size_hw in ((0, (3, 4)), (1, (5, 8)), (3, (20, 25))):
        found = heads._repeated(maps, level, size_hw)
        assert found.shape[2:] == size_hw
        for row in range(size_hw[0]):
            for column in range(size_hw[1]):
                assert torch.equal(found[..., row, column], maps[..., row >> level, column >> level])


@torch.no_grad()
def test_heads_answer_where_the_batch_has_what_they_read(samples: data.Samples):
    made, batch = network(), batch_of(samples, [0, 1])
    names = {
        "counted": {"heatmaps"}, "is_crowd": {"box_logit", "box_delta", "box_anchor"}, "joint_maps": {"residual"},
        "poses": {"activity"},
    }  # fmt: skip
    for left_out, outputs in names.items():
        found = made({name: value for name, value in batch.items() if name != left_out})
        assert set(found) == set.union(*names.values()) - outputs
    assert set(network(spec={"tasks": ["activity"]})(batch)) == {"activity"}
    assert network(spec={"tasks": ["activity"]}).backbone is None
    assert network(spec={"tasks": ["detector"]}, shared=False).backbone is None
    assert "intermediate" in made.train()(batch)


# --- joined ----------------------------------------------------------------------------------------------------------


def peaks_of(*points: tuple[int, float, float]) -> heatmaps.Peaks:
    values = torch.tensor(points).reshape(-1, 3)
    return heatmaps.Peaks(values[:, 0].long(), values[:, 1:], torch.linspace(0.9, 0.5, len(points)))


@torch.no_grad()
def test_a_peak_is_one_persons_and_joints_without_a_peak_lie_where_the_network_expects_them():
    made = network()
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        corner = torch.rand(4, 2, generator=draw) * 40
        boxes = torch.cat([corner, corner + 20 + 20 * torch.rand(4, 2, generator=draw)], dim=1)
        points = torch.cat(
            [torch.randint(0, 17, (30, 1), generator=draw).float(), 80 * torch.rand(30, 2, generator=draw)], dim=1
        )
        peaks = peaks_of(*[tuple(point) for point in points.tolist()])
        found = made.pose(boxes, peaks)
        assert found.shape == (4, 17, 3)
        used = [(joint, *found[row, joint].tolist()) for row in range(4) for joint in range(17) if found[row, joint, 2] > 0]
        assert len(set(used)) == len(used)
        known = {(joint, *place, score) for joint, place, score in zip(*(each.tolist() for each in peaks), strict=True)}
        assert set(used) <= known
        position = poses.to_grid(peaks.position_px[None].expand(4, -1, 2), boxes[:, None].expand(-1, 30, 4), (14, 9))
        inputs = poses.impulses(position, torch.ones(position.shape[:2], dtype=torch.bool), peaks.joint, 17, (14, 9))
        assert made.residual is not None
        expected = poses.from_grid(poses.strongest(made.residual(poses.blurred(inputs, 1.0))), boxes[:, None], (14, 9))
        missing = found[..., 2] == 0
        torch.testing.assert_close(found[..., :2][missing], expected[missing])
        for joint in range(17):  # a peak in somebody's box is left over only where everybody there has one
            for place in peaks.position_px[peaks.joint == joint]:
                if not any(entry[0] == joint and entry[1:3] == tuple(place.tolist()) for entry in used):
                    inside = ((place >= boxes[:, :2]) & (place < boxes[:, 2:])).all(1)
                    assert not (inside & missing[:, joint]).any()


@torch.no_grad()
def test_two_people_side_by_side_get_their_own_joints():
    made = network()
    assert made.residual is not None
    nn.init.zeros_(made.residual.layers[-2].weight)
    boxes = torch.tensor([[0.0, 0.0, 30.0, 60.0], [20.0, 0.0, 50.0, 60.0]])
    found = made.pose(boxes, peaks_of((0, 5.0, 6.0), (0, 45.0, 6.0), (3, 25.0, 30.0)))
    assert found[:, 0, :2].tolist() == [[5.0, 6.0], [45.0, 6.0]]
    assert (found[:, 3, 2] > 0).sum().item() == 1  # the one in both boxes is one person's
    assert made.pose(boxes[:0], peaks_of((0, 5.0, 6.0))).shape == (0, 17, 3)
    assert not made.pose(boxes, peaks_of())[..., 2].any()


@torch.no_grad()
def test_people_are_ordered_by_their_scores_of_box_and_joints():
    made = network()
    maps = torch.zeros(17, 16, 24)
    maps[:, 5, 15] = 0.8
    boxes = detector.Boxes(torch.tensor([[0.0, 0.0, 30.0, 60.0], [45.0, 0.0, 75.0, 60.0]]), torch.tensor([0.6, 0.5]))
    found = made.posed(maps, boxes)
    assert found.score.tolist() == pytest.approx([0.5 * 0.9, 0.6 * 0.5])
    assert found.box_xyxy_px[0, 0].item() == 45
    torch.testing.assert_close(found.activity.sum(1), torch.ones(2))


@torch.no_grad()
def test_averaged_maps_of_a_mirrored_image_are_the_mirrored_ones():
    made = lively()
    image = torch.from_numpy(np.stack(images(1))).permute(0, 3, 1, 2)
    swap = torch.tensor([*poses.swapped_sides(17), 17])
    for scales in ((1.0,), (0.5, 1.0, 1.5), (2.0,)):
        found, of_mirrored = (
            made.image_outputs(each, scales=scales, flip=True)["heatmaps"] for each in (image, image.flip(-1))
        )
        torch.testing.assert_close(of_mirrored, heatmaps.mirrored(found, swap), rtol=1e-4, atol=1e-5)
    plain = made.image_outputs(image)["heatmaps"]
    assert (made.image_outputs(image.flip(-1))["heatmaps"] - heatmaps.mirrored(plain, swap)).abs().max() > 1e-3


@torch.no_grad()
def test_keypoints_in_mirrored_boxes_of_a_mirrored_image_are_the_mirrored_ones():
    made = lively()
    assert made.residual is not None
    nn.init.zeros_(made.residual.layers[-2].weight)  # or it is no mirror's twin
    nn.init.zeros_(made.residual.layers[-2].bias)
    boxes = torch.tensor([[4.0, 4.0, 44.0, 60.0], [52.0, 4.0, 92.0, 60.0]])
    mirrored_boxes = torch.stack([96 - boxes[:, 2], boxes[:, 1], 96 - boxes[:, 0], boxes[:, 3]], dim=1)
    image = torch.from_numpy(np.stack(images(1))).permute(0, 3, 1, 2)
    found, other = (
        made.posed(made.image_outputs(each, flip=True)["heatmaps"][0, :17], detector.Boxes(of_image, torch.tensor([0.9, 0.1])))
        for each, of_image in ((image, boxes), (image.flip(-1), mirrored_boxes))
    )
    peaks = heatmaps.find_peaks(made.image_outputs(image, flip=True)["heatmaps"][0, :17], 4, threshold=0.1, window=5, most=10)
    inside = ((peaks.position_px >= boxes[:, None, :2]) & (peaks.position_px < boxes[:, None, 2:])).all(2)
    counts = functional.one_hot(peaks.joint, 17).T @ inside.T.long()  # of several peaks alike either may be the person's
    there = counts.T == 1
    assert there.sum() >= 4
    back = other.keypoints_px[:, poses.swapped_sides(17)]
    back[..., 0] = 96 - back[..., 0]
    torch.testing.assert_close(back[there], found.keypoints_px[there], rtol=1e-3, atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("size_hw", [(64, 96), (65, 97), (62, 90)])
def test_averaged_maps_have_their_peaks_where_the_plain_ones_have_them(
    size_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch
):
    """With a network that finds what is bright, the peak stays on its dot under every scale and mirrored."""
    made = network()

    def brightness(image: torch.Tensor, wants_keypoints: bool, wants_boxes: bool) -> dict[str, torch.Tensor]:
        maps = functional.avg_pool2d(
            functional.pad(image.mean(1, keepdim=True), (0, -image.shape[3] % 4, 0, -image.shape[2] % 4)), 4
        )
        outputs = {"heatmaps": maps.expand(-1, 18, -1, -1)}
        return outputs | ({"box_logit": maps.flatten(1)} if wants_boxes else {})

    monkeypatch.setattr(made, "_of_image", brightness)
    rows, columns = (torch.arange(size) + 0.5 for size in size_hw)
    for x, y in ((20.0, 20.0), (size_hw[1] - 10.0, size_hw[0] - 9.0)):
        image = (-((columns - x).square() + (rows[:, None] - y).square()) / 50).exp().expand(1, 3, -1, -1)
        for scales, flip in (((1.0,), True), ((0.5,), False), ((1.5,), False), ((0.5, 1.0, 2.0), True), ((0.7,), True)):
            maps = made.image_outputs(image, scales=scales, flip=flip)["heatmaps"][0, :1]
            found = heatmaps.find_peaks(maps, 4, threshold=0.2, window=5, most=1).position_px[0]
            assert (found - torch.tensor([x, y])).abs().max() < 1.5, (scales, flip)


def test_a_network_without_a_task_does_not_find_people():
    made = network(spec={"tasks": ["keypoints", "detector"]})
    with pytest.raises(ValueError, match="needs the tasks keypoints, detector and residual"):
        made.people(torch.zeros(1, 3, 64, 96))
    told = network(spec={"tasks": ["keypoints", "detector", "residual"]}, answer={"box_score": 0.001})
    (found,) = told.people(torch.zeros(1, 3, 64, 96))
    assert not found.activity.any()


# --- serving ---------------------------------------------------------------------------------------------------------


def same(first: model.FoundPeople, second: model.FoundPeople) -> None:
    for name, one, other in zip(model.FoundPeople._fields, first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


def test_people_are_the_same_whatever_other_images_there_are_and_of_whatever_sizes():
    made = lively()
    several = [*images(5), *images(2, (65, 97), 1), *images(1, (40, 33), 2)]
    together = serving.find_people(made, STATISTICS, [several[row] for row in (0, 5, 1, 7, 2, 6, 3, 4)])
    assert sum(len(found.score) for found in together) > 8
    assert any((found.keypoints_px[..., 2] > 0).any() for found in together)
    for row, found in zip((0, 5, 1, 7, 2, 6, 3, 4), together, strict=True):
        same(serving.find_people(made, STATISTICS, [several[row]])[0], found)
    assert serving.find_people(made, STATISTICS, []) == []


def test_images_go_through_the_network_in_parts_of_bounded_size(monkeypatch: pytest.MonkeyPatch):
    made, seen = lively(), []
    monkeypatch.setattr(serving, "PIXELS_AT_ONCE", 2 * 64 * 96 + 5)
    expected = serving.find_people(made, STATISTICS, images(5))
    people = made.people
    monkeypatch.setattr(made, "people", lambda batch, **options: seen.append(tuple(batch.shape)) or people(batch, **options))
    for one, other in zip(serving.find_people(made, STATISTICS, images(5)), expected, strict=True):
        same(one, other)
    assert seen == [(2, 3, 64, 96), (2, 3, 64, 96), (1, 3, 64, 96)]


@pytest.mark.parametrize("size_hw", [(65, 97), (33, 64), (1, 1), (1, 200), (150, 70)])
def test_shapes_are_those_promised_at_any_size_and_rows_of_nobody_are_zero(size_hw: tuple[int, int]):
    made = lively()
    given = np.stack(images(2, size_hw))
    inputs, promised = serving.shapes(made, SPEC)
    assert inputs == {"image": (-1, -1, -1, 3)}
    found = serving.predict(made, STATISTICS, {"image": given})
    assert {name: (-1, *values.shape[1:]) for name, values in found.items()} == promised
    assert all(len(values) == 2 and np.isfinite(values).all() and values.dtype == np.float32 for values in found.values())
    for row, person_found in enumerate(serving.find_people(made, STATISTICS, list(given))):
        count = len(person_found.score)
        assert (np.diff(found["scores"][row]) <= 0).all()
        for values in found.values():
            assert not values[row, count:].any()
        boxes = found["boxes"][row]
        assert boxes.min() >= 0
        assert (boxes[:, 2:] <= [size_hw[1] + 1e-3, size_hw[0] + 1e-3]).all()
        np.testing.assert_allclose(found["activities"][row, :count].sum(1), 1, rtol=1e-4)
    assert serving.predict(made, STATISTICS, {"image": given[:0]})["boxes"].shape == (0, 5, 4)


@pytest.mark.parametrize("size_hw", [(256, 384), (250, 301), (1500, 10)])
def test_people_of_a_reduced_image_are_in_its_own_pixels(size_hw: tuple[int, int]):
    made = lively()
    (image,) = images(1, size_hw)
    reduced = serving.reduce(image, 128)
    assert max(reduced.shape[1:]) == 128
    (found,) = serving.find_people(made, STATISTICS, [image])
    (small,) = serving.find_people(made, STATISTICS, [reduced.permute(1, 2, 0).numpy()])
    factor = torch.tensor([size_hw[1] / reduced.shape[2], size_hw[0] / reduced.shape[1]])
    torch.testing.assert_close(found.box_xyxy_px, small.box_xyxy_px * factor.repeat(2))
    torch.testing.assert_close(found.keypoints_px[..., :2], small.keypoints_px[..., :2] * factor)
    torch.testing.assert_close(found.keypoints_px[..., 2], small.keypoints_px[..., 2])
    assert (found.box_xyxy_px <= torch.tensor([*size_hw[::-1], *size_hw[::-1]]) + 1e-2).all()


def test_the_people_of_a_picture_are_annotations_of_cocos_format():
    made = lively()
    picture = np.round(255 * images(1, (250, 301))[0]).astype(np.uint8)
    answer = serving.people(made, STATISTICS, picture)
    (found,) = serving.find_people(made, STATISTICS, [picture.astype(np.float32) / 255])
    assert len(answer) == len(found.score) > 0
    for row, annotation in enumerate(answer):
        keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
        is_found = (found.keypoints_px[row, :, 2] > 0).numpy()
        assert annotation["num_keypoints"] == is_found.sum()
        np.testing.assert_allclose(keypoints[is_found, :2], found.keypoints_px[row, is_found, :2].numpy(), atol=0.006)
        assert set(keypoints[is_found, 2]) <= {2}
        assert not keypoints[~is_found].any()
        left, top, width, height = annotation["bbox"]
        assert [left, top, left + width, top + height] == pytest.approx(found.box_xyxy_px[row].tolist(), abs=0.02)
        assert annotation["area"] == pytest.approx(width * height, rel=1e-3)
        assert annotation["activity"] == max(annotation["activities"], key=lambda name: annotation["activities"][name])
        assert sum(annotation["activities"].values()) == pytest.approx(1, abs=1e-3)


def test_an_image_is_reduced_by_the_mean_of_its_pixels_and_a_small_one_not_at_all():
    (image,) = images(1, (64, 96))
    blocks = image.reshape(32, 2, 48, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(serving.reduce(image, 48).numpy(), blocks, atol=1e-6)
    for side in (None, 96):
        assert serving.reduce(image, side).shape == (3, 64, 96)


HUGE = """
import resource, sys
import numpy as np, torch
from scene_stores import MODEL_BLOCK, TASKS
from people.records import ACTIVITIES
from people.systems.multipose import model, serving
spec = {"tasks": TASKS, "joints": 17, "activities": ACTIVITIES, "aspect": "kept", "grid_hw": [14, 9]}
answer = {**MODEL_BLOCK["answer"], "side_px": 1024}
network = model.Network(model.Config(**{**MODEL_BLOCK, "answer": answer}), spec)
statistics = {"mean": torch.zeros(3, 1, 1), "std": torch.ones(3, 1, 1)}
image = np.zeros((6000, 8000, 3), np.float32)
image += 0.5
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
serving.find_people(network, statistics, [image])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


def test_an_image_of_48_megapixels_takes_bounded_memory(root: Path):
    environment = {"PYTHONPATH": f"{root}:{root / 'tests' / 'support'}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [sys.executable, "-c", HUGE], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert float(run.stdout) < 1.5  # GiB besides the image's own 0.5


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "key"), [
    ({"backbone": "vgg"}, "backbone"), ({"width": 0}, "width"), ({"weights": "imagenet"}, "weights"),
    ({"batch_norm": "none"}, "batch_norm"), ({"norm": "layer"}, "norm"), ({"anchors_px": [32, 64]}, "anchors_px"),
    ({"anchors_px": [0, 1, 2, 3, 4]}, "anchors_px"), ({"channels": 12}, "channels"),
    ({"channels": 0}, "channels"), ({"subnet_channels": 4}, "subnet_channels"),
    ({"smooth_channels": 0}, "smooth_channels"), ({"norm": "none", "channels": 4}, "channels"),
    ({"residual": {"hidden": 0}}, "residual.hidden"), ({"residual": {"dropout": 1.0}}, "residual.dropout"),
    ({"residual": {"softmax": "none"}}, "residual.softmax"), ({"activity": {"hidden": []}}, "activity.hidden"),
    ({"activity": {"hidden": [0]}}, "activity.hidden"), ({"activity": {"dropout": -0.1}}, "activity.dropout"),
    ({"answer": {"box_score": 0.0}}, "answer.box_score"), ({"answer": {"box_iou": 1.0}}, "answer.box_iou"),
    ({"answer": {"people": 0}}, "answer.people"), ({"answer": {"peak": 1.0}}, "answer.peak"),
    ({"answer": {"peak_window": 4}}, "answer.peak_window"), ({"answer": {"peak_window": -1}}, "answer.peak_window"),
    ({"answer": {"window": 0}}, "answer.window"), ({"answer": {"window": -3}}, "answer.window"),
    ({"answer": {"side_px": 31}}, "answer.side_px"),
])  # fmt: skip
def test_every_rule_of_the_model_names_its_key(changes: dict[str, Any], key: str):
    with pytest.raises(ValueError, match=rf"multipose\.model\.{re.escape(key)} must be "):
        model.Config(**changed(MODEL_BLOCK, changes))


@pytest.mark.parametrize(("changes", "message"), [
    ({"lambda": {"gait": 1.0}}, "must give keypoints, detector, residual, activity a weight"),
    ({"lambda": dict.fromkeys(HEADS, 0.0)}, "one of them above 0"), ({"lambda": {"keypoints": -1.0}}, "a weight >= 0"),
    ({"sigma_px": 0}, r"multipose\.objective\.sigma_px must be"), ({"box": -1}, r"multipose\.objective\.box must be"),
    ({"focal": {"alpha": 1.0}}, r"objective\.focal must be"), ({"focal": {"beta": 1.0}}, r"objective\.focal must be"),
    ({"focal": {"gamma": -1.0}}, r"objective\.focal must be"), ({"margin": 1}, "got besides .*margin"),
    ({"emphasis": -1}, r"multipose\.objective\.emphasis must be"),
])  # fmt: skip
def test_every_rule_of_the_objective_names_its_key(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        objective.Config(**changed(OBJECTIVE_BLOCK, changes))
