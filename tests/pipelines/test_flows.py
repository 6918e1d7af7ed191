"""Flows on a real Prefect server with a real worker, in a project of quick stages that can be made to fail or to wait."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil
import pytest
from conftest import fewest, run, workspace
from prefect_fleet import Fleet, commit, fleet, processes, restart
from rendered_videos import unpacked
from ruamel.yaml import YAML
from servers import running, sshd

ROOT = Path(__file__).parent.parent.parent
DVC_YAML = """
stages:
  ingest:
    foreach: [one, two]
    do:
      cmd: python stage.py ingest ${item}
      outs: ["data/raw/${item}"]
  train:
    foreach: [one, two]
    do:
      cmd: python stage.py train ${item} data/raw/${item}
      deps: ["data/raw/${item}"]
      outs: ["data/models/${item}"]
  evaluate:
    foreach: [one, two]
    do:
      cmd: python stage.py evaluate ${item} data/models/${item}
      deps: ["data/models/${item}"]
      params: [weight]
      metrics: ["data/metrics/${item}.json"]
"""
STAGE = """
import json, os, pathlib, signal, sys, time
import stages  # a stage of the project ends with the process that waits for it

kind, key, *deps = sys.argv[1:]
orders = pathlib.Path(os.environ["ORDERS"])
name = f"{kind}-{key}"


def note(what):
    with open(orders / "journal", "a") as file:
        file.write(json.dumps([name, what, time.monotonic(), os.getpid()]) + "\\n")


note("began")
print(f"{name} is at work", flush=True)
while (orders / f"{name}.wait").exists():
    time.sleep(0.1)
if (orders / f"{name}.wrong").exists():
    raise ValueError(f"{name}: age_years must lie in [1, 110], got -3; correct the label")
if (orders / f"{name}.killed").exists():
    (orders / f"{name}.killed").unlink()
    os.kill(os.getpid(), signal.SIGKILL)
for dep in deps:
    assert list(pathlib.Path(dep).iterdir())
