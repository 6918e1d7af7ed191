"""params.yaml is changed by name: comments stay, what does not exist is refused, and then nothing is changed."""

import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from foreach import foreach_blocks
from ruamel.yaml import YAML

from stages.configure import PROFILES, RENAMED, configure, leaves, parse, present
from stages.shared import param_blocks, variants
from stages.shared.param_blocks import check_changed

PARAMS: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
FOREACH = foreach_blocks(ROOT / "dvc.yaml")


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
    assert {path.stem for path in profiles} >= {"small", "real", "paper", "oumvlp", "usf"}
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


def test_a_dataset_into_whose_layout_nobody_is_rendered_has_an_archive_of_its_own_and_nothing_else(file: Path):
    changes = list(leaves(YAML(typ="safe").load(PROFILES / "usf.yaml")))
    configure(file, [*changes, parse("datasets.usf.archive=/data/usf")])
    assert blocks(file)["datasets"]["usf"] == {"source": "official", "archive": "/data/usf"}
    assert blocks(file)["foregrounds"]["usf"] == {"size_hw": [64, 32]}
    with pytest.raises(SystemExit, match=r"datasets\.usf\.source must be official, .* got 'parametric'. Nothing was changed"):
        configure(file, [parse("datasets.usf.source=parametric")])


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
        ("systems.dmt.search.trials=4", r"search\.dmt"),
        ("systems.reid.score.rerank=null", r"score\.reid"),
        ("systems.dmt.compare.variants.x={}", r"compare\.dmt \(variants: people/systems/dmt/variants\.yaml\)"),
    ],
)
def test_a_key_of_an_earlier_release_is_refused_with_its_new_name(file: Path, setting: str, new: str):
    before = file.read_bytes()
    with pytest.raises(SystemExit, match=rf"It is now {new}"):
        configure(file, [parse(setting)])
    assert file.read_bytes() == before


