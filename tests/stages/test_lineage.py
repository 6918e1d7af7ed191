"""A registered checkpoint's lineage: walked back through dvc.lock, told, and its numbers computed again."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import run
from flow_stores import write_checkpoint, write_store
from registry_workspace import SCORE, selected, use
from ruamel.yaml import YAML

from people import checkpoints
from people.storage.store import stores_digest
from pipelines import commands
from stages import lineage as command
from stages import register
from stages.rebuilding import reproduction
from stages.registration import lineage

MD5 = {name: hashlib.md5(name.encode()).hexdigest() for name in "abcdefg"}


def entry(deps: dict[str, str], outs: dict[str, str], **params: Any) -> dict[str, Any]:
    """A stage as dvc.lock has it."""
    listed = ([{"path": path, "hash": "md5", "md5": md5} for path, md5 in paths.items()] for paths in (deps, outs))
    deps_of_lock, outs_of_lock = listed
    return {"cmd": "python", "deps": deps_of_lock, "outs": outs_of_lock, "params": {"params.yaml": params}}


LOCK = {
    "ingest@x": entry({"code/a.py": MD5["a"]}, {"data/raw/x": MD5["b"], "data/index/x": MD5["c"]}, seed=1),
    "validate@x": entry({"data/raw/x": MD5["b"], "data/index/x": MD5["c"]}, {"data/valid/x": MD5["d"]}),
    "flow@x": entry({"data/raw/x": MD5["b"], "data/valid/x": MD5["d"]}, {"data/flow/x": MD5["e"]}),
    "train@s": entry({"data/flow/x": MD5["e"], "code/f.py": MD5["f"]}, {"data/models/s": MD5["g"]}),
    "train@other": entry({"data/flow/y": MD5["a"]}, {"data/models/other": MD5["b"]}),
}


def test_every_stage_before_the_training_is_found_and_no_other():
    assert list(lineage.upstream(LOCK, "train@s")) == ["train@s", "flow@x", "ingest@x", "validate@x"]
    assert lineage.upstream(LOCK, "train@other") == {"train@other": LOCK["train@other"]}
    assert lineage.upstream(LOCK, "tune@s") == {}


def test_a_folder_has_the_hash_that_dvc_gives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("code/b.py", "code/a-b.py", "code/a/x.py", "code/a/__pycache__/x.pyc", "code/Z.py"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    Path(".dvcignore").write_text("__pycache__\n")
    for line in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], ["dvc", "add", "--quiet", "code"]):
        run(line, tmp_path)
    added = YAML(typ="safe").load(Path("code.dvc"))["outs"][0]
    files = lineage.folder_files(Path("code"))
    assert lineage.folder_md5(Path("code"), files) == added["md5"]
    assert len(files) == added["nfiles"] == 4


def test_files_are_listed_one_by_one_and_those_that_changed_since_the_stage_ran_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("people/nn/__init__.py", "people/nn/blocks.py", "people/__init__.py", "stages/train.py", "dvc.yaml"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    folder = lineage.folder_md5(Path("people/nn"), lineage.folder_files(Path("people/nn")))
    deps = {
        "people/nn": folder,
        "stages/train.py": MD5["a"],
        "data/flow/x": MD5["e"],
        "/archives/x": MD5["b"],
        "gone.py": MD5["c"],
    }
    entries = {"train@s": entry(deps, {}), "flow@x": entry({}, {"data/flow/x": MD5["e"]})}
    files, changed = lineage.code_files(entries)
    assert set(files) == {
        "people/nn/__init__.py", "people/nn/blocks.py", "people/__init__.py", "stages/train.py", "dvc.yaml"
    }  # fmt: skip
    assert files["stages/train.py"] == hashlib.md5(b"stages/train.py").hexdigest()
    assert changed == ["gone.py", "stages/train.py"]


# --- the record, and its numbers again --------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A folder outside git and dvc with a store, an untrained checkpoint and its metrics; what `record` takes."""
    monkeypatch.chdir(tmp_path)
    for name in lineage.FLOW_RUN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    store = write_store(Path("data/flow/tumgaid"), subjects=3)
    checkpoint = write_checkpoint(Path("data/models/dmt/checkpoint.pt"), store, seed=0)
    block = {"dataset": "tumgaid", "reads": {"frames": str(store), "poses": str(store)}, "training": {}}
    YAML().dump({"seed": 1, "systems": {"dmt": block}, "score": {"dmt": SCORE}}, Path("params.yaml"))
    reads = {"frames": store, "poses": store}
    network, entries = checkpoints.load(checkpoint)
    record = {"system": "dmt", "parameters": {**block, "score": SCORE}, "evaluation_seed": 1}
    metrics = reproduction.metrics(record, network, entries, reads)
    return {"system": "dmt", "selected": selected(checkpoint, -0.5), "reads": reads, "metrics": metrics}


