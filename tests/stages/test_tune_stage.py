"""The stage tune: a study whose trials are each done once, also after kills, and whose result is the same every time."""

import sys
from pathlib import Path
from typing import Any

import dmt_workspace
import killable
import optuna
import pandas as pd
import pytest
import torch
from optuna.trial import TrialState
from ruamel.yaml import YAML

from people.training.loop import Diverged
from stages import tune
from stages.shared.problem import merged
from stages.shared.study import SLOT, Search, is_done, nested_blocks, open_study, run_trials, slots
from stages.tune import best_trial, trials_table

OBJECTIVE = {"lambda": {"gender": 0.1, "age": 0.2}, "margin": {"verification": 0.5}, "adaptive_margin": False}
RANGES = {"lambda.gender": [0.01, 1.0], "margin.verification": [0.1, 10.0]}


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking: str) -> Path:
    dmt_workspace.write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{tmp_path}/optuna.db")
    monkeypatch.setattr(sys, "argv", ["tune", "dmt"])
    return tmp_path


def search(**changes: Any) -> Search:
    pruner = {"startup_trials": 2, "warmup_epochs": 1}
    return Search(**{"trials": 6, "epochs": 3, "sampler": "tpe", "pruner": pruner, "ranges": RANGES, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def parabola(trial: optuna.Trial) -> float:
    """Best at lambda.gender = 0.3, independent of the margin."""
    return -((trial.params["lambda.gender"] - 0.3) ** 2)


def proposals(study: optuna.Study, count: int) -> list[dict[str, float]]:
    return [trial.params for trial in slots(study, count)]


def test_a_study_leaves_its_table_and_the_best_trial_and_computes_them_anew_the_next_time(workspace: Path):
    tune.main()
    first = contents(workspace / "data/studies/dmt")
    assert sorted(first) == ["best.yaml", "checkpoint.pt", "history.csv", "trials.csv"]
    trials = pd.read_csv(workspace / "data/studies/dmt/trials.csv")
    best = YAML(typ="safe").load(first["best.yaml"].decode())
    checkpoint = torch.load(workspace / "data/studies/dmt/checkpoint.pt", weights_only=True)
    assert list(trials["number"]) == [0, 1, 2]
    assert list(trials.loc[0, ["lambda.gender", "lambda.age", "lambda.verification", "margin.verification"]]) == [
        0.1,
        0.2,
        0.1,
        0.5,
    ]
    complete = trials.query("state == 'complete'")
    assert best["trial"] == complete.loc[complete["score"].idxmax(), "number"]
    assert checkpoint["config"]["objective"] == best["objective"]
    assert checkpoint["validation"]["score"] == best["score"] == complete["score"].max()
    assert not [path for path in (workspace / ".state/checkpoints").rglob("*") if path.is_file()]
    tune.main()
    assert contents(workspace / "data/studies/dmt") == first
    assert len(optuna.get_all_study_names(f"sqlite:///{workspace}/optuna.db")) == 2


def test_a_killed_study_does_the_missing_trials_alone_and_ends_with_the_same_bytes(workspace: Path, tracking: str):
    tune.main()
    uninterrupted = contents(workspace / "data/studies/dmt")
    own_databases = {"MLFLOW_TRACKING_URI": tracking, "OPTUNA_STORAGE": f"sqlite:///{workspace}/killed.db"}
    steps_of_trial_0 = 2 * 3
    killed = killable.start(killable.stage, workspace, "tune", "dmt", steps_of_trial_0 + 5, **own_databases)
    assert killable.exit_code(killed) == killable.KILLED
    again = killable.start(killable.stage, workspace, "tune", "dmt", **own_databases)
    assert killable.exit_code(again) == 0, (workspace / "output").read_text()
    assert contents(workspace / "data/studies/dmt") == uninterrupted
    (name,) = optuna.get_all_study_names(own_databases["OPTUNA_STORAGE"])
    states = [trial.state for trial in optuna.load_study(study_name=name, storage=own_databases["OPTUNA_STORAGE"]).trials]
    assert states.count(TrialState.FAIL) == 1  # only the killed one is run again
    assert len(states) == 3 + 1


def test_several_processes_share_one_study_and_none_does_a_trial_twice(workspace: Path, tracking: str):
    shared = {"MLFLOW_TRACKING_URI": tracking, "OPTUNA_STORAGE": f"sqlite:///{workspace}/shared.db"}
    both = [killable.start(killable.stage, workspace, "tune", "dmt", **shared) for _ in range(2)]
    assert [killable.exit_code(process) for process in both] == [0, 0], (workspace / "output").read_text()
    (name,) = optuna.get_all_study_names(shared["OPTUNA_STORAGE"])
    trials = optuna.load_study(study_name=name, storage=shared["OPTUNA_STORAGE"]).trials
    assert sorted(trial.user_attrs[SLOT] for trial in trials if is_done(trial)) == [0, 1, 2]
    assert not any(trial.state in (TrialState.RUNNING, TrialState.WAITING) for trial in trials)
    assert list(pd.read_csv(workspace / "data/studies/dmt/trials.csv")["number"]) == [0, 1, 2]


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_study_that_stops_between_trials_goes_on_with_the_proposals_it_would_have_made(workspace: Path, sampler: str):
    options = search(trials=12, sampler=sampler)  # the samplers learn from the eleventh trial on
    continuous, stopped = (
        open_study(f"continuous-{sampler}", options, seed=1),
        open_study(f"stopped-{sampler}", options, seed=1),
    )
    run_trials(continuous, options, options.baseline(OBJECTIVE), parabola)
    run_trials(stopped, search(trials=7, sampler=sampler), options.baseline(OBJECTIVE), parabola)
    stopped = open_study(f"stopped-{sampler}", options, seed=1)  # as in a new process, without the state of the samplers
    run_trials(stopped, options, options.baseline(OBJECTIVE), parabola)
    assert proposals(stopped, 12) == proposals(continuous, 12)
    assert len({trial["lambda.gender"] for trial in proposals(continuous, 12)}) == 12
    assert proposals(continuous, 12)[0] == {"lambda.gender": 0.1, "margin.verification": 0.5}


def test_a_trial_that_falls_below_the_median_is_pruned_but_never_the_best(workspace: Path):
    options = search()
    study = open_study("pruned", options, seed=1)

    def train(trial: optuna.Trial) -> float:
        score = -float(trial.user_attrs[SLOT])  # each trial is worse than those before
        for epoch in (1, 2, 3):
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score

    run_trials(study, options, options.baseline(OBJECTIVE), train)
    listed = trials_table(slots(study, 6), list(RANGES))
    assert list(listed["state"]) == ["complete", "complete", "pruned", "pruned", "pruned", "pruned"]
    assert best_trial(slots(study, 6), "pruned").user_attrs[SLOT] == 0


def test_a_trial_that_diverges_is_not_tried_again_and_its_reason_is_kept(workspace: Path):
    options = search(trials=3)
    study, tried = open_study("diverged", options, seed=1), []

    def train(trial: optuna.Trial) -> float:
        tried.append(trial.user_attrs[SLOT])
        raise Diverged(f"epoch 1: the loss is not finite in {tried[-1]}")

    run_trials(study, options, options.baseline(OBJECTIVE), train)
    assert tried == [0, 1, 2]
    with pytest.raises(ValueError, match=r"no trial of diverged-1 is complete; narrow search.ranges[^Ω]*not finite in 2"):
        best_trial(slots(study, 3), study.study_name)


def test_any_other_error_stops_the_study_and_leaves_the_trial_to_be_done(workspace: Path):
    options = search(trials=2)
    study = open_study("broken", options, seed=1)

    def train(trial: optuna.Trial) -> float:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        run_trials(study, options, options.baseline(OBJECTIVE), train)
    run_trials(study, options, options.baseline(OBJECTIVE), parabola)
    assert len(proposals(study, 2)) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranges": {"lambda.gendr": [0.1, 1.0]}}, "lambda.gendr: the objective has no 'gendr' there but gender, age"),
        ({"ranges": {"adaptive_margin": [0.1, 1.0]}}, "a number can be searched, objective.adaptive_margin is False"),
        ({"ranges": {"lambda.gender": [0.2, 1.0]}}, "objective.lambda.gender = 0.1 must lie in"),
        ({"ranges": {"lambda.gender": [0.0, 1.0]}}, r"must be \[low, high\], 0 < low < high"),
        ({"ranges": {}}, "must name at least one value"),
        ({"sampler": "oracle"}, "search.sampler must be one of tpe, gp, random, got 'oracle'"),
        ({"trials": 0}, "at least 1 trial of 1 epoch, got 0 of 3"),
    ],
)
def test_an_invalid_search_is_refused_with_its_key(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        search(**changes).baseline(OBJECTIVE)


def test_a_word_is_left_out_of_the_baseline_and_the_sampler_chooses_a_number():
    learned = {"lambda": {"gender": "learned", "age": 0.2}, "margin": {"verification": 0.5}}
    options = search(ranges={"lambda.gender": [0.1, 10.0], "lambda.age": [0.1, 1.0]})
    assert options.baseline(learned) == {"lambda.age": 0.2}


def test_dotted_values_replace_those_of_the_objective_and_no_others():
    values = {"lambda.gender": 0.7, "margin.verification": 3.0}
    changed = merged(OBJECTIVE, nested_blocks(values), "objective")
    assert changed == {"lambda": {"gender": 0.7, "age": 0.2}, "margin": {"verification": 3.0}, "adaptive_margin": False}
    assert OBJECTIVE["lambda"] == {"gender": 0.1, "age": 0.2}
    with pytest.raises(ValueError, match=r"objective\.lambda\.hair names nothing to change: there are gender, age"):
        merged(OBJECTIVE, {"lambda": {"hair": 1.0}}, "objective")