@pytest.mark.parametrize("block", ["compare", "search", "score"])
def test_a_system_that_has_no_entry_in_a_stages_block_is_named(file: Path, block: str):
    yaml = YAML()
    document = yaml.load(file)
    del document[block]["reid"]
    yaml.dump(document, file)
    before = file.read_bytes()
    with pytest.raises(SystemExit, match=rf"{block} must have the systems dmt, .*: see reid\. Nothing was changed"):
        configure(file, [parse("seed=2")])
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


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("systems.dmt.training.epochs=abc", "systems.dmt.training.epochs must be a whole number, got 'abc'"),
        ("systems.dmt.training.epochs=2.5", "systems.dmt.training.epochs must be a whole number, got 2.5"),
        ("systems.dmt.training.schedule.factor=abc", "systems.dmt.training.schedule.factor must be a number"),
        ("systems.dmt.training.task_stopping.threshold=x", "systems.dmt.training.task_stopping.threshold must be a number"),
        ("systems.dmt.training.epochs=0", "training.epochs must be at least 1"),
        ("systems.dmt.training.batches.samples=abc", "systems.dmt.training.batches.samples must be a whole number"),
        (
            "systems.gaittake.training.batches.per_epoch=1.5",
            "systems.gaittake.training.batches.per_epoch must be a whole number",
        ),
        ("systems.dmt.training.optimizer.name=sdg", "training.optimizer.name must be one of sgd, adam"),
        ("systems.dmt.training.loader_workers=[1]", "loader_workers must be a whole number or a text"),
        ("systems.dmt.data.mirror=3", "systems.dmt.data.mirror must be true or false"),
        ("systems.dmt.model.widths=[1, a, 3, 4]", "systems.dmt.model.widths must be a list, each entry a whole number"),
        ("systems.dmt.objective.lambda.age=abc", ""),
        ("systems.reid.objective.lambda.identity=abc", "lambda.identity must be a number"),
        ("score.reid.bootstrap.resamples=abc", "score.reid.bootstrap.resamples must be a number as 1000 is"),
        ("score.reid.rerank.k1=abc", "score.reid.rerank.k1 must be a number as 10 is"),
        ("search.dmt.trials=abc", "search.dmt.trials must be a whole number"),
        ("search.dmt.pruner.startup_trials=abc", "search.dmt.pruner.startup_trials"),
        ("search.dmt.sampler=tpr", "search.sampler must be one of tpe"),
        ("compare.dmt.seeds=0", "compare.dmt.seeds must be at least 1"),
        ("compare.dmt.select=[identty]", r"no variant 'identty' \(did you mean identity\?\)"),
        ("systems.dmt.dataset=casia", "systems.dmt.dataset must be tumgaid or casiab"),
        ("systems.dmt.reads.frames=3", "systems.dmt.reads must be a block, each value a text"),
        ("datasets.tumgaid.size_hw=abc", "datasets.tumgaid.size_hw must be a list"),
        ("datasets.tumgaid.size_hw=[96]", r"size_hw must be \[height, width\]"),
        ("datasets.tumgaid.subjects.train=abc", "datasets.tumgaid.subjects.train must be a whole number of at least 0"),
        ("datasets.casiab.subjects=3", "datasets.casiab.subjects must be a block"),
        ("datasets.casiab.views_deg=0", "datasets.casiab.views_deg must be a list"),
        ("datasets.casiab.source=kinect", "source 'kinect' is not one of"),
        ("datasets.casiab.frame_rate_hz=0", "frame_rate_hz must be above 0"),
        ("datasets.market1501.junk=-1", "datasets.market1501.junk must be a whole number of at least 0"),
        ("datasets.tumgaid.variation.within_subject=abc", "datasets.tumgaid.variation.within_subject must be a number"),
        ("validate.casiab.min_frames=abc", "validate.casiab.min_frames must be a whole number"),
        ("validate.casiab.max_bad_share=5", r"max_bad_share must lie in \[0, 1\]"),
        ("validate.casiab.age_years=[9, 3]", r"age_years must be \[youngest, oldest\]"),
        ("poses.casiab.widths=8", "poses.casiab.widths must be a list"),
        ("crops.market1501.size_hw=[1, 2]", "size_hw must be"),
        ("foregrounds.fvg.size_hw=[4, 2]", "foregrounds: size_hw must be"),
        ("scenes.coco.size_hw=[90, 121]", "scenes: size_hw must be"),
        ("seed=abc", "seed must be a whole number"),
        ("archives=abc", "archives must be a block, each value a text"),
        ("archives={casiab: 3}", "archives must be a block, each value a text"),
        ("flow.tumgaid.method=3", "flow.tumgaid.method must be a text"),
        ("flow.tumgaid.size_hw=60", "flow.tumgaid.size_hw must be a list, each entry a whole number"),
        ("flow.tumgaid.compute_size_hw=[a, b]", "flow.tumgaid.compute_size_hw must be a list, each entry a whole number"),
        ("silhouettes.casiab.method=[maskrcnn]", "silhouettes.casiab.method must be a text"),
        ("silhouettes.casiab.soft=maybe", "silhouettes.casiab.soft must be true or false"),
        ("silhouettes.fvg.size_hw=[64, 32.5]", "silhouettes.fvg.size_hw must be a list, each entry a whole number"),
        ("poses.casiab.epochs=abc", "poses.casiab.epochs must be a whole number"),
        ("poses.casiab.learning_rate=fast", "poses.casiab.learning_rate must be a number"),
        ("poses.casiab.head=[32, wide]", "poses.casiab.head must be a list, each entry a whole number"),
        ("crops.market1501.size_hw=large", "crops.market1501.size_hw must be a list"),
        ("foregrounds.fvg.size_hw={height: 64}", "foregrounds.fvg.size_hw must be a list"),
        ("scenes.coco.size_hw=[180, x]", "scenes.coco.size_hw must be a list, each entry a whole number"),
        ("identify.max_frames=many", "identify.max_frames must be a whole number"),
        ("identify.systems=reid", "identify.systems must be a list, each entry a text"),
        ("identify.false_accept_rate=2", r"identify.false_accept_rate must be between 0 and 1"),
        ("identify.background.absorb_s=long", "identify.background.absorb_s must be a number"),
        ("identify.tracking.confirm_frames=true", "identify.tracking.confirm_frames must be a whole number"),
        ("identify.background=3", "identify.background must be a block"),
        ("systems.gaitnet.model.lstm=64", "systems.gaitnet.model.lstm must be a list"),
        ("systems.gaitnet.model.split=3", "systems.gaitnet.model.split must be true or false"),
        ("systems.gaitnet.model.gait_noise=loud", "systems.gaitnet.model.gait_noise must be a number"),
        ("systems.gaitnet.training.batches.pairs=abc", "systems.gaitnet.training.batches.pairs must be a whole number"),
        ("systems.gaitnet.objective.norm=mean", "systems.gaitnet.objective.norm must be a block"),
        ("score.gaitnet.folds=five", "score.gaitnet.folds must be a whole number"),
        ("score.gaitnet.bootstrap.resamples=[1]", "score.gaitnet.bootstrap.resamples must be a number"),
        ("systems.multipose.data.flip=often", "systems.multipose.data.flip must be a number"),
        ("systems.multipose.data.crop_px=abc", "systems.multipose.data.crop_px must be"),
        ("systems.multipose.model.answer.people=true", "systems.multipose.model.answer.people must be a number as"),
        ("systems.multipose.model.anchors_px=16", "systems.multipose.model.anchors_px must be a list"),
        ("systems.multipose.objective.lambda.keypoints=true", "systems.multipose.objective.lambda.keypoints must be a number"),
        ("systems.multipose.training.phases=3", ""),
        ("score.multipose.cross_validation.epochs=true", "cross_validation.epochs must be a number as"),
        ("datasets.tumgaid.subjects.elapsed.train=abc", "datasets.tumgaid.subjects.elapsed.train must be a whole number"),
    ],
)
def test_a_value_that_a_stage_would_not_take_is_refused_with_its_key_and_nothing_is_changed(
    file: Path, setting: str, reason: str
):
    before = file.read_bytes()
    with pytest.raises(SystemExit, match=rf"(?s)^{re.escape(setting.partition('=')[0])}=.*{reason}.*Nothing was changed"):
        configure(file, [parse(setting)])
    assert file.read_bytes() == before


