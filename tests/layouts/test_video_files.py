"""Video files: what is written is read again, equal frames make equal bytes, and a truncated file is named."""

import zipfile
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from people.layouts import video_containers, video_files
from people.layouts.video_files import video_frames


def noise(seed: int) -> np.ndarray:
    """Blurred noise, which compresses badly."""
    drawn = np.random.default_rng(seed).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    return cv2.GaussianBlur(drawn, (0, 0), 2)


def test_a_written_video_has_its_frames_size_and_colours_again(tmp_path: Path) -> None:
    path, frames = tmp_path / "walk.avi", [noise(seed) for seed in range(7)]
    video_files.write(path, frames, frame_rate_hz=25.0, jpeg_quality=90)
    assert video_files.video_info(path) == (7, 60, 80)
    read = list(video_frames(path))
    assert len(read) == 7
    assert min(cv2.PSNR(decoded, frame) for decoded, frame in zip(read, frames, strict=True)) > 30


def test_equal_frames_make_equal_bytes_with_one_thread_or_several(tmp_path: Path) -> None:
    threads = cv2.getNumThreads()
    for count in (1, 4):
        cv2.setNumThreads(count)
        frames = [noise(seed) for seed in range(5)]
        video_files.write(tmp_path / f"{count}.avi", frames, frame_rate_hz=25.0, jpeg_quality=90)
    cv2.setNumThreads(threads)
    assert (tmp_path / "1.avi").read_bytes() == (tmp_path / "4.avi").read_bytes()


def test_a_video_without_a_frame_is_refused_and_one_that_cannot_be_opened_has_zero_frames(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least one frame for .*none\.avi"):
        video_files.write(tmp_path / "none.avi", [], frame_rate_hz=25.0, jpeg_quality=90)
    (tmp_path / "cut.avi").write_bytes(b"RIFF")
    assert video_files.video_info(tmp_path / "cut.avi") == video_files.video_info(tmp_path / "absent.avi") == (0, 0, 0)


def film(path: Path, frames: int, fourcc: str) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 10, (80, 60))
    for x in range(frames):
        writer.write(noise(x))
    writer.release()
    return path


def test_a_video_is_read_in_order_as_rgb(tmp_path: Path) -> None:
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 60))
    for level in (40, 120, 200):
        writer.write(np.full((60, 80, 3), (0, 0, level), np.uint8))  # OpenCV writes blue, green, red
    writer.release()
    levels = [frame.reshape(-1, 3).mean(axis=0) for frame in video_frames(path)]
    np.testing.assert_allclose(levels, [(40, 0, 0), (120, 0, 0), (200, 0, 0)], atol=6)


@pytest.mark.parametrize(("name", "fourcc"), [("walk.avi", "MJPG"), ("walk.mp4", "mp4v")])
def test_a_truncated_video_is_refused_by_name(tmp_path: Path, name: str, fourcc: str) -> None:
    path = film(tmp_path / name, 40, fourcc)
    assert len(list(video_frames(path))) == 40
    complete = path.read_bytes()
    for share in (0.9, 0.5, 0.1):
        path.write_bytes(complete[: int(len(complete) * share)])
        with pytest.raises(ValueError, match=name):
            list(video_frames(path))


def chunks(content: bytes) -> list[tuple[int, int]]:
    """Where the chunks of pictures of an AVI file begin and end."""
    found, position = [], content.index(b"movi") + 4
    while content[position + 2 : position + 4] in (b"dc", b"db"):
        end = position + 8 + int.from_bytes(content[position + 4 : position + 8], "little")
        found.append((position, end))
        position = end + end % 2
    return found


def with_count(content: bytes, frames: int) -> bytes:
    """An AVI file whose header and stream header count this many frames."""
    header, stream = content.index(b"avih") + 8 + 16, content.index(b"strh") + 8 + 32
    for position in (header, stream):
        content = content[:position] + frames.to_bytes(4, "little") + content[position + 4 :]
    return content


