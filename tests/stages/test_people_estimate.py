"""How long a run is said to take: known stages at the sizes of params.yaml, on this machine or a slower one."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.command.calibration import measure
from stages.command.estimate import CORES, FRAME_S, REFERENCE, STEP_S, THREADS, UNKNOWN_S, fixed_s, seconds, size

PARAMS: dict[str, Any] = YAML(typ="safe", pure=True).load(Path(__file__).parents[2] / "params.yaml")
SAME = {"step_s": STEP_S, "frame_s": FRAME_S, "cores": CORES, "threads": THREADS}


def own(stage: str, params: dict[str, Any], **speed: float) -> float:
    """The seconds of a stage beside those that each takes to begin."""
    fixed = fixed_s(stage.partition("@")[0]) * (speed.get("frame_s", FRAME_S) / FRAME_S)
    return seconds([stage], params, SAME | speed)[stage] - fixed


@pytest.mark.parametrize("stage", REFERENCE)
def test_the_table_has_the_sizes_of_params_yaml(stage: str):
    """Where this fails params.yaml has other defaults: the size in the table, or the seconds too, are to be renewed."""
    assert size(stage, PARAMS) == pytest.approx(REFERENCE[stage].size, rel=1e-3)
    assert own(stage, PARAMS) == pytest.approx(REFERENCE[stage].seconds, rel=1e-3)


def test_every_stage_of_the_default_systems_is_in_the_table():
    kinds = ("train", "evaluate", "register", "report")
    assert {f"{kind}@{system}" for kind in kinds for system in PARAMS["systems"]} <= set(REFERENCE)
    blocks = ("validate", "flow", "silhouettes", "poses", "crops", "foregrounds", "scenes")
    stages = {f"{kind}@{key}" for kind in blocks for key in PARAMS[kind]} | {f"ingest@{key}" for key in PARAMS["datasets"]}
    assert stages <= set(REFERENCE)


def test_twice_the_size_takes_twice_as_long():
    params = deepcopy(PARAMS)
    for split in ("train", "validation", "test"):
        params["datasets"]["casiab"]["subjects"][split] *= 2
    params["systems"]["gaittake"]["training"]["epochs"] *= 2
    params["systems"]["gaittake"]["search"]["trials"] *= 2
    for stage in ("ingest@casiab", "silhouettes@casiab", "train@gaittake", "tune@gaittake"):
        assert own(stage, params) == pytest.approx(2 * own(stage, PARAMS)), stage
    assert own("compare@gaittake", params) == pytest.approx(own("compare@gaittake", PARAMS))


def test_a_comparison_and_a_search_take_as_many_epochs_as_they_train():
    """dmt trains for 12 epochs, compares 2 variants over 2, searches with 2 trials of 1 and trains what it finds to the end."""
    training = own("train@dmt", PARAMS)
    assert own("compare@dmt", PARAMS) == pytest.approx(training * 4 / 12)
    assert own("tune@dmt", PARAMS) == pytest.approx(training * (2 + 12) / 12)
    params = deepcopy(PARAMS)
    params["systems"]["dmt"]["search"]["finals"] = {"seeds": 3, "also": ["equal"]}  # one of 9 is `train`'s
    assert own("tune@dmt", params) == pytest.approx(training * (2 + 8 * 12) / 12)


def test_a_slower_machine_takes_longer():
    assert own("train@dmt", PARAMS, step_s=2 * STEP_S) == pytest.approx(2 * own("train@dmt", PARAMS))
    assert own("ingest@dmt", PARAMS, step_s=2 * STEP_S) == pytest.approx(own("ingest@dmt", PARAMS))
    assert own("ingest@fvg", PARAMS, cores=2 * CORES) == pytest.approx(own("ingest@fvg", PARAMS) / 2)
    assert own("train@dmt", PARAMS, threads=1) > own("train@dmt", PARAMS)


def test_a_stage_that_is_not_known_has_some_seconds():
    assert own("train@toy", PARAMS) == pytest.approx(UNKNOWN_S)


def test_this_machine_is_measured():
    speed = measure(PARAMS["systems"]["dmt"]["training"])
    assert 0 < speed.frame_s < 10
    assert 0 < speed.step_s < 100
    assert speed.cores >= 1