def test_a_record_is_json_and_says_what_is_not_known(project: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PEOPLE_FLOW_RUN", "5d3c")
    record = lineage.record(**project)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["checkpoint"]["sha256"] == project["selected"]["sha256"]
    assert record["data_digest"] == stores_digest(project["reads"])
    assert (record["seed"], record["study"], record["stages"], record["flow_run"]) == (1, None, {}, "5d3c")
    assert record["git"] == {"commit": None, "dirty": None, "changed": {}}
    assert record["packages"]["torch build"].startswith(torch.__version__)
    assert record["machine"]["threads"] == torch.get_num_threads()


def test_git_names_changed_and_new_and_deleted_files_by_their_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("same", "changed", "deleted"):
        Path(name).write_text(name)
    for line in ("git init -q", "git add .", "git -c user.name=a -c user.email=a@b.c commit -qm first"):
        subprocess.run(line.split(), check=True)
    assert lineage.git()["dirty"] is False
    Path("changed").write_text("otherwise")
    Path("deleted").unlink()
    Path("näu #1").write_text("new")
    found = lineage.git()
    assert found["dirty"]
    expected = {name: hashlib.md5(text).hexdigest() for name, text in {"changed": b"otherwise", "näu #1": b"new"}.items()}
    assert found["changed"] == expected | {"deleted": None}


def test_the_numbers_of_a_record_come_out_again_to_the_last_digit(project: dict[str, Any]):
    record, checkpoint = lineage.record(**project), Path(project["selected"]["checkpoint"])
    assert reproduction.data_differ(record, project["reads"]) == ""
    assert reproduction.reproduce(record, checkpoint, project["reads"]) == []
    name = "verification.auc"
    record["metrics"][name] = float.fromhex(float.hex(record["metrics"][name])) * (1 + 2**-52)
    record["validation"]["score"] += 0.5
    record["metrics"]["only.recorded"] = 1.0
    rows = reproduction.reproduce(record, checkpoint, project["reads"])
    assert [row.name for row in rows] == ["validation score", name, "only.recorded"]
    assert rows[-1].today is None


def test_other_data_are_told_first_and_another_checkpoint_is_refused(project: dict[str, Any]):
    record = lineage.record(**project)
    other = write_store(Path("data/flow/other"), subjects=3, seed=6)
    reads = {"frames": other, "poses": other}
    assert "the data are others than recorded" in reproduction.data_differ(record, reads)
    assert reproduction.reproduce(record, Path(project["selected"]["checkpoint"]), reads)
    another = write_checkpoint(Path("another.pt"), other, seed=1)
    with pytest.raises(ValueError, match=r"has SHA-256 \w+, but \w+ was recorded"):
        reproduction.reproduce(record, another, project["reads"])


def test_numbers_within_the_tolerance_are_equal():
    recorded, today = {"a": 100.0, "b": 0.0, "c": 1.0}, {"a": 100.05, "b": 0.0005, "c": 1.01}
    assert [row.name for row in reproduction.unequal(recorded, today, 1e-3)] == ["c"]
    assert [row.name for row in reproduction.unequal(recorded, today)] == ["a", "b", "c"]


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    capsys.readouterr()
    sys.argv[1:] = arguments
    try:
        command.main()
    except SystemExit as error:
        return int(error.code or 0), capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_the_command_tells_and_checks_a_registered_version(
    project: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    use(Path.cwd(), monkeypatch)
    monkeypatch.setattr(sys, "argv", ["lineage"])
    register.register("dmt", project["selected"], project["metrics"], project["reads"])
    code, text = told(capsys, "dmt@champion")
    assert code == 0
    for fact in (project["selected"]["sha256"], stores_digest(project["reads"]), "git commit", "torch build"):
        assert fact in text, fact
    record = json.loads(told(capsys, "dmt@1", "--json")[1])
    assert record["metrics"] == lineage.plain(project["metrics"])
    code, text = told(capsys, "dmt@1", "--check", "--onnx")
    assert code == 0, text
    count = len(project["metrics"])
    assert f"the validation score and all {count} test metrics are as recorded, to the last digit" in text
    left_out = [name for name in project["metrics"] if name.startswith("identification.softmax_product.")]
    compared = count - len(left_out)
    assert left_out
    assert f"through ONNX Runtime {compared} of {compared} test metrics are as recorded, to 0.001; {len(left_out)} are" in text
    with pytest.raises(ValueError, match="the registry has no dmt@7"):
        command.resolve("dmt@7")
    write_store(Path("other"), subjects=3, seed=8)
    shutil.rmtree("data/flow/tumgaid")
    shutil.move("other", "data/flow/tumgaid")
    code, text = told(capsys, "dmt@champion", "--check")
    assert code == 1
    assert text.startswith("the data are others than recorded")
    assert "verification.auc" in text


@pytest.mark.parametrize("address", ["dmt", "dmt@", "@champion", ""])
def test_an_address_without_a_model_or_a_version_is_refused(address: str):
    with pytest.raises(ValueError, match="expected <model>@<alias or version>"):
        command.resolve(address)


def test_a_stage_that_a_flow_runs_is_told_the_id_of_the_flow_run(monkeypatch: pytest.MonkeyPatch):
    line = ["sh", "-c", "echo ran in $PEOPLE_FLOW_RUN"]
    run_in_flow = SimpleNamespace(runtime=SimpleNamespace(flow_run=SimpleNamespace(id="5d3c")))
    outside = SimpleNamespace(runtime=SimpleNamespace(flow_run=SimpleNamespace(id=None)))
    for prefect, told in ((run_in_flow, "ran in 5d3c"), (outside, "ran in"), (None, "ran in")):
        monkeypatch.setitem(sys.modules, "prefect", prefect)
        assert commands.run(line, lambda _: None) == [told]
    assert lineage.FLOW_RUN_VARIABLES[0] == commands.FLOW_RUN
