"""A network's outputs for every photo of a split, with the photo's labels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from people.evaluation import finite
from people.evaluation.retrieval import Photos
from people.nn.inference import joined, over_split
from people.records import ATTRIBUTES
from people.systems.reid import data
from people.systems.reid.data import PERSON
from people.training.system import Spec, Statistics


class Predictions(NamedTuple):
    """The photos' rows of the index, the network's outputs and the targets by name, and the photos as they are stored."""

    clips: pd.DataFrame
    outputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    images_rgb: UInt8[np.ndarray, "photo height width 3"]

    @property
    def subject(self) -> np.ndarray:
        """The subject of each photo."""
        return self.clips["subject_id"].to_numpy(str)

    @property
    def is_person(self) -> Bool[np.ndarray, " photo"]:
        """Which photos show a person: neither junk nor distractors."""
        return (self.clips["kind"] == PERSON).to_numpy()

    @property
    def attributes(self) -> list[str]:
        """The attributes among the network's outputs."""
        return [name for name in ATTRIBUTES if name in self.outputs]

    def rows(self, clip_ids: Sequence[str]) -> Int[np.ndarray, " photo"]:
        """The rows of these photos."""
        return pd.Index(self.clips["clip_id"]).get_indexer(list(clip_ids))

    def photos(self, rows: Int[np.ndarray, " photo"]) -> Photos:
        """Subjects, cameras and rows of these photos, for ranking."""
        return Photos(self.subject[rows], self.clips["camera"].to_numpy(int)[rows], rows)

    def stored_images(self, rows: Int[np.ndarray, " photo"]) -> UInt8[np.ndarray, "photo height width 3"]:
        """These photos, read from the store."""
        return np.asarray(self.images_rgb[self.clips["start"].to_numpy()[rows]])

    def probabilities(self, name: str) -> Float[np.ndarray, "photo class"]:
        """The softmax of an output, for each photo."""
        return self.outputs[name].double().softmax(1).numpy()


def predict_split(
    network: nn.Module,
    samples: data.Samples,
    images_rgb: np.ndarray,
    spec: Spec,
    statistics: Statistics,
    batch_size: int,
) -> Predictions:
    """One pass over all photos; a photo of which an output is not finite is refused."""
    outputs = [
        {name: value.cpu() for name, value in batch_outputs.items()}
        for batch_outputs, _ in over_split(network, samples, spec, statistics, batch_size)
    ]
    predicted = joined(outputs)
    finite.check_outputs("reid", predicted, samples.clips["clip_id"].to_numpy(str))
    return Predictions(samples.clips, predicted, samples.targets(spec), images_rgb)
