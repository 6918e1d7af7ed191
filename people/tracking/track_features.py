"""What the systems read of one track, made frame by frame as the stages make it of a dataset's clips."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from people.video import crops, foregrounds, silhouettes
from people.video import flow as optical_flow
from people.video.masks import Mask, binarise

FIELDS = {  # of each kind of features, as in the stores
    "silhouettes": ("silhouette", "box", "frame"),
    "foregrounds": ("foreground",),
    "crops": ("image",),
    "flow": ("flow", "box"),
}
PHOTOS = 16  # of a track at least, where it has as many frames; at most twice as many
EARLY = 0.25  # of a frame's period, by which a frame may come before it is due: times in files are rounded
BORDER_PX = 2.0  # of a frame: whose box comes so near to it is cut off
PHOTO_MARGIN = 0.05  # of the box's size, on each side


@dataclass(frozen=True)
class Config:
    """How each kind of feature is made, by the configuration of its stage; None: it is not made.

    `max_frames`: of a track, whose features are kept; of a longer one the first. It bounds memory. `frame_rate_hz`: frames of a
    faster video are left out, as gait looks different at another rate.
    """

    silhouette: silhouettes.Config | None = None
    foreground: foregrounds.Config | None = None
    crop: crops.Config | None = None
    flow: optical_flow.Config | None = None
    max_frames: int = 1500
    frame_rate_hz: float = math.inf


@dataclass(eq=False)
class FrameRate:
    """Which frames of a video are taken, so that there are at most so many a second; the others are left out evenly."""

    rate_hz: float
    taken: int = 0
    _due_s: float = -math.inf

    def takes(self, time_s: float) -> bool:
        """Whether the frame at this time is taken; frames are asked for in the order of their times."""
        period_s = 1 / self.rate_hz
        if time_s < self._due_s - EARLY * period_s:
            return False
        self._due_s = max(self._due_s + period_s, time_s)
        self.taken += 1
        return True


class Photo(NamedTuple):
    """A photo of the person, and its place among the track's frames."""

    position: int
    rgb: UInt8[np.ndarray, "height width 3"]


