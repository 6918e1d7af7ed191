"""How long a run is said to take: known stages at the sizes of params.yaml, on this machine or a slower one."""

from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from stages.command import run
from stages.command.calibration import measure
from stages.command.estimate import CORES, FRAME_S, REFERENCE, STEP_S, THREADS, UNKNOWN_S, fixed_s, measuring, seconds, size
from stages.command.plan import Plan
from stages.command.run import estimates_of
from stages.shared import executors

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
    params["search"]["gaittake"]["trials"] *= 2
    for stage in ("ingest@casiab", "silhouettes@casiab", "train@gaittake", "tune@gaittake"):
        assert own(stage, params) == pytest.approx(2 * own(stage, PARAMS)), stage
    assert own("compare@gaittake", params) == pytest.approx(own("compare@gaittake", PARAMS))


def test_a_comparison_and_a_search_take_as_many_epochs_as_they_train():
    """dmt trains for 12 epochs, compares 2 variants over 2, searches with 2 trials of 1 and trains what it finds to the end."""
    training = own("train@dmt", PARAMS)
    assert own("compare@dmt", PARAMS) == pytest.approx(training * 4 / 12)
    assert own("tune@dmt", PARAMS) == pytest.approx(training * (2 + 12) / 12)
    params = deepcopy(PARAMS)
    params["search"]["dmt"]["finals"] = {"seeds": 3, "also": ["equal"]}  # one of 9 is `train`'s
    assert own("tune@dmt", params) == pytest.approx(training * (2 + 8 * 12) / 12)


@pytest.mark.parametrize(("block", "stage"), [("compare", "compare@dmt"), ("search", "tune@dmt"), ("datasets", "train@dmt")])
def test_where_a_block_is_missing_the_stage_is_to_say_so(block: str, stage: str):
    params = deepcopy(PARAMS)
    del params[block]["dmt" if block != "datasets" else "tumgaid"]
    assert size(stage, params) == 1.0


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


def calibrations() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "stages.command.calibration" in " ".join(child.cmdline())]


def test_the_machine_is_measured_in_a_process_that_waits_until_it_is_asked():
    with measuring() as measured:
        assert len(calibrations()) == 1
        speed = measured()
    assert set(speed) == set(SAME)
    assert all(value > 0 for value in speed.values())
    assert calibrations() == []


def test_who_does_not_ask_leaves_no_process():
    with suppress(KeyError), measuring():
        assert len(calibrations()) == 1
        raise KeyError
    assert calibrations() == []


def test_a_machine_that_cannot_be_measured_is_an_error_for_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "people").mkdir()
    (tmp_path / "people/__init__.py").write_text("raise RuntimeError('broken here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    with measuring():
        pass
    with measuring() as measured, pytest.raises(ValueError, match=r"could not be measured:(?s:.)*broken here"):
        measured()


@pytest.mark.parametrize(("shares", "taken"), [({}, THREADS), ({"OMP_NUM_THREADS": "1"}, 1)])
def test_a_stage_of_several_at_a_time_has_its_share_of_the_machine(shares: dict[str, str], taken: int):
    plan = Plan(["ingest@tumgaid", "train@dmt"], 0, [])
    estimates = estimates_of(plan, 4, shares, lambda: SAME)
    assert estimates == seconds(plan.to_run, PARAMS, SAME | {"cores": 1.0, "threads": taken})


def test_shares_are_of_the_cores_that_there_are_and_leave_what_is_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "available_cores", lambda: 8)
    monkeypatch.delenv("PEOPLE_PROCESSES", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert run.shares_of(1) == {}
    assert run.shares_of(2) == {"PEOPLE_PROCESSES": "4"}
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert run.shares_of(16) == {"OMP_NUM_THREADS": "1", "PEOPLE_PROCESSES": "1"}


def test_a_short_run_waits_for_no_measurement():
    def measured() -> dict[str, float]:
        raise AssertionError("asked")

    assert estimates_of(Plan(["report@dmt"], 0, []), 1, {}, measured) == seconds(["report@dmt"], PARAMS)


@pytest.mark.parametrize(("share", "count"), [("3", 3), ("", 5)])
def test_a_stage_has_as_many_processes_as_its_share_or_all_cores(share: str, count: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(executors, "available_cores", lambda: 5)
    monkeypatch.setenv("PEOPLE_PROCESSES", share)
    assert executors.processes() == count


@pytest.mark.parametrize("share", ["0", "-1", "two", "1.5"])
def test_no_number_of_processes_is_refused(share: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PEOPLE_PROCESSES", share)
    with pytest.raises(ValueError, match=f"PEOPLE_PROCESSES is '{share}': expected a number of processes from 1; correct it"):
        executors.processes()
