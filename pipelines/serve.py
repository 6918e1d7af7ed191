"""The servers of a team on one machine: Prefect with its deployments, MLflow, Optuna dashboard, reports, a CPU worker.

python -m pipelines.serve [--prefect-port 4200] [--mlflow-port 5000] [--optuna-port 8080] [--reports-port 8090] [--limit 2]

All listen on 127.0.0.1. State is in `.state/` (or the folder PEOPLE_STATE), in SQLite, or in PostgreSQL if DATABASE_URL is
set. Ctrl-C or SIGTERM stops all services; if one ends by itself, the others are stopped too.
"""

import argparse
import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from ruamel.yaml import YAML

from pipelines import databases, lost_runs
from pipelines.databases import Databases
from pipelines.services import DASHBOARD_URL, LOG_TAIL_LINES, REPORTS, REPORTS_URL, Service, ServiceDown, ServiceGroup, request

HOST = "127.0.0.1"
POOL = "cpu"
AUTOMATIONS = Path(__file__).with_name("automations.yaml")
TELEMETRY = ("DO_NOT_TRACK", "DVC_NO_ANALYTICS", "MLFLOW_DISABLE_TELEMETRY", "PREFECT_SERVER_ANALYTICS_ENABLED")
HEARTBEAT_S = 30  # the automation sets a run to Crashed after 100 s without one


def main() -> None:
    ports = {"prefect": 4200, "mlflow": 5000, "optuna": 8080, "reports": 8090}
    summary, _, epilog = (__doc__ or "").partition("\n\n")
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="make serve", description=summary, epilog=epilog, formatter_class=style)
    for name, port in ports.items():
        parser.add_argument(f"--{name}-port", type=int, default=port, help=f"default {port}")
    parser.add_argument("--limit", type=int, default=2, help="flow runs that the worker runs at the same time; default 2")
    flags = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        serve(
            Path(os.environ.get("PEOPLE_STATE") or ".state"),
            {name: getattr(flags, f"{name}_port") for name in ports},
            flags.limit,
        )
    except KeyboardInterrupt:
        print("stopped", flush=True)
    except (ValueError, ServiceDown) as error:
        sys.exit(f"make serve: {error}")


def serve(folder: Path, ports: Mapping[str, int], limit: int) -> None:
    """Start all services, print their addresses, and wait until it is interrupted or a service ends."""
    check_ports(ports)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "serve.env"
    with locked(folder):
        address = os.environ.get("DATABASE_URL")
        addresses = databases.postgresql(address) if address else databases.sqlite(folder)
        environment = client_environment(ports, addresses)
        print("starting (the first time takes a minute) ...", flush=True)
        databases.create_tables(addresses)
        with ServiceGroup(folder, temporary_files=[file]) as group:
            for server in servers(folder, ports, addresses, environment):
                group.start(server)
            group.wait_healthy()
            create_automations(environment)
            deploy(folder, environment)
            end_lost_runs(environment, group.mark)
            group.start(worker(folder, limit, environment))
            group.wait_healthy()
            write_private(file, "".join(f"{key}={shlex.quote(value)}\n" for key, value in environment.items()))
            print(table(ports, addresses, limit), usage(file), sep="\n\n", flush=True)
            group.watch()


def client_environment(ports: Mapping[str, int], addresses: Databases) -> dict[str, str]:
    """The environment variables by which a worker, a stage or another terminal finds the servers."""
    environment = {
        "PREFECT_API_URL": f"http://{HOST}:{ports['prefect']}/api",
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports['mlflow']}",
        "OPTUNA_STORAGE": addresses.optuna,
        DASHBOARD_URL: f"http://{HOST}:{ports['optuna']}",
        REPORTS_URL: f"http://{HOST}:{ports['reports']}",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
    }
    if login := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        environment["PREFECT_API_AUTH_STRING"] = login
    return environment | {key: os.environ[key] for key in TELEMETRY if key in os.environ}


