"""Services as child processes: start, health checks over HTTP, monitoring, and stop in the reverse order."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from pipelines import guard

STARTUP_TIMEOUT_S = 300.0
SHUTDOWN_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 5.0
POLL_S = 0.3
LOG_TAIL_LINES = 20
REPORTS = Path("data/report")
REPORTS_URL = "PEOPLE_REPORTS_URL"  # where that folder is served
DASHBOARD_URL = "OPTUNA_DASHBOARD_URL"
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine's loopback


class ServiceDown(RuntimeError):
    """A service ended by itself, or did not become healthy in time."""


@dataclass(frozen=True)
class Service:
    """A command to start, and the health check over HTTP; `health_check` says in error messages what it asks."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    health_check: str
    is_healthy: Callable[[], bool]
    startup_timeout_s: float = STARTUP_TIMEOUT_S
    stop_children_first: bool = False  # a worker that is stopped kills its runs without reporting them to the server


class ServiceGroup:
    """Services that start together and are stopped in the reverse order; the guard ends them if this process is killed."""

    def __init__(self, folder: Path, *, temporary_files: Sequence[Path] = ()) -> None:
        self.logs, self.temporary_files = folder / "logs", [str(file.resolve()) for file in temporary_files]
        self.mark = uuid.uuid4().hex
        self.running: list[tuple[Service, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> "ServiceGroup":
        self.logs.mkdir(parents=True, exist_ok=True)
        self.guard = subprocess.Popen(
            [sys.executable, "-m", "pipelines.guard", self.mark, *self.temporary_files],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C would interrupt the stopping
        for service, process in reversed(self.running):
            stop(service, process)
        assert self.guard.stdin is not None
        self.guard.stdin.close()
        self.guard.wait()

    def start(self, service: Service) -> None:
        """Start the service, its output in its log; in a session of its own, so that Ctrl-C does not stop it out of order."""
        with self.log_file(service).open("wb") as log:
            process = subprocess.Popen(
                service.command,
                env={**os.environ, **service.environment, guard.MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append((service, process))

    def wait_healthy(self) -> None:
        """Return when every started service is healthy; `ServiceDown` if one ends or exceeds its timeout."""
        started_s = time.monotonic()
        for service, _ in self.running:
            while not self.is_healthy(service):
                self.check_running()
                if time.monotonic() - started_s > service.startup_timeout_s:
                    reason = f"did not answer {service.health_check} as expected within {service.startup_timeout_s:.0f} s"
                    raise ServiceDown(f"{service.name} {reason}{self.log_tail(service)}")
                time.sleep(POLL_S)
        self.check_running()

    def is_healthy(self, service: Service) -> bool:
        try:
            return service.is_healthy()
        except OSError:
            return False  # not listening yet, or not ready

    def watch(self) -> None:
        """Wait until a service ends, then raise `ServiceDown`."""
        while True:
            self.check_running()
            time.sleep(POLL_S)

    def check_running(self) -> None:
        """Raise `ServiceDown` if a service, or the guard, has ended."""
        for service, process in self.running:
            if (code := process.poll()) is not None:
                raise ServiceDown(f"{service.name} {exit_reason(code)}{self.log_tail(service)}")
        if (code := self.guard.poll()) is not None:
            raise ServiceDown(f"the guard, which ends the services if this process is killed, {exit_reason(code)}")

    def log_file(self, service: Service) -> Path:
        return self.logs / f"{service.name}.log"

    def log_tail(self, service: Service) -> str:
        """The last lines of its log, after the path of the log."""
        with self.log_file(service).open(errors="replace") as lines:
            last = deque((f"  | {line.rstrip()}" for line in lines), LOG_TAIL_LINES)
        return "\n".join([f"; the end of {self.log_file(service)}:", *last])


def stop(service: Service, process: subprocess.Popen[bytes]) -> None:
    """End a service: SIGTERM first, SIGKILL after `SHUTDOWN_TIMEOUT_S` seconds."""
    if service.stop_children_first:
        terminate_children(process)
    process.terminate()
    try:
        process.wait(timeout=SHUTDOWN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def terminate_children(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the children, new ones too, until there are none or `SHUTDOWN_TIMEOUT_S` seconds have passed."""
    terminated: set[psutil.Process] = set()
    deadline = time.monotonic() + SHUTDOWN_TIMEOUT_S
    while (children := direct_children(process)) and time.monotonic() < deadline:
        for child in children - terminated:
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        terminated |= children
        time.sleep(0.05)


def direct_children(process: subprocess.Popen[bytes]) -> set[psutil.Process]:
    """Its direct children; none if it has ended."""
    try:
        return set(psutil.Process(process.pid).children())
    except psutil.NoSuchProcess:
        return set()


def exit_reason(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


def request(url: str, body: Any = None, *, login: str | None = None) -> Any:
    """The JSON, or else the text, of the response to a GET, or to a POST if there is a body; `OSError` if the request fails."""
    http_request = urllib.request.Request(url, data=None if body is None else json.dumps(body).encode())
    http_request.add_header("Content-Type", "application/json")
    if login:
        http_request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    with _NO_PROXY.open(http_request, timeout=REQUEST_TIMEOUT_S) as response:
        text = response.read().decode()
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
