"""Open-set identification: whether the person of a gallery who is nearest to a probe is near enough, or the probe is unknown.

What near means is measured on impostors: pairs of recordings of different people. A distance is accepted if a small share of
impostors is as near. The share is estimated as in a permutation test, (k + 1) / (n + 1) with k of n impostors as near (Phipson
and Smyth, 2010), so it is never 0. Distances of several systems are normalised by mean and deviation of their impostors and
averaged: the sum rule with z-scores of Jain, Nandakumar and Ross (Pattern Recognition 38, 2005).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from people import checkpoints, systems
from people.config import build
from people.nn.inference import joined, over_split
from people.training.system import Identifying

BATCH_SIZE = 64  # bounds memory, changes no result
POINTS = 40  # of a distribution that are kept evenly, and as many more where distances are small
GRID = np.arange(-12, 12.0025, 0.005)  # of normalised distances, on which distributions are convolved


@dataclass(frozen=True)
class Impostors:
    """The distribution of the distances of `pairs` pairs of recordings of different people, of whom there are `people`.

    `counts` (rising) of the pairs are at most `distances` apart; both are as long. The last count is that of all.
    """

    counts: tuple[int, ...]
    distances: tuple[float, ...]
    mean: float
    deviation: float
    people: int
    pairs: int

    def match_rate(self, distance: Float[np.ndarray, " probe"]) -> Float[np.ndarray, " probe"]:
        """The share of impostors who are as near, (k + 1) / (n + 1); a NaN has 1."""
        nearer = np.interp(np.asarray(distance, np.float64), *self._curve, left=0.0, right=float(self.pairs))
        return np.where(np.isnan(distance), 1.0, (nearer + 1) / (self.pairs + 1))

    def accept_rate(self, distance: Float[np.ndarray, " probe"], comparisons: int) -> Float[np.ndarray, " probe"]:
        """The probability that a stranger is as near to one of so many recordings: 1 - (1 - `match_rate`)^comparisons.

        Recordings of one person are alike, so it is an upper bound where a person has several.
        """
        return -np.expm1(comparisons * np.log1p(-np.minimum(self.match_rate(distance), 1 - 1e-12)))

    def threshold(self, accept_rate: float, comparisons: int) -> float:
        """The largest distance of which `accept_rate` is at most this; -inf where so few pairs cannot show so small a rate."""
        match_rate = -np.expm1(np.log1p(-accept_rate) / comparisons)
        nearer = match_rate * (self.pairs + 1) - 1
        return -np.inf if nearer < 0 else float(np.interp(nearer, self._curve[1], self._curve[0]))

    def normalised(self, distance: Float[np.ndarray, " probe"]) -> Float[np.ndarray, " probe"]:
        """How many deviations the distance lies above the impostors' mean."""
        return (np.asarray(distance, np.float64) - self.mean) / self.deviation

    def to_json(self) -> str:
        """As text of at most 5,000 characters."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> "Impostors":
        """The inverse of `to_json`; a `ValueError` for other text."""
        try:
            values: dict[str, Any] = json.loads(text)
            return Impostors(**{**values, "counts": tuple(values["counts"]), "distances": tuple(values["distances"])})
        except (TypeError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(f"expected the distances of impostors as `register` writes them, got {text[:80]!r}") from error

    @cached_property
    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.distances), np.array(self.counts, np.float64)


def between_people(distance: Float[np.ndarray, "recording recording"], person: Int[np.ndarray, " recording"]) -> Impostors:
    """The distribution of distances between recordings of different people; every pair counts once.

    Raises:
        ValueError: there are less than two people, or a distance is not finite.
    """
    first, second = np.triu_indices(len(person), k=1)
    differ: Bool[np.ndarray, " pair"] = person[first] != person[second]
    between = np.sort(distance[first, second][differ].astype(np.float64))
    people = len(np.unique(person))
    if people < 2:
        raise ValueError(f"expected recordings of two people at least, got those of {people}: provide more validation people")
    if not np.isfinite(between).all():
        raise ValueError("distances between validation people are not finite; train the system again")
    ranks = kept_ranks(len(between))
    deviation = float(between.std()) or 1.0
    kept = tuple(float(f"{between[rank - 1]:.6g}") for rank in ranks)
    return Impostors(tuple(ranks.tolist()), kept, float(between.mean()), deviation, people, len(between))


def kept_ranks(count: int) -> Int[np.ndarray, " point"]:
    """Which of so many sorted distances are kept, counted from 1: the first, the last, and more among the first."""
    ranks = np.concatenate([np.geomspace(1, count, POINTS), np.linspace(1, count, POINTS)])
    return np.unique(ranks.round().astype(int))


@lru_cache(maxsize=64)
def fused(*parts: Impostors) -> Impostors:
    """The distribution of `fused_distance` of impostors, were the systems' distances independent of each other.

    It claims as many pairs as the part with most: what independent systems rarely do each, they do together more rarely still.
    """
    if len(parts) == 1:
        (one,) = parts
        distances = tuple(one.normalised(np.array(one.distances)).tolist())
        return Impostors(one.counts, distances, 0.0, 1.0, one.people, one.pairs)
    shares = [
        np.diff((part.match_rate(GRID * part.deviation + part.mean) * (part.pairs + 1) - 1) / part.pairs) for part in parts
    ]
    total = np.array([1.0])
    for share in shares:
        total = np.convolve(total, share)
    sums = np.arange(len(total)) * (GRID[1] - GRID[0]) + len(parts) * (GRID[0] + (GRID[1] - GRID[0]) / 2)
    pairs, people = max(part.pairs for part in parts), min(part.people for part in parts)
    total = total / total.sum()
    means = sums / len(parts)
    deviation = float(np.sqrt((total * means**2).sum() - (total * means).sum() ** 2))
    counts = kept_ranks(pairs)
    places = np.searchsorted(np.cumsum(total), counts / pairs * (1 - 1e-9))
    return Impostors(tuple(counts.tolist()), tuple(means[places].tolist()), 0.0, deviation, people, pairs)


def fused_distance(parts: Sequence[Impostors], distances: Sequence[Float[np.ndarray, " probe"]]) -> Float[np.ndarray, " probe"]:
    """The mean of the systems' normalised distances."""
    normalised = [part.normalised(distance) for part, distance in zip(parts, distances, strict=True)]
    return np.mean(normalised, axis=0)


def impostors(checkpoint_file: Path, reads: dict[str, Path]) -> Impostors | None:
    """How far a trained system puts validation people apart; None if it tells nobody apart, or there is one person.

    A recording's embedding is the mean over its samples, as `identify` compares them.
    """
    network, checkpoint = checkpoints.load(checkpoint_file)
    system, spec = checkpoint["system"], checkpoint["spec"]
    serving, data = systems.find(system, "serving"), systems.find(system, "data")
    if not isinstance(serving, Identifying):
        return None
    samples = data.open_samples(reads, build(data.Config, checkpoint["config"]["data"]), "validation", spec["tasks"])
    batches = over_split(network, samples, spec, checkpoint["statistics"], BATCH_SIZE)
    embedding = serving.predictions(joined([outputs for outputs, _ in batches]))[serving.EMBEDDING]
    recording, subject = serving.recordings(samples, spec), samples.targets(spec)["subject"].numpy()
    numbers = np.unique(recording[recording >= 0])
    mean = np.stack([embedding[recording == number].mean(axis=0) for number in numbers])
    person = np.array([subject[recording == number][0] for number in numbers])
    return between_people(serving.distances(mean, mean), person) if len(np.unique(person)) > 1 else None
