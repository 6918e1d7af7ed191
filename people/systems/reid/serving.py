"""Serving of reid: from photos of pedestrians to embeddings and attributes."""

import numpy as np
import torch
from torch import Tensor, nn

from people.graphs import Graph, Run, with_forward
from people.nn.distances import mean_strip_distance
from people.nn.inference import Batch
from people.systems.reid import data
from people.training.system import Attribute, Shapes, Spec, Statistics

EMBEDDING = "embedding"


def shapes(network: nn.Module, spec: Spec) -> tuple[Shapes, Shapes]:
    """The shape of the input and of each output; -1 is the number of photos."""
    height, width = spec["size_hw"]
    with torch.no_grad():
        outputs = network({"image": torch.zeros(1, 3, height, width)})
    return {"image": (-1, 3, height, width)}, {name: (-1, *output.shape[1:]) for name, output in outputs.items()}


@torch.no_grad()
def predict(network: nn.Module, statistics: Statistics, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each photo the outputs of the network's tasks: its embedding, compared by Euclidean distance, the probability of each
    class of every attribute by the attribute's name, and of "person" (no, yes).

    `arrays`: "image" (photo, 3, height, width), RGB in [0, 1]. Classes are in the order of the checkpoint's attributes.
    """
    image = torch.from_numpy(np.asarray(arrays["image"], np.float32))
    return predictions(network({"image": (image - statistics["mean"]) / statistics["std"]}))


def predictions(outputs: Batch) -> dict[str, np.ndarray]:
    """What `predict` answers, of the network's outputs."""
    return {name: value.numpy() for name, value in answers(outputs).items()}


def answers(outputs: Batch) -> dict[str, Tensor]:
    """The same as tensors."""
    return {name: value if name == EMBEDDING else value.softmax(1) for name, value in outputs.items()}


def graphs(network: nn.Module, statistics: Statistics, spec: Spec) -> dict[str, Graph]:
    """One graph, from "image" in [0, 1] to what `predict` answers, and the logits behind each probability."""

    def compute(image: Tensor) -> dict[str, Tensor]:
        outputs = network({"image": (image - statistics["mean"]) / statistics["std"]})
        return answers(outputs) | {f"{name}_logits": value for name, value in outputs.items() if name != EMBEDDING}

    image = {"image": ("photo", 3, *spec["size_hw"])}
    return {"network": Graph(network, compute, image, [{"photo": 2}, {"photo": 1}, {"photo": 3}])}


def through(network: nn.Module, statistics: Statistics, run: dict[str, Run]) -> nn.Module:
    """The network, its outputs computed by the graph."""

    def forward(batch: Batch) -> dict[str, Tensor]:
        outputs = run["network"]({"image": batch["image"] * statistics["std"] + statistics["mean"]})
        embedding = {EMBEDDING: outputs[EMBEDDING]} if EMBEDDING in outputs else {}
        suffix = "_logits"
        return embedding | {name.removesuffix(suffix): value for name, value in outputs.items() if name.endswith(suffix)}

    return with_forward(network, forward)


def distances(probe: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The Euclidean distances of embeddings (probe, gallery)."""
    return mean_strip_distance(torch.from_numpy(probe)[:, None], torch.from_numpy(gallery)[:, None]).numpy()


def recordings(samples: data.Samples, spec: Spec) -> np.ndarray:
    """The number of the recording of each photo: those of one person by one camera are one; -1 without a person."""
    labels = samples.targets(spec)
    number = np.unique(np.stack([labels["subject"].numpy(), labels["camera"].numpy()]), axis=1, return_inverse=True)[1]
    return np.where(labels["person"].numpy() == data.IS_PERSON[data.PERSON], number.reshape(-1), -1)


def attributes(predicted: dict[str, np.ndarray], spec: Spec) -> list[Attribute]:
    """The attributes of one person, from predictions of several photos: the mean probabilities."""
    found = []
    for name, classes in spec["attributes"].items():
        if name in predicted:
            probability = predicted[name].mean(axis=0)
            found.append(Attribute(name, str(classes[int(probability.argmax())]), float(probability.max())))
    return found
