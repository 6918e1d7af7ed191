"""The people in front of a camera that does not move: regions that differ from the empty scene.

The scene follows the light: where nobody is it is averaged slowly with each frame, and what has stood still for long becomes
part of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from people.config import check
from people.tracking.finders import FoundPeople, masked
from people.video import background
from people.video.masks import Mask

SCENE_RATE_S = 30.0  # of the average
MOTION_LEVELS = 12.0  # of 255: a difference to the frame of half a second ago beyond this is motion
MOTION_S = 0.5
GHOST_EDGE = 1.5  # times the edge in the frame: that in the scene, along the contour of somebody who has left it
PERSON_EDGE = 1.25  # times the edge in the scene: that in the frame, along the contour of a person
MARGIN_PX = 3
REGION_DISTANCE = 2.5  # times the threshold of noise: a region differs by more, a person's mask within it by more than once


@dataclass(frozen=True)
class Config:
    """What is a person: regions of at least `min_height_share` of the frame's height.

    Frames are first reduced to `side_px`, their longer side. `absorb_s`: how long something has to stand still, every pixel of
    it, to become part of the scene.
    """

    side_px: int
    min_height_share: float
    absorb_s: float

    def __post_init__(self) -> None:
        rules = {
            "side_px": (self.side_px >= 64, "at least 64"),
            "min_height_share": (0 < self.min_height_share < 1, "in (0, 1)"),
            "absorb_s": (self.absorb_s > 0, "above 0"),
        }
        check("identify.background.", self, rules)


class MovingPeople:
    """Finds people frame by frame; `pictures_rgb` show the scene at several times, those of the first one's size count."""

    def __init__(self, pictures_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], config: Config) -> None:
        self.config = config
        pictures = [reduced(picture, config.side_px) for picture in pictures_rgb]
        if not pictures:
            raise ValueError("expected pictures of the scene, got none")
        same_size = np.stack([each for each in pictures if each.shape == pictures[0].shape])
        self._scene = background.scene_of(same_size)
        self._noise = _noise(same_size, self._scene)
        self._still_s = np.zeros(self._scene.shape[:2], np.float32)
        self._recent: list[tuple[float, np.ndarray]] = []
        self._time_s: float | None = None

    def find(self, frame_rgb: UInt8[np.ndarray, "height width 3"], time_s: float) -> FoundPeople:
        """The people in the next frame."""
        luma = background.luma_chroma(reduced(frame_rgb, self.config.side_px))
        if luma.shape != self._scene.shape:
            sizes = [f"{width}x{height}" for height, width, _ in (self._scene.shape, luma.shape)]
            raise ValueError(f"the scene is of {sizes[0]} px and a frame of {sizes[1]}: expected one camera and one size")
        distance, shadow = background.background_difference(luma, self._scene, self._noise)
        mask, strong = (cv2.medianBlur(((distance > least) & ~shadow).astype(np.uint8), 3) for least in (1, REGION_DISTANCE))
        contours = _contours(strong)
        mask *= cv2.drawContours(np.zeros_like(mask), contours, -1, 1, cv2.FILLED)
        people = self._people(luma, contours, mask)
        self._learn(luma, mask, time_s)
        size_hw = frame_rgb.shape[:2]
        factor_xy = np.divide(size_hw[::-1], mask.shape[::-1], dtype=np.float32)
        boxes = np.array([box for box, _ in people], np.float32).reshape(-1, 4) * np.tile(factor_xy, 2)
        masks = [_enlarged(person, box, size_hw) for (_, person), box in zip(people, boxes, strict=True)]
        return FoundPeople(boxes, np.ones(len(boxes), np.float32), masks)

    def _people(
        self,
        luma: Float[np.ndarray, "height width 3"],
        contours: Sequence[np.ndarray],
        mask: UInt8[np.ndarray, "height width"],
    ) -> list[tuple[tuple[int, int, int, int], UInt8[np.ndarray, "height width"]]]:
        """Boxes and masks of the regions that are large enough and have an edge round them; what is no person leaves the mask.

        Where the edge is in the scene, and not in the frame, somebody who was taken for part of the scene has left: the scene
        is corrected. Where it is in neither, it is light or shadow.
        """
        height, width = mask.shape
        people = []
        for contour in contours:
            x, y, columns, rows = cv2.boundingRect(contour)
            at_border = min(x, y) <= 1 or x + columns >= width - 1 or y + rows >= height - 1
            if rows < (0.5 if at_border else 1.0) * self.config.min_height_share * height:
                continue
            window = slice(max(y - MARGIN_PX, 0), y + rows + MARGIN_PX), slice(max(x - MARGIN_PX, 0), x + columns + MARGIN_PX)
            region = np.zeros(mask[window].shape, np.uint8)
            cv2.drawContours(region, [contour], -1, 1, cv2.FILLED, offset=(-window[1].start, -window[0].start))
            in_scene, in_frame = (edge_along(picture[window], region) for picture in (self._scene, luma))
            if in_scene > GHOST_EDGE * in_frame:
                inside = cv2.dilate(region, np.ones((5, 5), np.uint8)) > 0
                self._scene[window][inside] = luma[window][inside]
            if in_frame > PERSON_EDGE * in_scene:
                person = np.zeros_like(mask)
                person[window] = mask[window] * region  # without anybody else who reaches into the box
                people.append(((x, y, x + columns, y + rows), person))
            else:
                mask[window][region > 0] = 0
        return people

    def _learn(self, luma: Float[np.ndarray, "height width 3"], mask: UInt8[np.ndarray, "height width"], time_s: float) -> None:
        """Average the frame into the scene where nobody is, and put into it what has long stood still."""
        step_s = 0.0 if self._time_s is None else max(time_s - self._time_s, 0.0)
        self._time_s = time_s
        self._recent.append((time_s, luma[..., 0]))
        while len(self._recent) > 1 and self._recent[1][0] <= time_s - MOTION_S:
            self._recent.pop(0)
        moves = np.abs(luma[..., 0] - self._recent[0][1]) > MOTION_LEVELS
        self._still_s = np.where((mask > 0) & ~moves, self._still_s + step_s, 0).astype(np.float32)
        absorbed: Bool[np.ndarray, "height width"] = self._still_s > self.config.absorb_s
        near = cv2.dilate(mask, np.ones((9, 9), np.uint8)) > 0
        rate = np.where(near, 0.0, min(step_s / SCENE_RATE_S, 1.0)).astype(np.float32)
        rate[absorbed] = 1.0
        self._scene += rate[..., None] * (luma - self._scene)


