"""docs/parameters.md has every parameter, and is what the command writes today."""

from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from stages import parameters
from stages.shared.param_docs import meaning_and_notes, sentences_on

COMMAND = "python -m stages.parameters docs/parameters.md"


def test_the_document_is_what_the_command_writes():
    made, written = parameters.document(ROOT / "params.yaml"), (ROOT / "docs/parameters.md").read_text()
    assert made == written, f"docs/parameters.md is out of date; run this command: {COMMAND}"


def test_every_value_of_params_yaml_is_in_the_document():
    text = (ROOT / "docs/parameters.md").read_text()
    documented = {tuple(row.split("`")[1].split(".")) for row in text.splitlines() if row.startswith("| `")}
    for key in scalars(YAML(typ="safe").load(ROOT / "params.yaml")):
        beginnings = [
            parameters.pattern(key[:length]) for length in range(1, len(key) + 1) if length > 2 or key[0] != "systems"
        ]
        assert any(beginning in documented for beginning in beginnings), (
            f"{'.'.join(key)} is not in docs/parameters.md: {COMMAND}"
        )


def scalars(block: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The keys of everything that is no block."""
    found = []
    for name, value in block.items():
        found += scalars(value, (*above, name)) if isinstance(value, dict) and value else [(*above, name)]
    return found


def test_a_parameter_without_a_meaning_is_refused_by_its_name(tmp_path: Path):
    text = (ROOT / "params.yaml").read_text()
    file = tmp_path / "params.yaml"
    for line, name in (
        ("      step_frames: 5 ", "systems.dmt.data.step_frames"),
        ("    jpeg_quality: 92 ", "datasets.*.jpeg_quality"),
    ):
        start = text.index(line)
        end = text.index("\n", start)
        file.write_text(text[:start] + line.rstrip() + text[end:])
        with pytest.raises(ValueError, match=rf"no meaning: {name.replace('*', '.')};"):
            parameters.document(file)


def test_a_comment_is_told_from_what_papers_have_and_goes_on_over_lines():
    lines = ["a: 1  # side (of it; here); paper: 30;", "      # as above; of the map", "b: 2"]
    comment = parameters.comment_at(lines, 0)
    assert meaning_and_notes(comment) == (["side (of it; here); of the map"], ["paper: 30"])
    assert parameters.comment_at(lines, 2) == ""


def test_sentences_that_name_a_parameter():
    docstring = "Sizes. `width`: of the layer; `depth` and `height`: of all. Reduced by `width`, if it\nis not 0."
    assert sentences_on("width", docstring) == ["of the layer.", "Reduced by `width`, if it is not 0."]
    assert sentences_on("height", docstring) == ["`depth` and `height`: of all."]
    assert sentences_on("missing", docstring) == []
