"""Retrieval: for every query, the ranks of its person's photos in a gallery that is sorted by distance.

What is not compared, as Market-1501 defines: the query itself, and where cameras matter, photos of the same person by the
same camera. Junk is not passed in; distractors are, and are never a match. No row is sorted: a rank is one more than the
number of nearer photos, and a query has few matches, so that counting is faster.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from people.evaluation import finite
from people.nn import distances

NO_RANK = 0  # ranks count from 1


class Photos(NamedTuple):
    """The person on each photo, its camera, and a number by which a query is recognised in the gallery."""

    subject: Shaped[np.ndarray, " photo"]
    camera: Int[np.ndarray, " photo"]
    photo_id: Int[np.ndarray, " photo"]

    def select(self, rows: np.ndarray | slice) -> "Photos":
        """The photos of these rows."""
        return Photos(self.subject[rows], self.camera[rows], self.photo_id[rows])


@dataclass(frozen=True, eq=False)
class MatchRanks:
    """Of every query the ranks of its matches in its gallery, rising from 1, padded with `NO_RANK`.

    A query without a match counts in no mean: its figures are NaN, and `without_match` is the number of such queries.
    """

    subject: Shaped[np.ndarray, " query"]
    ranks: Int[np.ndarray, "query match"]

    @property
    def match_count(self) -> Int[np.ndarray, " query"]:
        """The number of matches of each query."""
        return (self.ranks != NO_RANK).sum(axis=1)

    @property
    def without_match(self) -> int:
        """The number of queries without a match."""
        return int((self.match_count == 0).sum())

    def hits_within(self, k: int) -> Float[np.ndarray, " query"]:
        """1 where a match is among the `k` nearest photos, 0 where none is: its mean is the CMC at rank k."""
        first = self.ranks[:, 0] if self.ranks.shape[1] else np.zeros(len(self.ranks), int)
        return np.where(self.match_count > 0, first <= k, np.nan)

    def average_precision(self, *, trapezoid: bool = False) -> Float[np.ndarray, " query"]:
        """Average precision: 1/M Σ_j j / rank_j over the M matches, in steps, as scikit-learn's.

        With `trapezoid` the mean of the precision at a match and just before it (1 before the first photo), as the first
        code of Market-1501 has it: figures by it are lower.
        """
        is_match = self.ranks != NO_RANK
        number, rank = np.arange(1, self.ranks.shape[1] + 1), np.maximum(self.ranks, 1)
        precision = number / rank
        if trapezoid:
            before = np.where(rank > 1, (number - 1) / np.maximum(rank - 1, 1), 1.0)
            precision = (before + precision) / 2
        count, sums = self.match_count, (precision * is_match).sum(axis=1)
        return np.divide(sums, count, out=np.full(len(sums), np.nan), where=count > 0)

    def cumulative_match(self, max_rank: int) -> Float[np.ndarray, " rank"]:
        """The cumulative match characteristic: the share of queries with a match within rank 1, 2, ... `max_rank`."""
        first = self.ranks[self.match_count > 0, :1].ravel()
        return (first[:, None] <= np.arange(1, max_rank + 1)).mean(axis=0) if len(first) else np.full(max_rank, np.nan)


def rank(
    query_embedding: Float[Tensor, "query channel"],
    gallery_embedding: Float[Tensor, "gallery channel"],
    query: Photos,
    gallery: Photos,
    *,
    same_camera_removed: bool,
) -> MatchRanks:
    """Every query against the gallery by the Euclidean distance of embeddings, a few hundred queries at a time."""
    for role, embedding in (("queries", query_embedding), ("gallery photos", gallery_embedding)):
        finite.check(f"the embeddings of {role}", embedding)
    blocks = distances.blocks(query_embedding[:, None], gallery_embedding[:, None])
    return rank_blocks(blocks, query, gallery, same_camera_removed=same_camera_removed)


def rank_blocks(
    blocks: Iterable[tuple[slice, Float[Tensor, "_ gallery"]]], query: Photos, gallery: Photos, *, same_camera_removed: bool
) -> MatchRanks:
    """The same for distances of any kind, none below 0: rows of queries, and these rows of the distance matrix.

    Equally near photos are ranked in the order of the gallery.
    """
    same_person = same_person_rows(query.subject, gallery.subject)
    ranks = np.full(same_person.shape, NO_RANK)
    for rows, distance in blocks:
        if not bool(torch.isfinite(distance).all()):
            raise ValueError("a distance is not finite: the network has diverged; train with a lower rate")
        is_match = valid_matches(query.select(rows), gallery, same_person[rows], same_camera_removed=same_camera_removed)
        ranks[rows] = _match_ranks(distance.cpu().numpy(), same_person[rows], is_match)
    longest = int((ranks != NO_RANK).sum(axis=1).max(initial=0))
    return MatchRanks(query.subject, ranks[:, :longest])


def same_person_rows(
    query: Shaped[np.ndarray, " query"], gallery: Shaped[np.ndarray, " gallery"]
) -> Int[np.ndarray, "query photo"]:
    """For every query the rows of the gallery that show its person, padded with -1; both are given by their subjects."""
    order = np.argsort(gallery, kind="stable")
    start, stop = (np.searchsorted(gallery[order], query, side) for side in ("left", "right"))
    position = start[:, None] + np.arange(int((stop - start).max(initial=0)))
    return np.where(position < stop[:, None], order[np.minimum(position, len(order) - 1)], -1)


def valid_matches(
    query: Photos, gallery: Photos, same_person: Int[np.ndarray, "query photo"], *, same_camera_removed: bool
) -> Bool[np.ndarray, "query photo"]:
    """Which photos of a query's person are compared: not the query itself, nor if so set those by its own camera."""
    is_valid = (same_person >= 0) & (gallery.photo_id[same_person] != query.photo_id[:, None])
    return is_valid & (gallery.camera[same_person] != query.camera[:, None]) if same_camera_removed else is_valid


