"""Batches of a split on their way to the device, and outputs of a split on their way back from all devices."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from people.sampling import Batches, augmentation


@runtime_checkable
class Samples(Protocol):
    """One split of a system's data: whole batches by index, and what is to be said of every sample ("subject": whose it is).

    Where samples are drawn more than once an epoch (`people.sampling.IdentityBatches`), an index beyond the last sample is
    that of a sample which is drawn again: the index modulo the number of samples is the sample, what is varied follows the
    whole index.
    """

    def __len__(self) -> int: ...

    def targets(self, spec: dict[str, Any]) -> dict[str, Tensor]: ...

    def batch(
        self,
        indices: Sequence[int],
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment: np.random.Generator | None,
    ) -> dict[str, Tensor]: ...


class InOrder:
    """Every index once, in order, in this rank's equal share of every batch: a share that runs out repeats the last index.

    `gathered` puts the shares of all ranks together again.
    """

    def __init__(self, count: int, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        self.count, self.world = count, world
        self.share = [min(index, count - 1) for index in range(rank, -(-count // world) * world, world)]
        self.size = max(1, batch_size // world)

    def set_epoch(self, epoch: int) -> None:
        """Nothing to choose: the order is always the same."""

    def __len__(self) -> int:
        return -(-len(self.share) // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.share), self.size):
            yield self.share[start : start + self.size]

    def gathered(self, share: dict[str, Tensor], fabric: Fabric) -> dict[str, Tensor]:
        """Row i of each result belongs to index i."""
        if self.world == 1:
            return share
        everyone = {name: fabric.all_gather(value) for name, value in share.items()}  # (rank, row, ...)
        return {name: torch.as_tensor(value).transpose(0, 1).flatten(0, 1)[: self.count] for name, value in everyone.items()}


class Loader:
    """The batches of one split on the device. Requests carry their epoch, so that worker processes live through all epochs."""

    def __init__(
        self,
        samples: Samples,
        batches: Batches,
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment_seed: int | None,
        workers: int,
        fabric: Fabric,
    ) -> None:
        self.fabric, self.requests = fabric, _Requests(batches, augmented=augment_seed is not None)
        self.loader = DataLoader(
            _Answers(samples, spec, statistics, augment_seed),  # type: ignore[arg-type]
            sampler=self.requests,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=fabric.device.type == "cuda",
            generator=torch.Generator(),  # the loader's own draws leave the generator of dropout alone
        )

    def __len__(self) -> int:
        return len(self.requests)

    def epoch(self, number: int) -> Iterator[dict[str, Tensor]]:
        """All batches of one epoch."""
        self.requests.set_epoch(number)
        for batch in self.loader:
            yield {name: value.to(self.fabric.device, non_blocking=True) for name, value in batch.items()}


class Recent:
    """The outputs and targets of the newest samples, at least `count` of them where there are so many."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.kept: deque[tuple[dict[str, Tensor], dict[str, Tensor]]] = deque()

    def add(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
        targets = {name: value for name, value in batch.items() if value.ndim == 1}  # an input has more axes than samples
        self.kept.append(({name: value.detach() for name, value in outputs.items()}, targets))
        while sum(rows(targets) for _, targets in self.kept) - rows(self.kept[0][1]) >= self.count:
            self.kept.popleft()

    def joined(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        outputs, targets = zip(*self.kept, strict=True)
        return _joined(outputs), _joined(targets)


def _joined(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def rows(batch: dict[str, Tensor]) -> int:
    """How many samples a batch has."""
    return len(next(iter(batch.values())))


def over_ranks(values: Sequence[float], fabric: Fabric, *, reduce: str) -> list[float]:
    """The "sum" or "mean" of each number over all ranks."""
    if fabric.world_size == 1:
        return list(values)
    return torch.as_tensor(fabric.all_reduce(torch.tensor(values, dtype=torch.float64), reduce_op=reduce)).tolist()


class _Requests:
    def __init__(self, batches: Batches, *, augmented: bool) -> None:
        self.batches, self.augmented, self.number = batches, augmented, 0

    def set_epoch(self, number: int) -> None:
        self.number = number
        self.batches.set_epoch(number)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        for indices in self.batches:
            yield self.number, indices


class _Answers:
    def __init__(self, samples: Samples, spec: dict[str, Any], statistics: dict[str, Tensor], augment_seed: int | None) -> None:
        self.samples, self.spec, self.statistics, self.augment_seed = samples, spec, statistics, augment_seed

    def __getitem__(self, request: tuple[int, list[int]]) -> dict[str, Tensor]:
        epoch, indices = request
        augment = None if self.augment_seed is None else augmentation(self.augment_seed, epoch)
        return self.samples.batch(indices, spec=self.spec, statistics=self.statistics, augment=augment)
