"""A registered checkpoint trained again from what its lineage records, in a temporary clone, and compared with the first."""

import copy
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ruamel.yaml import YAML

from people import checkpoints
from people.storage import file_digest
from stages.registration import lineage
from stages.registration.lineage import LOCK, PARAMS, Record
from stages.shared.project import PARAMS as PARAMS_FILE
from stages.shared.project import state

SERVERS = ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "DVC_ROOT", "PYTHONPATH", *lineage.FLOW_RUN_VARIABLES)


class Rebuilt(NamedTuple):
    """The SHA-256 of the checkpoint that was trained again, and what is otherwise than recorded, a row each."""

    sha256: str
    differences: list["Difference"]


class Difference(NamedTuple):
    """One thing that is otherwise than recorded."""

    what: str
    recorded: str
    today: str


def rebuild(record: Record, checkpoint: Path, log: Any = print) -> Rebuilt:
    """Train a registered checkpoint again and compare the two files.

    The clone has the recorded commit, code files that were changed then (if they are here today), the recorded parameters, and
    the recorded inputs from dvc's cache; inputs that the cache lacks are made again. The training sees neither the run cache
    nor a state folder of an earlier one. Nothing in this project changes, but dvc's cache has inputs more that were made again.

    Raises:
        ValueError: the record, this repository or the cache lacks what the training needs.
    """
    system, stage = record["system"], f"train@{record['system']}"
    if stage not in record["stages"]:
        raise ValueError(
            f"the lineage of {system} has no stage {stage}: it was trained without dvc; train it with dvc repro {stage} and "
            "register it again"
        )
    if unlike := sorted(set(record["changed_since"]) & set(lineage.dependencies(record["stages"][stage]))):
        log(f"changed after the training, and recorded as they were at the registration: {', '.join(unlike)}")
    folder = Path(tempfile.mkdtemp(prefix=f"rebuild-{system}-", dir=state("rebuild", "x").parent.resolve()))
    try:
        clone = checked_out(record, folder / "project")
        restore_files(record, clone, log)
        write_parameters(record, checkpoint, clone)
        write_lock(record["stages"], clone)
        bring_inputs(record, stage, clone, log)
        train(record, stage, clone, folder / "state")
        made = clone / lineage.MODELS / system / "checkpoint.pt"
        return Rebuilt(file_digest(made), differences(record, checkpoint, made, clone))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def checked_out(record: Record, clone: Path) -> Path:
    """A clone of this repository with the recorded commit, its objects shared; dvc's cache is this project's."""
    commit = record["git"]["commit"]
    if not commit:
        raise ValueError("the lineage names no git commit: it was registered outside a repository; register it again from one")
    if lineage.answer("git", "cat-file", "-e", f"{commit}^{{commit}}") is None:
        raise ValueError(f"this repository has no commit {commit}; fetch it (git fetch origin {commit}) and try again")
    command("git", "clone", "--quiet", "--shared", "--no-checkout", str(Path.cwd()), str(clone))
    command("git", "checkout", "--quiet", "--detach", commit, "--", folder=clone)
    cache = Path((lineage.answer("dvc", "cache", "dir") or "").strip() or ".dvc/cache").resolve()
    if (local := Path(".dvc/config.local")).is_file():
        shutil.copy2(local, clone / local)
    command("dvc", "cache", "dir", "--local", str(cache), folder=clone)
    return clone


