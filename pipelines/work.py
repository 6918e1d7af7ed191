"""One DVC stage as a Prefect task: here, or by a worker elsewhere that shares its result through the DVC remote."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.runtime import flow_run, task_run
from prefect.states import Cancelling

from pipelines import artifacts, commands, graph, workspace

UP_TO_DATE = "up to date"
POLL_S = 2.0
STATE = Path.home() / ".local/state/people-in-video"  # of a worker whose PEOPLE_STATE names no other place
SENT_BY = "sent-by:"  # the tag by which a coordinator finds what it sent to workers


@dataclass(frozen=True)
class Outcome:
    """What came of a stage: `up to date`, `restored`, or `ran`; by whom, and how long it took."""

    stage: str
    came: str
    where: str
    seconds: float


@dataclass(frozen=True)
class Inputs:
    """All that a worker elsewhere needs to know: where the code is, which commit, its parameters, and what is made already."""

    repository: str
    commit: str
    params: str
    lock: dict[str, Any]


def can_pass(_task: object, _run: object, state: State[Any]) -> bool:
    """Whether trying again can help: only after a failure that can pass, never after a cancellation or a lasting mistake."""
    try:
        state.result(raise_on_failure=True)
    except commands.Passing:
        return True
    except BaseException:
        return False
    return False


def patient(attempts_after_s: Sequence[float]) -> dict[str, Any]:
    """A task's options for so many further attempts, each after its wait."""
    return {"retries": len(attempts_after_s), "retry_delay_seconds": list(attempts_after_s)}


@task(retry_condition_fn=can_pass, task_run_name="{name}", cache_policy=NO_CACHE)
def stage(
    name: str,
    pool: str,
    upstream: Sequence[str],
    stale: bool,
    before: Mapping[str, Outcome],
    slot: AbstractContextManager[Any],
    attempts_after_s: Sequence[float],
) -> Outcome:
    """Bring one stage up to date: on a pool's worker where one is named, else here while holding the slot."""
    if unchanged(stale, before):
        return Outcome(name, UP_TO_DATE, "here", 0.0)
    log = get_run_logger().info
    with slot:
        started = time.monotonic()
        if pool:
            send("stage", name, pool, upstream)
            came, where = taken(name, attempts_after_s), f"pool {pool}"
        else:
            came, where = workspace.reproduce(name, log, pull=workspace.has_remote()), "here"
    if came != UP_TO_DATE:
        artifacts.of_stage(name)
    return Outcome(name, came, where, time.monotonic() - started)


def taken(name: str, attempts_after_s: Sequence[float]) -> str:
    """What came of a stage that a worker has made. Taking it is tried again by itself: the worker does nothing twice."""
    try:
        return take.with_options(**patient(attempts_after_s))(name)
    except commands.Passing as error:
        raise commands.Failed(f"{name} was made by a worker, and every attempt to take it here failed: {error}") from error


@task(retry_condition_fn=can_pass, task_run_name="take {name}", cache_policy=NO_CACHE)
def take(name: str) -> str:
    """Bring a stage's result here from the run cache of the remote."""
    return workspace.reproduce(name, get_run_logger().info, pull=True, may_run=False)


@task(retry_condition_fn=can_pass, task_run_name="help {name}", cache_policy=NO_CACHE)
def assist(name: str, pool: str, upstream: Sequence[str], stale: bool, before: Mapping[str, Outcome]) -> None:
    """One more process at the trials of a tuning stage: on a pool's worker where one is named, else here."""
    if unchanged(stale, before):
        return
    if pool:
        send("trials", name, pool, upstream)
    else:
        work_on_trials(name, get_run_logger().info)


def unchanged(stale: bool, before: Mapping[str, Outcome]) -> bool:
    """Whether neither the stage nor anything before it has changed: then nothing need be asked of DVC."""
    return not stale and all(outcome.came == UP_TO_DATE for outcome in before.values())


def work_on_trials(name: str, log: workspace.Log) -> None:
    """Trials of a tuning stage's study, until all are done."""
    kind, _, system = name.partition("@")
    commands.run(["python", "-m", f"stages.{kind}", system, "--trials-only"], log)


