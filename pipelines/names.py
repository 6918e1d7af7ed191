"""Names of runs that a person reads in a list, such as `train dmt, gaittake on gpu`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.runtime import flow_run
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipelines import graph

GENERATED = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")  # of a run that was given no name, by Prefect's server or in its form
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def stage_title(stage: str) -> str:
    """`train dmt` for the stage `train@dmt`."""
    return stage.replace("@", " ")


def flow_run_title() -> str:
    """The name of the current flow run: one that it was given, or else what it does, to which systems, on which pools."""
    if flow_run.name and not GENERATED.fullmatch(flow_run.name):
        return flow_run.name
    return title(str(flow_run.flow_name), flow_run.parameters)


def title(flow: str, parameters: Mapping[str, Any]) -> str:
    """What a run of a flow with these parameters does."""
    words = [flow, ", ".join(parameters["systems"]) or everything()]
    if trials := parameters.get("trials"):
        words.append(f"with {trials} trials")
    if parameters.get("workers", 1) > 1:
        words.append(f"by {parameters['workers']} workers")
    if pools := list(dict.fromkeys(parameters["options"].pools.named().values())):
        words.append(f"on {' and '.join(pools)}")
    return " ".join(words)


def identification_title() -> str:
    """The name of the current run of `identify`: one that it was given, or else which video it looks at."""
    if flow_run.name and not GENERATED.fullmatch(flow_run.name):
        return flow_run.name
    parameters = flow_run.parameters
    gallery = f" by gallery {parameters['gallery']}" if parameters["gallery"] else ""
    return f"identify people in {Path(parameters['video']).name}{gallery}"


def everything() -> str:
    """`all five`, by the number of systems in params.yaml; `everything` where it names none or is damaged: the run says so."""
    try:
        content = YAML(typ="safe", pure=True).load(graph.PARAMS)
    except (OSError, UnicodeDecodeError, YAMLError):
        content = None
    systems = content.get("systems") if isinstance(content, dict) else None
    if not isinstance(systems, dict):
        return "everything"
    if len(systems) < 2:
        return next(iter(systems), "everything")
    return f"all {NUMBERS[len(systems)] if len(systems) < len(NUMBERS) else len(systems)}"
