"""Evaluation selects by validation score and is reproducible; champions are compared on the same data only."""

import io
import json
import pickle
import random
import re
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
from mlflow.artifacts import download_artifacts
from registry_workspace import (
    METRICS,
    TRAINED,
    TUNED,
    client,
    empty_database,
    registered,
    registered_checkpoint,
    use,
    version_with,
    without_onnx,
    write_workspace,
)
from torch import nn

from people import checkpoints
from people.storage import file_digest
from stages import evaluate, register
from stages.identification import champions
from stages.registration import onnx_export


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


def test_the_checkpoint_with_the_higher_validation_score_is_evaluated_and_of_equals_the_trained_one(
    workspace: Path, store: Path
) -> None:
    assert evaluate.select("dmt", 1)["selected"] == "tuned"
    write_checkpoint(TUNED, store, seed=1, score=-0.5)
    selection = evaluate.select("dmt", 1)
    assert selection["selected"] == "trained"
    assert selection["sha256"] == file_digest(TRAINED)


def test_a_validation_score_that_is_not_finite_selects_nothing(workspace: Path, store: Path) -> None:
    write_checkpoint(TRAINED, store, score=float("nan"))
    with pytest.raises(ValueError, match=r"must be a finite number.* train trained again"):
        evaluate.select("dmt", 1)


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
    assert {Path(name).suffix for name in first} == {".json", ".csv", ".png", ".webp"}
    assert "Ours-2 (7-NN on PCA-128)" in capsys.readouterr().out
    metrics = json.loads(first["data/metrics/dmt/all.json"])
    assert {"identification.svm.N", "identification.svm.N.low", "gender.accuracy", "age.mae_years", "verification.auc"} <= set(
        metrics
    )
    assert json.loads(first["data/metrics/dmt/selected.json"])["selected"] == "tuned"


def test_a_checkpoint_changed_after_evaluation_is_not_registered(workspace: Path, store: Path) -> None:
    evaluate.main()
    write_checkpoint(TUNED, store, seed=3, score=-0.1)
    with pytest.raises(ValueError, match="was judged; run evaluate again"):
        register.main()


def test_a_version_has_few_tags_and_its_model_has_the_metrics_of_the_test(workspace: Path, store: Path) -> None:
    entry = registered(store, workspace, seed=1, score=-0.4)
    version = client().get_model_version("dmt", entry["version"])
    assert set(version.tags) == {
        "checkpoint.sha256", "checkpoint.selected", "data.digest", "validation.score", "validation.errors",
        "validation.impostors", "git.sha",
    }  # fmt: skip
    assert version.tags["validation.score"] == "-0.4"
    model = mlflow.get_logged_model(mlflow.models.get_model_info(f"models:/dmt/{version.version}").model_id)
    assert {metric.key: metric.value for metric in model.metrics or []} == {
        f"test.{name}": value for name, value in METRICS.items()
    }


def test_a_person_can_read_what_a_model_is_and_call_it_as_its_page_says(workspace: Path, store: Path) -> None:
    entry = registered(store, workspace, seed=1, score=-0.4)
    model, version = client().get_registered_model("dmt"), client().get_model_version("dmt", entry["version"])
    assert "Serving of DMT: from windows of optical flow" in model.description
    assert "- gender.accuracy: 0.7 (0.6 to 0.8)" in version.description
    for text in (model.description, version.description):
        assert "docs/responsible-use.md" in text
        assert len(text) <= 5000
    called: dict[str, Any] = {}
    exec(model.description.split("```python\n")[1].split("```")[0], called)
    assert {"identity_log_probability", "signature", "gender_probability", "age_years"} <= set(called["answers"])


def test_the_lineage_the_card_and_the_graphs_accompany_the_checkpoint(
    workspace: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = tmp_path / "graphs"
    graph.mkdir()
    (graph / "network.onnx").write_bytes(b"a graph")

    class Exported:
        path = graph

    monkeypatch.setattr(onnx_export, "export", lambda *_: Exported)
    entry = registered(store, workspace, seed=1, score=-0.4)
    (tmp_path / "fetched").mkdir()
    files = Path(download_artifacts("models:/dmt@champion", dst_path=str(tmp_path / "fetched")), "artifacts")
    assert sorted(path.name for path in files.iterdir()) == ["checkpoint.pt", "graphs", "lineage.json", "model_card.md"]
    assert (files / "graphs/network.onnx").read_bytes() == b"a graph"
    assert json.loads((files / "lineage.json").read_text())["checkpoint"]["sha256"] == entry["checkpoint_sha256"]
    assert "## Consent and licence" in (files / "model_card.md").read_text()


def test_the_same_checkpoint_twice_is_one_version(workspace: Path, store: Path) -> None:
    first, again = (registered(store, workspace, seed=1, score=-0.4) for _ in range(2))
    assert (first["new"], again["new"]) == (True, False)
    assert again["version"] == again["champion_version"] == first["version"]
    assert "already" in again["why"]


def test_a_version_that_cannot_be_scored_is_refused(workspace: Path, store: Path) -> None:
    registered(store, workspace, seed=1, score=0.0)
    other = write_store(workspace / "other", subjects=3, seed=9)
    with pytest.raises(ValueError, match="window of 50"):
        registered(other, workspace, seed=2, score=0.0, window_frames=50)
    assert version_with("champion") == "1"


def test_the_model_is_logged_by_a_run_of_its_own_below_the_one_that_trained_it_whose_times_stay(
    workspace: Path, store: Path
) -> None:
    path = write_checkpoint(workspace / "seed-1/checkpoint.pt", store, seed=1, score=-0.4)
    connected, experiment = register.runs.connect("dmt")
    run_id = connected.create_run(experiment).info.run_id
    connected.set_tag(run_id, "checkpoint.sha256", file_digest(path))
    connected.set_terminated(run_id, "FINISHED", end_time=12345)
    before = connected.get_run(run_id)
    entry = registered(store, workspace, seed=1, score=-0.4)
    after, own = connected.get_run(run_id), connected.get_run(entry["run_id"])
    assert (after.info, after.data.tags) == (before.info, before.data.tags)
    assert own.info.run_id != run_id
    assert own.info.status == "FINISHED"
    assert own.data.tags["mlflow.parentRunId"] == entry["training_run_id"] == run_id
    assert own.info.run_name == f"dmt, the trained checkpoint {file_digest(path)[:8]} registered"
    assert connected.get_model_version("dmt", "1").tags["training.run_id"] == run_id


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
    checkpoint = registered_checkpoint()
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
    checkpoint = registered_checkpoint()
    write(checkpoint, Payload(workspace / "executed"))
    with pytest.raises(mlflow.MlflowException, match=r"must have the SHA-256 that was registered, \w{64}, got \w{64}"):
        mlflow.pyfunc.load_model("models:/dmt@champion")
    (description,) = Path(".state/mlruns").rglob("MLmodel")  # the digest in the model's own folder is replaced too
    (registered_digest,) = re.findall(r"checkpoint_sha256: (\w{64})", description.read_text())
    description.write_text(description.read_text().replace(registered_digest, file_digest(checkpoint)))
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
