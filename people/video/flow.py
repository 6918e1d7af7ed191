"""Dense optical flow of a clip (Farneback 2003; DIS: Kroeger et al. 2016), resized and stored as int16 of flow x 100.

Castro et al.: "the flow maps are resized to 80 x 60"; flow i is between frames i and i + 1; channel 0 is x, 1 is y.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int16, UInt8

FLOW_SCALE = 100  # stored = flow_px_per_frame x 100, the compression factor of the paper's data
MIN_SIDE_PX = 16  # DIS searches patches of 8 x 8 on a pyramid and fails below this
FARNEBACK_WINDOW_PX = 9  # limbs are a few pixels wide at 80 x 60: the usual 15 cannot separate the legs

NO_INITIAL_FLOW: Any = None  # OpenCV's type stubs declare the initial flow as required

METHODS: dict[str, Callable[[], Callable[[np.ndarray, np.ndarray], np.ndarray]]]


@dataclass(frozen=True)
class Config:
    """How flow is computed: the method, the size of its input frames, and the size at which it is stored."""

    method: str
    compute_size_hw: Sequence[int]
    size_hw: Sequence[int]

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"flow method {self.method!r} is not one of {', '.join(METHODS)}; correct `method` in params.yaml")
        for name in ("compute_size_hw", "size_hw"):
            size = tuple(getattr(self, name))
            is_integer = all(isinstance(side, int) and not isinstance(side, bool) for side in size)
            if len(size) != 2 or not is_integer or min(size) < MIN_SIDE_PX:
                raise ValueError(f"{name} is [height, width], whole numbers of at least {MIN_SIDE_PX} px; got {list(size)}")
            object.__setattr__(self, name, size)


class ClipFlow(NamedTuple):
    """`flow` as stored; `grey` the frames at the same size; `saturated` the number of values beyond int16."""

    flow: Int16[np.ndarray, "flow 2 height width"]
    grey: UInt8[np.ndarray, "flow+1 height width"]
    saturated: int


def clip_flow(frames_rgb: Iterable[UInt8[np.ndarray, "rows columns 3"]], config: Config) -> ClipFlow:
    """Optical flow between every two successive frames of a clip, in pixels of the stored size."""
    computed, greys, size = [], [], None
    with single_threaded():
        for index, frame in enumerate(frames_rgb):
            size = size or frame.shape
            if frame.shape != size:
                raise ValueError(f"the frames of a clip have one size; frame 0 has {size}, frame {index} has {frame.shape}")
            grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            computed.append(resize(grey, config.compute_size_hw))
            greys.append(resize(grey, config.size_hw))
    stored, saturated = flow_between(computed, config)
    return ClipFlow(stored, np.stack(greys), saturated)


def flow_between(
    greys: Sequence[UInt8[np.ndarray, "rows columns"]], config: Config
) -> tuple[Int16[np.ndarray, "flow 2 height width"], int]:
    """Flow, as stored, between every two successive frames at `compute_size_hw`, and the number of values beyond int16."""
    if len(greys) < 2:
        raise ValueError(f"flow needs a clip of at least 2 frames, got {len(greys)}; let validate quarantine it (min_frames)")
    with single_threaded():
        method = METHODS[config.method]()
        flows = [resize_flow(method(*pair), config.size_hw).transpose(2, 0, 1) for pair in pairwise(greys)]
    return encode(np.stack(flows))


def encode(flow_px_per_frame: Float[np.ndarray, "*axes"]) -> tuple[Int16[np.ndarray, "*axes"], int]:
    """Flow as int16 of flow x 100, rounded to nearest, and the number of values clipped to +-327.67."""
    if not np.isfinite(flow_px_per_frame).all():
        raise ValueError("flow is not finite everywhere; the frames cannot be ordinary images")
    scaled = np.rint(flow_px_per_frame * FLOW_SCALE)
    limit = np.iinfo(np.int16).max  # the same on both sides, so that a mirrored flow is stored as its negative
    return np.clip(scaled, -limit, limit).astype(np.int16), int(np.count_nonzero(np.abs(scaled) > limit))


def decode(stored: Int16[np.ndarray, "*axes"]) -> Float[np.ndarray, "*axes"]:
    """Flow in pixels per frame from its stored form."""
    return stored.astype(np.float32) / np.float32(FLOW_SCALE)


def resize(image: np.ndarray, size_hw: Sequence[int]) -> np.ndarray:
    """The image at another size: area interpolation where it shrinks, against aliasing, else bilinear."""
    height, width = size_hw
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_flow(flow: Float[np.ndarray, "rows columns 2"], size_hw: Sequence[int]) -> Float[np.ndarray, "height width 2"]:
    """The flow at another size, its vectors in the pixels of that size."""
    per_pixel = np.array([size_hw[1] / flow.shape[1], size_hw[0] / flow.shape[0]], np.float32)
    return resize(flow, size_hw) * per_pixel


@contextmanager
def single_threaded() -> Iterator[None]:
    """OpenCV on one thread: DIS splits the image by threads, so its result would depend on the machine."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def farneback() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Farneback: neighbourhoods as quadratic polynomials, displacement from their coefficients, coarse to fine."""
    settings = {"pyr_scale": 0.5, "levels": 3, "winsize": FARNEBACK_WINDOW_PX, "iterations": 3, "poly_n": 5, "poly_sigma": 1.1}
    return lambda first, second: cv2.calcOpticalFlowFarneback(first, second, NO_INITIAL_FLOW, flags=0, **settings)


def dis() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """DIS: inverse patch search on a pyramid, densification and variational refinement."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setFinestScale(0)  # the preset stops at half size, which is too coarse for 80 x 60
    return lambda first, second: method.calc(first, second, NO_INITIAL_FLOW)


METHODS = {"farneback": farneback, "dis": dis}