def test_a_whole_video_has_the_frames_that_decode_whatever_its_header_counts(tmp_path: Path) -> None:
    path = film(tmp_path / "cut.avi", 47, "MJPG")
    complete = path.read_bytes()
    for counted in (60, 40):
        path.write_bytes(with_count(complete, counted))
        assert video_files.decoded_info(path) == (47, 60, 80)
        assert len(list(video_frames(path))) == 47


def cut_without_decoding(path: Path, start: int, stop: int, **options: str) -> Path:
    """An H.264 video with a key frame at every 20th picture, of which these pictures are copied as they are stored."""
    whole = path.with_name("whole.mp4")
    with av.open(str(whole), "w") as target:
        stream = target.add_stream("libx264", rate=10, options={"g": "20", "keyint_min": "20", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 80, 60, "yuv420p"
        for seed in range(stop):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(noise(seed), format="rgb24")))
        target.mux(stream.encode())
    with av.open(str(whole)) as source, av.open(str(path), "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stored = [packet for packet in source.demux(source.streams.video[0]) if packet.dts is not None][start:stop]
        first = min(packet.dts for packet in stored)
        for packet in stored:
            packet.pts, packet.dts, packet.stream = packet.pts - first, packet.dts - first, stream
            target.mux(packet)
    return path


@pytest.mark.parametrize("options", [{}, {"movflags": "+faststart"}], ids=["index last", "index first"])
def test_a_clip_that_begins_between_key_frames_has_the_frames_that_decode(tmp_path: Path, options: dict[str, str]) -> None:
    path = cut_without_decoding(tmp_path / "cut.mp4", 7, 67, **options)
    assert video_files.video_info(path) == (60, 60, 80)
    assert video_files.decoded_info(path) == (47, 60, 80)  # from picture 20 on, the first key frame
    frames = list(video_frames(path))
    assert len(frames) == 47
    assert max(range(67), key=lambda seed: cv2.PSNR(frames[0], noise(seed))) == 20
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"cut\.mp4"):
        list(video_frames(path))


def test_a_gap_in_the_timestamps_is_no_truncation(tmp_path: Path) -> None:
    path = film(tmp_path / "gap.avi", 12, "MJPG")
    complete = path.read_bytes()
    start, end = chunks(complete)[5]
    # an empty chunk says that there is no picture at this time; the rest of the chunk becomes one of junk
    junk = b"JUNK" + (end - start - 16).to_bytes(4, "little")
    path.write_bytes(complete[:start] + complete[start : start + 4] + bytes(4) + junk + complete[start + 16 :])
    decoded = len(list(video_frames(path)))
    assert decoded in (11, 12)  # by the version of the decoder, which may give the picture before it once more
    assert video_files.decoded_info(path).frame_count == decoded


@pytest.mark.parametrize("fourcc", ["MJPG", "XVID"])
def test_a_damaged_picture_is_a_fault_and_the_message_has_both_counts(tmp_path: Path, fourcc: str) -> None:
    path = film(tmp_path / "damaged.avi", 12, fourcc)
    complete = path.read_bytes()
    start, end = chunks(complete)[5]
    path.write_bytes(complete[: start + 8] + bytes(end - start - 8) + complete[end:])
    message = r"damaged\.avi: its header counts 12 frames and 5 decode: picture 6 is damaged and others follow; replace it"
    with pytest.raises(ValueError, match=message):
        list(video_frames(path))


def test_a_damaged_last_picture_of_motion_jpeg_is_a_fault(tmp_path: Path) -> None:
    path = film(tmp_path / "damaged.avi", 12, "MJPG")
    complete = path.read_bytes()
    start, end = chunks(complete)[-1]
    path.write_bytes(complete[: start + 8] + bytes(end - start - 8) + complete[end:])
    with pytest.raises(ValueError, match=r"header counts 12 frames and 11 decode: it has 12 pictures, and some of them"):
        list(video_frames(path))


def test_a_truncated_video_says_what_was_counted_decoded_and_is_missing(tmp_path: Path) -> None:
    path = film(tmp_path / "short.avi", 40, "MJPG")
    complete = path.read_bytes()
    path.write_bytes(complete[: chunks(complete)[30][0]])
    with pytest.raises(ValueError, match=r"header counts 40 frames and \d+ decode: the file is truncated by [\d,]+ bytes"):
        list(video_frames(path))