OTHER_KINDS = {
    bool: ["maybe", 3],
    int: ["abc", [1], True],
    float: ["abc", [1], True],
    str: [3, [1], {"a": 1}],
    list: ["abc", 3],
}
EITHER = ("loader_workers", "devices", "data_on_device", "lambda.identity", "lambda.attributes")  # a number or a word


@pytest.mark.parametrize("system", PARAMS["systems"])
def test_every_variant_of_a_system_can_be_built(system: str):
    names = list(variants.read_variants(system))
    document = deepcopy(PARAMS)
    document["compare"][system]["select"] = names
    check_changed(document, PARAMS, {("compare", system, "select"): names})


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "identity: {objective: {lambda: {age: x}}}",
            r"variants\.yaml, variant identity: could not convert string to float: 'x'",
        ),
        (
            "identity: {objective: {lamda: {age: 0.0}}}",
            r"variants\.yaml, variant identity: dmt\.objective\.lamda names nothing to change",
        ),
        (
            "identity: {training: {epochs: 1}}",
            r"variants\.yaml: variant identity can change .*, got training",
        ),
        ("identity: 3", r"variants\.yaml: variant identity must be a block of values, got 3"),
        ("all: {}", r"variants\.yaml: all is the name of the system as it is"),
        ("[identity]", r"variants\.yaml: expected a block of changes by the name of each variant, got \['identity'\]"),
        ("identity: {", r"variants\.yaml: expected YAML, but"),
        ("{}", r"compare\.dmt\.select: .*variants\.yaml has no variant 'identity'"),
        (None, r"variants\.yaml: expected the variants of dmt, no such file exists"),
    ],
)
def test_a_variant_that_can_be_none_is_refused(text: str | None, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "variants.yaml"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(variants, "variants_file", lambda system: file)
    monkeypatch.setattr(param_blocks, "variants_file", lambda system: file)
    with pytest.raises(ValueError, match=error):
        check_changed(PARAMS, PARAMS, {("compare", "dmt", "epochs"): 2})


@pytest.mark.parametrize("block", sorted({*PARAMS, *(f"systems.{name}" for name in PARAMS["systems"])} - {"systems"}))
def test_a_value_of_another_kind_is_refused_wherever_it_is_put(block: str):
    above = tuple(block.split("."))
    found = PARAMS[above[0]] if len(above) == 1 else PARAMS[above[0]][above[1]]
    taken = []
    for key, value in leaves(found, above) if isinstance(found, dict) else [(above, found)]:
        for other in OTHER_KINDS.get(type(value), []):
            if isinstance(other, int | str) and isinstance(value, int | str) and ".".join(key).endswith(EITHER):
                continue
            if not refusal(key, other).startswith(f"{'.'.join(key)}={other}: "):
                taken.append((*key, other))
    assert taken == []


def refusal(key: tuple[str, ...], value: Any) -> str:
    """Why this value is refused; nothing where it is taken."""
    document = deepcopy(PARAMS)
    inner = document
    for name in key[:-1]:
        inner = inner[name]
    inner[key[-1]] = value
    try:
        check_changed(document, PARAMS, {key: value})
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "settings",
    [
        ["systems.dmt.training.devices=auto", "systems.dmt.training.loader_workers=2"],
        ["systems.dmt.training.data_on_device=true", "systems.dmt.training.task_stopping=null"],
        ["systems.reid.objective.lambda.identity=1.0", "score.reid.rerank=null"],
        ["systems.reid.objective.lambda.junk=0.5", "systems.dmt.objective.lambda.gender=0"],
        ["systems.dmt.training.learning_rate=1.0", "datasets.casiab.frame_rate_hz=12.5"],
        ["systems.dmt.training.schedule={name: milestones, factor: 0.1, epochs: [3]}"],
        ["datasets.tumgaid.source=official", "datasets.tumgaid.variation=null"],
    ],
)
def test_every_other_form_of_a_value_is_taken(file: Path, settings: list[str]):
    changes = [parse(setting) for setting in settings]
    configure(file, changes)
    for key, value in changes:
        written = YAML(typ="safe", pure=True).load(file)
        for name in key:
            written = written[name]
        assert written == value


