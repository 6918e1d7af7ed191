"""What a system is: the contract between its folder and everything that trains, judges, registers and serves it.

A system is the folder people/systems/<name>/ of one paper, with the modules `data`, `model`, `objective`, `score`, `serving`
and `paper`. Each protocol below is what one of them offers. A batch is a dictionary from names to tensors whose first axis
counts samples; where shapes differ from sample to sample (boxes, keypoints of several people) it is a list of one tensor a
sample.

*Tasks.* A task is there if its weight in the objective is not 0, and nothing else says so: `objective.Config.tasks` names them,
`data` opens what they need, `spec["tasks"]` tells the network which heads it has. Where a training has several phases, a phase
opens what its own tasks need; the last one is validated on the tasks of all, as its checkpoint is the whole network.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from people.config import Block, check
from people.nn.inference import Batch
from people.nn.pretrained import Pretrained
from people.training.monitor import Monitor

Spec = dict[str, Any]  # what a network must know of the training data: plain values, kept in the checkpoint
Statistics = dict[str, Tensor]  # computed on the training split: means and deviations
Reads = dict[str, Path]  # the packed stores that a system reads, by slot: "frames", "poses"
Shapes = dict[str, tuple[int, ...]]  # of named arrays; -1 where any size goes


@runtime_checkable
class Samples(Protocol):
    """One split of a system's data: whole batches by index, and the targets table from which samplers draw.

    Where samples are drawn more than once an epoch, an index beyond the last sample is that of a sample which is drawn again:
    the index modulo the number of samples is the sample, what is varied follows the whole index.

    `nbytes` is the size of what `batch` reads of the packed stores for this split, and so of what `to` copies.
    """

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str) -> "Samples":
        """Other samples, whose packed data are on the device: `targets` and `batch` give the same values as tensors there.

        What is drawn at random is drawn on the host, as without a device; only arithmetic on what is stored moves.
        """
        ...

    def targets(self, spec: Spec) -> Batch:
        """The labels of every sample by name; "subject" numbers the split's people. Validation keeps what is named here."""
        ...

    def batch(
        self, indices: Sequence[int], *, spec: Spec, statistics: Statistics, augment: np.random.Generator | None
    ) -> Batch:
        """What the network reads of these samples, and their targets; varied at random where `augment` is given."""
        ...


@runtime_checkable
class Data(Protocol):
    """people/systems/<name>/data.py: how the stores of the stages become samples."""

    Config: Any

    def open_samples(self, reads: Reads, config: Any, split: str, tasks: Collection[str]) -> Any:
        """The `Samples` of one split, with what these tasks need; an error if it has none."""
        ...

    def spec(self, train: Any) -> Spec:
        """What the network must know of the training data, "subjects" among it."""
        ...

    def statistics(self, train: Any) -> Statistics:
        """What is computed once over the training samples; may be empty."""
        ...


@runtime_checkable
class Network(Protocol):
    """From a batch to named outputs, float32; an `nn.Module`."""

    def forward(self, batch: Any) -> Any:
        """The outputs of every sample, whatever its batch mates are."""
        ...

    def pretrained(self) -> Mapping[str, Pretrained]:
        """The submodules that start from trained weights, by name; usually none. Asked when a training begins."""
        ...


@runtime_checkable
class Model(Protocol):
    """people/systems/<name>/model/: a frozen Config, and the Network of a Config and a spec."""

    Config: Any
    Network: Any


@runtime_checkable
class Weighting(Protocol):
    """How terms become one loss: what `people.training.task_weights.weighting` gives, or another of the same methods.

    An `nn.Module`, whose parameters and buffers are resumed with the training. Terms that have `stopped` weigh 0.
    """

    @property
    def needs_gradients(self) -> bool:
        """Whether it needs one gradient for each term, which several devices do not have."""
        ...

    def lambdas(self, stopped: Collection[str] = ()) -> dict[str, float]:
        """The present weight of each term."""
        ...

    def total(self, terms: Mapping[str, Tensor], stopped: Collection[str] = ()) -> Tensor:
        """The weighted sum."""
        ...

    def backward(
        self,
        loss: Tensor,
        terms: Mapping[str, Tensor],
        stopped: Collection[str],
        parameters: Sequence[nn.Parameter],
        backward: Callable[..., Any],
    ) -> None:
        """Give the parameters their gradients; `loss` is the `total`, `backward` computes those of a number as
        `Tensor.backward` does.
        """
        ...

    def step_end(self) -> None:
        """One optimisation step is done."""
        ...

    def epoch_end(self, means: Mapping[str, float]) -> None:
        """One epoch is done; `means` of the terms, unweighted."""
        ...


