"""A registered checkpoint is trained again, in a clone of its commit, to the same bytes; what is missing is named."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import fewest, only, run, workspace
from registry_workspace import selected
from ruamel.yaml import YAML

from people import checkpoints
from people.storage.serialization import serialize
from stages.rebuilding import rebuild
from stages.registration import lineage

pytestmark = pytest.mark.servers  # a project is run, and trained again twice: minutes


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project under git whose stage train@dmt has run."""
    folder = workspace(tmp_path_factory.mktemp("lineage") / "project")
    run([sys.executable, "-m", "stages.configure", "--profile", "small"], folder)
    only(folder, "dmt")
    fewest(folder)
    run(["git", "add", "--all"], folder)
    run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "project"], folder)
    run(["dvc", "repro", "train@dmt"], folder)
    return folder


def record_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[lineage.Record, Path]:
    """The lineage of the checkpoint in a project, made in that folder."""
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "PEOPLE_STATE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    checkpoint = Path("data/models/dmt/checkpoint.pt")
    reads = {slot: Path("data/flow/tumgaid") for slot in ("frames", "poses")}
    return lineage.record("dmt", selected(checkpoint, -0.5), reads, {"metric": 1.0}), checkpoint


def test_a_training_is_rebuilt_to_the_same_bytes_from_the_commit_and_the_cache(trained: Path, monkeypatch: pytest.MonkeyPatch):
    record, checkpoint = record_of(trained, monkeypatch)
    assert list(record["stages"]) == ["train@dmt", "flow@tumgaid", "ingest@tumgaid", "validate@tumgaid"]
    assert (record["git"]["dirty"], record["changed_since"]) == (False, [])
    told: list[str] = []
    rebuilt = rebuild.rebuild(record, checkpoint, told.append)
    assert rebuilt == rebuild.Rebuilt(record["checkpoint"]["sha256"], [])
    assert told == []
    assert list(Path(".state/rebuild").iterdir()) == []
    assert subprocess.run(["git", "status", "--short", "--", ":!dvc.lock"], capture_output=True, text=True).stdout == ""


def test_it_is_rebuilt_in_a_renamed_folder_with_inputs_made_again_and_files_that_were_never_committed(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    moved = tmp_path / "renamed # 1"
    shutil.copytree(trained, moved, symlinks=True)
    source = moved / "people/nn/blocks.py"
    source.write_text(source.read_text() + "\n# a change without effect\n")
    record, checkpoint = record_of(moved, monkeypatch)
    assert record["changed_since"] == ["people/nn"]
    assert list(record["git"]["changed"]) == ["people/nn/blocks.py"]
    shutil.rmtree(".dvc/cache")
    told: list[str] = []
    rebuilt = rebuild.rebuild(record, checkpoint, told.append)
    assert rebuilt.sha256 == record["checkpoint"]["sha256"]
    assert told == [
        "changed after the training, and recorded as they were at the registration: people/nn",
        f"not as in commit {record['git']['commit'][:12]}, and taken from this folder: people/nn/blocks.py",
        "dvc's cache lacks data/flow/tumgaid: flow@tumgaid makes it again",
    ]


def test_files_that_are_nowhere_any_more_are_named_and_nothing_is_trained(trained: Path, monkeypatch: pytest.MonkeyPatch):
    record, checkpoint = record_of(trained, monkeypatch)
    record["files"] |= {"people/nn/blocks.py": "0" * 32, "stages/train.py": "1" * 32}
    monkeypatch.setattr(rebuild, "train", lambda *_: pytest.fail("trained"))
    with pytest.raises(ValueError, match=r"the training read 2 files .* people/nn/blocks\.py, stages/train\.py"):
        rebuild.rebuild(record, checkpoint)


def test_a_commit_that_is_not_here_and_a_training_without_dvc_are_refused(trained: Path, monkeypatch: pytest.MonkeyPatch):
    record, checkpoint = record_of(trained, monkeypatch)
    with pytest.raises(ValueError, match="this repository has no commit 0123"):
        rebuild.rebuild(record | {"git": record["git"] | {"commit": "0123"}}, checkpoint)
    with pytest.raises(ValueError, match="outside a repository"):
        rebuild.rebuild(record | {"git": record["git"] | {"commit": None}}, checkpoint)
    with pytest.raises(ValueError, match="trained without dvc"):
        rebuild.rebuild(record | {"stages": {}}, checkpoint)


def test_the_table_names_other_weights_inputs_and_versions(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record, checkpoint = record_of(trained, monkeypatch)
    entries = checkpoints.read(checkpoint)
    first = next(iter(entries["network"]))
    weights = {**entries["network"], first: entries["network"][first] + 0.25}
    other = tmp_path / "other.pt"
    other.write_bytes(serialize({**entries, "network": weights}))
    record["packages"] |= {"torch": "1.0"}
    for dep in record["stages"]["train@dmt"]["deps"]:
        dep["md5"] = "0" * 32 if dep["path"] == "data/flow/tumgaid" else dep["md5"]
    rows = {row.what: row for row in rebuild.differences(record, checkpoint, other, trained)}
    assert list(rows) == ["checkpoint, SHA-256", "data/flow/tumgaid", "weights", "torch"]
    assert rows["weights"].today == "1 differ, by 0.25 at most"
    assert rows["torch"].recorded == "1.0"
    assert rebuild.differences(record, checkpoint, checkpoint, trained) == []


def test_networks_of_other_shapes_are_told_apart():
    recorded, made = ({"network": {"weight": torch.zeros(size)}, "epoch": 1} for size in (2, 3))
    (row,) = rebuild.of_weights(recorded, made)
    assert "other shapes" in row.today


def test_a_tuned_checkpoint_is_rebuilt_with_its_own_weights_seed_and_a_single_device(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    record, checkpoint = record_of(trained, monkeypatch)
    objective = checkpoints.read(checkpoint)["config"]["objective"]
    found = {**objective, "lambda": {**objective["lambda"], "gender": 0.7}}
    tuned = tmp_path / "tuned.pt"
    entries = checkpoints.read(checkpoint)
    tuned.write_bytes(serialize({**entries, "config": {**entries["config"], "objective": found}}))
    shutil.copy2("params.yaml", tmp_path)
    rebuild.write_parameters(
        record | {"study": {"trial": 3}, "final": {"weights": "found", "seed": 7}, "seed": 7}, tuned, tmp_path
    )
    written = YAML(typ="safe").load(tmp_path / "params.yaml")
    assert written["seed"] == 7
    assert written["systems"]["dmt"]["objective"]["lambda"]["gender"] == 0.7
    assert written["systems"]["dmt"]["training"]["devices"] == 1
    with pytest.raises(ValueError, match="that of a trial"):
        rebuild.write_parameters(record | {"study": {"trial": 3}, "final": None}, tuned, tmp_path)
