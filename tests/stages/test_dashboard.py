"""What a person sees in a browser: the Optuna dashboard on a study, and MLflow's page of a registered model."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dmt_workspace
import pytest
import registry_workspace
from browser import chromium
from conftest import users_environment
from optuna.study import StudyDirection
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from servers import free_port

from stages import register, train, tune
from stages.dashboard import main
from stages.search.slots import open_study
from stages.search.storage import open_storage

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parent.parent.parent


@contextmanager
def server(command: list[str], folder: Path, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """A server that runs in the folder, and has ended with all its processes after the block."""
    environment = {**users_environment(), "PYTHONPATH": str(ROOT), **variables}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True, bufsize=1
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def text_of(driver: webdriver.Chrome) -> str:
    return driver.find_element(By.TAG_NAME, "body").text


def pictures_of_trials(driver: webdriver.Chrome) -> list[WebElement]:
    return driver.find_elements(By.CSS_SELECTOR, "img[src*='/artifacts/']")


def wait_for(condition: Callable[[], bool], said: Callable[[], str], limit_s: float = 60) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, said()
        time.sleep(0.3)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished study of four trials."""
    folder = tmp_path_factory.mktemp("project")
    dmt_workspace.write_workspace(folder, search={"trials": 4, "baselines": ["equal"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("OPTUNA_STORAGE", raising=False)
        patch.setattr(sys, "argv", ["tune", "dmt"])
        tune.main()
    return folder


def test_the_dashboard_shows_a_study_by_its_name_with_parameters_note_and_pictures(project: Path):
    port = free_port()
    with server([sys.executable, "-m", "stages.dashboard", "--port", str(port)], project) as process, chromium() as driver:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = line.split()[0]
        assert re.fullmatch(rf"http://127\.0\.0\.1:{port}/dashboard/studies/\d+", address), line
        assert "dmt on tumgaid, 4 trials" in line
        driver.get(address)
        wait_for(lambda: "validation error of identity" in text_of(driver), lambda: text_of(driver))
        shown = text_of(driver)
        assert "dmt on tumgaid, 4 trials" in shown
        driver.get(f"{address}/note")
        wait_for(lambda: "Pareto front" in text_of(driver), lambda: text_of(driver))
        note = text_of(driver)
        for words in ("Weights and margins of dmt on tumgaid", "lambda.gender", "Found: trial", "First trials. 0: params.yaml"):
            assert words in note
        driver.get(f"{address}/trials?numbers=1")
        wait_for(lambda: "margin.verification" in text_of(driver), lambda: text_of(driver))
        wait_for(lambda: "equal" in text_of(driver), lambda: text_of(driver))
        shown = text_of(driver)
        for words in ("git commit", "MLflow run", "weighting"):
            assert words in shown
        wait_for(lambda: bool(pictures_of_trials(driver)), lambda: text_of(driver))
        pictures = pictures_of_trials(driver)
        wait_for(lambda: driver.execute_script("return arguments[0].naturalWidth", pictures[0]) > 100, lambda: "no picture")


def test_mlflows_pages_of_the_champion_and_of_its_training_show_what_it_is_and_what_it_was_trained_with(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    registry_workspace.use(project, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["train", "dmt"])
    train.main()
    reads = {slot: Path("data/flow/rhythms") for slot in ("frames", "poses")}
    judged = registry_workspace.selected(Path("data/models/dmt/checkpoint.pt"), -0.4)
    entry = register.register("dmt", judged, registry_workspace.METRICS, reads, confidence=0.9, seed=3)
    trained = registry_workspace.client().get_experiment_by_name("dmt")
    assert trained is not None
    (run,) = registry_workspace.client().search_runs([trained.experiment_id], "tags.stage = 'train'")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    variables = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{project}/.state/mlflow.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with server(command, project, **variables), chromium() as driver:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), lambda: "no MLflow")
        driver.get(f"http://127.0.0.1:{port}/#/models/dmt/versions/{entry['version']}")
        wait_for(lambda: "gender.accuracy" in text_of(driver), lambda: text_of(driver))
        shown = text_of(driver)
        for words in ("champion", "checkpoint.sha256", "responsible-use", "load_model"):
            assert words in shown
        driver.get(f"http://127.0.0.1:{port}/#/experiments/{trained.experiment_id}/runs/{run.info.run_id}")
        wait_for(lambda: "objective.lambda.gender" in text_of(driver), lambda: text_of(driver))
        shown = text_of(driver)
        for words in ("dmt, trained on rhythms", "error/gender", "train/total", "training.learning_rate"):
            assert words in shown, shown


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def test_a_journal_is_served_too_and_a_terminated_dashboard_leaves_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    address, port = f"journal:{tmp_path}/a journal.log", free_port()
    monkeypatch.setenv("OPTUNA_STORAGE", address)
    open_study(open_storage(), "journal--", "in a journal", [StudyDirection.MAXIMIZE])
    command = [sys.executable, "-m", "stages.dashboard", "--port", str(port)]
    with server(command, tmp_path, OPTUNA_STORAGE=address) as process:
        assert process.stdout is not None
        assert "in a journal" in process.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=5) as response:
            assert b"in a journal" in response.read()
        process.terminate()  # it alone
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
        assert not answers(f"http://127.0.0.1:{port}/api/studies")


def test_a_port_in_use_is_refused_by_its_number(project: Path, monkeypatch: pytest.MonkeyPatch):
    port = free_port()
    with server([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], project):
        time.sleep(1)
        monkeypatch.chdir(project)
        monkeypatch.setattr(sys, "argv", ["dashboard", "--port", str(port)])
        with pytest.raises(SystemExit, match=f"port {port} of 127.0.0.1 is in use"):
            main()
