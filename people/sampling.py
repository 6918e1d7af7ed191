"""Which samples make a batch: orders that depend on (seed, epoch) alone, so that a resumed run sees what it would have seen."""

from collections.abc import Iterator

import numpy as np


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


def augmentation(seed: int, epoch: int) -> np.random.Generator:
    """The generator from which an epoch's augmentations derive, apart from the generator of its order."""
    return np.random.default_rng([seed, epoch, 1])