def send(kind: str, name: str, pool: str, upstream: Sequence[str]) -> None:
    """Have a worker of a pool run a stage (kind `stage`) or work on its trials (kind `trials`).

    Its inputs go to the remote first; its result is there afterwards.
    """
    log = get_run_logger().info
    if not workspace.has_remote():
        raise commands.Failed(
            f"{name} shall run on pool {pool}, but DVC has no default remote to share its inputs and result through; "
            "add one: dvc remote add --default store URL"
        )
    commit = workspace.committed()
    if upstream:  # of no stages DVC would push all
        workspace.push(list(upstream), log)
    records = graph.lock()
    inputs = Inputs(
        repository=workspace.git("remote", "get-url", "origin"),
        commit=commit,
        params=Path("params.yaml").read_text(),
        lock={one: records[one] for one in upstream},
    )
    with get_client(sync_client=True) as client:
        sent: Any = run_deployment(
            f"{kind}/{pool}",
            parameters={"name": name, "inputs": vars(inputs)},
            flow_run_name=f"{name} for {flow_run.name}",
            tags=[f"{SENT_BY}{flow_run.id}"],
            idempotency_key=f"{task_run.id}-{task_run.run_count}",  # a request whose answer is lost is sent again
            timeout=0,
        )
        await_end(client, sent, name, pool)


def await_end(client: SyncPrefectClient, sent: FlowRun, name: str, pool: str) -> None:
    """Wait until the worker's run has ended; how it failed decides whether another attempt can help."""
    log, seen = get_run_logger().info, ""
    while True:
        run = client.read_flow_run(sent.id)
        assert run.state is not None
        if run.state.name != seen:
            seen = str(run.state.name)
            log(f"{name} on pool {pool}: {seen.lower()} ({run.name})")
        if run.state.is_final():
            break
        time.sleep(POLL_S)
    if run.state.is_completed():
        return
    message = f"{name} on pool {pool} ended as {run.state.name}: {run.state.message or 'no message'}"
    passing = run.state.is_crashed() or commands.Passing.__name__ in (run.state.message or "")
    raise (commands.Passing if passing else commands.Failed)(message)


def recall(flow: object, flow_run: FlowRun, state: object) -> None:
    """Cancel what an ended coordinator had sent to workers: nobody waits for it any more."""
    with get_client(sync_client=True) as client:
        for sent in sent_by(client, flow_run.id):
            if sent.state and not sent.state.is_final():
                client.set_flow_run_state(sent.id, Cancelling(message=f"{flow_run.name}, which sent this, has ended"))


def sent_by(client: SyncPrefectClient, coordinator: UUID) -> list[FlowRun]:
    """The runs that a coordinator sent to workers."""
    tags = FlowRunFilterTags(all_=[f"{SENT_BY}{coordinator}"])
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags))


@flow(name="stage", flow_run_name="{name}", retries=0)
def on_worker(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Run one stage in this clone of the project and share what it made; the coordinator takes it from there."""
    log = get_run_logger().info
    prepare(Inputs(**inputs), log)
    workspace.reproduce(name, log, pull=True)
    workspace.push([name], log)
    return {"outs": graph.lock()[name]["outs"]}


@flow(name="trials", flow_run_name="{name}", retries=0)
def trials_on_worker(name: str, inputs: dict[str, Any]) -> None:
    """Work on the trials of a tuning stage's study until all are done; the run of the stage itself writes the result."""
    log, given = get_run_logger().info, Inputs(**inputs)
    prepare(given, log)
    commands.run([*workspace.DVC, "pull", *given.lock], log)
    work_on_trials(name, log)


def prepare(inputs: Inputs, log: workspace.Log) -> None:
    """Make the clone that this flow was started in the coordinator's: its commit, its parameters, its record of inputs.

    The clone goes when the run ends. Half-trained checkpoints and DVC's cache stay on the machine, in `PEOPLE_STATE` and
    `PEOPLE_CACHE`, for the next attempt and the next stage.
    """
    if workspace.asked("git", "cat-file", "-e", inputs.commit) is None:
        commands.run(["git", "fetch", "--quiet", inputs.repository, inputs.commit], log)
    commands.run(["git", "checkout", "--quiet", "--force", "--detach", inputs.commit], log)
    Path("params.yaml").write_text(inputs.params)
    graph.write_lock(inputs.lock)
    os.environ.setdefault("PEOPLE_STATE", str(STATE))
    log(f"checkpoints of trainings that are cut short stay in {workspace.state('checkpoints')}")
    cache = os.environ.get("PEOPLE_CACHE") or str(workspace.state("cache"))
    commands.run(["dvc", "cache", "dir", "--local", cache], log)