@pytest.mark.parametrize(("name", "fourcc"), [("walk.avi", "MJPG"), ("walk.avi", "XVID"), ("walk.mp4", "mp4v")])
def test_the_structure_of_a_whole_file_is_complete_and_of_a_shorter_one_is_not(tmp_path: Path, name: str, fourcc: str) -> None:
    path = film(tmp_path / name, 10, fourcc)
    container = video_containers.inspect(path)
    assert container == (0, 10 if fourcc == "MJPG" else None)
    complete = path.read_bytes()
    for missing in (10, 1000, len(complete) // 2):
        path.write_bytes(complete[:-missing])
        cut = video_containers.inspect(path)
        assert cut is not None
        assert cut.missing_bytes > 0


def test_lists_that_lie_deep_in_lists_are_passed_over(tmp_path: Path) -> None:
    lists = b"".join(b"LIST" + (12 * (5000 - number)).to_bytes(4, "little") + b"more" for number in range(5000))
    (tmp_path / "deep.avi").write_bytes(b"RIFF" + (len(lists) + 4).to_bytes(4, "little") + b"AVI " + lists)
    assert video_containers.inspect(tmp_path / "deep.avi") is not None
    with pytest.raises(ValueError, match=r"deep\.avi"):
        list(video_frames(tmp_path / "deep.avi"))


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"notes\.mp4 .*cannot be opened"):
        list(video_frames(tmp_path / "notes.mp4"))
    with pytest.raises(ValueError, match=r"absent\.mp4 is not a file"):
        list(video_frames(tmp_path / "absent.mp4"))


def test_a_truncated_recording_whose_index_comes_first_is_noticed_at_its_end(tmp_path: Path, real_data: Path) -> None:
    complete = real_data / "intel-video" / "one-by-one-person-detection.mp4"
    truncated = tmp_path / "cut.mp4"
    with complete.open("rb") as source:
        truncated.write_bytes(source.read(int(complete.stat().st_size * 0.1)))
    with pytest.raises(ValueError, match=r"cut\.mp4"):
        list(video_frames(truncated))


def test_a_video_in_a_zip_file_is_that_on_the_disk_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    tmp_path = tmp_path / "here! and there"
    tmp_path.mkdir()
    plain, packed = tmp_path / "001-nm-01-090.avi", tmp_path / "001.zip"
    video_files.write(plain, [noise(seed) for seed in range(5)], frame_rate_hz=25.0, jpeg_quality=90)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(plain, "video/001-nm-01-090.avi")
        archive.writestr("short.avi", plain.read_bytes()[:-4000])
        archive.writestr("damaged.avi", plain.read_bytes())
    inside = tmp_path / "001.zip!video/001-nm-01-090.avi"
    assert video_files.decoded_info(inside) == video_files.decoded_info(plain) == (5, 60, 80)
    for read, expected in zip(video_frames(inside), video_frames(plain), strict=True):
        np.testing.assert_array_equal(read, expected)
    with pytest.raises(
        ValueError, match=r"001\.zip!short\.avi: its header counts 5 frames and \d decode: the file is truncated"
    ):
        list(video_frames(tmp_path / "001.zip!short.avi"))
    content = bytearray(packed.read_bytes())
    content[content.index(b"damaged.avi") + 500] ^= 0xFF
    packed.write_bytes(content)
    assert video_files.decoded_info(tmp_path / "001.zip!damaged.avi") == (0, 0, 0)
    faults = {
        "damaged": "expected a whole file, but Bad CRC-32",
        "gone": "expected a whole file, but .*no item named 'gone.avi'",
    }
    for name, fault in faults.items():
        with pytest.raises(ValueError, match=rf"001\.zip!{name}\.avi: {fault}"):
            next(video_frames(tmp_path / f"001.zip!{name}.avi"))
    (tmp_path / "002.zip").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"002\.zip: expected a whole zip file, but File is not a zip file"):
        next(video_frames(tmp_path / "002.zip!walk.avi"))