def _match_ranks(
    distance: Float[np.ndarray, "query gallery"],
    same_person: Int[np.ndarray, "query photo"],
    is_match: Bool[np.ndarray, "query photo"],
) -> Int[np.ndarray, "query photo"]:
    """The ranks of the matches among the photos of each query's person, rising, padded with `NO_RANK`."""
    ranks = np.full(same_person.shape, NO_RANK)
    for query in np.flatnonzero(is_match.any(axis=1)):
        row, is_photo = distance[query], same_person[query] >= 0
        photos, valid = same_person[query][is_photo], is_match[query][is_photo]
        order = np.lexsort((photos, row[photos]))
        nearer = count_nearer(row, photos[order[valid[order]]])
        # the person's photos that are not compared do not count in a rank, though they may be nearer
        removed = np.cumsum(~valid[order])[valid[order]]
        ranks[query, : len(nearer)] = 1 + nearer - removed
    return ranks


def count_nearer(distance: Float[np.ndarray, " gallery"], photos: Int[np.ndarray, " photo"]) -> Int[np.ndarray, " photo"]:
    """The number of gallery photos ranked before each of these: nearer, or equally near and of a lower row.

    Each is a pass over the row that the processor's vector units do, and faster than sorting it.
    """
    counts = [
        np.count_nonzero(distance < distance[photo]) + np.count_nonzero(distance[:photo] == distance[photo]) for photo in photos
    ]
    return np.array(counts, dtype=np.int64)


def rank_gallery(
    distance: Float[np.ndarray, " gallery"],
    query: Photos,
    gallery: Photos,
    *,
    same_camera_removed: bool,
) -> tuple[Int[np.ndarray, " compared"], Bool[np.ndarray, " compared"]]:
    """The rows of the gallery for one query, nearest first, without those not compared; and which are matches."""
    same_person = gallery.subject == query.subject[0]
    removed = same_person & (gallery.photo_id == query.photo_id[0])
    if same_camera_removed:
        removed |= same_person & (gallery.camera == query.camera[0])
    order = np.argsort(distance, kind="stable")
    order = order[~removed[order]]
    return order, same_person[order]
