"""Every stage says how it is called."""

import runpy
import sys
from pathlib import Path

import pytest

STAGES = sorted(path.stem for path in (Path(__file__).parent.parent.parent / "stages").glob("[a-z]*.py"))

WITHOUT_PARAMS = ("dashboard", "forget", "lineage")  # their arguments are no names of params.yaml


@pytest.mark.parametrize("stage", STAGES)
def test_help_names_the_argument_and_what_the_stage_does(
    stage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(sys, "argv", [stage, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"stages.{stage}", run_name="__main__")
    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert "usage: " in printed
    assert stage in WITHOUT_PARAMS or "in params.yaml" in printed or "--set" in printed


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in ("configure", "dashboard")])
@pytest.mark.parametrize("arguments", [[], ["a", "b", "c"]])
def test_a_call_that_cannot_be_is_answered_with_the_usage(
    stage: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(sys, "argv", [stage, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"stages.{stage}", run_name="__main__")
    assert ended.value.code == 2
    assert "usage: " in capsys.readouterr().err
