"""Video files: written as Motion JPEG, and read frame by frame as RGB, from the disk or out of a zip file.

The path of one in a zip file is `video/001.zip!001-nm-01-090.avi`.
"""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from people.layouts import limits, video_containers, zip_files

_ATTEMPTS = 16


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
        return _info(capture) if capture.isOpened() else VideoInfo(0, 0, 0)
    finally:
        capture.release()


def decoded_info(path: Path) -> VideoInfo:
    """How many frames of a video decode, and how large they are: the header can count more, or fewer. All 0 where it cannot be
    opened, nor the zip file that it lies in.
    """
    try:
        with zip_files.as_file(path) as file:
            return _decoded_info(file)
    except ValueError:  # of the zip file: reading the frames says what is wrong
        return VideoInfo(0, 0, 0)


def _decoded_info(path: Path) -> VideoInfo:
    info = video_info(path)
    if info.frame_count > limits.MAX_VIDEO_FRAMES or info.height_px * info.width_px > limits.MAX_PIXELS:
        return info  # which `video_frames` refuses
    capture, decoded = cv2.VideoCapture(str(path)), 0
    try:
        while decoded <= limits.MAX_VIDEO_FRAMES and capture.grab():
            decoded += 1
    finally:
        capture.release()
    return info._replace(frame_count=decoded)


def _info(capture: cv2.VideoCapture) -> VideoInfo:
    properties = (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
    return VideoInfo(*(max(int(capture.get(number)), 0) for number in properties))


def video_frames(path: Path | str) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Every frame of a video that decodes; a `ValueError` names a file that cannot be opened, is truncated or is damaged.

    That the header counts more frames is no fault of a file that is whole (`video_containers`).
    """
    path = Path(path)
    with zip_files.as_file(path) as file:
        yield from _frames(file, path)


def _frames(file: Path, path: Path) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """`path` names the video in errors."""
    if not file.is_file():
        raise ValueError(f"{path} is not a file; expected a video (mp4, avi)")
    capture = cv2.VideoCapture(str(file))
    try:
        if not capture.isOpened():
            raise ValueError(
                f"{path} ({file.stat().st_size:,} bytes) cannot be opened as a video: truncated or not mp4/avi; fetch it again"
            )
        counted, height_px, width_px = _info(capture)
        limits.check_video(counted, height_px, width_px, str(path))
        decoded = 0
        while True:
            is_decoded, frame_bgr = capture.read()
            if not is_decoded:
                break
            decoded += 1
            yield cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)
        is_damaged = any(capture.grab() for _ in range(_ATTEMPTS))  # at the end, every attempt fails
        fault = f"picture {decoded + 1} is damaged and others follow; replace it" if is_damaged else ""
        if not fault and (decoded < counted or counted < 1):
            fault = video_containers.fault(file, decoded)
        if fault:
            raise ValueError(f"{path}: its header counts {counted} frames and {decoded} decode: {fault}")
    finally:
        capture.release()
