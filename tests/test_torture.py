"""Stages that are killed at random moments, a study with a killed helper, a disk that fills: nothing is lost or left behind.

`make torture`, a quarter of an hour. Each test prints what it did as a line of a table (`-s` shows them as they come).
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from people import systems

pytestmark = pytest.mark.torture
STAGES = {"train": "models", "tune": "studies", "compare": "compare", "evaluate": "metrics"}
RUNS = [(stage, system) for system in systems.names() for stage in STAGES]
KILLS, SEED = 12, 4
LONGEST_S = 300.0
LATEST_KILL_S = 7.0  # the shortest of these stages takes about as long
ROOM_BYTES = 2**26  # what a stage may need beside the run's own size


@pytest.fixture(scope="module")
def project(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with everything that was trained or judged taken away."""
    copy = tmp_path_factory.mktemp("torture") / "project"
    shutil.copytree(small_run, copy, ignore=shutil.ignore_patterns(".git", ".dvc", ".state"))
    for folder in STAGES.values():
        shutil.rmtree(copy / "data" / folder)
    return copy


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """A stage in a process group of its own, which prints to `output_of(folder)`."""
    own = {"MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "PREFECT_API_URL", "DVC_ROOT", "PEOPLE_STATE"}
    environment = {name: value for name, value in os.environ.items() if name not in own} | {"PYTHONPATH": str(folder)}
    with output_of(folder).open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )


def output_of(folder: Path) -> Path:
    """Beside the file system that holds the project: a full one takes no words."""
    return folder.parent.with_name(f"{folder.parent.name}.output")


def finished(process: subprocess.Popen[bytes], folder: Path) -> None:
    try:
        code = process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"still running after {LONGEST_S} s:\n{output_of(folder).read_text()[-3000:]}") from None
    assert code == 0, output_of(folder).read_text()[-5000:]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_twelve_kills_at_random_moments_change_no_byte_of_what_is_trained_tuned_and_judged(small_run: Path, project: Path):
    draw = random.Random(SEED)
    victims = RUNS + draw.sample(RUNS, max(0, KILLS - len(RUNS)))
    for stage, system in RUNS:
        taken: list[float] = []
        for _ in range(victims.count((stage, system))):
            process, delay_s = start(project, f"stages.{stage}", system), draw.uniform(0.2, LATEST_KILL_S)
            time.sleep(delay_s)
            taken.append(delay_s if process.poll() is None else 0)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        finished(start(project, f"stages.{stage}", system), project)
        print(f"{stage} {system}: killed after {', '.join(f'{delay:.1f} s' if delay else 'its end' for delay in taken)}")
    for folder in STAGES.values():
        first, second = (contents(place / "data" / folder) for place in (small_run, project))
        assert first.keys() == second.keys(), folder
        assert [name for name in first if first[name] != second[name]] == [], folder
    assert not list((project / "data").rglob("*.partial*"))
    assert not [path for path in (project / ".state/checkpoints").rglob("*") if path.is_file()]
    with sqlite3.connect(project / ".state/mlflow.db") as database:
        running = database.execute("select count(*) from runs where status = 'RUNNING'").fetchone()
    assert running == (0,)


def test_of_two_processes_on_one_study_one_is_killed_and_the_other_ends_it(small_run: Path, project: Path):
    for path in ("data/studies/dmt", ".state/optuna.db"):
        target = project / path
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    first = start(project, "stages.tune", "dmt")
    time.sleep(8)
    second = start(project, "stages.tune", "dmt")
    time.sleep(4)
    if first.poll() is None:
        os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    finished(second, project)
    assert contents(small_run / "data/studies/dmt") == contents(project / "data/studies/dmt")


@pytest.fixture
def full_disk(small_run: Path, tmp_path: Path) -> Iterator[Path]:
    """The small run on a file system of its own, with room for a little more."""
    size = sum(path.stat().st_size for path in small_run.rglob("*") if path.is_file() and ".dvc" not in path.parts)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size + ROOM_BYTES}", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0:
        pytest.skip("a small file system is mounted as root only")
    if (done := subprocess.run(mount, capture_output=True, text=True)).returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        copy = tmp_path / "project"
        shutil.copytree(small_run, copy, ignore=shutil.ignore_patterns(".git", ".dvc"))
        yield copy
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.parametrize(("stage", "key", "folder"), [
    ("flow", "tumgaid", "flow"), ("train", "dmt", "models"), ("tune", "dmt", "studies"), ("evaluate", "dmt", "metrics"),
])  # fmt: skip
def test_a_full_disk_ends_a_stage_with_an_error_that_says_so_and_with_room_it_gives_the_same_bytes(
    small_run: Path, full_disk: Path, stage: str, key: str, folder: str
):
    result = full_disk / "data" / folder / key
    shutil.rmtree(result)
    filler = full_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    process = start(full_disk, f"stages.{stage}", key)
    code = process.wait(LONGEST_S)
    said = output_of(full_disk).read_text()
    filler.unlink()
    last = said.strip().splitlines()[-1]
    print(f"{stage} {key} on a full disk ended with {code}: {last[:120]}")
    if code == 0:  # what it writes went into room that it freed itself
        assert contents(result) == contents(small_run / "data" / folder / key)
        return
    assert "No space left on device" in said or "disk is full" in said or "no room for" in said
    assert not result.exists()
    finished(start(full_disk, f"stages.{stage}", key), full_disk)
    assert contents(result) == contents(small_run / "data" / folder / key)
