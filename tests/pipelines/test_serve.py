"""`make serve` with real processes: what runs, what is said when it cannot run, and that nothing is left of it."""

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

import optuna
import psutil
import psycopg2
import pytest
from mlflow import MlflowClient
from servers import free_port, postgres

from pipelines.services import Down, Fleet, Service, ask

ROOT = Path(__file__).parent.parent.parent
SERVICES = ("prefect", "mlflow", "optuna")
NAP = """
import subprocess
from prefect import flow


@flow
def nap() -> None:
    subprocess.run(["sleep", "600"], check=True)
"""

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1500)]
PATIENCE_S = 300  # on a machine that has much else to do


@dataclass
class Served:
    """A start of `make serve`: its process, where its state lies, its ports, and what another terminal is told."""

    process: subprocess.Popen[bytes]
    folder: Path
    ports: dict[str, int]

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    @property
    def shared(self) -> dict[str, str]:
        """What a shell has after `set -a; . serve.env; set +a`."""
        command = f"set -a; . {self.folder / 'serve.env'}; set +a; env -0"
        done = subprocess.run(["sh", "-c", command], env={"PATH": os.defpath}, capture_output=True, text=True, check=True)
        return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)

    def prefect(self, path: str, body: Any = None) -> Any:
        return ask(f"{self.shared['PREFECT_API_URL']}/{path}", body)

    def everyone(self) -> list[psutil.Process]:
        """This start's process and all below it."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


def start(folder: Path, ports: Mapping[str, int], **environment: str) -> subprocess.Popen[bytes]:
    """`make serve` on these ports, with its state in the folder and what it says in folder/said."""
    folder.mkdir(parents=True, exist_ok=True)
    flags = [f"--{name}-port={port}" for name, port in ports.items()]
    own = {
        key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_", "OPTUNA_", "DATABASE_"))
    }
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.serve", *flags],
            cwd=ROOT,
            env={**own, "PEOPLE_STATE": str(folder), **environment},
            stdout=said,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def served(folder: Path, **environment: str) -> Iterator[Served]:
    """All services healthy, on free ports; stopped at the end of the block if the test has not done so."""
    ports = {name: free_port() for name in SERVICES}
    made = Served(start(folder, ports, **environment), folder, ports)
    try:
        wait_until(lambda: "Ctrl-C here" in made.said or made.process.poll() is not None, PATIENCE_S)
        assert made.process.poll() is None, made.said
        yield made
    finally:
        made.process.terminate()
        made.process.wait(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("team") / "state") as made:
        yield made


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    """Return when the condition holds; fail if that takes longer than `seconds`."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"waited {seconds:.0f} s in vain"
        time.sleep(0.2)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a zombie has ended."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def napping(made: Served, folder: Path) -> None:
    """Deploy and run a flow whose command sleeps for ten minutes; returns when it sleeps, below this start's process."""
    folder.mkdir(exist_ok=True)
    (folder / "naps.py").write_text(NAP)
    prefect(made, folder, "--no-prompt", "deploy", "naps.py:nap", "--name", "nap", "--pool", "cpu")
    prefect(made, folder, "deployment", "run", "nap/nap")
    wait_until(lambda: sleepers(made.everyone()), PATIENCE_S)
    assert prefect_states(made) == ["RUNNING"]


def prefect_states(made: Served) -> list[str]:
    return [run["state_type"] for run in made.prefect("flow_runs/filter", {})]


def prefect(made: Served, folder: Path, *arguments: str) -> None:
    """A command of Prefect's, typed in another terminal."""
    command = [sys.executable, "-m", "prefect", *arguments]
    environment = {**os.environ, **made.shared, "PREFECT_HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def sleepers(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.name() == "sleep"]


def test_another_terminal_reaches_all_services_and_their_state_is_that_of_the_stages(team: Served):
    client = MlflowClient(team.shared["MLFLOW_TRACKING_URI"])
    experiment = client.create_experiment("seen by the team")
    assert client.get_experiment(experiment).artifact_location.startswith("mlflow-artifacts:/")
    assert MlflowClient(f"sqlite:///{team.folder / 'mlflow.db'}").get_experiment(experiment).name == "seen by the team"
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "hello", "note.txt")
    assert [path.read_text() for path in (team.folder / "mlruns").rglob("note.txt")] == ["hello"]
    assert team.shared["OPTUNA_STORAGE"] == f"sqlite:///{team.folder / 'optuna.db'}"
    optuna.create_study(storage=team.shared["OPTUNA_STORAGE"], study_name="of the team")
    studies = ask(f"http://127.0.0.1:{team.ports['optuna']}/api/studies")["study_summaries"]
    assert [study["study_name"] for study in studies] == ["of the team"]
    workers = team.prefect("work_pools/cpu/workers/filter", {})
    assert [worker["status"] for worker in workers] == ["ONLINE"]
    assert team.prefect("work_pools/cpu")["type"] == "process"
    assert (team.folder / "prefect" / "prefect.db").is_file()


