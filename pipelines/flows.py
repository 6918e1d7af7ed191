"""The flows that users deploy: which part of DVC's graph runs, on which workers, and what is kept of a run that succeeds."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from threading import Semaphore
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict, Field

from pipelines import artifacts, commands, graph, versions, work, workspace
from pipelines.work import Outcome

TUNE = "tune"


class How(BaseModel):
    """Where stages run, how patient a run is, and under which names its version is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pools: dict[str, str] = Field(
        default={}, description="stage to work pool, such as train: gpu; others run in the flow's workspace"
    )
    side_by_side: int = Field(default=1, ge=1, description="how many stages at a time run in the flow's own workspace")
    attempts_after_s: list[float] = Field(
        default=[5, 20, 60, 120], description="how long to wait before each further attempt at a stage whose failure can pass"
    )
    branch: str = Field(default="", description="a branch that gets the version as a commit; none by default")
    tag: str = Field(default="", description="a tag that names the version; none by default")
    publish: bool = Field(default=False, description="push the version, its branch and its tag to the git remote origin")


# Tasks wait for child processes and for workers; a run that ends badly takes back what it sent.
COORDINATED: Any = {
    "task_runner": ThreadPoolTaskRunner(max_workers=64),
    "on_cancellation": [work.recall],
    "on_failure": [work.recall],
    "on_crashed": [work.recall],
}


@flow(**COORDINATED)
def reproduce(systems: Sequence[str] = (), how: How = How()) -> list[Outcome]:  # noqa: B008 - it is frozen
    """Bring the whole graph up to date, or the part of it that belongs to these systems with all that it needs."""
    return whole((), systems, how)


@flow(**COORDINATED)
def train(systems: Sequence[str] = (), how: How = How()) -> list[Outcome]:  # noqa: B008
    """Train these systems, or all of them, on up-to-date data."""
    return whole(("train",), systems, how)


@flow(**COORDINATED)
def evaluate(systems: Sequence[str] = (), how: How = How()) -> list[Outcome]:  # noqa: B008
    """Judge these systems, or all of them, training and tuning first what has changed."""
    return whole(("evaluate",), systems, how)


@flow(**COORDINATED)
def register(systems: Sequence[str] = (), how: How = How()) -> list[Outcome]:  # noqa: B008
    """Bring the registry up to date with these systems' best checkpoints, or with those of all."""
    return whole(("register",), systems, how)


@flow(**COORDINATED)
def tune(systems: Sequence[str] = (), trials: int = 0, workers: int = 1, how: How = How()) -> list[Outcome]:  # noqa: B008
    """Search the task weights of these systems, or of all: so many trials (0: as in params.yaml), shared by so many workers.

    A number of trials is written to params.yaml. The workers are runs on the pool that `how.pools` names for `tune`, or
    processes in this workspace; they share each study at OPTUNA_STORAGE.
    """
    log = get_run_logger().info
    with workspace.alone(log):
        order = graph.read()
        chosen = graph.chosen(order, (TUNE,), systems)
        searches = [name for name in chosen if name.startswith(f"{TUNE}@")]
        if trials:
            keys = [f"systems.{name.partition('@')[2]}.search.trials={trials}" for name in searches]
            commands.run(["python", "-m", "stages.configure", *(part for key in keys for part in ("--set", key))], log)
        outcomes = passed(order, chosen, how, helpers=dict.fromkeys(searches, workers - 1))
        conclude(outcomes, how)
    return outcomes


def whole(stages: Sequence[str], systems: Sequence[str], how: How) -> list[Outcome]:
    """Pass through the stages that are asked for, and keep the version that results."""
    with workspace.alone(get_run_logger().info):
        order = graph.read()
        outcomes = passed(order, graph.chosen(order, stages, systems), how)
        conclude(outcomes, how)
    return outcomes


def passed(order: graph.Graph, chosen: Sequence[str], how: How, helpers: Mapping[str, int] | None = None) -> list[Outcome]:
    """Every chosen stage once all before it are done; independent ones side by side. A failure names the stages that failed."""
    if unknown := sorted(set(how.pools) - {name.partition("@")[0] for name in order}):
        raise commands.Failed(f"how.pools names {', '.join(unknown)}, which is no stage of dvc.yaml")
    versions.check_names(how.branch, how.tag)
    stale, here, again = workspace.stale(), Semaphore(how.side_by_side), how.attempts_after_s
    one, help_with = work.stage.with_options(**work.patient(again)), work.assist.with_options(**work.patient(again))
    futures: dict[str, PrefectFuture[Outcome]] = {}
    helping: list[tuple[str, PrefectFuture[None]]] = []
    for name in chosen:
        before: Any = {upstream: futures[upstream] for upstream in order[name]}  # Prefect waits for them and passes results
        pool = how.pools.get(name.partition("@")[0], "")
        slot = nullcontext() if pool else here
        futures[name] = one.submit(name, pool, order[name], name in stale, before, slot, again)
        for _ in range((helpers or {}).get(name, 0)):
            helping.append((name, help_with.submit(name, pool, order[name], name in stale, before)))
    for future in (*futures.values(), *(future for _, future in helping)):
        future.wait()
    for name, future in helping:
        if not future.state.is_completed():
            get_run_logger().warning(f"a helper of {name} failed, the others did its trials: {future.state.message}")
    failed = {name: future.state for name, future in futures.items() if not future.state.is_completed()}
    if failed:
        reasons = [f"{name}: {state.message}" for name, state in failed.items() if state.name != "NotReady"]
        raise commands.Failed("\n".join([f"{len(failed)} of {len(chosen)} stages did not come to their end", *reasons]))
    return [future.result() for future in futures.values()]


def conclude(outcomes: Sequence[Outcome], how: How) -> None:
    """Share everything through the DVC remote, keep the version, and show what it changed."""
    log = get_run_logger().info
    if workspace.has_remote():
        share.with_options(**work.patient(how.attempts_after_s))()
    else:
        log("DVC has no default remote: data and run cache stay on this machine")
    last = next(iter(versions.listed()), None)
    version = versions.record(str(flow_run.name), branch=how.branch, tag=how.tag, publish=how.publish, log=log)
    artifacts.of_run(outcomes, version, last)


@task(retry_condition_fn=work.can_pass, task_run_name="push", cache_policy=NO_CACHE)
def share() -> None:
    """Push data and run cache."""
    workspace.push([], get_run_logger().info)
