"""Galleries in a project that has champions: enrolled, compared with, embedded again, and forgotten to the last byte."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import run, users_environment
from flow_stores import write_checkpoint, write_store
from rendered_videos import unpacked
from walking_videos import frames, video

from people import checkpoints
from people.serving import open_set
from people.serving.open_set import Impostors
from stages import enroll, forget, identify
from stages.identification import answers, galleries, pages
from stages.identification.answers import Answer, Champion
from stages.identification.galleries import Enrolled, Gallery, Origin, Person, Recording, check_name
from stages.identification.matching import ALL, UNKNOWN, Matcher

EVIL = "../../\"><script>alert('x')</script>"
pytestmark = pytest.mark.servers  # dozens of processes that describe videos, for minutes
CONSENT = "form 1 of 2026-11-02"


@pytest.fixture(scope="module")
def project(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small run with a cache of its own, as a git repository."""
    copy = tmp_path_factory.mktemp("galleries") / "project"
    shutil.copytree(small_run, copy, ignore=shutil.ignore_patterns("cache", "tmp", "checkpoints", "galleries", "identified*"))
    shutil.rmtree(copy / ".git", ignore_errors=True)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "start"]):
        git(copy, *command)
    return copy


def git(folder: Path, *command: str) -> str:
    identity = ["-c", "user.email=someone@localhost", "-c", "user.name=someone"]
    return subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True, text=True).stdout


