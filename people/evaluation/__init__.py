"""How a system is judged: metrics, rankings, intervals, plots. One unit: `evaluate` depends on all of it."""

from people.evaluation import (
    bootstrap,
    crossview,
    detection,
    identification,
    metrics,
    plots,
    reranking,
    results,
    retrieval,
)

__all__ = [
    "bootstrap",
    "crossview",
    "detection",
    "identification",
    "metrics",
    "plots",
    "reranking",
    "results",
    "retrieval",
]
