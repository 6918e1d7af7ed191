"""Official archives in a project: what changes in them changes the index, wherever they lie and whatever links they have."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import run, workspace
from reachability import ROOT, reachable, with_code
from ruamel.yaml import YAML

from people import schemas
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


def configure(named: str | Path, archives: dict[str, str] | None = None) -> None:
    Path("params.yaml").write_text(BLOCK.format(archive=named, archives=json.dumps(archives or {})))


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


def test_what_changes_behind_a_link_runs_again_what_depends_on_it_and_nothing_else(copy: Path, tmp_path: Path, disk: Path):
    shutil.move(disk / "silhouettes", tmp_path / "silhouettes")
    (disk / "silhouettes").symlink_to(tmp_path / "silhouettes")
    picture = tmp_path / "silhouettes/002/nm-01/090/002-nm-01-090-002.png"
    right = picture.read_bytes()
    shutil.rmtree(disk / "video")  # frames are the silhouettes
    picture.write_bytes(b"")
    yaml, path = YAML(), copy / "params.yaml"
    params = yaml.load(path)
    params["archives"] = {"casiab": str(disk)}
    params["datasets"]["casiab"] |= {"source": "official", "archive": LISTING}
    params["validate"]["casiab"] |= {"min_frames": 3, "max_bad_share": 0.5}
    params["silhouettes"]["casiab"] |= {"method": "layout", "size_hw": [16, 12]}
    yaml.dump(params, path)

    def ran() -> set[str]:
        lines = run(["dvc", "repro", "silhouettes@casiab"], copy).stdout.splitlines()
        return {line.split("'")[1] for line in lines if line.startswith("Running stage")}

    assert ran() == {"archive@casiab", "ingest@casiab", "validate@casiab", "silhouettes@casiab"}
    assert len(pd.read_csv(copy / "data/valid/casiab/quarantine.csv")) == 1
    assert ran() == {"archive@casiab"}
    picture.write_bytes(right)
    assert ran() == {"archive@casiab", "ingest@casiab", "validate@casiab", "silhouettes@casiab"}
    assert len(pd.read_csv(copy / "data/valid/casiab/quarantine.csv")) == 0
