"""True states while something waits: for Prefect a task or a flow is Running as soon as its function has been called.

A task that waits for tasks before it is Pending by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Semaphore
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.runtime import flow_run
from prefect.states import AwaitingConcurrencySlot, Pending, Running
from prefect.utilities.engine import emit_task_run_state_change_event


@contextmanager
def place_among(places: Semaphore) -> Iterator[None]:
    """Hold one of these places; until one is free, the current task is AwaitingConcurrencySlot."""
    if not places.acquire(blocking=False):
        show(AwaitingConcurrencySlot(message="as many stages run in this workspace as options.side_by_side allows"))
        places.acquire()
        show(Running())
    try:
        yield
    finally:
        places.release()


def await_worker(pool: str) -> None:
    """Show that the current task waits for a worker of the pool."""
    show(Pending(name="AwaitingWorker", message=f"no worker of pool {pool} has begun it yet"))


def show(state: State[Any]) -> None:
    """Set the state of the current task's run, as its engine does; the time in other states than Running is not counted."""
    context = TaskRunContext.get()
    if context is None or context.task_run.state is None:
        return
    run, before = context.task_run, context.task_run.state
    state.state_details.task_run_id, state.state_details.flow_run_id = run.id, run.flow_run_id
    if before.is_running():
        run.total_run_time += state.timestamp - before.timestamp
    if state.is_running() and run.run_count == 1:
        run.start_time = state.timestamp  # pyright: ignore[reportAttributeAccessIssue] - of the same class
    run.state, run.state_id, run.state_type, run.state_name = state, state.id, state.type, state.name
    emit_task_run_state_change_event(run, before, state)


def await_workspace() -> None:
    """Show that the current flow run waits for another one that works in this workspace."""
    _set_flow_run(Pending(name="AwaitingWorkspace", message="another flow run works in this workspace"), force=True)


def resume_flow_run() -> None:
    """Show that the current flow run runs again; one that is being cancelled stays so."""
    _set_flow_run(Running(), force=False)


def _set_flow_run(state: State[Any], *, force: bool) -> None:
    with get_client(sync_client=True) as client, suppress(httpx.HTTPError):  # a server that restarts must not end the run
        client.set_flow_run_state(flow_run.id, state, force=force)
