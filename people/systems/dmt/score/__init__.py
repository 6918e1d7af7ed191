"""What DMT measures on the test subjects: identification, gender, age, verification, each beside what is trivial to reach.

Nothing here is fitted to a probe: galleries and training labels are all that decisions and baselines know.
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
from people.evaluation import bootstrap, identification, metrics, plots
from people.evaluation.bootstrap import Estimate, Hits, Pairs, record
from people.evaluation.results import Results
from people.inference import to_device
from people.protocols import ProbeSet
from people.records import GENDERS
from people.systems.dmt import data, paper
from people.systems.dmt.paper import CHANCE, MEAN_FLOW
from people.systems.dmt.score.ages import Shrinkage, shrinkage
from people.systems.dmt.score.windows import Windows, extract
from people.training.system import Reads, Spec, Statistics

DECISIONS = ("majority_vote", "softmax_product", "svm", "nearest_neighbours")
OURS, BASELINE, PAPER = "ours", "baseline", "paper (TUM-GAID)"
# What a table of several trainings shows: the metric, and that of the baseline.
COLUMNS = {
    "rank-1": ("identification.nearest_neighbours.Avg", f"identification.{MEAN_FLOW}.Avg"),
    "gender": ("gender.accuracy", "gender.baseline"),
    "age, years": ("age.mae_years", "age.baseline_mae_years"),
    "verification": ("verification.equilibrium_accuracy", f"verification.{MEAN_FLOW}_equilibrium_accuracy"),
}
AVERAGES = {"current": "Avg", "elapsed": "TAvg"}  # the mean of each group's columns, behind the group


@dataclass(frozen=True)
class Config:
    """How windows become decisions about sequences, and how sure the numbers are.

    `adapt`: epochs, learning_rate, batch_size and scope (head | all) of the fine-tuning on the gallery; `bootstrap`:
    resamples and confidence; `elapsed_gallery`: the sequences that the elapsed-time probes are compared with.
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
        check("dmt.score.", self, rules)
        bootstrap.check_settings("dmt.score", self.bootstrap)
        check_keys("dmt.score.adapt", self.adapt, {"epochs", "learning_rate", "batch_size", "scope"})
        if self.adapt["scope"] not in ("head", "all") or self.adapt["epochs"] < 1 or not self.adapt["learning_rate"] > 0:
            raise ValueError(f"dmt.score.adapt wants scope head or all, epochs >= 1 and learning_rate > 0, got {self.adapt}")


@dataclass(frozen=True, eq=False)
class Judge:
    """What every measurement needs; the projections of mean flows are kept, as a PCA of a gallery takes a while."""

    windows: Windows
    config: Config
    seed: int
    projected: dict[bytes, Float[np.ndarray, "clip component"]] = field(default_factory=dict)

    def mean_flow_distance(
        self, probes: Int[np.ndarray, " probe"], gallery: Int[np.ndarray, " gallery"]
    ) -> Float[np.ndarray, "probe gallery"]:
        """The baseline's distance: between mean flows, after a PCA fitted on the gallery."""
        key, flow = gallery.tobytes(), self.windows.mean_flow
        if key not in self.projected:
            self.projected[key] = identification.project(flow[gallery], flow, self.config.pca_components)[1]
        return cdist(self.projected[key][probes], self.projected[key][gallery])

    def estimate(self, statistic: Callable[..., float], *subjects: np.ndarray) -> Estimate:
        return bootstrap.estimate(statistic, *subjects, **self.config.bootstrap, seed=self.seed)


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
    opened = {split: data.open_samples(reads, data_config, split, spec["tasks"]) for split in ("train", "validation", "test")}
    samples, training_clips = opened["test"], opened["train"].clips

    def predictions(split: str) -> Windows:
        return extract(network, opened[split], spec, statistics, config.batch_size)

    def batch(rows: Int[np.ndarray, " window"]) -> dict[str, Tensor]:
        made = samples.batch(rows.tolist(), spec=spec, statistics=statistics, augment=None)
        return to_device(made, next(network.parameters()).device)

    judge = Judge(predictions("test"), config, seed)
    probe_sets = dataset.protocol(samples.clips, "test", elapsed_gallery=config.elapsed_gallery)
    if "current" not in {probe_set.group for probe_set in probe_sets}:
        raise ValueError(
            f"the test split of {reads['frames']} has {len(samples.clips)} clips with a window, but no probe with a gallery "
            "of its subject: check the flow and validate stages"
        )
    results = Results(metrics={})
    identify(judge, probe_sets, identification.Adaptation(network, batch, config.adapt, seed), results)
    if judge.windows.gender_probability is not None:
        classify_gender(judge, judge.windows.gender_probability, training_clips, results)
    if judge.windows.age_years is not None:
        shrunk = shrinkage(predictions("validation"), spec["age_centre_years"])
        estimate_age(judge, judge.windows.age_years, training_clips, shrunk, results)
    verify(judge, probe_sets, results)
    draw(judge, network, batch, statistics["mean"], results)
    return results


