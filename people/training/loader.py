"""Batches of a split on their way to the device, and outputs of a split on their way back from all devices."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from people.nn.inference import Batch, to_device
from people.training.fabric import Fabric
from people.training.samplers import Batches, augmentation
from people.training.system import Samples
from people.training.train_config import Loading


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

    def sizes(self) -> list[int]:
        """How many samples each batch has, of this rank."""
        return [len(share) for share in self]

    def gathered(self, share: Batch, fabric: Fabric) -> Batch:
        """The rows of all ranks: row i of each result, or item i of a list, belongs to index i."""
        if self.world == 1:
            return share
        return {name: self._interleaved(value, fabric) for name, value in share.items()}

    def _interleaved(self, value: Any, fabric: Fabric) -> Any:
        if isinstance(value, Tensor):
            by_rank = torch.as_tensor(fabric.all_gather(value))  # (rank, row, ...)
            return by_rank.transpose(0, 1).flatten(0, 1)[: self.count]
        lists: list[Any] = [None] * self.world  # shapes differ from item to item: sent as objects
        torch.distributed.all_gather_object(lists, [item.cpu() for item in value])
        return [item.to(fabric.device) for row in zip(*lists, strict=True) for item in row][: self.count]


class Loader:
    """The batches of one split on the device. Requests carry their epoch, so that worker processes live through all epochs.

    Where `loading` says so, the split's data are copied to the device first, and no batch is sent there; on a GPU a thread puts
    the next batch together while the network computes.
    """

    def __init__(
        self,
        samples: Samples,
        batches: Batches,
        *,
        spec: dict[str, Any],
        statistics: dict[str, Tensor],
        augment_seed: int | None,
        loading: Loading,
        fabric: Fabric,
    ) -> None:
        if loading.on_device:
            samples, statistics = samples.to(fabric.device), to_device(statistics, fabric.device)
        self.fabric, self.requests = fabric, _Requests(batches, augmented=augment_seed is not None)
        self.ahead = loading.on_device and fabric.device.type == "cuda"
        self.loader = DataLoader(
            _Batches(samples, spec, statistics, augment_seed),  # type: ignore[arg-type]
            sampler=self.requests,
            batch_size=None,
            num_workers=loading.workers,
            persistent_workers=loading.workers > 0,
            pin_memory=fabric.device.type == "cuda" and not loading.on_device,
            generator=torch.Generator(),  # the loader's own draws leave the generator of dropout alone
        )

    def __len__(self) -> int:
        return len(self.requests)

    def epoch(self, number: int) -> Iterator[Batch]:
        """All batches of one epoch."""
        self.requests.set_epoch(number)
        for batch in one_ahead(self.loader) if self.ahead else self.loader:
            yield to_device(batch, self.fabric.device, non_blocking=True)


def one_ahead(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same batches in the same order, each made by a thread while the one before it is used; its errors are raised here."""
    remaining = iter(batches)
    with ThreadPoolExecutor(1, "next batch") as thread:
        waiting = thread.submit(next, remaining, None)
        while (batch := waiting.result()) is not None:
            waiting = thread.submit(next, remaining, None)
            yield batch


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


class _Batches:
    def __init__(self, samples: Samples, spec: dict[str, Any], statistics: dict[str, Tensor], augment_seed: int | None) -> None:
        self.samples, self.spec, self.statistics, self.augment_seed = samples, spec, statistics, augment_seed

    def __getitem__(self, request: tuple[int, list[int]]) -> Batch:
        epoch, indices = request
        augment = None if self.augment_seed is None else augmentation(self.augment_seed, epoch)
        return self.samples.batch(indices, spec=self.spec, statistics=self.statistics, augment=augment)
