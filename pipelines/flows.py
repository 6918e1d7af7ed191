"""The flows that users deploy: they run a part of DVC's graph, here or on workers, and record a version of the result."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from threading import Semaphore
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field

from pipelines import artifacts, commands, graph, versions, work, workspace
from pipelines.work import Outcome

TUNE = "tune"
MAX_REASON_CHARS = 300
MAX_THREADS = 64  # of a run, for the tasks that wait for child processes and for workers

Key = Annotated[str, Field(pattern=f"^{graph.KEY}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")]
Trials = Annotated[int, Field(ge=0)]
Workers = Annotated[int, Field(ge=1, le=MAX_THREADS)]
Result = list[Outcome] | State[Any]


class RunOptions(BaseModel):
    """Where stages run, when they are tried again, and the branch and tag of the version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pools: dict[Name, Name] = Field(
        default={}, description="stage to work pool, such as train: gpu; other stages run in the flow's workspace"
    )
    side_by_side: int = Field(default=1, ge=1, description="how many stages at a time run in the flow's own workspace")
    attempts_after_s: list[float] = Field(
        default=[5, 20, 60, 120], description="waits before each further attempt at a stage whose failure is retryable"
    )
    branch: str = Field(default="", description="a branch to which the version is added as a commit; none by default")
    tag: str = Field(default="", description="a tag that names the version; none by default")
    publish: bool = Field(default=False, description="push the version, its branch and its tag to the git remote origin")


# A run that fails cancels what it sent.
COORDINATOR: Any = {
    "task_runner": ThreadPoolTaskRunner(max_workers=MAX_THREADS),
    "on_cancellation": [work.cancel_sent],
    "on_failure": [work.cancel_sent],
    "on_crashed": [work.cancel_sent],
}


@flow(**COORDINATOR)
def reproduce(systems: Sequence[Key] = (), options: RunOptions = RunOptions()) -> Result:  # noqa: B008 - it is frozen
    """Bring the whole graph up to date, or the part of it that belongs to these systems with all that it needs."""
    return run_stages((), systems, options)


@flow(**COORDINATOR)
def train(systems: Sequence[Key] = (), options: RunOptions = RunOptions()) -> Result:  # noqa: B008
    """Train these systems, or all of them, on up-to-date data."""
    return run_stages(("train",), systems, options)


@flow(**COORDINATOR)
def evaluate(systems: Sequence[Key] = (), options: RunOptions = RunOptions()) -> Result:  # noqa: B008
    """Evaluate these systems, or all of them, after training and tuning what has changed."""
    return run_stages(("evaluate",), systems, options)


@flow(**COORDINATOR)
def register(systems: Sequence[Key] = (), options: RunOptions = RunOptions()) -> Result:  # noqa: B008
    """Register the best checkpoints of these systems, or of all of them."""
    return run_stages(("register",), systems, options)


@flow(**COORDINATOR)
def tune(
    systems: Sequence[Key] = (),
    trials: Trials = 0,
    workers: Workers = 1,
    options: RunOptions = RunOptions(),  # noqa: B008
) -> Result:
    """Search the task weights of these systems, or of all, with `trials` trials (0: as in params.yaml) by `workers` workers.

    A number of trials is written to params.yaml. The workers are runs on the pool that `options.pools` names for `tune`, or
    processes in this workspace; they share each study at OPTUNA_STORAGE.
    """
    try:
        return run_search(systems, trials, workers, options)
    except commands.Failed as error:
        return failed(error)


def run_search(systems: Sequence[str], trials: int, workers: int, options: RunOptions) -> list[Outcome]:
    """Search with so many trials and workers, and record the resulting version."""
    log = get_run_logger().info
    with workspace.locked(log):
        order = graph.read()
        selected = graph.select(order, (TUNE,), systems)
        searches = [name for name in selected if name.startswith(f"{TUNE}@")]
        if trials:
            settings = [f"systems.{name.partition('@')[2]}.search.trials={trials}" for name in searches]
            commands.run(["python", "-m", "stages.configure", *(arg for key in settings for arg in ("--set", key))], log)
        outcomes = run_in_order(order, selected, options, helpers=dict.fromkeys(searches, workers - 1))
        record_version(outcomes, options)
    return outcomes


