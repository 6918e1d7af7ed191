"""The network of GaitTAKE: its size, its layers, and that padding and batch mates do not influence the result."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from people.systems.gaittake.model import Config, Network

GAITGL = Config(
    channels=(32, 64, 128, 128),
    temporal_aggregation=True,
    glconv=True,
    parts=8,
    attention=False,
    clip_frames=10,
    attention_channels=256,
    keypoint_strips=1,
    gem=True,
    batch_norm=True,
    start="per_strip",
)
TINY = replace(GAITGL, channels=(3, 4, 5), parts=2, attention=True, clip_frames=4, attention_channels=6, keypoint_strips=2)
TASKS = ["weighted", "batch_all", "cross_entropy"]
SPEC = {"size_hw": (8, 6), "subjects": ["001", "002", "003"], "keypoints": True, "tasks": TASKS}
PUBLISHED = {"size_hw": (64, 44), "subjects": list(range(74)), "keypoints": False, "tasks": TASKS}
VARIANTS = {
    "all": (TINY, {}),
    "every frame": (replace(TINY, temporal_aggregation=False), {}),
    "maximum over time": (replace(TINY, attention=False), {}),
    "maximum over time of every frame": (replace(TINY, attention=False, temporal_aggregation=False), {}),
    "silhouettes only": (TINY, {"keypoints": False}),
    "without GLConv": (replace(TINY, glconv=False), {}),
    "without GeM": (replace(TINY, gem=False), {}),
    "without normalisation and classifier": (replace(TINY, batch_norm=False), {"tasks": TASKS[:2]}),
    "deeper": (replace(TINY, channels=(3, 4, 4, 5, 5, 6)), {}),
}


def network(config: Config, spec: Mapping[str, Any] | None = None, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(config, SPEC | dict(spec or {}))


def batch(lengths: list[int], frames: int | None = None, seed: int = 0) -> dict[str, Tensor]:
    """Samples of these lengths, padded with noise, not zeros: padding must have no influence."""
    generator = torch.Generator().manual_seed(seed)
    frames = frames or max(lengths)
    return {
        "silhouette": torch.rand(len(lengths), frames, 8, 6, generator=generator),
        "keypoints": torch.rand(len(lengths), frames, 17, 3, generator=generator) * 2 - 1,
        "length": torch.tensor(lengths),
    }


def single(together: dict[str, Tensor], sample: int) -> dict[str, Tensor]:
    length = int(together["length"][sample])
    inputs = {name: together[name][sample : sample + 1, :length] for name in ("silhouette", "keypoints")}
    return {**inputs, "length": together["length"][sample : sample + 1]}


def test_gaitgl_has_the_published_number_of_parameters():
    gaitgl = Network(GAITGL, PUBLISHED)
    heads = (gaitgl.pooling, gaitgl.embedding, gaitgl.norm, gaitgl.classifier)
    in_heads = sum(p.numel() for head in heads if head is not None for p in head.parameters())
    assert in_heads == 1_655_041
    assert sum(p.numel() for p in gaitgl.parameters()) - in_heads == 1_441_632


def spread(weight: Tensor) -> float:
    """Half the width of the uniform distribution of many draws."""
    return weight.abs().max().item()


def test_the_published_start_has_the_fans_of_the_whole_tensor_and_per_strip_those_of_a_strip():
    gaitgl = {start: network(replace(GAITGL, start=start), PUBLISHED) for start in ("published", "per_strip")}
    strips, channels = 64, 128
    for layer, out in (("embedding", 128), ("classifier", 74)):
        published, per_strip = (getattr(gaitgl[start], layer).weight for start in ("published", "per_strip"))
        assert published.shape == (strips, channels, out)
        assert spread(published) == pytest.approx((6 / (channels * out + strips * out)) ** 0.5, rel=1e-3)
        assert spread(per_strip) == pytest.approx((6 / (channels + out)) ** 0.5, rel=1e-3)
        assert 8 < spread(per_strip) / spread(published) < 10
    aggregation, norm = gaitgl["published"].aggregation, gaitgl["published"].norm
    assert aggregation is not None
    assert norm is not None
    assert spread(aggregation.aggregate.weight) == pytest.approx((6 / (32 * 3 + 32 * 3)) ** 0.5, rel=1e-2)  # as its neighbours
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.3)
    assert norm.bias.tolist() == [0.0] * 128
    for name, weight in gaitgl["published"].layers.named_parameters():
        assert torch.equal(weight, gaitgl["per_strip"].layers.get_parameter(name)), name


def test_the_published_start_changes_neither_attention_nor_keypoints():
    published, per_strip = (network(replace(TINY, start=start)) for start in ("published", "per_strip"))
    changed = {name for name, weight in published.named_parameters() if not torch.equal(weight, per_strip.get_parameter(name))}
    assert changed == {"embedding.weight", "classifier.weight", "aggregation.aggregate.weight", "norm.weight"}


def test_the_published_sizes_of_the_maps():
    gaitgl = Network(GAITGL, PUBLISHED).eval()
    shown = {"silhouette": torch.rand(1, 30, 64, 44), "length": torch.tensor([30])}
    with torch.no_grad():
        maps, length = gaitgl.maps(shown["silhouette"], shown["length"], ragged=False)
        outputs = gaitgl(shown)
    assert (maps.shape, length.tolist()) == ((1, 128, 64, 10, 22), [10])
    assert outputs["embedding"].shape == (1, 64, 128)
    assert outputs["logits"].shape == (1, 64, 74)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_result_depends_neither_on_batch_mates_nor_on_padding(variant: str):
    tested = network(*VARIANTS[variant]).eval()
    together = batch([12, 11, 7, 5, 4, 3, 2, 1])
    with torch.no_grad():
        outputs = tested(together)
        for sample in range(8):
            for name, value in tested(single(together, sample)).items():
                torch.testing.assert_close(value[0], outputs[name][sample], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_gets_a_gradient(variant: str):
    trained = network(*VARIANTS[variant])
    outputs = trained(batch([12, 12, 5, 9]))
    sum((value * torch.randn_like(value)).sum() for value in outputs.values()).backward()
    assert [name for name, p in trained.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_gives_nearly_the_same_embedding_and_gradient(variant: str):
    trained, shown = network(*VARIANTS[variant]).eval(), batch([12, 12, 5, 9])
    results = []
    for enabled in (False, True):
        trained.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            embedding = trained(shown)["embedding"]
        embedding.square().sum().backward()
        results.append([embedding.detach(), *(p.grad for name, p in trained.named_parameters() if "classifier" not in name)])
    for exact, rounded in zip(*results, strict=True):
        assert (rounded - exact).norm() < 0.2 * exact.norm()


@pytest.mark.parametrize(("length", "repeated"), [(1, [0, 0, 0]), (2, [0, 1, 0, 1])])
def test_one_frame_is_shown_three_times_and_two_frames_twice(length: int, repeated: list[int]):
    aggregating, short = network(TINY).eval(), batch([length])
    longer = {name: short[name][:, repeated] for name in ("silhouette", "keypoints")}
    with torch.no_grad():
        shown = aggregating({**longer, "length": torch.tensor([len(repeated)])})["embedding"]
        torch.testing.assert_close(aggregating(short)["embedding"], shown)


def test_the_order_of_frames_matters_to_convolutions_over_time():
    plain, shown = network(TINY).eval(), batch([12])
    reversed_ = {**shown, "silhouette": shown["silhouette"].flip(1)}
    assert not torch.allclose(plain(shown)["embedding"], plain(reversed_)["embedding"], rtol=1e-3)


def test_poses_change_their_own_strips_only():
    both, shown = network(replace(TINY, batch_norm=False)).eval(), batch([12])
    shifted = {**shown, "keypoints": shown["keypoints"] + 0.5}
    before, after = both(shown)["embedding"], both(shifted)["embedding"]
    assert torch.equal(before[:, :-2], after[:, :-2])
    assert not torch.allclose(before[:, -2:], after[:, -2:])


def test_all_strips_share_the_statistics_of_a_channel():
    trained = network(TINY).train()
    embedding = trained(batch([12, 12, 12, 9]))["embedding"]
    torch.testing.assert_close(embedding.mean((0, 1)), torch.zeros(5), rtol=0, atol=1e-5)
    assert isinstance(trained.norm, nn.BatchNorm1d)
    assert trained.norm.num_features == 5


def test_a_sequence_without_frames_is_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        network(TINY)(batch([4, 0], frames=4))


@pytest.mark.parametrize(
    ("changes", "spec", "words"),
    [
        ({"parts": 3}, {}, "must divide 4"),
        ({}, {"size_hw": (9, 6)}, "even height"),
        ({}, {"size_hw": (8, 4)}, "6 columns"),
        ({"channels": (4, 8)}, {}, "GLConvB"),
        ({"clip_frames": 0}, {}, "clip_frames must be at least 1"),
        ({"start": "xavier"}, {}, "start must be one of published, per_strip, got 'xavier'"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, spec: dict, words: str):
    with pytest.raises(ValueError, match=words):
        Network(replace(TINY, **changes), {**SPEC, **spec})
