"""The ResNet trunk: its 1x1 convolutions where oneDNN writes beyond its buffers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from people.nn.resnet import FEWEST_CHANNELS, Convolution1x1, ResNetTrunk

# In a process of its own: the fault that is avoided ends a process, or lets it hang.
GRADIENTS = """
import sys, torch
from people.nn.resnet import Convolution1x1
torch.manual_seed(0)
channels = int(sys.argv[1])
layer = Convolution1x1(channels, 16, 2).to(memory_format=torch.channels_last)
for _ in range(20):
    maps = torch.randn(8, channels, 16, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    layer.weight.grad = None
    result = layer(maps)
    assert result.is_contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(result)
    result.backward(gradient)
    of_weight = torch.einsum("nohw,nihw->oi", gradient.double(), maps.detach()[:, :, ::2, ::2].double())
    of_maps = torch.einsum("nohw,oi->nihw", gradient.double(), layer.weight.detach()[:, :, 0, 0].double())
    torch.testing.assert_close(layer.weight.grad[:, :, 0, 0].double(), of_weight, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(maps.grad[:, :, ::2, ::2].double(), of_maps, rtol=1e-4, atol=1e-4)
"""


@pytest.mark.parametrize("instructions", ["AVX2", "DEFAULT"])
@pytest.mark.parametrize("channels", [3, 7, 8])
def test_the_gradients_of_a_1x1_convolution_of_few_channels_are_right(channels: int, instructions: str):
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", GRADIENTS, str(channels)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-2000:]


def test_every_1x1_convolution_of_few_channels_avoids_the_fault():
    trunk = ResNetTrunk([4, 7, 8, 16], [1, 1, 1, 1])
    narrow = [
        layer
        for layer in trunk.modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.in_channels < FEWEST_CHANNELS
    ]
    assert len(narrow) == 2
    assert all(isinstance(layer, Convolution1x1) for layer in narrow)
