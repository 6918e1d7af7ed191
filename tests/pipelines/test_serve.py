"""`make serve` with real processes: its services, its error messages, and that no process is left afterwards."""

import hashlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import optuna
import psutil
import psycopg2
import pytest
from mlflow import MlflowClient
from servers import free_port, postgres

from pipelines import links
from pipelines.services import Service, ServiceDown, ServiceGroup, request

ROOT = Path(__file__).parent.parent.parent
SERVICES = ("prefect", "mlflow", "optuna", "reports")
SLEEP_FLOW = """
import subprocess
from prefect import flow


@flow
def sleep() -> None:
    subprocess.run(["sleep", "600"], check=True)
"""

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1500)]
TIMEOUT_S = 300  # for a busy machine


@dataclass
class Running:
    """A start of `make serve`: its process, its state folder, its ports, its output, and its environment for clients."""

    process: subprocess.Popen[bytes]
    folder: Path
    ports: dict[str, int]

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    @property
    def environment(self) -> dict[str, str]:
        """What a shell has after `set -a; . serve.env; set +a`."""
        command = f"set -a; . {self.folder / 'serve.env'}; set +a; env -0"
        done = subprocess.run(["sh", "-c", command], env={"PATH": os.defpath}, capture_output=True, text=True, check=True)
        return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)

    def prefect(self, path: str, body: Any = None) -> Any:
        return request(f"{self.environment['PREFECT_API_URL']}/{path}", body)

    def processes(self) -> list[psutil.Process]:
        """This start's process and all below it."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


def start(folder: Path, ports: Mapping[str, int], **environment: str) -> subprocess.Popen[bytes]:
    """`make serve` on these ports, with its state in the folder and its output in folder/output."""
    folder.mkdir(parents=True, exist_ok=True)
    flags = [f"--{name}-port={port}" for name, port in ports.items()]
    own = {
        key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_", "OPTUNA_", "DATABASE_"))
    }
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.serve", *flags],
            cwd=ROOT,
            env={**own, "PEOPLE_STATE": str(folder), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Running]:
    """All services healthy, on free ports; stopped at the end of the block if the test has not done so."""
    ports = {name: free_port() for name in SERVICES}
    serve = Running(start(folder, ports, **environment), folder, ports)
    try:
        wait_until(lambda: "Ctrl-C here" in serve.output or serve.process.poll() is not None, TIMEOUT_S)
        assert serve.process.poll() is None, serve.output
        yield serve
    finally:
        serve.process.terminate()
        serve.process.wait(timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("team") / "state") as serve:
        yield serve


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    """Return when the condition holds; fail if that takes longer than `seconds`."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"waited {seconds:.0f} s without success"
        time.sleep(0.2)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a zombie has ended."""
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def run_sleep_flow(serve: Running, folder: Path, runs: int = 1) -> None:
    """Deploy a flow whose command sleeps for ten minutes, and run it; returns when it sleeps, below this start's process."""
    folder.mkdir(exist_ok=True)
    (folder / "sleeps.py").write_text(SLEEP_FLOW)
    prefect(serve, folder, "--no-prompt", "deploy", "sleeps.py:sleep", "--name", "sleep", "--pool", "cpu")
    for _ in range(runs):
        prefect(serve, folder, "deployment", "run", "sleep/sleep")
    wait_until(lambda: len(sleepers(serve.processes())) == runs, TIMEOUT_S)
    assert prefect_states(serve) == ["RUNNING"] * runs


def prefect_states(serve: Running) -> list[str]:
    return [run["state_type"] for run in serve.prefect("flow_runs/filter", {})]


def prefect(serve: Running, folder: Path, *arguments: str) -> None:
    """A command of Prefect's, typed in another terminal."""
    command = [sys.executable, "-m", "prefect", *arguments]
    environment = {**os.environ, **serve.environment, "PREFECT_HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def sleepers(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.name() == "sleep"]


def test_another_terminal_reaches_all_services_and_their_state_is_that_of_the_stages(team: Running):
    client = MlflowClient(team.environment["MLFLOW_TRACKING_URI"])
    experiment = client.create_experiment("seen by the team")
    assert client.get_experiment(experiment).artifact_location.startswith("mlflow-artifacts:/")
    assert MlflowClient(f"sqlite:///{team.folder / 'mlflow.db'}").get_experiment(experiment).name == "seen by the team"
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "hello", "note.txt")
    assert [path.read_text() for path in (team.folder / "mlruns").rglob("note.txt")] == ["hello"]
    assert team.environment["OPTUNA_STORAGE"] == f"sqlite:///{team.folder / 'optuna.db'}"
    optuna.create_study(storage=team.environment["OPTUNA_STORAGE"], study_name="of the team")
    studies = request(f"http://127.0.0.1:{team.ports['optuna']}/api/studies")["study_summaries"]
    assert "of the team" in [study["study_name"] for study in studies]
    workers = team.prefect("work_pools/cpu/workers/filter", {})
    assert [worker["status"] for worker in workers] == ["ONLINE"]
    assert {pool["name"]: pool["type"] for pool in team.prefect("work_pools/filter", {})} == {
        "cpu": "process",
        "gpu": "process",
    }
    assert len(team.prefect("deployments/filter", {})) == 13
    assert (team.folder / "prefect" / "prefect.db").is_file()


