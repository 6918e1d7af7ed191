"""The metrics of re-identification and attributes: retrieval, twelve attributes, and junk detection.

Nothing is fitted to a test photo: the most frequent classes are the training photos', and embeddings are compared.
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
from people.systems.reid.score.headline import headline_figures as headline_figures
from people.systems.reid.score.predictions import predict_split
from people.training.system import Reads, Spec, Statistics

PHOTO_BLOCK = 1024  # photos read at a time
SPLITS = ("validation", "test")
# By column of a table of several trainings: the metric, and that of the baseline.
COLUMNS = {
    "mAP": ("retrieval.official.map", "retrieval.official.histogram_map"),
    "rank-1": ("retrieval.official.rank_1", "retrieval.official.histogram_rank_1"),
    "mAP, paper's protocol": ("retrieval.paper.map", "retrieval.paper.histogram_map"),
    "attributes": ("attributes.accuracy.mean", "attributes.most_frequent.mean"),
    "balanced": ("attributes.balanced_accuracy.mean", "attributes.most_frequent_balanced_accuracy.mean"),
}
LOWER_IS_BETTER: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """The split, and what is measured besides retrieval and attributes.

    `split`: test, or validation where there are no test people. `rerank`: k1, k2, lambda and reading (published or
    paper, see `people.evaluation.reranking`) of re-ranking, or None. `junk`: methods of its detection, of confidence, detector
    and head. `weights`: the detector's. `bootstrap`: resamples, confidence.
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
        check("score.reid.", self, rules)
        bootstrap.check_settings("score.reid", self.bootstrap)
        if self.rerank is not None:
            check_keys("score.reid.rerank", self.rerank, {"k1", "k2", "lambda", "reading"})
        self.reranking()

    def reranking(self) -> reranking.Config | None:
        """The settings of re-ranking, None without it."""
        block = self.rerank
        if block is None:
            return None
        return reranking.Config(k1=block["k1"], k2=block["k2"], share=block["lambda"], reading=block["reading"])


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
        blocks = np.array_split(np.arange(len(predictions.clips)), -(-len(predictions.clips) // PHOTO_BLOCK))
        histograms = np.concatenate([colour_histograms.histograms(predictions.stored_images(rows)) for rows in blocks])
        ranks = [retrieval.rank_photo_set(predictions, histograms, photo_set, config.reranking()) for photo_set in protocol]
        retrieval.record_measures(ranks, resampling, results)
        retrieval.record_subgroups(predictions.clips, ranks, resampling, results)
        retrieval.add_pictures(predictions, ranks[-1], results)
    if predictions.attributes:
        training_clips = data.open_samples(reads, data_config, "train", spec["tasks"]).clips
        attributes.record_attributes(predictions, training_clips, resampling, results)
        attributes.record_subgroups(predictions, resampling, results)
    attributes.record_junk(predictions, config.junk, config.weights, resampling, results)
    results.tables["photos"] = attributes.photo_counts(predictions)
    results.captions.update(paper.CAPTIONS)
    return results


def check_has_people(crops: Store, split: str) -> None:
    """An error where the split has no people: the course edition of Market-1501 has no test identities."""
    splits = set(crops.clips.loc[crops.clips["kind"] == data.PERSON, "split"])
    if split not in splits:
        raise ValueError(
            f"the split {split!r} of {crops.path} has no photo of a person, those of {', '.join(sorted(splits))} have: the "
            "course edition of Market-1501 has no test identities; set score.reid.split to validation"
        )
