"""Trials of a study whose processes were killed, at the moments that a heartbeat does not show."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from stages.shared import study as study_module
from stages.shared.study import PROCESS, SLOT, Search, claim_slot, open_study, run_trials, slots

ROOT = Path(__file__).parent.parent.parent
SEARCH = Search(1, 1, "tpe", study_module.Pruner(1, 1), {"lambda.gender": [0.01, 1.0]})
BASELINE = {"lambda.gender": 0.1}
OTHER_PROCESS = """
import os, sys, time
import optuna.study._optimize
from stages.shared import study
from test_abandoned_trials import BASELINE, SEARCH

if sys.argv[1] == "killed between ask and heartbeat":
    optuna.study._optimize.get_heartbeat_thread = lambda *_: os.kill(os.getpid(), 9)
study.run_trials(study.open_study("s", SEARCH, seed=1), SEARCH, BASELINE, lambda trial: time.sleep(600))
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PEOPLE_STATE", str(tmp_path))
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    return tmp_path


def start(what: str) -> subprocess.Popen[bytes]:
    """Another process that runs the trials of the study."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    return subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, what], env=environment)


def score(trial: optuna.Trial) -> float:
    return trial.params["lambda.gender"]


def test_a_trial_whose_process_was_killed_before_its_first_heartbeat_is_given_up_and_done_again(
    state: Path, monkeypatch: pytest.MonkeyPatch
):
    assert start("killed between ask and heartbeat").wait(timeout=100) == -signal.SIGKILL
    study, said = open_study("s", SEARCH, seed=1), []
    (left,) = study.trials
    assert (left.state, PROCESS in left.user_attrs) == (TrialState.RUNNING, False)
    monkeypatch.setattr(study_module, "GRACE_S", 1)
    monkeypatch.setattr(study_module, "POLL_S", 0.1)
    began_s = time.monotonic()
    run_trials(study, SEARCH, BASELINE, score, said.append)
    assert time.monotonic() - began_s > 1, "it might have begun just now"
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert slots(study, 1)[0].params == BASELINE
    assert said == ["s-1 waits for trial 0, which no process has claimed; it is given up after 1 s"]


def test_a_waiting_process_says_for_whom_and_goes_on_when_that_one_is_killed(state: Path):
    other = start("a long trial")
    study, said = open_study("s", SEARCH, seed=1), []
    try:
        while not any(PROCESS in trial.user_attrs for trial in study.get_trials()):
            time.sleep(0.1)

        def listen(message: str) -> None:
            said.append(message)
            other.kill()
            other.wait()

        run_trials(study, SEARCH, BASELINE, score, listen)
    finally:
        other.kill()
        other.wait()
    assert len(said) == 1
    assert f"s-1 waits for trial 0, which process {other.pid} on {os.uname().nodename} runs" in said[0]
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_trial_with_a_process_has_a_heartbeat_so_that_other_machines_notice_its_end(state: Path):
    study = open_study("s", SEARCH, seed=1)
    study.enqueue_trial(BASELINE, user_attrs={SLOT: 0})
    claim_slot(study, study.ask())
    with closing(sqlite3.connect(state / "optuna.db")) as database:
        assert database.execute("SELECT count(*) FROM trial_heartbeats").fetchone() == (1,)