def test_what_is_served_listens_on_loopback_alone(team: Served):
    listening = {at.laddr for one in team.everyone() for at in one.net_connections("tcp") if at.status == psutil.CONN_LISTEN}
    assert {address.port for address in listening} >= set(team.ports.values())
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_a_taken_port_is_refused_at_once_with_the_flag_that_changes_it(team: Served, tmp_path: Path):
    ports = {"prefect": free_port(), "mlflow": team.ports["mlflow"], "optuna": free_port()}
    process = start(tmp_path / "state", ports)
    assert process.wait(timeout=PATIENCE_S) == 1
    said = (tmp_path / "state" / "said").read_text()
    assert f"port {ports['mlflow']} of 127.0.0.1, wanted for mlflow, is not free" in said
    assert "--mlflow-port" in said
    assert not (tmp_path / "state" / "logs").exists()  # nothing was started


def test_one_state_is_served_once(team: Served):
    folder = team.folder.parent / "second"
    process = start(folder, {name: free_port() for name in SERVICES}, PEOPLE_STATE=str(team.folder))
    assert process.wait(timeout=PATIENCE_S) == 1
    assert "is being served already" in (folder / "said").read_text()
    assert team.process.poll() is None


def test_sigterm_ends_a_running_flow_and_every_process_and_sigkill_after_the_next_start_does_too(tmp_path: Path):
    folder = tmp_path / "state"
    with served(folder) as made:
        napping(made, tmp_path / "first")
        everyone = made.everyone()
        assert len(sleepers(everyone)) == 1
        made.process.terminate()
        assert made.process.wait(timeout=PATIENCE_S) == 0, made.said
        wait_until(lambda: not alive(everyone), PATIENCE_S)
        assert made.said.endswith("stopped\n")
        assert not (folder / "serve.env").exists()
    with closing(sqlite3.connect(folder / "prefect" / "prefect.db")) as database:
        assert database.execute("SELECT state_type FROM flow_run").fetchall() == [("CRASHED",)]
        database.execute("DELETE FROM flow_run")
        database.commit()
    with served(folder) as made:
        assert [one["name"] for one in made.prefect("automations/filter", {})] == ["crash-silent-runs"]  # still one
        napping(made, tmp_path / "second")
        everyone = made.everyone()
        assert len(sleepers(everyone)) == 1
        made.process.kill()
        made.process.wait()
        wait_until(lambda: not alive(everyone), PATIENCE_S)
        assert not (folder / "serve.env").exists()


def test_on_postgresql_each_service_has_its_database_no_password_is_shown_and_a_service_that_dies_ends_the_rest(tmp_path: Path):
    with postgres() as address, served(tmp_path / "state", DATABASE_URL=address) as made:
        tables = {"prefect": "flow_run", "mlflow": "experiments", "optuna": "studies"}
        for service, table in tables.items():
            with closing(psycopg2.connect(f"{address}_{service}")) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_tables WHERE tablename = %s", [table])
                assert cursor.fetchone() == (1,), service
        optuna.create_study(storage=made.shared["OPTUNA_STORAGE"], study_name="of the team")
        MlflowClient(made.shared["MLFLOW_TRACKING_URI"]).create_experiment("of the team")
        assert not list(made.folder.rglob("*.db"))
        escaped = address.partition("people:")[2].partition("@")[0]
        everyone = made.everyone()
        assert escaped not in made.said + str([one.cmdline() for one in everyone])
        for secret in ("serve.env", "optuna-dashboard.toml"):
            assert escaped in (made.folder / secret).read_text()
            assert stat.S_IMODE((made.folder / secret).stat().st_mode) == 0o600
        [mlflow] = [one for one in everyone if "mlflow" in one.cmdline()]
        mlflow.send_signal(signal.SIGKILL)
        assert made.process.wait(timeout=PATIENCE_S) == 1
        assert "mlflow was killed by signal 9" in made.said
        assert "Uvicorn running" in made.said  # the end of its log
        wait_until(lambda: not alive(everyone), PATIENCE_S)


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
    assert process.wait(timeout=PATIENCE_S) == 1
    said = (tmp_path / "state" / "said").read_text()
    assert reason in said
    assert "secret" not in said


def test_a_service_that_never_answers_is_given_up_with_the_end_of_its_log_and_everything_is_stopped(tmp_path: Path):
    began = time.monotonic()
    url = f"http://127.0.0.1:{free_port()}/health"
    command = ["sh", "-c", "echo about to sleep; sleep 600 & wait"]
    deaf = Service("deaf", command, {}, f"GET {url}", lambda: ask(url) == "OK", healthy_within_s=2)
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    everyone: list[psutil.Process] = []
    try:
        with pytest.raises(Down) as error, Fleet(tmp_path) as fleet:  # noqa: PT012 - leaving the fleet is what is tested
            fleet.start(deaf)
            wait_until(lambda: sleepers(psutil.Process().children(recursive=True)), PATIENCE_S)
            everyone = psutil.Process(fleet.running[0][1].pid).children(recursive=True)
            fleet.wait_healthy()
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
    assert f"deaf did not answer GET {url} as expected within 2 s" in str(error.value)
    assert "  | about to sleep" in str(error.value)
    assert 2 <= time.monotonic() - began < PATIENCE_S
    assert len(everyone) == 1
    assert not alive(everyone)
