"""One DVC stage as a Prefect task: run in this workspace, or by a worker that shares its result through the DVC remote."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import Annotated, Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.runtime import flow_run, task_run
from prefect.states import Cancelling, Running
from pydantic import Field

from pipelines import artifacts, commands, graph, names, states, workspace
from pipelines.parameters import Inputs

UP_TO_DATE = "up to date"
POLL_S = 2.0
MAX_ADDRESS_CHARS = 4096
STATE = Path.home() / ".local/state/people-in-video"  # of a worker without PEOPLE_STATE
StageName = Annotated[str, Field(pattern=f"^{graph.STAGE_NAME}$")]
SENT_BY = "sent-by:"  # prefix of the tag of the runs that a coordinator sent to workers
SENT_TITLES = {"stage": "", "trials": "trials of "}  # by kind, before the stage, in the names of these runs


@dataclass(frozen=True)
class Outcome:
    """A stage's status - `up to date`, `restored`, or `ran` -, where it ran, and how long it took."""

    stage: str
    status: str
    where: str
    seconds: float


def check(inputs: Inputs) -> None:
    """Raise `Failed` for a commit that is no SHA-1 or SHA-256, or for what is no address or no name of a stage."""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", inputs.commit):
        raise commands.Failed(f"{inputs.commit!r} is no full name of a commit; a coordinator sends 40 hexadecimal digits")
    if not inputs.repository.isprintable() or len(inputs.repository) > MAX_ADDRESS_CHARS:
        raise commands.Failed(f"{inputs.repository[:MAX_ADDRESS_CHARS]!r} is no address of a git repository")
    if unknown := [name for name in inputs.lock if not re.fullmatch(graph.STAGE_NAME, name)]:
        raise commands.Failed(f"{unknown[0]!r} is no name of a stage")


def is_retryable(_task: object, _run: object, state: State[Any]) -> bool:
    """Whether a failed task is tried again: only after `commands.Retryable`, never after a cancellation."""
    try:
        state.result(raise_on_failure=True)
    except commands.Retryable:
        return True
    except BaseException:
        return False
    return False


def task_options(title: str, attempts_after_s: Sequence[float]) -> dict[str, Any]:
    """A task's options: its name, with some characters more while it is Pending, and further attempts after these waits."""
    retries = {"retries": len(attempts_after_s), "retry_delay_seconds": list(attempts_after_s)}
    return {"name": title, "task_run_name": title, **retries}


@task(retry_condition_fn=is_retryable, cache_policy=NO_CACHE)
def stage(
    name: str,
    pool: str,
    upstream: Sequence[str],
    stale: bool,
    before: Mapping[str, Outcome],
    places: Semaphore,
    attempts_after_s: Sequence[float],
) -> Outcome:
    """Bring one stage up to date: on a worker of the pool, or, if that is empty, in this workspace while holding a place."""
    if is_unchanged(stale, before):
        return Outcome(name, UP_TO_DATE, "here", 0.0)
    with nullcontext() if pool else states.place_among(places):
        started_s = time.monotonic()
        if pool:
            send("stage", name, pool, upstream)
            status, where = fetch_with_retries(name, attempts_after_s), f"pool {pool}"
        else:
            status, where = workspace.reproduce(name, get_run_logger().info, pull=workspace.has_remote()), "here"
    if status != UP_TO_DATE:
        artifacts.create_stage_artifacts(name)
    return Outcome(name, status, where, time.monotonic() - started_s)


def fetch_with_retries(name: str, attempts_after_s: Sequence[float]) -> str:
    """Fetch the result of a stage that a worker has run. Retries repeat the fetching alone, not the worker's run."""
    try:
        return fetch_result.with_options(**task_options(f"fetch {names.stage_title(name)}", attempts_after_s))(name)
    except commands.Retryable as error:
        raise commands.Failed(f"{name} was run by a worker, and every attempt to fetch its result failed: {error}") from error


@task(retry_condition_fn=is_retryable, cache_policy=NO_CACHE)
def fetch_result(name: str) -> str:
    """Restore a stage's result from the run cache of the remote."""
    return workspace.reproduce(name, get_run_logger().info, pull=True, may_run=False)


@task(retry_condition_fn=is_retryable, cache_policy=NO_CACHE)
def help_with_trials(name: str, pool: str, upstream: Sequence[str], stale: bool, before: Mapping[str, Outcome]) -> None:
    """One more process for the trials of a tuning stage: on a worker of the pool, or, if that is empty, in this workspace."""
    if is_unchanged(stale, before):
        return
    if pool:
        send("trials", name, pool, upstream)
    else:
        run_trials(name, get_run_logger().info)


def is_unchanged(stale: bool, before: Mapping[str, Outcome]) -> bool:
    """Whether neither the stage nor any stage before it has changed, so that `dvc repro` is not needed."""
    return not stale and all(outcome.status == UP_TO_DATE for outcome in before.values())


def run_trials(name: str, log: workspace.Log) -> None:
    """Run trials of a tuning stage's study until all are done."""
    kind, _, system = name.partition("@")
    commands.run(["python", "-m", f"stages.{kind}", system, "--trials-only"], log)


