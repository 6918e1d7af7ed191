"""How the losses of several tasks become one, and when an auxiliary task stops.

A weighting is a module: what it learns or keeps is saved and resumed with the network. `methods.METHODS` are the ways of
weighting by name; docs/weighting.md compares them.
"""

from people.training.task_weights.base import CLASSIFICATION, REGRESSION, Fixed, Weighting, total
from people.training.task_weights.methods import METHODS, Method, method, weighting
from people.training.task_weights.stopping import TaskStopping

__all__ = [
    "CLASSIFICATION",
    "METHODS",
    "REGRESSION",
    "Fixed",
    "Method",
    "TaskStopping",
    "Weighting",
    "method",
    "total",
    "weighting",
]
