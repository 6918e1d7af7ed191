"""Versions: a run's params.yaml and dvc.lock as a commit that needs no branch, restored by name."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import differences, versions, workspace
from pipelines.commands import Failed

DVC_YAML = """
stages:
  evaluate:
    cmd: python make.py
    deps: [make.py]
    params: [amount]
    outs: [data/models/one]
    metrics: [data/metrics/one.json]
"""
MAKE = """
import json, os, pathlib, yaml
size = yaml.safe_load(open("params.yaml"))["amount"]
for folder in ("data/models/one", "data/metrics"): os.makedirs(folder, exist_ok=True)
pathlib.Path("data/models/one/checkpoint.pt").write_bytes(os.urandom(1000 * size))
pathlib.Path("data/metrics/one.json").write_text(json.dumps({"rank_1": size / 10, "parts": {"N": size}}))
"""


def sh(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of one stage with a random result, with a remote."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "someone@localhost")
    files = {"dvc.yaml": DVC_YAML, "make.py": MAKE, "params.yaml": "amount: 1  # kept\n", ".gitignore": "/data/\n"}
    for name, text in files.items():
        Path(name).write_text(text)
    sh("git", "init", "--quiet", "--initial-branch=main")
    sh("dvc", "init", "--quiet")
    sh("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    sh("git", "add", ".")
    sh("git", "commit", "--quiet", "--message", "the project")
    return folder


def reproduce(size: int) -> bytes:
    """Run the pipeline with this size; the model's bytes."""
    Path("params.yaml").write_text(f"amount: {size}  # kept\n")
    sh("dvc", "repro", "--quiet")
    workspace.push([], lambda _: None)
    return Path("data/models/one/checkpoint.pt").read_bytes()


def test_a_version_is_restored_byte_for_byte_even_without_the_local_cache(project: Path):
    first = reproduce(1)
    versions.record("early-otter")
    second = reproduce(2)
    versions.record("late-otter")
    assert first != second
    sh("rm", "-rf", ".dvc/cache", "data")
    versions.restore("early-otter")
    assert Path("data/models/one/checkpoint.pt").read_bytes() == first
    assert Path("params.yaml").read_text() == "amount: 1  # kept\n"
    assert json.loads(sh("dvc", "status", "--json")) == {}
    versions.restore("late-otter")
    assert Path("data/models/one/checkpoint.pt").read_bytes() == second


def test_a_version_has_the_commit_the_digests_and_the_metrics(project: Path):
    reproduce(3)
    version = versions.record("otter")
    assert version.commit == sh("git", "rev-parse", "HEAD").strip()
    assert version.lock_md5 == hashlib.md5(Path("dvc.lock").read_bytes()).hexdigest()
    assert version.metrics == {"data/metrics/one.json": {"rank_1": 0.3, "parts.N": 3}}
    assert set(version.outs["evaluate"]) == {"data/models/one", "data/metrics/one.json"}
    assert versions.list_versions() == [version] == [versions.find("otter")]


def test_the_users_checkout_does_not_change(project: Path):
    reproduce(1)
    Path("make.py").write_text(MAKE + "# being edited\n")
    sh("git", "add", "make.py")
    before = sh("git", "status", "--porcelain=v2", "--branch"), sh("git", "log", "--format=%H", "--branches")
    versions.record("otter")
    assert (sh("git", "status", "--porcelain=v2", "--branch"), sh("git", "log", "--format=%H", "--branches")) == before


def test_a_branch_grows_by_a_commit_a_run_and_a_tag_names_one(project: Path):
    reproduce(1)
    versions.record("first", branch="results", tag="v1")
    reproduce(2)
    versions.record("second", branch="results")
    assert sh("git", "log", "--format=%s", "results").splitlines() == ["Version second", "Version first", "the project"]
    assert sh("git", "show", "v1:params.yaml").startswith("amount: 1")
    assert "amount: 2" in sh("git", "show", "results:params.yaml")


