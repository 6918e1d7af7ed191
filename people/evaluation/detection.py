"""Whether a detector sees a person in a picture."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, UInt8

from people.video import detectors


def person_scores(images_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], weights: str) -> Float[np.ndarray, " image"]:
    """How sure Faster R-CNN is of the likeliest person in each picture, 0 to 1; `weights` names its file, "" torch's cache."""
    file = detectors.weights_file("fasterrcnn", weights)
    return np.array(list(detectors.person_scores(images_rgb, file)))