def decide(
    judge: Judge, gallery: Int[np.ndarray, " clip"], probes: Int[np.ndarray, " probe"], adaptation: identification.Adaptation
) -> tuple[np.ndarray, dict[str, Float[np.ndarray, "probe identity"]]]:
    """The identities of a gallery, and each decision's score of every probe sequence for every identity."""
    windows, config = judge.windows, judge.config
    identities, labels_of_clips = np.unique(windows.subjects(gallery), return_inverse=True)
    known, clips = windows.of_clips(gallery)
    asked, groups = windows.of_clips(probes)
    labels, signature = labels_of_clips[clips], windows.signature
    scores = {}
    if {"majority_vote", "softmax_product"} & set(config.decisions):
        logits = adaptation.logits(signature, known, labels, asked)
        probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        scores["majority_vote"] = metrics.majority_vote(probabilities, groups)
        scores["softmax_product"] = metrics.softmax_product(logits, groups)
    if "svm" in config.decisions:
        svm = identification.svm_scores(signature[known], labels, signature[asked], cost=config.svm_cost, seed=judge.seed)
        scores["svm"] = metrics.majority_vote(svm, groups)
    if "nearest_neighbours" in config.decisions:
        votes = identification.neighbour_scores(
            signature[known], labels, signature[asked], neighbours=config.neighbours, components=config.pca_components
        )
        scores["nearest_neighbours"] = metrics.majority_vote(votes, groups)
    chosen = {name: scores[name] for name in config.decisions}
    distances = judge.mean_flow_distance(probes, gallery)
    chosen[MEAN_FLOW] = -np.stack([distances[:, labels_of_clips == i].min(axis=1) for i in range(len(identities))], axis=1)
    return identities, chosen


def find_at_rank(judge: Judge, probe_sets: list[ProbeSet], adaptation: identification.Adaptation) -> dict[str, dict[str, Hits]]:
    """For every decision and probe set: at which rank each probe's own identity is found. One gallery is learned once."""
    hits: dict[str, dict[str, Hits]] = {}
    for gallery in dict.fromkeys(probe_set.gallery for probe_set in probe_sets):
        together = [probe_set for probe_set in probe_sets if probe_set.gallery == gallery]
        probes = judge.windows.rows(tuple(dict.fromkeys(clip for probe_set in together for clip in probe_set.probes)))
        subjects = judge.windows.subjects(probes)
        identities, scores = decide(judge, judge.windows.rows(gallery), probes, adaptation)
        for method, values in scores.items():
            at_rank = metrics.hits_at_rank(values, subjects, identities)
            for probe_set in together:
                mine = np.isin(probes, judge.windows.rows(probe_set.probes))
                hits.setdefault(method, {})[probe_set.name] = Hits(subjects[mine], at_rank[mine])
    return hits


