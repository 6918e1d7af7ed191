"""The page of a video in a real browser: every track is shown, the video plays, names stay text, nothing asks the network."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import cv2
import numpy as np
import pytest
from conftest import ROOT
from selenium import webdriver
from selenium.webdriver.common.by import By
from walking_videos import FIGURE_RGB, HEIGHT, RATE, SETTINGS, WIDTH, frames, left_px, video

from people.config import build
from people.serving import open_set
from people.tracking import sources
from people.training.system import Attribute
from stages import identify
from stages.identification import answers, galleries
from stages.identification.annotated import COLOURS
from stages.identification.following import Config
from stages.identification.matching import Matcher

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1500)]

WALK = 30  # frames of a walk, of which the second half is empty
WALKS = 2
INJECTION = "<img src=x onerror=document.title='injected'>"
NAME = f"{INJECTION}.mp4"
PERSON = f"Ada {INJECTION}</span>"
SYSTEM, REASON = "<b>gait</b>", "<script>document.title = 'injected'</script>"

PLAY = """
const done = arguments[0], video = document.querySelector("video"), times = [];
video.addEventListener("timeupdate", () => times.push(video.currentTime));
video.addEventListener("error", () => done({error: video.error.message}));
video.addEventListener("ended", () => done({
    times, ended: video.ended, time: video.currentTime, duration: video.duration, size: [video.videoWidth, video.videoHeight],
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
}));
video.play().catch(error => done({error: String(error)}));
"""
SHOW = """
const [time, done] = arguments, video = document.querySelector("video");
const failed = () => done("the video's error " + video.error.code);
if (video.error) failed();
video.addEventListener("error", failed);
video.controls = false;
video.style.width = video.videoWidth + "px";
video.requestVideoFrameCallback((_, shown) => requestAnimationFrame(() => done(shown.mediaTime)));
video.currentTime = time;
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two walks and a gallery, in a folder whose name has characters that mean something in an address."""
    folder = tmp_path_factory.mktemp("page")
    source = sources.open_source(str(video(folder / NAME, WALKS * frames(WALK))))
    out = folder / "a b%20#c?d"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # where params.yaml is
        patch.setenv("PEOPLE_STATE", str(folder / "state"))
        patch.setattr(answers, "answer", answer)
        gallery = matcher(folder)
        config, (champion, _) = build(Config, SETTINGS), gallery.systems["reid"]
        assert identify.identify(source, config, [champion], {SYSTEM: REASON}, out, matcher=gallery) == ""
    return out / "index.html"


def answer(champion: answers.Champion, features: Any) -> answers.Answer:
    """What the system says of every track."""
    return answers.Answer(1, np.zeros(4, np.float32), [Attribute(f"{INJECTION}_sleeves", "<b>short</b>", 0.75)])


def matcher(folder: Path) -> Matcher:
    """A gallery of one person, who is nearer to every track than strangers are to each other."""
    impostors = open_set.between_people(np.arange(60)[:, None] + np.arange(1.0, 61), np.arange(60))
    champion = answers.Champion("reid", "market1501", None, {}, {"crops": "crops"}, impostors=impostors)
    _, png = cv2.imencode(".png", np.full((96, 48, 3), 200, np.uint8))
    (folder / galleries.PICTURE).write_bytes(png.tobytes())
    recording = galleries.Recording(folder, galleries.Origin("a video", "2026-11-02", "a form", {}))
    person = galleries.Person(folder, PERSON, (recording,))
    return Matcher("staff", [person], {"reid": (champion, galleries.Enrolled(np.zeros((1, 4)), np.zeros(1, int)))}, 0.05)


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    with browser.chromium() as driver:
        driver.set_script_timeout(60)
        yield driver


@pytest.fixture
def opened(chromium: webdriver.Chrome, page: Path) -> webdriver.Chrome:
    """The browser with the page; what it recorded before is forgotten."""
    browser.requested(chromium)
    browser.complaints(chromium)
    chromium.get(page.as_uri())
    return chromium


def heading() -> str:
    """The file's name without its folders, which may say who made the page."""
    return f"People in {NAME}"


def texts(driver: webdriver.Chrome, selector: str) -> list[str]:
    return [element.text for element in driver.find_elements(By.CSS_SELECTOR, selector)]