def call(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A stage's command as a user types it, whatever its end."""
    command = [sys.executable, "-m", f"stages.{module}", *arguments]
    return subprocess.run(command, cwd=folder, env=users_environment(), capture_output=True, text=True, check=False)


def refusal(module: ModuleType, arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> str:
    """Why a stage that is called in this process ends."""
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "PEOPLE_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code not in (0, None)
    return f"{ended.value.code} {capsys.readouterr().err}"


def clips(project: Path) -> list[Path]:
    """Videos of people at the side, one for each person."""
    found = unpacked(project, "*-nm-01-090.avi", project / "videos")
    return found or unpacked(project, "*-nm-01-*.avi", project / "videos")


def enrolled(project: Path, gallery: str, name: str, video: Path) -> None:
    done = call(project, "enroll", gallery, name, "--consent", CONSENT, "--video", str(video))
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def staff(project: Path) -> Path:
    """A gallery of two people, one with a name that would do harm as a path or as HTML."""
    first, second, *_ = clips(project)
    enrolled(project, "staff", "Ada Lovelace", first)
    enrolled(project, "staff", EVIL, second)
    return project / "data/galleries/staff"


def test_a_recording_keeps_its_origin_its_consent_and_an_embedding_by_each_champion(project: Path, staff: Path):
    people = [json.loads(path.read_text())["name"] for path in staff.glob("*/person.json")]
    assert sorted(people) == sorted(["Ada Lovelace", EVIL])
    for path in staff.glob("*/*/recording.json"):
        origin = json.loads(path.read_text())
        assert origin["consent"] == CONSENT
        assert origin["source"].endswith(".avi")
        assert {each.name.partition("-")[0] for each in path.parent.glob("*.npy")} == {"reid", "gaittake", "gaitnet"}
        (refusal,) = path.parent.glob("*.txt")  # a clip shorter than one window of flow
        assert refusal.name.startswith("dmt-")


def test_a_name_is_no_part_of_a_path(project: Path, staff: Path):
    assert all(re.fullmatch(r"[0-9a-f]{32}", path.name) for path in staff.iterdir())
    assert "Ada" not in " ".join(map(str, (project / "data").rglob("*")))


def test_the_gallery_is_a_version_that_git_knows_by_its_dvc_file(project: Path, staff: Path):
    record = project / "data/galleries/staff.dvc"
    assert "path: staff" in record.read_text()
    assert "data/galleries/staff.dvc" in git(project, "status", "--porcelain", "--untracked-files=all")
    assert subprocess.run(["git", "check-ignore", "-q", str(staff)], cwd=project, check=False).returncode == 0


def test_who_was_enrolled_is_nearest_and_every_name_stays_text(project: Path, staff: Path, tmp_path: Path):
    _, second, *_ = clips(project)
    out = tmp_path / "out"
    run([sys.executable, "-m", "stages.identify", str(second), "--gallery", "staff", "--out", str(out)], project)
    candidates = pd.read_csv(out / "candidates.csv").query("rank == 1")
    assert set(candidates["by"]) == {"gaittake", "gaitnet", "reid", ALL}
    assert set(candidates["name"]) == {EVIL}
    assert candidates.set_index("by").loc[["gaittake", "reid"], "distance"].max() == pytest.approx(0, abs=0.05)
    (track,) = pd.read_parquet(out / "tracks.parquet").to_dict("records")
    assert track["identity"] in (EVIL, UNKNOWN)
    assert 0 < track["identity.accept_rate"] < 1
    page = (out / "index.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_stranger_has_a_list_too(project: Path, staff: Path, tmp_path: Path):
    out = tmp_path / "out"
    stranger = clips(project)[2]
    run([sys.executable, "-m", "stages.identify", str(stranger), "--gallery", "staff", "--out", str(out)], project)
    assert pd.read_csv(out / "candidates.csv").query("by == @ALL")["name"].nunique() == 2


@pytest.mark.parametrize("gallery", ["../staff", "staff/..", "a b", "'", "<b>", "", "-x", "a" * 101])
def test_a_gallery_whose_name_is_a_path_is_refused(
    project: Path, gallery: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for stage, arguments in ((identify, ["x.mp4", f"--gallery={gallery}"]), (forget, ["--", gallery, "Ada"])):
        assert "cannot name a gallery" in refusal(stage, arguments, project, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nobody", "Ada", "--video", "x.mp4"], "--consent is required"),
        (["nobody", "Ada", "--video", "x.mp4", "--consent", "  "], "--consent is required"),
        (["nobody", "Ada\n", "--video", "x.mp4", "--consent", "y"], "cannot be a person's name"),
        (["nobody", "Ada", "--video", "nowhere.mp4", "--consent", "y"], "nowhere.mp4 is neither a video file nor"),
        (["nobody", "Ada", "--subject", "casiab/999", "--consent", "y"], "casiab has no subject '999'"),
        (
            ["nobody", "Ada", "--subject", "coco/1", "--consent", "y"],
            "--subject wants DATASET/SUBJECT of a dataset that a system",
        ),
        (["nobody", "--refresh"], "there is no gallery 'nobody'"),
        (["nobody", "--video", "x.mp4"], "wants NAME with --video or --subject, or --refresh without a name"),
        (["nobody", "Ada", "--subject", "casiab/1", "--track", "1"], "--track goes with --video"),
    ],
)
def test_what_cannot_be_enrolled_is_named_and_leaves_nothing(
    project: Path, arguments: list[str], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert reason in refusal(enroll, arguments, project, monkeypatch, capsys)
    assert not list((project / "data/galleries").glob("nobody*"))


def test_a_video_of_several_people_needs_a_track(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    twice = str(video(tmp_path / "twice.mp4", 2 * frames(40)))
    arguments = ["several", "Ada", "--consent", CONSENT, "--video", twice]
    several = refusal(enroll, arguments, project, monkeypatch, capsys)
    assert re.search(r"must show one person, it has 2 tracks: 1 \(\d\.\d to \d\.\d s\), 2 \(.*choose one with --track", several)
    other = refusal(enroll, [*arguments, "--track", "99"], project, monkeypatch, capsys)
    assert re.search(r"has no track 99; it has 1 \(\d+\.\d to \d+\.\d s\), 2 ", other)


def test_a_folder_of_clips_and_a_datasets_subject(project: Path, tmp_path: Path):
    for clip in clips(project)[:2]:
        shutil.copy2(clip, tmp_path)
    enrolled(project, "more", "two clips", tmp_path)
    subject = clips(project)[0].name.partition("-")[0]
    done = call(project, "enroll", "more", "a subject", "--consent", CONSENT, "--subject", f"casiab/{subject}", "--clips", "3")
    assert done.returncode == 0, done.stderr
    photos = call(
        project, "enroll", "more", "a subject", "--consent", CONSENT, "--subject", f"market1501/{photo_subject(project)}"
    )
    assert photos.returncode == 0, photos.stderr
    people = {
        json.loads(path.read_text())["name"]: path.parent for path in (project / "data/galleries/more").glob("*/person.json")
    }
    assert len(list(people["two clips"].glob("*/recording.json"))) == 2
    by = [
        {file.name.partition("-")[0] for file in path.parent.glob("*.npy")}
        for path in people["a subject"].glob("*/recording.json")
    ]
    assert by.count({"gaittake"}) == 3
    assert {"reid"} in by


def photo_subject(project: Path) -> str:
    clips = pd.read_csv(project / "data/crops/market1501/clips.csv", dtype={"subject_id": str})
    return clips.query("kind == 'person'")["subject_id"].iloc[0]


def test_another_version_of_a_model_is_named_and_refresh_embeds_again(project: Path, tmp_path: Path):
    first, second, *_ = clips(project)
    enrolled(project, "changing", "Ada", first)
    gallery = project / "data/galleries/changing"
    before = {file.name.partition("-")[0]: np.load(file) for file in gallery.rglob("*.npy")}
    for file in gallery.rglob("reid-*.npy"):
        file.rename(file.with_name("reid-0123456789ab.npy"))
    command = ["identify", str(second), "--gallery", "changing", "--out", str(tmp_path / "out")]
    refused = call(project, *command)
    assert refused.returncode == 1
    assert re.search(
        r"'changing' was not embedded by version 1 of reid \(\w{12}\), but by 0123456789ab: "
        r"python -m stages\.enroll changing --refresh",
        refused.stderr,
    )
    assert not (tmp_path / "out").exists()
    refreshed = call(project, "enroll", "changing", "--refresh")
    assert refreshed.returncode == 0, refreshed.stderr
    after = {file.name.partition("-")[0]: np.load(file) for file in gallery.rglob("*.npy")}
    assert not list(gallery.rglob("reid-0123456789ab.npy"))
    assert set(after) == set(before)
    for system, embedding in before.items():
        np.testing.assert_array_equal(after[system], embedding, err_msg=system)
    assert call(project, *command).returncode == 0


def test_the_last_person_of_a_gallery_can_be_forgotten_and_results_of_others_stay(project: Path, tmp_path: Path):
    enrolled(project, "single", "Ada", clips(project)[0])
    others = tmp_path / "out.partial"  # of an interrupted run with another gallery
    others.mkdir()
    (others / "candidates.csv").write_text("track,person\n1,0123\n")
    with (project / ".state/identified.txt").open("a") as noted:
        noted.write(f"{tmp_path / 'out'}\n")
    done = call(project, "forget", "single", "Ada")
    assert done.returncode == 0, done.stderr
    assert list((project / "data/galleries/single").iterdir()) == []
    assert others.is_dir()
    assert "is empty: python -m stages.enroll" in call(project, "identify", "x.mp4", "--gallery", "single").stderr


def test_an_empty_gallery_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    (project / "data/galleries/empty").mkdir(parents=True)
    reason = refusal(identify, [str(clips(project)[0]), "--gallery", "empty"], project, monkeypatch, capsys)
    assert "the gallery 'empty' is empty: python -m stages.enroll empty NAME" in reason


def test_a_gallery_that_dvc_cannot_record_is_named_and_keeps_the_recording(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments = ["unrecorded", "Ada", "--consent", CONSENT, "--video", str(clips(project)[0])]
    (project / ".dvc").rename(project / ".away")
    try:
        reason = refusal(enroll, arguments, project, monkeypatch, capsys)
    finally:
        (project / ".away").rename(project / ".dvc")
    assert re.search(
        r"unrecorded is changed, but this version is not recorded: `dvc add .*` failed \(.*\); run it again", reason
    )
    assert Gallery(project / "data/galleries/unrecorded").has("Ada")


def test_forgotten_to_the_last_byte(project: Path, tmp_path: Path):
    first, second, *_ = unpacked(project, "*-bg-01-090.avi", project / "videos")  # in no other gallery
    enrolled(project, "leaving", "Mary", first)
    enrolled(project, "leaving", "Grace", second)
    git(project, "add", "data/galleries/leaving.dvc")
    git(project, "commit", "--quiet", "-m", "two people")
    enrolled(project, "other", "Mary", clips(project)[0])
    enrolled(project, "leaving", "Mary", second)  # an earlier version has one recording, the present one two
    out = tmp_path / "out"
    run([sys.executable, "-m", "stages.identify", str(first), "--gallery", "leaving", "--out", str(out)], project)
    gallery = project / "data/galleries/leaving"
    (person,) = [path.parent for path in gallery.glob("*/person.json") if json.loads(path.read_text())["name"] == "Mary"]
    contents = [file.read_bytes() for file in person.rglob("*") if file.is_file()]
    others = [file for file in gallery.parent.rglob("*") if file.is_file() and person not in file.parents]
    shared = [file.read_bytes() for file in others]
    contents = [each for each in contents if each not in shared]  # Grace's recording is of the same video, and names are equal
    assert any(each.startswith(b"\x93NUMPY") for each in contents)
    done = call(project, "forget", "leaving", "Mary")
    assert done.returncode == 0, done.stderr
    left = [
        file.read_bytes()
        for root in (".dvc", "data/galleries/leaving", ".state")
        for file in (project / root).rglob("*")
        if file.is_file()
    ]
    for each in contents:
        assert not any(each in kept for kept in left), each[:80]
    assert "1 commits" in done.stdout
    assert "can no longer be checked out whole" in done.stdout
    assert "Mary is also in the gallery other" in done.stdout
    assert [json.loads(path.read_text())["name"] for path in gallery.glob("*/person.json")] == ["Grace"]
    shown = "".join(path.read_text() for path in [out / "index.html", out / "results.json", out / "candidates.csv"])
    assert "Mary" not in shown
    assert "Grace" in shown
    assert "Mary" not in pd.read_parquet(out / "candidates.parquet")["name"].tolist()
    again = call(project, "forget", "leaving", "Mary")
    assert again.returncode == 1
    assert "nobody in the gallery 'leaving' is called 'Mary'; there are 'Grace'" in again.stderr


# --- matching, by itself ---------------------------------------------------------------------------------------------


def matcher(distances: Mapping[str, Any], impostors: Impostors | None) -> Matcher:
    """People on a line, by the place of their only recording, for each system (reid compares vectors by their distance)."""
    count = len(next(iter(distances.values())))
    people = [Person(Path(f"{index:032x}"), f"person {index}", ()) for index in range(count)]
    embedded = {
        system: (
            Champion(system, "x", None, {}, {}, impostors=impostors),
            Enrolled(np.array([[each, 0.0] for each in places if each is not None], np.float32),
                     np.array([index for index, each in enumerate(places) if each is not None])),
        )
        for system, places in distances.items()
    }  # fmt: skip
    return Matcher("line", people, embedded, 0.05)


def said(**places: float) -> dict[str, Answer]:
    return {system: Answer(1, np.array([place, 0.0], np.float32), []) for system, place in places.items()}


@pytest.fixture(scope="module")
def strangers() -> Impostors:
    """Strangers are 5 apart, with a deviation of 1."""
    draw = np.random.default_rng(2)
    places = draw.normal(0, 5, 60)
    return open_set.between_people(np.abs(places[:, None] - places), np.arange(60))


def test_the_nearest_person_is_named_if_strangers_seldom_come_so_near(strangers: Impostors):
    close, far = (matcher({"reid": [0.0, 20.0]}, strangers).match(said(reid=place)) for place in (0.001, 9.0))
    assert (close.name, far.name) == ("person 0", UNKNOWN)
    assert [each.name for each in far.candidates["reid"]] == ["person 0", "person 1"]
    assert far.candidates["reid"][0].distance == pytest.approx(9.0)


def test_without_distances_of_strangers_nobody_is_decided():
    match = matcher({"reid": [0.0, 20.0]}, None).match(said(reid=0.001))
    assert match.name is None
    assert match.candidates["reid"][0].accept_rate is None
    assert ALL not in match.candidates


def test_a_person_whom_one_system_does_not_know_is_compared_by_the_others(strangers: Impostors):
    both = matcher({"reid": [0.0, 3.0], "dmt": [None, 3.0]}, strangers)
    match = both.match(said(reid=0.001, dmt=40.0))
    assert match.candidates[ALL][0].name == "person 0"
    assert [each.name for each in match.candidates["dmt"]] == ["person 1"]


def test_distances_that_overflow_decide_nothing(strangers: Impostors):
    match = matcher({"reid": [0.0, 20.0]}, strangers).match(said(reid=3e38))
    assert match.name is None
    assert match.candidates["reid"] == []


def test_a_track_of_which_no_system_says_anything_is_not_decided(strangers: Impostors):
    match = matcher({"reid": [0.0, 20.0]}, strangers).match({})
    assert match.name is None
    assert match.candidates == {}


@pytest.mark.parametrize("name", ["", " Ada", "Ada\n", "a\x1b[2J", "x" * 201, "a\0b"])
def test_a_name_is_one_line_of_text(name: str):
    with pytest.raises(ValueError, match="cannot be a person's name; expected one line of 1 to 200 characters"):
        check_name(name)


@pytest.mark.parametrize("name", ["Ada", "Ökçe", EVIL, "a/b", "..", "a'b\"c"])
def test_any_line_of_text_is_a_name(name: str):
    assert check_name(name) == name


def test_a_person_who_is_not_named_in_results_changes_nothing(tmp_path: Path):
    values = {"cards": [], "gallery": None}
    (tmp_path / pages.RESULTS).write_text(json.dumps(values))
    assert pages.forget(tmp_path, "0" * 32) == []
    assert json.loads((tmp_path / pages.RESULTS).read_text()) == values


def test_a_gallery_is_in_one_folder():
    assert Gallery.named("staff").path == Path("data/galleries/staff")


# --- embeddings that cannot be compared ------------------------------------------------------------------------------


def person(folder: Path, name: str, embedding: Any) -> Person:
    """Somebody with one recording, as far as `enrolled` reads it; bytes are written as they are."""
    recording = folder / name / "2026-11-02"
    recording.mkdir(parents=True)
    file = recording / "reid-0123456789ab.npy"
    if isinstance(embedding, bytes):
        file.write_bytes(embedding)
    else:
        np.save(file, embedding)
    return Person(recording.parent, name, (Recording(recording, Origin("x.mp4", "", "", {})),))


REID = Champion("reid", "market1501", None, {}, {}, "version 1", "0123456789abcdef")


@pytest.mark.parametrize(
    ("embedding", "fault"),
    [
        (np.array([0, np.nan, np.inf], np.float32), "must be finite float32 numbers, 2 of 3 are NaN or infinite"),
        (np.array([0, 1e300, 0]), "must be finite float32 numbers, 1 of 3"),
        (np.zeros(4, np.float32), r"must have the shape \(3,\) of most others, has \(4,\)"),
        (np.zeros((1, 3), np.float32), r"must have the shape \(3,\) of most others, has \(1, 3\)"),
        (np.array(["a", "b", "c"]), "must be floating-point numbers, is <U1"),
        (np.array([{}, 1, 2], object), "is no array of numbers"),
        (b"", "is no array of numbers"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_", "is no array of numbers"),
        (b"\x00" * 1000, "is no array of numbers"),
    ],
)
def test_a_stored_embedding_that_cannot_be_compared_names_the_gallery_the_person_and_the_recording(
    tmp_path: Path, embedding: Any, fault: str
):
    people = [
        person(tmp_path, "Ada", embedding),
        *(person(tmp_path, name, np.zeros(3, np.float32)) for name in ("Eve", "Mary")),
    ]
    where = r"the gallery 'staff': the embedding by reid of Ada, recording 2026-11-02, "
    with pytest.raises(ValueError, match=rf"^{where}{fault}.*: python -m stages\.enroll staff --refresh"):
        galleries.enrolled(people, REID, "staff")


def test_an_embedding_that_is_cut_off_anywhere_is_refused_with_its_person(tmp_path: Path):
    np.save(tmp_path / "whole.npy", np.arange(8, dtype=np.float32))
    whole = (tmp_path / "whole.npy").read_bytes()
    for size in range(0, len(whole), 7):
        with pytest.raises(ValueError, match=r"the embedding by reid of Ada, recording 2026-11-02, is no array of numbers"):
            galleries.enrolled([person(tmp_path / str(size), "Ada", whole[:size])], REID, "staff")


def test_a_gallery_of_finite_embeddings_is_read_with_the_owner_of_every_row(tmp_path: Path):
    people = [person(tmp_path, name, np.full(3, place, np.float16)) for place, name in enumerate(("Ada", "Eve"))]
    enrolled = galleries.enrolled(people, REID, "staff")
    assert enrolled is not None
    np.testing.assert_array_equal(enrolled.embedding, np.array([[0, 0, 0], [1, 1, 1]], np.float32))
    assert enrolled.person.tolist() == [0, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_that_answers_with_numbers_that_are_not_finite_says_nothing_and_why(tmp_path: Path, value: float):
    network, entries = checkpoints.load(write_checkpoint(tmp_path / "dmt.pt", write_store(tmp_path / "flow", subjects=2)))
    champion = Champion("dmt", "tumgaid", network, entries, {"frames": "flow", "poses": "flow"}, "version 1", "0" * 64)
    walk = {"flow": np.zeros((11, 2, 60, 80), np.int16), "box": np.tile(np.array([10, 5, 70, 55], np.float32), (11, 1))}
    features = galleries.StoredFeatures({"flow": walk})
    told = answers.answer(champion, features)
    assert isinstance(told, Answer)
    assert told.samples > 1
    with torch.no_grad():
        next(network.parameters()).fill_(value)
    reason = answers.answer(champion, features)
    assert isinstance(reason, str)
    assert re.match(
        r"dmt gives NaN or infinity for .*signature.*, expected finite numbers: .*train it with a lower rate", reason
    )
    assert galleries.embed({"tumgaid": features}, [champion]) == {champion: reason}
