"""What a team needs on one machine: Prefect server, MLflow server, Optuna dashboard and a CPU worker, bound to 127.0.0.1.

python -m pipelines.serve [--prefect-port 4200] [--mlflow-port 5000] [--optuna-port 8080] [--limit 2]

State lies in `.state/` (or where PEOPLE_STATE says), in SQLite, or in PostgreSQL if DATABASE_URL names a server. Ctrl-C or
SIGTERM stops everything; so does a service that ends by itself.
"""

import argparse
import fcntl
import json
import os
import shlex
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines import databases
from pipelines.databases import Databases
from pipelines.services import Down, Fleet, Service, ask

HOST = "127.0.0.1"
POOL = "cpu"
AUTOMATIONS = Path(__file__).with_name("automations.yaml")
TELEMETRY = ("DO_NOT_TRACK", "DVC_NO_ANALYTICS", "MLFLOW_DISABLE_TELEMETRY", "PREFECT_SERVER_ANALYTICS_ENABLED")
HEARTBEAT_S = 30  # the automation gives a run up after 100 s without one


def main() -> None:
    ports = {"prefect": 4200, "mlflow": 5000, "optuna": 8080}
    parser = argparse.ArgumentParser(prog="make serve", description=(__doc__ or "").splitlines()[0])
    for name, port in ports.items():
        parser.add_argument(f"--{name}-port", type=int, default=port, help=f"default {port}")
    parser.add_argument("--limit", type=int, default=2, help="flow runs that the worker runs at the same time; default 2")
    flags = parser.parse_args()
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, _interrupt)
    try:
        serve(
            Path(os.environ.get("PEOPLE_STATE") or ".state"),
            {name: getattr(flags, f"{name}_port") for name in ports},
            flags.limit,
        )
    except KeyboardInterrupt:
        print("stopped", flush=True)
    except (ValueError, Down) as error:
        sys.exit(f"make serve: {error}")


def serve(folder: Path, ports: Mapping[str, int], limit: int) -> None:
    """Start everything, say where it is, and stay until it is interrupted or something ends."""
    refuse_taken(ports)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "serve.env"
    with alone(folder):
        address = os.environ.get("DATABASE_URL")
        stored = databases.postgresql(address) if address else databases.sqlite(folder)
        shared = environment(ports, stored)
        databases.create_optuna_tables(stored.optuna)
        print("starting (the first time takes a minute) ...", flush=True)
        with Fleet(folder, remove=[file]) as fleet:
            for server in servers(folder, ports, stored, shared):
                fleet.start(server)
            fleet.wait_healthy()
            create_automations(shared)
            fleet.start(worker(folder, limit, shared))
            fleet.wait_healthy()
            write_private(file, "".join(f"{key}={shlex.quote(value)}\n" for key, value in shared.items()))
            print(table(ports, stored, limit), how_to_use(file), sep="\n\n", flush=True)
            fleet.watch()


def environment(ports: Mapping[str, int], stored: Databases) -> dict[str, str]:
    """The variables by which a worker, a stage or another terminal finds the servers."""
    found = {
        "PREFECT_API_URL": f"http://{HOST}:{ports['prefect']}/api",
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports['mlflow']}",
        "OPTUNA_STORAGE": stored.optuna,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
    }
    if login := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        found["PREFECT_API_AUTH_STRING"] = login
    return found | {key: os.environ[key] for key in TELEMETRY if key in os.environ}


