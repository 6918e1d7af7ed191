"""Mean agreement of predictions with the ground truth over frames, for the description of a store."""

from collections import defaultdict
from typing import Any

import numpy as np
from jaxtyping import Float


class MeanOverlap:
    """Mean over frames of an overlap ratio, in all and by condition; `name` is the ratio's, such as iou or oks."""

    def __init__(self, name: str) -> None:
        self.name, self._ratios = name, defaultdict(list)

    def add(self, condition: str, ratios: Float[np.ndarray, " frame"]) -> None:
        """Add the ratios of a clip's frames; NaN where there is nothing to compare."""
        self._ratios[condition] += ratios[~np.isnan(ratios)].tolist()

    def facts(self) -> dict[str, Any]:
        """The mean over all frames (None without any) and by condition (only those with frames)."""
        by_condition = {condition: ratios for condition, ratios in sorted(self._ratios.items()) if ratios}
        all_ratios = [ratio for ratios in by_condition.values() for ratio in ratios]
        return {
            self.name: float(np.mean(all_ratios)) if all_ratios else None,
            f"{self.name}_by_condition": {condition: float(np.mean(ratios)) for condition, ratios in by_condition.items()},
        }