if kind == "evaluate":
    out = pathlib.Path(f"data/metrics/{key}.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"rank_1": float(open("params.yaml").read().split(":")[1])}))
else:
    out = pathlib.Path({"ingest": "data/raw", "train": "data/models"}[kind], key)
    out.mkdir(parents=True)
    (out / "numbers").write_bytes(os.urandom(10_000))
note("ended")
"""

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600)]
TIMEOUT_S = 300  # for a busy machine


@dataclass
class Project:
    """A repository with quick stages, in which the flows of this project run."""

    folder: Path
    orders: Path
    fleet: Fleet

    def journal(self) -> list[tuple[str, str, float, int]]:
        file = self.orders / "journal"
        return [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []

    def began(self, name: str) -> int:
        return sum(entry[:2] == (name, "began") for entry in self.journal())

    def order(self, stage: str, what: str) -> Path:
        file = self.orders / f"{stage}.{what}"
        file.touch()
        return file

    def dvc(self, *arguments: str) -> str:
        done = subprocess.run(
            ["dvc", *arguments], cwd=self.folder, env=self.fleet.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def is_up_to_date(self) -> bool:
        """Nothing is out of date, and every output has its hash in dvc.lock (DVC computes the hashes again)."""
        shutil.rmtree(self.folder / ".dvc/tmp", ignore_errors=True)
        return json.loads(self.dvc("status", "--json")) == {}

    def run(self, deployment: str = "reproduce/local", *, within_s: float = TIMEOUT_S, **parameters: Any) -> str:
        """Start a run and wait for its end, in any state."""
        run = self.fleet.start(deployment, **parameters)
        self.fleet.ended(run, within_s)
        return run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, server: Fleet) -> Path:
    """The project of quick stages, deployed once; its runs work where PEOPLE_WORKSPACE points."""
    folder = tmp_path_factory.mktemp("template") / "project"
    shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "stages").mkdir()
    shutil.copy2(ROOT / "stages/__init__.py", folder / "stages")
    shutil.copy2(ROOT / "prefect.yaml", folder)
    for name, text in {"dvc.yaml": DVC_YAML, "stage.py": STAGE, "params.yaml": "weight: 1.0", ".gitignore": "/data/\n"}.items():
        (folder / name).write_text(text)
    for command in (["git", "init", "--quiet", "--initial-branch=main"], ["dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=folder, env=server.environment, check=True)
    commit(folder, environment=server.environment)
    server.deploy(folder)
    return folder


@pytest.fixture(scope="module")
def worker_folder(template: Path, server: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a worker of the pool `cpu`, for all tests."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "project").mkdir()
    variables = {
        "PEOPLE_WORKSPACE": str(folder / "project"),
        "PEOPLE_REPOSITORY": str(template),
        "ORDERS": str(folder / "orders"),
    }
    with server.worker("cpu", "here", folder / "worker", 2, **variables) as worker:
        yield folder
        worker.terminate()
        try:
            worker.wait(timeout=60)
        except subprocess.TimeoutExpired:
            worker.kill()  # Prefect's sign-off from its server can hang; the test is that no stage outlives the worker
    assert not processes(**variables), "the worker has ended, and a process that it started has not"


@pytest.fixture
def project(template: Path, server: Fleet, worker_folder: Path) -> Project:
    """A fresh copy of the template in the worker's folder."""
    folder, orders = worker_folder / "project", worker_folder / "orders"
    clear(worker_folder)
    shutil.copytree(template, folder, dirs_exist_ok=True)
    return Project(folder, orders, server)


def clear(worker_folder: Path) -> None:
    """Empty the worker's folders."""
    for path in (worker_folder / "project", worker_folder / "orders"):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()


def test_every_system_is_trained_and_evaluated_and_the_same_run_again_does_nothing(server: Fleet, worker_folder: Path):
    """The project itself, in its smallest configuration, as users start it."""
    clear(worker_folder)
    project = Project(workspace(worker_folder / "project"), worker_folder / "orders", server)
    run([sys.executable, "-m", "stages.configure", "--profile", "small"], project.folder)
    fewest(project.folder)
    commit(project.folder, environment=server.environment)
    first = project.run(within_s=1500)
    server.completed(first)
    assert project.is_up_to_date()
    systems = YAML(typ="safe").load(project.folder / "params.yaml")["systems"]
    for system in systems:
        assert (project.folder / f"data/models/{system}/checkpoint.pt").is_file()
        assert json.loads((project.folder / f"data/metrics/{system}.json").read_text())
    lock = (project.folder / "dvc.lock").read_bytes()
    second = project.run()
    server.completed(second)
    assert {row["came"] for row in json.loads(server.artifacts(second)["stages"]["data"])} == {"up to date"}
    # from the side: who walks towards a camera hardly moves
    (clip,) = unpacked(project.folder, "001-nm-01-090.avi", project.folder / "videos")
    third = project.run("identify/local", video=str(clip.relative_to(project.folder)), out="found")
    server.completed(third)
    (track,) = json.loads(server.artifacts(third)["tracks"]["data"])
    assert "age: " in track["told"]
    assert "found/index.html" in server.artifacts(third)["page"]["data"]
    missing = project.run("identify/local", video="nowhere.mp4")
    assert server.state(missing) == "FAILED"
    assert "nowhere.mp4 is neither a video file nor" in server.message(missing)
    assert (project.folder / "dvc.lock").read_bytes() == lock


def test_every_stage_runs_once_in_order_independent_ones_in_parallel_and_a_second_run_does_nothing(project: Project):
    waits = [project.order(f"ingest-{key}", "wait") for key in ("one", "two")]
    first = project.fleet.start("reproduce/local", options={"side_by_side": 2})
    project.fleet.until(lambda: project.began("ingest-one") and project.began("ingest-two"), TIMEOUT_S, first)
    for file in waits:
        file.unlink()
    project.fleet.completed(first)
    ended = [name for name, what, *_ in project.journal() if what == "ended"]
    assert sorted(ended) == sorted(f"{kind}-{key}" for kind in ("ingest", "train", "evaluate") for key in ("one", "two"))
    for key in ("one", "two"):
        assert ended.index(f"ingest-{key}") < ended.index(f"train-{key}") < ended.index(f"evaluate-{key}")
    assert "train-one is at work" in project.fleet.log(first)
    assert {"ingest one", "train two", "evaluate one"} <= set(project.fleet.tasks(first))
    assert project.fleet.request(f"flow_runs/{first}")["name"] == "reproduce everything"
    lock = (project.folder / "dvc.lock").read_bytes()
    second = project.run()
    project.fleet.completed(second)
    assert len(project.journal()) == 12
    assert (project.folder / "dvc.lock").read_bytes() == lock
    assert project.is_up_to_date()


def test_only_a_stage_whose_command_runs_is_running(project: Project):
    waits = {name: project.order(name.replace(" ", "-"), "wait") for name in ("ingest one", "ingest two")}
    run = project.fleet.start("reproduce/local")
    project.fleet.until(lambda: project.journal(), TIMEOUT_S, run)
    first = project.journal()[0][0].replace("-", " ")
    second = next(name for name in waits if name != first)
    expected = {first: "Running", second: "AwaitingConcurrencySlot"}
    expected |= {f"{kind} {key}": "Pending" for kind in ("train", "evaluate") for key in ("one", "two")}

    def states() -> dict[str, str]:
        """The state of each task; Prefect adds three characters to the name of a Pending one."""
        tasks = project.fleet.tasks(run).items()
        return {re.sub(r"-\w{3}$", "", name): task["state"]["name"] for name, task in tasks}

    project.fleet.until(lambda: states() == expected, TIMEOUT_S, run)
    waited_s = 3.0
    time.sleep(waited_s)
    assert states() == expected
    for wait in waits.values():
        wait.unlink()
    project.fleet.completed(run)
    project.fleet.until(lambda: set(states().values()) == {"Completed"}, TIMEOUT_S, run)
    tasks = project.fleet.tasks(run)
    assert tasks[first]["total_run_time"] > waited_s
    assert tasks[first]["end_time"] <= tasks[second]["end_time"]
    began, ended = (datetime.fromisoformat(tasks[name][at]) for name, at in ((second, "start_time"), (first, "end_time")))
    assert began >= ended - timedelta(seconds=1), "a task has begun when its command has, not when it began to wait"


def test_a_flow_of_one_kind_runs_what_that_kind_needs_and_tries_a_killed_stage_again(project: Project):
    project.order("train-two", "killed")
    run = project.run("train/local", systems=["two"], options={"attempts_after_s": [1]})
    project.fleet.completed(run)
    assert [name for name, what, *_ in project.journal() if what == "ended"] == ["ingest-two", "train-two"]
    assert project.began("train-two") == project.fleet.tasks(run)["train two"]["run_count"] == 2
    assert json.loads(project.dvc("status", "--json", "train@two")) == {}


def test_bad_data_is_not_tried_again_and_does_not_stop_what_is_independent(project: Project):
    project.order("train-one", "wrong")
    run = project.run(options={"attempts_after_s": [1]})
    assert project.fleet.state(run) == "FAILED"
    assert project.began("train-one") == 1
    assert project.began("evaluate-one") == 0
    assert project.began("evaluate-two") == 1
    message = project.fleet.message(run)
    assert "age_years must lie in [1, 110], got -3" in message
    assert "train@one" in message


def test_a_cancelled_run_leaves_no_process_behind(project: Project):
    project.order("train-one", "wait")
    run = project.fleet.start("reproduce/local")
    project.fleet.until(lambda: project.began("train-one"), TIMEOUT_S, run)
    pid = project.journal()[-1][3]
    project.fleet.prefect("flow-run", "cancel", run, folder=project.folder)
    project.fleet.until(lambda: not psutil.pid_exists(pid), TIMEOUT_S, run)
    assert project.fleet.ended(run) == "CANCELLED"
    (project.orders / "train-one.wait").unlink()
    after = project.run()
    project.fleet.completed(after)
    assert project.is_up_to_date()


def test_two_runs_at_the_same_time_take_turns_in_one_workspace(project: Project):
    wait = project.order("train-one", "wait")
    first = project.fleet.start("reproduce/local")
    project.fleet.until(lambda: project.began("train-one"), TIMEOUT_S, first)
    second = project.fleet.start("reproduce/local")
    project.fleet.until(lambda: "another flow run works in" in project.fleet.log(second), TIMEOUT_S, second)
    assert project.fleet.request(f"flow_runs/{second}")["state"]["name"] == "AwaitingWorkspace"
    wait.unlink()
    project.fleet.until(lambda: project.fleet.state(second) in ("RUNNING", "COMPLETED"), TIMEOUT_S, second)
    project.fleet.completed(first)
    project.fleet.completed(second)
    assert len(project.journal()) == 12
    assert project.is_up_to_date()


def test_the_server_may_restart_in_the_middle_of_a_run(project: Project):
    wait = project.order("train-one", "wait")
    run = project.fleet.start("reproduce/local")
    project.fleet.until(lambda: project.began("train-one"), TIMEOUT_S, run)
    port = int(project.fleet.url.removesuffix("/api").rpartition(":")[2])
    server = next(p for p in processes(PREFECT_API_URL=project.fleet.url) if _listens(p, port))
    server.terminate()
    server.wait(timeout=TIMEOUT_S)
    time.sleep(3)
    restart(project.fleet)
    wait.unlink()
    project.fleet.completed(run)
    assert project.began("train-one") == 1
    assert project.is_up_to_date()


def _listens(process: psutil.Process, port: int) -> bool:
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections())


