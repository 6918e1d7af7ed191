"""Re-ranking with k-reciprocal encoding (Zhong, Zheng, Cao, Li 2017): photos are near that are near to the same photos.

No matrix of all photos by all photos is ever held: what a photo is encoded by is sparse, and distances come in blocks.
Queries are among the photos, and nobody's identity or camera is looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from people import distances

SHARED = 2 / 3  # of a neighbour's own reciprocal neighbours, eq. 5


@dataclass(frozen=True)
class Config:
    """`k1` neighbours may be reciprocal, the encodings of `k2` photos are averaged, and the first distance weighs `share`."""

    k1: int
    k2: int
    share: float

    def __post_init__(self) -> None:
        if not 1 <= self.k2 <= self.k1 or not 0 <= self.share <= 1:
            raise ValueError(f"re-ranking needs 1 <= k2 <= k1 and lambda from 0 to 1, got {self}")


def blocks(
    embedding: Float[Tensor, "photo channel"],
    query: Int[np.ndarray, " query"],
    gallery: Int[np.ndarray, " gallery"],
    config: Config,
) -> Iterator[tuple[slice, Float[Tensor, "_ gallery"]]]:
    """d* = (1 - λ) d_J + λ d of rows of queries and the gallery (eq. 12), both given by their rows among the photos.

    d is the squared Euclidean distance as a share of the largest from the same photo (without which e^-d would depend on the
    scale of the embedding), d_J the Jaccard distance of the encodings.
    """
    if len(embedding) <= config.k1:
        raise ValueError(f"k1 = {config.k1} neighbours need more photos than that, got {len(embedding)}; lower rerank.k1")
    neighbours, farthest = nearest(embedding, config.k1)
    encoded = encodings(neighbours, embedding, farthest, config)
    of_gallery, sums = encoded[gallery].tocsc(), np.asarray(encoded.sum(axis=1)).ravel()
    for rows, distance in distances.blocks(embedding[query][:, None], embedding[gallery][:, None]):
        first = distance.double().square().cpu().numpy() / farthest[query[rows], None]
        shared = np.stack([shared_minimum(encoded, row, of_gallery, len(gallery)) for row in query[rows]])
        jaccard = 1 - shared / (sums[query[rows], None] + sums[gallery][None, :] - shared)
        mixed = (1 - config.share) * jaccard + config.share * first
        yield rows, torch.from_numpy(mixed.astype(np.float32)).clamp_(min=0)


def nearest(
    embedding: Float[Tensor, "photo channel"], k: int
) -> tuple[Int[np.ndarray, "photo neighbour"], Float[np.ndarray, " photo"]]:
    """Every photo itself and its k nearest others, and the largest squared distance from it."""
    neighbours, farthest = [], []
    for rows, distance in distances.blocks(embedding[:, None], embedding[:, None]):
        farthest.append(distance.max(dim=1).values.double().square())
        itself = torch.arange(rows.start, rows.stop, device=distance.device)
        distance[itself - rows.start, itself] = -1.0  # the first, also where another photo is the very same
        neighbours.append(distance.topk(k + 1, dim=1, largest=False).indices)
    longest = torch.cat(farthest).cpu().numpy()
    if not (longest > 0).all():
        raise ValueError("a photo is at distance 0 from all others: the network tells nobody apart; train it first")
    return torch.cat(neighbours).cpu().numpy(), longest


def encodings(
    neighbours: Int[np.ndarray, "photo neighbour"],
    embedding: Float[Tensor, "photo channel"],
    farthest: Float[np.ndarray, " photo"],
    config: Config,
) -> sparse.csr_array:
    """V: e^-d(p, g) where g is in R*(p, k1), else 0 (eq. 7), averaged over the k2 nearest photos, p first (eq. 11)."""
    found = expanded(neighbours, config.k1).tocoo()
    row, column = found.coords
    away = np.concatenate([pairwise(embedding, *part) for part in parts(row, column)]) / farthest[row]
    encoded = sparse.csr_array((np.exp(-away), (row, column)), shape=found.shape)
    return sparse.csr_array(indicator(neighbours[:, : config.k2]) @ encoded) * (1 / config.k2)


def expanded(neighbours: Int[np.ndarray, "photo neighbour"], k1: int) -> sparse.csr_array:
    """R*(p, k1): R(p, k1), and R(q, k1/2) of each q in it that shares 2/3 of its own with R(p, k1) (eq. 5)."""
    whole, half = reciprocal(neighbours), reciprocal(neighbours[:, : round(k1 / 2) + 1])
    shared = (whole @ half.T).multiply(whole).tocoo()
    row, column = shared.coords
    enough = shared.data >= SHARED * np.asarray(half.sum(axis=1)).ravel()[column]
    trusted = sparse.csr_array((np.ones(enough.sum()), (row[enough], column[enough])), shape=whole.shape)
    return (whole + trusted @ half).astype(bool).astype(float).tocsr()


def reciprocal(neighbours: Int[np.ndarray, "photo neighbour"]) -> sparse.csr_array:
    """R(p, k): the g among the neighbours of p that have p among theirs (eq. 3), as ones."""
    forth = indicator(neighbours)
    return forth.multiply(forth.T).tocsr()


def indicator(neighbours: Int[np.ndarray, "photo neighbour"]) -> sparse.csr_array:
    """One in a photo's row for each of its neighbours."""
    photos, k = neighbours.shape
    row = np.repeat(np.arange(photos), k)
    return sparse.csr_array((np.ones(row.size), (row, neighbours.ravel())), shape=(photos, photos))


def shared_minimum(
    encoded: sparse.csr_array, photo: np.integer, gallery: sparse.csc_array, count: int
) -> Float[np.ndarray, " gallery"]:
    """Σ_i min(V_p,i, V_g,i) with each of `count` photos g: only those are looked at that have an entry where p has one."""
    own = slice(encoded.indptr[photo], encoded.indptr[photo + 1])
    columns, weights = encoded.indices[own], encoded.data[own]
    starts = gallery.indptr[columns]
    counts = gallery.indptr[columns + 1] - starts
    at = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    smaller = np.minimum(np.repeat(weights, counts), gallery.data[at])
    return np.bincount(gallery.indices[at], smaller, minlength=count)


def parts(row: Int[np.ndarray, " pair"], column: Int[np.ndarray, " pair"]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs, some at a time."""
    for start in range(0, len(row), distances.NEAR_TOGETHER):
        some = slice(start, start + distances.NEAR_TOGETHER)
        yield row[some], column[some]


def pairwise(embedding: Float[Tensor, "photo channel"], row: np.ndarray, column: np.ndarray) -> Float[np.ndarray, " pair"]:
    """The squared distance of each pair."""
    first, second = (embedding[torch.from_numpy(at).long().to(embedding.device)].double() for at in (row, column))
    return (first - second).square().sum(1).cpu().numpy()