def restore_files(record: Record, clone: Path, log: Any) -> None:
    """Give the clone the code files of the record: those of the commit, or of this folder where they were changed then.

    Raises:
        ValueError: neither has a file with the recorded hash; names all of them.
    """
    files: Mapping[str, str] = record["files"]
    missing, taken = [], []
    for path, md5 in files.items():
        if md5_of(clone / path) == md5:
            continue
        if md5_of(Path(path)) != md5:
            missing.append(path)
            continue
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, clone / path)
        taken.append(path)
    if missing:
        raise ValueError(
            f"the training read {len(missing)} files that neither commit {record['git']['commit']} nor this folder has as they "
            f"were: {', '.join(sorted(missing))}. The tree had changes that were not committed; restore these files here"
        )
    read = [path for entry in record["stages"].values() for path in lineage.dependencies(entry)]
    for folder in {clone / path for path in read if (clone / path).is_dir()}:
        for file in lineage.walked(folder):
            if file.relative_to(clone).as_posix() not in files:
                file.unlink()  # of the commit, but not there when the training ran
    if taken:
        log(f"not as in commit {record['git']['commit'][:12]}, and taken from this folder: {', '.join(sorted(taken))}")


def md5_of(path: Path) -> str | None:
    """The MD5 of a file; None, if there is none."""
    return lineage.file_md5(path) if path.is_file() else None


def write_parameters(record: Record, checkpoint: Path, clone: Path) -> None:
    """Lay the recorded parameters over the clone's params.yaml: the system's block, and those that each stage read.

    Of a tuned checkpoint its objective and its seed, as `tune` trains it to the end, on one device.
    """
    yaml, system = YAML(), record["system"]
    document = yaml.load(clone / PARAMS_FILE)
    block = copy.deepcopy(record["parameters"])
    if "score" in document:  # beside `systems`; earlier commits have it in the system's block
        document["score"][system] = block.pop("score")
    document.setdefault("systems", {})[system] = block
    for entry in record["stages"].values():
        for key, value in (entry.get("params") or {}).get(PARAMS, {}).items():
            assign(document, key.split("."), copy.deepcopy(value))
    if record["study"] is not None:
        block = document["systems"][system]
        block["objective"] = tuned_objective(record, checkpoints.read(checkpoint))
        block["training"]["devices"] = 1
    document["seed"] = record["seed"]
    yaml.dump(document, clone / PARAMS_FILE)


def tuned_objective(record: Record, checkpoint: Mapping[str, Any]) -> Any:
    """The objective block with which a tuned checkpoint was trained to the end."""
    final = record["final"]
    if final is None:
        raise ValueError(
            "the registered checkpoint is that of a trial, not of a training to the end: it cannot be trained again alone; run "
            f"dvc repro tune@{record['system']} and register it again"
        )
    if not record["parameters"]["training"].get("phases"):
        return checkpoint["config"]["objective"]
    if final["weights"] != "found":
        raise ValueError(f"a training in phases can be rebuilt with the weights that were found, got {final['weights']!r}")
    return record["study"]["objective"]


def assign(document: Any, keys: list[str], value: Any) -> None:
    """Set the value at these keys; blocks that are not there are made."""
    for key in keys[:-1]:
        if not isinstance(document.get(key), dict):
            document[key] = {}
        document = document[key]
    document[keys[-1]] = value


def write_lock(entries: lineage.Stages, clone: Path) -> None:
    """A dvc.lock of the recorded stages alone."""
    with (clone / LOCK).open("w") as file:
        YAML(typ="safe", pure=True).dump({"schema": "2.0", "stages": entries}, file)


def bring_inputs(record: Record, stage: str, clone: Path, log: Any) -> None:
    """The outputs of other stages that the training reads: from dvc's cache, else made again; they have the recorded hashes."""
    needed = lineage.dependencies(record["stages"][stage])
    makers = {path: name for name, entry in record["stages"].items() for path in lineage.outputs(entry) if path in needed}
    for path, name in makers.items():
        found = run("dvc", "checkout", "--quiet", path, folder=clone)
        if found.returncode or not (clone / path).exists():
            log(f"dvc's cache lacks {path}: {name} makes it again")
            variables = environment(record, clone.parent / "inputs")
            command("dvc", "--wait-for-lock", "repro", "--quiet", name, folder=clone, environment=variables)
    made = {path: md5 for entry in lineage.read_lock(clone / LOCK).values() for path, md5 in lineage.outputs(entry).items()}
    other = sorted(path for path in makers if made.get(path) != needed[path])
    if other:
        raise ValueError(
            f"inputs made again have other hashes than recorded: {', '.join(other)}; provide the recorded ones (dvc pull "
            f"{' '.join(makers[path] for path in other)}) and try again"
        )


