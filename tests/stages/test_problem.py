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
from stages.shared import variants
from stages.training.problem import Trainings, merged, refuse_overridden

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
    ranges = {"lambda.gender": [0.01, 1.0], "margin.verification": [0.1, 1.0]}
    dmt_workspace.write_workspace(project, training={"phases": two_phases(**second)}, search={"ranges": ranges})
    with pytest.raises(ValueError, match=rf"search\.ranges\.{refused}.* take objective\.\S+ out of one of the two"):
        tune.main()
    assert not (project / "optuna.db").exists()


def test_an_objective_that_no_phase_measures_is_refused_by_its_name(project: Path):
    listed = [{"name": "first", "tasks": ["age"]}, {"name": "second", "tasks": ["verification"]}]
    dmt_workspace.write_workspace(project, training={"phases": listed})
    with pytest.raises(ValueError, match=r"search.objectives has gender, but this network's validation measures age, identity"):
        tune.main()


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
    project: Path, own: dict[str, Any], changes: dict[str, Any], refused: str, monkeypatch: pytest.MonkeyPatch
):
    dmt_workspace.write_workspace(project, training={"phases": two_phases(**own)})
    params = YAML(typ="safe").load(project / "params.yaml")
    params["compare"]["dmt"]["select"] = ["other"]
    YAML().dump(params, project / "params.yaml")
    file = project / "variants.yaml"
    YAML().dump({"other": changes}, file)
    monkeypatch.setattr(variants, "variants_file", lambda system: file)
    with pytest.raises(ValueError, match=rf"variant other of .*variants\.yaml changes {refused}, but phase second"):
        compare.main()
    assert not (project / ".state/checkpoints").exists()


def test_a_change_beside_what_a_phase_replaces_is_followed():
    phases = [Phase("one", objective={"margin": {"verification": 2.0}}, data={"mirror": False}), Phase("two")]
    for path in (("objective", "margin", "identity"), ("objective", "lambda", "age"), ("data", "crop_px"), ("model", "mirror")):
        refuse_overridden(path, phases, "it")
    with pytest.raises(ValueError, match=r"it changes data\.mirror, but phase one"):
        refuse_overridden(("data", "mirror"), phases, "it")
    named = [Phase("one", objective={"weighting": {"name": "pcgrad"}}), Phase("two")]
    with pytest.raises(ValueError, match=r"it changes objective\.weighting\.alpha, but phase one .* has its own, pcgrad"):
        refuse_overridden(("objective", "weighting", "alpha"), named, "it")


def test_task_stopping_is_refused_where_no_auxiliary_task_has_an_error_of_its_name(project: Path):
    silhouette_stores.write_workspace(project, PARAMS)
    reason = r"nothing in gaittake.* auxiliary tasks are batch_all, the errors identity, ranking; set task_stopping: null"
    with pytest.raises(ValueError, match=rf"training\.task_stopping would stop {reason}"):
        Trainings("gaittake").phases(task_stopping=STOPPING)
    (alone,) = Trainings("gaittake").phases({"objective": {"lambda": {"batch_all": 0.0}}}, task_stopping=STOPPING)
    assert alone.config.task_stopping  # no auxiliary task, as in a variant of a system that has some


def test_a_block_that_goes_by_its_name_is_replaced_whole_by_another_and_changed_where_the_name_stays():
    block = {"weighting": {"name": "uncertainty", "bounds": [-3, 3]}, "margin": {"identity": 1.0}}

    def changed(weighting: dict[str, Any]) -> dict[str, Any]:
        return merged(block, {"weighting": weighting}, "it")["weighting"]

    assert changed({"name": "pcgrad"}) == {"name": "pcgrad"}
    assert changed({"name": "gradnorm", "alpha": 0.1}) == {"name": "gradnorm", "alpha": 0.1}
    assert changed({"bounds": [-1, 1]}) == {"name": "uncertainty", "bounds": [-1, 1]}
    assert changed({"name": "uncertainty", "equation": "eq_3"}) == block["weighting"] | {"equation": "eq_3"}
    with pytest.raises(ValueError, match=r"it\.margin\.name names nothing to change"):
        merged(block, {"margin": {"name": 1.0}}, "it")


def test_a_variant_may_name_another_weighting_and_a_wrong_one_is_refused(project: Path):
    dmt_workspace.write_workspace(project)
    trainings = Trainings("dmt")
    (training,) = trainings.phases({"objective": {"weighting": {"name": "gradnorm"}}})
    assert training.problem.config["objective"]["weighting"] == {"name": "gradnorm"}
    with pytest.raises(ValueError, match=r"dmt\.objective\.weighting\.name must be one of .*, got 'pcgard'"):
        trainings.phases({"objective": {"weighting": {"name": "pcgard"}}})
    with pytest.raises(ValueError, match="alpha"):
        trainings.phases({"objective": {"weighting": {"alpha": 1.0}}})


def test_gradients_of_single_terms_are_refused_on_several_devices_before_anything_trains(project: Path):
    dmt_workspace.write_workspace(project)
    trainings, pcgrad = Trainings("dmt"), {"weighting": {"name": "pcgrad"}}
    with pytest.raises(ValueError, match=r"2 devices do not have: set training\.devices: 1, or another objective\.weighting"):
        trainings.phases({"objective": pcgrad}, devices=2)
    trainings.phases({"objective": {"weighting": {"name": "random"}}}, devices=2)
    single = {"lambda": dict.fromkeys(("gender", "age", "verification"), 0.0)}
    trainings.phases({"objective": pcgrad | single}, devices=2)  # one term: nothing is combined


def test_tasks_stop_by_the_errors_of_their_names(project: Path):
    dmt_workspace.write_workspace(project)
    (training,) = Trainings("dmt").phases()
    assert training.config.task_stopping
    assert {"gender", "age", "verification"} < set(training.problem.objective.ERRORS)
