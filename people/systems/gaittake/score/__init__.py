"""GaitTAKE's metrics on the test subjects: cross-view identification, with gait energy images as the baseline.

Nothing is fitted to a probe: its embedding is compared with those of the gallery.
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
from people.evaluation import ProbeSet, bootstrap, crossview, finite, plots, subgroups
from people.evaluation.bootstrap import Estimate, record
from people.evaluation.crossview import CrossViewRanks, ViewedClips
from people.evaluation.results import Results
from people.nn.inference import over_split
from people.storage.store import Store
from people.systems.gaittake import data, paper
from people.systems.gaittake.paper import BASELINE, OURS, PAPER, TITLES
from people.systems.gaittake.score import examples
from people.systems.gaittake.score.headline import headline_figures as headline_figures
from people.training.system import Reads, Spec, Statistics

GALLERIES = {"single_view": crossview.single_view_gallery, "cross_view": crossview.cross_view_gallery}
MEASURES: dict[str, Callable[[CrossViewRanks], Float[np.ndarray, "probe gallery"]]] = {
    "rank_1": lambda ranks: ranks.hits_within(1),
    "rank_5": lambda ranks: ranks.hits_within(5),
    "map": lambda ranks: ranks.average_precision,
}
MEAN = "mean"
# By column of a table of several trainings: the metric, and that of the baseline.
COLUMNS = {name: (f"single_view.rank_1.{name}", f"single_view.gei_rank_1.{name}") for name in ("NM", "BG", "CL", MEAN)}
LOWER_IS_BETTER: tuple[str, ...] = ()
FRAMES_SHOWN = 8


@dataclass(frozen=True)
class Config:
    """How many clips are embedded at a time, and the bootstrap intervals (`bootstrap`: resamples and confidence)."""

    batch_size: int
    bootstrap: dict[str, Any]

    def __post_init__(self) -> None:
        check("score.gaittake.", self, {"batch_size": (self.batch_size >= 1, "at least 1")})
        bootstrap.check_settings("score.gaittake", self.bootstrap)


class EmbeddedClips(NamedTuple):
    """The clips of the test split, their embeddings and their gait energy images (mean silhouettes, as one strip)."""

    clips: pd.DataFrame
    embedding: Float[Tensor, "clip strip channel"]
    energy: Float[Tensor, "clip 1 pixel"]

    def select(self, values: Float[Tensor, "clip strip channel"], clip_ids: tuple[str, ...]) -> ViewedClips:
        """These clips; `values`: the embedding or the energy images of all."""
        rows = pd.Index(self.clips["clip_id"]).get_indexer(list(clip_ids))
        clips = self.clips.iloc[rows]
        return ViewedClips(values[torch.from_numpy(rows)], clips["subject_id"].to_numpy(str), clips["view_deg"].to_numpy(float))


class ProbeSetRanks(NamedTuple):
    """The ranks of one probe set: by the network's embedding, and by gait energy images."""

    name: str
    embedding: CrossViewRanks
    energy: CrossViewRanks

    @property
    def has_ranks(self) -> bool:
        """Whether any probe has a gallery clip of its person from another view."""
        return bool((self.embedding.rank > 0).any())


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
        set_ranks = [
            rank_probe_set(embedded, probe_set, left_out[f"{group}/{probe_set.name}"], galleries)
            for probe_set in probe_sets
            if probe_set.group == group
        ]
        if not any(ranks.has_ranks for ranks in set_ranks):
            raise ValueError(
                f"the test split of {reads['frames']} has {len(clips)} clips, but no probe with a gallery clip of its person "
                f"from another view ({group}): give the dataset more views or sequences"
            )
        record_measures(group, set_ranks, config.bootstrap | {"seed": seed}, results)
        if group == "single_view":
            ranks, resampling = [each.embedding for each in set_ranks], config.bootstrap | {"seed": seed}
            subgroups.record_across_views(results, "rank-1, single view", ranks, clips, resampling)
            results.tables[group] = rank_1_table(set_ranks, paper.TABLES.get(name))
            results.tables[f"{group}_pairs"] = view_pair_table(set_ranks)
    record_store_quality(reads, data_config, results)
    results.pictures["silhouettes"] = silhouette_picture(samples, spec, statistics)
    energy = embedded.energy[:, 0].unflatten(1, tuple(data_config.size_hw))
    across = [probe_set for probe_set in probe_sets if probe_set.group == "cross_view"]
    examples.add(clips, embedded.embedding, energy, across, results)

    def batch(index: int) -> dict[str, Tensor]:
        return samples.batch([index], spec=spec, statistics=statistics, augment=None)

    results.animations[examples.WALKS] = examples.walks(batch, one_of_each_condition(clips).index.tolist())
    results.captions.update(paper.CAPTIONS)
    return results