def train(record: Record, stage: str, clone: Path, state_folder: Path) -> None:
    """Run the training, whatever dvc knows of earlier ones; its outputs are not put into the cache."""
    options = ("--single-item", "--force", "--no-run-cache", "--no-commit")
    line = ("dvc", "--wait-for-lock", "repro", *options, stage)
    command(*line, folder=clone, environment=environment(record, state_folder), shown=True)


def environment(record: Record, state_folder: Path) -> dict[str, str]:
    """This process's environment, away from servers and earlier checkpoints, with as many threads as recorded."""
    kept = {name: value for name, value in os.environ.items() if name not in SERVERS}
    return kept | {"PEOPLE_STATE": str(state_folder), "OMP_NUM_THREADS": str(record["machine"]["threads"])}


def differences(record: Record, checkpoint: Path, made: Path, clone: Path) -> list[Difference]:
    """What is otherwise than recorded: nothing if the two files are equal, else inputs, weights, versions, and the machine."""
    digest, recorded = file_digest(made), record["checkpoint"]["sha256"]
    if digest == recorded:
        return []
    found = [Difference("checkpoint, SHA-256", recorded, digest)]
    stage = f"train@{record['system']}"
    if record["stage"] == stage:
        before, after = record["stages"][stage], lineage.read_lock(clone / LOCK)[stage]
        found += of_values("", lineage.dependencies(before), lineage.dependencies(after))
    found += of_weights(checkpoints.read(checkpoint), checkpoints.read(made))
    found += of_values("", record["packages"], lineage.packages())
    return found + of_values("machine: ", record["machine"], lineage.machine())


def of_values(prefix: str, recorded: Mapping[str, Any], today: Mapping[str, Any]) -> list[Difference]:
    """A row for each name whose value is another."""
    names = [*recorded, *(name for name in today if name not in recorded)]
    pairs = ((name, recorded.get(name), today.get(name)) for name in names)
    return [Difference(f"{prefix}{name}", str(old), str(new)) for name, old, new in pairs if old != new]


def of_weights(recorded: Mapping[str, Any], made: Mapping[str, Any]) -> list[Difference]:
    """How many of the network's tensors differ and by how much, and the epoch that was kept."""
    old, new = recorded["network"], made["network"]
    if {name: value.shape for name, value in old.items()} != {name: value.shape for name, value in new.items()}:
        return [Difference("tensors of the network", f"{len(old)}", f"{len(new)}, or of other shapes")]
    unequal = [name for name in old if not torch.equal(old[name], new[name])]
    largest = max((float((old[name].double() - new[name].double()).abs().max()) for name in unequal), default=0.0)
    weights = Difference("weights", f"{len(old)} tensors", f"{len(unequal)} differ, by {largest:.3g} at most")
    return [weights, *of_values("", {"epoch": recorded["epoch"]}, {"epoch": made["epoch"]})]


def run(*line: str, folder: Path | None = None, environment: Mapping[str, str] | None = None, shown: bool = False) -> Any:
    """Run a command to its end, whatever its exit code; `shown`: what it prints goes to the terminal as it comes."""
    kept = lineage.with_programs(environment or {name: value for name, value in os.environ.items() if name != "DVC_ROOT"})
    return subprocess.run(line, cwd=folder, env=kept, capture_output=not shown, text=True, check=False)


def command(*line: str, folder: Path | None = None, environment: Mapping[str, str] | None = None, shown: bool = False) -> None:
    """Run a command; `ValueError` with the end of its output if it fails."""
    done = run(*line, folder=folder, environment=environment, shown=shown)
    if done.returncode:
        printed = "see above" if shown else (done.stdout + done.stderr)[-3000:]
        raise ValueError(f"`{' '.join(line)}` ended with {done.returncode}: {printed}")
