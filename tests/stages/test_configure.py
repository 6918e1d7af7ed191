"""params.yaml is changed by name: comments stay, what does not exist is refused, and then nothing is changed."""

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.configure import PROFILES, RENAMED, configure, leaves, parse, present


@pytest.fixture
def file(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy2(root / "params.yaml", tmp_path))


def test_a_value_is_changed_on_its_line_and_no_other_line_is(file: Path):
    before = file.read_text().splitlines()
    lines = configure(file, [parse("systems.dmt.training.epochs=31"), parse("systems.dmt.model.widths=[4, 8, 8, 16]")])
    after = file.read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == len(lines) == 2
    assert {new.split("#")[0].strip() for _, new in changed} == {"epochs: 31", "widths: [4, 8, 8, 16]"}
    assert all(old.partition("#")[2] == new.partition("#")[2] for old, new in changed)


def test_every_profile_names_keys_that_exist(file: Path):
    profiles = sorted(PROFILES.glob("*.yaml"))
    assert {path.stem for path in profiles} >= {"small", "real", "paper", "oumvlp"}
    for profile in profiles:
        configure(file, list(leaves(YAML(typ="safe").load(profile))))


def test_an_unknown_key_is_refused_with_what_is_there_and_nothing_is_changed(file: Path):
    before = file.read_bytes()
    with pytest.raises(SystemExit, match=r"no systems.dmt.training.epoch.*epochs.*Nothing was changed"):
        configure(file, [parse("seed=5"), parse("systems.dmt.training.epoch=31")])
    assert file.read_bytes() == before


def test_a_setting_without_a_value_is_refused_with_an_example():
    with pytest.raises(SystemExit, match="KEY=VALUE"):
        parse("seed")


def blocks(file: Path) -> dict:
    return YAML(typ="safe").load(file)


def test_a_profile_adds_a_dataset_by_its_whole_blocks_and_the_second_time_changes_nothing(file: Path):
    before, changes = blocks(file), list(leaves(YAML(typ="safe").load(PROFILES / "oumvlp.yaml")))
    configure(file, changes)
    once = file.read_bytes()
    after = blocks(file)
    assert set(after["datasets"]) == {*before["datasets"], "oumvlp"}
    assert after["datasets"]["oumvlp"].keys() == before["datasets"]["casiab"].keys()
    assert after["validate"]["oumvlp"].keys() == before["validate"]["casiab"].keys()
    assert {name: after["datasets"][name] for name in before["datasets"]} == before["datasets"]
    configure(file, changes)
    assert file.read_bytes() == once


@pytest.mark.parametrize(
    "setting",
    [
        "add.datasets.oumvlq={source: parametric}",
        "add.systems.oumvlp={}",
        "add.datasets.oumvlp=3",
        "datasets.oumvlp.source=official",
    ],
)
def test_only_the_whole_block_of_a_dataset_that_there_is_can_be_added(file: Path, setting: str):
    before = file.read_bytes()
    with pytest.raises(SystemExit, match="Nothing was changed"):
        configure(file, [parse(setting)])
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("setting", "new"),
    [
        ("systems.reid.training.batches.people=8", "systems.reid.training.batches.identities"),
        ("systems.gaittake.model.keypoints=false", "systems.gaittake.data.keypoints"),
        ("systems.gaittake.model.classifier=true", "systems.gaittake.objective.lambda.cross_entropy"),
        ("systems.reid.model.tasks=[identity]", "systems.reid.objective.lambda"),
        ("systems.reid.data.junk=true", "systems.reid.objective.lambda.junk"),
    ],
)
def test_a_key_of_an_earlier_release_is_refused_with_its_new_name(file: Path, setting: str, new: str):
    before = file.read_bytes()
    with pytest.raises(SystemExit, match=rf"It is now {new}"):
        configure(file, [parse(setting)])
    assert file.read_bytes() == before


def test_a_file_of_an_earlier_release_is_refused_with_every_new_name(file: Path):
    old = file.read_text().replace("identities: 16, samples_each: 4", "people: 16, clips: 4")
    assert old != file.read_text()
    file.write_text(old)
    with pytest.raises(SystemExit, match=r"(?s)batches\.people: now systems\.reid\.training\.batches\.identities.*clips"):
        configure(file, [parse("seed=2")])
    assert file.read_text() == old


def test_every_new_name_is_there(file: Path):
    for new in RENAMED.values():
        assert present(blocks(file), new.split(" ")[0].split("."))
