"""Where a registered model came from; whether its numbers come out again; whether its weights do.

    people lineage dmt@champion               as text; --json: the whole record
    people lineage dmt@3 --check [--onnx]     computes validation and test again from the registered weights
    people lineage dmt@champion --rebuild     trains again from the recorded versions and compares the weights

`--check` and `--rebuild` end with exit code 1 and a table where something is otherwise than recorded.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from stages.rebuilding import rebuild, reproduction
from stages.registration import lineage
from stages.registration.champions import fetched
from stages.registration.lineage import Record
from stages.registration.onnx_export import SUMMARY, OnnxModel
from stages.shared.project import argument_parser, params
from stages.tracking import runs
from stages.tracking.databases import mlflow_database


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("model", help="<model>@<alias or version>, such as dmt@champion or dmt@3")
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--json", action="store_true", help="print the whole record as JSON")
    actions.add_argument("--check", action="store_true", help="compute its numbers again from the registered weights")
    actions.add_argument("--rebuild", action="store_true", help="train it again and compare the weights")
    parser.add_argument("--onnx", action="store_true", help="with --check: also through ONNX Runtime")
    arguments = parser.parse_args()
    if arguments.onnx and not arguments.check:
        parser.error("--onnx goes with --check")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    version = resolve(arguments.model)
    record = recorded(version)
    if arguments.json:
        print(json.dumps(record, indent=2))
        return
    if arguments.check:
        sys.exit(check(version, record, onnx=arguments.onnx))
    if arguments.rebuild:
        sys.exit(train_again(version, record))
    print(as_text(version, record))


def resolve(address: str) -> ModelVersion:
    """The version that `<model>@<alias or version>` names."""
    model, at, name = address.partition("@")
    if not (model and at and name):
        raise ValueError(f"expected <model>@<alias or version>, such as dmt@champion or dmt@3, got {address!r}")
    client, _ = runs.connect(model)
    mlflow.set_tracking_uri(mlflow_database())
    try:
        return client.get_model_version(model, name) if name.isdigit() else client.get_model_version_by_alias(model, name)
    except MlflowException as error:
        raise ValueError(
            f"the registry has no {address} ({error.error_code}): dvc repro register@{model} registers one; the aliases are "
            f"{runs.CHAMPION} and {runs.CHALLENGER}"
        ) from error


def recorded(version: ModelVersion) -> Record:
    """The lineage that travels with the version."""
    with artifact(version, lineage.FILE) as file:
        return json.loads(file.read_text())


@contextmanager
def artifact(version: ModelVersion, name: str) -> Iterator[Path]:
    """An artifact of the version as a local file or folder, for the length of a block."""
    with TemporaryDirectory() as folder:
        try:
            path = download_artifacts(f"models:/{version.name}/{version.version}/artifacts/{name}", dst_path=folder)
        except (MlflowException, OSError) as error:
            raise ValueError(
                f"version {version.version} of {version.name} has no {name} ({error}): its files are out of reach, or it was "
                f"registered before there was one; register it again: dvc repro --force --single-item register@{version.name}"
            ) from error
        yield Path(path)


# --- what is printed --------------------------------------------------------------------------------------------------


def as_text(version: ModelVersion, record: Record) -> str:
    """The record for a reader: without the hashes of single source files, which `--json` has."""
    git, checkpoint = record["git"], record["checkpoint"]
    changed = f", with {len(git['changed'])} files changed: {', '.join(git['changed'])}" if git["dirty"] else ""
    lines = [
        f"{version.name}, version {version.version}: the {checkpoint['selected']} checkpoint of {record['stage']}",
        *rows(
            {
                "checkpoint, SHA-256": checkpoint["sha256"],
                "registered": record["recorded"],
                "git commit": f"{git['commit'] or 'none: not a git repository'}{changed}",
                "data version": record["data_digest"],
                "seed": record["seed"],
                "precision": record["precision"] or "not recorded",
                "flow run": record["flow_run"] or "none: run without Prefect",
                "training run": trained_by(version),
                "validation score": record["validation"]["score"],
            }
        ),
    ]
    if record["study"] is not None:
        lines += ["", "study", *rows(flat({**record["study"], "trained to the end": record["final"]}))]
    for name, entry in record["stages"].items():
        lines += ["", f"{name}: {entry.get('cmd')}", *of_stage(entry)]
    if record["changed_since"]:
        lines += ["", f"changed between the stage and the registration: {', '.join(record['changed_since'])}"]
    parameters = {name: value for name, value in record["parameters"].items() if name not in ("compare", "search")}
    lines += ["", "parameters", *rows(flat(parameters))]  # records of earlier releases have those two as well
    lines += ["", "packages", *rows({name: value or "not installed" for name, value in record["packages"].items()})]
    lines += ["", "machine", *rows(record["machine"] | {"instructions": " ".join(record["machine"]["instructions"])})]
    return "\n".join(lines)


def of_stage(entry: dict[str, Any]) -> list[str]:
    """What a stage wrote and read, with hashes; source files are counted."""
    deps = lineage.dependencies(entry)
    data = {path: md5 for path, md5 in deps.items() if Path(path).parts[:1] == ("data",)}
    sources = f"and {len(deps) - len(data)} files and folders of source code"
    read = [f"  read  {path:<28} {md5}" for path, md5 in data.items()]
    return [f"  wrote {path:<28} {md5}" for path, md5 in lineage.outputs(entry).items()] + read + [f"  {sources}"]


def trained_by(version: ModelVersion) -> str:
    """The run in MLflow that trained the checkpoint: its host, when it ended, and its commit."""
    run_id = version.tags.get("training.run_id")
    if not run_id:
        return "not in this database"
    try:
        run = mlflow.MlflowClient().get_run(run_id)
    except MlflowException as error:
        return f"{run_id}, not in this database ({error.error_code})"
    host = run.data.tags.get("process", "unknown").partition("/")[0]
    return f"{run_id} ({run.info.run_name}), on {host}, git commit {run.data.tags.get('git.sha', 'unknown')}"


def rows(values: dict[str, Any]) -> list[str]:
    """Names and values in two columns."""
    width = max(map(len, values))
    return [f"  {name:<{width}}  {value}" for name, value in values.items()]


def flat(block: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested blocks as `block.key`."""
    return runs.flatten(block, prefix)


