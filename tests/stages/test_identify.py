"""People in a video of one's own: tables, page and annotated video, also where the video is broken or is interrupted."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scene_stores import write_checkpoint
from walking_videos import RATE, SETTINGS, frames, left_px, video

from people.config import build
from people.records import ACTIVITIES
from people.tracking import sources, track_features
from people.video import crops, silhouettes
from stages import identify
from stages.identification import answers, detectors, following, pages
from stages.identification.following import Config, Person, Progress
from stages.shared.project import params


def run(path: Path, out: Path, **settings: Any) -> str:
    return identify.identify(sources.open_source(str(path)), build(Config, SETTINGS | settings), [], {}, out)


def test_a_person_is_found_followed_and_shown(tmp_path: Path):
    fault = run(video(tmp_path / "<i>walk.mp4", frames(60)), tmp_path / "out")
    assert fault == ""
    tracks, boxes = pd.read_csv(tmp_path / "out/tracks.csv"), pd.read_parquet(tmp_path / "out/boxes.parquet")
    assert tracks["track"].tolist() == [1]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out/tracks.parquet"), tracks)
    (track,) = tracks.itertuples()
    assert track.first_frame <= 8
    assert 24 <= track.last_frame < 30
    assert len(boxes) == track.frames
    middle = boxes.set_index("frame").loc[15]
    x = left_px(15, 60)
    np.testing.assert_allclose(middle[["x0", "y0", "x1", "y1"]].astype(float), [x, 20, x + 18, 80], atol=3)
    page = (tmp_path / "out/index.html").read_text()
    assert "&lt;i&gt;walk" in page
    assert "<i>walk" not in page
    assert "Track 1" in page


def test_the_page_asks_no_other_machine_for_anything(tmp_path: Path):
    run(video(tmp_path / "walk.mp4", frames(40)), tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    assert not re.findall(r"https?://|//[a-z]", page.replace("<!doctype html>", ""))
    assert set(re.findall(r'src="([^":]+)', page)) <= {"annotated.mp4", "data"}


def test_the_annotated_video_is_h264_and_shows_every_frame_at_its_time(tmp_path: Path):
    run(video(tmp_path / "walk.mp4", frames(40)), tmp_path / "out")
    with av.open(str(tmp_path / "out/annotated.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        times = [frame.time for frame in container.decode(stream)]
    np.testing.assert_allclose(times, np.arange(40) / RATE, atol=1e-3)


def test_multipose_finds_people_and_tells_what_they_do(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path / "trained")  # random weights: it finds somebody everywhere
    tracking = {"high_score": 0.001, "low_score": 0.0, "min_iou": 0.1, "confirm_frames": 2, "lost_s": 1.0}
    config = build(Config, SETTINGS | {"finder": "multipose", "tracking": tracking})
    source = sources.open_source(str(video(tmp_path / "walk.mp4", frames(4))))
    finder = detectors.detector(config, {"multipose": str(checkpoint)})
    assert identify.identify(source, config, [], {}, tmp_path / "out", detector=finder) == ""
    tracks = pd.read_csv(tmp_path / "out/tracks.csv")
    assert len(tracks) > 0
    assert set(tracks["multipose.activity"]) <= set(ACTIVITIES)
    assert tracks["multipose.activity.probability"].between(1 / len(ACTIVITIES), 1).all()


def test_masks_of_mediapipe_take_the_place_of_the_finders(
    tmp_path: Path, real_data: Path, fetched: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCH_HOME", str(fetched("mediapipe")))
    config = build(Config, SETTINGS | {"background": SETTINGS["background"] | {"side_px": 384}, "masks": "mediapipe"})
    source = sources.open_source(str(real_data / "intel-video/one-by-one-person-detection.mp4"))
    features = {"x": track_features.Config(silhouette=silhouettes.Config("mediapipe", [64, 44], False, "scaled", ""))}
    people = [
        each
        for each in following.follow(source, config, features, Progress(), Event(), until_s=7.5)
        if isinstance(each, Person)
    ]
    (person,) = people
    own = person.features["x"].arrays("silhouettes")["silhouette"]
    subtracted = build(Config, SETTINGS | {"background": SETTINGS["background"] | {"side_px": 384}})
    (other,) = [
        each
        for each in following.follow(source, subtracted, features, Progress(), Event(), until_s=7.5)
        if isinstance(each, Person)
    ]
    compared = other.features["x"].arrays("silhouettes")["silhouette"]
    assert own.shape[1:] == (64, 44)
    mean, mean_compared = (each.mean(0) > 127 for each in (own, compared))
    assert (mean & mean_compared).sum() / (mean | mean_compared).sum() > 0.7


def test_nobody_is_no_error(tmp_path: Path):
    assert run(video(tmp_path / "empty.mp4", frames(20, people=False)), tmp_path / "out") == ""
    assert "Nobody was found" in (tmp_path / "out/index.html").read_text()
    assert pd.read_csv(tmp_path / "out/tracks.csv").columns.tolist() == list(pages.TRACK_COLUMNS)
    assert len(pd.read_parquet(tmp_path / "out/boxes.parquet")) == 0


def test_a_video_that_ends_in_the_middle_is_answered_up_to_there(tmp_path: Path):
    whole = video(tmp_path / "walk.mp4", frames(60)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    fault = run(tmp_path / "cut.mp4", tmp_path / "out")
    assert re.search(r"cut\.mp4 is damaged or ends in the middle", fault)
    assert "ended early" in (tmp_path / "out/index.html").read_text()
    assert len(pd.read_csv(tmp_path / "out/tracks.csv")) == 1


def test_a_folder_with_other_things_is_not_overwritten(tmp_path: Path):
    path, precious = video(tmp_path / "walk.mp4", frames(10)), tmp_path / "out/precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(ValueError, match=r"out exists and is no earlier result of this command; .* name another --out"):
        run(path, tmp_path / "out")
    assert precious.read_text() == "mine"
    run(path, tmp_path / "new")
    assert run(path, tmp_path / "new") == ""  # an earlier result is


def test_systems_without_a_champion_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("PEOPLE_STATE", str(tmp_path / "state"))
    champions, missing = answers.find(["reid"], {})
    assert champions == []
    assert re.search(r"reid has no champion in the registry .*: run dvc repro register@reid", missing["reid"])
    path = video(tmp_path / "walk.mp4", frames(10))
    identify.identify(sources.open_source(str(path)), build(Config, SETTINGS), [], missing, tmp_path / "out")
    assert "reid says nothing: reid has no champion" in (tmp_path / "out/index.html").read_text()


def test_the_settings_of_params_are_complete(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(root)
    config = build(Config, params("identify"))
    assert (config.finder, config.background.side_px > 0) == ("background", True)


@pytest.mark.parametrize(
    ("name", "value"), [("finder", "eyes"), ("masks", "none"), ("max_frames", 0), ("systems", ["gait"]), ("background", 3)]
)
def test_every_rule_of_the_settings_names_its_key(name: str, value: Any):
    with pytest.raises(ValueError, match=rf"identify\.{name} must be "):
        build(Config, SETTINGS | {name: value})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--checkpoint", "reid"], "expected SYSTEM=FILE, such as reid=data/models/reid/checkpoint.pt, got 'reid'"),
        (["--checkpoint", "multipose=x.pt"], "--checkpoint multipose=...: nothing would use it"),
        (["--checkpoint", "reid=nowhere.pt"], "no checkpoint at nowhere.pt"),
    ],
)
def test_a_checkpoint_that_is_none_or_that_nothing_would_use_is_refused(
    arguments: list[str], reason: str, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    path = video(tmp_path / "walk.mp4", frames(5))
    monkeypatch.chdir(root)
    monkeypatch.setenv("PEOPLE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["identify", str(path), "--out", str(tmp_path / "out"), *arguments])
    with pytest.raises(SystemExit) as ended:
        identify.main()
    assert reason in f"{ended.value.code} {capsys.readouterr().err}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("films/a walk.mp4", "a-walk"),
        ("rtsp://door/stream", "stream"),
        ("rtsp://door", "door"),
        ("http://door/a?key=...", "a-key"),
    ],
)
def test_the_folder_is_named_after_the_source(source: str, name: str):
    assert identify.folder_name(source) == name


def test_two_systems_of_one_dataset_get_all_that_both_read(monkeypatch: pytest.MonkeyPatch):
    reads = {"a": "foregrounds", "b": "silhouettes"}
    monkeypatch.setattr(answers, "reading", lambda name: ("fvg", {"frames": reads[name]}))
    monkeypatch.chdir(ROOT)
    for order in (list(reads), list(reads)[::-1]):
        made = answers.feature_configs(order, 10)["fvg"]
        assert made.silhouette is not None
        assert made.foreground is not None
        assert made.crop is None
        assert made.frame_rate_hz == 15


def test_of_a_faster_video_so_many_frames_are_taken_as_a_dataset_has(tmp_path: Path):
    source = sources.open_source(str(video(tmp_path / "walk.mp4", frames(60))))
    features = {str(rate): track_features.Config(crop=crops.Config([32, 16]), frame_rate_hz=rate) for rate in (5.0, 10.0, 25.0)}
    events = following.follow(source, build(Config, SETTINGS), features, Progress(), Event())
    (person,) = [each for each in events if isinstance(each, Person)]
    counts = {rate: made.frame_count for rate, made in person.features.items()}
    assert counts["10.0"] == counts["25.0"] == len(person.track.frames)
    assert counts["5.0"] == pytest.approx(counts["10.0"] / 2, abs=1)


def test_a_slow_video_is_told_to_be_slow(tmp_path: Path):
    slow = track_features.Config(silhouette=silhouettes.Config("background", [64, 44], False, "scaled", ""), frame_rate_hz=25.0)
    (note,) = identify.slow_notes(10.0, {"casiab": slow})
    assert "10 frames a second, casiab has 25" in note
    assert identify.slow_notes(24.0, {"casiab": slow}) == []
    assert (
        identify.slow_notes(10.0, {"market1501": track_features.Config(crop=crops.Config([32, 16]), frame_rate_hz=25.0)}) == []
    )


def command(*arguments: str, folder: Path) -> subprocess.Popen:
    environment = {**os.environ, "PEOPLE_STATE": str(folder / "state"), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    return subprocess.Popen(
        [sys.executable, "-m", "stages.identify", *arguments],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_command_ends_with_a_message_where_there_is_no_video(tmp_path: Path):
    (tmp_path / "empty.mp4").touch()
    process = command(str(tmp_path / "empty.mp4"), "--out", str(tmp_path / "out"), folder=tmp_path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "empty.mp4 is an empty file; expected a video" in errors
    assert "Traceback" not in errors


def test_ctrl_c_ends_with_what_there_is(tmp_path: Path):
    path = video(tmp_path / "long.mp4", 30 * frames(60))
    process = command(str(path), "--out", str(tmp_path / "out"), folder=tmp_path)
    partial = tmp_path / "out.partial/tracks.csv"
    deadline = time.monotonic() + 300
    while not partial.is_file() and time.monotonic() < deadline:  # the first track has ended
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    assert re.search(r"stopped after \d+ frames; what was seen before is in ", errors)
    tracks = pd.read_csv(tmp_path / "out/tracks.csv")
    assert 1 <= len(tracks) < 30
    assert not partial.exists()
