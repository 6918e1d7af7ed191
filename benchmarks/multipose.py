"""Latency of multipose on a CPU: one backbone for keypoints and detector against one each, and what every part costs.

    python -m benchmarks.multipose [checkpoint.pt] [--size 240 320] [--people 4] [--times 20] [--batches 1 8]
    python -m benchmarks.multipose --paper          ResNet-50 and the paper's channels

Without a checkpoint the network is that of params.yaml with random weights: the pace of its layers does not depend on them.
What comes behind the layers does depend on what they find. Therefore the maps and boxes of the same `--people` people take the
place of the network's, after it has computed its own. All parts are timed in turn, so often as `--times` says, after two
rounds that do not count: the median and the quartiles, in milliseconds an image. On a machine that others use too take
`--clock processor`, with OMP_NUM_THREADS=1: the time of all threads is added up.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from ruamel.yaml import YAML
from torch import Tensor, nn
from torchvision import ops

from people import checkpoints
from people.config import build
from people.records import ACTIVITIES
from people.systems.multipose.data import HEADS
from people.systems.multipose.data import Config as DataConfig
from people.systems.multipose.model import Config, Network, heatmaps, poses
from people.systems.multipose.model.heatmaps import MAP_STRIDE
from people.systems.multipose.score import MEAN_POSE
from stages.configure import PROFILES
from stages.shared.project import params
from stages.training.problem import merged

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
WARM_UP = 2  # rounds that do not count
ONE, TWO = "everything, one backbone", "everything, a backbone each"
HEIGHTS = (0.75, 0.5)  # of people who stand beside each other, in turn, as shares of the image's
SIGMA_PX = 5.0  # of the heat maps' peaks


class People(NamedTuple):
    """What the layers would say of the same people in any image, and who these are."""

    outputs: dict[str, Tensor]
    box_xyxy_px: Tensor
    keypoints_px: Tensor


class WithPeople(Network):
    """The network, in all of whose images the same people are found."""

    found: People | None = None

    @torch.no_grad()
    def image_outputs(self, image: Tensor, *, scales: Sequence[float | int] = (1.0,), flip: bool = False) -> dict[str, Tensor]:
        """All layers are computed, and their outputs replaced."""
        outputs = super().image_outputs(image, scales=scales, flip=flip)
        replaced = self.found.outputs if self.found else {}
        return outputs | {name: value.expand_as(outputs[name]) for name, value in replaced.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--people", type=int, default=4, help="in each image")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 8), help="images at a time")
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help="processor: what others run does not count")
    parser.add_argument("--paper", action="store_true", help="a network of the paper's size, with random weights")
    asked = parser.parse_args()
    if asked.paper and asked.checkpoint:
        parser.error("--paper is a network without a checkpoint; leave out one of the two")
    torch.manual_seed(0)
    size_hw = (asked.size[0], asked.size[1])
    one, two = networks(asked.checkpoint, paper=asked.paper)
    one.found = two.found = people_in(one, size_hw, asked.people)
    if (count := len(one.people(torch.randn(1, 3, *size_hw))[0].score)) != asked.people:
        parser.error(f"{asked.people} people do not fit into {size_hw}, {count} are found; ask for fewer, or a larger image")
    parameters = " and ".join(f"{parameter_count(network) / 1e6:.2f}" for network in (one, two))
    print(f"{one.config.backbone}, width {one.config.width}: {parameters} million parameters with one backbone and with two")
    print(f"{size_hw[0]} x {size_hw[1]} px, {asked.people} people, {asked.times} times")
    print(f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}, {asked.clock} time", flush=True)
    columns = {}
    for batch in asked.batches:
        image = torch.randn(batch, 3, *size_hw)
        spent = timed(parts(one, two, image), asked.times, CLOCKS[asked.clock])
        columns[f"ms an image, {batch} at a time"] = {name: shown(values / batch) for name, values in spent.items()}
        ratio = spent[TWO] / spent[ONE]
        print(f"{batch} at a time: {TWO} takes {shown(ratio, 2)} times as long as {ONE}", flush=True)
    print(pd.DataFrame(columns).to_string())


# --- networks --------------------------------------------------------------------------------------------------------


def model_block(*, paper: bool) -> dict[str, Any]:
    """The block `model` of params.yaml, or what the profile `paper` makes of it."""
    block = params("systems", "multipose", "model")
    if not paper:
        return block
    changes = YAML(typ="safe", pure=True).load(PROFILES / "paper.yaml")["systems"]["multipose"]["model"]
    return merged(block, changes, "systems.multipose.model")


def networks(checkpoint: Path | None, *, paper: bool) -> tuple[WithPeople, WithPeople]:
    """The same network with one backbone and with two; the pose residual network, the largest part, is one for both."""
    if checkpoint:
        entries = checkpoints.read(checkpoint)
        if entries["system"] != "multipose" or set(entries["spec"]["tasks"]) != set(HEADS):
            raise SystemExit(f"{checkpoint}: expected a network of multipose with all heads, {', '.join(HEADS)}; train one")
        block, spec, state = entries["config"]["model"], entries["spec"], entries["network"]
    else:
        block, state, data = model_block(paper=paper), {}, build(DataConfig, params("systems", "multipose", "data"))
        spec = {"joints": data.joints, "grid_hw": data.grid_hw, "aspect": data.aspect}
        spec |= {"activities": ACTIVITIES, "tasks": HEADS}
    one, two = (WithPeople(replace(build(Config, block), shared=shared), spec).eval() for shared in (True, False))
    two.residual = one.residual
    for network in (one, two):
        network.load_state_dict(state, strict=False)  # a backbone that the checkpoint lacks keeps random weights
    return one, two


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def people_in(network: Network, size_hw: tuple[int, int], count: int) -> People:
    """So many people who stand beside each other, larger and smaller in turn, each in the anchor nearest to that."""
    height, width = size_hw
    row = torch.arange(count)
    tall = height * torch.tensor(HEIGHTS)[row % len(HEIGHTS)]
    middle = (row + 0.5) * width / count
    wanted = torch.stack([middle - tall / 4, (height - tall) / 2, middle + tall / 4, (height + tall) / 2], dim=1)
    anchor = network.anchors(size_hw, torch.device("cpu"))
    nearest = ops.box_iou(wanted, anchor).argmax(1)
    logit = torch.full((1, len(anchor)), -8.0)
    logit[0, nearest] = 2.0
    box = ops.clip_boxes_to_image(anchor[nearest], size_hw)
    position = box[:, None, :2] + torch.tensor(MEAN_POSE) * (box[:, 2:] - box[:, :2])[:, None]
    keypoints = torch.cat([position, torch.full_like(position[..., :1], 2.0)], dim=2)
    if network.joints > len(MEAN_POSE):
        keypoints = torch.from_numpy(poses.with_neck(keypoints.numpy()))
    map_hw = (-(-height // MAP_STRIDE), -(-width // MAP_STRIDE))
    maps = heatmaps.gaussian_maps([keypoints], map_hw, MAP_STRIDE, SIGMA_PX)
    outputs = {"heatmaps": maps, "box_logit": logit, "box_delta": torch.zeros(1, len(anchor), 4)}
    return People(outputs, box, keypoints)


# --- time ------------------------------------------------------------------------------------------------------------


def parts(one: WithPeople, two: WithPeople, image: Tensor) -> dict[str, Callable[[], object]]:
    """What is timed, by name; behind the layers image by image, as the network does it."""
    found, answer, size_hw = one.found, one.config.answer, (image.shape[2], image.shape[3])
    assert found is not None
    assert one.backbone is not None
    assert one.residual is not None
    assert one.activity is not None
    backbone, residual, activity = one.backbone, one.residual, one.activity
    planes = image.contiguous(memory_format=torch.channels_last)
    maps, anchor = found.outputs["heatmaps"][0, : one.joints], one.anchors(size_hw, image.device)
    boxed = (found.outputs["box_logit"][0], found.outputs["box_delta"][0], anchor, size_hw)
    limits = {"threshold": answer.peak, "window": answer.peak_window, "most": 2 * answer.people}
    peaks = heatmaps.find_peaks(maps, MAP_STRIDE, **limits)
    grids = torch.rand(len(found.box_xyxy_px), one.joints, *one.grid_hw)
    both = {"image": image, "counted": None, "is_crowd": None}

    def each(run: Callable[[], object]) -> Callable[[], object]:
        return lambda: [run() for _ in range(len(image))]

    return {
        "backbone": lambda: backbone(planes),
        "backbone and keypoints": lambda: one({"image": image, "counted": None}),
        "backbone and detector": lambda: one({"image": image, "is_crowd": None}),
        "keypoints and detector, one backbone": lambda: one(both),
        "keypoints and detector, a backbone each": lambda: two(both),
        "boxes": each(lambda: one.boxes(*boxed)),
        "peaks": each(lambda: heatmaps.find_peaks(maps, MAP_STRIDE, **limits)),
        "pose residual network": each(lambda: residual(grids)),
        "pose residual network and assignment": each(lambda: one.pose(found.box_xyxy_px, peaks)),
        "activities": each(lambda: activity(poses.coordinates(found.keypoints_px, one.aspect))),
        ONE: lambda: one.people(image),
        TWO: lambda: two.people(image),
    }


@torch.inference_mode()
def timed(runs: Mapping[str, Callable[[], object]], times: int, clock: Callable[[], float]) -> dict[str, np.ndarray]:
    """The milliseconds of each, so many times: one after the other in every round, so that all have the same neighbours."""
    spent: dict[str, list[float]] = defaultdict(list)
    for number in range(WARM_UP + times):
        for name, run in runs.items():
            started = clock()
            run()
            if number >= WARM_UP:
                spent[name].append(1000 * (clock() - started))
    return {name: np.array(values) for name, values in spent.items()}


def shown(values: np.ndarray, digits: int = 1) -> str:
    """The median and the quartiles."""
    low, middle, high = np.percentile(values, (25, 50, 75))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
