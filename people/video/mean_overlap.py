"""How well what was found agrees with the truth, frame by frame, as facts of the store that holds it."""

from collections import defaultdict
from typing import Any

import numpy as np
from jaxtyping import Float


class MeanOverlap:
    """Ratios of frames by condition; `name` says which ratio, such as iou."""

    def __init__(self, name: str) -> None:
        self.name, self._ratios = name, defaultdict(list)

    def add(self, condition: str, ratios: Float[np.ndarray, " frame"]) -> None:
        """The ratios of one clip's frames; NaN where there was nothing to compare."""
        self._ratios[condition] += ratios[~np.isnan(ratios)].tolist()

    def facts(self) -> dict[str, Any]:
        """The mean over all frames and by condition; None and nothing where no frame was compared."""
        compared = {condition: ratios for condition, ratios in sorted(self._ratios.items()) if ratios}
        everything = [ratio for ratios in compared.values() for ratio in ratios]
        return {
            self.name: float(np.mean(everything)) if everything else None,
            f"{self.name}_by_condition": {condition: float(np.mean(ratios)) for condition, ratios in compared.items()},
        }
