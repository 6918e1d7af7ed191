"""Frames and their times from videos, folders of images and cameras: as they are shown, until the first that is damaged."""

import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from people.layouts import image_files, video_files
from people.tracking import sources
from people.tracking.sources import Frame, Source, SourceError, open_source

HEIGHT, WIDTH = 96, 128
JPEG_LEVELS, H264_LEVELS = 6.0, 4.0  # mean difference that the codecs may make


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A red corner, a blue bottom, and a white block that moves on with every frame."""
    rgb = np.full((height, width, 3), (90, 120, 60), np.uint8)
    rgb[: height // 4, : width // 4] = (220, 30, 30)
    rgb[3 * height // 4 :] = (30, 60, 200)
    left = 4 * number % (width - 8)
    rgb[height // 3 : height // 2, left : left + 8] = 255
    return rgb


def textured(number: int) -> np.ndarray:
    """The same under a grain that is new in every frame, so that every packet is large."""
    grain = np.random.default_rng(number).normal(0, 12, (HEIGHT, WIDTH, 3))
    return np.clip(picture(number) + grain, 0, 255).astype(np.uint8)


PICTURES = [picture(number) for number in range(30)]
TEXTURED = [textured(number) for number in range(60)]


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    times_ms: Sequence[int] | None = None,
    pixels: str = "yuv420p",
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    title: str = "",
) -> Path:
    """A video of 25 frames a second, or with these times, of the kind that the ending names."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        if title:
            container.metadata["title"] = title
        stream: Any = container.add_stream(codec, rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.options = pixels, {"threads": "1", "crf": "12"} | (options or {})
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, rgb in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = 40 * number if times_ms is None else times_ms[number]
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mp3" if path.suffix == ".mp3" else "aac", rate=44100)
        for number in range(20):
            silence = np.zeros((1, 1024), np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1024 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(source: Source) -> tuple[list[Frame], str]:
    """All frames, and what the SourceError after them says: "" where there is none."""
    frames = []
    try:
        for frame in source.frames():
            frames.append(frame)
    except SourceError as error:
        return frames, str(error)
    return frames, ""


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second).mean())


# --- videos ----------------------------------------------------------------------------------------------------------


def test_the_frames_of_an_mp4_come_back_with_their_colours_numbers_and_times(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "a.mp4", PICTURES)))
    frames, fault = read(source)
    assert fault == ""
    assert (source.count, source.rate_hz) == (30, 25.0)
    assert [frame.number for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / 25, atol=1e-9)
    for frame, rgb in zip(frames, PICTURES, strict=True):
        assert difference(frame.rgb, rgb) < H264_LEVELS
        assert frame.rgb.flags.c_contiguous
        assert frame.rgb.flags.writeable


def test_the_frames_of_an_avi_of_motion_jpeg_come_back(tmp_path: Path) -> None:
    video_files.write(tmp_path / "a.avi", PICTURES, frame_rate_hz=10.0, jpeg_quality=95)
    source = open_source(str(tmp_path / "a.avi"))
    frames, fault = read(source)
    assert (fault, source.count, source.rate_hz) == ("", 30, 10.0)
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / 10, atol=1e-9)
    assert max(difference(frame.rgb, rgb) for frame, rgb in zip(frames, PICTURES, strict=True)) < JPEG_LEVELS


def test_the_frames_are_those_that_opencv_decodes(tmp_path: Path) -> None:
    tagged = {"x264-params": "colormatrix=bt709:colorprim=bt709:transfer=bt709"}  # another matrix from YUV to RGB
    for name, options in {"plain": {}, "tagged": tagged}.items():
        path = write_video(tmp_path / f"{name}.mp4", PICTURES, options=options)
        for frame, rgb in zip(open_source(str(path)).frames(), video_files.video_frames(path), strict=True):
            assert np.abs(frame.rgb.astype(int) - rgb).max() <= 2


def test_a_source_can_be_read_again(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "a.mp4", PICTURES[:5])))
    once, again = read(source)[0], read(source)[0]
    for first, second in zip(once, again, strict=True):
        assert first.time_s == second.time_s
        np.testing.assert_array_equal(first.rgb, second.rgb)


def test_the_times_of_a_variable_frame_rate_are_those_of_the_file(tmp_path: Path) -> None:
    times_ms = [500, 540, 601, 1403, 1404, 2500]
    path = write_video(tmp_path / "a.mp4", PICTURES[:6], times_ms=times_ms)
    frames, _ = read(open_source(str(path)))
    np.testing.assert_allclose([frame.time_s for frame in frames], (np.array(times_ms) - 500) / 1000, atol=1e-9)


