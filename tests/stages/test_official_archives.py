"""Official archives in a project: what changes in them changes the index, wherever they lie and whatever links they have."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from conftest import run, workspace
from reachability import ROOT, reachable, with_code
from ruamel.yaml import YAML

from people import datasets, schemas
from people.datasets import casiab
from stages import archive, ingest, validate
from stages.shared.archives import KnownHashes
from tests import wild

LISTING = "data/raw/archives/casiab.json"
BLOCK = """
seed: 4
archives: {archives}
datasets:
  casiab:
    source: official
    archive: {archive}
validate:
  casiab: {{min_frames: 1, max_bad_share: 0.5}}
"""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An archive of six clips outside of any project."""
    return wild.build(tmp_path / "disk", wild.LAYOUTS["casiab"], wild.VARIATIONS["plain"])


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, in which the stages run."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("PEOPLE_STATE", raising=False)
    return tmp_path / "project"


def configure(named: str | Path, archives: dict[str, str] | None = None, key: str = "casiab") -> None:
    text = BLOCK.format(archive=json.dumps(str(named)), archives=json.dumps(archives or {}))
    Path("params.yaml").write_text(text.replace("casiab:", f"{key}:"))


def index() -> bytes:
    ingest.main("casiab")
    return Path("data/index/casiab/clips.csv").read_bytes()


def test_a_picture_that_is_put_right_changes_the_index_in_its_clip_alone(disk: Path):
    configure(disk)
    picture = disk / "silhouettes/002/nm-01/090/002-nm-01-090-002.png"
    right = picture.read_bytes()
    picture.write_bytes(b"")
    index()
    before = schemas.load(Path("data/index/casiab/clips.csv"))
    picture.write_bytes(right)
    index()
    after = schemas.load(Path("data/index/casiab/clips.csv"))
    assert before["clip_id"][before["content"] != after["content"]].tolist() == ["002/nm-01/090"]
    assert before.drop(columns="content").equals(after.drop(columns="content"))
    validate.main("casiab")
    assert schemas.load(Path("data/valid/casiab/clips.csv"))["content"].tolist() == after["content"].tolist()


def test_the_index_is_the_same_wherever_the_archive_lies(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    configure(disk)
    first, source = index(), Path("data/raw/casiab/source.json").read_bytes()
    assert str(tmp_path).encode() not in first + source
    moved = disk.rename(tmp_path / "mounted-elsewhere")
    configure(moved)
    assert index() == first
    assert Path("data/raw/casiab/source.json").read_bytes() == source
    monkeypatch.setenv("HOME", str(tmp_path))
    configure("~/mounted-elsewhere")
    assert index() == first
    monkeypatch.setenv("PEOPLE_ARCHIVE_CASIAB", str(moved))
    configure(LISTING)
    assert index() == first


def test_clips_are_read_on_a_machine_where_the_archive_lies_elsewhere(disk: Path, monkeypatch: pytest.MonkeyPatch):
    configure(disk)
    index()
    clip = schemas.load(Path("data/index/casiab/clips.csv")).iloc[0]
    Path(clip["root"]).unlink()  # a checkout that has the index alone
    with pytest.raises(ValueError, match=r"of casiab is not on this machine: .*set PEOPLE_ARCHIVE_CASIAB to its folder"):
        list(casiab.frames(Path(clip["root"]), clip["frames"]))
    monkeypatch.setenv("PEOPLE_ARCHIVE_CASIAB", str(disk))
    assert len(list(casiab.frames(Path(clip["root"]), clip["frames"]))) == clip["frame_count"]
    assert len(list(casiab.masks(Path(clip["root"]), clip["masks"]))) == clip["frame_count"]


@pytest.mark.parametrize("layout", list(wild.LAYOUTS))
def test_an_index_of_every_layout_is_read_wherever_its_archive_lies(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    key = wild.LAYOUTS[layout].dataset
    here = wild.build(tmp_path / "one machine", wild.LAYOUTS[layout], wild.VARIATIONS["plain"])

    def ingested(named: str | Path, archives: dict[str, str]) -> bytes:
        configure(named, archives, key)
        ingest.main(key)
        return Path("data/index", key, "clips.csv").read_bytes()

    first = ingested(here, {})
    assert str(tmp_path).encode() not in first
    there = here.rename(tmp_path / "mounted-elsewhere")
    Path("data/raw/archives", key).unlink()
    clips = schemas.load(Path("data/index", key, "clips.csv"))
    dataset, root = datasets.find(key), Path(clips["root"][0])
    monkeypatch.setenv(f"PEOPLE_ARCHIVE_{key.upper()}", str(there))
    assert schemas.check(clips, schemas.decodable(dataset.frames))[1].empty
    if "people" in clips:
        assert all(dataset.people(root, location) for location in clips["people"])
    for location in set(clips["masks"]) - {""} if "masks" in clips else ():
        assert len(list(dataset.masks(root, location))) > 0
    monkeypatch.delenv(f"PEOPLE_ARCHIVE_{key.upper()}")
    listing = f"data/raw/archives/{key}.json"
    assert ingested(listing, {key: str(there)}) == first
    monkeypatch.setenv(f"PEOPLE_ARCHIVE_{key.upper()}", str(there))
    assert ingested(listing, {key: "/nowhere"}) == first


def test_links_to_folders_are_left_to_the_stage_that_looks_behind_them(disk: Path, tmp_path: Path):
    shutil.move(disk / "silhouettes", tmp_path / "silhouettes")
    (disk / "silhouettes").symlink_to(tmp_path / "silhouettes")
    configure(disk)
    with pytest.raises(ValueError, match=r"silhouettes is a link to a folder, and DVC does not see changes behind it") as error:
        ingest.main("casiab")
    assert f'--set \'archives={{"casiab": "{disk}"}}\' --set datasets.casiab.archive={LISTING}' in str(error.value)
    configure(LISTING, {"casiab": str(disk)})
    assert index().count(b"silhouettes/") == 6


def test_links_in_an_archive_of_motion_are_left_to_that_stage_too(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "motion").mkdir()
    (tmp_path / "motion/Data").symlink_to(tmp_path / "disk")
    configure(tmp_path / "motion")
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("official", "kinectgait"))
    with pytest.raises(ValueError, match=r"motion/Data is a link to a folder, and DVC does not see changes behind it"):
        ingest.main("casiab")


def test_the_stage_that_lists_an_archive_depends_on_what_it_can_reach():
    deps = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]["archive"]["do"]["deps"]
    listed = {file for path in (ROOT / dep for dep in deps) for file in ([path] if path.is_file() else path.rglob("*.py"))}
    reached = reachable("stages.archive", "casiab", YAML(typ="safe").load(ROOT / "params.yaml"))
    assert with_code(listed) == with_code(reached)


