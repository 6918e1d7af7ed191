"""Trials of a study whose processes were killed, at the moments that a heartbeat does not show."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from servers import postgres

from stages.search import slots as slots_module
from stages.search import storage as storages
from stages.search.slots import PROCESS, SLOT, claim_slot, is_done, open_study, run_slots, slots

ROOT = Path(__file__).parent.parent.parent
VALUES = {"lambda.gender": 0.1}
OTHER_PROCESS = """
import os, sys, time
from stages.search import storage
from test_abandoned_trials import opened, run, work

if sys.argv[1] == "killed between ask and heartbeat":
    storage.heartbeats = lambda *_: os.kill(os.getpid(), 9)
run(opened(), *((12, work) if sys.argv[1] == "work" else (1, lambda trial: time.sleep(600))))
"""


def opened() -> optuna.Study:
    return open_study(storages.open_storage(), "abandoned", "s", [StudyDirection.MAXIMIZE])


def run(study: optuna.Study, count: int, train: Any, log: Any = print) -> None:
    run_slots(study, count, lambda trials, slot: VALUES, train, log)


def work(trial: optuna.Trial) -> float:
    """A training of some moments, which reports every epoch."""
    for epoch in range(1, 6):
        time.sleep(0.1)
        trial.report(float(epoch), epoch)
    return score(trial)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PEOPLE_STATE", str(tmp_path))
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    return tmp_path


def start(what: str) -> subprocess.Popen[bytes]:
    """Another process that runs the trials of the study."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent), str(ROOT / "tests/support")]),
    }
    return subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, what], env=environment)


def score(trial: optuna.Trial) -> float:
    return trial.suggest_float("lambda.gender", 0.01, 1.0)


def test_a_trial_whose_process_was_killed_before_its_first_heartbeat_is_given_up_and_done_again(
    state: Path, monkeypatch: pytest.MonkeyPatch
):
    assert start("killed between ask and heartbeat").wait(timeout=100) == -signal.SIGKILL
    study, said = opened(), []
    (left,) = study.trials
    assert (left.state, PROCESS in left.user_attrs) == (TrialState.RUNNING, False)
    monkeypatch.setattr(storages, "GRACE_S", 1)
    monkeypatch.setattr(slots_module, "POLL_S", 0.1)
    began_s = time.monotonic()
    run(study, 1, score, said.append)
    assert time.monotonic() - began_s > 1, "it might have begun just now"
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert slots(study, 1)[0].params == VALUES
    assert said == [f"{study.study_name} waits for trial 0, which no process has claimed; it is given up after 1 s"]


def test_a_waiting_process_says_for_whom_and_goes_on_when_that_one_is_killed(state: Path):
    other = start("a long trial")
    study, said = opened(), []
    try:
        while not any(PROCESS in trial.user_attrs for trial in study.get_trials()):
            time.sleep(0.1)

        def listen(message: str) -> None:
            said.append(message)
            other.kill()
            other.wait()

        run(study, 1, score, listen)
    finally:
        other.kill()
        other.wait()
    assert len(said) == 1
    assert f"{study.study_name} waits for trial 0, which process {other.pid} on {os.uname().nodename} runs" in said[0]
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_trial_with_a_process_has_a_heartbeat_so_that_other_machines_notice_its_end(state: Path):
    study = opened()
    study.enqueue_trial(VALUES, user_attrs={SLOT: 0})
    trial = study.ask()
    with storages.heartbeats(study._storage, trial._trial_id):
        claim_slot(study, trial)
    with closing(sqlite3.connect(state / "optuna.db")) as database:
        assert database.execute("SELECT count(*) FROM trial_heartbeats").fetchone() == (1,)


@pytest.mark.servers  # four processes want the cores for themselves
@pytest.mark.parametrize("kind", ["sqlite", "journal", "postgresql"])
def test_four_processes_of_which_two_are_killed_at_random_moments_do_every_trial_once(
    state: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    with postgres() if kind == "postgresql" else nullcontext("") as server:
        if kind == "journal":
            monkeypatch.setenv("OPTUNA_STORAGE", f"journal:{state}/shared/journal.log")
        elif kind == "postgresql":
            cluster = server.partition("://")[2].rpartition("/")[0]
            monkeypatch.setenv("OPTUNA_STORAGE", f"postgresql+psycopg2://{cluster}/postgres")
        study, draw = opened(), random.Random(kind)
        processes = [start("work") for _ in range(4)]
        try:
            for killed in processes[:2]:
                wait_until(lambda: any(is_done(trial) for trial in study.get_trials()))
                time.sleep(draw.uniform(0.0, 1.5))
                killed.kill()
            assert [process.wait(timeout=240) for process in processes] == [-signal.SIGKILL] * 2 + [0] * 2
        finally:
            for process in processes:
                process.kill()
        trials = study.get_trials()
        done = [trial for trial in trials if is_done(trial)]
        assert sorted(trial.user_attrs[SLOT] for trial in done) == list(range(12)), "each once, none lost"
        assert {trial.state for trial in done} == {TrialState.COMPLETE}
        assert not [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]


def wait_until(condition: Callable[[], bool], limit_s: float = 120) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.1)


def test_a_trial_in_a_journal_whose_machine_is_gone_is_given_up_when_its_counter_stands_still(
    state: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPTUNA_STORAGE", f"journal:{state}/journal.log")
    monkeypatch.setattr(slots_module, "POLL_S", 0.1)
    monkeypatch.setattr(storages, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(storages, "GRACE_S", 2)
    study, said = opened(), []
    study.enqueue_trial(VALUES, user_attrs={SLOT: 0})
    elsewhere = study.ask()
    elsewhere.set_user_attr(PROCESS, "another-machine/pid:[1]/1/1")
    ended_s: list[float] = []

    def live() -> None:
        with storages.heartbeats(study._storage, elsewhere._trial_id):
            time.sleep(4)
        ended_s.append(time.monotonic())

    thread = threading.Thread(target=live)
    thread.start()
    run(study, 1, score, said.append)
    thread.join()
    assert time.monotonic() - ended_s[0] > 1.5, "it lived for longer than the grace period, and was waited for"
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL, TrialState.COMPLETE]
    assert "process 1 on another-machine runs" in said[0]
