"""Photos of people at one size, for networks that read single images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True)
class Config:
    """The size at which photos are stored, whatever the size of their files."""

    size_hw: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_hw", tuple(self.size_hw))
        if len(self.size_hw) != 2 or min(self.size_hw) < 8:
            raise ValueError(
                f"crops: size_hw must be [height, width] of at least 8 px, got {self.size_hw}; correct params.yaml"
            )


def resize(
    frames_rgb: Iterable[UInt8[np.ndarray, "_ _ 3"]], size_hw: tuple[int, int]
) -> UInt8[np.ndarray, "frame height width 3"]:
    """All frames at one size: area interpolation where the height shrinks, else bilinear."""
    height, width = size_hw
    images = [
        cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if frame.shape[0] > height else cv2.INTER_LINEAR)
        for frame in frames_rgb
    ]
    return np.stack(images) if images else np.zeros((0, height, width, 3), np.uint8)
