"""Person detection in single images."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, UInt8

from people.video import detectors


def person_scores(images_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: str) -> Float[np.ndarray, " image"]:
    """Faster R-CNN's highest person score in each image, 0 to 1; `weights` names its file, "" torch's cache."""
    file = detectors.weights_file("fasterrcnn", weights)
    return np.array(list(detectors.person_scores(images_rgb, file)))