def reduced(picture_rgb: UInt8[np.ndarray, "_ _ 3"], side_px: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """The picture with a longer side of at most so many pixels."""
    height, width = picture_rgb.shape[:2]
    factor = side_px / max(height, width)
    if factor >= 1:
        return picture_rgb
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(picture_rgb, size, interpolation=cv2.INTER_AREA))


def _contours(mask: UInt8[np.ndarray, "height width"]) -> Sequence[np.ndarray]:
    """The contours of a mask's regions; parts above each other are one."""
    height, width = mask.shape
    bridge = np.ones((max(3, height // 12 | 1), max(3, width // 60 | 1)), np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, bridge)
    return cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]


def _noise(
    pictures_rgb: UInt8[np.ndarray, "picture height width 3"], scene: Float[np.ndarray, "height width 3"]
) -> Float[np.ndarray, " 3"]:
    """The camera's noise in each channel, by pictures of the scene in any light."""
    deviations = []
    for picture in pictures_rgb[:: -(-len(pictures_rgb) // background.NOISE_FRAMES)]:
        luma = background.luma_chroma(picture)
        exposure = max(float(np.median(luma[..., 0] / np.maximum(scene[..., 0], 1))), 1e-3)
        deviations.append(np.abs(luma / np.float32(exposure) - scene))
    noise = 1.4826 * np.median(deviations, axis=(0, 1, 2))
    return np.maximum(noise, background.MIN_NOISE_LEVELS).astype(np.float32)


def edge_along(picture: Float[np.ndarray, "height width 3"], region: UInt8[np.ndarray, "height width"]) -> float:
    """The mean gradient of a picture, of its brightness and colours together, along the contour of a region."""
    contour = cv2.morphologyEx(region, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
    x, y = (cv2.Sobel(picture, cv2.CV_32F, *order)[contour] for order in ((1, 0), (0, 1)))
    return float(np.sqrt((x**2 + y**2).sum(axis=1)).mean()) if contour.any() else 0.0


def _enlarged(mask: UInt8[np.ndarray, "_ _"], box_xyxy_px: Float[np.ndarray, " 4"], size_hw: tuple[int, ...]) -> Mask:
    """A mask, 0 or 1, of the reduced frame as one, 0 to 255, of the frame, in whose pixels the box is."""
    full = 255 * mask
    if mask.shape != tuple(size_hw):
        full = np.asarray(cv2.resize(full, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR))
    return masked(full, box_xyxy_px)
