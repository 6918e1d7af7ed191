"""The headline figures of GaitNet."""

from collections.abc import Mapping

from people.evaluation.headline import Entry, Figure, entries, sets
from people.systems.gaitnet.paper import GEI, TITLES

SHOWN = {"ALL": "all probes", "CL": "other clothes", "CB": "with a bag"}  # of FVG's probe sets
RANKED = ("identification", "single_view", "cross_view", "from_90")  # groups of rank-1; the first that was measured is shown


def headline_figures(metrics: Mapping[str, float]) -> list[Entry]:
    """Rank-1 and true accept rates under FVG's protocol; under others rank-1 of each probe set."""
    accepts = (name for name in metrics if name.startswith("verification.tar_at_") and name.endswith(".ALL"))
    rate = next(accepts, "").removeprefix("verification.").removesuffix(".ALL")
    groups = {group: list(sets(f"{group}.rank_1", metrics)) for group in RANKED}
    group = next((name for name in RANKED if groups[name]), RANKED[0])
    if "ALL" in groups[group]:
        all_probes, *others = [accepted(rate, probes) for probes in SHOWN]
        return entries([all_probes, ranked(group, "ALL"), *others], metrics)
    return entries([ranked(group, probes) for probes in groups[group]], metrics)


def accepted(rate: str, probes: str) -> Figure:
    """The true accept rate of a probe set; `rate`: the metric's name, such as tar_at_1."""
    title = f"True accept rate at {rate.removeprefix('tar_at_')} % false accepts, {SHOWN[probes]}"
    return figure("verification", rate, probes, f"{rate}_{probes}".replace(".", "_"), title)


def ranked(group: str, probes: str) -> Figure:
    """Rank-1 of a probe set."""
    return figure(group, "rank_1", probes, f"rank1_{probes}", f"Rank-1, {SHOWN.get(probes, f'probe set {probes}')}")


def figure(group: str, measure: str, probes: str, name: str, title: str) -> Figure:
    """A measure of a probe set beside that of gait energy images."""
    return Figure(name.lower(), title, f"{group}.{measure}.{probes}", f"{group}.gei_{measure}.{probes}", TITLES[GEI])