@dataclass(eq=False)
class Features:
    """The features of one track, as arrays by the names of the stores' fields; no entry of a kind that is not made.

    Silhouettes and foregrounds are those of frames that show the person whole, not cut off by the border, if there are some.
    """

    config: Config
    frame_count: int = 0
    _silhouettes: list[tuple[np.ndarray, np.ndarray, int]] = field(default_factory=list)
    _is_whole: list[bool] = field(default_factory=list)
    _foregrounds: list[np.ndarray] = field(default_factory=list)
    _photos: list[Photo] = field(default_factory=list)
    _photo_step: int = 1
    _small: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)

    def add(
        self,
        frame_rgb: UInt8[np.ndarray, "height width 3"],
        box_xyxy_px: Float[np.ndarray, " 4"],
        mask: Mask | None,
        number: int,
    ) -> None:
        """The person in the taken frame of this number."""
        index = self.frame_count
        self.frame_count += 1
        if self.config.crop and index % self._photo_step == 0:
            self._add_photo(index, photo(frame_rgb, box_xyxy_px, self.config.crop))
        if index >= self.config.max_frames:
            return
        if self.config.flow:
            self._add_small(frame_rgb, box_xyxy_px, number, self.config.flow)
        if self.config.silhouette and mask is not None:
            self._add_silhouette(frame_rgb, mask, index, self.config.silhouette, is_whole(box_xyxy_px, frame_rgb.shape[:2]))

    def arrays(self, kind: str) -> dict[str, np.ndarray]:
        """The fields of one kind: "silhouettes", "foregrounds", "crops" or "flow"; empty where too little was seen."""
        chosen = np.flatnonzero(self._is_whole) if any(self._is_whole) else np.arange(len(self._is_whole))
        if kind == "silhouettes" and self._silhouettes:
            pictures, boxes, frames = zip(*(self._silhouettes[index] for index in chosen), strict=True)
            return {
                "silhouette": np.stack(pictures),
                "box": np.stack(boxes).astype(np.float32),
                "frame": np.array(frames, np.int32)[:, None],
            }
        if kind == "foregrounds" and self._foregrounds:
            return {"foreground": np.stack([self._foregrounds[index] for index in chosen])}
        if kind == "crops" and self._photos:
            return {"image": np.stack([each.rgb for each in self._photos])}
        if kind == "flow":
            return self._flow()
        return {}

    def _add_photo(self, index: int, rgb: np.ndarray) -> None:
        self._photos.append(Photo(index, rgb))
        if len(self._photos) == 2 * PHOTOS:
            self._photo_step *= 2
            self._photos = [each for each in self._photos if each.position % self._photo_step == 0]

    def _add_silhouette(self, frame_rgb: np.ndarray, mask: Mask, index: int, config: silhouettes.Config, whole: bool) -> None:
        own = mask if config.soft else mask._replace(pixels=binarise(mask.pixels))
        made = silhouettes.normalise_mask(own, config)
        if made is None:
            return
        picture, box = made
        self._silhouettes.append((picture, box, index))
        self._is_whole.append(whole)
        if self.config.foreground:
            size_hw = self.config.foreground.size_hw
            shown = foregrounds.region(box, size_hw)
            self._foregrounds.append(foregrounds.foreground(frame_rgb, picture, box, shown, size_hw).picture)

    def _add_small(self, frame_rgb: np.ndarray, box_xyxy_px: np.ndarray, number: int, config: optical_flow.Config) -> None:
        per_pixel = np.array(config.size_hw[::-1], np.float32) / frame_rgb.shape[1::-1]
        self._small.append(
            (
                number,
                optical_flow.resize(cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2GRAY), config.compute_size_hw),
                box_xyxy_px * np.tile(per_pixel, 2),
            )
        )

    def _flow(self) -> dict[str, np.ndarray]:
        """Flow along the longest run of frames without a gap."""
        numbers = np.array([number for number, *_ in self._small])
        if not len(numbers) or self.config.flow is None:
            return {}
        runs = np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers) != 1) + 1)
        longest = max(runs, key=len)
        if len(longest) < 2:
            return {}
        stored, _ = optical_flow.flow_between([self._small[index][1] for index in longest], self.config.flow)
        return {"flow": stored, "box": np.stack([self._small[index][2] for index in longest[1:]]).astype(np.float32)}


def is_whole(box_xyxy_px: Float[np.ndarray, " 4"], size_hw: tuple[int, ...]) -> bool:
    """Whether a box lies within the frame and does not touch its border."""
    x0, y0, x1, y1 = box_xyxy_px.tolist()
    return min(x0, y0) > BORDER_PX and x1 < size_hw[1] - BORDER_PX and y1 < size_hw[0] - BORDER_PX


def photo(
    frame_rgb: UInt8[np.ndarray, "rows columns 3"], box_xyxy_px: Float[np.ndarray, " 4"], config: crops.Config
) -> UInt8[np.ndarray, "height width 3"]:
    """The person's box with a margin, in the aspect ratio of the photos, at their size; beyond the frame its edge goes on."""
    height, width = config.size_hw
    x0, y0, x1, y1 = box_xyxy_px.astype(np.float64)
    size = np.maximum([x1 - x0, y1 - y0], 1) * (1 + 2 * PHOTO_MARGIN)
    size = np.maximum(size, [size[1] * width / height, size[0] * height / width])
    low = np.floor(np.array([x0 + x1, y0 + y1]) / 2 - size / 2).astype(int)
    high = low + np.maximum(np.rint(size).astype(int), 1)
    rows, columns = frame_rgb.shape[:2]
    inside = frame_rgb[max(low[1], 0) : max(high[1], 1), max(low[0], 0) : max(high[0], 1)]
    (left, top), (right, bottom) = np.maximum(-low, 0).tolist(), np.maximum(high - [columns, rows], 0).tolist()
    padded = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE)
    return crops.resize([padded], (height, width))[0]
