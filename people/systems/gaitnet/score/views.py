"""Identification across views, as CASIA-B is judged: rank-1 with one view as gallery at a time, or all views together."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from people.config import Block
from people.evaluation import ProbeSet, bootstrap, crossview, subgroups
from people.evaluation.bootstrap import record
from people.evaluation.crossview import CrossViewRanks
from people.evaluation.results import Results
from people.systems.gaitnet.paper import BASELINE, GEI, OURS, TITLES
from people.systems.gaitnet.score.embedded import Embedded

GALLERIES = {
    "single_view": crossview.single_view_gallery,
    "cross_view": crossview.cross_view_gallery,
    "from_90": crossview.single_view_gallery,
}
TITLES_OF_RANK_1 = {
    "single_view": "rank-1, single view",
    "cross_view": "rank-1, all views",
    "from_90": "rank-1, gallery from 90°",
}  # in the table of subgroups


def judge(
    embedded: Embedded,
    probe_sets: list[ProbeSet],
    left_out: Mapping[str, tuple[str, ...]],
    resampling: Block,
    results: Results,
) -> None:
    """Rank-1 of every probe set by probe view, its mean over views with an interval, the comparisons without a gallery, and
    rank-1 by the number of frames seen and by subgroup.
    """
    seen = []
    for group in dict.fromkeys(probe_set.group for probe_set in probe_sets):
        table, missing, compared = [], [], []
        for probe_set in (each for each in probe_sets if each.group == group):
            excluded = left_out.get(f"{group}/{probe_set.name}", ())
            values = {OURS: embedded.embedding, GEI: embedded.energy}
            ranks = {method: _ranks(embedded, vectors, probe_set, excluded) for method, vectors in values.items()}
            missing.append({"probes": probe_set.name, "without gallery": ranks[OURS].without_gallery})
            if not (ranks[OURS].rank > 0).any():
                continue
            compared.append(ranks[OURS])
            estimated = bootstrap.estimate(_rank_1(ranks[OURS]), ranks[OURS].subject, **resampling)
            baselines = {f"gei_rank_1.{probe_set.name}": _rank_1(ranks[GEI])(np.ones(len(ranks[GEI].subject)))}
            record(results, f"{group}.rank_1.{probe_set.name}", estimated, baselines)
            table += [table_row(probe_set.name, method, of_method) for method, of_method in ranks.items()]
            if embedded.prefixes:
                seen.append(by_frames_seen(embedded, probe_set))
        if not table:
            raise ValueError(
                f"no probe of {group} has a gallery clip of its person from another view: give the dataset more views or "
                "sequences"
            )
        results.tables[group], results.tables[f"{group}_missing"] = pd.DataFrame(table), pd.DataFrame(missing)
        subgroups.record_across_views(results, TITLES_OF_RANK_1[group], compared, embedded.clips, resampling)
    if seen:
        results.curves["frames_seen"] = pd.concat(seen)


def table_row(probes: str, method: str, ranks: CrossViewRanks) -> dict[str, Any]:
    """Rank-1 in % for each probe view, and the mean over views."""
    by_view = crossview.row_nan_means(ranks.mean_by_view(ranks.hits_within(1)))
    columns = {f"{view:g}°": round(100 * value, 1) for view, value in zip(ranks.views_deg, by_view, strict=True)}
    source = OURS if method == OURS else BASELINE
    return {
        "probes": probes, "method": TITLES[method], "source": source, **columns,
        "mean": round(100 * crossview.nan_mean(by_view), 1),
    }  # fmt: skip


def by_frames_seen(embedded: Embedded, probe_set: ProbeSet) -> pd.DataFrame:
    """Mean rank-1 after 1, 2, ... frames of every probe; the gallery is seen whole."""
    probes, gallery = embedded.rows(probe_set.probes), embedded.rows(probe_set.gallery)
    enrolled, counts, values = embedded.viewed(embedded.embedding, gallery), embedded.frame_counts(probes), []
    for count in counts:
        ranks = GALLERIES[probe_set.group](embedded.seen(probes, count), enrolled)
        values.append(_rank_1(ranks)(np.ones(len(probes))))
    return pd.DataFrame({"probes": f"{probe_set.group} {probe_set.name}", "frames seen": counts, "rank-1": values})


def _ranks(embedded: Embedded, values: Tensor, probe_set: ProbeSet, excluded: tuple[str, ...]) -> CrossViewRanks:
    probes, gallery = embedded.rows(probe_set.probes + excluded), embedded.rows(probe_set.gallery)
    return GALLERIES[probe_set.group](embedded.viewed(values, probes), embedded.viewed(values, gallery))


def _rank_1(ranks: CrossViewRanks) -> Callable[[Float[np.ndarray, " probe"]], float]:
    """The papers' mean as a function of how often each probe counts."""
    return ranks.weighted_mean(ranks.hits_within(1))
