"""What a split's validation accumulates, batch by batch, and the verdict at its end."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypedDict, runtime_checkable

from torch import Tensor

from people.nn.inference import Batch, joined

Gather = Callable[[Batch], Batch]  # the rows of all processes in place of this one's


class Validation(TypedDict):
    """One epoch's verdict: `score` (higher is better) selects the model, `errors` (lower is better) are kept per task."""

    score: float
    errors: dict[str, float]


class Diverged(ValueError):
    """A loss term, the gradient or an output of the network is no longer a finite number."""


@runtime_checkable
class Monitor(Protocol):
    """Takes a split's outputs batch by batch, so that what it keeps may be smaller than the outputs are."""

    def add(self, outputs: Batch, batch: Batch) -> None:
        """Take one batch in."""
        ...

    def result(self, gather: Gather) -> Validation:
        """The verdict on everything that was taken in; `gather` puts the rows of all processes together."""
        ...


class Concatenated:
    """Keeps the outputs and the named targets of every sample, end to end: the default where outputs are small.

    `reduce` makes less of them first (keypoints of heat maps, boxes above a score): its result takes the outputs' place.
    `validate` gets what was kept: outputs and targets by name, a row (or an item of a list) for each sample.
    """

    def __init__(
        self,
        validate: Callable[[Any, Any], Validation],
        targets: Iterable[str],
        reduce: Callable[[Batch, Batch], Batch] | None = None,
    ) -> None:
        self.validate, self.names, self.reduce = validate, tuple(targets), reduce
        self.outputs: list[Batch] = []
        self.targets: list[Batch] = []

    def add(self, outputs: Batch, batch: Batch) -> None:
        """Keep one batch."""
        kept = self.reduce(outputs, batch) if self.reduce else outputs
        self.outputs.append(_detached(kept))
        self.targets.append({name: batch[name] for name in self.names if name in batch})

    def result(self, gather: Gather = dict) -> Validation:
        """`validate` of everything that was kept."""
        return self.validate(gather(joined(self.outputs)), gather(joined(self.targets)))


def _detached(values: Batch) -> Batch:
    return {
        name: value.detach() if isinstance(value, Tensor) else [item.detach() for item in value]
        for name, value in values.items()
    }
