"""Evaluation selects by validation score and is reproducible; champions are compared on the same data only."""

import io
import json
import pickle
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from flow_stores import network_for, write_checkpoint, write_store
from ruamel.yaml import YAML
from torch import nn

from people import checkpoints
from people.revalidation import revalidate
from people.storage import file_digest
from stages import evaluate, register
from stages.identification import champions

SCORE = {
    "decisions": ["svm", "softmax_product"],
    "neighbours": 7,
    "pca_components": 8,
    "svm_cost": 10.0,
    "batch_size": 64,
    "adapt": {"epochs": 2, "learning_rate": 0.1, "batch_size": 16, "scope": "head"},
    "bootstrap": {"resamples": 20, "confidence": 0.9},
    "elapsed_gallery": ["n01", "n02", "n03", "n04"],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("flow") / "store", subjects=3)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty tracking database: making one takes MLflow five seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def workspace(tmp_path: Path, store: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with parameters, a trained and a tuned checkpoint, and no tracking server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["stage", "dmt"])
    block = {"dataset": "tumgaid", "reads": {"frames": str(store), "poses": str(store)}, "score": SCORE}
    YAML().dump({"seed": 1, "systems": {"dmt": block}}, tmp_path / "params.yaml")
    write_checkpoint(tmp_path / "data/models/dmt/checkpoint.pt", store, seed=0, score=-0.5)
    write_checkpoint(tmp_path / "data/studies/dmt/checkpoint.pt", store, seed=1, score=-0.4)
    (tmp_path / ".state").mkdir()
    shutil.copy(database, tmp_path / ".state/mlflow.db")
    return tmp_path


def registered(store: Path, folder: Path, *, seed: int, score: float, **checkpoint: Any) -> dict[str, Any]:
    """Register an untrained network with this validation score."""
    path = write_checkpoint(folder / f"seed-{seed}" / "checkpoint.pt", store, seed=seed, score=score, **checkpoint)
    selected = {
        "selected": "trained",
        "checkpoint": str(path),
        "sha256": file_digest(path),
        "validation_score": score,
    }
    return register.register("dmt", selected, {"gender.accuracy": 0.7}, {"frames": store, "poses": store})


def champion() -> str:
    return str(mlflow.MlflowClient(register.tracking_uri()).get_model_version_by_alias("dmt", "champion").version)


def test_the_checkpoint_with_the_higher_validation_score_is_evaluated_and_of_equals_the_trained_one(
    workspace: Path, store: Path
) -> None:
    paths = {"trained": workspace / "data/models/dmt/checkpoint.pt", "tuned": workspace / "data/studies/dmt/checkpoint.pt"}
    assert evaluate.select(paths)["selected"] == "tuned"
    write_checkpoint(paths["tuned"], store, seed=1, score=-0.5)
    selection = evaluate.select(paths)
    assert selection["selected"] == "trained"
    assert selection["sha256"] == file_digest(paths["trained"])


def test_a_validation_score_that_is_not_finite_selects_nothing(workspace: Path, store: Path) -> None:
    paths = {"trained": workspace / "data/models/dmt/checkpoint.pt", "tuned": workspace / "data/studies/dmt/checkpoint.pt"}
    write_checkpoint(paths["trained"], store, score=float("nan"))
    with pytest.raises(ValueError, match=r"must be a finite number.* train trained again"):
        evaluate.select(paths)


def test_metrics_that_are_not_defined_are_refused_by_name() -> None:
    evaluate.refuse_undefined("dmt", {"gender.accuracy": 0.5})
    with pytest.raises(ValueError, match=r"dmt: 1 of 2 metrics are not defined on this split, such as age.mae_years"):
        evaluate.refuse_undefined("dmt", {"gender.accuracy": 0.5, "age.mae_years": float("nan")})


