"""Flow runs that were under way when `make serve` was killed: the next start ends them on the server.

Their processes are gone (pipelines/guard.py), and so is the worker that would have said so. The automation that watches
heartbeats does not see all of them: it counts from an event that a killed server may not have written.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import psutil

from pipelines import guard
from pipelines.services import request

UNDER_WAY = ("RUNNING", "PENDING", "CANCELLING")
PAGE = 200


def end_lost_runs(api: str, worker: str, mark: str, login: str | None) -> list[str]:
    """End the runs that a worker of this name had begun and whose process is gone; their names. `mark`: of this start."""
    lost = [run for run in list(runs_under_way(api, login)) if is_lost(run, worker, mark)]
    for run in lost:
        request(f"{api}/flow_runs/{run['id']}/set_state", {"state": final_state(run), "force": True}, login=login)
    return [run["name"] for run in lost]


def runs_under_way(api: str, login: str | None) -> Iterator[Mapping[str, Any]]:
    """Every run whose process should exist."""
    offset = 0
    while True:
        under_way = {"flow_runs": {"state": {"type": {"any_": list(UNDER_WAY)}}}, "sort": "ID_DESC"}
        page = request(f"{api}/flow_runs/filter", {**under_way, "limit": PAGE, "offset": offset}, login=login)
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE


def is_lost(run: Mapping[str, Any], worker: str, mark: str) -> bool:
    """Whether the worker had begun the run, and no process of an earlier start has its PID any more."""
    return run["labels"].get("prefect.worker.name") == worker and not is_of_earlier_start(run.get("infrastructure_pid"), mark)


def is_of_earlier_start(pid: str | None, mark: str) -> bool:
    """Whether a process with this PID runs that an earlier `make serve` has started."""
    try:
        return pid is not None and psutil.Process(int(pid)).environ().get(guard.MARK, mark) != mark
    except (ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def final_state(run: Mapping[str, Any]) -> dict[str, str]:
    """Cancelled if the run was being cancelled, else Crashed."""
    kind = "CANCELLED" if run["state_type"] == "CANCELLING" else "CRASHED"
    return {"type": kind, "name": kind.capitalize(), "message": "`make serve` was killed while this run was under way."}
