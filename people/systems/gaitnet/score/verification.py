"""Verification and identification of probe clips against one gallery, as FVG and USF HumanID are judged.

Every probe is compared with every gallery clip, all pairs of a probe set together: true accept rate at a false accept rate.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist

from people.config import Block
from people.evaluation import ProbeSet, bootstrap, metrics, subgroups
from people.evaluation.bootstrap import Hits, Pairs, record
from people.evaluation.results import Results
from people.systems.gaitnet.paper import BASELINE, GEI, OURS, TITLES
from people.systems.gaitnet.score.embedded import Embedded

RANKS = (1, 5)
PUBLIC_CODE_SLACK = 0.005


class Compared(NamedTuple):
    """The distances of the probes of a set from its gallery, and whose both are."""

    distance: Float[np.ndarray, "probe gallery"]
    probe: np.ndarray
    gallery: np.ndarray

    def pairs(self) -> Pairs:
        """Every probe with every gallery clip."""
        return Pairs.from_distances(self.gallery, self.probe, self.distance)

    def hits(self) -> Hits:
        """Whose gallery clip is the nearest, and which ranks follow; a person is as near as the nearest of their clips."""
        people = np.unique(self.gallery)
        scores = -np.stack([self.distance[:, self.gallery == person].min(axis=1) for person in people], axis=1)
        return Hits(self.probe, metrics.hits_at_rank(scores, self.probe, people))


def judge(
    embedded: Embedded,
    probe_sets: list[ProbeSet],
    left_out: Mapping[str, tuple[str, ...]],
    false_accepts: list[float],
    public_code_reading: bool,
    resampling: Block,
    results: Results,
) -> None:
    """True accept rates, ranks, ROC curves, the score by the number of frames seen, of every probe set; rank-1 by subgroup."""
    measures = accept_rates(false_accepts, public_code_reading)
    table, curves, seen, ours = [], [], [], []
    for probe_set in probe_sets:
        compared = {OURS: compare(embedded, probe_set), GEI: compare_energy(embedded, probe_set)}
        pairs = {method: each.pairs() for method, each in compared.items()}
        hits = {method: each.hits() for method, each in compared.items()}
        ours.append(hits[OURS])
        percent = verify(probe_set.name, pairs, measures, resampling, results)
        percent |= identify(probe_set.name, hits, resampling, results)
        for method, source in ((OURS, OURS), (GEI, BASELINE)):
            values = {title: round(100 * by_method[method], 1) for title, by_method in percent.items()}
            table.append({"probes": probe_set.name, "method": TITLES[method], "source": source, **values})
            curves.append(pairs[method].roc(f"{probe_set.name}, {TITLES[method]}"))
        if embedded.prefixes:
            seen.append(by_frames_seen(embedded, probe_set, false_accepts[0]))
        without = _left_out(probe_set, left_out)
        results.metrics[f"verification.without_gallery.{probe_set.name}"] = float(len(without))
    record_subgroups(probe_sets, ours, embedded.clips, resampling, results)
    results.tables["verification"] = pd.DataFrame(table)
    results.tables["verification_missing"] = missing(probe_sets, left_out)
    results.curves["verification_roc"] = pd.concat(curves)
    if seen:
        results.curves["frames_seen"] = pd.concat(seen)


def accept_rates(false_accepts: list[float], public_code_reading: bool) -> dict[str, tuple[str, Callable[..., float]]]:
    """By the name of a metric its title in tables and its function of scores, labels and weights."""
    measures: dict[str, tuple[str, Callable[..., float]]] = {}
    for rate in false_accepts:
        name, title = f"tar_at_{100 * rate:g}", f"TAR at {100 * rate:g} % FAR"
        measures[name] = title, partial(_true_accepts, false_accepts=rate)
        if public_code_reading:
            reading = partial(public_code_tar, false_accepts=rate)
            measures[f"{name}_public_code"] = f"{title}, public code's reading", reading
    return measures


def verify(
    probes: str,
    pairs: Mapping[str, Pairs],
    measures: Mapping[str, tuple[str, Callable[..., float]]],
    resampling: Block,
    results: Results,
) -> dict[str, dict[str, float]]:
    """Record the true accept rates of a probe set with intervals; by title and method the same, for the table."""
    rows, ours, baseline = {}, pairs[OURS], pairs[GEI]
    for name, (title, measure) in measures.items():
        estimated = bootstrap.estimate(ours.statistic(measure), ours.gallery, ours.probe, **resampling)
        of_baseline = measure(baseline.score, baseline.positive)
        baselines = {f"gei_{name}.{probes}": of_baseline}
        record(results, f"verification.{name}.{probes}", estimated, baselines, pairs=len(ours.score))
        rows[title] = {OURS: estimated.value, GEI: of_baseline}
    return rows


def identify(probes: str, hits: Mapping[str, Hits], resampling: Block, results: Results) -> dict[str, dict[str, float]]:
    """Record rank-1 and rank-5 of a probe set with intervals; by title and method the same, for the table."""
    rows = {}
    for rank in RANKS:
        values = {method: np.asarray(each.at_rank[:, :rank].any(axis=1)) for method, each in hits.items()}
        estimated = bootstrap.estimate(partial(_weighted_share, values[OURS]), hits[OURS].subjects, **resampling)
        of_baseline = float(values[GEI].mean())
        baselines = {f"gei_rank_{rank}.{probes}": of_baseline}
        record(results, f"identification.rank_{rank}.{probes}", estimated, baselines, probes=len(values[OURS]))
        rows[f"rank-{rank}"] = {OURS: estimated.value, GEI: of_baseline}
    return rows


def record_subgroups(
    probe_sets: list[ProbeSet], hits: list[Hits], clips: pd.DataFrame, resampling: Block, results: Results
) -> None:
    """Rank-1 by gender and age band over the probes of all sets; a probe of several sets, such as FVG's ALL, counts once."""
    clip_ids = np.concatenate([np.array(probe_set.probes, dtype=str) for probe_set in probe_sets])
    _, first = np.unique(clip_ids, return_index=True)
    subjects = np.concatenate([each.subjects for each in hits])
    is_right = np.concatenate([each.at_rank[:, 0] for each in hits])
    subgroups.record(results, "rank-1", subjects[first], is_right[first], clips, resampling)


