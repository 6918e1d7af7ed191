"""Serving of GaitNet: from pictures of a person times the mask to the gait feature and the mean codes of each clip."""

import numpy as np
import torch
from torch import Tensor, nn

from people.graphs import Graph, Run, by_length, with_forward
from people.nn.inference import Batch
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
    return predictions(network({"foreground": pictures}))


def predictions(outputs: Batch) -> dict[str, np.ndarray]:
    """What `predict` answers, of the network's outputs."""
    return {name: value.numpy() for name, value in answers(outputs).items()}


def answers(outputs: Batch) -> dict[str, Tensor]:
    """The same as tensors."""
    codes = {name: outputs[name].mean(1) for name in ("gait", "appearance") if name in outputs}
    return {"embedding": outputs["embedding"], **codes}


BY_FRAME = ("gait", "appearance", "prefixes")  # outputs (clip, frame, ...) that metrics read


def graphs(network: nn.Module, statistics: Statistics, spec: Spec) -> dict[str, Graph]:
    """One graph, from "foreground" to what `predict` answers, and by frame both codes and the features of prefixes. The decoder
    is not in it: it makes pictures, which are not served.
    """

    def compute(foreground: Tensor) -> dict[str, Tensor]:
        outputs = network({"foreground": foreground})
        return answers(outputs) | {f"{name}_by_frame": outputs[name] for name in BY_FRAME if name in outputs}

    inputs = {"foreground": ("clip", "frame", 3, *spec["size_hw"])}
    counts = ((2, 7), (1, 1), (3, 11), (1, 40))
    return {"network": Graph(network, compute, inputs, [{"clip": clips, "frame": frames} for clips, frames in counts])}


def through(network: nn.Module, statistics: Statistics, run: dict[str, Run]) -> nn.Module:
    """The network, its outputs computed by the graph; pictures are the network's own, as the decoder is not exported."""

    def forward(batch: Batch) -> dict[str, Tensor]:
        suffix = "_by_frame"
        inputs, by_frame = {"foreground": batch["foreground"]}, [f"{name}{suffix}" for name in BY_FRAME]
        found = by_length(run["network"], inputs, batch.get("length"), by_frame)
        outputs = {name.removesuffix(suffix): value for name, value in found.items() if name in by_frame}
        pictures = {"pictures": network(batch)["pictures"]} if "appearance" in outputs and "appearance_frame" in batch else {}
        return outputs | pictures | {"embedding": found["embedding"]}

    return with_forward(network, forward)


def distances(probe: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """1 - cosine of embeddings of unit length (probe, gallery)."""
    return 1 - probe @ gallery.T


def recordings(samples: Samples, spec: Spec) -> np.ndarray:
    """The number of the recording of each clip, which is one recording."""
    return samples.targets(spec)["clip"].numpy()


def attributes(predicted: dict[str, np.ndarray], spec: Spec) -> list[Attribute]:
    """None: this system tells who somebody is and nothing else."""
    return []
