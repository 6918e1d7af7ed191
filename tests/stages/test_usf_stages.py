"""Real silhouettes from the tensors to foregrounds: ingest, validate, silhouettes and foregrounds of USF HumanID."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from scipy.io import loadmat, savemat

from people import schemas
from people.datasets import usf
from people.storage.store import Store
from stages import configure, foregrounds, ingest, silhouettes, validate

PEOPLE = 6


@pytest.fixture(scope="module")
def disk(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The half cycles of the first people of the published tensors."""
    folder = tmp_path_factory.mktemp("usf")
    for name in ("gait_gallery_data.mat", "PrbA.mat"):
        entries = loadmat(real_data / "usf-silhouettes" / name)
        few = entries["gnd"].ravel() <= PEOPLE
        savemat(folder / name, {"fea3D": entries["fea3D"][..., few], "gnd": entries["gnd"][few]})
    return folder


def blocks(root: Path, archive: Path) -> dict:
    """The blocks of the profile usf, with an archive."""
    added = YAML(typ="safe").load(configure.PROFILES / "usf.yaml")["add"]
    added["datasets"]["usf"]["archive"] = str(archive)
    return {"seed": YAML(typ="safe").load(root / "params.yaml")["seed"], **added}


def test_real_half_cycles_pass_through_every_stage_up_to_foregrounds(
    root: Path, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEOPLE_STATE", raising=False)
    YAML().dump(blocks(root, disk), Path("params.yaml"))
    for stage in (ingest, validate, silhouettes, foregrounds):
        stage.main("usf")
    assert "left unread" not in capsys.readouterr().out
    assert json.loads(Path("data/raw/usf/source.json").read_text()) == {"source": "official"}
    valid = schemas.load(Path("data/valid/usf/clips.csv"))
    assert len(pd.read_csv("data/valid/usf/quarantine.csv")) == 0
    assert valid["clip_id"].tolist() == usf.read(disk)["clip_id"].tolist()
    assert valid["content"].nunique() == 2  # one for each file
    found, pictures = Store.open("data/silhouettes/usf"), Store.open("data/foregrounds/usf")
    assert found.clips["clip_id"].tolist() == pictures.clips["clip_id"].tolist() == valid["clip_id"].tolist()
    assert pictures.meta["silhouettes"] == found.digest
    assert pictures.field("foreground").shape == (10 * len(valid), 64, 32, 3)
    assert not np.ptp(pictures.field("foreground").astype(int), axis=-1).any()  # the person is white
    shown = pictures.field("foreground")[..., 0] > 127
    assert 0.2 < shown.mean() < 0.7
    row = valid.iloc[0]
    area = np.mean([mask.mean() / 255 * mask.size for mask in usf.masks(disk, row["masks"])])
    assert (shown[:10].sum((1, 2)).mean() / 4) == pytest.approx(area, rel=0.1)  # a pixel of 32 rows is four of 64


def test_a_replaced_file_changes_the_index(root: Path, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEOPLE_STATE", raising=False)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in disk.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    YAML().dump(blocks(root, copy), Path("params.yaml"))
    ingest.main("usf")
    before = schemas.load(Path("data/index/usf/clips.csv"))
    entries = loadmat(copy / "PrbA.mat")
    entries["fea3D"][0, 0, 0, 0] ^= 1
    savemat(copy / "PrbA.mat", {name: entries[name] for name in ("fea3D", "gnd")})
    ingest.main("usf")
    after = schemas.load(Path("data/index/usf/clips.csv"))
    changed = before["content"] != after["content"]
    assert set(before["sequence"][changed]) == {"A"}
    assert changed.sum() == (before["sequence"] == "A").sum()


def test_nobody_is_rendered_into_this_layout(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    made = blocks(root, tmp_path)
    made["datasets"]["usf"]["source"] = "parametric"
    YAML().dump(made, Path("params.yaml"))
    with pytest.raises(ValueError, match=r"nobody is rendered into the layout of usf; set datasets\.usf\.source to official"):
        ingest.main("usf")
