"""Trained weights for submodules of a network: which submodule, from which file; an error where they do not fit."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from people.storage import trained_weights

# the channels' mean and deviation over ImageNet, for which torchvision's weights were trained
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class Pretrained(NamedTuple):
    """Trained weights of a submodule: torchvision's `weights` (an enum's entry), or a `file` in the same format.

    An empty `file` is torchvision's own in torch's cache. `hint` tells in the error message which settings the weights fit.
    """

    weights: Any
    file: str
    hint: str


def load(network: Any) -> None:
    """Load trained weights into the submodules that `network.pretrained()` names; the others keep their random ones."""
    for name, source in network.pretrained().items():
        load_submodule(network.get_submodule(name), source)


def load_submodule(module: nn.Module, source: Pretrained) -> None:
    """Load all arrays of a module from a file that may hold more; ValueError where an array is missing or has another shape.

    Where names are others, as in files of early releases, arrays are taken in order, if all shapes are the module's.
    """
    file = trained_weights.weights_file(trained_weights.of_torchvision(source.weights), source.file)
    try:
        weights = trained_weights.read_tensors(file)
    except ValueError as error:
        raise ValueError(f"{file} cannot be read ({error}); {source.hint}") from error
    state = module.state_dict()
    names = [name for name in state if not name.endswith("num_batches_tracked")]  # files of early releases have none
    if not weights.keys() >= set(names):
        weights = in_order(state, weights) or weights
    unfit = sorted(name for name in names if name not in weights or weights[name].shape != state[name].shape)
    if unfit:
        raise ValueError(
            f"{file} does not fit: {len(unfit)} of its arrays are missing or of another shape, first {unfit[0]}; {source.hint}"
        )
    module.load_state_dict(state | {name: weights[name] for name in names})


def in_order(state: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file's first arrays under the module's names; none unless each has the shape of the module's array in its place."""
    first = list(weights.values())[: len(state)]
    if [tuple(getattr(array, "shape", ())) for array in first] != [tuple(array.shape) for array in state.values()]:
        return {}
    return dict(zip(state, first, strict=True))
