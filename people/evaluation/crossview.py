"""Cross-view identification: for every probe clip, the rank of the nearest clip of its subject that is seen from another view.

Two protocols. A single view as gallery: each of the other views by itself, then the mean over gallery views, then over probe
views. All views in one gallery, from which only the clips of the probe's own person and view are removed: the mean over probes,
then over probe views. A probe is never compared with its own person seen from its own view.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from people.evaluation import finite
from people.nn import distances

NOT_COMPARED, NOT_IN_GALLERY = -1, 0  # instead of a rank; ranks count from 1


class ViewedClips(NamedTuple):
    """Clips: their embeddings, subjects and camera views in degrees."""

    embedding: Float[Tensor, "clip strip channel"]
    subject: Shaped[np.ndarray, " clip"]
    view_deg: Float[np.ndarray, " clip"]


@dataclass(frozen=True, eq=False)
class CrossViewRanks:
    """Of every probe its ranks in every gallery (one per view, or one of all views).

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


# Of a column of the ranks: the probes that have a gallery, its clips, and of these the ones removed where they show the
# probe's own person.
_Gallery = tuple[int, Bool[np.ndarray, " probe"], Bool[np.ndarray, " gallery"], Bool[np.ndarray, " gallery"]]


def single_view_gallery(probe: ViewedClips, gallery: ViewedClips) -> CrossViewRanks:
    """Every probe against the gallery clips of each other view by itself."""
    views_deg, nothing = np.unique(gallery.view_deg), np.zeros(len(gallery.view_deg), bool)

    def galleries(rows: slice) -> Iterator[_Gallery]:
        for column, view_deg in enumerate(views_deg):
            yield column, probe.view_deg[rows] != view_deg, gallery.view_deg == view_deg, nothing

    return _rank_probes(probe, gallery, views_deg, galleries)


def cross_view_gallery(probe: ViewedClips, gallery: ViewedClips) -> CrossViewRanks:
    """Every probe against all gallery clips together, but for those of its own person from its own view.

    Other people's clips from the probe's view stay: a view that is like the probe's makes strangers near. So in OpenGait's
    public code of the protocol of Hou et al. (*A comprehensive study on the evaluation of silhouette-based gait recognition*,
    TBIOM 2022). A gallery without anybody's clip from the probe's view is an easier one.
    """
    everything = np.ones(len(gallery.view_deg), bool)

    def galleries(rows: slice) -> Iterator[_Gallery]:
        for view_deg in np.unique(probe.view_deg[rows]):
            yield 0, probe.view_deg[rows] == view_deg, everything, gallery.view_deg == view_deg

    return _rank_probes(probe, gallery, np.array([np.nan]), galleries)


def _rank_probes(
    probe: ViewedClips,
    gallery: ViewedClips,
    gallery_deg: Float[np.ndarray, " gallery"],
    galleries: Callable[[slice], Iterator[_Gallery]],
) -> CrossViewRanks:
    if np.isnan(probe.view_deg).any() or np.isnan(gallery.view_deg).any():
        raise ValueError("a clip has no view_deg: only clips whose view is known are compared across views; correct the index")
    for role, clips in (("probe", probe), ("gallery", gallery)):
        finite.check(f"the embeddings of {role} clips", clips.embedding)
    rank = np.full((len(probe.subject), len(gallery_deg)), NOT_COMPARED)
    average_precision = np.full(rank.shape, np.nan)
    for rows, tensor in distances.blocks(probe.embedding, gallery.embedding):
        block = tensor.cpu().numpy()
        for column, probes, clips, own_view in galleries(rows):
            same_person = probe.subject[rows][probes][:, None] == gallery.subject[clips][None, :]
            removed = same_person & own_view[clips]
            has_gallery = ~removed.all(axis=1)
            if has_gallery.any():
                compared = np.flatnonzero(probes)[has_gallery]
                probe_rows, distance = compared + rows.start, block[np.ix_(compared, clips)]
                ranks, precisions = _rank_and_average_precision(distance, same_person[has_gallery], removed[has_gallery])
                rank[probe_rows, column], average_precision[probe_rows, column] = ranks, precisions
    return CrossViewRanks(probe.subject, probe.view_deg, gallery_deg, rank, average_precision)


def _rank_and_average_precision(
    distance: Float[np.ndarray, "probe gallery"],
    same_person: Bool[np.ndarray, "probe gallery"],
    removed: Bool[np.ndarray, "probe gallery"],
) -> tuple[Int[np.ndarray, " probe"], Float[np.ndarray, " probe"]]:
    """The rank of the nearest match, and the average precision; equally near clips keep their order.

    What is removed ranks behind everything else. `retrieval.MatchRanks` sums over the matches alone, this over the whole
    gallery: the last bits may differ.
    """
    order = np.argsort(np.where(removed, np.inf, distance), axis=1, kind="stable")
    in_order = np.take_along_axis(same_person & ~removed, order, axis=1)
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
