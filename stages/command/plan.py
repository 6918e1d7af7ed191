"""What `dvc repro` is going to run: the stages that changed, and those after them."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Segment(NamedTuple):
    """Stages one after the other, each of which can begin when the one before it has ended.

    `after`: places of the segments that it waits for, without those for which these wait in turn.
    """

    stages: list[str]
    after: list[int]


class Plan(NamedTuple):
    """The stages that will run, in order, as far as it is known before any has run, and how many are done already.

    `segments`: the same stages in pieces that can run side by side where none waits for another, which stands before it.
    """

    to_run: list[str]
    done: int
    segments: list[Segment]


class NotPlanned(Exception):
    """DVC refuses the arguments or the project; the message is DVC's, `code` its exit code."""

    def __init__(self, message: str, code: int = 255) -> None:
        super().__init__(message)
        self.code = code


def make(arguments: Sequence[str]) -> Plan:
    """The plan of `dvc repro` with these arguments.

    `dvc repro --dry` is no help: it stops at the first stage whose inputs are not there yet, and takes those for done that come
    after a stage which changed.
    """
    from dvc.cli import DvcParserError, parse_args
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        options = parse_args(["repro", *arguments])
        with Repo() as repo, repo.lock:
            return _planned(repo, options)
    except DvcParserError as error:  # DVC has printed its usage
        raise NotPlanned(f"dvc repro refuses {' '.join(arguments)}: {error or 'see above'}", 254) from error
    except DvcException as error:
        raise NotPlanned(f"ERROR: {error}") from error


def _planned(repo: Any, options: Any) -> Plan:
    """What `reproduce` of DVC goes through: the stages in its order, of which those run that changed, or come after such."""
    from dvc.dvcfile import PROJECT_FILE
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    targets = [] if options.all_pipelines else options.targets or [PROJECT_FILE]
    steps = collect_stages(repo, targets, recursive=options.recursive, glob=options.glob)
    graph = get_active_graph(repo.index.graph)
    if not options.single_item:
        whole = options.pipeline or options.all_pipelines
        steps = plan_repro(graph, steps or None, pipeline=whole, downstream=options.downstream)
    to_run: dict[Any, str] = {}
    stages = [stage for stage in steps if not stage.is_data_source]
    for stage in stages:
        is_after = not stage.frozen and any(before in to_run for before in graph.successors(stage))
        if options.force or is_after or stage.changed():
            to_run[stage] = stage.addressing
    return Plan(list(to_run.values()), len(stages) - len(to_run), _segments(graph, to_run))


def _segments(graph: Any, to_run: Mapping[Any, str]) -> list[Segment]:
    """The stages, which come in DVC's order, cut where they branch and join.

    What a stage needs of those long before it cuts nothing: it waits for the last of them in any case.
    """
    from networkx import transitive_reduction

    needs = transitive_reduction(graph.subgraph(to_run))
    segments: list[Segment] = []
    place: dict[Any, int] = {}
    for stage, name in to_run.items():
        before = list(needs.successors(stage))
        if len(before) == 1 and needs.in_degree(before[0]) == 1:
            place[stage] = place[before[0]]
            segments[place[stage]].stages.append(name)
        else:
            place[stage] = len(segments)
            segments.append(Segment([name], sorted({place[other] for other in before})))
    return segments


def dvc(*arguments: str) -> list[str]:
    """A command of DVC's, of the environment in which this runs."""
    program = shutil.which("dvc", path=environment()["PATH"])
    if program is None:
        raise ValueError("the command dvc is not installed here; `make environment` installs it")
    return [program, *arguments]


def environment(**variables: str) -> Mapping[str, str]:
    """The environment of DVC and its stages: whose `python` is the one in which this runs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **variables}
