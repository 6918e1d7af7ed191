"""DMT's metrics on the test subjects: identification, gender, age and verification, each with its baselines.

Nothing is fitted to a probe: decisions and baselines use galleries and training labels alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from people.config import check, check_keys
from people.evaluation import ProbeSet, bootstrap, identification, metrics, plots, subgroups
from people.evaluation.bootstrap import Estimate, Hits, Pairs, record
from people.evaluation.results import Results
from people.nn.inference import to_device
from people.records import GENDERS
from people.systems.dmt import data, paper
from people.systems.dmt.paper import CHANCE, MEAN_FLOW
from people.systems.dmt.score import examples
from people.systems.dmt.score.ages import Shrinkage, fit_shrinkage
from people.systems.dmt.score.headline import headline_figures as headline_figures
from people.systems.dmt.score.windows import Windows, extract
from people.training.system import Reads, Spec, Statistics

DECISIONS = ("majority_vote", "softmax_product", "svm", "nearest_neighbours")
OURS, BASELINE, PAPER = "ours", "baseline", "paper (TUM-GAID)"
# By column of a table of several trainings: the metric, and that of the baseline.
COLUMNS = {
    "rank-1": ("identification.nearest_neighbours.Avg", f"identification.{MEAN_FLOW}.Avg"),
    "gender": ("gender.accuracy", "gender.baseline"),
    "age, years": ("age.mae_years", "age.baseline_mae_years"),
    "verification": ("verification.equilibrium_accuracy", f"verification.{MEAN_FLOW}_equilibrium_accuracy"),
}
LOWER_IS_BETTER = ("age, years",)
AVERAGES = {"current": "Avg", "elapsed": "TAvg"}  # the mean of each group's columns, behind the group
RANK_1 = {"current": "rank-1", "elapsed": "rank-1 in the elapsed session"}  # of each group's probes, in the table of subgroups


@dataclass(frozen=True)
class Config:
    """How windows become decisions about sequences, and the bootstrap intervals.

    `decisions`: the last one's rank-1 is told by subgroup, too. `adapt`: epochs, learning_rate, batch_size and scope
    (head | all) of the fine-tuning on the gallery; `bootstrap`: resamples and confidence; `elapsed_gallery`: the sequences that
    the elapsed-time probes are compared with.
    """

    decisions: Sequence[str]
    neighbours: int
    pca_components: int
    svm_cost: float
    batch_size: int
    adapt: dict[str, Any]
    bootstrap: dict[str, Any]
    elapsed_gallery: Sequence[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "decisions", tuple(self.decisions))
        object.__setattr__(self, "elapsed_gallery", tuple(self.elapsed_gallery))
        rules = {
            "decisions": (bool(self.decisions) and set(self.decisions) <= set(DECISIONS), f"some of {', '.join(DECISIONS)}"),
            **{name: (getattr(self, name) >= 1, "at least 1") for name in ("neighbours", "pca_components", "batch_size")},
            "svm_cost": (self.svm_cost > 0, "above 0"),
        }
        check("score.dmt.", self, rules)
        bootstrap.check_settings("score.dmt", self.bootstrap)
        check_keys("score.dmt.adapt", self.adapt, {"epochs", "learning_rate", "batch_size", "scope"})
        if self.adapt["scope"] not in ("head", "all") or self.adapt["epochs"] < 1 or not self.adapt["learning_rate"] > 0:
            raise ValueError(
                f"score.dmt.adapt must have scope head or all, epochs >= 1 and learning_rate > 0, got {self.adapt}"
            )


@dataclass(frozen=True, eq=False)
class Judge:
    """The test split's outputs and the settings; projections of mean flows are cached, as the PCA of a gallery is slow."""

    windows: Windows
    config: Config
    seed: int
    projections: dict[bytes, Float[np.ndarray, "clip component"]] = field(default_factory=dict)

    def mean_flow_distance(
        self, probes: Int[np.ndarray, " probe"], gallery: Int[np.ndarray, " gallery"]
    ) -> Float[np.ndarray, "probe gallery"]:
        """The baseline's distance: between mean flows, after a PCA fitted on the gallery."""
        key, flow = gallery.tobytes(), self.windows.mean_flow
        if key not in self.projections:
            self.projections[key] = identification.project(flow[gallery], flow, self.config.pca_components)[1]
        return cdist(self.projections[key][probes], self.projections[key][gallery])

    def estimate(self, statistic: Callable[..., float], *subjects: np.ndarray) -> Estimate:
        """`bootstrap.estimate` with the configured resampling."""
        return bootstrap.estimate(statistic, *subjects, **self.config.bootstrap, seed=self.seed)

    def record_subgroups(self, results: Results, measure: str, subjects: np.ndarray, values: np.ndarray) -> None:
        """`subgroups.record` of the test subjects with the configured resampling."""
        subgroups.record(results, measure, subjects, values, self.windows.clips, self.config.bootstrap | {"seed": self.seed})


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
    """Every number, table, curve and picture of a trained network, under the dataset's protocol on its test subjects."""
    samples = {split: data.open_samples(reads, data_config, split, spec["tasks"]) for split in ("train", "validation", "test")}
    test, training_clips = samples["test"], samples["train"].clips

    def predictions(split: str) -> Windows:
        return extract(network, samples[split], spec, statistics, config.batch_size)

    def batch(rows: Int[np.ndarray, " window"]) -> dict[str, Tensor]:
        inputs = test.batch(rows.tolist(), spec=spec, statistics=statistics, augment=None)
        return to_device(inputs, next(network.parameters()).device)

    judge = Judge(predictions("test"), config, seed)
    probe_sets = dataset.protocol(test.clips, "test", elapsed_gallery=config.elapsed_gallery)
    if "current" not in {probe_set.group for probe_set in probe_sets}:
        raise ValueError(
            f"the test split of {reads['frames']} has {len(test.clips)} clips with a window, but no probe with a gallery "
            "of its subject: check the flow and validate stages"
        )
    results = Results(metrics={})
    identify(judge, probe_sets, identification.Adaptation(network, batch, config.adapt, seed), results)
    if judge.windows.gender_probability is not None:
        classify_gender(judge, judge.windows.gender_probability, training_clips, results)
    if judge.windows.age_years is not None:
        shrunk = fit_shrinkage(predictions("validation"), spec["age_centre_years"])
        estimate_age(judge, judge.windows.age_years, training_clips, shrunk, results)
    verify(judge, probe_sets, results)
    add_pictures(judge, network, batch, statistics["mean"], results)
    mean = statistics["mean"].cpu()
    examples.add(
        judge.windows, conditions(judge.windows.clips), probe_sets, lambda rows: batch(rows)["flow"].cpu() + mean, results
    )
    return results