def identify(judge: Judge, probe_sets: list[ProbeSet], adaptation: identification.Adaptation, results: Results) -> None:
    """The paper's table: rank-1 accuracy of every decision for every probe set, and the mean of each group of sets."""
    hits, columns, table = find_at_rank(judge, probe_sets, adaptation), columns_of(probe_sets), []
    for method, by_set in hits.items():
        row: dict[str, Any] = {"method": paper.TITLES[method], "source": BASELINE if method == MEAN_FLOW else OURS}
        for column, names in columns.items():
            parts = [by_set[name] for name in names]
            found = judge.estimate(bootstrap.mean_rank_1(parts), *[part.subjects for part in parts])
            record(results, f"identification.{method}.{column}", found, {}, probes=sum(len(part.subjects) for part in parts))
            row[column] = round(100 * found.value, 1)
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


def columns_of(probe_sets: list[ProbeSet]) -> dict[str, list[str]]:
    """The table's columns and the probe sets in each: one set, or behind each group all of its sets."""
    columns: dict[str, list[str]] = {}
    for group in dict.fromkeys(probe_set.group for probe_set in probe_sets):
        names = [probe_set.name for probe_set in probe_sets if probe_set.group == group]
        columns |= {name: [name] for name in names} | {AVERAGES[group]: names}
    return columns


def classify_gender(
    judge: Judge, probability: Float[np.ndarray, "window 2"], training_clips: pd.DataFrame, results: Results
) -> None:
    """Gender of test subjects, none of them trained on: the larger mean softmax over a sequence's windows.

    The baseline says for everybody what most training subjects are.
    """
    clips = judge.windows.clips
    labels = pd.Index(GENDERS).get_indexer(clips["gender"].to_numpy())
    trained = pd.Index(GENDERS).get_indexer(training_clips.drop_duplicates("subject_id")["gender"].to_numpy())
    if not (labels >= 0).any() or not (trained >= 0).any():
        return
    majority = int(np.bincount(trained[trained >= 0], minlength=2).argmax())
    predicted = metrics.group_mean(probability, judge.windows.clip).argmax(axis=1)
    for part, rows in parts_of(clips, labels >= 0).items():
        subjects, true, guess = judge.windows.subjects(rows), labels[rows], np.full(len(rows), majority)
        measures = {"accuracy": metrics.accuracy, "balanced_accuracy": metrics.balanced_accuracy}
        for name, baseline in (("accuracy", "baseline"), ("balanced_accuracy", "baseline_balanced")):
            measure = measures[name]
            found = judge.estimate(lambda w, r=rows, t=true, m=measure: m(predicted[r], t, w), subjects)
            record(results, f"gender.{name}{part}", found, {f"{baseline}{part}": measure(guess, true)}, sequences=len(rows))


def estimate_age(
    judge: Judge,
    window_years: Float[np.ndarray, " window"],
    training_clips: pd.DataFrame,
    shrunk: Shrinkage,
    results: Results,
) -> None:
    """Age of test subjects in years: the mean over a sequence's windows, shrunk; the baselines say the training mean or median.

    "age.unshrunk_mae_years" is the error of the network's own prediction.
    """
    clips = judge.windows.clips
    ages_years = clips["age_years"].to_numpy(dtype=float)
    trained_years = training_clips.drop_duplicates("subject_id")["age_years"].dropna()
    if np.isnan(ages_years).all() or trained_years.empty:
        return
    clip_years = metrics.group_mean(window_years, judge.windows.clip)
    predicted_years = shrunk(clip_years)
    results.metrics["age.shrinkage"] = shrunk.factor
    for part, rows in parts_of(clips, ~np.isnan(ages_years)).items():
        true = ages_years[rows]
        found = judge.estimate(
            lambda w, r=rows, t=true: metrics.mean_absolute_error(predicted_years[r], t, w), judge.windows.subjects(rows)
        )
        of_mean = metrics.mean_absolute_error(np.full(len(rows), trained_years.mean()), true)
        of_median = metrics.mean_absolute_error(np.full(len(rows), trained_years.median()), true)
        baselines = {f"baseline_mae_years{part}": of_mean, f"baseline_median_mae_years{part}": of_median}
        record(results, f"age.mae_years{part}", found, baselines, sequences=len(rows))
        results.metrics[f"age.unshrunk_mae_years{part}"] = metrics.mean_absolute_error(clip_years[rows], true)


