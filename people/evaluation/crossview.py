"""Cross-view identification: for every probe clip, the rank of the nearest clip of its subject in a gallery of other views.

Two protocols. A single view as gallery: each of the other views by itself, then the mean over gallery views, then over probe
views. All other views in one gallery: the mean over probes, then over probe views. The identical view is never compared.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from people import distances

NOT_COMPARED, NOT_IN_GALLERY = -1, 0  # instead of a rank; ranks count from 1


class ViewedClips(NamedTuple):
    """Clips: their embeddings, subjects and camera views in degrees."""

    embedding: Float[Tensor, "clip strip channel"]
    subject: Shaped[np.ndarray, " clip"]
    view_deg: Float[np.ndarray, " clip"]


@dataclass(frozen=True, eq=False)
class CrossViewRanks:
    """Of every probe its ranks in every gallery (one per view, or one of all other views).

    `rank`: that of the nearest clip of the probe's subject, from 1; `NOT_IN_GALLERY` where that subject has no clip in this
    gallery, `NOT_COMPARED` where the gallery is the probe's own view, or empty. `average_precision`: NaN where there is no
    rank.
    """

    subject: Shaped[np.ndarray, " probe"]
    view_deg: Float[np.ndarray, " probe"]
    gallery_deg: Float[np.ndarray, " gallery"]
    rank: Int[np.ndarray, "probe gallery"]
    average_precision: Float[np.ndarray, "probe gallery"]

    @property
    def views_deg(self) -> Float[np.ndarray, " view"]:
        """The views of the probes, rising."""
        return np.unique(self.view_deg)

    @property
    def without_gallery(self) -> int:
        """The number of comparisons in which the probe's subject is not in the gallery."""
        return int((self.rank == NOT_IN_GALLERY).sum())

    def hits_within(self, k: int, *, count_missing: bool = False) -> Float[np.ndarray, "probe gallery"]:
        """1 where the subject is among the `k` nearest clips, 0 where not, NaN where that does not count.

        With `count_missing` a subject who is not in the gallery counts as 0, as in GaitSet's figures.
        """
        is_hit = ((self.rank >= 1) & (self.rank <= k)).astype(float)
        return np.where(self.rank >= (NOT_IN_GALLERY if count_missing else 1), is_hit, np.nan)

    def mean_by_view(
        self, values: Float[np.ndarray, "probe gallery"], weights: Float[np.ndarray, " probe"] | None = None
    ) -> Float[np.ndarray, "view gallery"]:
        """The mean of the values that are not NaN over the probes of each view, in each gallery; NaN where there is none.

        A probe counts as often as its entry in `weights` says.
        """
        weights = np.ones(len(values)) if weights is None else weights
        view_weights = (self.view_deg == self.views_deg[:, None]) * weights
        is_defined = ~np.isnan(values)
        sums, counts = view_weights @ np.where(is_defined, values, 0.0), view_weights @ is_defined
        return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)

    def weighted_mean(self, values: Float[np.ndarray, "probe gallery"]) -> Callable[[Float[np.ndarray, " probe"]], float]:
        """As a function of probe weights the papers' mean: over the probes of two views, over gallery views, probe views."""
        return lambda weights: nan_mean(row_nan_means(self.mean_by_view(values, weights)))


def single_view_gallery(probe: ViewedClips, gallery: ViewedClips) -> CrossViewRanks:
    """Every probe against the gallery clips of each other view by itself."""
    views_deg = np.unique(gallery.view_deg)

    def galleries(rows: slice) -> Iterator[tuple[int, Bool[np.ndarray, " probe"], Bool[np.ndarray, " gallery"]]]:
        for column, view_deg in enumerate(views_deg):
            yield column, probe.view_deg[rows] != view_deg, gallery.view_deg == view_deg

    return _rank_probes(probe, gallery, views_deg, galleries)


def cross_view_gallery(probe: ViewedClips, gallery: ViewedClips) -> CrossViewRanks:
    """Every probe against all gallery clips of other views together."""

    def galleries(rows: slice) -> Iterator[tuple[int, Bool[np.ndarray, " probe"], Bool[np.ndarray, " gallery"]]]:
        for view_deg in np.unique(probe.view_deg[rows]):
            yield 0, probe.view_deg[rows] == view_deg, gallery.view_deg != view_deg

    return _rank_probes(probe, gallery, np.array([np.nan]), galleries)


def _rank_probes(
    probe: ViewedClips, gallery: ViewedClips, gallery_deg: Float[np.ndarray, " gallery"], galleries: Callable
) -> CrossViewRanks:
    if np.isnan(probe.view_deg).any() or np.isnan(gallery.view_deg).any():
        raise ValueError("a clip has no view_deg: only clips whose view is known are compared across views; correct the index")
    rank = np.full((len(probe.subject), len(gallery_deg)), NOT_COMPARED)
    average_precision = np.full(rank.shape, np.nan)
    for rows, distance in distances.blocks(probe.embedding, gallery.embedding):
        block = distance.cpu().numpy()
        for column, probes, clips in galleries(rows):
            if probes.any() and clips.any():
                is_match = probe.subject[rows][probes][:, None] == gallery.subject[clips][None, :]
                probe_rows = np.flatnonzero(probes) + rows.start
                ranks, precisions = _rank_and_average_precision(block[np.ix_(probes, clips)], is_match)
                rank[probe_rows, column], average_precision[probe_rows, column] = ranks, precisions
    return CrossViewRanks(probe.subject, probe.view_deg, gallery_deg, rank, average_precision)


def _rank_and_average_precision(
    distance: Float[np.ndarray, "probe gallery"], is_match: Bool[np.ndarray, "probe gallery"]
) -> tuple[Int[np.ndarray, " probe"], Float[np.ndarray, " probe"]]:
    """The rank of the nearest match, and the average precision; equally near clips keep their order.

    `retrieval.MatchRanks` sums over the matches alone, this over the whole gallery: the last bits may differ.
    """
    in_order = np.take_along_axis(is_match, np.argsort(distance, axis=1, kind="stable"), axis=1)
    count = in_order.sum(axis=1)
    rank = np.where(count > 0, in_order.argmax(axis=1) + 1, NOT_IN_GALLERY)
    precision = np.cumsum(in_order, axis=1) / np.arange(1, in_order.shape[1] + 1)
    sums = (precision * in_order).sum(axis=1)
    return rank, np.divide(sums, count, out=np.full(len(sums), np.nan), where=count > 0)


def row_nan_means(values: Float[np.ndarray, "row column"]) -> Float[np.ndarray, " row"]:
    """`nan_mean` of each row."""
    return np.array([nan_mean(row) for row in values])


def nan_mean(values: Float[np.ndarray, " value"]) -> float:
    """The mean of the values that are not NaN; NaN where all are, without numpy's warning."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
