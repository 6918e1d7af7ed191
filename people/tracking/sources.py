"""Frames with their times from a video file, a folder of images, or a camera's address.

Videos are decoded by PyAV: each frame comes with its own time, so that a variable frame rate is no special case, and as it is
shown, turned by what the file says of its rotation.
"""

import errno
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from people.layouts import image_files, limits, video_containers

CAMERA_ADDRESS = re.compile(r"^(rtsps?|rtmps?|https?|udp|tcp|srt)://", re.IGNORECASE)
CAMERA_DEVICE = re.compile(r"^/dev/video\d+$")
CAMERA_TIMEOUT_S = 10.0
CAMERA_ATTEMPTS = 6  # in a row, of a camera that was there before, before it is given up
CAMERA_PAUSE_S = 2.0  # before each
DEFAULT_RATE_HZ = 25.0  # of a file that does not say
MAX_SPREAD_S = (
    300.0  # of a video of which every frame is decoded to look at some; of longer ones key frames, if there are enough
)


class Frame(NamedTuple):
    """A picture, its number from 0, and its time since the first one."""

    number: int
    time_s: float
    rgb: UInt8[np.ndarray, "height width 3"]


class SourceError(ValueError):
    """A source that ends before its end: what was read of it before is right."""


@runtime_checkable
class Source(Protocol):
    """Where frames come from. `rate_hz` is nominal, `count` what is promised, None where nobody knows."""

    name: str
    rate_hz: float
    count: int | None

    def frames(self) -> Iterator[Frame]:
        """Every frame; a `SourceError` after the last one that can be read says why there are no more."""
        ...

    def spread(self, count: int) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """At most about so many pictures from all over the source; none of a camera."""
        ...


def open_source(address: str, *, rate_hz: float | None = None) -> "Source":
    """The source at a path or address; ValueError where there is none. `rate_hz`: of a folder of images."""
    if CAMERA_ADDRESS.match(address) or CAMERA_DEVICE.match(address):
        return Camera(address)
    path = Path(address)
    if path.is_dir():
        return Images(path, rate_hz or DEFAULT_RATE_HZ)
    if not path.is_file():
        raise ValueError(
            f"{address} is neither a video file nor a folder of images nor a camera's address (rtsp://, http://, /dev/video0)"
        )
    return Video(path)


class Images:
    """The images of a folder, in the order of the numbers in their names."""

    def __init__(self, folder: Path, rate_hz: float) -> None:
        self.name, self.rate_hz = folder.as_posix(), rate_hz
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
        self._paths = [folder / name for name in image_files.sorted_images(names)]
        self.count: int | None = len(self._paths)
        if not self._paths:
            raise ValueError(f"{folder}: expected images ({', '.join(image_files.IMAGES)}), got none")

    def frames(self) -> Iterator[Frame]:
        size_hw = None
        for number, path in enumerate(self._paths):
            rgb = _decoded(path)
            size_hw = _one_size(rgb, size_hw, path.as_posix())
            yield Frame(number, number / self.rate_hz, rgb)

    def spread(self, count: int) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        chosen = np.unique(np.linspace(0, len(self._paths) - 1, min(count, len(self._paths))).round().astype(int))
        with suppress(SourceError):  # which `frames` raises
            for index in chosen.tolist():
                yield _decoded(self._paths[index])


