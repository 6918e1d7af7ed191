"""The network of reid: torchvision's ResNet-18 with two strides changed, three kinds of heads, all sets of tasks."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import resnet18

from people.nn.pretrained import load
from people.nn.resnet import ResNetTrunk
from people.records import ATTRIBUTES
from people.systems.reid.model import TYPES, Config, Network, map_size_hw

PUBLISHED = Config(
    type="resnet",
    widths=(64, 128, 256, 512),
    blocks=(2, 2, 2, 2),
    weights="",
    hidden=512,
    embedding=128,
    head_channels=16,
    heads=2,
)
TINY = replace(PUBLISHED, widths=(4, 6, 8, 10), blocks=(1, 2, 1, 1), hidden=10, embedding=5, head_channels=2)
SPEC = {
    "subjects": ["0002", "0007"],
    "size_hw": [32, 16],
    "attributes": {name: list(classes) for name, classes in ATTRIBUTES.items()},
    "tasks": ["identity", "attributes"],
}
SETS_OF_TASKS = [
    ("identity",),
    ("attributes",),
    ("identity", "attributes"),
    ("attributes", "junk"),
    ("identity", "junk"),
    ("identity", "attributes", "junk"),
]


def network(config: Config, seed: int = 0, **spec: Any) -> Network:
    torch.manual_seed(seed)
    return Network(config, SPEC | spec)


def images(count: int = 5, size_hw: tuple[int, int] = (32, 16), seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, *size_hw, generator=torch.Generator().manual_seed(seed))


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def by_torchvision() -> torch.nn.Module:
    torch.manual_seed(3)
    resnet = resnet18(weights=None)
    resnet.conv1.stride, resnet.maxpool.stride, resnet.fc = (2, 1), (1, 1), torch.nn.Identity()
    return resnet.eval()


def test_at_published_size_the_trunk_is_torchvision_s_resnet18_with_two_strides_changed():
    expected, trunk = by_torchvision(), ResNetTrunk(PUBLISHED.widths, PUBLISHED.blocks).eval()
    trunk.load_state_dict(expected.state_dict())
    photos = images(2, (128, 64))
    with torch.no_grad():
        maps = trunk(photos)
        torch.testing.assert_close(maps[-1].mean((2, 3)), expected(photos), rtol=1e-5, atol=1e-5)
    assert maps[2].shape == (2, 256, 16, 16)


@pytest.mark.parametrize("size_hw", [(128, 64), (64, 32), (32, 16), (50, 21)])
def test_the_maps_of_the_third_stage_have_the_expected_size(size_hw: tuple[int, int]):
    maps = ResNetTrunk(TINY.widths, TINY.blocks).eval()(images(1, size_hw))
    assert tuple(maps[2].shape[2:]) == map_size_hw(size_hw)


def test_published_layers_have_the_published_numbers_of_parameters():
    trunk = 11_689_512 - (512 * 1000 + 1000)  # torchvision's ResNet-18 without its classifier
    logits = 4 + 9 + 9 + 10  # age, nine attributes of one logit each, two colours
    attributes, embedding = 512 * logits + logits, 512 * 128 + 128
    resnet = trunk + (512 * 512 + 512) + 2 * 512 + embedding + attributes
    assert parameters(network(PUBLISHED, size_hw=[128, 64])) == resnet
    convolutions, flat = 12 * (256 * 16 * 9 + 2 * 16), 16 * 16 * 16
    conv_head = trunk + convolutions + flat * logits + logits + embedding
    assert parameters(network(replace(PUBLISHED, type="conv_head"), size_hw=[128, 64])) == conv_head
    tokens, attention = 12 * flat * 512, 4 * (512 * 512 + 512) + 2 * 512
    self_attention = trunk + convolutions + tokens + attention + attributes + embedding
    assert parameters(network(replace(PUBLISHED, type="self_attention"), size_hw=[128, 64])) == self_attention


@pytest.mark.parametrize("tasks", SETS_OF_TASKS)
@pytest.mark.parametrize("kind", TYPES)
def test_the_outputs_are_those_of_the_tasks_and_depend_on_every_parameter(kind: str, tasks: tuple[str, ...]):
    tested = network(replace(TINY, type=kind), tasks=tasks).train()
    outputs = tested({"image": images()})
    shapes = {"embedding": (5, 5)} if "identity" in tasks else {}
    shapes |= {name: (5, len(classes)) for name, classes in ATTRIBUTES.items()} if "attributes" in tasks else {}
    shapes |= {"person": (5, 2)} if "junk" in tasks else {}
    assert {name: tuple(value.shape) for name, value in outputs.items()} == shapes
    sum((value * torch.randn_like(value)).sum() for value in outputs.values()).backward()
    assert [name for name, parameter in tested.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("kind", TYPES)
def test_a_photo_s_outputs_do_not_depend_on_the_photos_beside_it(kind: str):
    tested = network(replace(TINY, type=kind), tasks=("identity", "attributes", "junk")).eval()
    photos = images()
    with torch.no_grad():
        together, single = tested({"image": photos}), [tested({"image": photo[None]}) for photo in photos]
    for name, value in together.items():
        torch.testing.assert_close(value, torch.cat([outputs[name] for outputs in single]), rtol=1e-4, atol=1e-5)


def test_an_attribute_of_two_classes_has_one_logit_against_zero():
    tested = network(TINY).eval()
    outputs = tested({"image": images()})
    assert tested.attributes["hat"].out_features == 1
    assert (outputs["hat"][:, 0] == 0).all()
    torch.testing.assert_close(outputs["hat"].softmax(1)[:, 1], outputs["hat"][:, 1].sigmoid())
    assert tested.attributes["upper_colour"].out_features == 9


def test_convolutional_heads_are_one_convolution_for_each_attribute():
    tested = network(replace(TINY, type="conv_head")).eval()
    maps, heads = torch.randn(3, 8, 4, 4), tested.convolutions
    assert heads is not None
    together = heads(maps)
    for number in range(12):
        channels = slice(2 * number, 2 * number + 2)
        convolved = torch.nn.functional.conv2d(maps, heads.convolution.weight[channels], padding=1)
        scale = heads.norm.weight[channels] / (heads.norm.running_var[channels] + heads.norm.eps).sqrt()
        expected = torch.nn.functional.leaky_relu(
            convolved * scale[:, None, None] + heads.norm.bias[channels, None, None], 0.01
        )
        torch.testing.assert_close(together[:, number], expected.flatten(1), rtol=1e-4, atol=1e-5)


def test_self_attention_is_the_softmax_of_products_head_by_head_without_a_residual():
    tested = network(replace(TINY, type="self_attention")).eval().attention
    assert tested is not None
    assert tested.tokens is not None
    features, v = torch.randn(2, 12, tested.tokens.weight.shape[1]), torch.randn(2, 10)
    tokens = torch.cat([torch.einsum("saf,afc->sac", features, tested.tokens.weight), v[:, None]], dim=1)  # 12 and v
    query, key, value = torch.nn.functional.linear(
        tokens, tested.attention.in_proj_weight, tested.attention.in_proj_bias
    ).chunk(3, 2)
    heads = []
    for part in (slice(0, 5), slice(5, 10)):
        weights = (query[..., part] @ key[..., part].mT / 5**0.5).softmax(2)
        heads.append(weights @ value[..., part])
    expected = tested.norm(tested.attention.out_proj(torch.cat(heads, dim=2)))
    torch.testing.assert_close(tested(features, v), expected, rtol=1e-4, atol=1e-5)


def test_a_single_photo_is_refused_in_training_only():
    tested = network(TINY)
    with pytest.raises(ValueError, match="needs two samples, got 1"):
        tested.train()({"image": images(1)})
    assert tested.eval()({"image": images(1)})["embedding"].shape == (1, 5)


# --- ImageNet's weights


def saved(folder: Path, module: torch.nn.Module) -> Path:
    torch.save(module.state_dict(), folder / "weights.pth")
    digest = hashlib.sha256((folder / "weights.pth").read_bytes()).hexdigest()
    return (folder / "weights.pth").rename(folder / f"resnet18-{digest[:8]}.pth")


def test_weights_in_torchvision_s_format_are_loaded_into_the_trunk(tmp_path: Path):
    source = by_torchvision()
    source.fc = torch.nn.Linear(512, 1000)  # the file has a classifier, which is not loaded
    tested = network(replace(PUBLISHED, weights=str(saved(tmp_path, source))))
    load(tested)
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in tested.trunk.state_dict().items())


def test_weights_of_an_early_release_without_batch_counts_are_loaded_too(tmp_path: Path):
    source = by_torchvision()
    early = {name: value for name, value in source.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(early, tmp_path / "early.pth")
    digest = hashlib.sha256((tmp_path / "early.pth").read_bytes()).hexdigest()
    file = (tmp_path / "early.pth").rename(tmp_path / f"resnet18-{digest[:8]}.pth")
    tested = network(replace(PUBLISHED, weights=str(file)))
    load(tested)
    assert all(torch.equal(tested.trunk.state_dict()[name], early[name]) for name in early if not name.startswith("fc."))


def test_weights_that_are_missing_or_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"hub/checkpoints/resnet18-f37072fd\.pth is no file: expected .*put the file there"):
        load(network(replace(PUBLISHED, weights="imagenet")))
    small = replace(TINY, weights=str(saved(tmp_path, by_torchvision())))
    with pytest.raises(ValueError, match=r"does not fit: .*reid\.model has widths \[4, 6, 8, 10\]"):
        load(network(small))


def test_a_network_without_weights_keeps_its_random_ones():
    tested, before = network(TINY, seed=1), network(TINY, seed=1).state_dict()
    load(tested)
    assert all(torch.equal(value, before[name]) for name, value in tested.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "vit"}, "type must be one of resnet, conv_head, self_attention, got 'vit'"),
        ({"widths": (4, 8)}, r"widths must be 4 numbers >= 1, got \[4, 8\]"),
        ({"blocks": (1, 1, 1, 0)}, "blocks must be 4 numbers"),
        ({"embedding": 0}, "embedding must be at least 1"),
        ({"type": "conv_head", "hidden": 12}, "hidden must be 10, the last of widths"),
        ({"type": "self_attention", "heads": 3}, "heads must divide hidden, 10, got 3"),
    ],
)
def test_an_invalid_network_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)