def test_frames_without_times_are_one_frame_apart(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.h264", PICTURES)  # the bare stream, without a container
    frames, _ = read(open_source(str(path)))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / 25, atol=1e-9)


MATRICES = {  # of the header of an MP4's track, for clockwise turns of the picture
    0: (1, 0, 0, 1, 0, 0),
    90: (0, 1, -1, 0, HEIGHT, 0),
    180: (-1, 0, 0, -1, WIDTH, HEIGHT),
    270: (0, -1, 1, 0, 0, WIDTH),
}


@pytest.mark.parametrize("degrees", MATRICES)
def test_a_rotated_video_is_shown_upright_as_opencv_shows_it(tmp_path: Path, degrees: int) -> None:
    content = write_video(tmp_path / "a.mp4", PICTURES[:3]).read_bytes()
    # A header of version 0: 4 bytes of version and flags, 20 of times, number and duration, 16 of layer and volume.
    start = content.index(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d, x, y = MATRICES[degrees]
    one = 1 << 16
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, x * one, y * one, 1 << 30)
    path = tmp_path / "rotated.mp4"
    path.write_bytes(content[:start] + matrix + content[start + 36 :])
    frames, _ = read(open_source(str(path)))
    expected = np.rot90(PICTURES[0], -degrees // 90)
    assert frames[0].rgb.shape == expected.shape
    assert difference(frames[0].rgb, expected) < H264_LEVELS
    _, bgr = cv2.VideoCapture(str(path)).read()
    assert np.abs(frames[0].rgb.astype(int) - bgr[..., ::-1]).max() <= 2


def test_a_grey_video_has_three_equal_channels(tmp_path: Path) -> None:
    frames, _ = read(open_source(str(write_video(tmp_path / "a.mp4", PICTURES, pixels="gray"))))
    assert len(frames) == 30
    for frame, rgb in zip(frames, PICTURES, strict=True):
        assert np.ptp(frame.rgb, axis=2).max() == 0
        assert difference(frame.rgb[..., 0], cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)) < H264_LEVELS


def test_a_video_of_odd_height_and_width_is_whole(tmp_path: Path) -> None:
    odd = [np.ascontiguousarray(rgb[:95, :125]) for rgb in PICTURES[:3]]
    frames, _ = read(open_source(str(write_video(tmp_path / "a.mp4", odd, pixels="yuv444p"))))
    assert [difference(frame.rgb, rgb) < H264_LEVELS for frame, rgb in zip(frames, odd, strict=True)] == [True] * 3


def test_frames_that_an_edit_list_leaves_out_are_not_missed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", PICTURES, times_ms=[40 * (number - 7) for number in range(30)])
    source = open_source(str(path))
    frames, fault = read(source)
    assert (source.count, len(frames), fault) == (30, 23, "")
    assert difference(frames[0].rgb, PICTURES[7]) < H264_LEVELS


def test_names_with_a_colon_and_titles_that_are_not_utf8_are_no_obstacle(tmp_path: Path, monkeypatch: Any) -> None:
    content = write_video(tmp_path / "a.mp4", PICTURES[:3], title="XXXXXXXX").read_bytes()
    (tmp_path / "10:30.mp4").write_bytes(content.replace(b"XXXXXXXX", b"caf\xe9 \xff\xfe!"))
    monkeypatch.chdir(tmp_path)
    assert len(read(open_source("10:30.mp4"))[0]) == 3


# --- files that are no videos, or not whole --------------------------------------------------------------------------


def test_what_is_no_video_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 100)
    (tmp_path / "text.txt").write_text("FFmpeg would paint this.\n" * 100)
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    write_sound(tmp_path / "sound.m4a")
    reasons = {
        "empty.mp4": "is an empty file; expected a video",
        "text.mp4": "cannot be opened as a video",
        "text.txt": "has no video in it",
        "zeros.mp4": "cannot be opened as a video",
        "sound.m4a": "has no video in it",
        "nothing.mp4": "is neither a video file nor a folder of images nor a camera's address",
    }
    for name, reason in reasons.items():
        with pytest.raises(ValueError, match=reason) as raised:
            open_source(str(tmp_path / name))
        assert str(tmp_path / name) in str(raised.value)


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    cover = b"\x00image/jpeg\x00\x03\x00" + image_files.encode_jpeg(PICTURES[0], 90)
    frame = b"APIC" + struct.pack(">IH", len(cover), 0) + cover
    size = bytes((len(frame) >> shift) & 127 for shift in (21, 14, 7, 0))
    song = tmp_path / "song.mp3"
    song.write_bytes(b"ID3\x03\x00\x00" + size + frame + write_sound(tmp_path / "plain.mp3").read_bytes())
    with av.open(str(song)) as container:
        assert len(container.streams.video) == 1  # to FFmpeg it is one
    with pytest.raises(ValueError, match="has no video in it"):
        open_source(str(song))