def run_stages(stages: Sequence[str], systems: Sequence[str], options: RunOptions) -> Result:
    """Run these stages of these systems with all that they need, and record the resulting version."""
    try:
        with workspace.locked(get_run_logger().info):
            order = graph.read()
            outcomes = run_in_order(order, graph.select(order, stages, systems), options)
            record_version(outcomes, options)
        return outcomes
    except commands.Failed as error:
        return failed(error)


def failed(error: commands.Failed) -> State[Any]:
    """The state of a run that failed, named by the first line of the reason: `--watch` prints the name and no message."""
    get_run_logger().error(str(error))
    reason = str(error).partition("\n")[0]
    return Failed(name=f"Failed: {reason}"[:MAX_REASON_CHARS], message=str(error))


def run_in_order(
    order: graph.Graph, selected: Sequence[str], options: RunOptions, helpers: Mapping[str, int] | None = None
) -> list[Outcome]:
    """Run every selected stage after its upstream stages, independent ones in parallel; `Failed` names those that failed."""
    if unknown := sorted(set(options.pools) - {name.partition("@")[0] for name in order}):
        raise commands.Failed(f"options.pools names {', '.join(unknown)}, which is not a stage of dvc.yaml")
    versions.check_names(options.branch, options.tag)
    stale, local_slots, attempts_after_s = workspace.stale_stages(), Semaphore(options.side_by_side), options.attempts_after_s
    retries = work.retry_options(attempts_after_s)
    stage_task, helper_task = work.stage.with_options(**retries), work.help_with_trials.with_options(**retries)
    futures: dict[str, PrefectFuture[Outcome]] = {}
    helper_futures: list[tuple[str, PrefectFuture[None]]] = []
    for name in selected:
        before: Any = {upstream: futures[upstream] for upstream in order[name]}  # Prefect waits for them and passes results
        pool = options.pools.get(name.partition("@")[0], "")
        slot = nullcontext() if pool else local_slots
        futures[name] = stage_task.submit(name, pool, order[name], name in stale, before, slot, attempts_after_s)
        for _ in range((helpers or {}).get(name, 0)):
            helper_futures.append((name, helper_task.submit(name, pool, order[name], name in stale, before)))
    for future in (*futures.values(), *(future for _, future in helper_futures)):
        future.wait()
    for name, future in helper_futures:
        if not future.state.is_completed():
            get_run_logger().warning(f"a helper of {name} failed, other processes ran its trials: {future.state.message}")
    failures = {name: future.state for name, future in futures.items() if not future.state.is_completed()}
    if failures:
        reasons = [f"{name}: {state.message}" for name, state in failures.items() if state.name != "NotReady"]
        culprits = ", ".join(name for name, state in failures.items() if state.name != "NotReady")
        first = f"{culprits} failed; {len(failures)} of {len(selected)} stages failed or were not started"
        raise commands.Failed("\n".join([first, *reasons]))
    return [future.result() for future in futures.values()]


def record_version(outcomes: Sequence[Outcome], options: RunOptions) -> None:
    """Push data and run cache to the DVC remote, record the version, and create the run's artifacts."""
    log = get_run_logger().info
    if workspace.has_remote():
        push.with_options(**work.retry_options(options.attempts_after_s))()
    else:
        log("DVC has no default remote: data and run cache stay on this machine")
    previous = next(iter(versions.list_versions()), None)
    names = {"branch": options.branch, "tag": options.tag}
    version = versions.record(str(flow_run.name), **names, publish=options.publish, log=log)
    artifacts.create_run_artifacts(outcomes, version, previous)


@task(retry_condition_fn=work.is_retryable, task_run_name="push", cache_policy=NO_CACHE)
def push() -> None:
    """Push data and run cache to the DVC remote."""
    workspace.push([], get_run_logger().info)
