"""Serving of GaitTAKE: from silhouettes and their keypoints to embeddings."""

import numpy as np
import torch
from torch import Tensor, nn

from people.graphs import Graph, Run, by_length, with_forward
from people.nn.distances import mean_strip_distance
from people.nn.inference import Batch
from people.systems.gaittake.model import MIN_FRAMES
from people.training.system import Attribute, Samples, Shapes, Spec, Statistics

EMBEDDING = "embedding"


def shapes(network: nn.Module, spec: Spec) -> tuple[Shapes, Shapes]:
    """The shape of each input and of the output; -1 is the number of clips, and that of their frames."""
    height, width = spec["size_hw"]
    with torch.no_grad():
        example = {"silhouette": torch.zeros(1, 3, height, width), "keypoints": torch.zeros(1, 3, 17, 3)}
        embedding = network(example)["embedding"]
    inputs = {"silhouette": (-1, -1, height, width), "keypoints": (-1, -1, 17, 3)}
    return inputs, {"embedding": (-1, *embedding.shape[1:])}


@torch.no_grad()
def predict(network: nn.Module, statistics: Statistics, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The embedding (strip, channel) of each clip; the distance of two clips is the mean Euclidean distance of their strips.

    `arrays`: "silhouette" (clip, frame, height, width) in [0, 1]; "keypoints" (clip, frame, 17, 3), x and y in [-1, 1] over
    the image and the confidence, (0, 0, 0) where a joint was not found. All clips have the same number of frames.
    """
    inputs = {name: torch.from_numpy(np.asarray(arrays[name], np.float32)) for name in ("silhouette", "keypoints")}
    return predictions(network(inputs))


def predictions(outputs: Batch) -> dict[str, np.ndarray]:
    """What `predict` answers, of the network's outputs."""
    return {"embedding": outputs["embedding"].numpy()}


def graphs(network: nn.Module, statistics: Statistics, spec: Spec) -> dict[str, Graph]:
    """One graph, for clips of at least `MIN_FRAMES` frames: a shorter one is repeated before it, see `through`."""

    def compute(silhouette: Tensor, keypoints: Tensor) -> dict[str, Tensor]:
        return {"embedding": network({"silhouette": silhouette, "keypoints": keypoints})["embedding"]}

    inputs = {"silhouette": ("clip", "frame", *spec["size_hw"]), "keypoints": ("clip", "frame", 17, 3)}
    counts = ((2, 7), (1, MIN_FRAMES), (3, 11), (1, 40))
    return {"network": Graph(network, compute, inputs, [{"clip": clips, "frame": frames} for clips, frames in counts])}


def through(network: nn.Module, statistics: Statistics, run: dict[str, Run]) -> nn.Module:
    """The network, its embeddings computed by the graph; clips of one or two frames are repeated three times or twice."""

    def repeated(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        frames = inputs["silhouette"].shape[1]
        index = torch.arange(frames * -(-MIN_FRAMES // frames)) % frames if frames < MIN_FRAMES else slice(None)
        return run["network"]({name: values[:, index] for name, values in inputs.items()})

    def forward(batch: Batch) -> dict[str, Tensor]:
        inputs = {name: batch[name] for name in ("silhouette", "keypoints")}
        return by_length(repeated, inputs, batch.get("length"), by_frame=())

    return with_forward(network, forward)


def distances(probe: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The mean Euclidean distances of the strips of embeddings (probe, gallery)."""
    return mean_strip_distance(torch.from_numpy(probe), torch.from_numpy(gallery)).numpy()


def recordings(samples: Samples, spec: Spec) -> np.ndarray:
    """The number of the recording of each clip, which is one recording."""
    return samples.targets(spec)["clip"].numpy()


def attributes(predicted: dict[str, np.ndarray], spec: Spec) -> list[Attribute]:
    """None: this system tells who somebody is and nothing else."""
    return []
