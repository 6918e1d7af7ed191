"""Services as child processes: started, asked over HTTP whether they are healthy, watched, and stopped, the last one first."""

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

HEALTHY_WITHIN_S = 300.0
STOPPED_WITHIN_S = 30.0
ANSWER_WITHIN_S = 5.0
POLL_S = 0.3
LINES_SHOWN = 20
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine's loopback


class Down(RuntimeError):
    """A service ended by itself, or did not become healthy in time."""


@dataclass(frozen=True)
class Service:
    """What is started, and the question over HTTP that only the healthy service answers with yes."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    question: str
    healthy: Callable[[], bool]
    healthy_within_s: float = HEALTHY_WITHIN_S
    reports_on_children: bool = False  # a worker's runs end before it: once it is asked to end, it kills them and tells nobody


class Fleet:
    """Services of one start. On leaving they are stopped in the reverse order; none outlives this process, however it ends."""

    def __init__(self, folder: Path, *, remove: Sequence[Path] = ()) -> None:
        self.logs, self.remove = folder / "logs", [str(file.resolve()) for file in remove]
        self.mark = uuid.uuid4().hex
        self.running: list[tuple[Service, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> "Fleet":
        self.logs.mkdir(parents=True, exist_ok=True)
        self.guard = subprocess.Popen(
            [sys.executable, "-m", "pipelines.guard", self.mark, *self.remove],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)  # a second Ctrl-C would leave the rest unstopped
        for service, process in reversed(self.running):
            stop(service, process)
        assert self.guard.stdin is not None
        self.guard.stdin.close()
        self.guard.wait()

    def start(self, service: Service) -> None:
        """Start the service in a session of its own, so that Ctrl-C does not reach it before its turn; it writes its log."""
        with self.log(service).open("wb") as log:
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
        """Return when every service that was started is healthy; `Down` if one ends or takes longer than it may."""
        began = time.monotonic()
        for service, _ in self.running:
            while not self.healthy(service):
                self.check()
                if time.monotonic() - began > service.healthy_within_s:
                    waited = f"did not answer {service.question} as expected within {service.healthy_within_s:.0f} s"
                    raise Down(f"{service.name} {waited}{self.tail(service)}")
                time.sleep(POLL_S)
        self.check()

    def healthy(self, service: Service) -> bool:
        try:
            return service.healthy()
        except OSError:
            return False  # not listening yet, or not yet able to answer

    def watch(self) -> None:
        """Go on until a service ends, which is `Down`."""
        while True:
            self.check()
            time.sleep(POLL_S)

    def check(self) -> None:
        """`Down` if a service, or the guard, has ended."""
        for service, process in self.running:
            if (code := process.poll()) is not None:
                raise Down(f"{service.name} {ending(code)}{self.tail(service)}")
        if (code := self.guard.poll()) is not None:
            raise Down(f"the guard, which ends the services if this process is killed, {ending(code)}")

    def log(self, service: Service) -> Path:
        return self.logs / f"{service.name}.log"

    def tail(self, service: Service) -> str:
        """The last lines of its log, under the log's name."""
        with self.log(service).open(errors="replace") as lines:
            last = deque((f"  | {line.rstrip()}" for line in lines), LINES_SHOWN)
        return "\n".join([f"; the end of {self.log(service)}:", *last])


def stop(service: Service, process: subprocess.Popen[bytes]) -> None:
    """End a service, asked first and killed if it takes longer than `STOPPED_WITHIN_S`."""
    if service.reports_on_children:
        end_children(process)
    process.terminate()
    try:
        process.wait(timeout=STOPPED_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_children(process: subprocess.Popen[bytes]) -> None:
    """Ask the children to end and wait until there are none, or `STOPPED_WITHIN_S` have passed; new ones are asked too."""
    asked: set[psutil.Process] = set()
    deadline = time.monotonic() + STOPPED_WITHIN_S
    while (children := children_of(process)) and time.monotonic() < deadline:
        for child in children - asked:
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        asked |= children
        time.sleep(0.05)


def children_of(process: subprocess.Popen[bytes]) -> set[psutil.Process]:
    """Its direct children; none if it has ended."""
    try:
        return set(psutil.Process(process.pid).children())
    except psutil.NoSuchProcess:
        return set()


def ending(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


def ask(url: str, body: Any = None, *, login: str | None = None) -> Any:
    """The JSON, or else the text, that the URL answers (to a POST if there is a body); OSError if it does not, or refuses."""
    request = urllib.request.Request(url, data=None if body is None else json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    with _DIRECT.open(request, timeout=ANSWER_WITHIN_S) as answer:
        text = answer.read().decode()
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
