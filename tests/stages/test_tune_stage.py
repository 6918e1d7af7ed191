"""The stage tune: a study whose trials are each done once, also after kills, and whose result is the same every time."""

import hashlib
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import conftest
import dmt_workspace
import killable
import optuna
import pandas as pd
import pytest
import torch
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ruamel.yaml import YAML

from people.training.loop import Diverged
from stages import configure, train, tune
from stages.search.slots import FINISHED, SLOT, is_done, open_study, run_slots, slots
from stages.search.space import nested_blocks
from stages.search.storage import open_storage
from stages.training.problem import merged

FINALS = {"seeds": 2, "also": ["single_task"]}
UP = [StudyDirection.MAXIMIZE]


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


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read_yaml(file: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(file)


def studies(address: str) -> list[optuna.Study]:
    return [optuna.load_study(study_name=name, storage=address) for name in optuna.get_all_study_names(address)]


def test_a_study_leaves_its_tables_and_what_it_found_and_computes_them_anew_the_next_time(workspace: Path):
    tune.main()
    folder = workspace / "data/studies/dmt"
    first = contents(folder)
    assert {"best.yaml", "finals.csv", "importance.csv", "params.patch", "trials.csv"} <= first.keys()
    trials, best = pd.read_csv(folder / "trials.csv"), read_yaml(folder / "best.yaml")
    assert list(trials["number"]) == [0, 1, 2]
    searched = ["lambda.gender", "lambda.age", "lambda.verification", "margin.verification"]
    assert list(trials.loc[0, ["weights", *searched]]) == ["params.yaml", 0.1, 0.2, 0.1, 0.5]
    complete = trials.query("state == 'complete'")
    (chosen,) = trials.query("chosen").to_dict("records")
    assert chosen["merit"] == complete["merit"].max() == best["merit"]
    assert chosen["front"]
    assert best["values"] == {name: chosen[name] for name in ("identity", "gender", "age")}
    assert not [path for path in (workspace / ".state/checkpoints").rglob("*") if path.is_file()]
    tune.main()
    assert contents(folder) == first


def test_found_weights_and_others_beside_them_are_trained_to_the_end_as_the_stage_train_does(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    dmt_workspace.write_workspace(workspace, search={"finals": FINALS, "sampler": "random"})
    monkeypatch.setattr(tune.choice, "best_trial", lambda search, trials, *_: trials[2])  # not params.yaml's own
    tune.main()
    folder = workspace / "data/studies/dmt"
    table = pd.read_csv(folder / "finals.csv")
    assert list(zip(table["weights"], table["seed"], strict=True)) == [
        ("found", 3), ("found", 4), ("params.yaml", 4), ("single_task", 3), ("single_task", 4),
    ]  # fmt: skip
    best = read_yaml(folder / "best.yaml")
    for row in table.to_dict("records"):
        content = (folder / "finals" / row["folder"] / "checkpoint.pt").read_bytes()
        checkpoint = torch.load(folder / "finals" / row["folder"] / "checkpoint.pt", weights_only=True)
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        assert checkpoint["validation"]["score"] == row["score"]
        assert row["epochs"] == 3, "params.yaml's training.epochs, not those of a trial"
        assert (checkpoint["config"]["objective"] == best["objective"]) == (row["weights"] == "found")
    # the found weights in params.yaml, trained by the stage train, are the same network
    document = YAML().load(workspace / "params.yaml")
    document["systems"]["dmt"]["objective"] = best["objective"]
    YAML().dump(document, workspace / "params.yaml")
    monkeypatch.setattr(sys, "argv", ["train", "dmt"])
    train.main()
    trained = hashlib.sha256((workspace / "data/models/dmt/checkpoint.pt").read_bytes()).hexdigest()
    assert trained == table.set_index(["weights", "seed"]).loc[("found", 3), "sha256"]


def test_the_dashboard_has_names_notes_pictures_and_links_that_a_person_reads(workspace: Path):
    dmt_workspace.write_workspace(workspace, search={"trials": 3, "baselines": ["equal"], "finals": {"seeds": 2, "also": []}})
    tune.main()
    address = f"sqlite:///{workspace}/optuna.db"
    study, last = studies(address)
    assert study.study_name.startswith("dmt on tumgaid, 3 trials, 20")
    assert "final training" in last.study_name
    assert study.metric_names == [f"validation error of {name}" for name in ("identity", "gender", "age")]
    attributes = study._storage.get_study_system_attrs(study._study_id)
    note = "".join(text for key, text in sorted(attributes.items()) if key.startswith("dashboard:note_str:"))
    for words in ("Found: trial", "lambda.gender", "Pareto front", "geometric mean", "--from data/studies/dmt/best.yaml"):
        assert words in note
    attributes = last._storage.get_study_system_attrs(last._study_id)
    note = "".join(text for key, text in sorted(attributes.items()) if key.startswith("dashboard:note_str:"))
    assert study.study_name in note
    first, second = study.trials[:2]
    assert first.user_attrs["weights"] == "params.yaml"
    assert second.user_attrs["weights"] == second.params["weighting"] == "equal"
    assert set(first.params) == {"weighting", "lambda.gender", "lambda.age", "lambda.verification", "margin.verification"}
    assert "/#/experiments/" in first.user_attrs["MLflow run"]
    assert len(first.user_attrs["git commit"]) == 40 or first.user_attrs["git commit"] == "not a git checkout"
    for trial in [*study.trials, *last.trials]:
        (picture,) = optuna.artifacts.get_all_artifact_meta(trial, storage=study._storage)
        content = (workspace / ".state/optuna-artifacts" / picture.artifact_id).read_bytes()
        assert (picture.mimetype, content[:4]) == ("image/png", b"\x89PNG")


def test_what_is_found_is_a_patch_of_params_yaml_and_a_command_makes_the_same_change(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(tune.choice, "best_trial", lambda search, trials, *_: trials[2])
    tune.main()
    folder = workspace / "data/studies/dmt"
    assert "python -m stages.configure --from data/studies/dmt/best.yaml" in capsys.readouterr().out
    before = (workspace / "params.yaml").read_text()
    conftest.run(["git", "init", "-q"], workspace)
    conftest.run(["git", "apply", "data/studies/dmt/params.patch"], workspace)
    patched = (workspace / "params.yaml").read_text()
    assert patched != before
    assert read_yaml(workspace / "params.yaml")["systems"]["dmt"]["objective"] == read_yaml(folder / "best.yaml")["objective"]
    (workspace / "params.yaml").write_text(before)
    monkeypatch.setattr(sys, "argv", ["configure", "--from", "data/studies/dmt/best.yaml"])
    configure.main()
    assert read_yaml(workspace / "params.yaml") == YAML(typ="safe").load(patched)


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
    study = studies(own_databases["OPTUNA_STORAGE"])[0]
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.FAIL) == 1  # only the killed one is run again
    assert len(states) == 3 + 1


def test_several_processes_share_one_study_and_none_does_a_trial_twice(workspace: Path, tracking: str):
    shared = {"MLFLOW_TRACKING_URI": tracking, "OPTUNA_STORAGE": f"sqlite:///{workspace}/shared.db"}
    both = [killable.start(killable.stage, workspace, "tune", "dmt", **shared) for _ in range(2)]
    assert [killable.exit_code(process) for process in both] == [0, 0], (workspace / "output").read_text()
    trials = studies(shared["OPTUNA_STORAGE"])[0].trials
    assert sorted(trial.user_attrs[SLOT] for trial in trials if is_done(trial)) == [0, 1, 2]
    assert not any(trial.state in (TrialState.RUNNING, TrialState.WAITING) for trial in trials)
    assert list(pd.read_csv(workspace / "data/studies/dmt/trials.csv")["number"]) == [0, 1, 2]


def opened(name: str) -> optuna.Study:
    return open_study(open_storage(), name.ljust(8, "-"), name, UP)


def parameters(_: Any, slot: int) -> dict[str, float]:
    return {"lambda.gender": 0.1 + slot}


def value(trial: optuna.Trial) -> float:
    return trial.suggest_float("lambda.gender", 0.01, 100.0)


def test_a_finished_study_is_not_opened_again_but_by_a_process_that_only_helps(workspace: Path):
    study = opened("once")
    assert opened("once").study_name == study.study_name
    study.set_user_attr("finished", True)
    assert open_study(open_storage(), "once----", "once", UP, include_finished=True).study_name == study.study_name
    again = opened("once")
    assert (study.study_name[-11:], again.study_name[-11:]) == ("#once-----1", "#once-----2")


def test_a_trial_that_diverges_is_not_tried_again_and_its_reason_is_kept(workspace: Path):
    study, tried = opened("diverged"), []

    def train(trial: optuna.Trial) -> float:
        tried.append(trial.user_attrs[SLOT])
        raise Diverged(f"epoch 1: the loss is not finite in {tried[-1]}")

    run_slots(study, 3, parameters, train)
    assert tried == [0, 1, 2]
    assert [trial.user_attrs["reason"][-1] for trial in slots(study, 3)] == ["0", "1", "2"]


def test_any_other_error_stops_the_study_and_leaves_the_trial_to_be_done(workspace: Path):
    study = opened("broken")

    def train(trial: optuna.Trial) -> float:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        run_slots(study, 2, parameters, train)
    run_slots(study, 2, parameters, value)
    assert [trial.params["lambda.gender"] for trial in slots(study, 2)] == [0.1, 1.1]


def test_a_trial_whose_process_was_killed_between_two_of_its_parameters_gets_all_of_them_again(workspace: Path):
    study, tried = opened("partly"), []
    study.enqueue_trial({"lambda.gender": 0.3, "lambda.age": 0.4}, user_attrs={SLOT: 0})
    killed = study.ask()
    killed.suggest_float("lambda.gender", 0.01, 100.0)
    study.tell(killed, state=TrialState.FAIL)

    def train(trial: optuna.Trial) -> float:
        tried.extend(trial.suggest_float(name, 0.01, 100.0) for name in ("lambda.gender", "lambda.age"))
        return 0.0

    run_slots(study, 1, parameters, train)
    assert tried == [0.3, 0.4]


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_process_whose_trial_others_have_given_up_goes_on_with_what_is_left(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    if kind == "journal":
        monkeypatch.setenv("OPTUNA_STORAGE", f"journal:{workspace}/journal.log")
    study, said = opened("slept"), []

    def train(trial: optuna.Trial) -> float:
        if trial.number == 0:  # the machine sleeps for longer than GRACE_S
            opened("slept").tell(0, state=TrialState.FAIL)
            trial.set_user_attr("merits", [1.0])
        return value(trial)

    run_slots(study, 2, parameters, train, said.append)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert [trial.params["lambda.gender"] for trial in slots(study, 2)] == [0.1, 1.1]
    assert "others gave its trial up" in said[0]


def test_a_final_training_that_diverges_is_left_out_with_its_reason_and_the_others_stay(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    dmt_workspace.write_workspace(workspace, search={"trials": 1, "finals": FINALS})
    epochs = tune.Tuning.epochs

    def diverging(
        self: tune.Tuning, objective: dict[str, Any], *arguments: Any, seed: int | None = None, **options: Any
    ) -> Any:
        if objective["lambda"]["gender"] == 0 and seed == 4:
            raise Diverged("epoch 2: the loss is not finite")
        return epochs(self, objective, *arguments, seed=seed, **options)

    monkeypatch.setattr(tune.Tuning, "epochs", diverging)
    tune.main()
    folder = workspace / "data/studies/dmt"
    table = pd.read_csv(folder / "finals.csv")
    assert list(zip(table["weights"], table["seed"], strict=True)) == [("params.yaml", 4), ("single_task", 3)]
    assert sorted(path.name for path in (folder / "finals").iterdir()) == ["params_yaml-seed4", "single_task-seed3"]
    expected = "dmt: single_task weights, seed 4, are not in finals.csv: epoch 2: the loss is not finite"
    assert expected in capsys.readouterr().out
    assert all(study.user_attrs[FINISHED] for study in studies(f"sqlite:///{workspace}/optuna.db"))


def test_a_process_that_is_killed_between_its_outputs_and_the_mark_of_the_study_leaves_them_to_be_written_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    dmt_workspace.write_workspace(workspace, search={"trials": 1, "epochs": 1})
    set_user_attr = optuna.Study.set_user_attr

    def killed(self: optuna.Study, key: str, value: Any) -> None:
        if key == FINISHED:
            raise SystemExit(137)
        set_user_attr(self, key, value)

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Study, "set_user_attr", killed)
        with pytest.raises(SystemExit):
            tune.main()
    first = contents(workspace / "data/studies/dmt")
    shutil.rmtree(workspace / "data")
    dmt_workspace.write_workspace(workspace, search={"trials": 1, "epochs": 1})
    tune.main()
    assert contents(workspace / "data/studies/dmt") == first
    (study,) = studies(f"sqlite:///{workspace}/optuna.db")
    assert study.user_attrs[FINISHED]


def test_without_final_trainings_the_search_ends_with_its_best_trial(workspace: Path):
    dmt_workspace.write_workspace(workspace, search={"trials": 3, "epochs": 1, "finals": {"seeds": 0, "also": []}})
    tune.main()
    (study,) = studies(f"sqlite:///{workspace}/optuna.db")
    assert study.user_attrs[FINISHED]
    folder = workspace / "data/studies/dmt"
    assert pd.read_csv(folder / "finals.csv").empty
    assert read_yaml(folder / "best.yaml")["trial"] == pd.read_csv(folder / "trials.csv").query("chosen")["number"].item()
    assert not [path for path in (folder / "finals").rglob("*") if path.is_file()]


def test_a_process_that_is_late_when_another_has_finished_trains_nothing_again(workspace: Path):
    dmt_workspace.write_workspace(workspace, search={"trials": 1, "epochs": 1, "finals": {"seeds": 2, "also": []}})
    late = tune.Tuning("dmt")
    tune.main()
    before = contents(workspace / "data/studies/dmt")
    with late.run("dmt, search", late.folder) as parent:
        late.run_trials(parent)
        late.run_finals(parent)
        late.finish(Path("data/studies/dmt"), parent)
    assert contents(workspace / "data/studies/dmt") == before
    search, last = studies(f"sqlite:///{workspace}/optuna.db")
    assert (len(search.trials), len(last.trials)) == (1, 1)


def test_search_and_training_give_the_same_bytes_whatever_the_frames_of_test_people_are(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dmt_workspace, "SPLITS", {"train": 4, "validation": 3, "test": 3})
    shutil.rmtree(workspace / "data/flow/rhythms")
    dmt_workspace.write_workspace(workspace, search={"finals": FINALS})
    store = workspace / "data/flow/rhythms"

    def results() -> dict[str, bytes]:
        for stage in (tune, train):
            monkeypatch.setattr(sys, "argv", [stage.__name__, "dmt"])
            stage.main()
            shutil.rmtree(workspace / ".state")
        return contents(workspace / "data/studies/dmt") | contents(workspace / "data/models/dmt")

    before = results()
    clips = pd.read_csv(store / "clips.csv")
    tested = clips.query("split == 'test'")
    assert len(tested) == 3 * dmt_workspace.CLIPS_EACH
    frame_bytes = 2 * 2 * dmt_workspace.HEIGHT * dmt_workspace.WIDTH
    with (store / "flow.bin").open("r+b") as file:
        for start, length in zip(tested["start"], tested["length"], strict=True):
            file.seek(start * frame_bytes)
            file.write(random.Random(1).randbytes(length * frame_bytes))
    assert results() == before
    train_start = int(clips.query("split == 'train'")["start"].iloc[0])
    with (store / "flow.bin").open("r+b") as file:
        file.seek(train_start * frame_bytes)
        file.write(random.Random(1).randbytes(frame_bytes))
    assert results() != before, "frames of training people do count"


def test_dotted_values_replace_those_of_the_objective_and_no_others():
    block = {"lambda": {"gender": 0.1, "age": 0.2}, "margin": {"verification": 0.5}, "adaptive_margin": False}
    changed = merged(block, nested_blocks({"lambda.gender": 0.7, "margin.verification": 3.0}), "objective")
    assert changed == {"lambda": {"gender": 0.7, "age": 0.2}, "margin": {"verification": 3.0}, "adaptive_margin": False}
    assert block["lambda"] == {"gender": 0.1, "age": 0.2}
    with pytest.raises(ValueError, match=r"objective\.lambda\.hair names nothing to change: there are gender, age"):
        merged(block, {"lambda": {"hair": 1.0}}, "objective")