def servers(folder: Path, ports: Mapping[str, int], addresses: Databases, environment: Mapping[str, str]) -> list[Service]:
    """The four servers. Addresses of databases, which hold a password, are on no command line: other users can read those."""
    urls = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
    listen = {name: ("--host", HOST, "--port", str(port)) for name, port in ports.items()}
    prefect = {"PREFECT_HOME": str((folder / "prefect").resolve()), "PREFECT_SERVER_DATABASE_CONNECTION_URL": addresses.prefect}
    # Without job execution MLflow starts 2 processes instead of 15.
    mlflow = {"MLFLOW_BACKEND_STORE_URI": addresses.mlflow, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    artifacts = ("--artifacts-destination", str((folder / "mlruns").resolve()))
    dashboard = folder / "optuna-dashboard.toml"
    pictures = (folder / "optuna-artifacts").resolve()  # of trials: stages/search/dashboard.py
    pictures.mkdir(exist_ok=True)
    settings = {"storage": addresses.optuna, "artifact_dir": str(pictures)}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    write_private(dashboard, f"[optuna_dashboard]\n{lines}")
    return [
        Service(
            "prefect",
            [sys.executable, "-m", "prefect", "server", "start", *listen["prefect"]],
            {**environment, **prefect},
            f"GET {urls['prefect']}/api/health",
            lambda: request(f"{urls['prefect']}/api/health") is True,
        ),
        Service(
            "mlflow",
            [sys.executable, "-m", "mlflow", "server", "--workers", "1", *listen["mlflow"], *artifacts],
            {**environment, **mlflow},
            f"GET {urls['mlflow']}/health",
            lambda: request(f"{urls['mlflow']}/health") == "OK",
        ),
        Service(
            "optuna",
            [str(Path(sys.executable).with_name("optuna-dashboard")), "--from-config", str(dashboard), *listen["optuna"]],
            environment,
            f"GET {urls['optuna']}/api/studies",
            lambda: "study_summaries" in request(f"{urls['optuna']}/api/studies"),
        ),
        Service(
            "reports",
            [sys.executable, "-m", "http.server", "--bind", HOST, str(ports["reports"])]
            + ["--directory", str(Path(workspace(), REPORTS))],
            environment,
            f"GET {urls['reports']}",
            lambda: answers(urls["reports"]),
        ),
    ]


def workspace() -> str:
    """The folder in which coordinators work."""
    return os.environ.get("PEOPLE_WORKSPACE", str(Path.cwd()))


def answers(url: str) -> bool:
    """Whether a server answers, if only that it has no such page yet."""
    try:
        request(url)
    except HTTPError as error:
        return error.code == HTTPStatus.NOT_FOUND
    return True


def worker(folder: Path, limit: int, environment: Mapping[str, str]) -> Service:
    """A worker of type `process` for the pool `cpu`, which it creates; healthy when the server has its heartbeat."""
    name = worker_name()
    started_at = datetime.now(UTC)

    def is_online() -> bool:
        url = f"{environment['PREFECT_API_URL']}/work_pools/{POOL}/workers/filter"
        workers = request(url, {}, login=environment.get("PREFECT_API_AUTH_STRING"))
        beats = [datetime.fromisoformat(entry["last_heartbeat_time"]) for entry in workers if entry["name"] == name]
        return any(beat > started_at for beat in beats)

    return Service(
        "worker",
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", name]
        + ["--limit", str(limit)],
        {
            **environment,
            "PREFECT_HOME": str((folder / "prefect").resolve()),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PEOPLE_WORKSPACE": workspace(),
            "PEOPLE_REPOSITORY": os.environ.get("PEOPLE_REPOSITORY", Path.cwd().as_uri()),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        },
        f"POST {environment['PREFECT_API_URL']}/work_pools/{POOL}/workers/filter (a heartbeat of {name})",
        is_online,
        stop_children_first=True,
    )


def create_automations(environment: Mapping[str, str]) -> None:
    """Create the automations of automations.yaml; those whose name the server already has stay as they are."""
    url, login = f"{environment['PREFECT_API_URL']}/automations", environment.get("PREFECT_API_AUTH_STRING")
    automations: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(AUTOMATIONS)["automations"]
    try:
        for automation in automations:
            if not request(f"{url}/filter", {"automations": {"name": {"any_": [automation["name"]]}}}, login=login):
                request(f"{url}/", automation, login=login)
    except OSError as error:
        raise ServiceDown(f"the Prefect server did not accept the automations of {AUTOMATIONS}: {error}") from error


def end_lost_runs(environment: Mapping[str, str], mark: str) -> None:
    """End the runs that an earlier `make serve` was killed with, before its worker's successor starts."""
    try:
        login = environment.get("PREFECT_API_AUTH_STRING")
        names = lost_runs.end_lost_runs(environment["PREFECT_API_URL"], worker_name(), mark, login)
    except OSError as error:
        raise ServiceDown(f"the Prefect server did not tell which runs are under way: {error}") from error
    if names:
        print(f"an earlier start was killed with these runs under way, they are Crashed now: {', '.join(names)}", flush=True)


def worker_name() -> str:
    """The name of this machine's worker."""
    return f"{socket.gethostname()}-{POOL}"


def deploy(folder: Path, environment: Mapping[str, str]) -> None:
    """Create the pools and the deployments of prefect.yaml, or bring them up to date."""
    variables = {**os.environ, **environment, "PREFECT_HOME": str((folder / "prefect").resolve())}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.deploy"], env=variables, capture_output=True, text=True, check=False
    )
    (folder / "logs" / "deploy.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        last = "\n".join(f"  | {line}" for line in (done.stdout + done.stderr).splitlines()[-LOG_TAIL_LINES:])
        raise ServiceDown(f"the deployments of prefect.yaml could not be created; the end of {folder}/logs/deploy.log:\n{last}")


def check_ports(ports: Mapping[str, int]) -> None:
    """Raise `ValueError` for a port that another process listens on, or that two services share."""
    for name, port in ports.items():
        duplicates = [service for service in ports if service != name and ports[service] == port]
        if duplicates:
            raise ValueError(f"--{name}-port and --{duplicates[0]}-port are both {port}; give each a port of its own")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections that have ended
            try:
                probe.bind((HOST, port))
            except OSError as error:
                advice = f"stop what listens there, or choose another port with --{name}-port"
                raise ValueError(f"port {port} of {HOST}, for {name}, is in use ({error.strerror}); {advice}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a state folder, one `make serve` at a time; the system releases it if the process is killed."""
    with (folder / "serve.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            advice = "stop it, or name another folder with PEOPLE_STATE"
            raise ValueError(f"another `make serve` uses the state in {folder.resolve()}; {advice}") from None
        yield


def write_private(file: Path, text: str) -> None:
    """Write a file that is created with mode 0600."""
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as stream:
        stream.write(text)


def table(ports: Mapping[str, int], addresses: Databases, limit: int) -> str:
    """The services with their addresses and databases, as text."""
    rows = [("what", "address", "database")]
    names = {"prefect": "Prefect server", "mlflow": "MLflow server", "optuna": "Optuna dashboard"}
    rows += [(label, f"http://{HOST}:{ports[name]}", addresses.redacted(name)) for name, label in names.items()]
    rows += [("Reports", f"http://{HOST}:{ports['reports']}", "")]
    rows += [("Prefect worker", f"pool {POOL}, {limit} runs at a time", "")]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def usage(file: Path) -> str:
    """The commands for another terminal."""
    activate = os.path.relpath(Path(sys.prefix) / "bin" / "activate")
    lines = [f". {activate}", f"set -a; . {shlex.quote(str(file))}; set +a"]
    lines += ["prefect deployment run reproduce/local --watch"]
    return "\n".join(["In another terminal:", *(f"  {line}" for line in lines), "Ctrl-C here stops all services."])


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
