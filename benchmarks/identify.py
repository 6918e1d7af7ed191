"""The whole of `stages.identify` on a video, for each way of finding people: frames a second, and how much memory at most.

    python -m benchmarks.identify VIDEO [--choices background background+mediapipe multipose] [--seconds 30]
    python -m benchmarks.identify VIDEO --width 3840 --rate 30 --seconds 30       the video enlarged, at another frame rate

Each choice is a process of its own, with all registered champions, in this workspace: starting, loading, the empty scene,
features, embeddings, the annotated video and the page count.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from people.tracking import sources

CHOICES = ("background", "background+mediapipe", "multipose", "fasterrcnn", "maskrcnn")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=list(CHOICES[:3]))
    parser.add_argument("--seconds", type=float, help="of the video; all of it if left out")
    parser.add_argument("--width", type=int, help="px, to which the video is enlarged or reduced first")
    parser.add_argument("--rate", type=int, help="frames a second of the changed video")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = changed(asked.video, Path(folder, "video.mp4"), asked) if asked.width or asked.rate else asked.video
        frames, size = facts(video, asked.seconds)
        print(f"{video.name}: {frames} frames of {size}")
        print(f"{'choice':22} {'tracks':>7} {'seconds':>8} {'frames/s':>9} {'peak memory, MB':>16}")
        for choice in asked.choices:
            print(measured(choice, video, frames, asked.seconds, Path(folder)), flush=True)


def changed(video: Path, target: Path, asked: argparse.Namespace) -> Path:
    """The video at another width and frame rate, repeated from its beginning until it is long enough."""
    source = sources.open_source(str(video))
    rate_hz = asked.rate or round(source.rate_hz)
    count = round((asked.seconds or (source.count or 0) / source.rate_hz) * rate_hz)
    written = 0
    with av.open(str(target), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(rate_hz))
        stream.pix_fmt, stream.options = "yuv420p", {"preset": "ultrafast", "crf": "20"}
        while written < count:
            for frame in source.frames():
                if not written:
                    height, width = frame.rgb.shape[:2]
                    stream.width = asked.width or width
                    stream.height = round(height * stream.width / width / 2) * 2
                picture = av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")
                container.mux(stream.encode(picture.reformat(stream.width, stream.height, "yuv420p")))
                written += 1
                if written == count:
                    break
        container.mux(stream.encode(None))
    return target


def facts(video: Path, seconds: float | None) -> tuple[int, str]:
    """How many frames are looked at, and their size."""
    count, size = 0, ""
    for frame in sources.open_source(str(video)).frames():
        count, size = count + 1, f"{frame.rgb.shape[1]} x {frame.rgb.shape[0]} px"
        if seconds is not None and frame.time_s >= seconds:
            break
    return count, size


def measured(choice: str, video: Path, frames: int, seconds: float | None, folder: Path) -> str:
    """One line of the table."""
    finder, _, masks = choice.partition("+")
    out = folder / choice
    command = [sys.executable, "-m", "stages.identify", str(video), "--finder", finder, "--out", str(out)]
    command += ["--masks", masks] if masks else []
    command += ["--seconds", str(seconds)] if seconds is not None else []
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    spent = time.perf_counter() - started
    if status:
        return f"{choice:22} not here: {errors.strip().splitlines()[-1]}"
    tracks = len((out / "tracks.csv").read_text().splitlines()) - 1
    return f"{choice:22} {tracks:7} {spent:8.1f} {frames / spent:9.1f} {usage.ru_maxrss / 1024:16.0f}"


if __name__ == "__main__":
    main()
