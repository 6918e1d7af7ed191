"""Where a registered checkpoint came from, as plain values: code, data, parameters, seed, study, flow run, versions, machine.

The record is made when the checkpoint is registered, from dvc.lock: of the stage that made the checkpoint and of every stage
before it the hashes of what they read and wrote. It travels with the version as lineage.json.
"""

import csv
import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

from people.serving.revalidation import revalidate
from people.storage.store import stores_digest
from stages.shared.project import params

FILE = "lineage.json"
FORMAT = 1
LOCK, PARAMS, PIPELINE = Path("dvc.lock"), "params.yaml", "dvc.yaml"
MODELS, STUDIES = Path("data/models"), Path("data/studies")
FLOW_RUN_VARIABLES = ("PEOPLE_FLOW_RUN", "PREFECT__FLOW_RUN_ID")  # of pipelines.commands, and of a worker of Prefect
PACKAGES = (
    "torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "opencv-python-headless", "lightning-fabric",
    "pycocotools", "ai-edge-litert", "dvc", "optuna", "mlflow", "prefect", "onnx", "onnxscript", "onnxruntime",
)  # fmt: skip
IGNORED = {"__pycache__", ".state", ".venv", ".pytest_cache", ".ruff_cache"}  # as .dvcignore has them

Record = dict[str, Any]
Stages = dict[str, Any]  # entries of dvc.lock by the names of stages


def record(system: str, selected: dict[str, Any], reads: dict[str, Path], metrics: Mapping[str, float] | None = None) -> Record:
    """The lineage of a checkpoint that `evaluate` has selected; every value can be written as JSON.

    `selected`: the content of data/metrics/<system>/selected.json. `metrics`: those of the test, by default of
    data/metrics/<system>/all.json. The validation is computed again, in full precision, so that it can be compared later.
    """
    checkpoint, lock = Path(selected["checkpoint"]), read_lock()
    is_tuned = checkpoint.is_relative_to(STUDIES)
    stage = f"{'tune' if is_tuned else 'train'}@{system}"
    entries = upstream(lock, stage) | upstream(lock, f"train@{system}")
    files, changed_since = code_files(entries)
    final = final_training(system, selected["sha256"]) if is_tuned else None
    validation = revalidate(checkpoint, reads)
    return {
        "format": FORMAT,
        "system": system,
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "checkpoint": {"sha256": selected["sha256"], "selected": selected["selected"], "path": checkpoint.as_posix()},
        "stage": stage,
        "data_digest": stores_digest(reads),
        "seed": params("seed") if final is None else final["seed"],
        "evaluation_seed": params("seed"),
        "parameters": {**params("systems", system), "score": params("score", system)},
        "precision": precision(checkpoint, system),
        "study": study(system) if is_tuned else None,
        "final": final,
        "flow_run": next((os.environ[name] for name in FLOW_RUN_VARIABLES if os.environ.get(name)), None),
        "git": git(),
        "packages": packages(),
        "machine": machine(),
        "validation": {"score": float(validation["score"]), "errors": plain(validation["errors"])},
        "metrics": plain(json.loads(Path("data/metrics", system, "all.json").read_text()) if metrics is None else metrics),
        "stages": entries,
        "files": files,
        "changed_since": changed_since,
    }


# --- stages -----------------------------------------------------------------------------------------------------------


def read_lock(path: Path = LOCK) -> Stages:
    """The stages in a dvc.lock; none, if there is no such file."""
    if not path.is_file():
        return {}
    return (YAML(typ="safe").load(path) or {}).get("stages") or {}


def upstream(lock: Stages, stage: str) -> Stages:
    """The entries of a stage and of all stages whose outputs it depends on, itself first; none that dvc has not run."""
    makers = {out["path"]: name for name, entry in lock.items() for out in entry.get("outs") or []}
    entries: Stages = {}
    waiting = [stage]
    while waiting:
        name = waiting.pop(0)
        if name in entries or name not in lock:
            continue
        entries[name] = plain(lock[name])
        waiting += [makers[path] for path in dependencies(lock[name]) if path in makers]
    return entries


def dependencies(entry: Mapping[str, Any]) -> dict[str, str | None]:
    """By path the hash of each dependency of a stage; None where dvc has recorded none."""
    return {dep["path"]: hash_of(dep) for dep in entry.get("deps") or []}


def outputs(entry: Mapping[str, Any]) -> dict[str, str | None]:
    """By path the hash of each output of a stage."""
    return {out["path"]: hash_of(out) for out in entry.get("outs") or []}


def hash_of(entry: Mapping[str, Any]) -> str | None:
    """The hash of a path in dvc.lock, by the algorithm that it names."""
    return entry.get(entry.get("hash") or "md5")