def test_a_typing_error_in_a_key_is_answered_with_the_nearest_one(file: Path):
    with pytest.raises(SystemExit, match=r"no systems.dmt.trianing; .*\(did you mean training\?\)"):
        configure(file, [parse("systems.dmt.trianing.epochs=3")])


def test_a_value_that_is_no_yaml_is_refused_with_its_setting():
    with pytest.raises(SystemExit, match=r"systems.dmt.model.widths=\[1, 2: the value is not YAML"):
        parse("systems.dmt.model.widths=[1, 2")


PATHS = ["/data/x: y", "/data/#1 # 2", "/data/{a}", "- x", "1e3", "null", '/data/it\'s "so"', "%x", "/" + "long name " * 40]


@pytest.mark.parametrize("path", PATHS)
def test_any_path_is_written_so_that_it_is_read_again(file: Path, path: str):
    configure(file, [parse(f"datasets.casiab.archive={path}")])
    assert blocks(file)["datasets"]["casiab"]["archive"] == path
    assert yaml.safe_load(file.read_text())["datasets"]["casiab"]["archive"] == path, "a parser of YAML 1.1 reads the same"


def test_the_home_folder_is_expanded_on_writing(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ann")
    configure(file, [parse("datasets.casiab.archive=~/X"), (("datasets", "tumgaid", "archive"), "~/Y")])
    assert blocks(file)["datasets"]["casiab"]["archive"] == "/home/ann/X"
    assert blocks(file)["datasets"]["tumgaid"]["archive"] == "/home/ann/Y"


def test_a_path_with_a_colon_reaches_dvc_as_it_is(root: Path, tmp_path: Path):
    (tmp_path / "a: b # c").mkdir()
    (tmp_path / "a: b # c/clip").write_text("x")
    shutil.copy2(root / "params.yaml", tmp_path)
    text = """stages:
  ingest:
    foreach: ${datasets}
    do: {cmd: "mkdir -p out && echo ${key} > out/${key}", deps: ["${item.archive}"], outs: ["out/${key}"]}
"""
    (tmp_path / "dvc.yaml").write_text(text)
    configure(tmp_path / "params.yaml", [parse(f"datasets.casiab.archive={tmp_path}/a: b # c")])
    dvc = str(Path(sys.executable).with_name("dvc"))
    for command in (["init", "--no-scm", "-q"], ["repro", "-q", "ingest@casiab"]):
        subprocess.run([dvc, *command], cwd=tmp_path, check=True, timeout=100)
    record = YAML(typ="safe").load(tmp_path / "dvc.lock")["stages"]["ingest@casiab"]["deps"]
    assert [dep["nfiles"] for dep in record] == [1]


@pytest.mark.parametrize("name", ["x; touch y", "$(touch y)", "X", "1x", "a b", "a-b"])
@pytest.mark.parametrize("kind", FOREACH)
def test_a_name_that_means_something_to_a_shell_is_refused(file: Path, kind: str, name: str):
    document = YAML()
    loaded = document.load(file)
    loaded[kind][name] = dict(next(iter(loaded[kind].values()))) if loaded[kind] else "/disk"
    document.dump(loaded, file)
    before = file.read_bytes()
    with pytest.raises(SystemExit, match=rf"{kind}\.{re.escape(name)}: a name must be lower-case letters, digits and _"):
        configure(file, [parse("seed=2")])
    assert file.read_bytes() == before
