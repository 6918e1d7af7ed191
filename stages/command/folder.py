"""Checks of `people doctor` on the project's folder: parameters, rights, git, databases, and what killed processes leave."""

import json
import os
import shlex
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.command.findings import Finding, ok, problem, warning
from stages.shared.project import PARAMS

LOCK, RWLOCK = Path("dvc.lock"), Path(".dvc/tmp/rwlock")
WRITTEN = (".", "data", ".state", ".dvc", ".dvc/tmp", ".dvc/cache")
DATABASES = ("mlflow.db", "optuna.db", "prefect/prefect.db")
BUSY_S = 5.0


def state_folder() -> Path:
    """The folder of databases and unfinished work."""
    return Path(os.environ.get("PEOPLE_STATE") or ".state")


def parameters() -> Iterator[Finding]:
    """Whether params.yaml and dvc.lock can be read, and params.yaml has no key of an earlier release."""
    from stages.configure import refuse_old_keys

    try:
        document = YAML(typ="safe", pure=True).load(PARAMS)
        refuse_old_keys(PARAMS, document)
    except (YAMLError, UnicodeDecodeError, SystemExit) as error:
        yield problem("params.yaml", f"cannot be read: {' '.join(str(error).split())}", "git diff params.yaml")
    else:
        yield ok("params.yaml", f"{', '.join(document.get('systems') or {}) or 'no system'}")
    if LOCK.is_file():
        try:
            stages = YAML(typ="safe").load(LOCK)["stages"]
        except (YAMLError, UnicodeDecodeError, TypeError, KeyError):
            remedy = f"git checkout -- {LOCK}, or rm {LOCK}: results come back from DVC's cache of runs"
            yield problem("dvc.lock", "is empty or cut off, as a full disk leaves it", remedy)
        else:
            yield ok("dvc.lock", f"{len(stages)} stages have run")


def rights() -> Iterator[Finding]:
    """Whether the folders that stages, DVC and servers write to can be written."""
    folders = [Path(name) for name in WRITTEN] + sorted(path for path in Path("data").glob("*") if path.is_dir())
    folders += [state_folder()] if str(state_folder()) not in WRITTEN else []
    refused = {}
    for folder in folders:
        if not (folder.exists() or folder.is_symlink()):
            continue
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            refused[folder] = error.strerror
    for folder, reason in refused.items():
        yield problem("rights", f"{folder} cannot be written to ({reason})", f"sudo chown -R $USER {shlex.quote(str(folder))}")
    if not refused:
        yield ok("rights", "every folder that is written to can be")


def repository() -> Iterator[Finding]:
    """Whether this is a git repository with a commit and a user, and one of DVC."""
    if _git("rev-parse", "--is-inside-work-tree") != "true":
        yield problem("git", "this is no git repository, without which DVC does not run", "git init")
        return
    missing = [name for name in ("user.name", "user.email") if not _git("config", name)]
    commands = [f'git config {name} "{"Your Name" if name == "user.name" else "you@example.org"}"' for name in missing]
    if missing:
        detail = f"{' and '.join(missing)} not set: versions and `dvc exp run` make commits"
        yield warning("git", detail, "; ".join(commands))
    if not (commit := _git("rev-parse", "--short", "HEAD")):
        yield warning("git", "has no commit, from which versions and `dvc exp run` start", "git add . && git commit -m start")
    elif not missing:
        yield ok("git", f"commit {commit}, by {_git('config', 'user.name')}")
    if not Path(".dvc").is_dir():
        yield problem("dvc", "there is no folder .dvc", "dvc init")


def _git(*arguments: str) -> str:
    """What a command of git prints; nothing where it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return "" if done.returncode else done.stdout.strip()


def databases() -> Iterator[Finding]:
    """Whether the SQLite databases can be read and are whole."""
    for file in (state_folder() / name for name in DATABASES):
        if not file.is_file():
            continue
        address = f"{file.resolve().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=BUSY_S)) as connection:
                found = [str(line) for (line,) in connection.execute("PRAGMA quick_check(3)")]
        except sqlite3.OperationalError as error:
            yield warning("databases", f"{file} cannot be read now: {error}", "end what uses it, then people doctor")
            continue
        except sqlite3.DatabaseError as error:
            found = [str(error)]
        if found == ["ok"]:
            yield ok("databases", f"{file} is whole")
        else:
            quoted = shlex.quote(str(file))
            remedy = f"mv {quoted} {quoted}.broken, then put a backup there (docs/operations.md); without one it begins empty"
            yield problem("databases", f"{file} is damaged: {'; '.join(found)}", remedy)


def leftovers() -> Iterator[Finding]:
    """Unfinished outputs and locks that processes left which were killed."""
    running = _pids_of_lock()
    if isinstance(running, Finding):
        yield running
        return
    alive = {pid: command for pid, command in running.items() if _is_alive(pid)}
    if dead := {pid: command for pid, command in running.items() if pid not in alive}:
        named = ", ".join(f"{pid} ({command})" for pid, command in dead.items())
        yield warning("locks", f"{RWLOCK} names processes that have ended: {named}", f"rm {RWLOCK}")
    if alive:
        named = ", ".join(f"{pid} ({command})" for pid, command in alive.items())
        yield ok("locks", f"at work on this folder: {named}")
        return
    partial = sorted(path for pattern in ("*.partial", "*/*.partial") for path in Path("data").glob(pattern))
    partial += sorted(state_folder().glob("*.partial"))
    if partial:
        names = shlex.join(map(str, partial))
        yield warning("leftovers", f"unfinished outputs of stages that were killed: {names}", f"rm -r {names}")
    elif not dead:
        yield ok("leftovers", "no lock is held, and nothing unfinished lies about")


def _pids_of_lock() -> dict[int, str] | Finding:
    """The processes that DVC's lock of the workspace names, with their commands; a problem where it cannot be read."""
    if not RWLOCK.is_file() or not RWLOCK.stat().st_size:
        return {}
    try:
        content: dict[str, Any] = json.loads(RWLOCK.read_text())
        holders = [*content["write"].values(), *(each for readers in content["read"].values() for each in readers)]
        return {int(holder["pid"]): str(holder["cmd"]) for holder in holders}
    except (ValueError, KeyError, TypeError, AttributeError):
        return problem("locks", f"{RWLOCK} is damaged, and DVC refuses to go on", f"rm {RWLOCK}")


def _is_alive(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid)