def test_evaluating_twice_writes_the_same_bytes_and_prints_the_table(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def outputs() -> dict[str, bytes]:
        evaluate.main()
        return {str(path): path.read_bytes() for path in sorted(Path("data/metrics").rglob("*")) if path.is_file()}

    first = outputs()
    assert outputs() == first
    assert {Path(name).suffix for name in first} == {".json", ".csv", ".png"}
    assert "Ours-2 (7-NN on PCA-128)" in capsys.readouterr().out
    metrics = json.loads(first["data/metrics/dmt.json"])
    assert {"identification.svm.N", "identification.svm.N.low", "gender.accuracy", "age.mae_years", "verification.auc"} <= set(
        metrics
    )
    assert json.loads(first["data/metrics/dmt/selected.json"])["selected"] == "tuned"


def test_a_checkpoint_changed_after_evaluation_is_not_registered(workspace: Path, store: Path) -> None:
    evaluate.main()
    write_checkpoint(workspace / "data/studies/dmt/checkpoint.pt", store, seed=3, score=-0.1)
    with pytest.raises(ValueError, match="was judged; run evaluate again"):
        register.main()


def test_the_first_is_champion_a_worse_one_is_not_a_better_one_is(workspace: Path, store: Path) -> None:
    first = registered(store, workspace, seed=1, score=-0.4)
    worse = registered(store, workspace, seed=2, score=-0.5)
    assert (first["champion_version"], worse["version"], worse["champion_version"]) == ("1", "2", "1")
    assert "the champion stays" in worse["why"]
    better = registered(store, workspace, seed=3, score=-0.3)
    assert (better["version"], better["champion_version"], champion()) == ("3", "3", "3")
    tags = mlflow.MlflowClient(register.tracking_uri()).get_model_version("dmt", "3").tags
    assert tags["validation.score"] == "-0.3"
    assert tags["test.gender.accuracy"] == "0.7"
    assert {"data.digest", "git.sha", "checkpoint.sha256"} <= set(tags)


def test_the_same_checkpoint_twice_is_one_version(workspace: Path, store: Path) -> None:
    first, again = (registered(store, workspace, seed=1, score=-0.4) for _ in range(2))
    assert (first["new"], again["new"]) == (True, False)
    assert again["version"] == again["champion_version"] == first["version"]
    assert "already" in again["why"]


def test_a_champion_of_other_data_is_scored_again_on_the_present_data(workspace: Path, store: Path) -> None:
    other = write_store(workspace / "other", subjects=3, seed=9)
    registered(other, workspace, seed=1, score=99.0)
    entry = registered(store, workspace, seed=2, score=-99.0)
    reads = {"frames": store, "poses": store}
    scores = [revalidate(workspace / f"seed-{seed}" / "checkpoint.pt", reads)["score"] for seed in (1, 2)]
    assert entry["champion_version"] == ("2" if scores[1] > scores[0] else "1")
    assert "both scored again on today's validation subjects" in entry["why"]
    assert f"{scores[0]:.6f}" in entry["why"]


def test_a_champion_that_cannot_be_scored_is_replaced_and_the_reason_is_given(
    workspace: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_store(workspace / "other", subjects=3, seed=9)
    with monkeypatch.context() as patched:
        patched.setattr(register, "impostors", lambda *_: None)  # it could be measured when the version was registered
        registered(other, workspace, seed=1, score=99.0, window_frames=50)  # today's clips have 11
    entry = registered(store, workspace, seed=2, score=-99.0)
    assert (entry["champion_version"], champion()) == ("2", "2")
    assert "version 1 of dmt cannot be scored" in entry["why"]
    assert "window of 50" in entry["why"]


def test_a_version_scored_by_other_tasks_does_not_become_champion(workspace: Path, store: Path) -> None:
    registered(store, workspace, seed=1, score=-0.4, errors=("age", "combined", "identity"))
    entry = registered(store, workspace, seed=2, score=-0.1, errors=("combined", "identity"))
    assert (entry["version"], entry["champion_version"], champion()) == ("2", "1", "1")
    assert "scored by combined, identity, champion 1 by age, combined, identity" in entry["why"]


def test_a_version_that_cannot_be_scored_is_refused(workspace: Path, store: Path) -> None:
    registered(store, workspace, seed=1, score=0.0)
    other = write_store(workspace / "other", subjects=3, seed=9)
    with pytest.raises(ValueError, match="window of 50"):
        registered(other, workspace, seed=2, score=0.0, window_frames=50)
    assert champion() == "1"


def test_the_model_is_logged_to_the_run_that_trained_it(workspace: Path, store: Path) -> None:
    path = write_checkpoint(workspace / "seed-1/checkpoint.pt", store, seed=1, score=-0.4)
    client, experiment = register.tracking.connect("dmt")
    run = client.create_run(experiment)
    client.set_tag(run.info.run_id, "checkpoint.sha256", file_digest(path))
    assert registered(store, workspace, seed=1, score=-0.4)["run_id"] == run.info.run_id
    assert client.get_run(run.info.run_id).info.status == "FINISHED"


def test_the_champion_is_served_outside_the_project_with_the_outputs_of_the_network(workspace: Path, store: Path) -> None:
    registered(store, workspace, seed=1, score=-0.4)
    network, _, statistics = network_for(store, seed=1)
    flow_px = np.random.default_rng(0).normal(size=(3, 10, 60, 60)).astype(np.float32)
    np.save(workspace / "flow.npy", flow_px)
    program = (
        "import json, mlflow, numpy as np\n"
        "from mlflow.pyfunc.scoring_server import invocations\n"
        f"mlflow.set_tracking_uri({register.tracking_uri()!r})\n"
        "model = mlflow.pyfunc.load_model('models:/dmt@champion')\n"
        "np.savez('outputs.npz', **model.predict({'flow': np.load('flow.npy')}))\n"
        "try:\n    model.predict({'flow': np.zeros((1, 10, 50, 60), np.float32)})\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
        "for value in (np.nan, -np.inf):\n"
        "    flow = np.load('flow.npy')[:2]\n"
        "    flow[1, 3, 7, :2] = value\n"
        "    asked = json.dumps({'inputs': {'flow': flow.tolist()}})\n"
        "    try:\n        invocations(asked, 'application/json', model, model.metadata.get_input_schema())\n"
        "    except mlflow.MlflowException as error:\n"
        "        print(error.get_http_status_code(), error.message.splitlines()[-1])\n"
    )
    process = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=workspace, capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == 0, process.stderr
    wrong_shape, *not_finite = process.stdout.splitlines()
    assert wrong_shape == "MlflowException"
    assert len(not_finite) == 2
    for line in not_finite:
        assert line.startswith("400 ")
        assert "the input 'flow' must be finite float32 numbers, 2 of 72000 positions are NaN or infinite" in line
        assert "the first at (1, 3, 7, 0)" in line
    with torch.no_grad():
        expected = network({"flow": torch.from_numpy(flow_px) - statistics["mean"]})
    outputs = np.load(workspace / "outputs.npz")
    assert np.allclose(outputs["signature"], expected["signature"].numpy(), atol=1e-6)
    assert np.allclose(outputs["age_years"], expected["age_years"].numpy(), atol=1e-4)
    assert np.allclose(outputs["gender_probability"], expected["gender"].softmax(1).numpy(), atol=1e-6)
    assert np.allclose(np.exp(outputs["identity_log_probability"]).sum(axis=1), 1, atol=1e-5)


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_another_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def emptied(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut_off, with_another_byte, emptied])
def test_a_fetched_champion_that_is_damaged_is_fetched_again(
    workspace: Path, store: Path, damage: Callable[[bytes], bytes]
) -> None:
    registered(store, workspace, seed=1, score=-0.4)
    kept = champions.champion("dmt").checkpoint
    whole, inode = kept.read_bytes(), kept.stat().st_ino
    assert champions.champion("dmt").checkpoint.stat().st_ino == inode, "a whole one is fetched once"
    kept.write_bytes(damage(whole))
    trained = champions.champion("dmt")
    assert trained.checkpoint == kept
    assert kept.read_bytes() == whole
    assert file_digest(kept) == file_digest(workspace / "seed-1/checkpoint.pt")
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_a_champion_that_is_damaged_in_the_registry_is_named_and_not_kept(workspace: Path, store: Path) -> None:
    registered(store, workspace, seed=1, score=-0.4)
    (checkpoint,) = [path for path in Path(".state/mlruns").rglob("checkpoint.pt") if path.is_file()]
    checkpoint.write_bytes(with_another_byte(checkpoint.read_bytes()))
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"version 1 of dmt has a checkpoint with SHA-256 \w{64} .* \w{64} was registered: .*run"
        ):
            champions.champion("dmt")
    assert list(Path(".state/champions").iterdir()) == []


