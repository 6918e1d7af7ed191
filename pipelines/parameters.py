"""The parameters of the flows, as the form of a deployment shows them: types, defaults, and a sentence for each."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines import graph

MAX_THREADS = 64  # of a run, for the tasks that wait for child processes and for workers

Key = Annotated[str, Field(pattern=f"^{graph.KEY}$")]
Trials = Annotated[int, Field(ge=0)]
Workers = Annotated[int, Field(ge=1, le=MAX_THREADS)]
Seconds = Annotated[float, Field(ge=0)]


class Place(StrEnum):
    """Where a stage runs: in the flow's own workspace, or on a worker of a work pool of prefect.yaml."""

    HERE = "here"
    CPU = "cpu"
    GPU = "gpu"


def _place(does: str, **options: Any) -> Any:
    description = f"Where the stage runs that {does}; here: in the flow's own workspace."
    return Field(default=Place.HERE, description=description, **options)


class Pools(BaseModel):
    """For each stage the work pool to which it is sent, or `here`."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    train: Place = _place("trains a system")
    compare: Place = _place("trains a system in other variants, curve beside curve")
    tune: Place = _place("searches the weights of a system's tasks")
    evaluate: Place = _place("judges a system on its test people")
    register_: Place = _place("puts a system's best model into the registry", alias="register")
    report: Place = _place("writes a system's page")
    archive: Place = _place("lists an official archive")
    ingest: Place = _place("reads or renders a dataset")
    validate_: Place = _place("checks a dataset's labels", alias="validate")
    flow: Place = _place("computes optical flow")
    silhouettes: Place = _place("separates people from the background")
    poses: Place = _place("estimates poses")
    crops: Place = _place("cuts out photos of people")
    foregrounds: Place = _place("cuts people out of their background")
    scenes: Place = _place("brings images of several people to one size")

    def named(self) -> dict[str, str]:
        """The kinds of stages that are sent to a pool, each with its pool."""
        return {kind: str(place) for kind, place in self.model_dump().items() if place != Place.HERE}


class RunOptions(BaseModel):
    """Where stages run, when they are tried again, and the branch and tag of the version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pools: Pools = Field(default=Pools(), description="For each stage the work pool to which it is sent, or here.")
    side_by_side: int = Field(
        default=1,
        ge=1,
        title="Stages side by side",
        description="How many stages run at the same time in the flow's own workspace; the others wait for a place.",
    )
    attempts_after_s: list[Seconds] = Field(
        default=[5, 20, 60, 120],
        title="Waits before further attempts, in seconds",
        description="How long to wait before each further attempt at a stage whose failure can pass; none: one attempt.",
    )
    branch: str = Field(default="", description="A branch to which the version is added as a commit; empty: none.")
    tag: str = Field(default="", description="A new tag that names the version; empty: none.")
    publish: bool = Field(default=False, description="Push the version, its branch and its tag to the git remote origin.")


class Inputs(BaseModel):
    """What a worker needs for a stage, as a coordinator sends it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str = Field(description="The address of the git repository that has the commit.")
    commit: str = Field(description="The full name of the commit whose code runs: 40 or 64 hexadecimal digits.")
    params: str = Field(description="The text of the coordinator's params.yaml.")
    lock: dict[str, Any] = Field(description="The records in dvc.lock of the stages before this one, by the stages' names.")
