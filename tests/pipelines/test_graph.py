"""The order of the stages comes from DVC's own graph."""

from pathlib import Path

import pytest

from pipelines import graph
from pipelines.commands import Failed
from pipelines.parameters import Inputs
from pipelines.work import check

DOT = """strict digraph {
"report@dmt";
"train@dmt";
"ingest@tumgaid";
"train@reid";
"ingest@market";
"ingest@tumgaid" -> "train@dmt";
"train@dmt" -> "report@dmt";
"ingest@tumgaid" -> "report@dmt";
"ingest@market" -> "train@reid";
}""".splitlines()


def test_every_stage_comes_after_all_that_it_reads():
    order = graph.parse(DOT)
    names = list(order)
    assert set(names) == {"report@dmt", "train@dmt", "ingest@tumgaid", "train@reid", "ingest@market"}
    assert all(names.index(before) < names.index(name) for name, upstream in order.items() for before in upstream)
    assert order["report@dmt"] == ("ingest@tumgaid", "train@dmt")


def test_a_selection_has_what_it_needs_and_nothing_else():
    order = graph.parse(DOT)
    assert graph.select(order, ["train"], ["dmt"]) == ["ingest@tumgaid", "train@dmt"]
    assert graph.select(order, ["train"]) == [name for name in order if name != "report@dmt"]
    assert graph.select(order) == list(order)


@pytest.mark.parametrize(("stages", "systems"), [(["trian"], []), ([], ["dtm"]), (["report"], ["reid"])])
def test_names_that_are_not_in_dvc_yaml_are_refused_with_those_that_are(stages: list[str], systems: list[str]):
    with pytest.raises(Failed, match=r"train|dmt"):
        graph.select(graph.parse(DOT), stages, [*systems])


def test_a_misspelt_system_is_refused_with_the_nearest_name():
    with pytest.raises(Failed, match=r"systems dtm: not in dvc\.yaml, which has dmt, .*; did you mean dmt\?"):
        graph.select(graph.parse(DOT), [], ["dtm"])


def test_a_folder_without_stages_is_refused():
    with pytest.raises(Failed, match=r"no stage.*root folder"):
        graph.parse(["strict digraph {", "}"])


def test_the_graph_of_this_project_is_dvcs(root, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(root)
    order = graph.read()
    assert "flow@tumgaid" in order["train@dmt"]
    assert {"train@dmt", "tune@dmt"} <= set(order["evaluate@dmt"])


@pytest.mark.parametrize("key", ["x; touch y", "$(touch y)", "a b", "-x", "A", "1"])
def test_a_key_that_a_shell_would_not_take_as_a_word_is_refused_before_any_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
):
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {train: {foreach: '${systems}', do: {cmd: 'echo ${key}'}}}")
    Path("params.yaml").write_text(f"systems: {{dmt: 1, '{key}': 2}}\nother: {{'not used in commands': 3}}")
    with pytest.raises(Failed, match="must be lower-case letters, digits and _"):
        graph.read()
    Path("params.yaml").write_text("systems: {dmt: 1, dmt_2: 2}\nother: {'not used in commands': 3}")
    graph.check_keys()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"commit": "--upload-pack=touch y"}, "no full name of a commit"),
        ({"commit": "HEAD"}, "no full name of a commit"),
        ({"lock": {"--run-cache": {}}}, "no name of a stage"),
        ({"lock": {"train@x;y": {}}}, "no name of a stage"),
    ],
)
def test_what_is_sent_to_a_worker_is_checked_before_git_and_dvc_get_it(changes: dict, reason: str):
    valid = {"repository": "file:///srv/people", "commit": "0" * 40, "params": "", "lock": {"flow@tumgaid": {}, "pack": {}}}
    check(Inputs(**valid))
    with pytest.raises(Failed, match=reason):
        check(Inputs(**(valid | changes)))
