"""Workers on other machines: clones, caches and states of their own, an SSH remote, PostgreSQL; and kills."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
import psycopg2
import pytest
from conftest import fewest, only, workspace
from mlflow import MlflowClient
from prefect_fleet import Fleet, commit, fleet, processes
from ruamel.yaml import YAML
from servers import Sshd, postgres, sshd

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600)]
TIMEOUT_S = 1200  # for a busy machine
SENT = {"train": "gpu", "compare": "gpu", "tune": "gpu"}
EPOCHS = 300  # of a training that is killed in its middle: some twenty seconds
SMALLEST = {
    "datasets__tumgaid__subjects": "{train: 3, validation: 2, test: 4, elapsed: {train: 1, validation: 1, test: 2}}",
    "datasets__tumgaid__frames_per_sequence": 28,
}


@dataclass
class Site:
    """A coordinator's workspace, the repository that others clone, a remote behind SSH, and databases on PostgreSQL."""

    folder: Path
    fleet: Fleet
    ssh: Sshd
    databases: dict[str, str]
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.folder / "coordinator"

    def machine(self, name: str) -> dict[str, str]:
        """The environment of one machine: its own state, cache and home; the remote is in DVC's own configuration."""
        home = self.folder / name
        config = home / "dvc"
        config.mkdir(parents=True, exist_ok=True)
        (config / "config").write_text(
            f"[core]\n    remote = store\n    analytics = false\n['remote \"store\"']\n"
            f"    url = ssh://{self.ssh.user}@{self.ssh.host}:{self.ssh.port}{self.folder / 'store'}\n"
            f"    keyfile = {self.ssh.keyfile}\n"
        )
        return {
            "DVC_GLOBAL_CONFIG_DIR": str(config),
            "PEOPLE_STATE": str(home / "state"),
            "PEOPLE_CACHE": str(home / "cache"),
            "PEOPLE_REPOSITORY": (self.folder / "origin").as_uri(),
            "OPTUNA_STORAGE": self.databases["optuna"],
            "MLFLOW_TRACKING_URI": self.databases["mlflow"],
            "OMP_NUM_THREADS": "1",
            "MACHINE": name,
        }

    def set_workers(self, *names: str) -> None:
        """Workers on these machines and on no others, and one in the coordinator's workspace."""
        for name in set(self.workers) - {"coordinator", *names}:
            end(self.workers.pop(name))  # none of them has a run
        for name in ("coordinator", *names):
            if name not in self.workers:
                pool, variables = "gpu", self.machine(name)
                if name == "coordinator":
                    pool, variables = "cpu", {**variables, "PEOPLE_WORKSPACE": str(self.project)}
                folder = self.folder / f"worker-{name}-{time.monotonic_ns()}"
                self.workers[name] = self.fleet.worker(pool, name, folder, limit=1, **variables)

    def set(self, **values: object) -> None:
        """Change params.yaml of the coordinator; `__` in a name stands for a point."""
        settings = [argument for key, value in values.items() for argument in ("--set", f"{key.replace('__', '.')}={value}")]
        self.command("python", "-m", "stages.configure", *settings)

    def command(self, *command: str) -> str:
        environment = {**self.fleet.environment, **self.machine("coordinator")}
        done = subprocess.run(command, cwd=self.project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def statuses(self, run: str) -> dict[str, str]:
        """The status of every stage in a run."""
        return {row["stage"]: row["came"] for row in json.loads(self.fleet.artifacts(run)["stages"]["data"])}

    def newest_run(self, flow: str) -> str:
        body = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC", "limit": 1}
        return self.fleet.request("flow_runs/filter", body)[0]["id"]

    def sent(self, coordinator: str) -> list[dict[str, Any]]:
        """The runs that a coordinator sent to workers."""
        return self.fleet.request("flow_runs/filter", {"flow_runs": {"tags": {"all_": [f"sent-by:{coordinator}"]}}})

    def is_up_to_date(self) -> bool:
        shutil.rmtree(self.project / ".dvc/tmp", ignore_errors=True)
        return json.loads(self.command("dvc", "status", "--json").splitlines()[-1]) == {}


def end(worker: subprocess.Popen[bytes]) -> None:
    """End a worker: on a busy machine Prefect's can miss the signal by which it interrupts itself, and would go on."""
    worker.terminate()
    try:
        worker.wait(30)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with postgres() as address, sshd() as ssh:
        server = address.rpartition("/")[0]
        with closing(psycopg2.connect(f"{server}/postgres")) as connection:
            connection.autocommit = True
            for name in ("prefect", "optuna", "mlflow"):
                connection.cursor().execute(f"CREATE DATABASE {name}")
        databases = {
            name: f"{server.replace('postgresql://', 'postgresql+psycopg2://')}/{name}" for name in ("optuna", "mlflow")
        }
        asynchronous = server.replace("postgresql://", "postgresql+asyncpg://")
        with fleet(folder / "server", PREFECT_SERVER_DATABASE_CONNECTION_URL=f"{asynchronous}/prefect") as server_fleet:
            yield prepare(Site(folder, server_fleet, ssh, databases))


def prepare(site: Site) -> Site:
    """The smallest project of one system, committed and pushed, with its data made; deployed."""
    workspace(site.project)
    site.machine("coordinator")
    site.command("python", "-m", "stages.configure", "--profile", "small")
    only(site.project, "dmt")
    fewest(site.project)
    site.set(**SMALLEST)
    commit(site.project, environment=site.fleet.environment)
    subprocess.run(["git", "clone", "--quiet", "--bare", site.project, site.folder / "origin"], check=True)
    site.command("git", "remote", "add", "origin", (site.folder / "origin").as_uri())
    client = MlflowClient(site.databases["mlflow"])
    client.create_experiment("dmt", artifact_location=(site.folder / "mlruns").as_uri())
    site.command("dvc", "repro", "--quiet", "flow@tumgaid")
    site.fleet.deploy(site.project)
    automations = site.project / "pipelines/automations.yaml"
    site.fleet.prefect("automation", "create", "--from-file", str(automations), folder=site.project)
    return site


def lock_records(lock: bytes) -> dict[str, Any]:
    """The record of every stage in a dvc.lock."""
    return YAML(typ="safe").load(lock)["stages"]


def run_time_s(site: Site, run: str) -> float:
    return site.fleet.request(f"flow_runs/{run}")["total_run_time"]


def test_two_workers_share_the_trainings_and_the_coordinator_computes_none_of_them(site: Site, capsys: pytest.CaptureFixture):
    site.set_workers("one", "two")
    both = site.fleet.start("reproduce/fleet")
    site.fleet.completed(both, TIMEOUT_S)
    sent = [run for run in site.sent(both) if run["state"]["type"] == "COMPLETED"]
    assert "train dmt for reproduce dmt on gpu" in {run["name"] for run in sent}
    done = {(run["parameters"]["name"], machine_of(site, run["id"])) for run in sent}
    assert sorted(name for name, _ in done) == ["compare@dmt", "train@dmt", "tune@dmt"], "each was completed once, by a worker"
    assert {machine for _, machine in done} == {"one", "two"}
    statuses = site.statuses(both)
    assert {name for name in statuses if statuses[name] == "restored"} == {"train@dmt", "compare@dmt", "tune@dmt"}
    assert {statuses[name] for name in ("evaluate@dmt", "register@dmt", "report@dmt")} == {"ran"}
    assert not (site.folder / "coordinator/state/checkpoints").exists()
    assert "Data and pipelines are up to date" in site.command("dvc", "repro")
    assert site.is_up_to_date()
    hashes = {out["md5"] for stage in lock_records((site.project / "dvc.lock").read_bytes()).values() for out in stage["outs"]}
    assert all((site.folder / "store/files/md5" / digest[:2] / digest[2:]).exists() for digest in hashes)
    site.set_workers("one")
    site.set(systems__dmt__training__optimizer__momentum=0.8)
    single = site.fleet.start("reproduce/fleet")
    site.fleet.completed(single, TIMEOUT_S)
    with capsys.disabled():
        print(
            f"\nreproduce over an SSH remote: two workers {run_time_s(site, both):.0f} s, one {run_time_s(site, single):.0f} s"
        )


def machine_of(site: Site, run: str) -> str:
    """The machine whose worker ran this, by the state folder in the run's log, which arrives with a delay."""

    def machines() -> list[str]:
        log = site.fleet.log(run)
        return [name for name in ("one", "two") if str(site.folder / name / "state") in log]

    site.fleet.until(machines, 60, run)
    return machines()[0]


def test_a_killed_workers_training_is_detected_tried_again_and_resumed(site: Site):
    """The worker, the flow run's process, dvc and the training all get SIGKILL in the middle of the training."""
    site.set(systems__dmt__training__epochs=EPOCHS)
    site.set_workers("one")
    run = site.fleet.start("train/fleet", options={"pools": SENT, "attempts_after_s": [1, 1, 1]})
    checkpoints = site.folder / "one/state/checkpoints/train/dmt"
    site.fleet.until(lambda: list(checkpoints.glob("*/state.pt")), TIMEOUT_S, run)
    killed_at_ms = int(time.time() * 1000)
    for process in processes(MACHINE="one"):
        process.send_signal(signal.SIGKILL)
    site.workers.pop("one").wait()
    site.set_workers("one")
    site.fleet.completed(run, TIMEOUT_S)
    states = [sent["state"]["type"] for sent in sorted(site.sent(run), key=start_time)]
    assert (states[0], states[-1]) == ("CRASHED", "COMPLETED")
    client = MlflowClient(site.databases["mlflow"])
    experiment = client.get_experiment_by_name("dmt")
    assert experiment is not None
    trainings = client.search_runs([experiment.experiment_id], "tags.stage = 'train'", order_by=["start_time DESC"])
    history = client.get_metric_history(trainings[0].info.run_id, "score")
    assert sorted(point.step for point in history) == list(range(1, EPOCHS + 1))
    assert history[0].timestamp < killed_at_ms < history[-1].timestamp
    assert "Data and pipelines are up to date" in site.command("dvc", "repro", "train@dmt")
    assert not json.loads(site.command("dvc", "status", "--json", "train@dmt"))


def start_time(run: dict[str, Any]) -> str:
    return run["start_time"]


def test_a_sent_stage_runs_when_a_worker_does_and_cancelling_the_coordinator_ends_it_there(site: Site):
    site.set(systems__dmt__training__epochs=5000)
    site.set_workers()
    run = site.fleet.start("train/fleet", options={"pools": SENT})

    def state() -> str:
        task = site.fleet.tasks(run).get("train dmt")
        return task["state"]["name"] if task else ""

    site.fleet.until(lambda: state() == "AwaitingWorker", TIMEOUT_S, run)
    site.set_workers("two")
    site.fleet.until(lambda: state() == "Running", TIMEOUT_S, run)
    checkpoints = site.folder / "two/state/checkpoints/train/dmt"
    site.fleet.until(lambda: list(checkpoints.glob("*/state.pt")), TIMEOUT_S, run)
    assert trainings("two")
    site.fleet.prefect("flow-run", "cancel", run, folder=site.folder)
    site.fleet.until(lambda: not trainings("two"), TIMEOUT_S, run)
    assert site.fleet.ended(run) == "CANCELLED"
    (sent,) = site.sent(run)
    assert site.fleet.ended(sent["id"], TIMEOUT_S) == "CANCELLED"


def trainings(machine: str) -> list[psutil.Process]:
    """The trainings that run on a machine."""
    return [process for process in processes(MACHINE=machine) if "stages.train" in process.cmdline()]


def test_a_search_is_shared_by_the_stage_and_its_helpers(site: Site):
    """A trial lasts seconds, so that neither worker ends before the other has begun."""
    site.set(systems__dmt__training__epochs=3, search__dmt__epochs=60)
    site.set_workers("one", "two")
    run = site.fleet.start("tune/fleet", trials=6, workers=2, options={"pools": SENT})
    site.fleet.completed(run, TIMEOUT_S)
    assert "trials: 6" in (site.project / "params.yaml").read_text()
    storage = site.databases["optuna"]
    studies = [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]
    (study,) = [study for study in studies if len(study.trials) >= 6]
    workers = {trial.user_attrs["process"] for trial in study.trials}
    assert len(workers) == 2, "the stage's process and its helper's both ran trials of the study"
    trials = (site.project / "data/studies/dmt/trials.csv").read_text().splitlines()
    assert len(trials) == 7


def test_uncommitted_source_is_refused_before_a_stage_is_sent(site: Site):
    site.set_workers()
    (site.project / "people/new.py").write_text("")
    site.set(systems__dmt__training__epochs=4)
    run = site.fleet.start("train/fleet", options={"pools": SENT, "attempts_after_s": [1]})
    assert site.fleet.ended(run, TIMEOUT_S) == "FAILED"
    assert "people/new.py" in site.fleet.message(run)
    assert "commit and push first" in site.fleet.message(run)
    assert not site.sent(run)
    (site.project / "people/new.py").unlink()