def embed(
    network: nn.Module, samples: data.Samples, spec: dict[str, Any], statistics: dict[str, Tensor], batch_size: int
) -> EmbeddedClips:
    """One pass over all clips, each at its full length; a clip whose embedding or energy image is not finite is refused."""
    embeddings, energies = [], []
    for outputs, batch in over_split(network, samples, spec, statistics, batch_size):
        embeddings.append(outputs["embedding"].cpu())
        energies.append(energy_images(batch).flatten(1)[:, None].cpu())
    embedding, energy = torch.cat(embeddings), torch.cat(energies)
    outputs = {"gait energy image": energy, "embedding": embedding}
    finite.check_outputs("gaittake", outputs, samples.clips["clip_id"].to_numpy(str))
    return EmbeddedClips(samples.clips, embedding, energy)


def energy_images(batch: dict[str, Tensor]) -> Float[Tensor, "clip height width"]:
    """Gait energy images: the mean silhouette over a clip's frames."""
    return batch["silhouette"].sum(1) / batch["length"][:, None, None]


def rank_probe_set(
    embedded: EmbeddedClips,
    probe_set: ProbeSet,
    left_out: tuple[str, ...],
    galleries: Callable[[ViewedClips, ViewedClips], CrossViewRanks],
) -> ProbeSetRanks:
    """The ranks of one probe set; probes without any gallery clip of their person (`left_out`) are ranked, to be counted."""
    ranks = (
        galleries(embedded.select(values, probe_set.probes + left_out), embedded.select(values, probe_set.gallery))
        for values in (embedded.embedding, embedded.energy)
    )
    return ProbeSetRanks(probe_set.name, *ranks)


def record_measures(group: str, set_ranks: list[ProbeSetRanks], resampling: Block, results: Results) -> None:
    """Every measure of each probe set and of their mean, with intervals, and what is missing from the galleries."""
    ranked_sets = [ranks for ranks in set_ranks if ranks.has_ranks]
    groups = {ranks.name: [ranks] for ranks in ranked_sets} | ({MEAN: ranked_sets} if len(ranked_sets) > 1 else {})
    for measure, values in MEASURES.items():
        for name, members in groups.items():
            estimated = estimate([(ranks.embedding, values(ranks.embedding)) for ranks in members], resampling)
            baseline = float(np.mean([mean(ranks.energy, values(ranks.energy)) for ranks in members]))
            record(results, f"{group}.{measure}.{name}", estimated, {f"gei_{measure}.{name}": baseline})
    results.tables[f"{group}_missing"] = pd.DataFrame([missing_row(ranks) for ranks in set_ranks])
    results.metrics.update(
        {f"{group}.without_gallery.{ranks.name}": float(ranks.embedding.without_gallery) for ranks in set_ranks}
    )


def missing_row(set_ranks: ProbeSetRanks) -> dict[str, Any]:
    """How many comparisons lack a gallery clip of the probe's person, and rank-1 with these counted as misses."""
    ranks = set_ranks.embedding
    return {
        "probes": set_ranks.name,
        "comparisons": int((ranks.rank != crossview.NOT_COMPARED).sum()),
        "without gallery": ranks.without_gallery,
        "rank-1 with them": mean(ranks, ranks.hits_within(1, count_missing=True)),
        "rank-1": mean(ranks, ranks.hits_within(1)),
    }


def estimate(sets: list[tuple[CrossViewRanks, Float[np.ndarray, "_ _"]]], resampling: Block) -> Estimate:
    """The mean over probe sets, and its interval over subjects."""
    means = [ranks.weighted_mean(values) for ranks, values in sets]
    return bootstrap.estimate(
        lambda *weights: float(np.mean([set_mean(weight) for set_mean, weight in zip(means, weights, strict=True)])),
        *[ranks.subject for ranks, _ in sets],
        **resampling,
    )


