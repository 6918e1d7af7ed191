"""Networks that start from trained weights: which submodule, from which file; refused where they do not fit."""

from typing import Any, NamedTuple

import torch
from torch import nn

from people.storage import trained_weights


class Pretrained(NamedTuple):
    """Trained weights of a submodule: torchvision's `weights` (an enum's entry), or the file `named` in the same format.

    `hint` says in the error which settings the weights fit.
    """

    weights: Any
    named: str
    hint: str


def load(network: Any) -> None:
    """Give the submodules that a network names in `pretrained()` their trained weights; the others keep their random ones."""
    for name, source in network.pretrained().items():
        fill(network.get_submodule(name), source)


def fill(module: nn.Module, source: Pretrained) -> None:
    """Give a module all of its arrays out of a file that may hold more."""
    file = trained_weights.weights_file(source.weights, source.named)
    found = torch.load(file, map_location="cpu", weights_only=True)
    kept = module.state_dict()
    wanted = [name for name in kept if not name.endswith("num_batches_tracked")]  # files of early releases have none
    unfit = sorted(name for name in wanted if name not in found or found[name].shape != kept[name].shape)
    if unfit:
        raise ValueError(
            f"{file} does not fit: {len(unfit)} of its arrays are missing or of another shape, first {unfit[0]}; {source.hint}"
        )
    module.load_state_dict(kept | {name: found[name] for name in wanted})