def test_the_listing_of_an_archive_changes_with_a_file_behind_a_link(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.move(disk / "silhouettes/002", tmp_path / "002")
    (disk / "silhouettes/002").symlink_to(tmp_path / "002")
    configure(LISTING, {"casiab": str(disk)})
    archive.main("casiab")
    first = Path(LISTING).read_bytes()
    assert json.loads(first)["file_count"] == 3 + 6 + 18
    assert f"27 files, {json.loads(first)['size_bytes']:,} bytes in {disk}" in capsys.readouterr().out
    archive.main("casiab")
    assert Path(LISTING).read_bytes() == first
    (tmp_path / "002/nm-01/090/002-nm-01-090-002.png").write_bytes(b"")
    archive.main("casiab")
    assert Path(LISTING).read_bytes() != first


@pytest.mark.parametrize("packed", ["folder", "links", "zip", "tar"])
def test_the_listing_of_an_archive_of_motion_changes_with_a_walk(tmp_path: Path, packed: str):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/07.asf").write_text("bones")
    (tmp_path / "disk/07_01.amc").write_text("first walk")

    def made() -> Path:
        archive = tmp_path / f"motion.{packed}"
        if packed == "links":
            archive.mkdir(exist_ok=True)
            for name in ("folder", "07.asf"):
                (archive / name).unlink(missing_ok=True)
            (archive / "folder").symlink_to(tmp_path / "disk")
            (archive / "07.asf").symlink_to(tmp_path / "disk/07.asf")
            return archive
        return tmp_path / "disk" if packed == "folder" else Path(shutil.make_archive(str(archive), packed, tmp_path / "disk"))

    def listed() -> str:
        configure(LISTING, {"casiab": str(made())})
        archive.main("casiab")
        return json.loads(Path(LISTING).read_text())["sha256"]

    first = listed()
    assert listed() == first
    (tmp_path / "disk/07_01.amc").write_text("other walk")
    assert listed() != first


def test_hashes_are_kept_in_the_state_folder(disk: Path):
    for path in (disk, *disk.rglob("*")):
        os.utime(path, (1, 1))
    configure(disk)
    index()
    known = KnownHashes()
    folder = str((disk / "video").resolve())
    assert len(known) == len(list(known)) == 1 + 6
    assert known[folder]["001-nm-01-090.avi"].sha256
    del known[folder]
    assert folder not in known
    known.database.close()


def test_what_is_left_unread_is_named_at_the_end(disk: Path, capsys: pytest.CaptureFixture[str]):
    configure(disk)
    index()
    assert "left unread" not in capsys.readouterr().out
    for name in ("008.tgz", "008.rar", "009.rar", "010.rar", "notes.txt", "._11.rar"):
        (disk / "silhouettes" / name).write_bytes(b"")
    index()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "casiab: left unread: 4 files, e.g. silhouettes/008.rar, silhouettes/008.tgz, silhouettes/009.rar"


def test_an_archive_that_is_not_there_is_named(tmp_path: Path):
    configure(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"official archive of casiab at .*nothing, there is no such folder; correct datasets"):
        ingest.main("casiab")
    configure(LISTING)
    with pytest.raises(ValueError, match=r"params\.yaml has no archives\.casiab"):
        ingest.main("casiab")
    configure(LISTING, {"casiab": str(tmp_path / "nothing")})
    with pytest.raises(ValueError, match=r"official archive of casiab at .*nothing, there is no such folder"):
        archive.main("casiab")
    (tmp_path / "nothing").write_bytes(b"a packed archive of motion")
    archive.main("casiab")
    assert json.loads(Path(LISTING).read_text())["file_count"] == 1


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, with DVC."""
    return workspace(tmp_path_factory.mktemp("official") / "project")


def set_archive(copy: Path, named: str, archives: dict[str, str]) -> None:
    yaml, path = YAML(), copy / "params.yaml"
    params = yaml.load(path)
    params["archives"] = archives
    params["datasets"]["casiab"] |= {"source": "official", "archive": named}
    params["validate"]["casiab"] |= {"min_frames": 3, "max_bad_share": 0.5}
    params["silhouettes"]["casiab"] |= {"method": "layout", "size_hw": [16, 12]}
    yaml.dump(params, path)


def stages_run(copy: Path, target: str) -> set[str]:
    lines = run(["dvc", "repro", target], copy).stdout.splitlines()
    return {line.split("'")[1] for line in lines if line.startswith("Running stage")}


def test_what_changes_behind_a_link_runs_again_what_depends_on_it_and_nothing_else(copy: Path, tmp_path: Path, disk: Path):
    shutil.move(disk / "silhouettes", tmp_path / "silhouettes")
    (disk / "silhouettes").symlink_to(tmp_path / "silhouettes")
    picture = tmp_path / "silhouettes/002/nm-01/090/002-nm-01-090-002.png"
    right = picture.read_bytes()
    shutil.rmtree(disk / "video")  # frames are the silhouettes
    picture.write_bytes(b"")
    set_archive(copy, LISTING, {"casiab": str(disk)})
    ran = partial(stages_run, copy, "silhouettes@casiab")
    assert ran() == {"archive@casiab", "ingest@casiab", "validate@casiab", "silhouettes@casiab"}
    assert len(pd.read_csv(copy / "data/valid/casiab/quarantine.csv")) == 1
    assert ran() == {"archive@casiab"}
    picture.write_bytes(right)
    assert ran() == {"archive@casiab", "ingest@casiab", "validate@casiab", "silhouettes@casiab"}
    assert len(pd.read_csv(copy / "data/valid/casiab/quarantine.csv")) == 0
    shutil.move(tmp_path / "silhouettes/002", tmp_path / "gone")
    (disk / "ids-validation.txt").write_text("")
    assert ran() == {"archive@casiab", "ingest@casiab", "validate@casiab", "silhouettes@casiab"}
    assert set(pd.read_csv(copy / "data/valid/casiab/clips.csv")["subject_id"]) == {1, 3}


def test_where_dvc_itself_looks_it_sees_changes_of_files_and_of_what_a_link_to_a_file_leads_to(
    copy: Path, tmp_path: Path, disk: Path
):
    pictures = [disk / f"silhouettes/00{person}/nm-01/090/00{person}-nm-01-090-002.png" for person in (1, 2)]
    elsewhere = Path(shutil.move(pictures[0], tmp_path / "elsewhere.png"))
    pictures[0].symlink_to(elsewhere)
    shutil.rmtree(disk / "video")
    set_archive(copy, str(disk), {})
    ran = partial(stages_run, copy, "validate@casiab")
    ran()
    for picture, faults in ((elsewhere, 1), (pictures[1], 2)):
        assert ran() == set()
        picture.write_bytes(b"")
        assert ran() == {"ingest@casiab", "validate@casiab"}
        assert len(pd.read_csv(copy / "data/valid/casiab/quarantine.csv")) == faults