def table(titles: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """Columns of texts under titles."""
    cells = [[str(value) for value in line] for line in (titles, *lines)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(titles))]
    return "\n".join(
        "  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


# --- check and rebuild ------------------------------------------------------------------------------------------------


def check(version: ModelVersion, record: Record, *, onnx: bool) -> int:
    """Compute validation and test again, print what is otherwise, and return the exit code."""
    reads = {slot: Path(path) for slot, path in params("systems", record["system"], "reads").items()}
    if difference := reproduction.data_differ(record, reads):
        print(difference)
    with fetched(version) as checkpoint:
        differing = reproduction.reproduce(record, checkpoint, reads)
        count = len(record["metrics"])
        if differing:
            print(table(("number", "recorded", "today"), differing))
        same = f"the validation score and all {count} test metrics are as recorded, to the last digit"
        print(f"{len(differing)} numbers are otherwise than recorded" if differing else same)
        return max(int(bool(differing)), check_onnx(version, record, checkpoint, reads) if onnx else 0)


def check_onnx(version: ModelVersion, record: Record, checkpoint: Path, reads: dict[str, Path]) -> int:
    """Compute the test metrics through ONNX Runtime, print what is otherwise, and return the exit code."""
    with artifact(version, "onnx") as folder:
        exported = json.loads((folder / SUMMARY).read_text())
        found, expected = reproduction.through_onnx(record, OnnxModel(folder, checkpoint), checkpoint, reads)
    differing = reproduction.unequal(expected, found, reproduction.TOLERANCE)
    if differing:
        print(table(("metric", "recorded", "ONNX Runtime"), differing))
        print(
            "ranks among distances that differ by no more than rounding change with it, as of a network that has learned little"
        )
    left_out = len(record["metrics"]) - len(expected)
    print(
        f"through ONNX Runtime {len(expected) - len(differing)} of {len(expected)} test metrics are as recorded, to "
        f"{reproduction.TOLERANCE:g}; {left_out} are not computed by exported graphs. Outputs differed from the library's by "
        f"{exported['difference']:.2g} when it was exported"
    )
    return int(bool(differing))


def train_again(version: ModelVersion, record: Record) -> int:
    """Train again in a temporary clone, print what is otherwise, and return the exit code."""
    with fetched(version) as checkpoint:
        rebuilt = rebuild.rebuild(record, checkpoint)
    if not rebuilt.differences:
        print(f"trained again: the same checkpoint, SHA-256 {rebuilt.sha256}")
        return 0
    print(table(("", "recorded", "today"), rebuilt.differences))
    print("trained again: another checkpoint than the registered one")
    return 1


if __name__ == "__main__":
    main()
