"""GaitTAKE and GaitNet on real silhouettes: trained on the gallery of USF HumanID, they identify half cycles of a probe set.

    python -m benchmarks.usf path/to/usf-silhouettes --seeds 3 [--systems gaittake,gaitnet]

The 71 people are the same in both, as the challenge has it; probe A was filmed by another camera. Nothing is chosen by the
probe set: the last step's network is judged. Beside it the nearest averaged silhouette. GaitNet's frames are grey, and the
gallery has one condition: it is trained without gait similarity.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.distance import cdist
from torch import Tensor, nn
from torch.nn import functional

from people.datasets import usf
from people.nn import distances
from people.systems.gaitnet import model as gaitnet
from people.systems.gaitnet import objective as gaitnet_terms
from people.systems.gaittake import model as gaittake
from people.systems.gaittake import objective as gaittake_terms
from people.training.samplers import IdentityBatches

SHIFTS_PX = (-1, 0, 1)
GAITNET_HW = (32, 32)  # multiples of what its encoder reduces a picture by


class GaitTake:
    """GaitTAKE without keypoints: the mean distance of strips."""

    config = gaittake.Config(
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
    weights: ClassVar[dict[str, Any]] = {
        "lambda": {"batch_all": 1.0, "cross_entropy": 1.0},
        "margin": {"weighted": 0.2, "batch_all": 0.2},
        "pair_weights": True,
        "weighting": {"name": "fixed"},
    }
    learning_rate, weight_decay = 1e-3, 5e-4

    @classmethod
    def build(cls, subjects: list[int], size_hw: tuple[int, ...]) -> tuple[nn.Module, Any]:
        """The network and its objective."""
        terms = gaittake_terms.Config(**cls.weights)
        spec = {"size_hw": list(size_hw), "subjects": subjects, "keypoints": False, "tasks": list(terms.tasks)}
        return gaittake.Network(cls.config, spec), gaittake_terms.Objective(terms, spec)

    @staticmethod
    def inputs(silhouettes: np.ndarray, draw: np.random.Generator | None) -> dict[str, Tensor]:
        """The network's input: values in [0, 1], and every sequence as long as it is."""
        length = torch.full((len(silhouettes),), silhouettes.shape[1])
        return {"silhouette": torch.from_numpy(silhouettes).float() / 255, "length": length}

    @staticmethod
    def distance(probe: Tensor, gallery: Tensor) -> np.ndarray:
        """Of every probe from every half cycle of the gallery."""
        return distances.mean_strip_distance(probe, gallery).numpy()