def send(kind: str, name: str, pool: str, upstream: Sequence[str]) -> None:
    """Have a worker of a pool run a stage (kind `stage`) or its trials (kind `trials`), and wait for the end.

    The inputs are pushed to the remote first; the worker pushes the result of a stage there.
    """
    log = get_run_logger().info
    if not workspace.has_remote():
        raise commands.Failed(
            f"{name} is to run on pool {pool}, but DVC has no default remote for its inputs and result; "
            "add one: dvc remote add --default store URL"
        )
    commit = workspace.published_commit()
    if upstream:  # without names DVC would push all stages
        workspace.push(list(upstream), log)
    records = graph.read_lock()
    inputs = Inputs(
        repository=workspace.git("remote", "get-url", "origin"),
        commit=commit,
        params=Path("params.yaml").read_text(),
        lock={stage_name: records[stage_name] for stage_name in upstream},
    )
    with get_client(sync_client=True) as client:
        sent: Any = run_deployment(
            f"{kind}/{pool}",
            parameters={"name": name, "inputs": inputs.model_dump()},
            flow_run_name=f"{SENT_TITLES[kind]}{names.stage_title(name)} for {flow_run.name}",
            tags=[f"{SENT_BY}{flow_run.id}"],
            idempotency_key=f"{task_run.id}-{task_run.run_count}",  # a request whose response is lost is sent again
            timeout=0,
        )
        wait_for_run(client, sent, name, pool)


def wait_for_run(client: SyncPrefectClient, sent: FlowRun, name: str, pool: str) -> None:
    """Wait until the worker's run has ended; `Retryable` if it crashed or failed retryably, else `Failed`."""
    log, last_state = get_run_logger().info, ""
    states.await_worker(pool)
    waits = True
    while True:
        run = client.read_flow_run(sent.id)
        assert run.state is not None
        if run.state.name != last_state:
            last_state = str(run.state.name)
            log(f"{name} on pool {pool}: {last_state.lower()} ({run.name})")
        if waits and not (run.state.is_scheduled() or run.state.is_pending()):
            states.show(Running())
            waits = False
        if run.state.is_final():
            break
        time.sleep(POLL_S)
    if run.state.is_completed():
        return
    message = f"{name} on pool {pool} ended as {run.state.name}: {run.state.message or 'no message'}"
    retryable = run.state.is_crashed() or commands.Retryable.__name__ in (run.state.message or "")
    raise (commands.Retryable if retryable else commands.Failed)(message)


def cancel_sent(flow: object, flow_run: FlowRun, state: object) -> None:
    """Cancel the runs that an ended coordinator had sent to workers."""
    with get_client(sync_client=True) as client:
        for sent in runs_sent_by(client, flow_run.id):
            if sent.state and not sent.state.is_final():
                client.set_flow_run_state(sent.id, Cancelling(message=f"{flow_run.name}, which sent this, has ended"))


def runs_sent_by(client: SyncPrefectClient, coordinator: UUID) -> list[FlowRun]:
    """The runs that a coordinator sent to workers."""
    tags = FlowRunFilterTags(all_=[f"{SENT_BY}{coordinator}"])
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags))


@flow(name="stage", retries=0)
def stage_on_worker(name: StageName, inputs: Inputs) -> dict[str, Any]:
    """Run one stage in this clone of the project and push its outputs; the coordinator fetches them.

    Args:
        name: The stage, as dvc.yaml names it, such as train@dmt.
        inputs: What the stage needs; a coordinator fills it in.
    """
    log = get_run_logger().info
    prepare_clone(inputs, log)
    workspace.reproduce(name, log, pull=True)
    workspace.push([name], log)
    return {"outs": graph.read_lock()[name]["outs"]}


@flow(name="trials", retries=0)
def trials_on_worker(name: StageName, inputs: Inputs) -> None:
    """Run trials of a tuning stage's study until all are done; the run of the stage itself writes the result.

    Args:
        name: The tuning stage, as dvc.yaml names it, such as tune@dmt.
        inputs: What the stage needs; a coordinator fills it in.
    """
    log = get_run_logger().info
    prepare_clone(inputs, log)
    commands.run([*workspace.DVC, "pull", *inputs.lock], log)
    run_trials(name, log)


def prepare_clone(inputs: Inputs, log: workspace.Log) -> None:
    """Check out the coordinator's commit in this clone, and write its params.yaml and its records of the inputs.

    The clone is removed when the run ends. Checkpoints of unfinished trainings and DVC's cache stay on the machine, in
    `PEOPLE_STATE` and `PEOPLE_CACHE`, for the next attempt and the next stage.
    """
    check(inputs)
    if workspace.query("git", "cat-file", "-e", inputs.commit) is None:
        commands.run(["git", "fetch", "--quiet", "--", inputs.repository, inputs.commit], log)
    commands.run(["git", "checkout", "--quiet", "--force", "--detach", inputs.commit, "--"], log)
    Path("params.yaml").write_text(inputs.params)
    graph.check_keys()
    graph.write_lock(inputs.lock)
    os.environ.setdefault("PEOPLE_STATE", str(STATE))
    log(f"checkpoints of interrupted trainings stay in {workspace.state('checkpoints')}")
    cache = os.environ.get("PEOPLE_CACHE") or str(workspace.state("cache"))
    commands.run(["dvc", "cache", "dir", "--local", cache], log)
