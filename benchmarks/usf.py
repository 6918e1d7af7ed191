"""GaitTAKE on real silhouettes: trained on the gallery of USF HumanID, it identifies the half cycles of a probe set.

    python -m benchmarks.usf path/to/usf-silhouettes --seeds 3 [--channels 32,64,128,128]

The 71 people are the same in both, as the challenge has it; probe A was filmed by another camera. Nothing is chosen by the
probe set: the last step's network is judged. Beside it the nearest averaged silhouette.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.distance import cdist
from torch import Tensor

from people import distances
from people.datasets import usf
from people.systems.gaittake.model import Config, Network
from people.systems.gaittake.objective import Config as Terms
from people.systems.gaittake.objective import Objective
from people.training.samplers import IdentityBatches

MODEL = Config(
    channels=(16, 32, 64, 64),
    temporal_aggregation=False,
    glconv=True,
    parts=8,
    attention=True,
    clip_frames=10,  # a half cycle
    attention_channels=64,
    keypoint_strips=1,
    gem=True,
    batch_norm=True,
    start="per_strip",
)
TERMS = {
    "lambda": {"batch_all": 1.0, "cross_entropy": 1.0},
    "margin": {"weighted": 0.2, "batch_all": 0.2},
    "weighting": True,
}
SHIFTS_PX = (-1, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--probe", default="A", choices=usf.PROBES)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--channels", help="of the first convolution and of each GLConv; those of GaitGL are 32,64,128,128")
    asked = parser.parse_args()
    gallery, probe = (usf.read_half_cycles(asked.folder, name) for name in (usf.GALLERY, asked.probe))
    nearest = hit_share(cdist(averaged(probe), averaged(gallery)), gallery, probe)
    print(f"nearest averaged silhouette: {nearest:.1%}", flush=True)
    model = replace(MODEL, channels=tuple(map(int, asked.channels.split(",")))) if asked.channels else MODEL
    found = []
    for seed in range(1, asked.seeds + 1):
        network = trained(gallery, model, asked.steps, seed)
        distance = distances.mean_strip_distance(embedded(network, probe), embedded(network, gallery))
        found.append(hit_share(distance.numpy(), gallery, probe))
        print(f"gaittake, seed {seed}: {found[-1]:.1%} of {len(probe.subject)} half cycles", flush=True)
    print(f"gaittake: {np.mean(found):.1%} ± {np.std(found, ddof=1):.1%}")


def trained(gallery: usf.HalfCycles, model: Config, steps: int, seed: int) -> Network:
    """Adam on batches of 8 people x 8 half cycles, moved by up to a pixel; the rate falls to a tenth for the last third."""
    torch.manual_seed(seed)
    subjects = np.unique(gallery.subject)
    terms = Terms(**TERMS)
    spec = {"size_hw": list(gallery.silhouettes.shape[2:]), "subjects": subjects.tolist(), "keypoints": False}
    spec |= {"tasks": list(terms.tasks)}
    network, objective = Network(model, spec).train(), Objective(terms, spec)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(adam, [2 * steps // 3])
    batches = IdentityBatches(gallery.subject.tolist(), 8, 8, steps, seed)
    draw = np.random.default_rng([seed, 1])
    for indices in batches:
        rows = np.array(indices) % len(gallery.subject)
        silhouette = gallery.silhouettes[rows]
        for one in silhouette:
            one[:] = np.roll(one, tuple(draw.choice(SHIFTS_PX, 2)), axis=(1, 2))
        subject = torch.from_numpy(np.searchsorted(subjects, gallery.subject[rows]))
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(inputs(silhouette))
        terms = objective(outputs, {"subject": subject, "identity": subject})
        adam.zero_grad()
        objective.weighting.total(terms).backward()
        adam.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def embedded(network: Network, part: usf.HalfCycles) -> Float[Tensor, "half_cycle strip channel"]:
    """The embeddings of all half cycles."""
    parts = np.array_split(part.silhouettes, -(-len(part.subject) // 64))
    return torch.cat([network(inputs(one))["embedding"] for one in parts])


def inputs(silhouettes: np.ndarray) -> dict[str, Tensor]:
    """The network's input: values in [0, 1], and every sequence as long as it is."""
    length = torch.full((len(silhouettes),), silhouettes.shape[1])
    return {"silhouette": torch.from_numpy(silhouettes).float() / 255, "length": length}


def averaged(part: usf.HalfCycles) -> Float[np.ndarray, "half_cycle pixel"]:
    """The averaged silhouette of each half cycle."""
    return part.silhouettes.mean(1, dtype=np.float64).reshape(len(part.subject), -1)


def hit_share(distance: np.ndarray, gallery: usf.HalfCycles, probe: usf.HalfCycles) -> float:
    """Rank-1 of the half cycles whose person is in the gallery."""
    known = probe.subject != usf.UNKNOWN
    return float((gallery.subject[distance.argmin(1)] == probe.subject)[known].mean())


if __name__ == "__main__":
    main()
