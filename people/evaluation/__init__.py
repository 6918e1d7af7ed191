"""Metrics, rankings, bootstrap intervals and plots. One unit: the stage evaluate depends on all of it."""

from people.evaluation import (
    answers,
    bootstrap,
    coco,
    crossview,
    detection,
    finite,
    identification,
    metrics,
    plots,
    reranking,
    results,
    retrieval,
    subgroups,
)
from people.protocols.image_set import ImageSet
from people.protocols.photo_set import PhotoSet
from people.protocols.probe_set import ProbeSet

__all__ = [
    "ImageSet",
    "PhotoSet",
    "ProbeSet",
    "answers",
    "bootstrap",
    "coco",
    "crossview",
    "detection",
    "finite",
    "identification",
    "metrics",
    "plots",
    "reranking",
    "results",
    "retrieval",
    "subgroups",
]
