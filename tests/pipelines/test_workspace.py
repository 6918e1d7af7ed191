"""The checks of a checkout before its stages are sent to workers that clone it."""

import subprocess
from pathlib import Path

import pytest

from pipelines import workspace
from pipelines.commands import Failed


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of a repository with a source file, parameters and a record of what was made from them."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "someone@localhost")
    git("init", "--quiet", "--bare", "--initial-branch=main", str(tmp_path / "origin"))
    git("clone", "--quiet", str(tmp_path / "origin"), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    Path("people").mkdir()
    for name in ("people/metrics.py", "params.yaml", "dvc.lock"):
        Path(name).write_text("1\n")
    commit("the project")
    git("push", "--quiet", "origin", "HEAD:main")
    return tmp_path / "clone"


def commit(message: str) -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", message)


def test_a_commit_on_the_origin_is_accepted_with_other_parameters_and_untracked_notes(checkout: Path):
    Path("params.yaml").write_text("2\n")
    Path("dvc.lock").write_text("2\n")
    Path("notes.txt").write_text("a note\n")
    assert workspace.published_commit() == git("rev-parse", "HEAD")


@pytest.mark.parametrize("file", ["people/metrics.py", "people/new.py"])
def test_source_that_is_changed_or_new_and_not_committed_is_refused(checkout: Path, file: str):
    Path(file).write_text("2\n")
    with pytest.raises(Failed, match=rf"{file} changed and not committed.*commit and push"):
        workspace.published_commit()


def test_a_commit_that_was_not_pushed_is_refused_until_it_is(checkout: Path):
    Path("people/metrics.py").write_text("2\n")
    commit("a change")
    with pytest.raises(Failed, match="push first"):
        workspace.published_commit()
    git("push", "--quiet", "origin", "HEAD:main")
    assert workspace.published_commit() == git("rev-parse", "HEAD")


def test_a_commit_that_others_have_built_on_is_on_the_origin(checkout: Path, tmp_path: Path):
    git("clone", "--quiet", str(tmp_path / "origin"), str(tmp_path / "other"))
    git("-C", str(tmp_path / "other"), "commit", "--quiet", "--allow-empty", "--message", "another's")
    git("-C", str(tmp_path / "other"), "push", "--quiet", "origin", "HEAD:main")
    git("update-ref", "-d", "refs/remotes/origin/main")
    assert workspace.published_commit() == git("rev-parse", "HEAD")