@runtime_checkable
class Terms(Protocol):
    """`objective.Objective`: named loss terms, unweighted; an `nn.Module`, whose buffers are resumed with the training."""

    weighting: Any

    def forward(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        """A number with a graph for each term; the weighting has a weight for each of these names."""
        ...

    def diagnostics(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        """What is logged beside the terms; may be empty."""
        ...

    def step_end(self) -> None:
        """One optimisation step is done."""
        ...


@runtime_checkable
class Objective(Protocol):
    """people/systems/<name>/objective.py: loss terms, their weights, and what validation measures.

    `MAIN` is the term of the main task; `MAIN_ERROR` names the validation error by which the learning rate falls and trainings
    are compared, `ERRORS` all that there may be: a task can stop before the others by the error of its name. `Config.tasks` are
    the tasks whose weight is not 0; the terms, each times its weight, are weighted as the block `weighting` says.
    """

    @property
    def MAIN(self) -> str: ...

    @property
    def MAIN_ERROR(self) -> str: ...

    @property
    def ERRORS(self) -> Sequence[str]: ...

    Config: Any
    Objective: Any

    def monitor(self, targets: Collection[str]) -> Monitor:
        """A fresh accumulator of one split's outputs and of its targets of these names."""
        ...


@runtime_checkable
class Score(Protocol):
    """people/systems/<name>/score/: the metrics under the dataset's protocol, on the test subjects.

    `COLUMNS`: by title the metric, and that of the baseline if there is one, which a table of several trainings shows.
    `LOWER_IS_BETTER`: the titles of those that are errors. `headline_figures`, in score/headline.py, chooses the few numbers
    that are shown first.
    """

    @property
    def COLUMNS(self) -> Mapping[str, tuple[str, str | None]]: ...

    @property
    def LOWER_IS_BETTER(self) -> Sequence[str]: ...

    Config: Any

    def evaluate(
        self,
        network: nn.Module,
        spec: Spec,
        statistics: Statistics,
        reads: Reads,
        data_config: Any,
        config: Any,
        dataset: Any,
        seed: int,
    ) -> Any:
        """The `people.evaluation.results.Results` of a trained network; `dataset` is the dataset's module."""
        ...

    def headline_figures(self, metrics: Mapping[str, float]) -> Sequence[Any]:
        """Of all metrics 3 to 6 `people.evaluation.headline.Entry`, the main one first; fewer where tasks are left out."""
        ...


@runtime_checkable
class Serving(Protocol):
    """people/systems/<name>/serving.py: what a registered model takes and answers, as named float32 arrays."""

    def shapes(self, network: nn.Module, spec: Spec) -> tuple[Shapes, Shapes]:
        """Of the inputs and of the outputs."""
        ...

    def predict(self, network: nn.Module, statistics: Statistics, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of these inputs."""
        ...


class Attribute(NamedTuple):
    """What is told of a person: the attribute's name, its value in words or numbers, and its probability where there is one."""

    name: str
    value: str
    probability: float | None


@runtime_checkable
class Identifying(Protocol):
    """What the serving module of a system that tells people apart has beside `Serving`.

    `EMBEDDING` is the name of the prediction by which people are compared.
    """

    @property
    def EMBEDDING(self) -> str: ...

    def predictions(self, outputs: Batch) -> dict[str, np.ndarray]:
        """What `predict` answers, of the network's outputs; rows are samples."""
        ...

    def distances(self, probe: np.ndarray, gallery: np.ndarray) -> np.ndarray:
        """The distance of every embedding (rows) from every other (columns)."""
        ...

    def recordings(self, samples: Any, spec: Spec) -> np.ndarray:
        """The number of the recording of each sample: one person's passage before one camera; -1 where no person is shown."""
        ...

    def attributes(self, predicted: dict[str, np.ndarray], spec: Spec) -> list[Attribute]:
        """What is told of one person beside who it is, from the predictions of several samples."""
        ...


@runtime_checkable
class Paper(Protocol):
    """people/systems/<name>/paper.py: published figures, and the captions of tables, curves and pictures.

    `OBJECTIVE`: the values of the block objective that the paper prints, such as its weights; empty where it prints none.
    """

    @property
    def OBJECTIVE(self) -> Mapping[str, Any]: ...

    @property
    def CAPTIONS(self) -> Mapping[str, str]: ...


PROTOCOLS: dict[str, type] = {
    "data": Data, "model": Model, "objective": Objective, "score": Score, "serving": Serving, "paper": Paper,
}  # fmt: skip


@dataclass(frozen=True)
class Phase:
    """One of several trainings in a row: what learns, and what is otherwise than in the system's blocks.

    `tasks`: which are trained, the weights λ of all others are 0; none named: all. `learns`: the beginnings of the names of the
    parameters that learn; none named: all. `data`, `objective` and `training` are laid over the system's own blocks; an entry
    of `training`, such as its schedule, is replaced whole. All phases run on the same devices, in the same precision.
    """

    name: str
    tasks: Sequence[str] = ()
    learns: Sequence[str] = ()
    data: Mapping[str, Any] | None = None
    objective: Mapping[str, Any] | None = None
    training: Mapping[str, Any] | None = None
    SINGLE: ClassVar[str] = ""  # the name of the only phase of a system that trains in one

    def __post_init__(self) -> None:
        rules = {
            "tasks": (not isinstance(self.tasks, str), "a list of tasks"),
            "learns": (not isinstance(self.learns, str), "a list of beginnings of parameters' names"),
            "training": (
                not set(self.training or {}) & {"accelerator", "devices", "precision"},
                "without devices or precision",
            ),
        }
        check(f"training.phases, {self.name}: ", self, rules)


@dataclass(frozen=True)
class Problem:
    """What one call of `fit` learns: a system's network and objective, their configuration as plain blocks, and opened data.

    `spec` and `statistics` come from the training split alone; `data_digest` stands for the content of both splits. `start` is
    the best checkpoint of the phase before, from which the network starts; `learns` see `Phase`.
    """

    system: str
    model: Model
    objective: Objective
    config: dict[str, Block]
    train: Samples
    validation: Samples
    spec: Spec
    statistics: Statistics
    data_digest: str
    phase: str = Phase.SINGLE
    learns: tuple[str, ...] = ()
    start: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for split, samples in (("train", self.train), ("validation", self.validation)):
            if len(samples) == 0:
                raise ValueError(f"{self.system}: the split {split!r} has no samples; provide subjects and clips for it")
