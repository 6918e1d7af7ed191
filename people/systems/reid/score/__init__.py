"""What the system of attributes and re-identification measures: retrieval, twelve attributes, and how junk is spotted.

Nothing here is fitted to a test photo: the most frequent classes are the training photos', and embeddings are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from people.config import check, check_keys
from people.evaluation import bootstrap, reranking
from people.evaluation.results import Results
from people.storage.store import Store
from people.systems.reid import data, paper
from people.systems.reid.score import attributes, colour_histograms, retrieval
from people.systems.reid.score.attributes import JUNK_METHODS
from people.systems.reid.score.predictions import predict_split
from people.training.system import Reads, Spec, Statistics

PHOTOS_READ = 1024  # at a time
SPLITS = ("validation", "test")
# What a table of several trainings shows: the metric, and that of the baseline.
COLUMNS = {
    "mAP": ("retrieval.official.map", "retrieval.official.histogram_map"),
    "rank-1": ("retrieval.official.rank_1", "retrieval.official.histogram_rank_1"),
    "mAP, paper's protocol": ("retrieval.paper.map", "retrieval.paper.histogram_map"),
    "attributes": ("attributes.accuracy.mean", "attributes.most_frequent.mean"),
    "balanced": ("attributes.balanced_accuracy.mean", "attributes.most_frequent_balanced_accuracy.mean"),
}


@dataclass(frozen=True)
class Config:
    """Whom the numbers are about, and what is measured besides retrieval and attributes.

    `split`: test, or validation where there are no test people. `rerank`: k1, k2 and lambda of re-ranking, or None. `junk`:
    ways to spot junk, of confidence, detector and head. `weights`: the detector's. `bootstrap`: resamples and confidence.
    """

    split: str
    batch_size: int
    rerank: Mapping[str, Any] | None
    junk: Sequence[str]
    weights: str
    bootstrap: dict[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "junk", tuple(self.junk))
        methods_known = set(self.junk) <= set(JUNK_METHODS) and len(set(self.junk)) == len(self.junk)
        rules = {
            "split": (self.split in SPLITS, f"one of {', '.join(SPLITS)}"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "junk": (methods_known, f"some of {', '.join(JUNK_METHODS)}, each once"),
        }
        check("reid.score.", self, rules)
        bootstrap.check_settings("reid.score", self.bootstrap)
        if self.rerank is not None:
            check_keys("reid.score.rerank", self.rerank, {"k1", "k2", "lambda"})
        self.reranking()

    def reranking(self) -> reranking.Config | None:
        """How to re-rank, None for not at all."""
        asked = self.rerank
        return None if asked is None else reranking.Config(k1=asked["k1"], k2=asked["k2"], share=asked["lambda"])


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
    """Every number, table, curve and picture of a trained network on the split's people, of the tasks that it has."""
    crops = Store.open(reads["frames"])
    check_has_people(crops, config.split)
    samples = data.open_samples(reads, data_config, config.split, spec["tasks"])
    predictions = predict_split(network, samples, crops.field("image"), spec, statistics, config.batch_size)
    results, resampling = Results(metrics={}), config.bootstrap | {"seed": seed}
    if "embedding" in predictions.outputs:
        protocol = dataset.protocol(predictions.clips, config.split)
        parts = np.array_split(np.arange(len(predictions.clips)), -(-len(predictions.clips) // PHOTOS_READ))
        histograms = np.concatenate([colour_histograms.histograms(predictions.shown(rows)) for rows in parts])
        judged = [retrieval.judge(predictions, histograms, photo_set, config.reranking()) for photo_set in protocol]
        retrieval.measure(judged, resampling, results)
        retrieval.draw(predictions, judged[-1], results)
    if predictions.attributes:
        training_clips = data.open_samples(reads, data_config, "train", spec["tasks"]).clips
        attributes.attributes(predictions, training_clips, resampling, results)
    attributes.junk(predictions, config.junk, config.weights, resampling, results)
    results.tables["photos"] = attributes.kinds(predictions)
    results.captions.update(paper.CAPTIONS)
    return results


def check_has_people(crops: Store, split: str) -> None:
    """An error where the split has no people: the course edition of Market-1501 has no test identities."""
    found = set(crops.clips.loc[crops.clips["kind"] == data.PERSON, "split"])
    if split not in found:
        there = ", ".join(sorted(found))
        raise ValueError(
            f"the split {split!r} of {crops.path} has no photo of a person, those of {there} have: the course edition of "
            "Market-1501 has no test identities; set reid.score.split to validation"
        )
