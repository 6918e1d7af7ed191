"""Trained networks validated again, on the data of today, and how sure it is that one is better than another.

The validation score of a network depends on who is in the validation split. `difference` estimates by how much, so that a
network is called better only where a split with other people would most likely say so too.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy  # its parts are imported at their first use
import torch
from jaxtyping import Float, Int
from torch import Tensor

from people import checkpoints, systems
from people.config import build
from people.nn.inference import Batch, over_split
from people.training.monitor import Monitor, Validation

BATCH_SIZE = 64  # bounds memory, changes no result
SUBSETS = 100  # of people: the standard error is known to 1 / sqrt(2 * 100) = 7 % of itself
MIN_SUBJECTS = 3  # of whom two can be left, who have each other to be mistaken for


@dataclass(frozen=True)
class Validated:
    """A network's outputs on all validation samples, kept by its system's monitor, and the subject of each sample."""

    monitor: Monitor
    subject: Int[np.ndarray, " sample"]

    def result(self, subjects: Int[np.ndarray, " subject"] | None = None) -> Validation:
        """Errors and score on the samples of these subjects, as if the split had no others; None: on all samples."""
        if subjects is None:
            return self.monitor.result(dict)
        rows = torch.from_numpy(np.flatnonzero(np.isin(self.subject, subjects)))
        return self.monitor.result(lambda kept: {name: self._rows(name, values, rows) for name, values in kept.items()})

    def _rows(self, name: str, values: Any, rows: Int[Tensor, " row"]) -> Any:
        if len(values) != len(self.subject):
            raise ValueError(
                f"the monitor keeps {len(values)} rows of {name!r} for {len(self.subject)} samples: only one that keeps a row "
                "for each sample can be asked about some of the subjects"
            )
        return values[rows] if isinstance(values, Tensor) else [values[row] for row in rows.tolist()]


@torch.no_grad()
def validated(path: Path, reads: dict[str, Path]) -> Validated:
    """A checkpoint's outputs on the validation subjects of the data at `reads`, in full precision."""
    network, checkpoint = checkpoints.load(path)
    system, spec = checkpoint["system"], checkpoint["spec"]
    data, objective = systems.find(system, "data"), systems.find(system, "objective")
    config = build(data.Config, checkpoint["config"]["data"])
    samples = data.open_samples(reads, config, "validation", spec["tasks"])
    targets: Batch = samples.targets(spec)
    monitor = objective.monitor(tuple(targets))
    for outputs, batch in over_split(network, samples, spec, checkpoint["statistics"], BATCH_SIZE):
        monitor.add(outputs, batch)
    return Validated(monitor, targets["subject"].numpy())


def revalidate(path: Path, reads: dict[str, Path]) -> Validation:
    """A checkpoint's errors and score on the validation subjects of the data at `reads`, in full precision."""
    return validated(path, reads).result()


class OtherSubjects(ValueError):
    """Two networks were validated on different people, as one's configuration leaves out recordings that are too short."""


class Difference(NamedTuple):
    """The score of one network minus that of another on the same subjects, and its confidence interval over subjects.

    Where too few subjects allow no estimate, `low` and `high` are infinite.
    """

    value: float
    low: float
    high: float
    subjects: int


def difference(first: Validated, second: Validated, *, confidence: float, seed: int) -> Difference:
    """How much higher the first network scores on the same validation subjects, with the interval at this confidence.

    The interval is the value ± t · se. Of n subjects, t is the quantile of Student's distribution with n - 1 degrees of
    freedom, and se the standard error of the paired difference by the delete-d jackknife (Shao and Wu, Annals of Statistics 17,
    1989; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 11.7): se² = r/d · the variance of the difference over
    subsets of r = n - d subjects, half of them, the same ones for both networks. There are `SUBSETS` random subsets, or all
    where those are fewer.

    Subjects are not drawn with replacement, as the scores compare people with each other: one who is drawn twice would be his
    own impostor, or be retrieved by his own copy. That half are left out, and not one, makes the estimate consistent for ranks
    and quantiles as well. Subsets on which a score is not defined (no two recordings of anybody) do not count; if they are more
    than half, nothing is estimated.

    Raises:
        OtherSubjects: the networks were not validated on the same people.
    """
    people, others = np.unique(first.subject), np.unique(second.subject)
    if not np.array_equal(people, others):
        raise OtherSubjects(
            f"two networks can be compared on the same validation subjects only, got {len(people)} and {len(others)} of them: "
            "the configuration of one leaves some out"
        )
    value = first.result()["score"] - second.result()["score"]
    unknown = Difference(value, -math.inf, math.inf, len(people))
    if len(people) < MIN_SUBJECTS:
        return unknown
    chosen = subsets(people, seed)
    differences = np.array([_score(first, subset) - _score(second, subset) for subset in chosen])
    defined = differences[np.isfinite(differences)]
    if len(defined) < max(2, len(chosen) / 2):
        return unknown
    kept, left_out = len(chosen[0]), len(people) - len(chosen[0])
    margin = float(scipy.stats.t.ppf((1 + confidence) / 2, len(people) - 1)) * standard_error(defined, kept, left_out)
    return Difference(value, value - margin, value + margin, len(people))


def subsets(people: Int[np.ndarray, " subject"], seed: int) -> list[Int[np.ndarray, " kept"]]:
    """Subsets of half of the people, rounded up, two at least: all of them, or `SUBSETS` at random where there are more."""
    size = max(2, math.ceil(len(people) / 2))
    if math.comb(len(people), size) <= SUBSETS:
        return [people[list(rows)] for rows in combinations(range(len(people)), size)]
    draw = np.random.default_rng(seed)
    return [draw.choice(people, size, replace=False) for _ in range(SUBSETS)]


def standard_error(values: Float[np.ndarray, " subset"], kept: int, left_out: int) -> float:
    """The delete-d jackknife's estimate from a statistic's values on subsets of `kept` subjects, `left_out` being d."""
    return float(np.sqrt(kept / left_out * values.var()))


def _score(network: Validated, subjects: Int[np.ndarray, " subject"]) -> float:
    try:
        return network.result(subjects)["score"]
    except ValueError:  # the system's measure needs pairs, which these subjects have not
        return math.nan
