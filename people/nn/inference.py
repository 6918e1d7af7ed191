"""The one forward pass over many batches: for validation, evaluation, the registry and serving."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

Batch = dict[str, Any]  # by name a tensor (sample, ...), or a list of one tensor a sample where shapes differ


@runtime_checkable
class Batched(Protocol):
    """Samples that are read by whole batches."""

    def __len__(self) -> int: ...

    def batch(
        self,
        indices: Sequence[int],
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment: np.random.Generator | None,
    ) -> dict[str, Tensor]: ...


def forward(network: nn.Module, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Batch]]:
    """Of every batch the network's outputs, floating-point ones as float32, and the batch itself; no gradients."""
    for batch in batches:
        with torch.no_grad():
            outputs = float32(network(batch))
        yield outputs, batch


def over_split(
    network: nn.Module, samples: Batched, spec: dict[str, Any], statistics: dict[str, Tensor], batch_size: int
) -> Iterator[tuple[Batch, Batch]]:
    """The same for all samples of a split in their order, not augmented, on the network's device in evaluation mode."""
    device = next(network.parameters()).device
    rows = torch.arange(len(samples)).split(batch_size)
    batches = (samples.batch(part.tolist(), spec=spec, statistics=statistics, augment=None) for part in rows)
    return forward(network.eval(), (to_device(batch, device) for batch in batches))


def to_device(values: Batch, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
    """Every tensor on the device; lists of tensors keep being lists."""

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, non_blocking=non_blocking)
        return [moved(item) for item in value]

    return {name: moved(value) for name, value in values.items()}


def float32(outputs: Batch) -> Batch:
    """Floating-point outputs as float32, whatever the network computed in; others as they are."""

    def converted(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.float() if value.is_floating_point() else value
        return [converted(item) for item in value]

    return {name: converted(value) for name, value in outputs.items()}


def joined(parts: Sequence[Batch]) -> Batch:
    """The batches one behind another: tensors are concatenated, lists go on."""

    def together(values: list[Any]) -> Any:
        return torch.cat(values) if isinstance(values[0], Tensor) else [item for value in values for item in value]

    return {name: together([part[name] for part in parts]) for name in parts[0]}


def count(batch: Batch) -> int:
    """How many samples a batch has."""
    return len(next(iter(batch.values())))
