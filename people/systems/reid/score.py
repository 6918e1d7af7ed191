"""What the system of attributes and re-identification measures: retrieval, twelve attributes, and how junk is spotted.

Nothing here is fitted to a test photo: the most frequent classes are the training photos', and embeddings are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from people import datasets
from people.judging import reranking
from people.records import Results
from people.systems.reid import colours, data, paper, recognition, retrieval
from people.systems.reid.recognition import WAYS
from people.systems.reid.said import listen
from people.video.store import Store

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
        if self.split not in SPLITS:
            raise ValueError(f"reid.score.split must be one of {', '.join(SPLITS)}, got {self.split!r}; correct params.yaml")
        if self.batch_size < 1:
            raise ValueError(f"reid.score.batch_size must be at least 1, got {self.batch_size}; correct params.yaml")
        object.__setattr__(self, "junk", tuple(self.junk))
        if not set(self.junk) <= set(WAYS) or len(set(self.junk)) < len(self.junk):
            raise ValueError(f"reid.score.junk must be some of {', '.join(WAYS)}, each once, got {list(self.junk)}")
        wanted = {"bootstrap": {"resamples", "confidence"}, "rerank": {"k1", "k2", "lambda"}}
        for name, keys in wanted.items():
            if (given := getattr(self, name)) is not None and set(given) != keys:
                raise ValueError(f"reid.score.{name} has the keys {', '.join(sorted(keys))}, got {', '.join(sorted(given))}")
        self.reranking()

    def reranking(self) -> reranking.Config | None:
        """How to re-rank, None for not at all."""
        asked = self.rerank
        return None if asked is None else reranking.Config(k1=asked["k1"], k2=asked["k2"], share=asked["lambda"])


def evaluate(
    network: nn.Module,
    spec: dict[str, Any],
    statistics: dict[str, Tensor],
    reads: dict[str, Path],
    data_config: data.Config,
    config: Config,
    seed: int,
) -> Results:
    """Every number, table, curve and picture of a trained network on the split's people, of the tasks that it has."""
    crops = Store.open(reads["frames"])
    refuse_nobody(crops, config.split)
    samples = data.open_samples(reads, data_config, config.split)
    said = listen(network, samples, crops.field("image"), spec, statistics, config.batch_size)
    results, bootstrap = Results(metrics={}), config.bootstrap | {"seed": seed}
    if "embedding" in said.outputs:
        protocol = datasets.find(said.clips["dataset"].iloc[0]).protocol(said.clips, config.split)
        parts = np.array_split(np.arange(len(said.clips)), -(-len(said.clips) // PHOTOS_READ))
        histograms = np.concatenate([colours.histograms(said.shown(rows)) for rows in parts])
        judged = [retrieval.judge(said, histograms, photo_set, config.reranking()) for photo_set in protocol]
        retrieval.measure(judged, bootstrap, results)
        retrieval.draw(said, judged[-1], results)
    if said.attributes:
        recognition.attributes(said, data.open_samples(reads, data_config, "train").clips, bootstrap, results)
    recognition.junk(said, config.junk, config.weights, bootstrap, results)
    results.tables["photos"] = recognition.kinds(said)
    results.captions.update(paper.CAPTIONS)
    return results


def refuse_nobody(crops: Store, split: str) -> None:
    """An error where the split has no people: the course edition of Market-1501 has no test identities."""
    found = set(crops.clips.loc[crops.clips["kind"] == data.PERSON, "split"])
    if split not in found:
        there = ", ".join(sorted(found))
        raise ValueError(
            f"the split {split!r} of {crops.path} has no photo of a person, those of {there} have: the course edition of "
            "Market-1501 has no test identities; set reid.score.split to validation"
        )
