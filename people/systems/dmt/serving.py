"""Serving of DMT: from windows of optical flow to identity, gender, age and gait signature."""

import numpy as np
import torch
from torch import Tensor, nn

from people.graphs import Graph, Run, with_forward
from people.nn.distances import mean_strip_distance
from people.nn.inference import Batch
from people.records import GENDERS
from people.training.system import Attribute, Samples, Shapes, Spec, Statistics

EMBEDDING = "signature"
NOT_EXPORTED = ("identification.majority_vote.", "identification.softmax_product.")  # metrics of a head tuned on the gallery


def shapes(network: nn.Module, spec: Spec) -> tuple[Shapes, Shapes]:
    """The shape of "flow", x and y flow of each frame interleaved, and of each output; -1 is the number of windows."""
    channels, (height, width) = spec["channels"], spec["size_hw"]
    example = {"flow": np.zeros((1, channels, height, width), np.float32)}
    outputs = predict(network, {"mean": torch.zeros(channels, height, width)}, example)
    return {"flow": (-1, channels, height, width)}, {name: (-1, *value.shape[1:]) for name, value in outputs.items()}


@torch.no_grad()
def predict(network: nn.Module, statistics: Statistics, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each window the log-probability of each training subject, the gait signature, and gender and age if they are tasks.

    `arrays`: "flow" (window, 2·frame, height, width) in pixels per frame. Identities are in the order of the checkpoint's
    subjects; "gender_probability" is (female, male), "age_years" a number.
    """
    return predictions(network({"flow": torch.from_numpy(np.asarray(arrays["flow"], np.float32)) - statistics["mean"]}))


def predictions(outputs: Batch) -> dict[str, np.ndarray]:
    """What `predict` answers, of the network's outputs."""
    return {name: value.numpy() for name, value in answers(outputs).items()}


def answers(outputs: Batch) -> dict[str, Tensor]:
    """The same as tensors."""
    found = {"identity_log_probability": outputs["identity"].log_softmax(1), "signature": outputs["signature"]}
    if "gender" in outputs:
        found["gender_probability"] = outputs["gender"].softmax(1)
    if "age_years" in outputs:
        found["age_years"] = outputs["age_years"]
    return found


def graphs(network: nn.Module, statistics: Statistics, spec: Spec) -> dict[str, Graph]:
    """One graph, from "flow" in pixels per frame to what `predict` answers, and the logits of identity and gender."""

    def compute(flow: Tensor) -> dict[str, Tensor]:
        outputs = network({"flow": flow - statistics["mean"]})
        return answers(outputs) | {f"{name}_logits": outputs[name] for name in ("identity", "gender") if name in outputs}

    flow = {"flow": ("window", spec["channels"], *spec["size_hw"])}
    return {"network": Graph(network, compute, flow, [{"window": 2}, {"window": 1}, {"window": 3}], (-5.0, 5.0))}


def through(network: nn.Module, statistics: Statistics, run: dict[str, Run]) -> nn.Module:
    """The network, its outputs computed by the graph."""

    def forward(batch: Batch) -> dict[str, Tensor]:
        outputs = run["network"]({"flow": batch["flow"] + statistics["mean"]})
        logits = {name: outputs[f"{name}_logits"] for name in ("identity", "gender") if f"{name}_logits" in outputs}
        return logits | {name: outputs[name] for name in ("age_years", "signature") if name in outputs}

    return with_forward(network, forward)


def distances(probe: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The Euclidean distances of signatures (probe, gallery)."""
    return mean_strip_distance(torch.from_numpy(probe)[:, None], torch.from_numpy(gallery)[:, None]).numpy()


def recordings(samples: Samples, spec: Spec) -> np.ndarray:
    """The number of the recording of each window: that of its clip."""
    return samples.targets(spec)["clip"].numpy()


def attributes(predicted: dict[str, np.ndarray], spec: Spec) -> list[Attribute]:
    """Gender and age of one person, from predictions of several windows: their means."""
    found = []
    if "gender_probability" in predicted:
        probability = predicted["gender_probability"].mean(axis=0)
        found.append(Attribute("gender", GENDERS[int(probability.argmax())], float(probability.max())))
    if "age_years" in predicted:
        found.append(Attribute("age_years", f"{predicted['age_years'].mean():.0f}", None))
    return found
