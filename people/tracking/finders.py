"""Who finds the people in the frames of a video; all answer alike.

Background subtraction is `people.tracking.moving_people`; here are torchvision's detectors with their COCO weights, and
MediaPipe's masks of the people whom another one has found.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from people.video.masks import Mask

MASK_MARGIN = 0.1  # of a box's longer side: how far beyond it a mask may reach


class FoundPeople(NamedTuple):
    """The people in one frame: (x0, y0, x1, y1; px) and score in [0, 1].

    Where the finder has them, masks, 0 to 255, and the probability of each of `records.ACTIVITIES`.
    """

    boxes_xyxy_px: Float[np.ndarray, "person 4"]
    scores: Float[np.ndarray, " person"]
    masks: list[Mask] | None = None
    activities: Float[np.ndarray, "person activity"] | None = None


@runtime_checkable
class Finder(Protocol):
    """Finds the people in one frame after the other."""

    def find(self, frame_rgb: UInt8[np.ndarray, "height width 3"], time_s: float) -> FoundPeople:
        """The people in the next frame."""
        ...


class Detector:
    """torchvision's Faster R-CNN, or Mask R-CNN for masks too; `weights` as in `people.video.detectors`."""

    def __init__(self, name: str, weights: str) -> None:
        from people.video import detectors  # torchvision takes seconds to import

        self.name, self._weights, self._people = name, detectors.weights_file(name, weights), detectors.people

    def find(self, frame_rgb: UInt8[np.ndarray, "height width 3"], time_s: float) -> FoundPeople:
        boxes, scores, masks = self._people(self.name, frame_rgb, self._weights)
        return FoundPeople(
            boxes, scores, None if masks is None else [masked(mask, box) for mask, box in zip(masks, boxes, strict=True)]
        )


class MediapipeMasks:
    """The people whom another finder finds, with MediaPipe's soft masks; `weights` as in `people.video.mediapipe`."""

    def __init__(self, finder: Finder, weights: str) -> None:
        from people.video import mediapipe  # and its runtime, which is optional

        self._finder, self._person, self._landmarks = finder, mediapipe.person_in_box, mediapipe.landmark_file(weights)

    def find(self, frame_rgb: UInt8[np.ndarray, "height width 3"], time_s: float) -> FoundPeople:
        found = self._finder.find(frame_rgb, time_s)
        masks = [self._mask(frame_rgb, box) for box in found.boxes_xyxy_px]
        return found._replace(masks=masks)

    def _mask(self, frame_rgb: UInt8[np.ndarray, "height width 3"], box_xyxy_px: Float[np.ndarray, " 4"]) -> Mask:
        person = self._person(frame_rgb, box_xyxy_px, self._landmarks)
        x0, y0, x1, y1 = box_xyxy_px
        margin = MASK_MARGIN * max(x1 - x0, y1 - y0)
        return masked(np.rint(255 * person.mask).astype(np.uint8), box_xyxy_px + np.array([-margin, -margin, margin, margin]))


def masked(mask: UInt8[np.ndarray, "height width"], box_xyxy_px: Float[np.ndarray, " 4"]) -> Mask:
    """A frame's mask within a box."""
    height, width = mask.shape
    x0, y0 = np.floor(box_xyxy_px[:2]).clip(0, [width - 1, height - 1]).astype(int).tolist()
    x1, y1 = np.ceil(box_xyxy_px[2:]).clip([x0 + 1, y0 + 1], [width, height]).astype(int).tolist()
    return Mask(np.ascontiguousarray(mask[y0:y1, x0:x1]), y0, x0, height, width)