def decision_scores(
    judge: Judge, gallery: Int[np.ndarray, " clip"], probes: Int[np.ndarray, " probe"], adaptation: identification.Adaptation
) -> tuple[np.ndarray, dict[str, Float[np.ndarray, "probe identity"]]]:
    """The identities of a gallery, and each decision's score of every probe sequence for every identity."""
    windows, config = judge.windows, judge.config
    identities, clip_labels = np.unique(windows.subjects(gallery), return_inverse=True)
    gallery_windows, gallery_clips = windows.select_clips(gallery)
    probe_windows, groups = windows.select_clips(probes)
    labels, signature = clip_labels[gallery_clips], windows.signature
    scores = {}
    if {"majority_vote", "softmax_product"} & set(config.decisions):
        logits = adaptation.logits(signature, gallery_windows, labels, probe_windows)
        probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        scores["majority_vote"] = metrics.majority_vote(probabilities, groups)
        scores["softmax_product"] = metrics.softmax_product(logits, groups)
    if "svm" in config.decisions:
        svm = identification.svm_scores(
            signature[gallery_windows], labels, signature[probe_windows], cost=config.svm_cost, seed=judge.seed
        )
        scores["svm"] = metrics.majority_vote(svm, groups)
    if "nearest_neighbours" in config.decisions:
        votes = identification.neighbour_scores(
            signature[gallery_windows],
            labels,
            signature[probe_windows],
            neighbours=config.neighbours,
            components=config.pca_components,
        )
        scores["nearest_neighbours"] = metrics.majority_vote(votes, groups)
    in_order = {name: scores[name] for name in config.decisions}
    distances = judge.mean_flow_distance(probes, gallery)
    in_order[MEAN_FLOW] = -np.stack([distances[:, clip_labels == i].min(axis=1) for i in range(len(identities))], axis=1)
    return identities, in_order


