"""What a network said of every photo of a split, with what is true of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from people.judging.ranking import Photos
from people.records import ATTRIBUTES
from people.systems.reid import data
from people.systems.reid.data import PERSON


class Said(NamedTuple):
    """The photos' rows of the index, the network's outputs and the targets by name, and the photos as they are stored."""

    clips: pd.DataFrame
    outputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    images_rgb: UInt8[np.ndarray, "photo height width 3"]

    @property
    def subject(self) -> np.ndarray:
        """Whose photo each is."""
        return self.clips["subject_id"].to_numpy(str)

    @property
    def is_person(self) -> Bool[np.ndarray, " photo"]:
        """Whose identity is known."""
        return (self.clips["kind"] == PERSON).to_numpy()

    @property
    def attributes(self) -> list[str]:
        """The attributes that the network tells."""
        return [name for name in ATTRIBUTES if name in self.outputs]

    def rows(self, clip_ids: Sequence[str]) -> Int[np.ndarray, " photo"]:
        """The rows of some photos."""
        return pd.Index(self.clips["clip_id"]).get_indexer(list(clip_ids))

    def photos(self, rows: Int[np.ndarray, " photo"]) -> Photos:
        """Some photos, as a protocol sees them."""
        return Photos(self.subject[rows], self.clips["camera"].to_numpy(int)[rows], rows)

    def shown(self, rows: Int[np.ndarray, " photo"]) -> UInt8[np.ndarray, "photo height width 3"]:
        """Some photos, read from the store."""
        return np.asarray(self.images_rgb[self.clips["start"].to_numpy()[rows]])

    def probabilities(self, name: str) -> Float[np.ndarray, "photo class"]:
        """How likely each class of an output is of each photo."""
        return self.outputs[name].double().softmax(1).numpy()


@torch.no_grad()
def listen(
    network: nn.Module,
    samples: data.Samples,
    images_rgb: np.ndarray,
    spec: dict[str, Any],
    statistics: dict[str, Tensor],
    batch_size: int,
) -> Said:
    """One pass over all photos."""
    network, device = network.eval(), next(network.parameters()).device
    outputs: dict[str, list[Tensor]] = {}
    for rows in torch.arange(len(samples)).split(batch_size):
        batch = samples.batch(rows.tolist(), spec=spec, statistics=statistics, augment=None)
        for name, value in network({key: tensor.to(device) for key, tensor in batch.items()}).items():
            outputs.setdefault(name, []).append(value.float().cpu())
    return Said(samples.clips, {name: torch.cat(of) for name, of in outputs.items()}, samples.targets(spec), images_rgb)
