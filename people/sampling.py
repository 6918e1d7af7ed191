"""Which samples make a batch: orders that depend on (seed, epoch) alone, so that a resumed run sees what it would have seen."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Batches(Protocol):
    """Lists of indices, in an order that `set_epoch` chooses."""

    def set_epoch(self, epoch: int) -> None: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[int]]: ...


class ShuffledBatches:
    """Every index once per epoch, in an order that depends only on (seed, epoch); a `batch_sampler` of a data loader.

    `batch_size` is what one optimisation step sees, over all ranks: each rank draws its share of every batch, so two ranks
    follow the same curve as one. The last batch is no small rest: the samples are spread evenly over the batches, the sizes of
    which differ by at most one and never exceed `batch_size` (a rest of three samples would have neither pairs nor a median).
    With `drop_last` every batch is full and what is left over waits for another epoch's order.
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, *, drop_last: bool = False, rank: int = 0, world: int = 1
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank must lie in [0, {world}), got {rank}: give each process its own number")
        if batch_size < world:
            raise ValueError(f"a batch of {batch_size} cannot be shared by {world} ranks: raise it or use fewer devices")
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world, self.epoch = rank, world, 0
        self.batches = count // batch_size if drop_last else -(-count // batch_size)
        if self.batches == 0 or count // self.batches < world:
            raise ValueError(
                f"{count} samples do not fill a batch of {batch_size} on {world} ranks (drop_last={drop_last}): "
                "lower batch_size, use fewer devices, or provide more samples"
            )
        self.used = self.batches * batch_size if drop_last else count

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)[: self.used]
        for batch in np.array_split(order, self.batches):
            yield batch[self.rank :: self.world].tolist()


class IdentityBatches:
    """P x K: each batch holds `clips` samples of each of `people` people, drawn without replacement where there are enough.

    `identity` tells whose each sample is. Batches are drawn independently of each other, so a sample may come again within
    an epoch: the index i + n·(number of samples) is sample i for the (n + 1)-th time, to be augmented differently. Ranks share
    the people of a batch; a loss over pairs sees the pairs of one rank only, so the curve depends on the number of ranks.
    """

    def __init__(
        self, identity: Sequence[int], people: int, clips: int, batches: int, seed: int, *, rank: int = 0, world: int = 1
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank must lie in [0, {world}), got {rank}: give each process its own number")
        if people % world or people // world < 2:
            raise ValueError(
                f"{people} people of a batch cannot be shared evenly by {world} ranks, two or more on each: "
                "change training.batches.people or use fewer devices"
            )
        owner = np.asarray(identity)
        self.samples_of = [np.flatnonzero(owner == person) for person in np.unique(owner)]
        if len(self.samples_of) < people:
            raise ValueError(
                f"a batch of {people} people needs as many, got samples of {len(self.samples_of)}: "
                "lower training.batches.people or provide more people"
            )
        self.count, self.people, self.clips, self.batches, self.seed = len(owner), people, clips, batches, seed
        self.rank, self.world, self.epoch = rank, world, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws the next iteration follows."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        draw, times = np.random.default_rng([self.seed, self.epoch]), Counter[int]()
        for _ in range(self.batches):
            people = draw.permutation(len(self.samples_of))[: self.people].tolist()
            drawn = [self._drawn(draw, times, person) for person in people]
            yield [index for indices in drawn[self.rank :: self.world] for index in indices]

    def _drawn(self, draw: np.random.Generator, times: Counter[int], person: int) -> list[int]:
        samples, indices = self.samples_of[person], []
        for sample in draw.choice(samples, self.clips, replace=len(samples) < self.clips).tolist():
            indices.append(sample + times[sample] * self.count)
            times[sample] += 1
        return indices


def augmentation(seed: int, epoch: int) -> np.random.Generator:
    """The generator from which an epoch's augmentations derive, apart from the generator of its order."""
    return np.random.default_rng([seed, epoch, 1])