def parts_of(clips: pd.DataFrame, known: Bool[np.ndarray, " clip"]) -> dict[str, Int[np.ndarray, " clip"]]:
    """The rows of all labelled sequences (under the empty name) and of those of each condition (".N", elapsed ".TN")."""
    names = conditions(clips)
    parts = {f".{name}": np.flatnonzero(known & (names == name)) for name in dict.fromkeys(names)}
    return {"": np.flatnonzero(known)} | {name: rows for name, rows in parts.items() if len(rows)}


def conditions(clips: pd.DataFrame) -> np.ndarray:
    """The paper's letters: N, B or S, with a T before it in the elapsed session."""
    return (np.where(clips["session"] > 0, "T", "") + clips["condition"].str.upper()).to_numpy(dtype=str)


def verify(judge: Judge, probe_sets: list[ProbeSet], results: Results) -> None:
    """Is it the same person? Every probe sequence with every gallery sequence, by the distance of their mean signatures.

    Accuracy at the equilibrium point and area under precision-recall; the baseline takes the distance of mean flows after PCA.
    """
    windows = judge.windows
    signature = metrics.group_mean(windows.signature, windows.clip)
    current = tuple(clip for probe_set in probe_sets if probe_set.group == "current" for clip in probe_set.probes)
    every = [ProbeSet("", "current", next(s.gallery for s in probe_sets if s.group == "current"), current)] if current else []
    for probe_set in [*every, *probe_sets]:
        gallery, probes = windows.rows(probe_set.gallery), windows.rows(probe_set.probes)
        people = windows.subjects(gallery), windows.subjects(probes)
        pairs = Pairs.from_distances(*people, cdist(signature[probes], signature[gallery]))
        plain = Pairs.from_distances(*people, judge.mean_flow_distance(probes, gallery))
        part = f".{probe_set.name}" if probe_set.name else ""
        for name, measure in (("equilibrium_accuracy", metrics.equilibrium_accuracy), ("auc", metrics.average_precision)):
            found = judge.estimate(pairs.statistic(measure), pairs.gallery, pairs.probe)
            baselines = {
                f"{MEAN_FLOW}_{name}{part}": measure(plain.score, plain.positive),
                f"chance_{name}{part}": 0.5 if name == "equilibrium_accuracy" else float(pairs.positive.mean()),
            }
            record(results, f"verification.{name}{part}", found, baselines, pairs=len(pairs.score))
        if not probe_set.name:
            results.curves["verification_roc"] = pd.concat([pairs.roc(OURS), plain.roc(MEAN_FLOW)])
            results.curves["verification_precision_recall"] = pd.concat([pairs.recall(OURS), plain.recall(MEAN_FLOW)])


def draw(
    judge: Judge,
    network: nn.Module,
    batch: Callable[[Int[np.ndarray, " window"]], dict[str, Tensor]],
    mean: Float[Tensor, "channel height width"],
    results: Results,
) -> None:
    """What the first layer looks for, in space and in time, and one window of flow for each condition."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    weight = first.weight.detach().float().cpu().contiguous().numpy()
    results.pictures["filters_spatial"] = plots.spatial_filters(weight)
    results.pictures["filters_temporal"] = plots.temporal_filters(weight)
    names = conditions(judge.windows.clips)
    shown = {name: int(np.flatnonzero(names[judge.windows.clip] == name)[0]) for name in dict.fromkeys(names)}
    flow_px = batch(np.array(list(shown.values())))["flow"].cpu() + mean.cpu()
    results.pictures["flow"] = plots.flow_strip(flow_px.unflatten(1, (-1, 2)).numpy(), list(shown))
    results.captions.update(paper.CAPTIONS)
