"""Backbones of detectors: sizes of their maps, frozen BatchNorm, torchvision's weights in a network against its own trunks."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from scene_stores import DATA_BLOCK, MODEL_BLOCK, TASKS
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from people.nn import pretrained
from people.records import ACTIVITIES
from people.systems.multipose import model
from people.systems.multipose.model import backbones
from people.systems.multipose.model.backbones import Backbone

STAGES = {  # of torchvision's networks: the layers whose maps are C2 to C5
    "resnet18": ("layer1", "layer2", "layer3", "layer4"),
    "resnet50": ("layer1", "layer2", "layer3", "layer4"),
    "mobilenet_v2": ("features.3", "features.6", "features.13", "features.17"),
}


def network(**changes: Any) -> model.Network:
    spec = {"tasks": TASKS, "joints": 17, "activities": ACTIVITIES, "aspect": "kept", "grid_hw": DATA_BLOCK["grid_hw"]}
    return model.Network(model.Config(**MODEL_BLOCK | changes), spec)


def weights_of(made: nn.Module, folder: Path) -> Path:
    """A file of these weights, named as torchvision's."""
    return saved(made.state_dict(), folder)


def saved(arrays: dict[str, torch.Tensor], folder: Path) -> Path:
    """A file of these arrays, named as torchvision's."""
    torch.save(arrays, folder / "weights.pth")
    digits = hashlib.sha256((folder / "weights.pth").read_bytes()).hexdigest()[:8]
    return (folder / "weights.pth").rename(folder / f"weights-{digits}.pth")


@pytest.mark.parametrize("size_hw", [(64, 96), (65, 97), (33, 1)])
@pytest.mark.parametrize("name", backbones.NAMES)
@torch.no_grad()
def test_maps_are_at_strides_4_to_32_rounded_up(name: str, size_hw: tuple[int, int]):
    made = Backbone(name, 0.125, frozen=False).eval()
    maps = made(torch.zeros(1, 3, *size_hw))
    sizes = [(-(-size_hw[0] // stride), -(-size_hw[1] // stride)) for stride in backbones.STRIDES]
    assert [tuple(each.shape[2:]) for each in maps] == sizes
    assert [each.shape[1] for each in maps] == list(made.channels)


@pytest.mark.parametrize(("name", "channels"), [
    ("resnet18", (64, 128, 256, 512)), ("resnet50", (256, 512, 1024, 2048)), ("mobilenet_v2", (24, 32, 96, 320)),
])  # fmt: skip
def test_of_width_1_channels_are_the_published_ones(name: str, channels: tuple[int, ...]):
    assert tuple(Backbone(name, 1, frozen=False).channels) == channels


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_norm_keeps_its_statistics_in_training_mode_too(name: str, frozen: bool):
    image = 3 + torch.rand(2, 3, 32, 32)
    made = Backbone(name, 0.125, frozen=frozen)
    parent = nn.Sequential(made)
    for prepare in (lambda: None, parent.train, lambda: parent.eval().train()):
        prepare()
        before = {key: value.clone() for key, value in made.state_dict().items() if "running" in key or "tracked" in key}
        maps = made(image)
        assert all(torch.equal(made.state_dict()[key], value) for key, value in before.items()) == frozen
        assert made.training
        assert maps[-1].requires_grad
    assert all(layer.training != frozen for layer in made.modules() if isinstance(layer, nn.BatchNorm2d))


@pytest.mark.parametrize("name", list(STAGES))
@torch.no_grad()
def test_torchvisions_weights_give_the_maps_of_its_own_trunk(name: str, tmp_path: Path):
    torch.manual_seed(0)
    whole: Any = getattr(torchvision.models, name)()
    for layer in whole.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as of a trained network
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    made = network(backbone=name, width=1, weights=str(weights_of(whole, tmp_path)), shared=False, batch_norm="frozen")
    assert made.backbone is not None
    assert made.detector is not None
    assert made.detector.backbone is not None
    pretrained.load(made)
    image = torch.rand(2, 3, 65, 97)
    expected = create_feature_extractor(whole.eval(), {layer: layer for layer in STAGES[name]})(image)
    for trunk in (made.train().backbone, made.detector.backbone):
        for maps, layer in zip(trunk(image), STAGES[name], strict=True):
            torch.testing.assert_close(maps, expected[layer], rtol=1e-4, atol=1e-4)


def test_a_shared_trunk_is_loaded_once_and_one_of_another_name_is_refused(tmp_path: Path):
    file = str(weights_of(torchvision.models.resnet18(), tmp_path))
    assert list(network(width=1, weights=file).pretrained()) == ["backbone.trunk"]
    assert network().pretrained() == {}
    with pytest.raises(ValueError, match="backbone: resnet34 with width: 1 takes torchvision's ResNet34_Weights"):
        pretrained.load(network(backbone="resnet34", width=1, weights=file))


def test_arrays_under_other_names_are_taken_in_their_order_if_every_shape_is_the_modules(tmp_path: Path):
    whole = torchvision.models.mobilenet_v2()
    renamed = {f"layer{number}": array for number, array in enumerate(whole.features.state_dict().values())}
    made = network(backbone="mobilenet_v2", width=1, weights=str(saved(renamed, tmp_path)))
    pretrained.load(made)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(made.eval().backbone(image)[3], whole.eval().features[:18](image))
    swapped = dict(sorted(renamed.items()))  # layer0, layer1, layer10, ...
    with pytest.raises(ValueError, match="does not fit"):
        pretrained.load(network(backbone="mobilenet_v2", width=1, weights=str(saved(swapped, tmp_path))))


def test_trained_weights_need_the_width_1():
    with pytest.raises(ValueError, match=r"multipose\.model\.weights must be empty unless width is 1"):
        model.Config(**MODEL_BLOCK | {"weights": "imagenet"})
    assert backbones.pretrained("resnet50", backbones.IMAGENET).file == ""