class Video:
    """A video file."""

    def __init__(self, path: Path) -> None:
        self._path, self.name = path, path.as_posix()
        if not path.stat().st_size:
            raise ValueError(f"{path} is an empty file; expected a video")
        try:
            with _opened(str(path)) as container:
                stream = _video_stream(container, self.name)
                limits.check_pixels(stream.height, stream.width, self.name)
                self.rate_hz = _rate_hz(stream)
                self.count: int | None = stream.frames or None
        except OSError as error:
            raise ValueError(f"{path} cannot be opened as a video ({_reason(error)}); is it whole?") from error

    def frames(self) -> Iterator[Frame]:
        number, last_s, size_hw = 0, 0.0, None
        try:
            with _opened(self.name) as container:
                stream, upright = _video_stream(container, self.name), _Upright()
                for frame, time_s in _timed(_decode(container, stream, skip_damaged=False), self.rate_hz):
                    rgb = upright(frame)
                    size_hw = _one_size(rgb, size_hw, f"frame {number} of {self.name}")
                    last_s = time_s
                    yield Frame(number, time_s, rgb)
                    number += 1
        except OSError as error:
            raise SourceError(
                f"{self.name} is damaged or ends in the middle, after {number} frames ({last_s:.1f} s): {_reason(error)}"
            ) from error
        if not number:
            raise SourceError(f"{self.name} has no frame that can be decoded")
        if self.count and number < self.count and (fault := video_containers.fault(self._path, number)):
            raise SourceError(
                f"{self.name} is damaged or ends in the middle, after {number} frames ({last_s:.1f} s): its header counts "
                f"{self.count} and {fault}"
            )

    def spread(self, count: int) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        with suppress(OSError):  # what is wrong, `frames` says
            duration_s, given = max(self._duration_s(), 1 / self.rate_hz), 0
            if duration_s > MAX_SPREAD_S:
                for rgb in self._every(duration_s / count, count, only_key_frames=True):
                    given += 1
                    yield rgb
            if given < count / 2:  # of a long video with a key frame now and then
                yield from self._every(duration_s / count, count, only_key_frames=False)

    def _every(self, step_s: float, count: int, *, only_key_frames: bool) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """A picture every so many seconds."""
        with _opened(self.name) as container:
            stream, upright, next_s = _video_stream(container, self.name), _Upright(), 0.0
            if only_key_frames:
                stream.codec_context.skip_frame = "NONKEY"
            for frame, time_s in _timed(_decode(container, stream, skip_damaged=True), self.rate_hz):
                if time_s >= next_s - 0.5 / self.rate_hz:
                    next_s, count = max(next_s + step_s, time_s), count - 1
                    yield upright(frame)
                if not count:
                    return

    def _duration_s(self) -> float:
        """How long the video is; where its container does not say, by the number of its packets."""
        with _opened(self.name) as container:
            if container.duration:
                return float(container.duration) / 1e6
            packets = sum(packet.size > 0 for packet in container.demux(_video_stream(container, self.name)))
            return packets / self.rate_hz


class Camera:
    """A camera on the network or at this machine: frames as they come, with the time at which they came.

    A camera that goes away is asked again; the time of its absence is missing in the frames' times. Pictures that were damaged
    on the way are left out.
    """

    count: int | None = None

    def __init__(self, address: str) -> None:
        self._address, self.name = address, _without_secrets(address)
        try:
            with self._open() as container:
                self.rate_hz = _rate_hz(_video_stream(container, self.name))
                duration_s = float(container.duration or 0) / 1e6
        except OSError as error:
            reason = _reason(error)
            raise ValueError(  # from None: what FFmpeg says repeats the address
                f"the camera {self.name} cannot be opened ({reason}); is the address right, and the camera on?"
            ) from None
        if duration_s:
            raise ValueError(
                f"{self.name} is a recording of {duration_s:.1f} s and no camera; fetch it, and name the file's path"
            )

    def frames(self) -> Iterator[Frame]:
        number, start_s, size_hw, failed, reason = 0, None, None, 0, ""
        while failed <= CAMERA_ATTEMPTS:
            try:
                with self._open() as container:
                    stream, upright = _video_stream(container, self.name), _Upright()
                    for frame in _decode(container, stream, skip_damaged=True):
                        now_s, failed, rgb = time.monotonic(), 0, upright(frame)
                        start_s = now_s if start_s is None else start_s
                        size_hw = _one_size(rgb, size_hw, f"frame {number} of the camera {self.name}")
                        yield Frame(number, now_s - start_s, rgb)
                        number += 1
                reason = "the stream ended"
            except (OSError, NoVideoError) as error:
                reason = _reason(error)
            failed += 1
            if failed <= CAMERA_ATTEMPTS:
                time.sleep(CAMERA_PAUSE_S)
        raise SourceError(
            f"the camera {self.name} went away after {number} frames and did not come back in {CAMERA_ATTEMPTS} attempts: "
            f"{reason}"
        )

    def spread(self, count: int) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        yield from ()

    def _open(self) -> Any:
        options = {"rtsp_transport": "tcp"} if self._address.lower().startswith("rtsp") else {}
        return _opened(self._address, timeout=CAMERA_TIMEOUT_S, options=options)


class NoVideoError(ValueError):
    """A file or stream without pictures that move."""