def compare(embedded: Embedded, probe_set: ProbeSet, frames: int | None = None) -> Compared:
    """By cosine: 1 - cos of the gait features; of a probe only the first `frames` frames are seen, if a number is given."""
    probes, gallery = embedded.rows(probe_set.probes), embedded.rows(probe_set.gallery)
    embedding = embedded.embedding.numpy().astype(np.float64)
    seen = embedding[probes] if frames is None else embedded.features(probes, frames).astype(np.float64)
    return Compared(1 - seen @ embedding[gallery].T, embedded.subjects(probes), embedded.subjects(gallery))


def compare_energy(embedded: Embedded, probe_set: ProbeSet) -> Compared:
    """By the Euclidean distance of gait energy images."""
    probes, gallery = embedded.rows(probe_set.probes), embedded.rows(probe_set.gallery)
    energy = embedded.energy.numpy()
    return Compared(cdist(energy[probes], energy[gallery]), embedded.subjects(probes), embedded.subjects(gallery))


def by_frames_seen(embedded: Embedded, probe_set: ProbeSet, false_accepts: float) -> pd.DataFrame:
    """True accept rate after 1, 2, ... frames of every probe: the running mean after so many; the gallery is seen whole."""
    counts, values = embedded.frame_counts(embedded.rows(probe_set.probes)), []
    for count in counts:
        pairs = compare(embedded, probe_set, count).pairs()
        values.append(_true_accepts(pairs.score, pairs.positive, false_accepts=false_accepts))
    return pd.DataFrame({"probes": probe_set.name, "frames seen": counts, f"TAR at {100 * false_accepts:g} % FAR": values})


def missing(probe_sets: list[ProbeSet], left_out: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """Of every probe set how many probes and gallery clips there are, and how many probes show nobody of the gallery."""
    return pd.DataFrame(
        {
            "probes": probe_set.name,
            "compared": len(probe_set.probes),
            "gallery": len(probe_set.gallery),
            "without gallery": len(_left_out(probe_set, left_out)),
        }
        for probe_set in probe_sets
    )


def _left_out(probe_set: ProbeSet, left_out: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return left_out.get(f"{probe_set.group}/{probe_set.name}", left_out.get(probe_set.name, ()))


def _true_accepts(
    scores: Float[np.ndarray, " pair"],
    positive: Bool[np.ndarray, " pair"],
    weights: Float[np.ndarray, " pair"] | None = None,
    *,
    false_accepts: float,
) -> float:
    return metrics.true_accepts_at(scores, positive, false_accepts, weights)


def public_code_tar(
    scores: Float[np.ndarray, " pair"],
    positive: Bool[np.ndarray, " pair"],
    weights: Float[np.ndarray, " pair"] | None = None,
    *,
    false_accepts: float,
) -> float:
    """The true accept rate as GaitNet's public code reads it: at the largest false accept rate below the wanted one plus half
    a per cent, rounded to two digits. At 1 % it is read at up to 1.5 %; for comparison with published numbers only.
    """
    false_rate, true_rate, _ = metrics.roc(scores, positive, weights)
    if np.isnan(false_rate[-1]):
        return float("nan")
    return round(float(true_rate[false_rate < false_accepts + PUBLIC_CODE_SLACK].max()), 2)


def _weighted_share(values: Bool[np.ndarray, " probe"], weights: Float[np.ndarray, " probe"]) -> float:
    return float(np.average(values, weights=weights)) if weights.sum() else float("nan")
