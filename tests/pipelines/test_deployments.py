"""What a person sees of the deployments of prefect.yaml: descriptions, tags, and a described type for every parameter."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from ruamel.yaml import YAML

from pipelines import names
from pipelines.parameters import Place, Pools, RunOptions

ROOT = Path(__file__).parent.parent.parent
DEPLOYMENTS: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(ROOT / "prefect.yaml")["deployments"]
SENTENCE_CHARS = 30


def address(deployment: dict[str, Any]) -> str:
    """Its name with its function's."""
    return f"{deployment['entrypoint'].rpartition(':')[2]}/{deployment['name']}"


@pytest.fixture(params=DEPLOYMENTS, ids=address)
def deployment(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


def schema(deployment: dict[str, Any]) -> dict[str, Any]:
    """The schema that Prefect makes of the flow's parameters."""
    file, _, function = deployment["entrypoint"].partition(":")
    return parameter_schema(load_flow_from_entrypoint(f"{ROOT / file}:{function}")).model_dump()


def fields(parameters: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every parameter, and every field of a parameter that is a block of fields."""
    yield from parameters["properties"].items()
    for name, definition in parameters["definitions"].items():
        for field, content in definition.get("properties", {}).items():
            yield f"{name}.{field}", content


def test_a_description_says_what_it_does_and_what_it_needs(deployment: dict[str, Any]):
    text = deployment["description"]
    assert text.count(". ") >= 1
    assert text.endswith(".")
    assert "needs" in text
    assert "Use it" in text or "do not start it by hand" in text
    assert deployment["work_pool"]["name"] in text


def test_tags_and_description_tell_deployments_of_the_same_name_apart(deployment: dict[str, Any]):
    tags = deployment["tags"]
    assert {"coordinator", "identification", "worker"} & set(tags)
    assert f"pool {deployment['work_pool']['name']}" in tags
    assert ("worker" in tags) == (deployment["name"] in ("cpu", "gpu"))
    if "worker" not in tags:
        assert deployment["name"] in tags
    others = [other for other in DEPLOYMENTS if address(other) != address(deployment)]
    assert deployment["description"] not in [other["description"] for other in others]


def test_every_parameter_has_a_type_and_a_sentence(deployment: dict[str, Any]):
    for name, field in fields(schema(deployment)):
        assert "type" in field or "$ref" in field, name
        assert len(field["description"]) > SENTENCE_CHARS, name
        assert field["description"].endswith("."), name
        if field.get("type") == "object":
            assert name == "Inputs.lock", "parts of dvc.lock, which a coordinator sends, have no fields of ours"


def test_parameters_of_a_deployment_are_those_of_its_flow(deployment: dict[str, Any]):
    file, _, function = deployment["entrypoint"].partition(":")
    flow = load_flow_from_entrypoint(f"{ROOT / file}:{function}")
    given = deployment.get("parameters", {})
    required = {"identify": {"video": "x.mp4"}}.get(flow.name, {})
    if "worker" not in deployment["tags"]:
        validated = flow.validate_parameters(required | given)
        if deployment["name"] == "fleet":
            assert validated["options"].pools.named() == {"train": "gpu", "compare": "gpu", "tune": "gpu"}


def test_there_is_a_place_for_every_stage_of_dvc_yaml_and_for_no_other():
    stages = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
    kinds = [field.alias or name for name, field in Pools.model_fields.items()]
    assert set(kinds) == {name for name, stage in stages.items() if "foreach" in stage}


def test_every_place_is_a_pool_to_which_stages_can_be_sent():
    pools = {entry["name"] for entry in DEPLOYMENTS if entry["entrypoint"].endswith(":stage_on_worker")}
    assert {str(place) for place in Place} == {"here", *pools}


@pytest.mark.parametrize(
    ("flow", "parameters", "expected"),
    [
        ("reproduce", {}, "reproduce all five"),
        ("train", {"systems": ["dmt", "gaittake"], "options": {"pools": {"train": "gpu"}}}, "train dmt, gaittake on gpu"),
        ("tune", {"systems": ["reid"], "trials": 50, "workers": 4}, "tune reid with 50 trials by 4 workers"),
        ("register", {"options": {"pools": {"validate": "cpu", "train": "gpu"}}}, "register all five on gpu and cpu"),
    ],
)
def test_a_flow_run_is_named_by_what_it_does(
    monkeypatch: pytest.MonkeyPatch, flow: str, parameters: dict[str, Any], expected: str
):
    monkeypatch.chdir(ROOT)
    options = RunOptions.model_validate(parameters.get("options", {}))
    assert names.title(flow, {"systems": [], **parameters, "options": options}) == expected


@pytest.mark.parametrize("name", ["early-otter", "delta-toki-k", "9-canis-majoris"])
def test_names_that_prefect_makes_up_are_replaced(name: str):
    assert names.GENERATED.fullmatch(name)


@pytest.mark.parametrize("name", ["before the talk", "Friday", "reproduce all five"])
def test_names_that_a_person_gave_stay(name: str):
    assert not names.GENERATED.fullmatch(name)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("systems: {dmt: 1}", "dmt"),
        ("systems: {dmt: 1, reid: 2}", "all two"),
        (f"systems: {{{', '.join(f's{number}: 1' for number in range(12))}}}", "all 12"),
        ("weight: 1", "everything"),
        ("systems: [", "everything"),
        ("", "everything"),
    ],
)
def test_a_run_of_everything_counts_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, expected: str):
    monkeypatch.chdir(tmp_path)
    assert names.everything() == "everything"
    (tmp_path / "params.yaml").write_text(content)
    assert names.everything() == expected