def _opened(address: str, **options: Any) -> Any:
    """An opened container; errors of PyAV, of which some are kinds of OSError, all become one."""
    import av  # a quarter of a second, which no stage need spend that reads no video through it
    from av.error import FFmpegError

    if CAMERA_DEVICE.match(address):
        options["format"] = "v4l2"
    elif not CAMERA_ADDRESS.match(address):
        address = f"file:{address}"  # or a colon in the name is taken for the end of a protocol's
    try:
        return av.open(address, metadata_errors="replace", **options)
    except FFmpegError as error:
        raise _os_error(error) from error


def _video_stream(container: Any, name: str) -> Any:
    """The first video; a cover of music is none, nor is a text, which FFmpeg would paint."""
    from av.stream import Disposition

    streams = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    if not streams or container.format.name == "tty":
        raise NoVideoError(f"{name} has no video in it")
    # with a thread for each frame a damaged one is marked too late, now and then; only mpegts has no other sign of a cut
    streams[0].thread_type = "SLICE" if container.format.name == "mpegts" else "AUTO"
    return streams[0]


def _rate_hz(stream: Any) -> float:
    return float(stream.average_rate or stream.guessed_rate or DEFAULT_RATE_HZ)


def _timed(frames: Iterable[Any], rate_hz: float) -> Iterator[tuple[Any, float]]:
    """Decoded frames with their times since the first; where a frame has none, one frame after the one before."""
    first_s, last_s = None, None
    for frame in frames:
        time_s = frame.time
        if time_s is None or (last_s is not None and time_s <= last_s):
            time_s = 0.0 if last_s is None else last_s + 1 / rate_hz
        first_s = time_s if first_s is None else first_s
        last_s = time_s
        yield frame, time_s - first_s


def _decode(container: Any, stream: Any, *, skip_damaged: bool) -> Iterator[Any]:
    """Decoded frames, until the first that is damaged, of which an OSError tells, or without those that are.

    Those before the first whole one are left out: a recording may begin in the middle.
    """
    from av.error import FFmpegError, InvalidDataError

    is_begun = False
    tells_cuts = container.format.name != "mpegts"  # where packets are called corrupt at the joint of two files, too
    try:
        for packet in container.demux(stream):
            skip = skip_damaged or not is_begun
            if packet.is_corrupt and tells_cuts and not skip:
                yield from _held(stream, before=packet)
                raise OSError(errno.EIO, "a picture is cut short")
            try:
                frames = packet.decode()
            except InvalidDataError as error:
                if not skip:
                    raise OSError(errno.EIO, "a picture cannot be decoded") from error
                frames = []
            for frame in frames:
                if not frame.is_corrupt:
                    is_begun = True
                    yield frame
                elif is_begun and not skip_damaged:
                    raise OSError(errno.EIO, "a picture is damaged")
    except FFmpegError as error:  # of reading
        yield from _held(stream)
        raise _os_error(error) from error


def _held(stream: Any, before: Any = None) -> Iterator[Any]:
    """The frames that the decoder still holds, or those of them that are shown before a packet's."""
    from av.error import FFmpegError

    with suppress(FFmpegError):
        for frame in stream.decode():
            frame.time_base = stream.time_base  # which PyAV knows by a packet
            is_before = before is None or None in (before.pts, frame.pts) or frame.pts < before.pts
            if is_before and not frame.is_corrupt:
                yield frame


class _Upright:
    """Makes decoded frames pictures as they are shown."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()  # one for all frames: to prepare one takes as long as to decode a small frame

    def __call__(self, frame: Any) -> UInt8[np.ndarray, "height width 3"]:
        pixels = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def _one_size(rgb: UInt8[np.ndarray, "height width 3"], size_hw: tuple[int, ...] | None, where: str) -> tuple[int, ...]:
    """The size of the pictures of a source, of which this is the next."""
    if size_hw and rgb.shape[:2] != size_hw:
        raise SourceError(f"{where} is of {rgb.shape[1]}x{rgb.shape[0]} px, those before of {size_hw[1]}x{size_hw[0]}")
    return rgb.shape[:2]


def _os_error(error: Any) -> OSError:
    return OSError(error.errno or errno.EIO, error.strerror or "FFmpeg does not say why")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _without_secrets(address: str) -> str:
    """An address without what stands before an @ and after an =: passwords do not get into reports."""
    return re.sub(r"=[^&/]*", "=...", re.sub(r"//.*@", "//", address))


def _decoded(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    try:
        return image_files.decode(path.read_bytes(), path.as_posix())
    except (ValueError, OSError) as error:
        raise SourceError(str(error)) from error