def code_files(entries: Stages) -> tuple[dict[str, str], list[str]]:
    """By path the MD5 of every file of the project that these stages read, dvc.yaml among them, and what is not as it was.

    Of a folder dvc records one hash; here its files are listed one by one, so that a difference can be named. A dependency
    whose present content has another hash than dvc.lock says has changed since its stage ran: it is in the second list.
    """
    made = {path for entry in entries.values() for path in outputs(entry)}
    wanted = {path: md5 for entry in entries.values() for path, md5 in dependencies(entry).items() if path not in made}
    own = {path: md5 for path, md5 in wanted.items() if not Path(path).is_absolute() and ".." not in Path(path).parts}
    files, changed = {}, []
    for path, md5 in sorted(own.items()):
        content = (
            folder_files(Path(path)) if Path(path).is_dir() else {path: file_md5(Path(path))} if Path(path).exists() else {}
        )
        files |= content
        present = folder_md5(Path(path), content) if Path(path).is_dir() else content.get(path)
        if present != md5:
            changed.append(path)
    parents = {parent / "__init__.py" for file in files for parent in Path(file).parents if Path(file).suffix == ".py"}
    return files | files_there([PIPELINE, *sorted(path.as_posix() for path in parents)]), changed


def files_there(paths: Iterable[str]) -> dict[str, str]:
    """By path the MD5 of those files that are there."""
    return {path: file_md5(Path(path)) for path in paths if Path(path).is_file()}


def folder_files(folder: Path) -> dict[str, str]:
    """By path the MD5 of every file in a folder, without those that dvc ignores."""
    return {path.as_posix(): file_md5(path) for path in walked(folder)}


def walked(folder: Path) -> Iterator[Path]:
    """The files in a folder, sorted, without those that dvc ignores."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not IGNORED & set(path.relative_to(folder).parts):
            yield path


def folder_md5(folder: Path, files: Mapping[str, str]) -> str:
    """The hash that dvc gives a folder: the MD5 of the JSON list of its files' paths and MD5s, sorted by path."""
    listed = [{"md5": md5, "relpath": Path(path).relative_to(folder).as_posix()} for path, md5 in files.items()]
    text = json.dumps(sorted(listed, key=lambda each: each["relpath"]), sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


def file_md5(path: Path) -> str:
    """MD5 of a file's content, as dvc has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


# --- circumstances ----------------------------------------------------------------------------------------------------


def git() -> dict[str, Any]:
    """The commit that is checked out, and by path the MD5 of each file that is otherwise than there (None: it is deleted)."""
    commit = answer("git", "rev-parse", "HEAD")
    if not commit:
        return {"commit": None, "dirty": None, "changed": {}}
    status = answer("git", "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all") or ""
    paths = [Path(line[3:]) for line in status.split("\0") if line]
    changed = {path.as_posix(): file_md5(path) if path.is_file() else None for path in paths}
    changed.pop(LOCK.as_posix(), None)  # dvc writes it while it runs
    return {"commit": commit.strip(), "dirty": bool(changed), "changed": changed}


def precision(checkpoint: Path, system: str) -> str | None:
    """The precision that the training has recorded; of a tuned checkpoint that of the stage train, on the same settings."""
    for folder in (checkpoint.parent, MODELS / system):
        if (file := folder / "summary.json").is_file() and "precision" in (found := json.loads(file.read_text())):
            return found["precision"]
    return None


def study(system: str) -> Any:
    """The study and the trial that have given the tuned checkpoint's weights, as `tune` has written them."""
    return plain(YAML(typ="safe", pure=True).load(STUDIES / system / "best.yaml"))


def final_training(system: str, sha256: str) -> dict[str, Any] | None:
    """Whose weights a tuned checkpoint was trained with to the end, and from which seed; None if it is that of a trial."""
    table = STUDIES / system / "finals.csv"
    if not table.is_file():
        return None
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["sha256"] == sha256]
    return {"weights": rows[0]["weights"], "seed": int(rows[0]["seed"])} if rows else None


def packages() -> dict[str, str | None]:
    """The installed versions of what results depend on; None: not installed. Of torch also its build."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = installed(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions | {"torch build": f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}"}


def machine() -> dict[str, Any]:
    """What floating-point results depend on: processor, its vector and matrix units, torch's threads, the GPU."""
    processor, flags = processor_and_flags()
    kept = [flag for flag in flags if flag.startswith(("avx", "amx", "fma")) or flag in ("asimd", "sve", "bf16", "i8mm")]
    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "processor": processor,
        "instructions": sorted(kept),
        "torch instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def processor_and_flags() -> tuple[str, list[str]]:
    """The processor's name and its flags, as Linux tells them; elsewhere the name alone."""
    file = Path("/proc/cpuinfo")
    values: dict[str, str] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), value.strip())
    name = values.get("model name") or platform.processor() or platform.machine()
    return name, (values.get("flags") or values.get("Features") or "").split()


def answer(*command: str) -> str | None:
    """What a command prints; None if it fails or is not there."""
    try:
        done = subprocess.run(command, env=with_programs(os.environ), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def with_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which the programs beside this interpreter come first, dvc and python among them."""
    return {**environment, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"}


def plain(values: Any) -> Any:
    """The same values as JSON gives them back."""
    return json.loads(json.dumps(values, default=float))
