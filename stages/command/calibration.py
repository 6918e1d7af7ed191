"""How fast this machine is: seconds of a small convolutional training step, and of a rendered frame, measured in a second.

    python -m stages.command.calibration

prints them as JSON. It is a process of its own, so that PyTorch's memory and threads are free when the stages run; with
`--when-told` it waits for a line first.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import torch
from torch import nn

from people.config import build
from people.records import Take
from people.synth.motion.parametric import motions
from people.synth.render import render
from people.training.train_config import Config, available_cores, resolve_precision
from stages.shared.project import argument_parser, params

MEASURED_S = 0.4  # of each of the two
FRAME_HW = (64, 84)
FRAMES = 4


class Speed(NamedTuple):
    """Seconds of a training step and of a rendered frame, each on one core; cores that render, and threads that train."""

    step_s: float
    frame_s: float
    cores: int
    threads: int


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--when-told", action="store_true", help="begin when a line comes in")
    if parser.parse_args().when_told:
        sys.stdin.readline()
    systems = params("systems")
    training = next(iter(systems.values()))["training"] if systems else {}
    print(json.dumps(measure(training)._asdict()))


def measure(training: dict[str, Any]) -> Speed:
    """This machine's speed, in the precision and on the device of this training block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several that wait for each other on a busy machine measure the others, not the machine
    return Speed(
        fastest(training_step(training), MEASURED_S),
        fastest(rendered_frames(), MEASURED_S) / FRAMES,
        available_cores(),
        threads,
    )


def fastest(repeated: Callable[[], object], measured_s: float) -> float:
    """The shortest duration of a call, in seconds, after one to warm up: that with the least of other work in it."""
    repeated()
    durations, end_s = [], time.perf_counter() + measured_s
    while not durations or time.perf_counter() < end_s:
        before_s = time.perf_counter()
        repeated()
        durations.append(time.perf_counter() - before_s)
    return min(durations)


def training_step(training: dict[str, Any]) -> Callable[[], object]:
    """One step of a network of three convolutions on 32 pictures of 32 x 32 pixels."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    phases = {key: value for key, value in training.items() if key != "phases"}
    in_bf16 = resolve_precision(build(Config, phases)) == "bf16-mixed" if phases else False
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(64),
    ).to(device)  # fmt: skip
    pictures = torch.randn(32, 3, 32, 32, device=device)
    network(pictures)

    def step() -> None:
        network.zero_grad()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=in_bf16):
            loss = network(pictures).square().mean()
        loss.backward()
        with torch.no_grad():
            for weight in network.parameters():  # an optimizer imports torch._dynamo, which takes more than a second
                if weight.grad is not None:
                    weight.sub_(weight.grad, alpha=1e-3)
        if on_gpu:
            torch.cuda.synchronize()

    return step


def rendered_frames() -> Callable[[], object]:
    """Rendering of a short walk on one core, as each process of the rendering stages does it."""
    cv2.setNumThreads(1)
    motion = motions(1, walks=1, frames=FRAMES, frame_rate_hz=25, seed=1)[0]
    take = Take(motion.subject_id, "nm-01", motion, "normal", 0, 90.0, identity_seed=1, seed=1)
    return lambda: sum(1 for _ in render(take, size_hw=FRAME_HW))


if __name__ == "__main__":
    main()