def servers(folder: Path, ports: Mapping[str, int], stored: Databases, shared: Mapping[str, str]) -> list[Service]:
    """The three servers. A database's address holds a password: it is never on a command line, where anyone can read it."""
    urls = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
    bound = {name: ("--host", HOST, "--port", str(port)) for name, port in ports.items()}
    home = {"PREFECT_HOME": str((folder / "prefect").resolve()), "PREFECT_SERVER_DATABASE_CONNECTION_URL": stored.prefect}
    lean = {"MLFLOW_BACKEND_STORE_URI": stored.mlflow, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # 2 processes, not 15
    artifacts = ("--artifacts-destination", str((folder / "mlruns").resolve()))
    dashboard = folder / "optuna-dashboard.toml"
    write_private(dashboard, f"[optuna_dashboard]\nstorage = {json.dumps(stored.optuna)}\n")
    return [
        Service(
            "prefect",
            [sys.executable, "-m", "prefect", "server", "start", *bound["prefect"]],
            {**shared, **home},
            f"GET {urls['prefect']}/api/health",
            lambda: ask(f"{urls['prefect']}/api/health") is True,
        ),
        Service(
            "mlflow",
            [sys.executable, "-m", "mlflow", "server", "--workers", "1", *bound["mlflow"], *artifacts],
            {**shared, **lean},
            f"GET {urls['mlflow']}/health",
            lambda: ask(f"{urls['mlflow']}/health") == "OK",
        ),
        Service(
            "optuna",
            [str(Path(sys.executable).with_name("optuna-dashboard")), "--from-config", str(dashboard), *bound["optuna"]],
            shared,
            f"GET {urls['optuna']}/api/studies",
            lambda: "study_summaries" in ask(f"{urls['optuna']}/api/studies"),
        ),
    ]


def worker(folder: Path, limit: int, shared: Mapping[str, str]) -> Service:
    """A worker of type `process` for the pool `cpu`, which it creates; healthy when the server has heard from it."""
    name = f"{socket.gethostname()}-{POOL}"
    began = datetime.now(UTC)

    def heard() -> bool:
        url = f"{shared['PREFECT_API_URL']}/work_pools/{POOL}/workers/filter"
        known = ask(url, {}, login=shared.get("PREFECT_API_AUTH_STRING"))
        return any(one["name"] == name and datetime.fromisoformat(one["last_heartbeat_time"]) > began for one in known)

    return Service(
        "worker",
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", name]
        + ["--limit", str(limit)],
        {
            **shared,
            "PREFECT_HOME": str((folder / "prefect").resolve()),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PEOPLE_WORKSPACE": os.environ.get("PEOPLE_WORKSPACE", str(Path.cwd())),
            "PEOPLE_REPOSITORY": os.environ.get("PEOPLE_REPOSITORY", Path.cwd().as_uri()),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        },
        f"POST {shared['PREFECT_API_URL']}/work_pools/{POOL}/workers/filter (a heartbeat of {name})",
        heard,
        reports_on_children=True,
    )


def create_automations(shared: Mapping[str, str]) -> None:
    """Every automation of the file whose name the server does not know is created; those that it knows are left as they are."""
    url, login = f"{shared['PREFECT_API_URL']}/automations", shared.get("PREFECT_API_AUTH_STRING")
    wanted: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(AUTOMATIONS)["automations"]
    try:
        for automation in wanted:
            if not ask(f"{url}/filter", {"automations": {"name": {"any_": [automation["name"]]}}}, login=login):
                ask(f"{url}/", automation, login=login)
    except OSError as error:
        raise Down(f"the Prefect server did not take the automations of {AUTOMATIONS}: {error}") from error


def refuse_taken(ports: Mapping[str, int]) -> None:
    """`ValueError` for the first port that another process listens on, or that two services were given."""
    for name, port in ports.items():
        others = [other for other in ports if other != name and ports[other] == port]
        if others:
            raise ValueError(f"--{name}-port and --{others[0]}-port are both {port}; give each a port of its own")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not count
            try:
                probe.bind((HOST, port))
            except OSError as error:
                how = f"stop what listens there, or choose another port with --{name}-port"
                raise ValueError(f"port {port} of {HOST}, wanted for {name}, is not free ({error.strerror}); {how}") from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Two of these never serve the same state; the lock of a process that was killed is free."""
    with (folder / "serve.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            how = "stop it, or give this one another folder with PEOPLE_STATE"
            raise ValueError(f"the state in {folder.resolve()} is being served already; {how}") from None
        yield


def write_private(file: Path, text: str) -> None:
    """A file that only this user can read, from its first byte on."""
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as opened:
        opened.write(text)


def table(ports: Mapping[str, int], stored: Databases, limit: int) -> str:
    """What runs, at which address, on which database."""
    rows = [("what", "address", "database")]
    names = {"prefect": "Prefect server", "mlflow": "MLflow server", "optuna": "Optuna dashboard"}
    rows += [(label, f"http://{HOST}:{ports[name]}", stored.shown(name)) for name, label in names.items()]
    rows += [("Prefect worker", f"pool {POOL}, {limit} runs at a time", "")]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def how_to_use(file: Path) -> str:
    """The lines to type in another terminal."""
    activate = os.path.relpath(Path(sys.prefix) / "bin" / "activate")
    lines = [f". {activate}", f"set -a; . {shlex.quote(str(file))}; set +a", "prefect deploy --all"]
    lines += ["prefect deployment run reproduce/local"]
    return "\n".join(["In another terminal:", *(f"  {line}" for line in lines), "Ctrl-C here stops everything."])


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
