"""Identification across views: for every probe, how soon its person is found among gallery clips that other cameras saw.

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

NOT_ASKED, NOT_THERE = -1, 0  # instead of a place: no such comparison; the person has no clip in that gallery


class Seen(NamedTuple):
    """Clips with what is known of them: the embedding, whose it is, and from where the camera looked."""

    embedding: Float[Tensor, "clip strip channel"]
    subject: Shaped[np.ndarray, " clip"]
    view_deg: Float[np.ndarray, " clip"]


@dataclass(frozen=True, eq=False)
class Found:
    """Of every probe in every gallery (one per view, or one of all other views).

    `place`: that of the nearest clip of its own person, 1 is the very nearest; `NOT_THERE` where that person has no clip in
    this gallery, `NOT_ASKED` where the gallery is the probe's own view, or empty. `precision`: the average precision where
    there is a place, else NaN.
    """

    subject: Shaped[np.ndarray, " probe"]
    view_deg: Float[np.ndarray, " probe"]
    gallery_deg: Float[np.ndarray, " gallery"]
    place: Int[np.ndarray, "probe gallery"]
    precision: Float[np.ndarray, "probe gallery"]

    @property
    def views_deg(self) -> Float[np.ndarray, " view"]:
        """The views from which there are probes."""
        return np.unique(self.view_deg)

    @property
    def without_gallery(self) -> int:
        """Comparisons that no answer could have passed: the probe's person is not in the gallery."""
        return int((self.place == NOT_THERE).sum())

    def within(self, rank: int, *, missing_count: bool = False) -> Float[np.ndarray, "probe gallery"]:
        """1 where the person is among the `rank` nearest clips, 0 where not, NaN where that does not count.

        With `missing_count` a person who is not in the gallery counts as not found, as GaitSet's figures also do.
        """
        hit = ((self.place >= 1) & (self.place <= rank)).astype(float)
        return np.where(self.place >= (NOT_THERE if missing_count else 1), hit, np.nan)

    def by_view(
        self, values: Float[np.ndarray, "probe gallery"], weights: Float[np.ndarray, " probe"] | None = None
    ) -> Float[np.ndarray, "view gallery"]:
        """The mean of the values over the probes of each view, in each gallery; NaN where there is none.

        A probe counts as often as its entry in `weights` says.
        """
        weights = np.ones(len(values)) if weights is None else weights
        of_view = (self.view_deg == self.views_deg[:, None]) * weights
        known = ~np.isnan(values)
        sums, counts = of_view @ np.where(known, values, 0.0), of_view @ known
        return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)

    def mean(self, values: Float[np.ndarray, "probe gallery"]) -> Callable[[Float[np.ndarray, " probe"]], float]:
        """As the papers average: over the probes of a pair of views, over gallery views, over probe views; of given weights."""
        return lambda weights: known_mean(known_means(self.by_view(values, weights)))


def single_view_gallery(probe: Seen, gallery: Seen) -> Found:
    """Every probe against the gallery clips of each other view by itself."""
    views_deg = np.unique(gallery.view_deg)

    def galleries(rows: slice) -> Iterator[tuple[int, Bool[np.ndarray, " probe"], Bool[np.ndarray, " gallery"]]]:
        for column, view_deg in enumerate(views_deg):
            yield column, probe.view_deg[rows] != view_deg, gallery.view_deg == view_deg

    return _found(probe, gallery, views_deg, galleries)


def cross_view_gallery(probe: Seen, gallery: Seen) -> Found:
    """Every probe against all gallery clips of other views together."""

    def galleries(rows: slice) -> Iterator[tuple[int, Bool[np.ndarray, " probe"], Bool[np.ndarray, " gallery"]]]:
        for view_deg in np.unique(probe.view_deg[rows]):
            yield 0, probe.view_deg[rows] == view_deg, gallery.view_deg != view_deg

    return _found(probe, gallery, np.array([np.nan]), galleries)


def _found(probe: Seen, gallery: Seen, gallery_deg: Float[np.ndarray, " gallery"], galleries: Callable) -> Found:
    if np.isnan(probe.view_deg).any() or np.isnan(gallery.view_deg).any():
        raise ValueError("a clip has no view_deg: only clips whose view is known are compared across views; correct the index")
    place = np.full((len(probe.subject), len(gallery_deg)), NOT_ASKED)
    precision = np.full(place.shape, np.nan)
    for rows, distance in distances.blocks(probe.embedding, gallery.embedding):
        block = distance.cpu().numpy()
        for column, probes, clips in galleries(rows):
            if probes.any() and clips.any():
                right = probe.subject[rows][probes][:, None] == gallery.subject[clips][None, :]
                at = np.flatnonzero(probes) + rows.start
                place[at, column], precision[at, column] = _ranked(block[np.ix_(probes, clips)], right)
    return Found(probe.subject, probe.view_deg, gallery_deg, place, precision)


def _ranked(
    distance: Float[np.ndarray, "probe gallery"], right: Bool[np.ndarray, "probe gallery"]
) -> tuple[Int[np.ndarray, " probe"], Float[np.ndarray, " probe"]]:
    """The place of the nearest right clip, and the average precision; of equally near clips the first comes first."""
    in_order = np.take_along_axis(right, np.argsort(distance, axis=1, kind="stable"), axis=1)
    count = in_order.sum(axis=1)
    place = np.where(count > 0, in_order.argmax(axis=1) + 1, NOT_THERE)
    precision = np.cumsum(in_order, axis=1) / np.arange(1, in_order.shape[1] + 1)
    sums = (precision * in_order).sum(axis=1)
    return place, np.divide(sums, count, out=np.full(len(sums), np.nan), where=count > 0)


def known_means(values: Float[np.ndarray, "row column"]) -> Float[np.ndarray, " row"]:
    """The mean of each row's known values; NaN where there is none."""
    return np.array([known_mean(row) for row in values])


def known_mean(values: Float[np.ndarray, " value"]) -> float:
    """The mean of the values that are not NaN; NaN where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
