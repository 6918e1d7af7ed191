"""Metrics, rankings, bootstrap intervals and plots. One unit: the stage evaluate depends on all of it."""

from people.evaluation import (
    bootstrap,
    crossview,
    detection,
    finite,
    identification,
    metrics,
    plots,
    reranking,
    results,
    retrieval,
)
from people.protocols.photo_set import PhotoSet
from people.protocols.probe_set import ProbeSet

__all__ = [
    "PhotoSet",
    "ProbeSet",
    "bootstrap",
    "crossview",
    "detection",
    "finite",
    "identification",
    "metrics",
    "plots",
    "reranking",
    "results",
    "retrieval",
]
