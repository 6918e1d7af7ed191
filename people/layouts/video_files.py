"""Video files: written as Motion JPEG, and read frame by frame as RGB."""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8


class VideoInfo(NamedTuple):
    """Number and size of frames by a video's container; all 0 where it cannot be opened."""

    frame_count: int
    height_px: int
    width_px: int


def write(
    path: Path, frames_rgb: Sequence[UInt8[np.ndarray, "height width 3"]], *, frame_rate_hz: float, jpeg_quality: int
) -> None:
    """The frames as Motion JPEG in an AVI file; equal frames make equal bytes, with any number of threads."""
    if not frames_rgb:
        raise ValueError(f"expected at least one frame for {path}, got none; leave out clips without frames")
    height, width = frames_rgb[0].shape[:2]
    # OpenCV's own writer: the one of FFmpeg puts its version into the file
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, codec, frame_rate_hz, (width, height))
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, jpeg_quality)
    for frame_rgb in frames_rgb:
        writer.write(cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2BGR))
    writer.release()
    if video_info(path) != (len(frames_rgb), height, width):  # the writer does not report a full disk
        raise OSError(errno.EIO, f"not all of its {len(frames_rgb)} frames could be written (is the disk full?)", str(path))


def video_info(path: Path) -> VideoInfo:
    """How many frames a video has, and how large they are."""
    capture = cv2.VideoCapture(str(path))
    try:
        properties = (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        return (
            VideoInfo(*(max(int(capture.get(number)), 0) for number in properties))
            if capture.isOpened()
            else VideoInfo(0, 0, 0)
        )
    finally:
        capture.release()


def video_frames(path: Path | str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Every frame of a video; a `ValueError` names a file that cannot be opened or has fewer frames than it should."""
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
            raise ValueError(f"{path} does not say how many frames it has, so truncation cannot be detected; convert it to mp4")
        decoded = 0
        while True:
            is_decoded, frame_bgr = capture.read()
            if not is_decoded:
                break
            decoded += 1
            yield cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)
        if decoded < expected:
            raise ValueError(f"{path} is truncated: {expected} frames expected, {decoded} decoded; fetch it again")
    finally:
        capture.release()