def test_the_branch_that_is_checked_out_is_refused_and_nothing_is_recorded(project: Path):
    reproduce(1)
    with pytest.raises(Failed, match="another branch"):
        versions.record("otter", branch="main")
    assert versions.list_versions() == []


@pytest.mark.parametrize("names", [{"branch": "two words"}, {"tag": "a..b"}, {"tag": "taken"}])
def test_a_name_that_git_refuses_or_that_names_another_version_is_refused_and_nothing_is_recorded(project: Path, names: dict):
    reproduce(1)
    sh("git", "tag", "taken")
    commits = sh("git", "count-objects")
    with pytest.raises(Failed, match=r"choose another|name another"):
        versions.record("otter", **names)
    assert versions.list_versions() == []
    assert sh("git", "count-objects") == commits


def test_a_published_version_reaches_other_clones(project: Path, tmp_path: Path):
    sh("git", "clone", "--quiet", "--bare", ".", str(tmp_path / "origin"))
    sh("git", "remote", "add", "origin", str(tmp_path / "origin"))
    reproduce(1)
    versions.record("otter", tag="v1", publish=True)
    assert sh("git", "--git-dir", str(tmp_path / "origin"), "for-each-ref", "--format=%(refname)").split() == [
        "refs/heads/main",
        "refs/tags/v1",
        "refs/versions/otter",
    ]


def test_a_comparison_names_parameters_stages_and_metrics_that_changed(project: Path):
    reproduce(1)
    old = versions.record("old")
    reproduce(2)
    lines = versions.comparison(old, versions.record("new"))
    assert lines[1:] == [
        "amount: 1 -> 2",
        "evaluate: other results",
        "one.rank_1: 0.1000 -> 0.2000 (+0.1000)",
        "one.parts.N: 1.0000 -> 2.0000 (+1.0000)",
    ]


def test_parameters_of_two_systems_that_have_the_same_name_are_told_apart():
    old = {"search": {"dmt": {"trials": 2, "ranges": {}}, "reid": {"trials": 2}}, "seed": 1}
    new = {
        "search": {"dmt": {"trials": 4, "ranges": {"age": [0, 1]}}, "reid": {"trials": 3}},
        "note": "a",
    }
    assert differences.parameter_changes(differences.leaves(old), differences.leaves(new)) == [
        "search.dmt.trials: 2 -> 4",
        "search.dmt.ranges.age: none -> [0, 1]",
        "search.reid.trials: 2 -> 3",
        'note: none -> "a"',
        "search.dmt.ranges: {} -> none",
        "seed: 1 -> none",
    ]


def test_metrics_that_only_one_version_has_are_listed():
    assert differences.metric_changes("dmt", {"a": 1, "b": 2}, {"a": 1, "c": 0.5}) == [
        "dmt.c: none -> 0.5000",
        "dmt.b: 2.0000 -> none",
    ]


def test_parameters_that_are_in_no_version_are_backed_up(project: Path):
    reproduce(1)
    versions.record("otter")
    Path("params.yaml").write_text("amount: 7  # not run yet\n")
    versions.restore("otter")
    assert Path("params.yaml.before-otter").read_text() == "amount: 7  # not run yet\n"


def test_an_unknown_version_is_refused_with_the_existing_ones(project: Path):
    reproduce(1)
    versions.record("otter")
    with pytest.raises(SystemExit, match=r"no version 'oter'.*otter"):
        versions.restore("oter")


def test_every_run_makes_a_version_of_its_own_whatever_it_is_called(project: Path):
    reproduce(1)
    names = [versions.record(name).name for name in ("an otter: 2nd try", "an otter: 2nd try", "..")]
    assert names == ["an-otter-2nd-try", "an-otter-2nd-try-2", "run"]
    assert {version.flow_run for version in versions.list_versions()} == {"an otter: 2nd try", ".."}


@pytest.mark.parametrize("name", ["", "-x", "a b", "x:dvc.lock", "x^{/y}", "../heads/main", "nobody"])
def test_a_name_that_no_version_can_have_is_refused_like_one_that_none_has(project: Path, name: str):
    with pytest.raises(SystemExit, match="there is no version"):
        versions.find(name)