def test_an_mp4_whose_table_of_contents_was_at_its_end_and_is_cut_off_cannot_be_opened(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", TEXTURED)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cannot be opened as a video .* is it whole\?"):
        open_source(str(path))


def write_mp4(path: Path) -> Path:
    return write_video(path, TEXTURED, container_options={"movflags": "faststart"})


def write_fragments(path: Path) -> Path:
    return write_video(path, TEXTURED, options={"g": "10"}, container_options={"movflags": "frag_keyframe+empty_moov"})


def write_avi(path: Path) -> Path:
    video_files.write(path, TEXTURED, frame_rate_hz=25.0, jpeg_quality=90)
    return path


CUT: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "mp4": ("a.mp4", write_mp4),
    "fragmented mp4": ("a.mp4", write_fragments),
    "avi": ("a.avi", write_avi),
    "mpeg-ts": ("a.ts", lambda path: write_video(path, TEXTURED)),
}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@pytest.mark.parametrize(("name", "write"), CUT.values(), ids=CUT)
def test_of_a_file_cut_in_the_middle_the_frames_before_the_cut_are_right_and_then_an_error_counts_them(
    tmp_path: Path, name: str, write: Callable[[Path], Path], share: float
) -> None:
    whole, fault = read(open_source(str(write(tmp_path / name))))
    assert (len(whole), fault) == (60, "")
    content = (tmp_path / name).read_bytes()
    path = tmp_path / f"cut.{name}"
    path.write_bytes(content[: int(share * len(content))])
    frames, fault = read(open_source(str(path)))
    assert 60 * share - 8 < len(frames) < 60 * share + 4
    for frame, same in zip(frames, whole, strict=False):
        assert (frame.number, frame.time_s) == (same.number, same.time_s)
        np.testing.assert_array_equal(frame.rgb, same.rgb)
    assert fault.startswith(f"{path} is damaged or ends in the middle, after {len(frames)} frames (")


def test_an_avi_that_ends_between_two_pictures_is_missed_by_its_header(tmp_path: Path) -> None:
    content = write_avi(tmp_path / "a.avi").read_bytes()
    chunk = [position for position in range(len(content)) if content.startswith(b"00dc", position)][20]
    (tmp_path / "a.avi").write_bytes(content[:chunk])
    frames, fault = read(open_source(str(tmp_path / "a.avi")))
    assert len(frames) == 20
    assert "after 20 frames (0.8 s): its header counts 60 and the file is truncated by" in fault