def test_an_unreachable_remote_is_tried_again_until_everything_is_pushed(project: Project, tmp_path: Path):
    with sshd() as ssh:
        project.dvc(
            "remote", "add", "--local", "--default", "store", f"ssh://{ssh.user}@{ssh.host}:{ssh.port}{tmp_path / 'store'}"
        )
        project.dvc("remote", "modify", "--local", "store", "keyfile", str(ssh.keyfile))
        server = next(p for p in psutil.process_iter() if p.name() == "sshd" and _listens(p, ssh.port))
        server.terminate()
        server.wait(timeout=TIMEOUT_S)
        run = project.fleet.start("reproduce/local", options={"attempts_after_s": [5] * 40})
        project.fleet.until(lambda: "trying again can help" in project.fleet.log(run), TIMEOUT_S, run)
        time.sleep(20)
        with running(ssh.command, tmp_path, signal.SIGTERM):
            project.fleet.completed(run)
    assert len(project.journal()) == 12
    lock = YAML(typ="safe").load(project.folder / "dvc.lock")
    hashes = {out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    assert all((tmp_path / "store/files/md5" / digest[:2] / digest[2:]).exists() for digest in hashes)


def test_a_run_is_recorded_as_a_version_and_shows_how_its_metrics_changed(project: Project):
    first = project.run()
    (project.folder / "params.yaml").write_text("weight: 1.5")
    second = project.run(options={"tag": "v2", "branch": "results"})
    project.fleet.completed(second)
    changes = json.loads(project.fleet.artifacts(second)["metrics"]["data"])
    assert {(row["file"], row["metric"], row["value"], row["change"]) for row in changes} == {
        ("one", "rank_1", 1.5, 0.5),
        ("two", "rank_1", 1.5, 0.5),
    }
    came = {row["stage"]: row["came"] for row in json.loads(project.fleet.artifacts(second)["stages"]["data"])}
    assert came["train@one"] == "up to date"
    assert came["evaluate@one"] == "ran"
    assert {project.fleet.request(f"flow_runs/{run}")["name"] for run in (second, first)} == {"reproduce everything"}
    listed = subprocess.run(
        ["python", "-m", "pipelines.versions"],
        cwd=project.folder,
        env=project.fleet.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["reproduce-everything-2", "reproduce-everything"]
    tagged = subprocess.run(["git", "show", "v2:params.yaml"], cwd=project.folder, capture_output=True, text=True, check=True)
    assert tagged.stdout == "weight: 1.5"


@pytest.mark.parametrize(
    "options", [{"side_by_side": 0}, {"tags": "v1"}, {"pools": {"trian": "gpu"}}, {"pools": {"train": "x"}}]
)
def test_invalid_options_are_refused(project: Project, options: dict[str, Any]):
    deployment = project.fleet.request("deployments/name/reproduce/local")
    with pytest.raises(HTTPError, match=r"409|422"):
        project.fleet.request(f"deployments/{deployment['id']}/create_flow_run", {"parameters": {"options": options}})


def test_a_pool_for_a_stage_that_does_not_exist_is_refused(project: Project):
    run = project.run(options={"pools": {"crops": "gpu"}})
    assert project.fleet.state(run) == "FAILED"
    assert "options.pools names crops, which is not a stage of dvc.yaml" in project.fleet.message(run)
    assert project.journal() == []


def test_a_stage_on_another_machine_needs_a_remote_and_says_so(project: Project):
    run = project.run("train/local", systems=["one"], options={"pools": {"train": "gpu"}, "attempts_after_s": []})
    assert project.fleet.state(run) == "FAILED"
    assert "dvc remote add --default" in project.fleet.message(run)
    assert project.began("ingest-one") == 1
    assert os.path.exists(project.folder / "data/raw/one")
