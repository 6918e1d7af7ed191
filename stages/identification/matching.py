"""A track against a gallery: a list of its people by rising distance for each system and for all together, or unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from people import systems
from people.serving import open_set
from stages.identification.answers import Answer, Champion
from stages.identification.galleries import Enrolled, Gallery, Person, enrolled

ALL = "all systems"
UNKNOWN = "unknown"
CANDIDATES = 5  # of each list that are kept


class Candidate(NamedTuple):
    """A person of the gallery in a list: its distance (the nearest recording's), and how often a stranger would be as near.

    `accept_rate` None: not known, as no distances between strangers are.
    """

    person: str  # the random number
    name: str
    distance: float
    accept_rate: float | None


class Match(NamedTuple):
    """Who a track is: the nearest person by all systems if accepted, else `UNKNOWN`; None where no threshold is known.

    `candidates`: by system, and by `ALL`, the nearest people. `thresholds`: the distance below which each accepts.
    """

    identity: Candidate | None
    is_decided: bool
    candidates: dict[str, list[Candidate]]
    thresholds: dict[str, float]

    @property
    def name(self) -> str | None:
        """The name of the person, `UNKNOWN`, or None where no decision could be made."""
        return self.identity.name if self.identity else UNKNOWN if self.is_decided else None


@dataclass(frozen=True, eq=False)
class Matcher:
    """A gallery, embedded by several systems, with the rate at which strangers may be accepted."""

    gallery: str
    people: Sequence[Person]
    systems: Mapping[str, tuple[Champion, Enrolled]]
    accept_rate: float

    @staticmethod
    def of(gallery: Gallery, champions: Sequence[Champion], accept_rate: float) -> "Matcher":
        """The gallery as these champions embed it; a `ValueError` where one of them has not, or none can."""
        people = gallery.people()
        embedded = {each.system: (each, enrolled(people, each, gallery.name)) for each in champions}
        usable = {system: (champion, rows) for system, (champion, rows) in embedded.items() if rows is not None}
        if not usable:
            names = ", ".join(each.system for each in champions) or "none"
            raise ValueError(
                f"no system can compare people with the gallery {gallery.name!r}: it needs a champion of a system that has "
                f"embedded somebody there; champions: {names}"
            )
        return Matcher(gallery.name, people, usable, accept_rate)

    def match(self, answers: Mapping[str, Answer]) -> Match:
        """Who a track is, by what the systems say of it."""
        distances = {system: self._distances(system, answers[system].embedding) for system in self.systems if system in answers}
        known = {system: part for system in distances if (part := self.systems[system][0].impostors) is not None}
        candidates = {
            system: self._candidates(distance, self._rates(system, known.get(system), distance))
            for system, distance in distances.items()
        }
        thresholds = {system: part.threshold(self.accept_rate, self._comparisons([system])) for system, part in known.items()}
        if not known:
            return Match(None, False, candidates, thresholds)
        fused, rates = self._fused(known, distances)
        candidates = {ALL: self._candidates(fused, rates), **candidates}
        nearest = candidates[ALL][0] if candidates[ALL] else None
        if nearest is None or nearest.accept_rate is None:  # distances that overflow
            return Match(None, False, candidates, thresholds)
        return Match(nearest if nearest.accept_rate <= self.accept_rate else None, True, candidates, thresholds)

    def _distances(self, system: str, embedding: np.ndarray) -> np.ndarray:
        """Of every person the distance of the nearest recording; NaN without one."""
        _, rows = self.systems[system]
        serving: Any = systems.find(system, "serving")
        distance = serving.distances(embedding[None].astype(np.float32), rows.embedding)[0]
        nearest = np.full(len(self.people), np.nan)
        for person in np.unique(rows.person):
            nearest[person] = distance[rows.person == person].min()
        return nearest

    def _rates(self, system: str, part: open_set.Impostors | None, distance: np.ndarray) -> np.ndarray:
        if part is None:
            return np.full(len(distance), np.nan)
        return part.accept_rate(distance, self._comparisons([system]))

    def _comparisons(self, names: Sequence[str]) -> int:
        return max(len(self.systems[name][1].person) for name in names)

    def _fused(
        self, known: Mapping[str, open_set.Impostors], distances: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of every person the mean of the normalised distances by the systems that have a recording, and how often a stranger
        would be as near by these."""
        fused, rates = np.full(len(self.people), np.nan), np.full(len(self.people), np.nan)
        has = np.stack([np.isfinite(distances[system]) for system in known])
        for pattern in np.unique(has, axis=1).T:
            names = [system for system, there in zip(known, pattern, strict=True) if there]
            rows = (has == pattern[:, None]).all(axis=0)
            if names:
                parts = [known[name] for name in names]
                fused[rows] = open_set.fused_distance(parts, [distances[name][rows] for name in names])
                rates[rows] = open_set.fused(*parts).accept_rate(fused[rows], self._comparisons(names))
        return fused, rates

    def _candidates(self, distance: np.ndarray, rates: np.ndarray) -> list[Candidate]:
        """The nearest people: by the rate at which strangers are as near, then by distance."""
        order = np.lexsort((distance, rates))
        return [
            Candidate(
                self.people[index].number,
                self.people[index].name,
                float(distance[index]),
                None if np.isnan(rates[index]) else float(rates[index]),
            )
            for index in order.tolist()
            if np.isfinite(distance[index])
        ][:CANDIDATES]
