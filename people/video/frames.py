"""Frames of a video file, in order, as RGB."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8


def video_frames(path: Path | str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Every frame of a video; a `ValueError` names a file that cannot be opened or ends before its container says."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file; expected a video (mp4, avi)")
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise ValueError(
                f"{path} ({path.stat().st_size:,} bytes) cannot be opened as a video: truncated or not mp4/avi; fetch it again"
            )
        expected = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if expected < 1:
            raise ValueError(f"{path} does not say how many frames it has, so a cut cannot be noticed; convert it to mp4")
        decoded = 0
        while True:
            there, frame_bgr = capture.read()
            if not there:
                break
            decoded += 1
            yield cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)
        if decoded < expected:
            raise ValueError(f"{path} is truncated: {expected} frames expected, {decoded} decoded; fetch it again")
    finally:
        capture.release()
