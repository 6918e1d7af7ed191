"""Runs in MLflow: which run a training resumes, and what waits for a call to end."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from stages.tracking import runs


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> Path:
    """The folder of a training's checkpoints, which the run's id lies in."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("PEOPLE_STATE", str(tmp_path))
    return tmp_path / "checkpoints/train"


def train(folder: Path) -> Run:
    """A training of one epoch; the run as it is in MLflow afterwards."""
    with runs.run("dmt", "train", folder=folder, params={}, tags={}) as run:
        run.log({"score": 1.0}, 1)
    return runs.connect("dmt")[0].get_run(run.id)


def test_the_same_training_resumes_its_run(folder: Path):
    first = train(folder)
    assert train(folder).info.run_id == first.info.run_id
    assert first.info.status == "FINISHED"
    assert [path.name for path in folder.iterdir()] == [runs.RUN_FILE]


@pytest.mark.parametrize("content", [b"", b"\n", b"0123456", b"\xff\xfe\x00", b"a/b"])
def test_a_broken_id_is_forgotten_with_a_warning(folder: Path, content: bytes):
    """As a full disk or a kill leaves it where files are not written whole."""
    folder.mkdir(parents=True)
    (folder / runs.RUN_FILE).write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = train(folder)
    assert (folder / runs.RUN_FILE).read_text() == run.info.run_id
    said = [str(warning.message) for warning in caught if "mlflow_run" in str(warning.message)]
    assert len(said) == (0 if content == b"0123456" else 1), "an id of another database is no mistake"


def test_the_run_that_somebody_deleted_is_not_resumed(folder: Path, database: str):
    first = train(folder)
    MlflowClient(database).delete_run(first.info.run_id)
    with pytest.warns(UserWarning, match="names no run that can go on"):
        second = train(folder)
    assert second.info.run_id != first.info.run_id


def test_a_kill_while_the_id_is_written_leaves_no_broken_file(folder: Path):
    code = (
        "import os\nfrom pathlib import Path\nfrom people import storage\nfrom stages.tracking import runs\n"
        "storage.os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        f"with runs.run('dmt', 'train', folder=Path({str(folder)!r}), params={{}}, tags={{}}): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent.parent, timeout=200)
    assert done.returncode == -9
    assert not (folder / runs.RUN_FILE).exists()
    train(folder)
    assert (folder / runs.RUN_FILE).is_file()


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_waits_for_the_end_of_a_call_to_the_database(number: int, raised: type[BaseException]):
    done: list[str] = []

    def call() -> None:
        with runs.uninterrupted():
            with runs.uninterrupted():
                signalled(number)
                done.append("inner")
            done.append("outer")
        done.append("never")

    before = signal.getsignal(number)
    with runs.interruptible():
        with pytest.raises(raised):
            call()
        with pytest.raises(raised):
            signalled(number)
    assert done == ["inner", "outer"]
    assert signal.getsignal(number) == before


def signalled(number: int) -> None:
    """Send this process a signal, which comes before the next line at the latest."""
    os.kill(os.getpid(), number)
    time.sleep(0.01)
