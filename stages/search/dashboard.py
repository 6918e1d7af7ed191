"""What the Optuna dashboard shows beside the numbers: notes on studies and trials, and a picture of each trial."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial

from stages.search.settings import SCORE, Hyperband, Median, Search
from stages.search.space import Candidate, Space
from stages.shared.project import state, tracking_uri
from stages.tracking.runs import Run

ARTIFACTS = "optuna-artifacts"  # a folder of the project's state, which the dashboard reads


def describe_study(study: optuna.Study, space: Space, system: str, dataset: str, result: str = "") -> None:
    """The study's note, and the names of its objectives."""
    from optuna_dashboard import save_note  # takes two seconds

    search = space.search
    study.set_metric_names(metric_names(search))
    first = ", ".join(f"{number}: {candidate.title}" for number, candidate in enumerate(space.candidates))
    ranges = "\n".join(f"| `{key}` | {low:.4g} | {high:.4g} |" for key, (low, high) in space.ranges.items())
    save_note(
        study,
        f"""# Weights and margins of {system} on {dataset}

{result or "This study is running, or was interrupted."}

**What a trial is.** A training of {search.epochs} epochs with other weights (`lambda.…`) and margins of the loss terms, judged
on validation people. Test people are read by `evaluate` alone.

**Objective.** {objective_sentence(search)}

**First trials.** {first}. The others are proposed by `{search.sampler}`. `weighting` says how the losses become one: `fixed`
with the weights of the trial, or another way.

| searched | from | to |
|---|---|---|
{ranges}

**Pruning.** {pruning_sentence(search)}

**How to read it.** *History*: does the best trial still improve? *Parallel coordinates* and *slice*: where good trials lie, on
logarithmic axes. A weight at the end of its range asks for a wider one (`search.{system}.ranges`). A trial of
{search.epochs} epochs is no finished training: what was found is trained to the end beside params.yaml's own weights, in the
study of final trainings.
""",
    )


def describe_finals(study: optuna.Study, space: Space, system: str, dataset: str, search_study: str) -> None:
    """The note of the study of final trainings, and the name of its objective."""
    from optuna_dashboard import save_note

    study.set_metric_names(["validation score"])
    save_note(
        study,
        f"""# Weights of {system} on {dataset}, trained to the end

Each trial is a whole training (`systems.{system}.training`) with the weights that its parameter `weights` names, from a seed
of its own: `found` are those that the study *{search_study}* has chosen, `params.yaml` the present ones (with the pipeline's
own seed the stage `train` trains them), the others are named in `search.{system}.finals.also`.

**Objective.** The system's validation score at its best epoch; higher is better. Weights that leave a task out are scored
without it.

**How to read it.** {space.search.finals.seeds} seeds each: compare means, and by how much seeds differ. What they are worth on
test people is in the report, and in data/metrics/{system}/tables/weights.csv where there are several trainings.
""",
    )


def metric_names(search: Search) -> list[str]:
    """The objectives in words."""
    return ["validation score" if name == SCORE else f"validation error of {name}" for name in search.objectives]


def objective_sentence(search: Search) -> str:
    """What trials are compared by."""
    if SCORE in search.objectives:
        return "The system's validation score at its best epoch; higher is better."
    if search.is_single:
        return f"The validation error of {search.objectives[0]} at the best epoch; lower is better."
    return (
        f"The validation errors of {', '.join(search.objectives)}, each lower. No trial has all of them lowest: those that no "
        "other surpasses are the Pareto front, and of these the one with the lowest geometric mean of its errors is chosen (an "
        "error below 0.01 counts as 0.01)."
    )


def pruning_sentence(search: Search) -> str:
    """When a trial ends early."""
    if isinstance(search.pruner, Median):
        return (
            f"A trial ends early when its best epoch is below the median of the others' at that epoch, after "
            f"{search.pruner.warmup_epochs} epochs and {search.pruner.startup_trials} trials."
        )
    if isinstance(search.pruner, Hyperband):
        return (
            f"Hyperband: one of {search.pruner.factor} trials of a bracket goes on, from epoch {search.pruner.min_epochs} on."
        )
    return "None."


def describe_trial(trial: Trial, candidate: Candidate, facts: Mapping[str, Any]) -> None:
    """Attributes of a trial: whose weights it has, and facts such as its epochs, commit and run in MLflow."""
    if candidate.title:
        trial.set_user_attr("weights", candidate.title)
    for name, value in facts.items():
        trial.set_user_attr(name, value)


def run_link(run: Run) -> str:
    """The address of a run's page: on MLflow's server, or where `make serve` starts one."""
    address = tracking_uri()
    server = address.rstrip("/") if address.startswith("http") else "http://127.0.0.1:5000"
    return f"{server}/#/experiments/{run.client.get_run(run.id).info.experiment_id}/runs/{run.id}"


def add_picture(storage: BaseStorage, trial: Trial, png: bytes) -> None:
    """A picture of the trial's convergence as its artifact, and a note that shows it.

    One trial has one picture: that of an interrupted process is not drawn again.
    """
    from optuna_dashboard import save_note
    from optuna_dashboard.artifact import get_artifact_path

    if optuna.artifacts.get_all_artifact_meta(trial, storage=storage):
        return
    folder = state(ARTIFACTS)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary:
        file = Path(temporary, "convergence.png")
        file.write_bytes(png)
        artifact = upload_artifact(
            artifact_store=FileSystemArtifactStore(str(folder)), file_path=str(file), study_or_trial=trial, storage=storage
        )
    save_note(trial, f"![errors on validation people over epochs]({get_artifact_path(trial, artifact)})")


def result_sentence(best: FrozenTrial, slot: int, names: Sequence[str], title: str, system: str) -> str:
    """What was found, and how it is taken over."""
    reached = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, best.values, strict=True))
    whose = f" ({title})" if title else ""
    return (
        f"**Found: trial {slot}{whose}**, {reached}. To take its weights over: "
        f"`python -m stages.configure --from data/studies/{system}/best.yaml`."
    )