class GaitNet:
    """GaitNet with identity and cross reconstruction: by cosine."""

    config = gaitnet.Config(
        channels=(16, 32, 64, 128),
        convolutions=2,
        appearance=64,
        gait=32,
        split=True,
        lstm=(64, 64, 64),
        feature="normalised",
        appearance_of="frame",
        gait_noise=0.0,
    )
    weights: ClassVar[dict[str, Any]] = {
        "lambda": {"identity": 1.0, "cross_reconstruction": 0.1, "gait_similarity": 0.0},
        "norm": {"cross_reconstruction": "squared_norm", "gait_similarity": "squared_norm"},
        "frame_weights": "ones",
        "weighting": {"name": "fixed"},
    }
    learning_rate, weight_decay = 3e-3, 0.0

    @classmethod
    def build(cls, subjects: list[int], size_hw: tuple[int, ...]) -> tuple[nn.Module, Any]:
        """The network and its objective."""
        terms = gaitnet_terms.Config(**cls.weights)
        spec = {"size_hw": list(GAITNET_HW), "subjects": subjects, "tasks": list(terms.tasks)}
        return gaitnet.Network(cls.config, spec), gaitnet_terms.Objective(terms, spec)

    @staticmethod
    def inputs(silhouettes: np.ndarray, draw: np.random.Generator | None) -> dict[str, Tensor]:
        """Grey pictures of `GAITNET_HW` with the silhouette in the middle, and the frame of the appearance code."""
        rows, columns = (total - side for total, side in zip(GAITNET_HW, silhouettes.shape[2:], strict=True))
        sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        grey = functional.pad(torch.from_numpy(silhouettes).float() / 255, sides)
        count, frames = grey.shape[:2]
        middle = np.full(count, frames // 2)
        chosen = middle if draw is None else draw.integers(frames, size=count)
        length = torch.full((count,), frames)
        return {
            "foreground": grey[:, :, None].expand(-1, -1, 3, -1, -1),
            "length": length,
            "appearance_frame": torch.from_numpy(chosen),
        }

    @staticmethod
    def distance(probe: Tensor, gallery: Tensor) -> np.ndarray:
        """1 - cosine: embeddings have unit length."""
        return 1 - (probe.double() @ gallery.double().T).numpy()


SYSTEMS = {"gaittake": GaitTake, "gaitnet": GaitNet}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--probe", default="A", choices=usf.PROBES)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="names parted by commas")
    asked = parser.parse_args()
    gallery, probe = (usf.read_half_cycles(asked.folder, name) for name in (usf.GALLERY, asked.probe))
    nearest = hit_share(cdist(averaged(probe), averaged(gallery)), gallery, probe)
    print(f"nearest averaged silhouette: {nearest:.1%}", flush=True)
    for name in asked.systems.split(","):
        system, found = SYSTEMS[name], []
        for seed in range(1, asked.seeds + 1):
            network = trained(gallery, system, asked.steps, seed)
            embeddings = (embedded(network, part, system.inputs) for part in (probe, gallery))
            found.append(hit_share(system.distance(*embeddings), gallery, probe))
            print(f"{name}, seed {seed}: {found[-1]:.1%} of {len(probe.subject)} half cycles", flush=True)
        spread = f" ± {np.std(found, ddof=1):.1%}" if len(found) > 1 else ""
        print(f"{name}: {np.mean(found):.1%}{spread}")


def trained(gallery: usf.HalfCycles, system: Any, steps: int, seed: int) -> nn.Module:
    """Adam on batches of 8 people x 8 half cycles, moved by up to a pixel; the rate falls to a tenth for the last third."""
    torch.manual_seed(seed)
    subjects = np.unique(gallery.subject)
    network, objective = system.build(subjects.tolist(), gallery.silhouettes.shape[2:])
    network.train()
    adam = torch.optim.Adam(network.parameters(), lr=system.learning_rate, weight_decay=system.weight_decay)
    schedule = torch.optim.lr_scheduler.MultiStepLR(adam, [2 * steps // 3])
    batches = IdentityBatches(gallery.subject.tolist(), 8, 8, steps, seed)
    draw = np.random.default_rng([seed, 1])
    for indices in batches:
        rows = np.array(indices) % len(gallery.subject)
        silhouette = gallery.silhouettes[rows]
        for one in silhouette:
            one[:] = np.roll(one, tuple(draw.choice(SHIFTS_PX, 2)), axis=(1, 2))
        subject = torch.from_numpy(np.searchsorted(subjects, gallery.subject[rows]))
        batch = {**system.inputs(silhouette, draw), "subject": subject, "identity": subject}
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(batch)
        adam.zero_grad()
        objective.weighting.total(objective({name: value.float() for name, value in outputs.items()}, batch)).backward()
        adam.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def embedded(
    network: nn.Module, part: usf.HalfCycles, inputs: Callable[..., dict[str, Tensor]]
) -> Float[Tensor, "half_cycle *feature"]:
    """The embeddings of all half cycles."""
    parts = np.array_split(part.silhouettes, -(-len(part.subject) // 64))
    return torch.cat([network(inputs(one, None))["embedding"] for one in parts])


def averaged(part: usf.HalfCycles) -> Float[np.ndarray, "half_cycle pixel"]:
    """The averaged silhouette of each half cycle."""
    return part.silhouettes.mean(1, dtype=np.float64).reshape(len(part.subject), -1)


def hit_share(distance: np.ndarray, gallery: usf.HalfCycles, probe: usf.HalfCycles) -> float:
    """Rank-1 of the half cycles whose person is in the gallery."""
    known = probe.subject != usf.UNKNOWN
    return float((gallery.subject[distance.argmin(1)] == probe.subject)[known].mean())


if __name__ == "__main__":
    main()