def picture(driver: webdriver.Chrome, time_s: float) -> np.ndarray:
    """What the screen shows of the video's frame at this time, RGB."""
    shown = driver.execute_async_script(SHOW, time_s)
    assert shown == pytest.approx(time_s, abs=1 / RATE)
    png = np.frombuffer(driver.find_element(By.TAG_NAME, "video").screenshot_as_png, np.uint8)
    bgr = cv2.imdecode(png, cv2.IMREAD_COLOR)
    assert bgr is not None
    return cv2.cvtColor(cv2.resize(bgr, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def extent(picture_rgb: np.ndarray, colour_rgb: tuple[int, int, int]) -> list[int]:
    """The first and the last column with ten pixels at least of about this colour; empty without any."""
    near = np.abs(picture_rgb.astype(int) - colour_rgb).max(axis=2) < 60
    columns = np.flatnonzero(near.sum(axis=0) >= 10).tolist()
    return [columns[0], columns[-1]] if columns else []


def test_every_track_has_a_card_with_its_pictures(opened: webdriver.Chrome):
    assert opened.title == heading()
    assert texts(opened, "article h2") == [f"Track {number}: {PERSON}" for number in (1, 2)]
    assert f"2 people followed through {WALKS * WALK} frames of {WIDTH} x {HEIGHT} pixels" in texts(opened, "p")[0]
    widths = opened.execute_script("return Array.from(document.images, image => image.naturalWidth)")
    assert len(widths) == 2 * WALKS  # photos of the track, and of the person in the gallery
    assert min(widths) > 0  # 0: it could not be decoded
    opened.find_element(By.LINK_TEXT, "track 2").click()
    assert opened.execute_script("return location.hash") == "#track-2"


def test_names_are_text_and_inject_nothing(opened: webdriver.Chrome):
    assert texts(opened, "h1") == [heading()]
    assert f"{SYSTEM} says nothing: {REASON}." in texts(opened, "p.note")
    assert f"{INJECTION} sleeves" in texts(opened, "td")
    assert {"<b>short</b>", PERSON} <= set(texts(opened, "td"))
    assert opened.find_elements(By.CSS_SELECTOR, "script, b, [onerror], img:not([src^='data:'])") == []
    assert opened.title == heading()


def test_the_video_plays_to_its_end(opened: webdriver.Chrome):
    played = opened.execute_async_script(PLAY)
    assert "error" not in played, played
    length_s = WALKS * WALK / RATE
    assert played["ended"]
    assert played["time"] == pytest.approx(length_s, abs=1.5 / RATE)
    assert played["duration"] == pytest.approx(length_s, abs=1.5 / RATE)
    assert played["size"] == [WIDTH, HEIGHT]
    assert played["times"] == sorted(played["times"])
    assert len(played["times"]) > 10  # four a second
    assert played["frames"] >= 0.9 * WALKS * WALK


@pytest.mark.parametrize("index", [8, 10, 12, WALK + 8, WALK + 11])
def test_the_video_shows_the_person_and_the_box_at_each_time(opened: webdriver.Chrome, index: int):
    shown = picture(opened, (index + 0.5) / RATE)
    x = left_px(index % WALK, WALK)
    assert extent(shown, FIGURE_RGB) == pytest.approx([x, x + 17], abs=4)
    assert extent(shown, COLOURS[1 + index // WALK]) == pytest.approx([x, x + 18], abs=5)


def test_the_video_shows_an_empty_room_after_the_walk(opened: webdriver.Chrome):
    shown = picture(opened, (WALK - 5.5) / RATE)
    assert extent(shown, FIGURE_RGB) == []
    assert 90 <= shown.mean() <= 130
    assert shown.std() > 3


def test_nothing_leaves_for_the_network_and_no_script_fails(opened: webdriver.Chrome, page: Path):
    opened.execute_async_script(PLAY)
    asked = browser.requested(opened)
    assert page.as_uri() in asked
    assert (page.parent / "annotated.mp4").as_uri() in asked
    assert {address.partition(":")[0] for address in asked} <= {"file", "data", "blob"}
    files = {address for address in asked if address.startswith("file:")}
    assert files == {page.as_uri(), (page.parent / "annotated.mp4").as_uri()}
    assert browser.complaints(opened) == []


def test_what_a_page_asks_of_the_network_and_what_fails_would_be_seen(opened: webdriver.Chrome, tmp_path: Path):
    addresses = ["http://people.invalid/a.png", "https://people.invalid/b.js", "ws://people.invalid/c", "http://127.0.0.1:9/d"]
    image, script, socket, fetched = map(json.dumps, addresses)
    (tmp_path / "other.html").write_text(
        f"<!doctype html><img src={image}><script src={script}></script>"
        f"<script>new WebSocket({socket}); fetch({fetched}).catch(() => 0); throw new Error('thrown by the page');</script>"
    )
    opened.get((tmp_path / "other.html").as_uri())
    assert set(addresses) <= set(browser.requested(opened))
    assert any("thrown by the page" in each for each in browser.complaints(opened))
