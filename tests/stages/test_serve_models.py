"""`mlflow models serve` of a registered model of each system: answers of the library, also by ONNX Runtime, and refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import mlflow
import numpy as np
import psutil
import pytest
import raw_requests
import small_checkpoints
from servers import free_port

from people import checkpoints, systems
from people.serving import model_input
from people.serving.raw_input import Preparation
from people.storage import file_digest
from stages.registration import onnx_export, versions

pytestmark = pytest.mark.servers  # a server is started for each system: minutes
BOUND = 1e-5
READY_WITHIN_S = 300.0
FREE = 20  # frames, or the sides of pictures


class Served:
    """A registered model, the address at which it is served, and the library's own network."""

    def __init__(self, system: str, checkpoint: Path, address: str) -> None:
        self.system, self.checkpoint, self.address = system, checkpoint, address
        self.network, self.entries = checkpoints.load(checkpoint)
        self.serving: Any = systems.find(system, "serving")
        how = raw_requests.recorded(system, checkpoint.parent)
        self.preparation = Preparation(self.network, self.entries, how.slots, how.files)

    def arrays(self, samples: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Random arrays that it may be asked, with few digits so that the request is short."""
        draw = np.random.default_rng(seed)
        inputs, _ = self.serving.shapes(self.network, self.entries["spec"])
        shapes = {name: (samples, *(FREE if size < 0 else size for size in shape[1:])) for name, shape in inputs.items()}
        return {name: draw.random(shape).round(3).astype(np.float32) for name, shape in shapes.items()}

    def expected(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.serving.predict(self.network, self.entries["statistics"], arrays)

    def expected_of_raw(self, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.preparation.answers(model_input.pictures(raw, self.preparation.names))

    def ask(self, inputs: Any) -> tuple[int, Any]:
        """Status and answer of a request."""
        body = json.dumps({"inputs": inputs}).encode()
        try:
            with urlopen(
                Request(f"{self.address}/invocations", body, {"Content-Type": "application/json"}), timeout=200
            ) as answer:
                return answer.status, json.loads(answer.read())["predictions"]
        except HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module", params=sorted(small_checkpoints.SPECS))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server process of a registered model of each system, with its registry in a file."""
    folder, system = tmp_path_factory.mktemp(request.param), request.param
    checkpoint = small_checkpoints.write(system, folder / "checkpoint.pt")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        client = mlflow.MlflowClient()
        experiment = client.create_experiment(system, artifact_location=(folder / "mlruns").as_uri())
        with mlflow.start_run(experiment_id=experiment):
            mlflow.register_model(log(system, checkpoint), system)
    finally:
        mlflow.set_tracking_uri(before)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    with running(folder, f"models:/{system}/1", uri) as address:
        yield Served(system, checkpoint, address)


def log(system: str, checkpoint: Path) -> str:
    """Log the model as `register` does, without what else it carries."""
    served = raw_requests.served(system, checkpoint, checkpoint.parent)
    return versions.log_model(system, checkpoint, file_digest(checkpoint), {}, served)[1]


class running:
    """`mlflow models serve` while a block runs, and its address; all its processes are ended behind it."""

    def __init__(self, folder: Path, model: str, uri: str) -> None:
        self.folder, port = folder, free_port()
        self.address = f"http://127.0.0.1:{port}"
        programs = Path(sys.executable).parent
        command = [str(programs / "mlflow"), "models", "serve", "--model-uri", model, "--env-manager", "local"]
        self.command = [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": uri}

    def __enter__(self) -> str:
        self.output = (self.folder / "output").open("wb")
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, env=self.environment, stdout=self.output, stderr=self.output, start_new_session=True
        )
        deadline = time.monotonic() + READY_WITHIN_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                pytest.fail(f"not ready:\n{(self.folder / 'output').read_text()[-3000:]}")
            time.sleep(0.2)
        return self.address

    def is_ready(self) -> bool:
        try:
            with urlopen(f"{self.address}/ping", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        started = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        for process in (self.process, *started):
            process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        for process in psutil.wait_procs(started, timeout=30)[1]:
            process.kill()
        self.output.close()


def nested(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Arrays as JSON has them."""
    return {name: values.astype(float).round(3).tolist() for name, values in arrays.items()}


def assert_near(computed: dict[str, Any], expected: dict[str, np.ndarray]) -> None:
    assert set(computed) == set(expected)
    for name, values in expected.items():
        scale = max(1.0, float(np.abs(values).max()))
        assert np.shape(computed[name]) == values.shape, name
        assert float(np.abs(np.asarray(computed[name]) - values).max()) / scale < BOUND, name


@pytest.mark.parametrize("samples", [1, 3])
def test_the_server_answers_with_the_numbers_of_the_library_and_so_does_onnx_runtime(
    served: Served, tmp_path: Path, samples: int
):
    arrays = served.arrays(samples)
    status, answer = served.ask(nested(arrays))
    assert status == 200, answer
    expected = served.expected(arrays)
    assert_near(answer, expected)
    if samples == 1:
        exported = onnx_export.export(served.checkpoint, tmp_path / "onnx")
        assert exported is not None
        assert_near(onnx_export.OnnxModel(exported.path, served.checkpoint).predict(arrays), expected)


def test_the_server_answers_raw_pictures_with_the_numbers_of_the_library(served: Served):
    raw = raw_requests.request(served.system)
    status, answer = served.ask({name: values.tolist() for name, values in raw.items()})
    assert status == 200, answer
    assert_near(answer, served.expected_of_raw(raw))


def test_raw_pictures_that_cannot_be_answered_get_status_400_and_the_reason(served: Served):
    raw = {name: values.tolist() for name, values in raw_requests.request(served.system).items()}
    first = next(iter(raw))
    with_nan = [*raw[first][1:], (np.array(raw[first][0]) * np.nan).tolist()]
    requests = {
        "an empty list": raw | {first: []},
        "must have whole numbers from 0 to 255": raw | {first: with_nan},
        "expected prepared arrays": raw | nested(served.arrays(1)),
    }
    requests["inhomogeneous shape"] = raw | {first: [*raw[first], [row[:40] for row in raw[first][0]]]}  # MLflow's words
    for words, inputs in requests.items():
        status, answer = served.ask(inputs)
        assert status == 400, (words, answer)
        assert words in json.loads(answer)["message"]
        assert len(answer) < 20_000, "the pixels are not sent back"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_is_refused_by_the_name_of_its_array(served: Served, value: float):
    for name in served.arrays(1):
        arrays = served.arrays(1)
        arrays[name].reshape(-1)[3] = value
        inputs = {each: values.astype(float).tolist() for each, values in arrays.items()}
        status, answer = served.ask(inputs)
        assert status == 400, answer
        assert f"the input '{name}' must be finite float32 numbers, 1 of {arrays[name].size} positions" in answer


def test_malformed_requests_get_a_reason_and_no_answer(served: Served):
    arrays = nested(served.arrays(1))
    first = next(iter(arrays))
    ragged = json.loads(json.dumps(arrays))
    del ragged[first][0][0]
    ragged[first] = [*ragged[first], *arrays[first]]
    requests = {
        "another name": {"something": arrays[first]},
        "a dimension too few": {**arrays, first: arrays[first][0]},
        "rows of unequal length": ragged,
        "text": {**arrays, first: "seven"},
        "nothing": {},
    }
    for what, inputs in requests.items():
        status, answer = served.ask(inputs)
        assert 400 <= status < 500, (what, status, answer)
        assert json.loads(answer)["message"], what
    assert served.ask(arrays)[0] == 200
