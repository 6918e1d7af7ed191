"""The stages ingest and validate on real files: what they write, what they refuse, and that nothing half-written stays."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from people import schemas
from people.datasets import tumgaid
from people.records import Motion, Rendered, Take
from stages import ingest, validate

SUBJECTS = {"train": 3, "validation": 1, "test": 2, "elapsed": 1}
PARAMS = """
seed: 4
datasets:
  tumgaid:
    source: {source}
    variation: {{between_subjects: 1.0, within_subject: 1.0}}
    archive: {archive}
    subjects: {{train: 3, validation: 1, test: 2, elapsed: 1}}
    frames_per_sequence: 30
    frame_rate_hz: 30
    size_hw: [30, 40]
    jpeg_quality: 90
validate:
  tumgaid: {{min_frames: {min_frames}, age_years: [1, 110], max_bad_share: {max_bad_share}}}
"""
VIEWS = """
seed: 4
datasets:
  casiab:
    source: parametric
    variation: {between_subjects: 1.0, within_subject: 1.0}
    archive: nothing
    subjects: {train: 1, validation: 1, test: 1}
    frames_per_sequence: 4
    frame_rate_hz: 25
    views_deg: [0, 90]
    size_hw: [30, 40]
    jpeg_quality: 90
validate:
  casiab: {min_frames: 4, age_years: [1, 110], max_bad_share: 0.05}
"""

PHOTOS = """
seed: 4
datasets:
  market1501:
    source: parametric
    variation: {between_subjects: 1.0, within_subject: 1.0}
    archive: nothing
    subjects: {train: 1, validation: 1, test: 1}
    cameras: 2
    photos_per_camera: [2, 2]
    distractors: 1
    junk: 5
    frames_per_sequence: 6
    frame_rate_hz: 25
    size_hw: [64, 48]
    jpeg_quality: 90
validate:
  market1501: {max_bad_share: 0.05}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, in which the stages run."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def configure(source: str = "parametric", archive: str = "nothing", min_frames: int = 26, max_bad_share: float = 0.05) -> None:
    text = PARAMS.format(source=source, archive=archive, min_frames=min_frames, max_bad_share=max_bad_share)
    Path("params.yaml").write_text(text)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def moving_box(take: Take) -> Iterator[Rendered]:
    """A box that crosses a grey view."""
    for position in range(len(take.motion)):
        frame = np.full((30, 40, 3), 90, np.uint8)
        frame[6:24, position : position + 8] = (200, 120, 40)
        yield Rendered(frame, frame[..., 0], np.zeros((17, 3)), np.zeros(4))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive in folders, outside of any project, as someone with the official one would have it."""
    folder = tmp_path_factory.mktemp("archives") / "TUM-GAID"
    walk = np.zeros((30, 20, 3)), np.zeros(30), 30.0
    motions = [
        Motion(f"a{person}", f"walk{number}", *walk, "male", 30.0 + person) for person in range(6) for number in range(20)
    ]
    takes = tumgaid.plan(motions, subjects=SUBJECTS, frames_per_sequence=30, seed=4)
    tumgaid.write(folder, takes, moving_box, jpeg_quality=90, packed=False)
    return folder


@pytest.fixture
def official(whole: Path, tmp_path: Path) -> Path:
    """The test's own copy of the archive."""
    return Path(shutil.copytree(whole, tmp_path / "TUM-GAID"))


def damage(archive: Path) -> None:
    """One fault of every kind; p005 comes back, so that it has twenty sequences."""
    image = archive / "image/p005/n01/0009.jpg"
    image.write_bytes(image.read_bytes()[:300])
    for image in sorted((archive / "image/p005/b01").iterdir())[20:]:
        image.unlink()
    for image in (archive / "image/p005/s04").iterdir():
        image.unlink()
    with (archive / "tumgaidvalids.lst").open("a") as file:
        file.write("1\n")  # p001 is in training already
    for name, line, value in (("allage.txt", 1, "-3"), ("allgender.txt", 2, "x")):
        entries = (archive / name).read_text().split()
        entries[line] = value
        (archive / name).write_text("\n".join(entries))


def ingest_twice_and_validate(dataset: str) -> None:
    """The second time writes equal bytes."""
    ingest.main(dataset)
    first = files(Path("data"))
    ingest.main(dataset)
    assert files(Path("data")) == first
    validate.main(dataset)


def test_rendered_people_pass_through_both_stages_and_a_second_time_with_equal_bytes(project: Path):
    configure()
    ingest_twice_and_validate("tumgaid")
    clips = pd.read_csv("data/valid/tumgaid/clips.csv")
    assert len(clips) == 70
    assert set(clips["root"]) == {"data/raw/tumgaid"}
    assert json.loads(Path("data/valid/tumgaid/summary.json").read_text()) == {
        "clips": 70,
        "valid_clips": 70,
        "bad_share": 0.0,
        "subjects": {"test": 2, "train": 3, "validation": 1},
        "faults": {},
    }
    raw = {path.name for path in Path("data/raw/tumgaid").iterdir()}
    assert raw == {*tumgaid.ID_LISTS.values(), "allgender.txt", "allage.txt", "recording.json", "image"}


