"""Seconds of a training step of GaitGL's network (forward, losses, backward, Adam): ours against a plain implementation.

python -m benchmarks.gaittake [--device cpu|cuda] [--setting gaitgl|small] [--batch 4x4] [--frames 30] [--compile]

The plain one is what the table of the published network says, line by line: one convolution for each strip, float32, PyTorch's
default layout. All forms compute from equal weights and the same batch; their outputs are compared before they are timed, and
their steps alternate, so that what else the machine does falls on all of them.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from people.nn.blocks import GLConv
from people.nn.losses import batch_all_triplet, cross_entropy
from people.systems.gaittake.model import Config, Network

PEAK_BF16_TFLOPS = {"H200": 989, "H100": 989, "A100": 312}  # dense, as NVIDIA states them
MARGIN = 0.2


@dataclass(frozen=True)
class Setting:
    """A network and the silhouettes that it sees."""

    channels: tuple[int, ...]
    parts: int
    size_hw: tuple[int, int]
    subjects: int
    batch: str
    frames: int
    aggregation: bool


SETTINGS = {
    "gaitgl": Setting((32, 64, 128, 128), 8, (64, 44), 74, "8x8", 30, True),
    "small": Setting((16, 32, 64, 64), 8, (32, 22), 20, "8x4", 24, False),
}


class Plain(nn.Module):
    """The same network without any care for speed, on (sample, channel, frame, height, width)."""

    def __init__(self, network: Network, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.kernels = nn.ParameterList([kernel(network.first.weight), *self._pairs(network)])
        self.aggregate = nn.Parameter(kernel(network.aggregation.aggregate.weight)) if network.aggregation is not None else None
        assert network.norm is not None
        assert network.classifier is not None
        self.exponent = nn.Parameter(torch.tensor(6.5))
        self.embedding, self.logits = (nn.Parameter(x.weight.detach().clone()) for x in (network.embedding, network.classifier))
        self.norm = nn.BatchNorm1d(network.norm.num_features)

    @staticmethod
    def _pairs(network: Network) -> list[Tensor]:
        return [
            kernel(half.weight)
            for layer in network.layers
            if isinstance(layer, GLConv)
            for half in (layer.global_convolution, layer.local_convolution)
        ]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        x = functional.leaky_relu(functional.conv3d(batch["silhouette"][:, None], self.kernels[0], padding=1), 0.01)
        if self.aggregate is not None:
            x = functional.leaky_relu(functional.conv3d(x, self.aggregate, stride=(3, 1, 1)), 0.01)
        layers = (len(self.kernels) - 1) // 2
        for layer in range(layers):
            whole = functional.conv3d(x, self.kernels[1 + 2 * layer], padding=1)
            strips = [functional.conv3d(strip, self.kernels[2 + 2 * layer], padding=1) for strip in x.chunk(self.parts, 3)]
            local = torch.cat(strips, 3)
            if layer < layers - 1:
                x = functional.leaky_relu(whole, 0.01) + functional.leaky_relu(local, 0.01)
            else:
                x = functional.leaky_relu(torch.cat([whole, local], 3), 0.01)
            if layer == 0:
                x = functional.max_pool3d(x, (1, 2, 2))
        x = x.amax(2)  # (sample, channel, height, width)
        x = x.clamp(min=1e-6).pow(self.exponent).mean(3).pow(1 / self.exponent)
        x = x.permute(2, 0, 1) @ self.embedding  # (strip, sample, channel)
        x = self.norm(x.permute(1, 2, 0))  # (sample, channel, strip)
        logits = x.permute(2, 0, 1) @ self.logits
        return {"embedding": x.transpose(1, 2), "logits": logits.transpose(0, 1)}


def kernel(weight: Tensor) -> Tensor:
    """A kernel of ours, (out, in, height, frame, width), as PyTorch has it by default: frame before height."""
    return weight.detach().transpose(2, 3).clone(memory_format=torch.contiguous_format)


class Stepper:
    """One form of the network with an optimizer of its own."""

    def __init__(self, network: nn.Module, device: str, *, bf16: bool = False, compiled: bool = False) -> None:
        self.network = network.to(device)
        self.called: Callable[..., dict[str, Tensor]] = torch.compile(network) if compiled else network
        self.device, self.bf16 = device, bf16
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=5e-4)

    def outputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            return {name: value.float() for name, value in self.called(batch).items()}

    def step(self, batch: dict[str, Tensor]) -> float:
        """Seconds of one step."""
        started = self._now()
        outputs = self.outputs(batch)
        of_strips = batch["identity"].repeat_interleave(outputs["logits"].shape[1])
        classification = cross_entropy(outputs["logits"].flatten(0, 1), of_strips)
        loss = batch_all_triplet(outputs["embedding"], batch["identity"], MARGIN) + classification
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return self._now() - started

    def _now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def network_of(setting: Setting) -> Network:
    torch.manual_seed(0)
    config = Config(
        channels=setting.channels,
        temporal_aggregation=setting.aggregation,
        glconv=True,
        parts=setting.parts,
        attention=False,
        clip_frames=8,
        attention_channels=256,
        keypoint_strips=1,
        gem=True,
        batch_norm=True,
        start="per_strip",
    )
    spec = {"size_hw": setting.size_hw, "subjects": list(range(setting.subjects)), "keypoints": False}
    return Network(config, spec | {"tasks": ["batch_all", "cross_entropy"]})


def batch_of(setting: Setting, device: str) -> dict[str, Tensor]:
    """P people with K sequences each: blobs that drift, in [0, 1]."""
    people, each = map(int, setting.batch.split("x"))
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(people * each, 1, setting.frames, 8, 6, generator=generator)
    silhouette = functional.interpolate(coarse, (setting.frames, *setting.size_hw), mode="trilinear")[:, 0]
    batch = {
        "silhouette": (silhouette > 0.5).float(),
        "length": torch.full((people * each,), setting.frames),
        "identity": torch.arange(people).repeat_interleave(each),
    }
    return {name: value.to(device) for name, value in batch.items()}


def convolution_flops(setting: Setting) -> float:
    """Floating point operations of the convolutions of one training step: forward, and twice as many backward."""
    height, width = setting.size_hw
    people, each = map(int, setting.batch.split("x"))
    frames = setting.frames // 3 if setting.aggregation else setting.frames
    places = height * width
    first, *rest = setting.channels
    total = 27 * first * places * setting.frames + (3 * first * first * places * frames if setting.aggregation else 0)
    for number, (before, after) in enumerate(zip(setting.channels, rest, strict=False)):
        total += 2 * 27 * before * after * places * frames // (1 if number == 0 else 4)
    return 3 * 2.0 * total * people * each


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--setting", choices=tuple(SETTINGS), default="gaitgl")
    parser.add_argument("--batch")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="time torch.compile too, which takes a minute to get ready")
    asked = parser.parse_args()
    setting = SETTINGS[asked.setting]
    changed = {name: value for name in ("batch", "frames") if (value := getattr(asked, name)) is not None}
    setting = Setting(**{**vars(setting), **changed})
    report(measured(setting, asked.device, asked.times, compiled=asked.compile), setting, asked.device)


def measured(setting: Setting, device: str, times: int, *, compiled: bool) -> dict[str, list[float]]:
    """Seconds of each step of each form."""
    forms = {
        "plain, float32": Stepper(Plain(network_of(setting), setting.parts), device),
        "ours, float32": Stepper(network_of(setting), device),
        "plain, bfloat16": Stepper(Plain(network_of(setting), setting.parts), device, bf16=True),
        "ours, bfloat16": Stepper(network_of(setting), device, bf16=True),
    }
    if compiled:
        forms["ours, bfloat16, compiled"] = Stepper(network_of(setting), device, bf16=True, compiled=True)
    batch = batch_of(setting, device)
    with torch.no_grad():
        truth = forms["plain, float32"].outputs(batch)["embedding"]
        for name, form in forms.items():
            error = (form.outputs(batch)["embedding"] - truth).norm() / truth.norm()
            print(f"{name:26} differs by {error:.1e} of the embedding's norm", flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(times + 1):
        for name, form in forms.items():
            spent = form.step(batch)
            if number:  # the first step prepares
                seconds[name].append(spent)
    return seconds


def report(seconds: dict[str, list[float]], setting: Setting, device: str) -> None:
    operations, plain = convolution_flops(setting), statistics.median(seconds["plain, float32"])
    print(f"{'form':26} {'s/step':>8} {'least':>8} {'times as fast':>14} {'TFLOP/s':>8}")
    for name, spent in seconds.items():
        median = statistics.median(spent)
        print(f"{name:26} {median:8.3f} {min(spent):8.3f} {plain / median:14.2f} {operations / median / 1e12:8.3f}")
    peak = next(
        (value for key, value in PEAK_BF16_TFLOPS.items() if device == "cuda" and key in torch.cuda.get_device_name()), 0
    )
    if peak:
        fastest = min(map(statistics.median, seconds.values()))
        print(f"the fastest reaches {operations / fastest / 1e12 / peak:.1%} of the processor's bfloat16 peak ({peak} TFLOP/s)")


if __name__ == "__main__":
    main()
