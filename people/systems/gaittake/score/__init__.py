"""What GaitTAKE measures on the test subjects: identification across views, beside gait energy images.

Nothing here is fitted to a probe: an embedding is compared with the embeddings of the gallery, and that is all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from people.config import Block, check
from people.evaluation import bootstrap, crossview, plots
from people.evaluation.bootstrap import Estimate, record
from people.evaluation.crossview import Found, Seen
from people.evaluation.results import Results
from people.inference import over_split
from people.protocols import ProbeSet
from people.storage.store import Store
from people.systems.gaittake import data, paper
from people.systems.gaittake.paper import BASELINE, OURS, PAPER, TITLES
from people.training.system import Reads, Spec, Statistics

GALLERIES = {"single_view": crossview.single_view_gallery, "cross_view": crossview.cross_view_gallery}
MEASURES: dict[str, Callable[[Found], Float[np.ndarray, "probe gallery"]]] = {
    "rank_1": lambda found: found.within(1),
    "rank_5": lambda found: found.within(5),
    "map": lambda found: found.precision,
}
MEAN = "mean"
# What a table of several trainings shows: the metric, and that of the baseline.
COLUMNS = {name: (f"single_view.rank_1.{name}", f"single_view.gei_rank_1.{name}") for name in ("NM", "BG", "CL", MEAN)}
FRAMES_SHOWN = 8


@dataclass(frozen=True)
class Config:
    """How many clips are embedded at a time, and how sure the numbers are (`bootstrap`: resamples and confidence)."""

    batch_size: int
    bootstrap: dict[str, Any]

    def __post_init__(self) -> None:
        check("gaittake.score.", self, {"batch_size": (self.batch_size >= 1, "at least 1")})
        bootstrap.check_settings("gaittake.score", self.bootstrap)


class Embedded(NamedTuple):
    """The clips of the test split, their embeddings and their gait energy images (mean silhouettes, as one strip)."""

    clips: pd.DataFrame
    embedding: Float[Tensor, "clip strip channel"]
    energy: Float[Tensor, "clip 1 pixel"]

    def seen(self, values: Float[Tensor, "clip strip channel"], clip_ids: tuple[str, ...]) -> Seen:
        """These clips, known by one of the two."""
        rows = pd.Index(self.clips["clip_id"]).get_indexer(list(clip_ids))
        chosen = self.clips.iloc[rows]
        return Seen(values[torch.from_numpy(rows)], chosen["subject_id"].to_numpy(str), chosen["view_deg"].to_numpy(float))


class Judged(NamedTuple):
    """What was found for one probe set: by our embedding, and by gait energy images."""

    name: str
    ours: Found
    energy: Found

    @property
    def is_measured(self) -> bool:
        """Whether any probe has a gallery clip of its person from another view."""
        return bool((self.ours.place > 0).any())


def evaluate(
    network: nn.Module,
    spec: Spec,
    statistics: Statistics,
    reads: Reads,
    data_config: data.Config,
    config: Config,
    dataset: Any,
    seed: int,
) -> Results:
    """Every number, table, curve and picture of a trained network, under the dataset's protocols on its test subjects."""
    samples = data.open_samples(reads, data_config, "test", spec["tasks"])
    clips, name = samples.clips, samples.clips["dataset"].iloc[0]
    probe_sets, left_out = dataset.protocol(clips, "test"), dataset.left_out(clips, "test")
    embedded = embed(network, samples, spec, statistics, config.batch_size)
    results = Results(metrics={})
    for group, galleries in GALLERIES.items():
        judged = [
            judge_set(embedded, probe_set, left_out[f"{group}/{probe_set.name}"], galleries)
            for probe_set in probe_sets
            if probe_set.group == group
        ]
        if not any(one.is_measured for one in judged):
            raise ValueError(
                f"the test split of {reads['frames']} has {len(clips)} clips, but no probe with a gallery clip of its person "
                f"from another view ({group}): give the dataset more views or sequences"
            )
        measure(group, judged, config.bootstrap | {"seed": seed}, results)
        if group == "single_view":
            results.tables[group] = table_of(judged, paper.TABLES.get(name))
            results.tables[f"{group}_pairs"] = pairs_of(judged)
    quality(reads, data_config, results)
    results.pictures["silhouettes"] = drawn(samples, spec, statistics)
    results.captions.update(paper.CAPTIONS)
    return results


def embed(
    network: nn.Module, samples: data.Samples, spec: dict[str, Any], statistics: dict[str, Tensor], batch_size: int
) -> Embedded:
    """One pass over all clips, each at its whole length."""
    embeddings, energies = [], []
    for outputs, batch in over_split(network, samples, spec, statistics, batch_size):
        embeddings.append(outputs["embedding"].cpu())
        energies.append(energy_images(batch).flatten(1)[:, None].cpu())
    return Embedded(samples.clips, torch.cat(embeddings), torch.cat(energies))


def energy_images(batch: dict[str, Tensor]) -> Float[Tensor, "clip height width"]:
    """Gait energy images: the mean silhouette over a clip's frames."""
    return batch["silhouette"].sum(1) / batch["length"][:, None, None]


def judge_set(
    embedded: Embedded, probe_set: ProbeSet, left_out: tuple[str, ...], galleries: Callable[[Seen, Seen], Found]
) -> Judged:
    """One probe set judged twice; probes without any gallery clip of their person take part, to be counted."""
    found = (
        galleries(embedded.seen(values, probe_set.probes + left_out), embedded.seen(values, probe_set.gallery))
        for values in (embedded.embedding, embedded.energy)
    )
    return Judged(probe_set.name, *found)


