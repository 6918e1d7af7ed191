"""Serving of GaitTAKE: from silhouettes and their keypoints to embeddings."""

import numpy as np
import torch
from torch import nn

from people.inference import Batch
from people.nn.distances import mean_strip_distance
from people.training.system import Attribute, Samples, Shapes, Spec, Statistics

EMBEDDING = "embedding"


def shapes(network: nn.Module, spec: Spec) -> tuple[Shapes, Shapes]:
    """The shape of each input and of the output; -1 is the number of clips, and that of their frames."""
    height, width = spec["size_hw"]
    with torch.no_grad():
        example = {"silhouette": torch.zeros(1, 3, height, width), "keypoints": torch.zeros(1, 3, 17, 3)}
        embedding = network(example | {"length": torch.tensor([3])})["embedding"]
    inputs = {"silhouette": (-1, -1, height, width), "keypoints": (-1, -1, 17, 3)}
    return inputs, {"embedding": (-1, *embedding.shape[1:])}


@torch.no_grad()
def predict(network: nn.Module, statistics: Statistics, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The embedding (strip, channel) of each clip; the distance of two clips is the mean Euclidean distance of their strips.

    `arrays`: "silhouette" (clip, frame, height, width) in [0, 1]; "keypoints" (clip, frame, 17, 3), x and y in [-1, 1] over
    the image and the confidence, (0, 0, 0) where a joint was not found. All clips have the same number of frames.
    """
    inputs = {name: torch.from_numpy(np.asarray(arrays[name], np.float32)) for name in ("silhouette", "keypoints")}
    sample, frames = inputs["silhouette"].shape[:2]
    return predictions(network(inputs | {"length": torch.full((sample,), frames)}))


def predictions(outputs: Batch) -> dict[str, np.ndarray]:
    """What `predict` answers, of the network's outputs."""
    return {"embedding": outputs["embedding"].numpy()}


def distances(probe: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The mean Euclidean distances of the strips of embeddings (probe, gallery)."""
    return mean_strip_distance(torch.from_numpy(probe), torch.from_numpy(gallery)).numpy()


def recordings(samples: Samples, spec: Spec) -> np.ndarray:
    """The number of the recording of each clip, which is one recording."""
    return samples.targets(spec)["clip"].numpy()


def attributes(predicted: dict[str, np.ndarray], spec: Spec) -> list[Attribute]:
    """None: this system tells who somebody is and nothing else."""
    return []
