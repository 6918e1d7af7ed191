"""Servers under load: 200 flow runs on one Prefect server, a served model with 50 requests at a time and a replaced checkpoint.

Part of `make torture`. Each test prints what it did as a line of a table (`-s` shows them as they come).
"""

import json
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest
from flow_stores import write_checkpoint, write_store
from prefect_fleet import BIN, Fleet, commit, fleet, processes
from registry_workspace import write_workspace
from servers import free_port

from people.storage import file_digest
from stages import register

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parent.parent
READY_WITHIN_S = 200.0  # for a busy machine
MARK = "PEOPLE_TORTURE_MARK"  # in the environment of what a test starts

# --- flow runs -------------------------------------------------------------------------------------------------------

RUNS, AT_A_TIME = 200, 2
STAGES = "stages: {pack: {foreach: '${systems}', do: {cmd: 'mkdir -p out && echo 1 > out/${key}', outs: ['out/${key}']}}}"
REPEAT = """
import sys
from functools import cache
from pipelines import flows, graph, workspace
for number in range(int(sys.argv[1])):
    outcomes = flows.reproduce(systems=["dmt", "reid"] if number % 2 else [])
    assert number == 0 or {outcome.status for outcome in outcomes} == {"up to date"}, outcomes
    if number == 1:  # DVC is not what this tries, and takes longer than all of the rest
        graph.read, workspace.has_remote = cache(graph.read), cache(workspace.has_remote)
        workspace.stale_stages = cache(workspace.stale_stages)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("server")) as server:
        yield server


def project_of_two_stages(folder: Path, environment: dict[str, str]) -> Path:
    """A project of two stages that take no time, with the flows of this one."""
    shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "params.yaml").write_text("systems: {dmt: 1, reid: 2}")
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=folder, env=environment, check=True)
    commit(folder, environment=environment)
    return folder


def test_200_flow_runs_end_completed_and_leave_nothing_running_and_no_file(server: Fleet, tmp_path: Path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**server.environment, MARK: str(tmp_path), "TMPDIR": str(temporary)}
    folders = [project_of_two_stages(tmp_path / f"project-{number}", environment) for number in range(AT_A_TIME)]
    command, started_s = [sys.executable, "-c", REPEAT, str(RUNS // AT_A_TIME)], time.monotonic()
    outputs = [(tmp_path / f"output-{number}").open("wb") for number in range(AT_A_TIME)]
    repeating = [
        subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        for folder, output in zip(folders, outputs, strict=True)
    ]
    try:
        codes = [process.wait(900) for process in repeating]
    finally:
        for process, output in zip(repeating, outputs, strict=True):
            process.kill()
            output.close()
    taken_s = time.monotonic() - started_s
    assert codes == [0] * AT_A_TIME, [Path(output.name).read_text()[-3000:] for output in outputs]
    states = Counter(run["state_type"] for run in all_runs(server))
    print(f"{RUNS} flow runs, {AT_A_TIME} at a time: {dict(states)} in {taken_s:.0f} s")
    assert states == {"COMPLETED": RUNS}
    versions = [listed(folder, environment) for folder in folders]
    assert [len(names) for names in versions] == [RUNS // AT_A_TIME] * AT_A_TIME
    assert not processes(**{MARK: str(tmp_path)})
    assert not list(temporary.iterdir())
    with closing(sqlite3.connect(server.folder / "prefect/prefect.db")) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


def all_runs(server: Fleet) -> list[dict[str, Any]]:
    """Every flow run that the server has."""
    runs: list[dict[str, Any]] = []
    while True:
        page = server.request("flow_runs/filter", {"limit": 100, "offset": len(runs), "sort": "ID_DESC"})
        runs += page
        if len(page) < 100:
            return runs


def listed(folder: Path, environment: dict[str, str]) -> list[str]:
    """The names of a project's versions."""
    command = [sys.executable, "-m", "pipelines.versions"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return [line.split()[0] for line in done.stdout.splitlines()]


# --- a served model --------------------------------------------------------------------------------------------------

REQUESTS = 50


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose state has an untrained network of DMT as the champion of its registry."""
    folder = tmp_path_factory.mktemp("registry")
    store = write_store(folder / "store", subjects=3)
    checkpoint = write_checkpoint(folder / "checkpoint.pt", store)
    write_workspace(folder, store)
    selected = {"selected": "trained", "checkpoint": str(checkpoint), "validation_score": -0.5}
    selected["sha256"] = file_digest(checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "PEOPLE_STATE"):
            patch.delenv(name, raising=False)
        register.register("dmt", selected, {"gender.accuracy": 0.5}, {"frames": store, "poses": store})
        yield folder


@contextmanager
def serving(registry: Path, output: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`mlflow models serve` of the champion, with everything that it starts, and its address."""
    port = free_port()
    uri = f"sqlite:///{registry / '.state/mlflow.db'}"
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": uri, MARK: str(output)}
    command = [str(BIN / "mlflow"), "models", "serve", "--model-uri", "models:/dmt@champion", "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=output.parent, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        started = processes(**{MARK: str(output)})
        process.send_signal(signal.SIGTERM)
        for child in started:
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        process.wait(60)
        psutil.wait_procs(started, timeout=60)


def is_healthy(address: str) -> bool:
    try:
        with urlopen(f"{address}/ping", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def ask(address: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
    """Status and response of a request for predictions."""
    request = Request(f"{address}/invocations", body, {"Content-Type": kind})
    try:
        with urlopen(request, timeout=200) as response:
            return response.status, json.loads(response.read())
    except HTTPError as error:
        return error.code, error.read().decode()


def windows(seed: int, *, count: int = 1, height: int = 60) -> list[Any]:
    return np.random.default_rng(seed).normal(size=(count, 10, height, 60)).astype(np.float32).round(3).tolist()


def malformed() -> dict[str, tuple[bytes, str]]:
    """Requests that no model can answer, by what is wrong with them."""
    flow = windows(0)
    with_nan, with_text, ragged = (json.loads(json.dumps(flow)) for _ in range(3))
    with_nan[0][3][7][5], with_text[0][3][7][5] = float("nan"), "seven"
    del ragged[0][3][7][5]
    bodies = {
        "another name": {"inputs": {"flo": flow}},
        "another shape": {"inputs": {"flow": windows(0, height=50)}},
        "a dimension too few": {"inputs": {"flow": flow[0]}},
        "rows of unequal length": {"inputs": {"flow": ragged}},
        "NaN": {"inputs": {"flow": with_nan}},
        "text among numbers": {"inputs": {"flow": with_text}},
        "text": {"inputs": "flow"},
        "nothing": {"inputs": {}},
        "null": {"inputs": None},
        "no inputs": {"input": 1},
        "a list": [1, 2],
        "objects": {"inputs": {"flow": [{"x": 1}]}},
        "huge numbers": {"inputs": {"flow": [[[[1e308] * 60] * 60] * 10]}},
    }
    requests = {name: (json.dumps(body).encode(), "application/json") for name, body in bodies.items()}
    return requests | {
        "no JSON": (b'{"inputs": {"flow": [[', "application/json"),
        "no bytes": (b"", "application/json"),
        "bytes": (bytes(range(256)), "application/json"),
        "another type": (b"<flow/>", "application/xml"),
        "a table": (b"flow\n1\n", "text/csv"),
    }


def test_50_requests_at_a_time_among_malformed_ones_are_answered_as_one_alone_is(registry: Path, tmp_path: Path):
    bodies = [json.dumps({"inputs": {"flow": windows(number)}}).encode() for number in range(REQUESTS)]
    wrong = malformed()
    with serving(registry, tmp_path / "output") as (process, address):
        deadline = time.monotonic() + READY_WITHIN_S
        while not is_healthy(address):
            assert process.poll() is None, (tmp_path / "output").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.3)
        started_s = time.monotonic()
        alone = [ask(address, body) for body in bodies]
        alone_s, started_s = time.monotonic() - started_s, time.monotonic()
        with ThreadPoolExecutor(REQUESTS + len(wrong)) as threads:
            refused = {name: threads.submit(ask, address, *request) for name, request in wrong.items()}
            answers = [future.result() for future in [threads.submit(ask, address, body) for body in bodies]]
            refusals = {name: future.result() for name, future in refused.items()}
        together_s = time.monotonic() - started_s
        assert ask(address, b"[" * 100_000)[0] >= 400  # MLflow's parser, which has no limit of depth, answers with 500
        assert is_healthy(address)
        assert ask(address, bodies[0]) == alone[0]
        one_name_more = bodies[0].replace(b'{"flow"', b'{"age": [1], "flow"')
        assert ask(address, one_name_more) == alone[0]  # MLflow leaves it out
    codes = Counter(status for status, _ in refusals.values())
    first = f"{REQUESTS} requests one by one: {alone_s:.1f} s, all 200"
    print(f"{first}; at a time with {len(wrong)} malformed ones: {together_s:.1f} s, the same answers, and {dict(codes)}")
    assert {status for status, _ in alone} == {200}
    assert len({json.dumps(answer) for _, answer in alone}) == REQUESTS
    assert answers == alone
    assert {name: refusal for name, refusal in refusals.items() if not 400 <= refusal[0] < 500} == {}
    assert {name: refusal for name, refusal in refusals.items() if len(refusal[1]) < 20} == {}  # with a message
    assert not processes(**{MARK: str(tmp_path / "output")})


class Payload:
    """What creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_a_registered_checkpoint_that_was_replaced_by_a_program_is_not_served_and_runs_nothing(registry: Path, tmp_path: Path):
    (checkpoint,) = [path for path in (registry / ".state/mlruns").rglob("checkpoint.pt") if path.is_file()]
    whole, started_s = checkpoint.read_bytes(), time.monotonic()
    checkpoint.write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    try:
        with serving(registry, tmp_path / "output") as (process, address):
            code = process.wait(READY_WITHIN_S)
            assert not is_healthy(address)
    finally:
        checkpoint.write_bytes(whole)
    output = (tmp_path / "output").read_text()
    taken_s = time.monotonic() - started_s
    print(f"a registered checkpoint that is a program: serving ended with {code} after {taken_s:.0f} s, nothing executed")
    assert code != 0
    assert not (tmp_path / "executed").exists()
    assert "checkpoint.pt must have the SHA-256 that was registered" in output
    assert "likely succeed" not in output  # torch's advice to load it all the same
    assert not processes(**{MARK: str(tmp_path / "output")})
