"""Who is champion: a version that is better by more than noise on the same data, and nobody else by itself."""

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from flow_stores import write_checkpoint, write_store
from registry_workspace import (
    TRAINED,
    client,
    empty_database,
    make_blind,
    registered,
    registered_checkpoint,
    use,
    version_with,
    without_onnx,
    write_judged,
    write_workspace,
)

from people import checkpoints
from people.serving.revalidation import revalidate
from people.storage import file_digest
from stages import register
from stages.registration import champions, lineage
from stages.shared.project import remove


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("flow") / "store", subjects=3)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return empty_database(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def workspace(tmp_path: Path, store: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with parameters, a trained and a tuned checkpoint, and no tracking server."""
    use(tmp_path, monkeypatch)
    without_onnx(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["stage", "dmt"])
    write_workspace(tmp_path, store)
    (tmp_path / ".state").mkdir()
    shutil.copy(database, tmp_path / ".state/mlflow.db")
    return tmp_path


def test_the_first_is_champion_a_better_one_becomes_champion_and_a_worse_one_challenger(workspace: Path, store: Path) -> None:
    first = registered(store, workspace, seed=1, score=-0.9, blind=True)
    assert (first["version"], first["champion_version"], first["why"]) == ("1", "1", "there was no champion")
    better = registered(store, workspace, seed=2, score=-0.4)
    assert (better["version"], better["champion_version"], version_with("champion")) == ("2", "2", "2")
    worse = registered(store, workspace, seed=3, score=0.0, blind=True)
    assert (worse["version"], worse["champion_version"], version_with("champion"), version_with("challenger")) == (
        "3",
        "2",
        "2",
        "3",
    )
    reads = {"frames": store, "poses": store}
    scores = [revalidate(workspace / f"seed-{seed}" / "checkpoint.pt", reads)["score"] for seed in (1, 2)]
    assert f"{scores[1]:.6f}, champion 1 has {scores[0]:.6f}" in better["why"]
    assert f"a difference of {scores[1] - scores[0]:+.6f} [" in better["why"]
    assert "95%, 3 validation subjects" in better["why"]
    assert "no more than noise: the champion stays" in worse["why"]


def test_of_two_networks_alike_the_champion_stays_whatever_the_checkpoints_say_of_their_scores(
    workspace: Path, store: Path
) -> None:
    registered(store, workspace, seed=1, score=-0.4, blind=True)
    alike = registered(store, workspace, seed=2, score=-0.1, blind=True)
    assert (alike["champion_version"], version_with("champion"), version_with("challenger")) == ("1", "1", "2")
    assert "a difference of +0.000000 [+0.000000, +0.000000]" in alike["why"]


def test_of_two_people_noise_cannot_be_told_and_the_champion_stays(workspace: Path) -> None:
    pair = write_store(workspace / "pair", subjects=2)
    registered(pair, workspace, seed=1, score=-0.9, blind=True)
    entry = registered(pair, workspace, seed=2, score=-0.1)
    assert (entry["champion_version"], version_with("champion")) == ("1", "1")
    assert "2 validation subjects are too few to tell noise from progress" in entry["why"]
    register.promote("dmt", "2")
    assert version_with("champion") == "2"


def test_a_better_version_of_other_data_is_not_promoted_and_both_scores_on_todays_data_are_told(
    workspace: Path, store: Path
) -> None:
    other = write_store(workspace / "other", subjects=3, seed=9)
    first = registered(other, workspace, seed=1, score=-0.9, blind=True)
    entry = registered(store, workspace, seed=2, score=0.0)
    reads = {"frames": store, "poses": store}
    scores = [revalidate(workspace / f"seed-{seed}" / "checkpoint.pt", reads)["score"] for seed in (1, 2)]
    assert scores[1] > scores[0]
    assert (entry["champion_version"], version_with("champion"), version_with("challenger")) == ("1", "1", "2")
    assert first["data_digest"] != entry["data_digest"]
    for told in (first["data_digest"][:12], entry["data_digest"][:12], *(f"{score:.6f}" for score in scores)):
        assert told in entry["why"]
    assert "both scored again on today's validation subjects" in entry["why"]
    assert "python -m stages.register dmt --promote 2" in entry["why"]


def test_a_champion_that_cannot_be_scored_keeps_its_alias_and_the_stage_ends_with_the_reason(
    workspace: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_store(workspace / "other", subjects=3, seed=9)
    with monkeypatch.context() as patched:
        patched.setattr(register, "impostors", lambda *_: None)  # it could be scored when the version was registered
        patched.setattr(lineage, "revalidate", lambda *_: {"score": 99.0, "errors": {}})
        registered(other, workspace, seed=1, score=99.0, window_frames=50)  # today's clips have 11
    with pytest.raises(champions.Unusable, match=r"version 1 of dmt cannot be scored .*window of 50"):
        registered(store, workspace, seed=2, score=-99.0)
    assert (version_with("champion"), version_with("challenger")) == ("1", "2")


def removed(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint.parent.parent)


class Program:
    """What creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed").resolve(),)


def replaced_by_a_program(checkpoint: Path) -> None:
    checkpoint.write_bytes(pickle.dumps(Program()))


def replaced_by_another_checkpoint(checkpoint: Path) -> None:
    make_blind(checkpoint)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (removed, "the files of version 1 of dmt are gone"),
        (Path.unlink, "the files of version 1 of dmt are gone: there is no artifacts/checkpoint.pt"),
        (replaced_by_a_program, r"with SHA-256 \w{64}, got \w{64}: it was damaged or replaced"),
        (replaced_by_another_checkpoint, r"with SHA-256 \w{64}, got \w{64}: it was damaged or replaced"),
    ],
)
def test_a_champion_whose_files_are_gone_or_others_keeps_its_alias_until_somebody_promotes_another(
    workspace: Path, store: Path, damage: Callable[[Path], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_judged(workspace, workspace / TRAINED, -0.5)
    register.main()
    assert version_with("champion") == "1"
    checkpoint = registered_checkpoint()
    damage(checkpoint)
    remove(Path("data/registry"))
    write_judged(workspace, write_checkpoint(workspace / TRAINED, store, seed=3, score=-0.1), -0.1)
    for _ in range(2):  # again, as by a DVC stage that failed
        with pytest.raises(champions.Unusable, match=reason) as refused:
            register.main()
        assert (version_with("champion"), version_with("challenger")) == ("1", "2")
        assert not Path("data/registry/dmt.json").exists()
    told = str(refused.value)
    assert "Version 1 keeps the alias champion" in told
    assert not Path("executed").exists()
    monkeypatch.setattr(sys, "argv", told.split("python -m ")[1].split(";")[0].split())
    register.main()
    assert version_with("champion") == "2"
    with pytest.raises(mlflow.MlflowException):
        version_with("challenger")
    monkeypatch.setattr(sys, "argv", ["stage", "dmt"])
    register.main()
    assert json.loads(Path("data/registry/dmt.json").read_text())["champion_version"] == "2"


def test_a_champion_that_has_layers_of_other_code_keeps_its_alias(
    workspace: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = registered(store, workspace, seed=1, score=-0.4)
    whole = checkpoints.load

    def of_other_code(path: Path) -> Any:
        if file_digest(path) == first["checkpoint_sha256"]:
            raise ValueError(f"{path} does not fit the network of today's code: missing keys")
        return whole(path)

    monkeypatch.setattr(champions.checkpoints, "load", of_other_code)
    with pytest.raises(champions.Unusable, match=r"version 1 of dmt cannot be loaded .*missing keys"):
        registered(store, workspace, seed=2, score=-0.1)
    assert (version_with("champion"), version_with("challenger")) == ("1", "2")


def test_the_same_checkpoint_as_a_champion_whose_files_are_gone_is_not_taken_for_registered(
    workspace: Path, store: Path
) -> None:
    registered(store, workspace, seed=1, score=-0.4)
    shutil.rmtree(".state/mlruns")
    with pytest.raises(champions.Unusable, match="delete version 1 of dmt in MLflow, and register it again"):
        registered(store, workspace, seed=1, score=-0.4)
    assert version_with("champion") == "1"
    client().delete_model_version("dmt", "1")
    assert registered(store, workspace, seed=1, score=-0.4)["champion_version"] == "2"


@pytest.mark.parametrize("number", ["3", "first", "-1", ""])
def test_a_version_that_is_not_there_or_not_whole_is_not_promoted(workspace: Path, store: Path, number: str) -> None:
    registered(store, workspace, seed=1, score=-0.4)
    registered(store, workspace, seed=2, score=-0.5)
    with pytest.raises(ValueError, match=rf"dmt has no version '{number}': expected one of 1, 2"):
        register.promote("dmt", number)
    shutil.rmtree(".state/mlruns")
    with pytest.raises(champions.Unusable, match="the files of version 2 of dmt are gone"):
        register.promote("dmt", "2")
    assert version_with("champion") == "1"


def test_a_version_scored_by_other_tasks_does_not_become_champion(workspace: Path, store: Path) -> None:
    registered(store, workspace, seed=1, score=-0.4, errors=("age", "combined", "identity"))
    entry = registered(store, workspace, seed=2, score=-0.1, errors=("combined", "identity"))
    assert (entry["version"], entry["champion_version"], version_with("champion")) == ("2", "1", "1")
    assert "scored by combined, identity, champion 1 by age, combined, identity" in entry["why"]
