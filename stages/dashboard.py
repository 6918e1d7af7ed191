"""Open the Optuna dashboard on the project's studies.

    people dashboard [--port 8080] [--open]

prints the address of each study and serves them on 127.0.0.1 until Ctrl-C. They are those at OPTUNA_STORAGE, or in .state/.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from stages.search.dashboard import ARTIFACTS
from stages.search.slots import FINISHED
from stages.search.storage import JOURNAL, open_storage
from stages.shared.project import argument_parser, optuna_storage, state
from stages.tracking.runs import interruptible

HOST = "127.0.0.1"
READY_WITHIN_S = 60


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--port", type=int, default=8080, help="default 8080")
    parser.add_argument("--open", action="store_true", help="open it in a browser")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    refuse_used(arguments.port)
    lines = addresses(open_storage(), f"http://{HOST}:{arguments.port}")
    with interruptible():
        server = subprocess.Popen(command(arguments.port))
        try:
            wait_until_ready(server, arguments.port)
            print("\n".join(lines or ["there is no study yet: dvc repro tune makes some"]), flush=True)
            print(f"http://{HOST}:{arguments.port}/dashboard has them all; Ctrl-C ends it", flush=True)
            if arguments.open:
                webbrowser.open(f"http://{HOST}:{arguments.port}/dashboard")
            sys.exit(server.wait())
        except KeyboardInterrupt:
            pass
        finally:
            server.terminate()
            server.wait()


def addresses(storage: BaseStorage, base: str) -> list[str]:
    """A line for each study: its name, how far it is, and its address."""
    lines = []
    for summary in optuna.get_all_study_summaries(storage, include_best_trial=False):
        number = storage.get_study_id_from_name(summary.study_name)
        progress = "finished" if summary.user_attrs.get(FINISHED) else f"{summary.n_trials} trials so far"
        lines.append(f"{base}/dashboard/studies/{number}  {summary.study_name}: {progress}")
    return lines


def command(port: int) -> list[str]:
    """The command of the server. The address of a database may hold a password: it is in a file that only its owner reads."""
    address = optuna_storage()
    location = address.removeprefix(JOURNAL).removeprefix("//") if address.startswith(JOURNAL) else address
    config = state("optuna-dashboard.toml")
    with open(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"[optuna_dashboard]\nstorage = {json.dumps(location)}\n")
    folder = state(ARTIFACTS)
    folder.mkdir(exist_ok=True)
    program = str(Path(sys.executable).with_name("optuna-dashboard"))
    listen = ["--host", HOST, "--port", str(port), "--artifact-dir", str(folder), "--quiet"]
    return [program, "--from-config", str(config), *listen]


def refuse_used(port: int) -> None:
    """Refuse a port on which somebody listens."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            sys.exit(f"port {port} of {HOST} is in use (by `make serve`?); name another one with --port")


def wait_until_ready(server: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until the server answers; exit with its code if it ends."""
    end_s = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end_s:
        if (code := server.poll()) is not None:
            sys.exit(f"optuna-dashboard ended with exit code {code} before it answered")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/api/studies", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    sys.exit(f"optuna-dashboard did not answer within {READY_WITHIN_S} s")


if __name__ == "__main__":
    main()