def identification_hits(
    judge: Judge, probe_sets: list[ProbeSet], adaptation: identification.Adaptation
) -> dict[str, dict[str, Hits]]:
    """By decision and probe set the hits of each probe at each rank. Probe sets of one gallery share its classifiers."""
    hits: dict[str, dict[str, Hits]] = {}
    for gallery in dict.fromkeys(probe_set.gallery for probe_set in probe_sets):
        gallery_sets = [probe_set for probe_set in probe_sets if probe_set.gallery == gallery]
        probes = judge.windows.rows(tuple(dict.fromkeys(clip for probe_set in gallery_sets for clip in probe_set.probes)))
        subjects = judge.windows.subjects(probes)
        identities, scores = decision_scores(judge, judge.windows.rows(gallery), probes, adaptation)
        for method, values in scores.items():
            at_rank = metrics.hits_at_rank(values, subjects, identities)
            for probe_set in gallery_sets:
                is_probe = np.isin(probes, judge.windows.rows(probe_set.probes))
                hits.setdefault(method, {})[probe_set.name] = Hits(subjects[is_probe], at_rank[is_probe])
    return hits


def identify(judge: Judge, probe_sets: list[ProbeSet], adaptation: identification.Adaptation, results: Results) -> None:
    """The paper's table: rank-1 accuracy of every decision for every probe set, and the mean of each group of sets."""
    hits, columns, table = identification_hits(judge, probe_sets, adaptation), table_columns(probe_sets), []
    for method, by_set in hits.items():
        row: dict[str, Any] = {"method": paper.TITLES[method], "source": BASELINE if method == MEAN_FLOW else OURS}
        for column, names in columns.items():
            set_hits = [by_set[name] for name in names]
            estimated = judge.estimate(bootstrap.mean_rank_1(set_hits), *[hits.subjects for hits in set_hits])
            count = sum(len(hits.subjects) for hits in set_hits)
            record(results, f"identification.{method}.{column}", estimated, {}, probes=count)
            row[column] = round(100 * estimated.value, 1)
        table.append(row)
    row = {"method": paper.TITLES[CHANCE], "source": BASELINE}
    for column, names in columns.items():
        chance = float(np.mean([1 / hits[MEAN_FLOW][name].at_rank.shape[1] for name in names]))
        results.metrics[f"identification.{CHANCE}.{column}"] = chance
        row[column] = round(100 * chance, 1)
    table.append(row)
    for method, values in paper.ROWS.items():
        table.append({"method": method, "source": PAPER} | dict(zip(paper.COLUMNS, values, strict=True)))
    results.tables["identification"] = pd.DataFrame(table, columns=["method", "source", *columns])
    current = [probe_set.name for probe_set in probe_sets if probe_set.group == "current"]
    results.curves["identification_ranks"] = bootstrap.rank_curves(hits, current)
    identify_subgroups(judge, probe_sets, hits, results)


def identify_subgroups(judge: Judge, probe_sets: list[ProbeSet], hits: dict[str, dict[str, Hits]], results: Results) -> None:
    """Rank-1 of the last of the configured decisions by gender and age band, over all probes of each group of probe sets."""
    method = judge.config.decisions[-1]
    for group in dict.fromkeys(probe_set.group for probe_set in probe_sets):
        set_hits = [hits[method][probe_set.name] for probe_set in probe_sets if probe_set.group == group]
        subjects = np.concatenate([each.subjects for each in set_hits])
        is_right = np.concatenate([each.at_rank[:, 0] for each in set_hits])
        judge.record_subgroups(results, f"{RANK_1[group]}, {paper.TITLES[method]}", subjects, is_right)


