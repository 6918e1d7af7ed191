"""Retrieval under the dataset's protocols, and the share of photos whose gender is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from people.systems.phased import data, paper
from people.systems.phased.score.headline import headline_figures as headline_figures
from torch import nn

from people.config import check
from people.evaluation import metrics, retrieval
from people.evaluation.results import Results
from people.nn.inference import joined, over_split
from people.records import GENDERS
from people.training.system import Reads, Spec, Statistics

COLUMNS = {"mAP": ("retrieval.paper.map", "retrieval.paper.chance")}
LOWER_IS_BETTER: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    batch_size: int

    def __post_init__(self) -> None:
        check("score.phased.", self, {"batch_size": (self.batch_size >= 1, "at least 1")})


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
    samples = data.open_samples(reads, data_config, "test", spec["tasks"])
    outputs = joined([output for output, _ in over_split(network, samples, spec, statistics, config.batch_size)])
    values: dict[str, float] = {}
    for photo_set in dataset.protocol(samples.clips, "test"):
        values |= ranked(photo_set, samples.clips, outputs["embedding"])
    if "gender" in outputs:
        labels = pd.Index(GENDERS).get_indexer(samples.clips["gender"])
        values["gender.accuracy"] = metrics.accuracy(outputs["gender"].argmax(1).cpu().numpy(), labels)
    results = Results(values, tables={"photos": samples.clips.groupby("camera").size().rename("photos").reset_index()})
    results.captions.update(paper.CAPTIONS)
    return results


def ranked(photo_set: Any, clips: pd.DataFrame, embedding: Any) -> Mapping[str, float]:
    index = pd.Index(clips["clip_id"])
    rows = [
        index.get_indexer([clip for clip in clip_ids if clip in index]) for clip_ids in (photo_set.queries, photo_set.gallery)
    ]
    query, gallery = (
        retrieval.Photos(clips["subject_id"].to_numpy(str)[part], clips["camera"].to_numpy(int)[part], part) for part in rows
    )
    found = retrieval.rank(
        embedding[rows[0]], embedding[rows[1]], query, gallery, same_camera_removed=photo_set.same_camera_removed
    )
    chance = 1 / clips["subject_id"].nunique()
    name = f"retrieval.{photo_set.name}"
    return {f"{name}.map": float(np.nanmean(found.average_precision())), f"{name}.chance": float(chance)}
