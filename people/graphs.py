"""A trained network as graphs of tensors that another runtime can run, and the network that computes through them.

A system's `serving` module says which graphs there are (`graphs`) and how the network runs through them (`through`).
"""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from people.nn.inference import Batch

Run = Callable[[dict[str, Tensor]], dict[str, Tensor]]  # a graph: from its named inputs to its named outputs, on the CPU
Axes = tuple[int | str, ...]  # of an input: the size of each axis, or its name where any size goes


class Graph(NamedTuple):
    """A function of named tensors without branches that depend on their values.

    `compute`: from the inputs, in their order, to named outputs. `network`: what has the parameters. `sizes`: of the free axes,
    in several examples; the first is traced, and all are compared. `span`: of the random numbers of these examples.
    """

    network: nn.Module
    compute: Callable[..., dict[str, Tensor]]
    inputs: Mapping[str, Axes]
    sizes: Sequence[Mapping[str, int]]
    span: tuple[float, float] = (0.0, 1.0)

    def example(self, sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
        """Random inputs with free axes of these sizes, uniform over the span."""
        low, high = self.span
        shapes = {name: [sizes[axis] if isinstance(axis, str) else axis for axis in axes] for name, axes in self.inputs.items()}
        return {name: low + (high - low) * torch.rand(shape, generator=generator) for name, shape in shapes.items()}


@runtime_checkable
class Exportable(Protocol):
    """What the serving module of a system has whose network can be exported."""

    def graphs(self, network: nn.Module, statistics: dict[str, Tensor], spec: dict[str, Any]) -> dict[str, Graph]:
        """The graphs of a network by name, with its normalisation inside; inputs are named and shaped as those of `predict`."""
        ...

    def through(self, network: nn.Module, statistics: dict[str, Tensor], run: dict[str, Run]) -> nn.Module:
        """A network for `predict` and for the score, with the same outputs, that computes them by running the graphs."""
        ...


def with_forward(network: nn.Module, forward: Callable[[Batch], dict[str, Tensor]]) -> nn.Module:
    """A copy of the network in evaluation mode whose outputs are computed by `forward`; its parts are as they were."""
    replaced = copy.deepcopy(network).eval()
    replaced.__dict__["forward"] = forward
    return replaced


def by_length(run: Run, inputs: dict[str, Tensor], length: Tensor | None, by_frame: Collection[str]) -> dict[str, Tensor]:
    """A graph of clips without padding, run on padded ones (sample, frame, ...): clips of one length go through it together.

    `length` (sample,): the frames of each clip, None: all are true ones. Outputs named in `by_frame` (sample, frame, ...) have
    zeros in the padding.
    """
    frames = next(iter(inputs.values())).shape[1]
    if length is None or bool((length == frames).all()):
        return run(inputs)
    outputs: dict[str, Tensor] = {}
    for count in length.unique().tolist():
        rows = (length == count).nonzero().squeeze(1)
        for name, values in run({name: value[rows, :count] for name, value in inputs.items()}).items():
            if name in by_frame:
                padded = values.new_zeros(len(rows), frames, *values.shape[2:])
                padded[:, :count] = values
                values = padded
            outputs.setdefault(name, values.new_zeros(len(length), *values.shape[1:]))[rows] = values
    return outputs
