"""What DMT offers to whoever serves it: arrays of raw optical flow in, arrays of answers out."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn


def shapes(network: nn.Module, spec: dict[str, Any]) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    """The shape of the input, x and y flow of each frame interleaved, and of each answer; -1 is the number of windows."""
    channels, (height, width) = spec["channels"], spec["size_hw"]
    with torch.no_grad():
        signature = network({"flow": torch.zeros(1, channels, height, width)})["signature"]
    answers = {
        "identity_log_probability": (-1, len(spec["subjects"])),
        "signature": (-1, signature.shape[1]),
        "gender_probability": (-1, 2),
        "age_years": (-1,),
    }
    return (-1, channels, height, width), answers


@torch.no_grad()
def predict(
    network: nn.Module, statistics: dict[str, Tensor], flow_px: Float[np.ndarray, "window channel height width"]
) -> dict[str, Float[np.ndarray, "window ..."]]:
    """Of each window of flow in pixels per frame: whom of the training subjects it shows, its gait signature, gender and age.

    Identities are in the order of the checkpoint's subjects; gender is (female, male).
    """
    outputs = network({"flow": torch.from_numpy(flow_px).float() - statistics["mean"]})
    return {
        "identity_log_probability": outputs["identity"].log_softmax(1).numpy(),
        "signature": outputs["signature"].numpy(),
        "gender_probability": outputs["gender"].softmax(1).numpy(),
        "age_years": outputs["age_years"].numpy(),
    }
