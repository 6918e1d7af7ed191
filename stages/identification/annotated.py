"""The video with boxes and the numbers of tracks drawn in: H.264 in MP4, which browsers play."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIDE_PX = 960  # longer side of the video; even numbers, as H.264 wants
QUALITY = "26"  # constant rate factor: 23 is x264's default, more is smaller
CLOCK_HZ = 90_000
# colours of a set that colour-blind people tell apart (Okabe and Ito, 2008), RGB
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


class AnnotatedVideo:
    """Written frame by frame to `path`, each shown at its own time."""

    def __init__(self, path: Path) -> None:
        self.path, self._container, self._stream, self._last = path, None, None, -1

    def __enter__(self) -> "AnnotatedVideo":
        return self

    def add(
        self,
        frame_rgb: UInt8[np.ndarray, "height width 3"],
        time_s: float,
        boxes_xyxy_px: Float[np.ndarray, "person 4"],
        numbers: Sequence[int],
        rate_hz: float,
    ) -> None:
        """One frame with its tracks."""
        import av

        height, width = frame_rgb.shape[:2]
        factor = min(1.0, SIDE_PX / max(height, width))
        size_hw = (max(2, round(height * factor / 2) * 2), max(2, round(width * factor / 2) * 2))
        if self._stream is None:
            self._container = av.open(str(self.path), "w", options={"movflags": "+faststart"})
            self._stream = self._container.add_stream("libx264", rate=Fraction(rate_hz).limit_denominator(1001))
            self._stream.width, self._stream.height, self._stream.pix_fmt = size_hw[1], size_hw[0], "yuv420p"
            self._stream.options = {"crf": QUALITY, "preset": "veryfast"}
            self._stream.codec_context.time_base = Fraction(1, CLOCK_HZ)
        size_wh = self._stream.width, self._stream.height
        picture = np.asarray(cv2.resize(frame_rgb, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
        draw(picture, boxes_xyxy_px * factor, numbers)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        self._last = max(round(time_s * CLOCK_HZ), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, CLOCK_HZ)
        self._mux(self._stream.encode(frame))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._container is None or self._stream is None:
            return
        if kind is None:
            self._mux(self._stream.encode(None))
        self._container.close()

    def _mux(self, packets: Iterable) -> None:
        assert self._container is not None
        for packet in packets:
            self._container.mux(packet)


def draw(
    picture_rgb: UInt8[np.ndarray, "height width 3"], boxes_xyxy_px: Float[np.ndarray, "person 4"], numbers: Sequence[int]
) -> None:
    """Boxes with numbers, one colour a track, drawn into the picture."""
    for box, number in zip(boxes_xyxy_px, numbers, strict=True):
        x0, y0, x1, y1 = np.rint(box).astype(int).tolist()
        colour = COLOURS[number % len(COLOURS)]
        cv2.rectangle(picture_rgb, (x0, y0), (x1, y1), colour, 2)
        label = str(number)
        (width, height), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 2)
        top = max(y0, height + 8)
        cv2.rectangle(picture_rgb, (x0, top - height - 8), (x0 + width + 8, top), colour, cv2.FILLED)
        cv2.putText(picture_rgb, label, (x0 + 4, top - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 2, cv2.LINE_AA)
