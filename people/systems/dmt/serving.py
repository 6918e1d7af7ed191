"""Serving of DMT: from windows of optical flow to identity, gender, age and gait signature."""

import numpy as np
import torch
from torch import nn

from people.inference import Batch
from people.nn.distances import mean_strip_distance
from people.records import GENDERS
from people.training.system import Attribute, Samples, Shapes, Spec, Statistics

EMBEDDING = "signature"


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
    answers = {"identity_log_probability": outputs["identity"].log_softmax(1), "signature": outputs["signature"]}
    if "gender" in outputs:
        answers["gender_probability"] = outputs["gender"].softmax(1)
    if "age_years" in outputs:
        answers["age_years"] = outputs["age_years"]
    return {name: value.numpy() for name, value in answers.items()}


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
