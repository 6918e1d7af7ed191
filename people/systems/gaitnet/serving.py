"""Serving of GaitNet: from pictures of a person times the mask to the gait feature and the mean codes of each clip."""

import numpy as np
import torch
from torch import nn

from people.inference import Batch
from people.training.system import Attribute, Samples, Shapes, Spec, Statistics

EMBEDDING = "embedding"


def shapes(network: nn.Module, spec: Spec) -> tuple[Shapes, Shapes]:
    """The shape of the input and of each output; -1 is the number of clips, and that of their frames."""
    height, width = spec["size_hw"]
    outputs = predict(network, {}, {"foreground": np.zeros((1, 2, 3, height, width), np.float32)})
    return {"foreground": (-1, -1, 3, height, width)}, {name: (-1, *value.shape[1:]) for name, value in outputs.items()}


@torch.no_grad()
def predict(network: nn.Module, statistics: Statistics, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each clip "embedding", the gait feature of all its frames, of unit length and compared by cosine; "gait" and, where
    the network has it, "appearance": the mean codes.

    `arrays`: "foreground" (clip, frame, 3, height, width), RGB in [0, 1] times the soft mask. All clips have the same number of
    frames.
    """
    pictures = torch.from_numpy(np.asarray(arrays["foreground"], np.float32))
    count, frames = pictures.shape[:2]
    return predictions(network({"foreground": pictures, "length": torch.full((count,), frames)}))


def predictions(outputs: Batch) -> dict[str, np.ndarray]:
    """What `predict` answers, of the network's outputs."""
    codes = {name: outputs[name].mean(1).numpy() for name in ("gait", "appearance") if name in outputs}
    return {"embedding": outputs["embedding"].numpy(), **codes}


def distances(probe: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """1 - cosine of embeddings of unit length (probe, gallery)."""
    return 1 - probe @ gallery.T


def recordings(samples: Samples, spec: Spec) -> np.ndarray:
    """The number of the recording of each clip, which is one recording."""
    return samples.targets(spec)["clip"].numpy()


def attributes(predicted: dict[str, np.ndarray], spec: Spec) -> list[Attribute]:
    """None: this system tells who somebody is and nothing else."""
    return []
