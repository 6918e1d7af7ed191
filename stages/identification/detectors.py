"""Who finds people in single frames, by the name in `identify.finder`."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from people import checkpoints, systems
from people.tracking.finders import Detector, Finder, FoundPeople
from stages.identification.champions import champion
from stages.identification.following import Config


class Multipose:
    """The project's own network, which also tells what people do."""

    def __init__(self, checkpoint: Path) -> None:
        self._network, entries = checkpoints.load(checkpoint)
        self._statistics: Any = entries["statistics"]
        self._serving: Any = systems.find("multipose", "serving")
        self._tells_activities = "activity" in entries["spec"]["tasks"]

    def find(self, frame_rgb: UInt8[np.ndarray, "height width 3"], time_s: float) -> FoundPeople:
        (found,) = self._serving.find_people(self._network, self._statistics, [frame_rgb.astype(np.float32) / 255])
        boxes, scores, _, activities = (values.cpu().numpy() for values in found)
        return FoundPeople(boxes, scores, None, activities if self._tells_activities else None)


def detector(config: Config, given: dict[str, str]) -> Finder | None:
    """The finder of single frames that the configuration names; None for background subtraction.

    `given`: checkpoints by system that are taken in place of the registered champions.
    """
    if config.finder == "background":
        return None
    if config.finder == "multipose":
        return Multipose(Path(given["multipose"]) if "multipose" in given else champion("multipose").checkpoint)
    return Detector(config.finder, config.finder_weights)