class Payload:
    """What creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def pickled(path: Path, payload: Payload) -> None:
    path.write_bytes(pickle.dumps(payload))


def saved(path: Path, payload: Payload) -> None:
    torch.save({"network": payload}, path)


def saved_as_before(path: Path, payload: Payload) -> None:
    torch.save({"network": payload}, path, _use_new_zipfile_serialization=False)


def in_a_tar(path: Path, payload: Payload) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(payload)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def as_torchscript(path: Path, payload: Payload) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", [pickled, saved, saved_as_before, in_a_tar, as_torchscript])
def test_a_registered_checkpoint_that_was_replaced_by_a_program_is_refused_by_name_and_runs_nothing(
    workspace: Path, store: Path, write: Callable[[Path, Payload], None]
) -> None:
    registered(store, workspace, seed=1, score=-0.4)
    (checkpoint,) = [path for path in Path(".state/mlruns").rglob("checkpoint.pt") if path.is_file()]
    write(checkpoint, Payload(workspace / "executed"))
    with pytest.raises(ValueError, match=r"checkpoint\.pt is no readable .*it holds other Python objects") as refused:
        mlflow.pyfunc.load_model("models:/dmt@champion")
    assert "weights_only" not in str(refused.value)
    assert "likely succeed" not in str(refused.value)
    assert not (workspace / "executed").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_checkpoint_is_refused_by_name_whatever_its_bytes_are(tmp_path: Path, store: Path) -> None:
    path, draw, messages = write_checkpoint(tmp_path / "checkpoint.pt", store), random.Random(1), []
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = [name for name in contents if name.endswith("data.pkl")]
    for _ in range(300):
        damaged = bytearray(contents[pickled])
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (contents | {pickled: bytes(damaged)}).items():
                archive.writestr(name, content)
        try:
            checkpoints.load(path)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 200
    assert [message for message in messages if str(path) not in message or "weights_only" in message] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no readable checkpoint"),
        (b"not a checkpoint at all", "no readable checkpoint"),
        (None, "no checkpoint at .*train the system first"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_with_its_path(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "checkpoint.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        checkpoints.load(path)


def test_a_truncated_or_a_foreign_checkpoint_is_refused(tmp_path: Path, store: Path) -> None:
    path = write_checkpoint(tmp_path / "checkpoint.pt", store)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="train again"):
        checkpoints.load(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match="not a checkpoint of this project: it lacks config"):
        checkpoints.load(path)


def test_a_checkpoint_that_brings_code_along_is_refused_without_the_advice_to_load_it_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"network": Path("x"), "config": object}, path)
    with pytest.raises(ValueError, match="it holds other Python objects than tensors and plain values") as refused:
        checkpoints.load(path)
    assert "weights_only" not in str(refused.value)
    assert refused.value.__cause__ is not None
    assert refused.value.__cause__.__suppress_context__
