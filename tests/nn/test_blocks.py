"""Blocks of networks against naive loops with equal weights."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from people.nn import blocks


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def naive_convolution(maps: Tensor, weight: Tensor) -> Tensor:
    """3x3x3 with zeros around, tap by tap."""
    padded = functional.pad(maps, (1, 1, 1, 1, 1, 1))
    height, frame, width = maps.shape[2:]
    out = torch.zeros(len(maps), len(weight), height, frame, width)
    for i in range(3):
        for j in range(3):
            for k in range(3):
                shifted = padded[:, :, i : i + height, j : j + frame, k : k + width]
                out += torch.einsum("nchtw,oc->nohtw", shifted, weight[:, :, i, j, k])
    return out


def naive_local(maps: Tensor, weight: Tensor, parts: int) -> Tensor:
    return torch.cat([naive_convolution(strip, weight) for strip in maps.chunk(parts, 2)], 2)


def leaky(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, 0.01 * values)


def naive_weights(attention: blocks.TemporalAttention, features: Tensor) -> Tensor:
    """The weights of one sample's frames, (frame, channel), clip by clip."""
    frames, size = len(features), attention.clip_frames
    weights = torch.zeros(frames)
    clips = [list(range(size * i, size * (i + 1))) for i in range(frames // size)] or [[t % frames for t in range(size)]]
    for clip in clips:
        hidden = functional.conv1d(features[clip].T[None], attention.first.weight, attention.first.bias, padding=1)
        scores = functional.conv1d(hidden.clamp(min=0), attention.second.weight, padding=1)[0, 0]
        for frame, weight in zip(clip, scores.exp() / scores.exp().sum(), strict=True):
            weights[frame] += weight / len(clips)
    return weights


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("height", "parts"), [(8, 1), (8, 2), (8, 4), (6, 6)])
def test_glconv_a_is_leaky_global_plus_leaky_local_of_each_strip(layout: torch.memory_format, height: int, parts: int):
    layer = blocks.GLConv(3, 5, parts=parts, join="sum")
    maps = random(2, 3, height, 4, 5)
    expected = leaky(naive_convolution(maps, layer.global_convolution.weight)) + leaky(
        naive_local(maps, layer.local_convolution.weight, parts)
    )
    torch.testing.assert_close(layer(maps.contiguous(memory_format=layout)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_glconv_b_puts_the_local_map_below_the_global_one(frames: int):
    layer = blocks.GLConv(3, 5, parts=2, join="height")
    maps = random(2, 3, 4, frames, 5)
    both = [naive_convolution(maps, layer.global_convolution.weight), naive_local(maps, layer.local_convolution.weight, 2)]
    torch.testing.assert_close(layer(maps), leaky(torch.cat(both, 2)), rtol=1e-5, atol=1e-5)


def test_a_strip_does_not_depend_on_the_others():
    layer, maps = blocks.GLConv(2, 2, parts=2, join="height"), random(1, 2, 8, 3, 5)
    changed = maps.clone()
    changed[:, :, 4:] += 1
    before, after = layer(maps)[:, :, 8:], layer(changed)[:, :, 8:]
    assert torch.equal(before[:, :, :4], after[:, :, :4])
    assert not torch.equal(before[:, :, 4:], after[:, :, 4:])


def test_split_strips_copies_nothing_and_join_strips_is_its_inverse():
    maps = random(2, 3, 8, 4, 5).contiguous(memory_format=torch.channels_last_3d)
    strips = blocks.split_strips(maps, 4)
    assert strips.data_ptr() == maps.data_ptr()
    assert torch.equal(strips[5], maps[1, :, 2:4])
    assert torch.equal(blocks.join_strips(strips, 4), maps)


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
@pytest.mark.parametrize("frames", [2, 7])
def test_in_bfloat16_the_gradient_of_a_strips_kernel_is_that_in_float32(rows: int, frames: int):
    layer = blocks.Convolution3d(8, 16)
    maps, cotangent = (random(16, c, rows, frames, 6, seed=c).contiguous(memory_format=torch.channels_last_3d) for c in (8, 16))
    gradients = []
    for enabled in (False, True):
        freed = [torch.full((1 << size,), math.nan) for size in range(8, 22)]
        del freed  # uninitialised memory now holds NaN
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            made = layer(maps)
        gradients += torch.autograd.grad(made.float(), layer.weight, cotangent)
    assert (gradients[1] - gradients[0]).norm() < 0.01 * gradients[0].norm()


@pytest.mark.parametrize("frames", [3, 7, 9])
def test_local_temporal_aggregation_makes_every_three_frames_one(frames: int):
    layer = blocks.LocalTemporalAggregation(3)
    maps, weight = random(2, 3, 4, frames, 5), layer.aggregate.weight[:, :, 0, :, 0]
    expected = [leaky(torch.einsum("nchjw,ocj->nohw", maps[:, :, :, 3 * i : 3 * i + 3], weight)) for i in range(frames // 3)]
    torch.testing.assert_close(layer(maps), torch.stack(expected, 3), rtol=1e-5, atol=1e-5)


def test_attention_weighs_frames_within_clips_and_clips_equally():
    attention = blocks.TemporalAttention(6, hidden=8, clip_frames=4)
    features, lengths = random(6, 13, 6), [13, 12, 8, 4, 3, 1]
    weights = attention(features, torch.tensor(lengths))
    torch.testing.assert_close(weights.sum(1), torch.ones(6))
    for sample, length in enumerate(lengths):
        expected = functional.pad(naive_weights(attention, features[sample, :length]), (0, 13 - length))
        torch.testing.assert_close(weights[sample], expected, rtol=1e-5, atol=1e-6)


def test_attention_ignores_frames_behind_the_last_complete_clip():
    attention = blocks.TemporalAttention(6, hidden=8, clip_frames=4)
    weights = attention(random(1, 11, 6), torch.tensor([11]))
    assert (weights[0, :8] > 0).all()
    assert (weights[0, 8:] == 0).all()


def test_the_weighted_sum_is_over_frames():
    maps, weights = random(2, 3, 4, 5, 6), random(2, 5)
    expected = sum(maps[:, :, :, t] * weights[:, t, None, None, None] for t in range(5))
    torch.testing.assert_close(blocks.weighted_sum(maps, weights), expected)


@pytest.mark.parametrize("exponent", [1.0, 3.0, 6.5])
def test_gem_is_the_root_of_the_mean_of_powers(exponent: float):
    values = random(3, 4, 7).double()
    expected = torch.tensor([[sum(max(v, 1e-6) ** exponent for v in row) / 7 for row in rows] for rows in values.tolist()])
    torch.testing.assert_close(blocks.GeM(exponent)(values.float()), expected ** (1 / exponent), rtol=1e-5, atol=1e-6)


def test_gem_lies_between_the_mean_and_the_maximum():
    values = random(20, 9).abs()
    torch.testing.assert_close(blocks.GeM(1.0)(values), values.mean(1))
    torch.testing.assert_close(blocks.GeM(500.0)(values), values.amax(1), rtol=0.01, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gem_of_an_empty_row_is_finite_and_so_are_its_gradients(dtype: torch.dtype):
    pooling = blocks.GeM()
    values = torch.zeros(2, 5, dtype=dtype, requires_grad=True)
    pooling(values).sum().backward()
    assert values.grad is not None
    assert pooling.exponent.grad is not None
    assert values.grad.isfinite().all()
    assert pooling.exponent.grad.isfinite()


def test_every_strip_has_a_linear_layer_of_its_own():
    layer, features = blocks.SeparateLinear(5, 3, 4), random(2, 5, 3)
    expected = torch.stack([features[:, strip] @ layer.weight[strip] for strip in range(5)], 1)
    torch.testing.assert_close(layer(features), expected, rtol=1e-5, atol=1e-6)


def test_mask_padding_keeps_each_samples_own_frames():
    masked = blocks.mask_padding(torch.ones(2, 1, 2, 4, 2), torch.tensor([4, 1]))
    assert masked[0].min() == 1
    assert masked[1, :, :, :1].min() == 1
    assert masked[1, :, :, 1:].max() == 0