def test_people_seen_from_two_views_pass_through_both_stages_with_silhouettes_keypoints_and_empty_scenes(project: Path):
    Path("params.yaml").write_text(VIEWS)
    ingest_twice_and_validate("casiab")
    valid = schemas.load(Path("data/valid/casiab/clips.csv"))
    assert len(valid) == 3 * 10 * 2
    assert (valid[[name for name in schemas.LOCATION_COLUMNS if name in valid]] != "").all(axis=None)
    assert set(valid["split"]) == {"train", "validation", "test"}
    assert set(valid["view_deg"]) == {0.0, 90.0}


def test_photos_pass_through_both_stages_by_the_rules_that_their_block_names(project: Path):
    Path("params.yaml").write_text(PHOTOS)
    ingest_twice_and_validate("market1501")
    valid = schemas.load(Path("data/valid/market1501/clips.csv"))
    assert valid["kind"].value_counts().to_dict() == {"person": 12, "junk": 5, "distractor": 1}
    summary = json.loads(Path("data/valid/market1501/summary.json").read_text())
    assert summary["subjects"] == {"test": 1, "train": 1, "validation": 1}
    Path("params.yaml").write_text(PHOTOS.replace("max_bad_share", "min_pixels: 9, max_bad_share"))
    with pytest.raises(ValueError, match=r"validate\.market1501\.min_pixels is no rule: there are age_years, min_frames"):
        validate.main("market1501")


def test_a_parameter_that_the_plan_of_a_dataset_does_not_know_is_refused(project: Path):
    Path("params.yaml").write_text(VIEWS.replace("views_deg", "clothes: 2\n    views_deg"))
    with pytest.raises(TypeError, match="clothes"):
        ingest.main("casiab")


def test_an_official_archive_is_only_read_and_its_faults_go_to_quarantine_with_rule_and_remedy(project: Path, official: Path):
    damage(official)
    before = files(official)
    configure("official", str(official), max_bad_share=0.9)
    ingest.main("tumgaid")
    assert files(official) == before
    assert json.loads(Path("data/raw/tumgaid/source.json").read_text()) == {"source": "official"}
    validate.main("tumgaid")
    quarantine = pd.read_csv("data/valid/tumgaid/quarantine.csv")
    bad = {clip: (row["column"], str(row["value"])) for clip, row in quarantine.set_index("clip_id").iterrows()}
    assert {value for clip, value in bad.items() if clip.startswith("p001/")} == {("split", "train, validation")}
    assert {value for clip, value in bad.items() if clip.startswith("p002/")} == {("age_years", "-3.0")}
    assert {value for clip, value in bad.items() if clip.startswith("p003/")} == {("gender", "x")}
    assert bad["p005/n01"][0] == "frames"
    assert bad["p005/n01"][1].startswith("data/raw/archives/tumgaid/image/p005/n01/0009.jpg: expected an image")
    assert bad["p005/b01"] == ("frame_count", "20")
    assert bad["p005/s04"] == ("frame_count", "0")
    assert len(quarantine) == len(bad)  # one row per fault
    assert quarantine["rule"].notna().all()
    assert quarantine["remedy"].notna().all()
    clips = pd.read_csv("data/valid/tumgaid/clips.csv")
    assert set(clips["clip_id"]).isdisjoint(bad)
    assert len(clips) + len(bad) == 70


def test_too_many_bad_clips_end_the_stage_with_the_rows_and_leave_the_table_but_no_output(project: Path, official: Path):
    damage(official)
    configure("official", str(official), max_bad_share=0.05)
    ingest.main("tumgaid")
    with pytest.raises(SystemExit) as ended:
        validate.main("tumgaid")
    message = str(ended.value)
    assert message.startswith("tumgaid: 47.1% of the clips are bad, validate.tumgaid.max_bad_share allows 5.0%")
    assert "p001/b01: a subject has one split; split is train, validation; list the subject in exactly one" in message
    assert "more" in message.splitlines()[-1]
    assert len(pd.read_csv(".state/quarantine/tumgaid.csv")["clip_id"].unique()) == 33
    assert not Path("data/valid").exists() or list(Path("data/valid").iterdir()) == []


def test_nothing_stays_of_an_ingest_that_fails(project: Path, official: Path):
    (official / "allage.txt").unlink()
    configure("official", str(official))
    with pytest.raises(ValueError, match=r"expected allage\.txt"):
        ingest.main("tumgaid")
    assert list(Path("data/index").iterdir()) == []
    configure("kinectgait", str(official / "image"))
    with pytest.raises(ValueError, match="expected"):
        ingest.main("tumgaid")
    assert not list(Path("data/raw").glob("*.partial"))


def test_a_missing_index_and_an_unknown_dataset_are_named(project: Path):
    configure()
    with pytest.raises(ValueError, match=r"no index of clips at data/index/tumgaid/clips\.csv; run the stage that writes it"):
        validate.main("tumgaid")
    with pytest.raises(ValueError, match="dataset 'gaid' is not one of"):
        ingest.main("gaid")
