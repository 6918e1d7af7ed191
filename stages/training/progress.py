"""Progress of a training on the terminal."""

from functools import partial
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from people.training.loop import Epoch

FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total} epochs [{elapsed}<{remaining}]{postfix}"


class Bar:
    """A progress bar over epochs that moves with every step and shows the score of the last epoch."""

    def __init__(self, epochs: int, name: str, *, shown: bool = True) -> None:
        self.name = name
        drawn = partial(tqdm, total=epochs, desc=name, mininterval=1.0, bar_format=FORMAT)
        self.bar = drawn() if shown else drawn(disable=True)  # where nothing is said, stages/__init__.py decides

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def step(self, done: int, steps: int) -> None:
        """One step of an epoch is done."""
        self.bar.set_postfix_str(f"step {done}/{steps}", refresh=False)
        self.bar.update(min(1 / steps, self.bar.total - self.bar.n))  # fractions do not add up exactly

    def epoch(self, epoch: "Epoch") -> None:
        """An epoch is done, or is replayed from before the run was killed."""
        if epoch.replayed:
            self.bar.update(1)
        self.bar.n = round(self.bar.n)
        self.bar.set_description_str(f"{self.name}: score {epoch.metrics['score']:.4f}")

    def skip(self, epochs: int) -> None:
        """The training ends this many epochs early."""
        self.bar.update(epochs)
