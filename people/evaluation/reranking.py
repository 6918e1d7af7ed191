"""Re-ranking with k-reciprocal encoding (Zhong, Zheng, Cao, Li 2017): photos are near that are near to the same photos.

No matrix of all photos by all photos is ever held: encodings are sparse, and distances come in blocks. Queries are among the
photos; identities and cameras are not used.

Published figures come from the authors' code, which is not what the paper prints. Two readings:
`published`: an encoding is divided by its sum, and a neighbour's neighbours are added if more than 2/3 of them are shared.
As encodings then sum to 1, the Jaccard distance is 1 - m / (2 - m), m being the sum of minima.
`paper`: an encoding is as it comes from eq. 7, and 2/3 itself is enough (eq. 5).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from people.evaluation import finite
from people.nn import distances

READINGS = ("published", "paper")


@dataclass(frozen=True)
class Config:
    """`k1` neighbours may be reciprocal, encodings of `k2` photos are averaged, λ = `share` weighs the original distance.

    `reading`: one of `READINGS`, see above.
    """

    k1: int
    k2: int
    share: float
    reading: str

    def __post_init__(self) -> None:
        if not 1 <= self.k2 <= self.k1 or not 0 <= self.share <= 1:
            raise ValueError(f"re-ranking needs 1 <= k2 <= k1 and lambda from 0 to 1, got {self}")
        if self.reading not in READINGS:
            raise ValueError(f"the reading of re-ranking must be one of {', '.join(READINGS)}, got {self.reading!r}")


def blocks(
    embedding: Float[Tensor, "photo channel"],
    query: Int[np.ndarray, " query"],
    gallery: Int[np.ndarray, " gallery"],
    config: Config,
) -> Iterator[tuple[slice, Float[Tensor, "_ gallery"]]]:
    """d* = (1 - λ) d_J + λ d of rows of queries and the gallery (eq. 12), both given by their rows among the photos.

    d is the squared Euclidean distance as a share of the largest from the same photo (without which e^-d would depend on the
    scale of the embedding), d_J = 1 - Σ min / Σ max the Jaccard distance of the encodings (eq. 10).
    """
    finite.check("the embeddings of photos", embedding)
    if len(embedding) <= config.k1:
        raise ValueError(f"k1 = {config.k1} neighbours need more photos than that, got {len(embedding)}; lower rerank.k1")
    neighbours, farthest = nearest(embedding, config.k1)
    encoded = encodings(neighbours, embedding, farthest, config)
    gallery_encoded, sums = encoded[gallery].tocsc(), np.asarray(encoded.sum(axis=1)).ravel()
    for rows, distance in distances.blocks(embedding[query][:, None], embedding[gallery][:, None]):
        original = distance.double().square().cpu().numpy() / farthest[query[rows], None]
        shared = np.stack([shared_minimum(encoded, row, gallery_encoded, len(gallery)) for row in query[rows]])
        jaccard = 1 - shared / (sums[query[rows], None] + sums[gallery][None, :] - shared)
        mixed = (1 - config.share) * jaccard + config.share * original
        yield rows, torch.from_numpy(mixed.astype(np.float32)).clamp_(min=0)


def nearest(
    embedding: Float[Tensor, "photo channel"], k: int
) -> tuple[Int[np.ndarray, "photo neighbour"], Float[np.ndarray, " photo"]]:
    """Every photo itself and its k nearest others, and the largest squared distance from it."""
    neighbours, farthest = [], []
    for rows, distance in distances.blocks(embedding[:, None], embedding[:, None]):
        farthest.append(distance.max(dim=1).values.double().square())
        photo = torch.arange(rows.start, rows.stop, device=distance.device)
        distance[photo - rows.start, photo] = -1.0  # the first, also where another photo has an equal embedding
        neighbours.append(distance.topk(k + 1, dim=1, largest=False).indices)
    longest = torch.cat(farthest).cpu().numpy()
    if not (longest > 0).all():
        raise ValueError("a photo is at distance 0 from all others: all embeddings are equal; train the network first")
    return torch.cat(neighbours).cpu().numpy(), longest


def encodings(
    neighbours: Int[np.ndarray, "photo neighbour"],
    embedding: Float[Tensor, "photo channel"],
    farthest: Float[np.ndarray, " photo"],
    config: Config,
) -> sparse.csr_array:
    """V: e^-d(p, g) where g is in R*(p, k1), else 0 (eq. 7), averaged over the k2 nearest photos, p first (eq. 11).

    By the published reading the numbers of a photo are shares of their sum before they are averaged.
    """
    reciprocal = expanded_reciprocal_neighbours(neighbours, config).tocoo()
    row, column = reciprocal.coords
    distance = np.concatenate([squared_distances(embedding, *chunk) for chunk in pair_chunks(row, column)]) / farthest[row]
    weight = np.exp(-distance)
    if config.reading == "published":
        weight /= np.bincount(row, weight, minlength=len(embedding))[row]
    encoded = sparse.csr_array((weight, (row, column)), shape=reciprocal.shape)
    return sparse.csr_array(neighbour_matrix(neighbours[:, : config.k2]) @ encoded) * (1 / config.k2)


def expanded_reciprocal_neighbours(neighbours: Int[np.ndarray, "photo neighbour"], config: Config) -> sparse.csr_array:
    """R*(p, k1): R(p, k1), and R(q, k1/2) of each q in it that shares 2/3 of its own with R(p, k1) (eq. 5), or more."""
    full, half = reciprocal_neighbours(neighbours), reciprocal_neighbours(neighbours[:, : round(config.k1 / 2) + 1])
    shared = (full @ half.T).multiply(full).tocoo()
    row, column = shared.coords
    two_thirds = 2 * np.asarray(half.sum(axis=1)).ravel()[column]  # times 3: whole numbers, no rounding decides
    enough = 3 * shared.data > two_thirds if config.reading == "published" else 3 * shared.data >= two_thirds
    trusted = sparse.csr_array((np.ones(enough.sum()), (row[enough], column[enough])), shape=full.shape)
    return (full + trusted @ half).astype(bool).astype(float).tocsr()


def reciprocal_neighbours(neighbours: Int[np.ndarray, "photo neighbour"]) -> sparse.csr_array:
    """R(p, k): the g among the neighbours of p that have p among theirs (eq. 3), as ones."""
    matrix = neighbour_matrix(neighbours)
    return matrix.multiply(matrix.T).tocsr()


def neighbour_matrix(neighbours: Int[np.ndarray, "photo neighbour"]) -> sparse.csr_array:
    """One in a photo's row for each of its neighbours."""
    photos, k = neighbours.shape
    row = np.repeat(np.arange(photos), k)
    return sparse.csr_array((np.ones(row.size), (row, neighbours.ravel())), shape=(photos, photos))


