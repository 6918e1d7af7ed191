"""Register the evaluated checkpoint in MLflow; it becomes `champion` if it is better on the same data by more than noise.

    people register dmt
    people register dmt --promote 3     make version 3 the champion by hand
    people register dmt --check         whether data/registry/dmt.json is true of this registry

The first writes data/registry/<system>.json: the version, its run, the champion, and the reason; of a system that tells people
apart also how far different validation people are from each other, from which `identify` takes its threshold: a tag of the
version. It ends with an error if the champion cannot be judged: that one keeps its alias, and the new version is `challenger`.
"""

import json
import os
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from people.serving.open_set import impostors
from people.storage.store import stores_digest
from stages.registration import champions, entries, versions
from stages.shared.project import argument_parser, file_lock, output, params, state, tracking_uri
from stages.tracking import runs

CONFIDENCE = 0.95  # of a champion's advantage, where a system's score has no bootstrap


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("system", help="one of the systems in params.yaml")
    actions = parser.add_mutually_exclusive_group()
    actions.add_argument("--promote", metavar="VERSION", help="make this version the champion, if it loads")
    actions.add_argument("--check", action="store_true", help="hold data/registry against this registry, and write nothing")
    arguments = parser.parse_args()
    system = arguments.system
    if arguments.promote:
        promote(system, arguments.promote)
    elif arguments.check:
        check(system)
    else:
        write_entry(system)


def write_entry(system: str) -> None:
    """Register what `evaluate` has selected, and write data/registry/<system>.json."""
    selected = json.loads(Path("data/metrics", system, "selected.json").read_text())
    metrics = json.loads(Path("data/metrics", system, "all.json").read_text())
    reads = {slot: Path(path) for slot, path in params("systems", system, "reads").items()}
    confidence = params("score", system).get("bootstrap", {}).get("confidence", CONFIDENCE)
    entry = register(system, selected, metrics, reads, confidence=confidence, seed=params("seed"))
    with output(entries.path(system)) as file:
        file.write_text(json.dumps(entry, indent=2) + "\n")
    print(f"{system}: version {entry['version']}, champion {entry['champion_version']}: {entry['why']}")


def register(
    system: str,
    selected: dict[str, Any],
    metrics: dict[str, float],
    reads: dict[str, Path],
    *,
    confidence: float = CONFIDENCE,
    seed: int = 1,
) -> dict[str, Any]:
    """Register the checkpoint unless it is registered already, and choose the champion: the entry of data/registry.

    Raises:
        champions.Unusable: the champion cannot be fetched, loaded or scored, and keeps its alias.
    """
    checkpoint = versions.judged_checkpoint(selected)
    client, experiment_id = connect(system)
    data_digest = stores_digest(reads)
    judge = champions.Judge(reads, data_digest, confidence, seed)
    strangers = impostors(checkpoint, reads)  # before anything is registered: it refuses what cannot be scored
    with file_lock(state(f"register-{system}.lock")):
        version = versions.registered(client, system, selected["sha256"])
        is_new = version is None
        if version is None:
            version = versions.register(client, experiment_id, system, selected, metrics, reads, data_digest)
        if strangers is not None:
            client.set_model_version_tag(system, str(version.version), runs.IMPOSTORS, strangers.to_json())
        champion, why = champions.settle(client, version, judge)
    return {
        "model": system,
        "version": str(version.version),
        "new": is_new,
        "run_id": version.run_id,
        "training_run_id": version.tags.get("training.run_id"),
        "champion_version": str(champion.version),
        "why": why,
        "checkpoint_sha256": selected["sha256"],
        "data_digest": data_digest,
        "validation_score": selected["validation_score"],
        "impostors": None if strangers is None else json.loads(strangers.to_json()),
    }


def connect(system: str) -> tuple[mlflow.MlflowClient, str]:
    """A client of the registry, and the id of the system's experiment."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.set_tracking_uri(tracking_uri())
    return runs.connect(system)


def promote(system: str, number: str) -> None:
    """Make a version the champion, if its files are whole and today's code loads them."""
    client, _ = connect(system)
    with file_lock(state(f"register-{system}.lock")):
        try:
            version = client.get_model_version(system, number)
        except MlflowException as error:
            there = sorted(int(each.version) for each in client.search_model_versions(f"name = '{system}'"))
            raise ValueError(
                f"{system} has no version {number!r}: expected one of {', '.join(map(str, there)) or 'none yet'}"
            ) from error
        champions.promote(client, version)
    print(f"{system}: version {version.version} is the champion; dvc repro --force --single-item register@{system} records it")


def check(system: str) -> None:
    """End with an error if data/registry/<system>.json is not true of this registry."""
    client, _ = connect(system)
    if problems := entries.check(client, system):
        raise ValueError(
            f"{entries.path(system)} is not true of the registry at {tracking_uri_redacted()}: {'; '.join(problems)}. "
            f"Register here what it names: dvc repro --force --single-item register@{system}"
        )
    print(f"{entries.path(system)} is true of the registry at {tracking_uri_redacted()}")


def tracking_uri_redacted() -> str:
    """The registry's address without a password."""
    from sqlalchemy import make_url

    return make_url(tracking_uri()).render_as_string(hide_password=True)


if __name__ == "__main__":
    main()
