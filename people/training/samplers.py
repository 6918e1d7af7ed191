"""Which samples make a batch: orders that depend on (seed, epoch) alone, so that a resumed run draws what it would have."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Batches(Protocol):
    """Lists of indices, in an order that `set_epoch` chooses."""

    def set_epoch(self, epoch: int) -> None: ...

    def sizes(self) -> list[int]:
        """How many samples each batch of an epoch has, of this rank."""
        ...

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
        _check_rank(rank, world)
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

    def sizes(self) -> list[int]:
        """How many samples each batch of an epoch has, of this rank."""
        return [len(batch[self.rank :: self.world]) for batch in np.array_split(np.arange(self.used), self.batches)]

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)[: self.used]
        for batch in np.array_split(order, self.batches):
            yield batch[self.rank :: self.world].tolist()


class IdentityBatches:
    """P x K: each batch holds `samples_each` samples of each of `identities`, drawn without replacement where possible.

    `identity` tells whose each sample is. Batches are drawn independently of each other, so a sample may come again within
    an epoch: the index i + n·(number of samples) is sample i for the (n + 1)-th time, to be augmented differently. Ranks share
    the identities of a batch; a loss over pairs sees the pairs of one rank only, so the curve depends on the number of ranks.
    """

    def __init__(
        self,
        identity: Sequence[int],
        identities: int,
        samples_each: int,
        batches: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        _check_rank(rank, world)
        if identities % world or identities // world < 2:
            raise ValueError(
                f"{identities} identities of a batch cannot be shared evenly by {world} ranks, two or more on each: "
                "change training.batches.identities or use fewer devices"
            )
        label = np.asarray(identity)
        self.samples_of = [np.flatnonzero(label == person) for person in np.unique(label)]
        if len(self.samples_of) < identities:
            raise ValueError(
                f"a batch of {identities} identities needs as many, got samples of {len(self.samples_of)}: "
                "lower training.batches.identities or provide more people"
            )
        self.count, self.identities, self.samples_each = len(label), identities, samples_each
        self.batches, self.seed = batches, seed
        self.rank, self.world, self.epoch = rank, world, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws the next iteration follows."""
        self.epoch = epoch

    def sizes(self) -> list[int]:
        """How many samples each batch of an epoch has, of this rank."""
        return [self.identities // self.world * self.samples_each] * self.batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        draw, times = np.random.default_rng([self.seed, self.epoch]), Counter[int]()
        for _ in range(self.batches):
            chosen = draw.permutation(len(self.samples_of))[: self.identities].tolist()
            drawn = [_counted(self._draw(draw, person), times, self.count) for person in chosen]
            yield [index for indices in drawn[self.rank :: self.world] for index in indices]

    def _draw(self, draw: np.random.Generator, person: int) -> list[int]:
        samples = self.samples_of[person]
        return draw.choice(samples, self.samples_each, replace=len(samples) < self.samples_each).tolist()


class PairBatches:
    """Pairs: each batch holds `pairs` pairs of samples, both of one person, under two conditions (GaitNet's training pairs).

    `condition` tells in what the two must differ (clothes, view, speed). The two samples of a pair stand side by side: indices
    2i and 2i + 1 of a batch. Each pair is of another person where there are enough people; a person of one condition alone is
    never drawn. A sample that comes again within an epoch is counted as `IdentityBatches` does. Ranks share the pairs.
    """

    def __init__(
        self,
        identity: Sequence[int],
        condition: Sequence[int],
        pairs: int,
        batches: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        _check_rank(rank, world)
        if pairs < 1 or pairs % world:
            raise ValueError(
                f"{pairs} pairs of a batch cannot be shared evenly by {world} ranks: change training.batches.pairs or use "
                "fewer devices"
            )
        label, group = np.asarray(identity), np.asarray(condition)
        by_person = [
            [np.flatnonzero((label == person) & (group == value)) for value in np.unique(group[label == person])]
            for person in np.unique(label)
        ]
        self.samples_of = [by_condition for by_condition in by_person if len(by_condition) > 1]
        if not self.samples_of:
            raise ValueError(
                f"pairs are of one person under two conditions, but each of {len(by_person)} people has samples of one: name "
                "another target in training.batches.across, or provide people under several conditions"
            )
        self.count, self.pairs, self.batches, self.seed = len(label), pairs, batches, seed
        self.rank, self.world, self.epoch = rank, world, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws the next iteration follows."""
        self.epoch = epoch

    def sizes(self) -> list[int]:
        """How many samples each batch of an epoch has, of this rank."""
        return [2 * self.pairs // self.world] * self.batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        draw, times = np.random.default_rng([self.seed, self.epoch]), Counter[int]()
        people = len(self.samples_of)
        for _ in range(self.batches):
            chosen = draw.choice(people, self.pairs, replace=people < self.pairs).tolist()
            drawn = [_counted(self._draw(draw, person), times, self.count) for person in chosen]
            yield [index for pair in drawn[self.rank :: self.world] for index in pair]

    def _draw(self, draw: np.random.Generator, person: int) -> list[int]:
        by_condition = self.samples_of[person]
        first, second = draw.choice(len(by_condition), 2, replace=False)
        return [int(draw.choice(by_condition[first])), int(draw.choice(by_condition[second]))]


def _check_rank(rank: int, world: int) -> None:
    if not 0 <= rank < world:
        raise ValueError(f"rank must lie in [0, {world}), got {rank}: give each process its own number")


def _counted(samples: Sequence[int], times: Counter[int], count: int) -> list[int]:
    """The samples' indices, each raised by `count` for every time that it was drawn before."""
    indices = []
    for sample in samples:
        indices.append(sample + times[sample] * count)
        times[sample] += 1
    return indices


def augmentation(seed: int, epoch: int) -> np.random.Generator:
    """The generator from which an epoch's augmentations derive, apart from the generator of its order."""
    return np.random.default_rng([seed, epoch, 1])