def measure(group: str, judged: list[Judged], resampling: Block, results: Results) -> None:
    """Every measure of each probe set and of their mean, with intervals, and what is missing from the galleries."""
    measured_sets = [one for one in judged if one.is_measured]
    parts = {one.name: [one] for one in measured_sets} | ({MEAN: measured_sets} if len(measured_sets) > 1 else {})
    for measured, values in MEASURES.items():
        for part, sets in parts.items():
            found = estimate([(one.ours, values(one.ours)) for one in sets], resampling)
            baseline = float(np.mean([one.energy.mean(values(one.energy))(ones(one.energy)) for one in sets]))
            record(results, f"{group}.{measured}.{part}", found, {f"gei_{measured}.{part}": baseline})
    results.tables[f"{group}_missing"] = pd.DataFrame([missing(one) for one in judged])
    results.metrics.update({f"{group}.without_gallery.{one.name}": float(one.ours.without_gallery) for one in judged})


def missing(judged: Judged) -> dict[str, Any]:
    """How many comparisons lack a gallery clip of the probe's person, and what rank-1 is if they count as not found."""
    found = judged.ours
    asked, counted = int((found.place != crossview.NOT_ASKED).sum()), found.mean(found.within(1, missing_count=True))
    row = {"probes": judged.name, "comparisons": asked, "without gallery": found.without_gallery}
    return row | {"rank-1 with them": counted(ones(found)), "rank-1": found.mean(found.within(1))(ones(found))}


def estimate(sets: list[tuple[Found, Float[np.ndarray, "_ _"]]], resampling: Block) -> Estimate:
    """The mean over probe sets, and its interval over subjects."""
    means = [found.mean(values) for found, values in sets]
    return bootstrap.estimate(
        lambda *weights: float(np.mean([mean(weight) for mean, weight in zip(means, weights, strict=True)])),
        *[found.subject for found, _ in sets],
        **resampling,
    )


def ones(found: Found) -> Float[np.ndarray, " probe"]:
    """Every probe once."""
    return np.ones(len(found.subject))


def table_of(judged: list[Judged], printed: paper.Table | None) -> pd.DataFrame:
    """The paper's table in %: a row for each condition and method, a column for each probe view, then their mean."""
    rows = []
    for one in judged:
        for method, source, found in (("gaittake", OURS, one.ours), ("gei", BASELINE, one.energy)):
            by_view = crossview.known_means(found.by_view(found.within(1)))
            values = dict(zip(found.views_deg, by_view, strict=True)) | {MEAN: crossview.known_mean(by_view)}
            rows.append((one.name, TITLES[method], source, {key: round(100 * value, 1) for key, value in values.items()}))
        for method, printed_row in printed.rows.get(one.name, {}).items() if printed else ():
            keys = [*map(float, printed.views_deg), MEAN] if printed else []
            rows.append((one.name, method, PAPER, dict(zip(keys, printed_row, strict=True))))
    views_deg = sorted({view for one in judged for view in one.ours.views_deg})
    columns = {key: f"{key:g}°" if key != MEAN else MEAN for key in [*views_deg, MEAN]}
    return pd.DataFrame(
        {"probes": name, "method": method, "source": source, **{columns[key]: values.get(key) for key in columns}}
        for name, method, source, values in rows
    )


def pairs_of(judged: list[Judged]) -> pd.DataFrame:
    """Rank-1 in % of each probe view in each gallery view."""
    tables = []
    for one in judged:
        columns = [f"{view:g}°" for view in one.ours.gallery_deg]
        pairs = pd.DataFrame((100 * one.ours.by_view(one.ours.within(1))).round(1), columns=pd.Index(columns))
        pairs.insert(0, "probe view", [f"{view:g}°" for view in one.ours.views_deg])
        pairs.insert(0, "probes", one.name)
        tables.append(pairs)
    return pd.concat(tables, ignore_index=True)


def quality(reads: Reads, data_config: data.Config, results: Results) -> None:
    """How good the silhouettes and poses are that the stores' makers measured, where there was a truth to measure by."""
    silhouettes = Store.open(reads["frames"]).meta
    poses = Store.open(reads["poses"]).meta if data_config.keypoints else {}
    known = {"silhouettes.iou": silhouettes.get("iou"), "poses.oks": poses.get("oks")}
    known |= {f"silhouettes.iou.{name}": iou for name, iou in (silhouettes.get("iou_by_condition") or {}).items()}
    results.metrics.update({name: float(value) for name, value in known.items() if value is not None})


def drawn(samples: data.Samples, spec: dict[str, Any], statistics: dict[str, Tensor]) -> plots.Picture:
    """One test subject in every condition, from the view that is nearest to the side."""
    clips = samples.clips.assign(aside=(samples.clips["view_deg"] % 180 - 90).abs()).sort_values(by="aside", kind="stable")
    subject = samples.clips.groupby("subject_id")["condition"].nunique().idxmax()
    chosen = clips.query(f"subject_id == {subject!r}").drop_duplicates("condition").sort_index()
    rows = []
    for index in chosen.index:
        batch = samples.batch([index], spec=spec, statistics=statistics, augment=None)
        frames = np.linspace(0, int(batch["length"]) - 1, FRAMES_SHOWN).round().astype(int)
        shown = [plots.with_keypoints(batch["silhouette"][0, i].numpy(), batch["keypoints"][0, i].numpy()) for i in frames]
        energy = plots.with_keypoints(energy_images(batch)[0].numpy(), np.zeros((17, 3), np.float32))
        rows.append(plots.tiled([*shown, energy], columns=FRAMES_SHOWN + 1))
    return plots.labelled(rows, chosen["condition"].tolist())