def test_a_file_with_a_hole_ends_at_the_hole(tmp_path: Path) -> None:
    path = write_mp4(tmp_path / "a.mp4")
    whole, _ = read(open_source(str(path)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    frames, fault = read(open_source(str(path)))
    assert 15 < len(frames) < 45
    assert f"after {len(frames)} frames" in fault
    same = [np.array_equal(frame.rgb, right.rgb) for frame, right in zip(frames, whole, strict=False)]
    assert all(same[:-4])


def test_a_recording_that_begins_in_the_middle_begins_with_its_first_whole_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", TEXTURED, options={"g": "10", "bf": "0", "sc_threshold": "0"})
    whole, _ = read(open_source(str(path)))
    content = path.read_bytes()
    path.write_bytes(content[len(content) // 3 // 188 * 188 :])  # of packets of 188 bytes
    frames, fault = read(open_source(str(path)))
    assert (fault, len(frames) % 10) == ("", 0)
    assert len(frames) >= 30
    assert frames[0].time_s == 0
    for frame, same in zip(frames, whole[-len(frames) :], strict=True):
        np.testing.assert_array_equal(frame.rgb, same.rgb)


def test_transport_streams_that_were_joined_are_read_to_the_end(tmp_path: Path) -> None:
    parts = [write_video(tmp_path / f"{first}.ts", PICTURES[first : first + 15]).read_bytes() for first in (0, 15)]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    frames, fault = read(open_source(str(tmp_path / "joined.ts")))
    assert (len(frames), fault) == (30, "")
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / 25, atol=1e-9)
    assert max(difference(frame.rgb, rgb) for frame, rgb in zip(frames, PICTURES, strict=True)) < H264_LEVELS


def test_a_video_that_goes_on_in_another_size_ends_there(tmp_path: Path) -> None:
    pictures = PICTURES[:10] + [picture(number, 48, 64) for number in range(10)]
    path = tmp_path / "a.mjpeg"  # one JPEG after the other
    path.write_bytes(b"".join(image_files.encode_jpeg(rgb, 95) for rgb in pictures))
    frames, fault = read(open_source(str(path)))
    assert len(frames) == 10
    assert fault == f"frame 10 of {path} is of 64x48 px, those before of 128x96"


# --- pictures from all over ------------------------------------------------------------------------------------------


def numbers(pictures: Sequence[np.ndarray]) -> list[int]:
    """Which of PICTURES each is most like."""
    return [int(np.argmin([difference(each, rgb) for rgb in PICTURES])) for each in pictures]


def test_spread_gives_pictures_from_all_over_a_video(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "a.mp4", PICTURES)))
    assert numbers(list(source.spread(10))) == list(range(0, 30, 3))
    assert numbers(list(source.spread(1))) == [0]
    assert numbers(list(source.spread(1000))) == list(range(30))


def test_spread_gives_key_frames_of_a_long_video(tmp_path: Path, monkeypatch: Any) -> None:
    path = write_video(tmp_path / "a.mp4", PICTURES, options={"g": "5", "sc_threshold": "0"})
    monkeypatch.setattr(sources, "MAX_SPREAD_S", 1.0)
    assert numbers(list(open_source(str(path)).spread(6))) == [0, 5, 10, 15, 20, 25]
    assert numbers(list(open_source(str(path)).spread(3))) == [0, 10, 20]


def test_spread_gives_others_too_of_a_long_video_with_one_key_frame(tmp_path: Path, monkeypatch: Any) -> None:
    path = write_video(tmp_path / "a.mp4", PICTURES, options={"g": "1000", "sc_threshold": "0"})
    monkeypatch.setattr(sources, "MAX_SPREAD_S", 1.0)
    assert numbers(list(open_source(str(path)).spread(6))) == [0, 0, 5, 10, 15, 20, 25]


def test_spread_of_a_stream_that_does_not_say_how_long_it_is_is_no_longer(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "a.h264", PICTURES)))
    assert source.count is None
    assert numbers(list(source.spread(10))) == list(range(0, 30, 3))


