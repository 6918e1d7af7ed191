"""Short videos of a figure that walks through a room, and the settings with which it is found."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

HEIGHT, WIDTH, RATE = 96, 160, 10
FIGURE_RGB = (220, 30, 30)
SETTINGS: dict[str, Any] = {
    "finder": "background", "finder_weights": "", "masks": "finder", "mask_weights": "", "max_frames": 100, "systems": [],
    "false_accept_rate": 0.01,
    "background": {"side_px": 160, "min_height_share": 0.2, "absorb_s": 60.0},
    "tracking": {"high_score": 0.5, "low_score": 0.1, "min_iou": 0.1, "confirm_frames": 3, "lost_s": 1.0},
}  # fmt: skip


def left_px(index: int, count: int) -> int:
    """The left side of the figure, 18 pixels wide, in this one of so many frames."""
    return -20 + round((WIDTH + 40) * index / (count / 2))


def frames(count: int, people: bool = True) -> list[np.ndarray]:
    """A figure walks through a room from the left, and is gone in the second half."""
    rng = np.random.default_rng(3)
    room = rng.integers(90, 130, (HEIGHT, WIDTH, 3), np.uint8)
    drawn = []
    for index in range(count):
        frame = room.copy()
        x = left_px(index, count)
        if people and x < WIDTH:
            frame[20:80, max(x, 0) : max(x + 18, 0)] = FIGURE_RGB
        drawn.append(frame)
    return drawn


def video(path: Path, pictures: Sequence[np.ndarray]) -> Path:
    """These pictures as a video at this path."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt, stream.options = WIDTH, HEIGHT, "yuv420p", {"crf": "10", "g": "10"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