def table_columns(probe_sets: list[ProbeSet]) -> dict[str, list[str]]:
    """The table's columns and the probe sets in each: one set each, and after those of a group all of its sets."""
    columns: dict[str, list[str]] = {}
    for group in dict.fromkeys(probe_set.group for probe_set in probe_sets):
        names = [probe_set.name for probe_set in probe_sets if probe_set.group == group]
        columns |= {name: [name] for name in names} | {AVERAGES[group]: names}
    return columns


def classify_gender(
    judge: Judge, probability: Float[np.ndarray, "window 2"], training_clips: pd.DataFrame, results: Results
) -> None:
    """Gender of test subjects, none of them trained on: the larger mean softmax over a sequence's windows.

    The baseline predicts the majority gender of the training subjects.
    """
    clips = judge.windows.clips
    labels = pd.Index(GENDERS).get_indexer(clips["gender"].to_numpy())
    training_labels = pd.Index(GENDERS).get_indexer(training_clips.drop_duplicates("subject_id")["gender"].to_numpy())
    if not (labels >= 0).any() or not (training_labels >= 0).any():
        return
    majority = int(np.bincount(training_labels[training_labels >= 0], minlength=2).argmax())
    predicted = metrics.group_mean(probability, judge.windows.clip).argmax(axis=1)
    for suffix, rows in rows_by_condition(clips, labels >= 0).items():
        subjects, true, constant = judge.windows.subjects(rows), labels[rows], np.full(len(rows), majority)
        measures = {"accuracy": metrics.accuracy, "balanced_accuracy": metrics.balanced_accuracy}
        for name, baseline in (("accuracy", "baseline"), ("balanced_accuracy", "baseline_balanced")):
            measure = measures[name]
            estimated = judge.estimate(lambda w, r=rows, t=true, m=measure: m(predicted[r], t, w), subjects)
            baselines = {f"{baseline}{suffix}": measure(constant, true)}
            record(results, f"gender.{name}{suffix}", estimated, baselines, sequences=len(rows))
    labelled = np.flatnonzero(labels >= 0)
    is_right = predicted[labelled] == labels[labelled]
    judge.record_subgroups(results, "gender accuracy", judge.windows.subjects(labelled), is_right)


def estimate_age(
    judge: Judge,
    window_years: Float[np.ndarray, " window"],
    training_clips: pd.DataFrame,
    shrunk: Shrinkage,
    results: Results,
) -> None:
    """Age of test subjects in years: the mean over a sequence's windows, shrunk; baselines: training mean, training median.

    "age.unshrunk_mae_years" is the error of the network's own prediction.
    """
    clips = judge.windows.clips
    ages_years = clips["age_years"].to_numpy(dtype=float)
    training_years = training_clips.drop_duplicates("subject_id")["age_years"].dropna()
    if np.isnan(ages_years).all() or training_years.empty:
        return
    clip_years = metrics.group_mean(window_years, judge.windows.clip)
    predicted_years = shrunk(clip_years)
    results.metrics["age.shrinkage"] = shrunk.factor
    for suffix, rows in rows_by_condition(clips, ~np.isnan(ages_years)).items():
        true = ages_years[rows]
        estimated = judge.estimate(
            lambda w, r=rows, t=true: metrics.mean_absolute_error(predicted_years[r], t, w), judge.windows.subjects(rows)
        )
        mean_error = metrics.mean_absolute_error(np.full(len(rows), training_years.mean()), true)
        median_error = metrics.mean_absolute_error(np.full(len(rows), training_years.median()), true)
        baselines = {f"baseline_mae_years{suffix}": mean_error, f"baseline_median_mae_years{suffix}": median_error}
        record(results, f"age.mae_years{suffix}", estimated, baselines, sequences=len(rows))
        results.metrics[f"age.unshrunk_mae_years{suffix}"] = metrics.mean_absolute_error(clip_years[rows], true)
    labelled = np.flatnonzero(~np.isnan(ages_years))
    errors_years = np.abs(predicted_years[labelled] - ages_years[labelled])
    judge.record_subgroups(results, "age error in years", judge.windows.subjects(labelled), errors_years)


