"""A full disk: what DVC leaves of dvc.lock, what the flows say about it, and that the advice works."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import graph
from pipelines.commands import Failed

DVC_YAML = """
stages:
  fill:
    cmd: python fill.py
    deps: [fill.py]
  made:
    cmd: mkdir -p out && head -c 20 /dev/urandom > out/made
    deps: [fill.py]
    outs: [out/made]
"""
FILL = """
import os
if os.environ["FULL"] == "true":
    with open("filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
"""


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project on a file system of 2 MB, in which one stage fills the rest."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0:
        pytest.skip("a small file system is mounted as root only")
    if (done := subprocess.run(mount, capture_output=True, text=True)).returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        monkeypatch.chdir(tmp_path)
        Path("dvc.yaml").write_text(DVC_YAML)
        Path("fill.py").write_text(FILL)
        assert dvc("init", "--no-scm", "--quiet").returncode == 0
        yield tmp_path
    finally:
        monkeypatch.undo()
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def dvc(*arguments: str, full: bool = False) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("dvc"))
    environment = {**os.environ, "FULL": str(full).lower(), "PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, timeout=200)


def test_a_record_that_a_full_disk_cut_off_is_named_with_what_to_do_and_that_helps(small_disk: Path):
    assert dvc("repro", "made").returncode == 0
    result = Path("out/made").read_bytes()
    Path("dvc.lock").unlink()
    done = dvc("repro", "fill", full=True)
    assert "No space left on device" in done.stderr
    assert Path("dvc.lock").stat().st_size == 0
    Path("filler").unlink()
    assert "validation failed" in dvc("repro").stderr, "room alone does not help"
    with pytest.raises(Failed, match=r"dvc.lock is empty or cut off.*Make room.*git checkout -- dvc.lock.*or remove it"):
        graph.read()
    Path("dvc.lock").unlink()
    assert dvc("repro").returncode == 0
    assert Path("out/made").read_bytes() == result, "the run cache had it"
    assert set(graph.read_lock()) == {"fill", "made"}


@pytest.mark.parametrize(
    "content", [b"", b"schema: '2.0'\n", b"schema: '2.0'\nstages:\n  a: {cmd: x", b"\0\0\0", b"\xff", b"3"]
)
def test_every_form_of_a_damaged_record_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes):
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_bytes(content)
    with pytest.raises(Failed, match=r"dvc\.lock is empty or cut off"):
        graph.read_lock()
    Path("dvc.lock").unlink()
    assert graph.read_lock() == {}


def test_a_record_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    graph.write_lock({"a": {"cmd": "x"}})
    assert graph.read_lock() == {"a": {"cmd": "x"}}
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.lock"]
