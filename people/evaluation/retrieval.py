"""Retrieval: for every query, the places at which its person's photos stand in a gallery that is sorted by distance.

What is not compared, as Market-1501 asks: the query itself, and where cameras matter, photos of the same person by the same
camera. Junk is not handed over; distractors are, and are never right. No row is sorted: a place is one more than the number
of nearer photos, and a query has few true matches, so that counting is faster.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from people import distances

NO_PLACE = 0  # places count from 1


class Photos(NamedTuple):
    """What is known of photos: who is on each, which camera took it, and its number, by which a query knows itself."""

    subject: Shaped[np.ndarray, " photo"]
    camera: Int[np.ndarray, " photo"]
    number: Int[np.ndarray, " photo"]

    def at(self, rows: np.ndarray | slice) -> "Photos":
        """Some of them."""
        return Photos(self.subject[rows], self.camera[rows], self.number[rows])


@dataclass(frozen=True, eq=False)
class Ranked:
    """Of every query the places of its true matches in its gallery, rising from 1, behind them `NO_PLACE`.

    A query without a true match counts in no mean: its figures are NaN, and `without_match` says how many there are.
    """

    subject: Shaped[np.ndarray, " query"]
    place: Int[np.ndarray, "query match"]

    @property
    def count(self) -> Int[np.ndarray, " query"]:
        """How many true matches each query has."""
        return (self.place != NO_PLACE).sum(axis=1)

    @property
    def without_match(self) -> int:
        """Queries that no answer could have passed."""
        return int((self.count == 0).sum())

    def within(self, rank: int) -> Float[np.ndarray, " query"]:
        """1 where a true match is among the `rank` nearest photos, 0 where none is: its mean is the CMC at that rank."""
        first = self.place[:, 0] if self.place.shape[1] else np.zeros(len(self.place), int)
        return np.where(self.count > 0, first <= rank, np.nan)

    def precision(self, *, trapezoid: bool = False) -> Float[np.ndarray, " query"]:
        """Average precision: 1/M Σ_j j / place_j over the M true matches, in steps, as scikit-learn's.

        With `trapezoid` the mean of the precision at a match and just before it (1 before the first photo), as the first
        code of Market-1501 has it: figures by it are lower.
        """
        found = self.place != NO_PLACE
        number, place = np.arange(1, self.place.shape[1] + 1), np.maximum(self.place, 1)
        at_match = number / place
        if trapezoid:
            before = np.where(place > 1, (number - 1) / np.maximum(place - 1, 1), 1.0)
            at_match = (before + at_match) / 2
        return np.divide((at_match * found).sum(axis=1), self.count, out=np.full(len(found), np.nan), where=self.count > 0)

    def cumulative(self, ranks: int) -> Float[np.ndarray, " rank"]:
        """The cumulative match characteristic: the share of queries found within rank 1, 2, ... `ranks`."""
        first = self.place[self.count > 0, :1].ravel()
        return (first[:, None] <= np.arange(1, ranks + 1)).mean(axis=0) if len(first) else np.full(ranks, np.nan)


def rank(
    query_embedding: Float[Tensor, "query channel"],
    gallery_embedding: Float[Tensor, "gallery channel"],
    query: Photos,
    gallery: Photos,
    *,
    same_camera_removed: bool,
) -> Ranked:
    """Every query against the gallery by the Euclidean distance of embeddings, a few hundred queries at a time."""
    blocks = distances.blocks(query_embedding[:, None], gallery_embedding[:, None])
    return rank_blocks(blocks, query, gallery, same_camera_removed=same_camera_removed)


def rank_blocks(
    blocks: Iterable[tuple[slice, Float[Tensor, "_ gallery"]]], query: Photos, gallery: Photos, *, same_camera_removed: bool
) -> Ranked:
    """The same for distances of any kind, none below 0: rows of queries, and these rows of the distance matrix.

    Of equally near photos the one that comes first in the gallery comes first.
    """
    own = own_photos(query.subject, gallery.subject)
    place = np.full(own.shape, NO_PLACE)
    for rows, distance in blocks:
        if not bool(torch.isfinite(distance).all()):
            raise ValueError("a distance is not finite: the network has diverged; train with a lower rate")
        compared = are_compared(query.at(rows), gallery, own[rows], same_camera_removed=same_camera_removed)
        place[rows] = _places(distance.cpu().numpy(), own[rows], compared)
    longest = int((place != NO_PLACE).sum(axis=1).max(initial=0))
    return Ranked(query.subject, place[:, :longest])


def own_photos(query: Shaped[np.ndarray, " query"], gallery: Shaped[np.ndarray, " gallery"]) -> Int[np.ndarray, "query own"]:
    """For every query the rows of the gallery that show its person, behind them -1."""
    order = np.argsort(gallery, kind="stable")
    start, stop = (np.searchsorted(gallery[order], query, side) for side in ("left", "right"))
    at = start[:, None] + np.arange(int((stop - start).max(initial=0)))
    return np.where(at < stop[:, None], order[np.minimum(at, len(order) - 1)], -1)


def are_compared(
    query: Photos, gallery: Photos, own: Int[np.ndarray, "query own"], *, same_camera_removed: bool
) -> Bool[np.ndarray, "query own"]:
    """Whether these photos of a query's person take part: not the query itself, perhaps none by its own camera."""
    compared = (own >= 0) & (gallery.number[own] != query.number[:, None])
    return compared & (gallery.camera[own] != query.camera[:, None]) if same_camera_removed else compared


def _places(
    distance: Float[np.ndarray, "query gallery"], own: Int[np.ndarray, "query own"], compared: Bool[np.ndarray, "query own"]
) -> Int[np.ndarray, "query own"]:
    """The places of the compared ones among each query's own photos, rising, then `NO_PLACE`."""
    place = np.full(own.shape, NO_PLACE)
    for query in np.flatnonzero(compared.any(axis=1)):
        row, there = distance[query], own[query] >= 0
        mine, takes_part = own[query][there], compared[query][there]
        order = np.lexsort((mine, row[mine]))
        before = nearer(row, mine[order[takes_part[order]]])
        # own photos that are not compared do not stand before a match, though they may be nearer
        removed = np.cumsum(~takes_part[order])[takes_part[order]]
        place[query, : len(before)] = 1 + before - removed
    return place


def nearer(distance: Float[np.ndarray, " gallery"], photos: Int[np.ndarray, " photo"]) -> Int[np.ndarray, " photo"]:
    """How many photos of the gallery stand before each of these: the nearer ones, and equally near ones of a lower number.

    Each is a pass over the row that the processor's vector units do, and faster than sorting it.
    """
    counts = [
        np.count_nonzero(distance < distance[photo]) + np.count_nonzero(distance[:photo] == distance[photo]) for photo in photos
    ]
    return np.array(counts, dtype=np.int64)


def listing(
    distance: Float[np.ndarray, " gallery"],
    query: Photos,
    gallery: Photos,
    *,
    same_camera_removed: bool,
) -> tuple[Int[np.ndarray, " compared"], Bool[np.ndarray, " compared"]]:
    """The rows of the gallery as one query finds them, nearest first, without those not compared; and which are right."""
    right = gallery.subject == query.subject[0]
    removed = right & (gallery.number == query.number[0])
    if same_camera_removed:
        removed |= right & (gallery.camera == query.camera[0])
    order = np.argsort(distance, kind="stable")
    order = order[~removed[order]]
    return order, right[order]