def test_results_link_to_the_report_to_the_training_in_mlflow_and_to_the_study(
    team: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in (links.REPORTS_URL, links.DASHBOARD_URL, links.MLFLOW_URL):
        monkeypatch.setenv(name, team.environment[name])
    with pytest.raises(HTTPError, match="404"):
        request(f"{team.environment[links.REPORTS_URL]}/nobody/index.html")
    client = MlflowClient(team.environment[links.MLFLOW_URL])
    experiment = client.create_experiment("nobody")
    study = optuna.create_study(storage=team.environment["OPTUNA_STORAGE"], study_name="nobody on nothing, 2 trials")
    runs = []
    for folder, tags in (("models", {}), ("studies", {"stage": "tune", "weights": "found", "study": study.study_name})):
        checkpoint = tmp_path / "data" / folder / "nobody/checkpoint.pt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_text(folder)
        digest = hashlib.sha256(folder.encode()).hexdigest()
        runs.append(client.create_run(experiment, tags={"checkpoint.sha256": digest, **tags}).info.run_id)
    runs_page = f"{team.environment[links.MLFLOW_URL]}/#/experiments/{experiment}/runs"
    number = study._storage.get_study_id_from_name(study.study_name)
    assert links.of_system("nobody") == [
        f"[training in MLflow]({runs_page}/{runs[0]}{links.TRAINING_PAGE})",
        f"[training with found weights in MLflow]({runs_page}/{runs[1]}{links.TRAINING_PAGE})",
        f"[newest search on the Optuna dashboard](http://127.0.0.1:{team.ports['optuna']}/dashboard/studies/{number})",
    ]


def test_services_listen_on_loopback_alone(team: Running):
    listening = {
        socket.laddr
        for process in team.processes()
        for socket in process.net_connections("tcp")
        if socket.status == psutil.CONN_LISTEN
    }
    assert {address.port for address in listening} >= set(team.ports.values())
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_a_taken_port_is_refused_at_once_with_the_flag_that_changes_it(team: Running, tmp_path: Path):
    ports = {name: free_port() for name in SERVICES} | {"mlflow": team.ports["mlflow"]}
    process = start(tmp_path / "state", ports)
    assert process.wait(timeout=TIMEOUT_S) == 1
    output = (tmp_path / "state" / "output").read_text()
    assert f"port {ports['mlflow']} of 127.0.0.1, for mlflow, is in use" in output
    assert "--mlflow-port" in output
    assert not (tmp_path / "state" / "logs").exists()  # nothing was started


def test_a_state_folder_is_used_by_one_start_at_a_time(team: Running):
    folder = team.folder.parent / "second"
    process = start(folder, {name: free_port() for name in SERVICES}, PEOPLE_STATE=str(team.folder))
    assert process.wait(timeout=TIMEOUT_S) == 1
    assert "another `make serve` uses the state" in (folder / "output").read_text()
    assert team.process.poll() is None


def test_sigterm_ends_a_running_flow_and_every_process_and_sigkill_after_the_next_start_does_too(tmp_path: Path):
    folder = tmp_path / "state"
    with running(folder) as serve:
        run_sleep_flow(serve, tmp_path / "first")
        processes = serve.processes()
        assert len(sleepers(processes)) == 1
        serve.process.terminate()
        assert serve.process.wait(timeout=TIMEOUT_S) == 0, serve.output
        wait_until(lambda: not alive(processes), TIMEOUT_S)
        assert serve.output.endswith("stopped\n")
        assert not (folder / "serve.env").exists()
    with closing(sqlite3.connect(folder / "prefect" / "prefect.db")) as database:
        assert database.execute("SELECT state_type FROM flow_run").fetchall() == [("CRASHED",)]
        database.execute("DELETE FROM flow_run")
        database.commit()
    with running(folder) as serve:
        automations = serve.prefect("automations/filter", {})
        assert [automation["name"] for automation in automations] == ["crash-silent-runs"]  # still one
        run_sleep_flow(serve, tmp_path / "second", runs=2)
        processes = serve.processes()
        assert len(sleepers(processes)) == 2
        serve.process.kill()
        serve.process.wait()
        wait_until(lambda: not alive(processes), TIMEOUT_S)
        assert not (folder / "serve.env").exists()
    with running(folder) as serve:
        assert prefect_states(serve) == ["CRASHED", "CRASHED"], "the table of addresses comes after the lost runs are ended"
        assert "an earlier start was killed with these runs under way" in serve.output
        messages = {run["state"]["message"] for run in serve.prefect("flow_runs/filter", {})}
        assert messages == {"`make serve` was killed while this run was under way."}


def test_on_postgresql_each_service_has_its_database_no_password_is_shown_and_a_service_that_ends_stops_the_others(
    tmp_path: Path,
):
    with postgres() as address, running(tmp_path / "state", DATABASE_URL=address) as serve:
        tables = {"prefect": "flow_run", "mlflow": "experiments", "optuna": "studies"}
        for service, table in tables.items():
            with closing(psycopg2.connect(f"{address}_{service}")) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_tables WHERE tablename = %s", [table])
                assert cursor.fetchone() == (1,), service
        optuna.create_study(storage=serve.environment["OPTUNA_STORAGE"], study_name="of the team")
        MlflowClient(serve.environment["MLFLOW_TRACKING_URI"]).create_experiment("of the team")
        assert not list(serve.folder.rglob("*.db"))
        escaped = address.partition("people:")[2].partition("@")[0]
        processes = serve.processes()
        assert escaped not in serve.output + str([process.cmdline() for process in processes])
        for secret in ("serve.env", "optuna-dashboard.toml"):
            assert escaped in (serve.folder / secret).read_text()
            assert stat.S_IMODE((serve.folder / secret).stat().st_mode) == 0o600
        [mlflow] = [process for process in processes if "mlflow" in process.cmdline()]
        mlflow.send_signal(signal.SIGKILL)
        assert serve.process.wait(timeout=TIMEOUT_S) == 1
        assert "mlflow was killed by signal 9" in serve.output
        assert "Uvicorn running" in serve.output  # the end of its log
        wait_until(lambda: not alive(processes), TIMEOUT_S)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("mysql://people:secret@127.0.0.1/people", "expected postgresql://"),
        ("postgresql://people:secret@127.0.0.1:1/people?sslmode=require", "PGSSLMODE"),
        ("postgresql://people:secret@127.0.0.1:1/people", "no connection to it could be made"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_without_showing_its_password(address: str, reason: str, tmp_path: Path):
    process = start(tmp_path / "state", {name: free_port() for name in SERVICES}, DATABASE_URL=address)
    assert process.wait(timeout=TIMEOUT_S) == 1
    output = (tmp_path / "state" / "output").read_text()
    assert reason in output
    assert "secret" not in output


def test_a_service_that_never_answers_times_out_with_the_end_of_its_log_and_all_are_stopped(tmp_path: Path):
    began = time.monotonic()
    url = f"http://127.0.0.1:{free_port()}/health"
    command = ["sh", "-c", "echo about to sleep; sleep 600 & wait"]
    unhealthy = Service("unhealthy", command, {}, f"GET {url}", lambda: request(url) == "OK", startup_timeout_s=2)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    processes: list[psutil.Process] = []
    try:
        with pytest.raises(ServiceDown) as error, ServiceGroup(tmp_path) as group:  # noqa: PT012 - the exit from the block is tested
            group.start(unhealthy)
            wait_until(lambda: sleepers(psutil.Process().children(recursive=True)), TIMEOUT_S)
            processes = psutil.Process(group.running[0][1].pid).children(recursive=True)
            group.wait_healthy()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert f"unhealthy did not answer GET {url} as expected within 2 s" in str(error.value)
    assert "  | about to sleep" in str(error.value)
    assert 2 <= time.monotonic() - began < TIMEOUT_S
    assert len(processes) == 1
    assert not alive(processes)


def test_a_kill_while_the_first_start_creates_the_databases_leaves_a_folder_with_which_the_next_one_starts(tmp_path: Path):
    folder = tmp_path / "state"
    process = start(folder, {name: free_port() for name in SERVICES})
    wait_until(lambda: list(folder.glob("mlflow.db.partial*")), TIMEOUT_S)
    for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        child.kill()
    process.wait()
    assert not (folder / "mlflow.db").exists()
    with running(folder) as serve:
        assert MlflowClient(serve.environment["MLFLOW_TRACKING_URI"]).search_experiments()