def mean(ranks: CrossViewRanks, values: Float[np.ndarray, "probe gallery"]) -> float:
    """The papers' mean, with every probe counting once."""
    return ranks.weighted_mean(values)(np.ones(len(ranks.subject)))


def rank_1_table(set_ranks: list[ProbeSetRanks], printed: paper.Table | None) -> pd.DataFrame:
    """The paper's table in %: a row for each condition and method, a column for each probe view, then their mean."""
    rows = []
    for name, embedding, energy in set_ranks:
        for method, source, ranks in (("gaittake", OURS, embedding), ("gei", BASELINE, energy)):
            by_view = crossview.row_nan_means(ranks.mean_by_view(ranks.hits_within(1)))
            values = dict(zip(ranks.views_deg, by_view, strict=True)) | {MEAN: crossview.nan_mean(by_view)}
            rows.append((name, TITLES[method], source, {key: round(100 * value, 1) for key, value in values.items()}))
        for method, printed_row in printed.rows.get(name, {}).items() if printed else ():
            keys = [*map(float, printed.views_deg), MEAN] if printed else []
            rows.append((name, method, PAPER, dict(zip(keys, printed_row, strict=True))))
    views_deg = sorted({view for ranks in set_ranks for view in ranks.embedding.views_deg})
    columns = {key: f"{key:g}°" if key != MEAN else MEAN for key in [*views_deg, MEAN]}
    return pd.DataFrame(
        {"probes": name, "method": method, "source": source, **{columns[key]: values.get(key) for key in columns}}
        for name, method, source, values in rows
    )


def view_pair_table(set_ranks: list[ProbeSetRanks]) -> pd.DataFrame:
    """Rank-1 in % of each probe view in each gallery view."""
    tables = []
    for name, ranks, _ in set_ranks:
        columns = [f"{view:g}°" for view in ranks.gallery_deg]
        pairs = pd.DataFrame((100 * ranks.mean_by_view(ranks.hits_within(1))).round(1), columns=pd.Index(columns))
        pairs.insert(0, "probe view", [f"{view:g}°" for view in ranks.views_deg])
        pairs.insert(0, "probes", name)
        tables.append(pairs)
    return pd.concat(tables, ignore_index=True)


def record_store_quality(reads: Reads, data_config: data.Config, results: Results) -> None:
    """The IoU of silhouettes and the OKS of poses that the stores record, where there was ground truth."""
    silhouettes = Store.open(reads["frames"]).meta
    poses = Store.open(reads["poses"]).meta if data_config.keypoints else {}
    recorded = {"silhouettes.iou": silhouettes.get("iou"), "poses.oks": poses.get("oks")}
    recorded |= {f"silhouettes.iou.{name}": iou for name, iou in (silhouettes.get("iou_by_condition") or {}).items()}
    results.metrics.update({name: float(value) for name, value in recorded.items() if value is not None})


def silhouette_picture(samples: data.Samples, spec: dict[str, Any], statistics: dict[str, Tensor]) -> plots.Picture:
    """One test subject in every condition, from the view nearest to the side: frames with keypoints, and the energy image."""
    condition_clips, rows = one_of_each_condition(samples.clips), []
    for index in condition_clips.index:
        batch = samples.batch([index], spec=spec, statistics=statistics, augment=None)
        frames = np.linspace(0, int(batch["length"]) - 1, FRAMES_SHOWN).round().astype(int)
        pictures = [plots.with_keypoints(batch["silhouette"][0, i].numpy(), batch["keypoints"][0, i].numpy()) for i in frames]
        energy = plots.with_keypoints(energy_images(batch)[0].numpy(), np.zeros((17, 3), np.float32))
        rows.append(plots.tiled([*pictures, energy], columns=FRAMES_SHOWN + 1))
    return plots.labelled(rows, condition_clips["condition"].tolist())


def one_of_each_condition(clips: pd.DataFrame) -> pd.DataFrame:
    """A clip in every condition of the subject who has the most of them, from the view nearest to the side."""
    in_order = clips.assign(from_side_deg=(clips["view_deg"] % 180 - 90).abs()).sort_values(by="from_side_deg", kind="stable")
    subject = clips.groupby("subject_id")["condition"].nunique().idxmax()
    return in_order.query(f"subject_id == {subject!r}").drop_duplicates("condition").sort_index()
