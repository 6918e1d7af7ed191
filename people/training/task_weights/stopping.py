"""When an auxiliary task stops before the others."""

import math
from collections.abc import Mapping
from statistics import median
from typing import Any

EPSILON = 1e-12


class TaskStopping:
    """Task-wise early stopping: an auxiliary task ends when its training error stagnates and no longer carries over.

    After epoch t, with k = `window_epochs` and E_tr, E_val the task's training and validation errors, task a stops when

        k · med_{j=t-k..t} E_tr(j)                       E_val(t) - min_{j≤t} E_tr(j)
        ---------------------------------------------  ·  ------------------------------  >  threshold
        |Σ_{j=t-k..t} E_tr(j) - k · med_{j=t-k..t} E_tr|    λ_a · min_{j≤t} E_tr(j)

    (Zhang et al., ECCV 2014, eq. 5 - written down from memory of the paper, not checked against it. The absolute value and a
    tiny constant in both denominators are ours: they reach 0 in practice.) The first factor is large once the training error
    no longer falls (k where it is constant), the second measures the generalisation gap against the training error. An error
    must carry a scale: for age it is the mean absolute error in years, never Tukey's loss, which is divided by the spread of
    its own residuals.

    An error of 0 (a gender that is always right) leaves the quotients undefined. What they mean is kept:
    - While the median of the last k + 1 errors is 0, the task's training error is 0. The first factor is k, that of a constant
      error, or 0 if the last of these errors is below the first of them, for then it still falls; any validation error above 0
      is an infinite gap, and without one there is none.
    - While the median is above 0, an epoch with an error of 0 is an exception: it is no minimum by which a gap is measured.

    No task stops before k + 1 errors are known; a stopped task stays stopped. An epoch whose training error is unknown (NaN, or
    infinite) is left out of the sums, the median and the minimum, and stops nothing, nor does an unknown validation error; a
    task whose λ is 0 is left alone. The main task must not be among the errors: it has nothing to stop for.
    """

    def __init__(self, window_epochs: int, threshold: float) -> None:
        if window_epochs < 1 or not threshold > 0:
            raise ValueError(f"task stopping needs window_epochs >= 1 and threshold > 0, got {window_epochs} and {threshold}")
        self.window_epochs, self.threshold = window_epochs, threshold
        self.train_errors: dict[str, list[float]] = {}
        self.stopped: set[str] = set()

    def update(
        self, train_errors: Mapping[str, float], validation_errors: Mapping[str, float], lambdas: Mapping[str, float]
    ) -> set[str]:
        """Take in one epoch's errors of the auxiliary tasks; return all tasks that are stopped by now."""
        if not set(train_errors) <= set(validation_errors) & set(lambdas):
            raise ValueError(
                f"each task needs a training error, a validation error and a weight, got {sorted(train_errors)}, "
                f"{sorted(validation_errors)} and {sorted(lambdas)}"
            )
        for task, error in train_errors.items():
            history = self.train_errors.setdefault(task, [])
            if not math.isfinite(error):
                continue
            history.append(float(error))
            if lambdas[task] > 0 and self.criterion(task, validation_errors[task], lambdas[task]) > self.threshold:
                self.stopped.add(task)
        return set(self.stopped)

    def criterion(self, task: str, validation_error: float, weight: float) -> float:
        """The left side of the inequality for one task; 0 while fewer than k + 1 errors are known."""
        history, k = self.train_errors[task], self.window_epochs
        if len(history) <= k:
            return 0.0
        recent = history[-(k + 1) :]
        typical = k * median(recent)
        if typical == 0:
            return math.inf if validation_error > 0 and recent[-1] >= recent[0] else 0.0
        tendency = typical / (abs(sum(recent) - typical) + EPSILON)
        least = min(error for error in history if error != 0)
        gap = (validation_error - least) / (weight * least + EPSILON)
        return tendency * gap

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain lists and numbers."""
        return {
            "train_errors": {task: list(errors) for task, errors in self.train_errors.items()},
            "stopped": sorted(self.stopped),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self.train_errors = {task: list(errors) for task, errors in state["train_errors"].items()}
        self.stopped = set(state["stopped"])
