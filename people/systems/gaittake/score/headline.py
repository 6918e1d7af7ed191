"""The headline figures of GaitTAKE."""

from collections.abc import Mapping

from people.evaluation.headline import Entry, Figure, entries, sets
from people.systems.gaittake.paper import TITLES

GROUP = "single_view"
PROBES = {"NM": "normal walk", "BG": "with a bag", "CL": "in a coat", "mean": "mean over probe sets"}  # CASIA-B's


def headline_figures(metrics: Mapping[str, float]) -> list[Entry]:
    """Rank-1 across views of each probe set, and the mean where there are several."""
    return entries([figure(name) for name in sets(f"{GROUP}.rank_1", metrics)], metrics)


def figure(probes: str) -> Figure:
    """Rank-1 of a probe set."""
    title = f"Rank-1 across views, {PROBES.get(probes, f'probe set {probes}')}"
    metric, baseline = (f"{GROUP}.{measure}.{probes}" for measure in ("rank_1", "gei_rank_1"))
    return Figure(f"rank1_{probes.lower()}", title, metric, baseline, TITLES["gei"])