def shared_minimum(
    encoded: sparse.csr_array, photo: np.integer, gallery: sparse.csc_array, count: int
) -> Float[np.ndarray, " gallery"]:
    """Σ_i min(V_p,i, V_g,i) with each of `count` photos g; only those are read that have an entry where p has one."""
    entries = slice(encoded.indptr[photo], encoded.indptr[photo + 1])
    columns, weights = encoded.indices[entries], encoded.data[entries]
    starts = gallery.indptr[columns]
    counts = gallery.indptr[columns + 1] - starts
    index = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    smaller = np.minimum(np.repeat(weights, counts), gallery.data[index])
    return np.bincount(gallery.indices[index], smaller, minlength=count)


def pair_chunks(row: Int[np.ndarray, " pair"], column: Int[np.ndarray, " pair"]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs in chunks of `distances.NEAR_BLOCK`."""
    for start in range(0, len(row), distances.NEAR_BLOCK):
        chunk = slice(start, start + distances.NEAR_BLOCK)
        yield row[chunk], column[chunk]


def squared_distances(
    embedding: Float[Tensor, "photo channel"], row: np.ndarray, column: np.ndarray
) -> Float[np.ndarray, " pair"]:
    """The squared distance of each pair."""
    first, second = (embedding[torch.from_numpy(rows).long().to(embedding.device)].double() for rows in (row, column))
    return (first - second).square().sum(1).cpu().numpy()