def rows_by_condition(clips: pd.DataFrame, is_labelled: Bool[np.ndarray, " clip"]) -> dict[str, Int[np.ndarray, " clip"]]:
    """The rows of all labelled sequences (under the empty name) and of those of each condition (".N", elapsed ".TN")."""
    names = conditions(clips)
    by_condition = {f".{name}": np.flatnonzero(is_labelled & (names == name)) for name in dict.fromkeys(names)}
    return {"": np.flatnonzero(is_labelled)} | {suffix: rows for suffix, rows in by_condition.items() if len(rows)}


def conditions(clips: pd.DataFrame) -> np.ndarray:
    """The paper's letters: N, B or S, with a T before it in the elapsed session."""
    return (np.where(clips["session"] > 0, "T", "") + clips["condition"].str.upper()).to_numpy(dtype=str)


def verify(judge: Judge, probe_sets: list[ProbeSet], results: Results) -> None:
    """Verification of every probe with every gallery sequence, by the Euclidean distance of their mean signatures.

    Accuracy at the equilibrium point and area under precision-recall; baseline: the distance of mean flows after PCA.
    """
    windows = judge.windows
    signature = metrics.group_mean(windows.signature, windows.clip)
    current = tuple(clip for probe_set in probe_sets if probe_set.group == "current" for clip in probe_set.probes)
    all_current = (
        [ProbeSet("", "current", next(s.gallery for s in probe_sets if s.group == "current"), current)] if current else []
    )
    for probe_set in [*all_current, *probe_sets]:
        gallery, probes = windows.rows(probe_set.gallery), windows.rows(probe_set.probes)
        subjects = windows.subjects(gallery), windows.subjects(probes)
        pairs = Pairs.from_distances(*subjects, cdist(signature[probes], signature[gallery]))
        baseline = Pairs.from_distances(*subjects, judge.mean_flow_distance(probes, gallery))
        suffix = f".{probe_set.name}" if probe_set.name else ""
        for name, measure in (("equilibrium_accuracy", metrics.equilibrium_accuracy), ("auc", metrics.average_precision)):
            estimated = judge.estimate(pairs.statistic(measure), pairs.gallery, pairs.probe)
            baselines = {
                f"{MEAN_FLOW}_{name}{suffix}": measure(baseline.score, baseline.positive),
                f"chance_{name}{suffix}": 0.5 if name == "equilibrium_accuracy" else float(pairs.positive.mean()),
            }
            record(results, f"verification.{name}{suffix}", estimated, baselines, pairs=len(pairs.score))
        if not probe_set.name:
            results.curves["verification_roc"] = pd.concat([pairs.roc(OURS), baseline.roc(MEAN_FLOW)])
            results.curves["verification_precision_recall"] = pd.concat(
                [pairs.precision_recall(OURS), baseline.precision_recall(MEAN_FLOW)]
            )


def add_pictures(
    judge: Judge,
    network: nn.Module,
    batch: Callable[[Int[np.ndarray, " window"]], dict[str, Tensor]],
    mean: Float[Tensor, "channel height width"],
    results: Results,
) -> None:
    """Pictures of the first layer's filters, in space and in time, and of one window of flow for each condition."""
    convolution = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    weight = convolution.weight.detach().float().cpu().contiguous().numpy()
    results.pictures["filters_spatial"] = plots.spatial_filters(weight)
    results.pictures["filters_temporal"] = plots.temporal_filters(weight)
    names = conditions(judge.windows.clips)
    windows = {name: int(np.flatnonzero(names[judge.windows.clip] == name)[0]) for name in dict.fromkeys(names)}
    flow_px = batch(np.array(list(windows.values())))["flow"].cpu() + mean.cpu()
    results.pictures["flow"] = plots.flow_strip(flow_px.unflatten(1, (-1, 2)).numpy(), list(windows))
    results.captions.update(paper.CAPTIONS)
