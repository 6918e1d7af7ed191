"""The flows that users deploy: they run a part of DVC's graph, here or on workers, and record a version of the result."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Semaphore
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner

from pipelines import artifacts, commands, graph, names, states, versions, work, workspace
from pipelines.parameters import MAX_THREADS, Key, RunOptions, Trials, Workers
from pipelines.work import Outcome

TUNE = "tune"
MAX_REASON_CHARS = 300

Systems = Sequence[Key]
Result = list[Outcome] | State[Any]

# A run that fails cancels what it sent.
COORDINATOR: Any = {
    "flow_run_name": names.flow_run_title,
    "task_runner": ThreadPoolTaskRunner(max_workers=MAX_THREADS),
    "on_cancellation": [work.cancel_sent],
    "on_failure": [work.cancel_sent],
    "on_crashed": [work.cancel_sent],
}


@flow(**COORDINATOR)
def reproduce(systems: Systems = (), options: RunOptions = RunOptions()) -> Result:  # noqa: B008 - it is frozen
    """Bring the whole graph up to date, or the part of it that belongs to these systems with all that it needs.

    Args:
        systems: Names of systems in params.yaml, such as dmt and gaittake; none: all of them.
        options: Where stages run, how many at a time, when they are tried again, and the names of the version.
    """
    return run_stages((), systems, options)


@flow(**COORDINATOR)
def train(systems: Systems = (), options: RunOptions = RunOptions()) -> Result:  # noqa: B008 - it is frozen
    """Train these systems, or all of them, on up-to-date data.

    Args:
        systems: Names of systems in params.yaml, such as dmt and gaittake; none: all of them.
        options: Where stages run, how many at a time, when they are tried again, and the names of the version.
    """
    return run_stages(("train",), systems, options)


@flow(**COORDINATOR)
def evaluate(systems: Systems = (), options: RunOptions = RunOptions()) -> Result:  # noqa: B008 - it is frozen
    """Evaluate these systems, or all of them, after training and tuning what has changed.

    Args:
        systems: Names of systems in params.yaml, such as dmt and gaittake; none: all of them.
        options: Where stages run, how many at a time, when they are tried again, and the names of the version.
    """
    return run_stages(("evaluate",), systems, options)


@flow(**COORDINATOR)
def register(systems: Systems = (), options: RunOptions = RunOptions()) -> Result:  # noqa: B008 - it is frozen
    """Register the best checkpoints of these systems, or of all of them.

    Args:
        systems: Names of systems in params.yaml, such as dmt and gaittake; none: all of them.
        options: Where stages run, how many at a time, when they are tried again, and the names of the version.
    """
    return run_stages(("register",), systems, options)


@flow(**COORDINATOR)
def tune(
    systems: Systems = (),
    trials: Trials = 0,
    workers: Workers = 1,
    options: RunOptions = RunOptions(),  # noqa: B008
) -> Result:
    """Search the task weights of these systems, or of all of them.

    The workers are runs on the pool that `options.pools` names for `tune`, or processes in this workspace; they share
    each study at OPTUNA_STORAGE.

    Args:
        systems: Names of systems in params.yaml, such as dmt and gaittake; none: all of them.
        trials: How many weights are tried in each search; it is written to params.yaml. 0: as many as params.yaml says.
        workers: How many processes share the trials of each search.
        options: Where stages run, how many at a time, when they are tried again, and the names of the version.
    """
    try:
        return run_search(systems, trials, workers, options)
    except commands.Failed as error:
        return failed(error)


def run_search(systems: Sequence[str], trials: int, workers: int, options: RunOptions) -> list[Outcome]:
    """Search with so many trials and workers, and record the resulting version."""
    log = get_run_logger().info
    with turn_in_workspace():
        order = graph.read()
        selected = graph.select(order, (TUNE,), systems)
        searches = [name for name in selected if name.startswith(f"{TUNE}@")]
        if trials:
            settings = [f"search.{name.partition('@')[2]}.trials={trials}" for name in searches]
            commands.run(["python", "-m", "stages.configure", *(arg for key in settings for arg in ("--set", key))], log)
        outcomes = run_in_order(order, selected, options, helpers=dict.fromkeys(searches, workers - 1))
        record_version(outcomes, options)
    return outcomes


def run_stages(stages: Sequence[str], systems: Sequence[str], options: RunOptions) -> Result:
    """Run these stages of these systems with all that they need, and record the resulting version."""
    try:
        with turn_in_workspace():
            order = graph.read()
            outcomes = run_in_order(order, graph.select(order, stages, systems), options)
            record_version(outcomes, options)
        return outcomes
    except commands.Failed as error:
        return failed(error)


def turn_in_workspace() -> AbstractContextManager[None]:
    """Hold the workspace; the run is AwaitingWorkspace while another one works there."""
    return workspace.locked(get_run_logger().info, on_wait=states.await_workspace, on_turn=states.resume_flow_run)


def failed(error: commands.Failed) -> State[Any]:
    """The state of a run that failed, named by the first line of the reason: `--watch` prints the name and no message."""
    get_run_logger().error(str(error))
    reason = str(error).partition("\n")[0]
    return Failed(name=f"Failed: {reason}"[:MAX_REASON_CHARS], message=str(error))


def run_in_order(
    order: graph.Graph, selected: Sequence[str], options: RunOptions, helpers: Mapping[str, int] | None = None
) -> list[Outcome]:
    """Run every selected stage after its upstream stages, independent ones in parallel; `Failed` names those that failed."""
    pools = options.pools.named()
    if unknown := sorted(pools.keys() - {name.partition("@")[0] for name in order}):
        raise commands.Failed(f"options.pools names {', '.join(unknown)}, which is not a stage of dvc.yaml")
    versions.check_names(options.branch, options.tag)
    stale, places, attempts_after_s = workspace.stale_stages(), Semaphore(options.side_by_side), options.attempts_after_s
    futures: dict[str, PrefectFuture[Outcome]] = {}
    helper_futures: list[tuple[str, PrefectFuture[None]]] = []
    for name in selected:
        before: Any = {upstream: futures[upstream] for upstream in order[name]}  # Prefect waits for them and passes results
        pool, title = pools.get(name.partition("@")[0], ""), names.stage_title(name)
        stage = work.stage.with_options(**work.task_options(title, attempts_after_s))
        futures[name] = stage.submit(name, pool, order[name], name in stale, before, places, attempts_after_s)
        helper = work.help_with_trials.with_options(**work.task_options(f"help {title}", attempts_after_s))
        for _ in range((helpers or {}).get(name, 0)):
            helper_futures.append((name, helper.submit(name, pool, order[name], name in stale, before)))
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
        push.with_options(**work.task_options("push", options.attempts_after_s))()
    else:
        log("DVC has no default remote: data and run cache stay on this machine")
    previous = next(iter(versions.list_versions()), None)
    refs = {"branch": options.branch, "tag": options.tag}
    version = versions.record(str(flow_run.name), **refs, publish=options.publish, log=log)
    artifacts.create_run_artifacts(outcomes, version, previous)


@task(retry_condition_fn=work.is_retryable, cache_policy=NO_CACHE)
def push() -> None:
    """Push data and run cache to the DVC remote."""
    workspace.push([], get_run_logger().info)
