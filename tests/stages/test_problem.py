"""What the stages that train refuse before they begin: changes that a phase would not follow, a stopping that stops nothing."""

import sys
from pathlib import Path
from typing import Any

import dmt_workspace
import pytest
import silhouette_stores
from ruamel.yaml import YAML

from people.systems.dmt import data
from people.training.system import Phase
from stages import compare, tune
from stages.shared.problem import Trainings, refuse_overridden

STOPPING = {"window_epochs": 5, "threshold": 50.0}
PARAMS: dict[str, Any] = dmt_workspace.PARAMS


def two_phases(**second: Any) -> list[dict[str, Any]]:
    """The first without gender, as a task of the second."""
    return [{"name": "first", "objective": {"lambda": {"gender": 0.0}}}, {"name": "second", **second}]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{tmp_path}/optuna.db")
    monkeypatch.setattr(sys, "argv", ["stage", "dmt"])
    return tmp_path


@pytest.mark.parametrize(
    ("second", "refused"),
    [
        (
            {"objective": {"margin": {"verification": 2.0}}},
            r"margin\.verification changes .* but phase second .* its own, 2\.0",
        ),
        ({"objective": {"lambda": {"gender": 0.3}}}, r"lambda\.gender changes .* but phase second .* has its own, 0\.3"),
        ({"objective": {"lambda": {"gender": 0.0}}}, r"lambda\.gender changes .* but phase first .* has its own, 0\.0"),
        ({"tasks": ["age"]}, r"lambda\.gender changes .* but phase first .* has its own, 0\.0"),
    ],
)
def test_a_range_that_a_phase_would_not_follow_is_refused(project: Path, second: dict[str, Any], refused: str):
    dmt_workspace.write_workspace(project, training={"phases": two_phases(**second)})
    with pytest.raises(ValueError, match=rf"search\.ranges\.{refused}.* take objective\.\S+ out of one of the two"):
        tune.main()
    assert not (project / "optuna.db").exists()


def test_a_range_may_be_for_the_phases_that_have_the_task(project: Path):
    dmt_workspace.write_workspace(project, training={"phases": two_phases()})
    tuned = Trainings("dmt").phases({"objective": {"lambda": {"gender": 0.7}}}, epochs=1)
    assert [phase.problem.config["objective"]["lambda"]["gender"] for phase in tuned] == [0.0, 0.7]


def test_a_phase_trains_its_tasks_and_the_last_one_is_validated_on_all(project: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(data, "open_samples", lambda *args, of=data.open_samples: opened.append(args[2:]) or of(*args))
    listed = [{"name": "first", "tasks": ["age"]}, {"name": "second", "tasks": ["verification"]}]
    dmt_workspace.write_workspace(project, training={"phases": listed})
    trainings = Trainings("dmt")
    first, second = (phase.problem for phase in trainings.phases(epochs=1))
    weights = trainings.block["objective"]["lambda"]
    assert first.config["objective"]["lambda"] == dict.fromkeys(weights, 0.0) | {"age": weights["age"]}
    assert second.config["objective"]["lambda"] == weights | dict.fromkeys(set(weights) - set(listed[1]["tasks"]), 0.0)
    assert first.spec == second.spec
    assert set(first.spec["tasks"]) == {"age", "identity", "verification"}
    assert opened == [
        ("train", ["identity", "age", "verification"]),  # for what the network must know
        ("train", ["identity", "age"]), ("validation", ["identity", "age"]),
        ("train", ["identity", "verification"]), ("validation", ["identity", "age", "verification"]),
    ]  # fmt: skip


def test_a_task_that_is_none_is_refused(project: Path):
    dmt_workspace.write_workspace(project, training={"phases": [{"name": "one", "tasks": ["gait"]}]})
    with pytest.raises(ValueError, match=r"phases, one: tasks must be among .*gender.*, got gait; correct params\.yaml"):
        Trainings("dmt").phases(epochs=1)


@pytest.mark.parametrize(
    ("own", "changes", "refused"),
    [
        ({"objective": {"lambda": {"age": 0.4}}}, {"objective": {"lambda": {"age": 0.0}}}, r"objective\.lambda\.age"),
        ({"data": {"mirror": False}}, {"data": {"mirror": True}, "model": {"dropout": 0.5}}, r"data\.mirror"),
    ],
)
def test_a_variant_that_a_phase_would_not_follow_is_refused(
    project: Path, own: dict[str, Any], changes: dict[str, Any], refused: str
):
    dmt_workspace.write_workspace(project, training={"phases": two_phases(**own)})
    params = YAML(typ="safe").load(project / "params.yaml")
    params["systems"]["dmt"]["compare"] |= {"variants": {"other": changes}, "select": ["other"]}
    YAML().dump(params, project / "params.yaml")
    with pytest.raises(ValueError, match=rf"compare\.variants\.other changes {refused}, but phase second"):
        compare.main()
    assert not (project / ".state/checkpoints").exists()


def test_a_change_beside_what_a_phase_replaces_is_followed():
    phases = [Phase("one", objective={"margin": {"verification": 2.0}}, data={"mirror": False}), Phase("two")]
    for path in (("objective", "margin", "identity"), ("objective", "lambda", "age"), ("data", "crop_px"), ("model", "mirror")):
        refuse_overridden(path, phases, "it")
    with pytest.raises(ValueError, match=r"it changes data\.mirror, but phase one"):
        refuse_overridden(("data", "mirror"), phases, "it")


def test_task_stopping_is_refused_where_no_auxiliary_task_has_an_error_of_its_name(project: Path):
    silhouette_stores.write_workspace(project, PARAMS)
    reason = r"nothing in gaittake.* auxiliary tasks are batch_all, the errors identity, ranking; set task_stopping: null"
    with pytest.raises(ValueError, match=rf"training\.task_stopping would stop {reason}"):
        Trainings("gaittake").phases(task_stopping=STOPPING)
    (alone,) = Trainings("gaittake").phases({"objective": {"lambda": {"batch_all": 0.0}}}, task_stopping=STOPPING)
    assert alone.config.task_stopping  # no auxiliary task, as in a variant of a system that has some


def test_tasks_stop_by_the_errors_of_their_names(project: Path):
    dmt_workspace.write_workspace(project)
    (training,) = Trainings("dmt").phases()
    assert training.config.task_stopping
    assert {"gender", "age", "verification"} < set(training.problem.objective.ERRORS)
