"""Cells of photos in, embeddings and probabilities out."""

import numpy as np
import torch
from torch import nn

from people.training.system import Shapes, Spec, Statistics


def shapes(network: nn.Module, spec: Spec) -> tuple[Shapes, Shapes]:
    size = (3, *spec["cells_hw"])
    outputs = predict(network, {"mean": torch.zeros(size)}, {"cells": np.zeros((1, *size), np.float32)})
    return {"cells": (-1, *size)}, {name: (-1, *value.shape[1:]) for name, value in outputs.items()}


@torch.no_grad()
def predict(network: nn.Module, statistics: Statistics, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs = network({"cells": torch.from_numpy(np.asarray(arrays["cells"], np.float32)) - statistics["mean"]})
    return {name: (value if name == "embedding" else value.softmax(1)).numpy() for name, value in outputs.items()}