def test_spread_of_a_cut_file_gives_what_there_is(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", TEXTURED[:30], container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    chosen = numbers(list(open_source(str(path)).spread(10)))
    assert chosen[:3] == [0, 3, 6]
    assert len(chosen) < 10


def test_a_long_video_of_large_frames_is_read_one_frame_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "4k.mp4"
    rows = [np.full((2160, 3840, 3), number, np.uint8) for number in (40, 200)]
    write_video(path, [rows[number % 2] for number in range(48)], options={"preset": "ultrafast", "crf": "40"})
    program = (
        "import resource, sys; from people.tracking.sources import open_source\n"
        "for frame in open_source(sys.argv[1]).frames():\n"
        "    if frame.number in (15, 47): print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    shown = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    early, late = map(int, shown.stdout.split())
    assert late - early < 100_000  # KiB: 32 frames of 4K are 800,000


# --- folders ---------------------------------------------------------------------------------------------------------


def write_images(folder: Path, names: Sequence[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        (folder / name).write_bytes(image_files.encode_jpeg(PICTURES[number], 95))
    return folder


def test_the_images_of_a_folder_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"frame{number}.jpg" for number in range(8, 13)]  # of the alphabet 10, 11, 12, 8, 9
    folder = write_images(tmp_path / "a", names)
    (folder / "notes.txt").write_text("no image")
    (folder / "._frame9.jpg").write_bytes(b"of another system")
    source = open_source(str(folder), rate_hz=10.0)
    frames, fault = read(source)
    assert (fault, source.count, source.rate_hz) == ("", 5, 10.0)
    assert numbers([frame.rgb for frame in frames]) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose([frame.time_s for frame in frames], [0, 0.1, 0.2, 0.3, 0.4])
    assert numbers(list(source.spread(3))) == [0, 2, 4]
    assert open_source(str(folder)).rate_hz == sources.DEFAULT_RATE_HZ


def test_a_damaged_image_ends_the_folder_after_those_before_it(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "a", [f"{number}.jpg" for number in range(6)])
    (folder / "3.jpg").write_bytes((folder / "3.jpg").read_bytes()[:300])
    frames, fault = read(open_source(str(folder)))
    assert len(frames) == 3
    assert fault.startswith(f"{folder / '3.jpg'}: expected an image, but its 300 bytes cannot be decoded")
    assert numbers(list(open_source(str(folder)).spread(6))) == [0, 1, 2]


def test_an_image_of_another_size_ends_the_folder(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "a", ["1.png", "2.png", "3.png"])
    (folder / "2.png").write_bytes(image_files.encode_jpeg(picture(0, 48, 64), 90))
    frames, fault = read(open_source(str(folder)))
    assert (len(frames), fault) == (1, f"{folder / '2.png'} is of 64x48 px, those before of 128x96")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected images \(\.jpg, .*\), got none"):
        open_source(str(tmp_path))


# --- cameras ---------------------------------------------------------------------------------------------------------

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answers: Sequence[Answer]) -> Iterator[tuple[str, list[str]]]:
    """A camera on this machine, its address, and the paths asked for: the n-th request gets the n-th answer, or the last."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answers[min(len(asked), len(answers)) - 1](self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def stream(content: bytes, kind: str = "video/mp2t", *, length: bool = False) -> Answer:
    """Sends so much of a stream and closes the connection; a camera does not say how long it will send."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        if length:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):  # who only looks whether the camera is there hangs up
            request.wfile.write(content)

    return answer


def absent(request: BaseHTTPRequestHandler) -> None:
    request.send_error(404)


def transport_stream(folder: Path, pictures: Sequence[np.ndarray] = PICTURES, **options: str) -> bytes:
    return write_video(folder / "camera.ts", pictures, options={"g": "5"} | options).read_bytes()


@pytest.fixture
def impatient(monkeypatch: Any) -> None:
    monkeypatch.setattr(sources, "CAMERA_PAUSE_S", 0.25)
    monkeypatch.setattr(sources, "CAMERA_ATTEMPTS", 3)
    monkeypatch.setattr(sources, "CAMERA_TIMEOUT_S", 5.0)


@pytest.mark.usefixtures("impatient")
def test_a_camera_that_goes_away_and_comes_back_goes_on_with_a_gap_in_its_times(tmp_path: Path) -> None:
    content = transport_stream(tmp_path)
    whole, half = stream(content), stream(content[: len(content) // 2])
    with serving([whole, half, absent, absent, whole, absent]) as (address, asked):
        camera = open_source(f"http://{address}/live")
        assert (camera.count, camera.rate_hz, list(camera.spread(5))) == (None, 25.0, [])
        frames, fault = read(camera)
    before = len(frames) - 30
    assert 5 < before < 20
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert numbers([frame.rgb for frame in frames]) == [*range(before), *range(30)]
    times_s = [frame.time_s for frame in frames]
    steps_s = [second - first for first, second in pairwise(times_s)]
    assert times_s[0] == 0
    assert min(steps_s) >= 0
    assert int(np.argmax(steps_s)) == before - 1
    assert steps_s[before - 1] >= 3 * 0.25  # it was asked again three times, and twice it was not there
    assert "went away after" in fault
    assert f"after {len(frames)} frames and did not come back in 3 attempts: Server returned 404 Not Found" in fault
    assert len(asked) == 5 + 3


@pytest.mark.usefixtures("impatient")
def test_a_camera_that_sends_one_jpeg_after_the_other_is_read(tmp_path: Path) -> None:
    jpegs = [image_files.encode_jpeg(rgb, 95) for rgb in PICTURES[:12]]
    parts = [b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(each), each) for each in jpegs]
    with serving([stream(b"".join(parts), "multipart/x-mixed-replace; boundary=next")] * 2 + [absent]) as (address, _):
        frames, fault = read(open_source(f"http://{address}/video.mjpg"))
    assert numbers([frame.rgb for frame in frames]) == list(range(12))
    assert "did not come back" in fault


@pytest.mark.usefixtures("impatient")
def test_pictures_that_were_damaged_on_the_way_do_not_end_a_camera(tmp_path: Path) -> None:
    content = bytearray(transport_stream(tmp_path, TEXTURED))
    packets = len(content) // 188
    for packet in range(packets // 3, packets // 3 + 20):  # which never came
        content[188 * packet : 188 * (packet + 1)] = bytes(188)
    with serving([stream(bytes(content))] * 2 + [absent]) as (address, _):
        frames, _ = read(open_source(f"http://{address}/live"))
    assert 45 <= len(frames) <= 60
    assert difference(frames[-1].rgb, TEXTURED[-1]) < 2 * H264_LEVELS


@pytest.mark.usefixtures("impatient")
def test_a_camera_that_comes_back_with_another_size_ends(tmp_path: Path) -> None:
    large = stream(transport_stream(tmp_path))
    small = stream(transport_stream(tmp_path, [cv2.resize(rgb, (64, 48)) for rgb in PICTURES]))
    with serving([large, large, small]) as (address, _):
        frames, fault = read(open_source(f"http://{address}/live"))
    assert len(frames) == 30
    assert fault == f"frame 30 of the camera http://{address}/live is of 64x48 px, those before of 128x96"


@pytest.mark.usefixtures("impatient")
def test_a_camera_that_cannot_be_opened_is_refused_with_the_reason(tmp_path: Path, monkeypatch: Any) -> None:
    released = threading.Event()
    answers: dict[str, tuple[Answer, str]] = {
        "absent": (absent, r"cannot be opened \(Server returned 404 Not Found\); is the address right, and the camera on\?"),
        "a page": (stream(b"<html><body>Log in</body></html>" * 50, "text/html"), "cannot be opened"),
        "sound": (stream(write_sound(tmp_path / "sound.aac").read_bytes(), "audio/aac"), "has no video in it"),
        "mute": (lambda request: released.wait(10) and None, "cannot be opened"),
    }
    monkeypatch.setattr(sources, "CAMERA_TIMEOUT_S", 1.0)
    for answer, reason in answers.values():
        with serving([answer]) as (address, _), pytest.raises(ValueError, match=reason):
            open_source(f"http://{address}/live")
        released.set()
    with pytest.raises(ValueError, match="Connection refused"):
        open_source(f"http://{address}/live")


def test_a_recording_on_a_web_server_is_no_camera_and_is_not_shown_again_and_again(tmp_path: Path) -> None:
    content = write_video(tmp_path / "a.mp4", PICTURES, container_options={"movflags": "faststart"}).read_bytes()
    reason = r"is a recording of 1\.2 s and no camera; fetch it, and name the file's path"
    with serving([stream(content, "video/mp4", length=True)]) as (address, _), pytest.raises(ValueError, match=reason):
        open_source(f"http://{address}/a.mp4")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:wachtwoord@{}/live", "rtsp://{}/live"),
        ("RTSP://admin:wacht@woord@{}/live", "RTSP://{}/live"),
        ("http://admin:wacht/woord@{}/live", "http://{}/live"),
        ("http://{}/live?user=admin&password=wachtwoord", "http://{}/live?user=...&password=..."),
        ("http://{}/user=admin_password=wachtwoord_channel=1/live", "http://{}/user=.../live"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_passwords_in_an_address_are_neither_in_names_nor_in_errors(address: str, shown: str) -> None:
    with serving([absent]) as (host, _), pytest.raises(ValueError, match="cannot be opened") as raised:
        open_source(address.format(host))
    everything = "".join(traceback.format_exception(raised.value))
    assert f"the camera {shown.format(host)} cannot be opened" in everything
    assert "wacht" not in everything
    assert "woord" not in everything


@pytest.mark.usefixtures("impatient")
def test_a_camera_gets_its_password_and_shows_it_to_nobody(tmp_path: Path) -> None:
    content = transport_stream(tmp_path)
    with serving([stream(content)] * 2 + [absent]) as (address, asked):
        camera = open_source(f"http://{address}/live?user=admin&password=wachtwoord")
        with pytest.raises(SourceError) as raised:
            list(camera.frames())
    assert asked[0] == "/live?user=admin&password=wachtwoord"
    assert camera.name == f"http://{address}/live?user=...&password=..."
    assert "wachtwoord" not in "".join(traceback.format_exception(raised.value))


def test_a_device_of_this_machine_is_a_camera() -> None:
    with pytest.raises(ValueError, match="the camera /dev/video987 cannot be opened"):
        open_source("/dev/video987")
