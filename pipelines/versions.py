"""Versions: what a successful flow run made and from what, kept as commits that need no branch, and brought back by name.

    python -m pipelines.versions                 the versions, newest first
    python -m pipelines.versions show NAME       one of them
    python -m pipelines.versions compare A B     what changed: parameters, inputs, metrics
    python -m pipelines.versions restore NAME    its params.yaml, dvc.lock, data and models in this workspace

A version is a git commit under refs/versions/: the commit that was checked out, with params.yaml and dvc.lock as they were;
its message holds the facts. A branch and a tag can name it too.
"""

import argparse
import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines import commands, graph, workspace

REFS = "refs/versions"
KEPT = ("params.yaml", "dvc.lock")
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Version:
    """What a flow run made (`outs`: stage to path to hash; `metrics`: file to name to value) and what it was made from."""

    name: str
    made_at: str
    flow_run: str
    commit: str
    lock_md5: str
    params_md5: str
    outs: dict[str, dict[str, str]]
    metrics: dict[str, dict[str, float]]


def record(flow_run: str, *, branch: str = "", tag: str = "", publish: bool = False, log: workspace.Log = print) -> Version:
    """Keep the workspace as a version under the flow run's name; also on a branch and under a tag where they are named.

    What git does not take in a name becomes -, and a name that is taken gets a number. `publish` pushes the version, the
    branch and the tag to the remote `origin`.
    """
    check_names(branch, tag)
    version = describe(unused(flow_run), flow_run)
    parent = workspace.asked("git", "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}") if branch else None
    commit = commit_of(version, parent or version.commit)
    refs = {f"{REFS}/{version.name}": commit}
    if branch:
        refs[f"refs/heads/{branch}"] = commit
    if tag:
        refs[f"refs/tags/{tag}"] = commit
    for ref, points_at in refs.items():
        workspace.git("update-ref", ref, points_at)
    if publish:
        commands.run(["git", "push", "--quiet", "origin", *(f"{ref}:{ref}" for ref in refs)], log)
    log(f"version {version.name}: {commit}" + (f", branch {branch}" if branch else "") + (f", tag {tag}" if tag else ""))
    return version


def check_names(branch: str, tag: str) -> None:
    """`Failed` for a branch or tag that cannot name a version: git refuses it, it is checked out here, or it names another."""
    for what, name, ref in (("branch", branch, f"refs/heads/{branch}"), ("tag", tag, f"refs/tags/{tag}")):
        if name and workspace.asked("git", "check-ref-format", ref) is None:
            raise commands.Failed(f"{name!r} is no name that git takes for a {what}; choose another, such as results or v1")
    if branch and workspace.asked("git", "symbolic-ref", "--quiet", "--short", "HEAD") == branch:
        raise commands.Failed(
            f"branch {branch} is checked out in this workspace, a commit from here would leave its files behind; "
            "name another branch for versions"
        )
    if tag and workspace.asked("git", "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}"):
        raise commands.Failed(f"tag {tag} names another commit already; name another tag for this version")


def unused(flow_run: str) -> str:
    """A name for a version that no other has."""
    plain = _UNFIT.sub("-", flow_run).strip("-.") or "run"
    taken = {version.name for version in listed()}
    numbered = (plain if number == 1 else f"{plain}-{number}" for number in itertools.count(1))
    return next(name for name in numbered if name not in taken)


def describe(name: str, flow_run: str) -> Version:
    """The version that the workspace is now."""
    records = graph.lock()
    metrics = {
        path.as_posix(): flattened(json.loads(path.read_text()))
        for stage in records.values()
        for path in graph.metrics(stage)
        if path.is_file()
    }
    return Version(
        name=name,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        flow_run=flow_run,
        commit=workspace.git("rev-parse", "HEAD"),
        lock_md5=digest(Path("dvc.lock")),
        params_md5=digest(Path("params.yaml")),
        outs={stage: {out["path"]: out["md5"] for out in found.get("outs", [])} for stage, found in records.items()},
        metrics=metrics,
    )


def commit_of(version: Version, parent: str) -> str:
    """A commit of the checked-out tree with params.yaml and dvc.lock as they are; index and branches stay untouched."""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        workspace.git("read-tree", version.commit, **index)
        workspace.git("update-index", "--add", *KEPT, **index)
        tree = workspace.git("write-tree", **index)
    message = f"Version {version.name}\n\n{json.dumps(asdict(version), indent=1, sort_keys=True)}\n"
    identity = {} if workspace.asked("git", "config", "user.email") else _IDENTITY
    return workspace.git("commit-tree", tree, "-p", parent, "-m", message, **identity)


_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "flow"), ("EMAIL", "flow@localhost"))
}


def listed() -> list[Version]:
    """All versions of this repository, newest first."""
    refs = workspace.git("for-each-ref", "--format=%(refname)", REFS).split()
    return sorted((read(ref) for ref in refs), key=lambda version: version.made_at, reverse=True)


def read(ref: str) -> Version:
    """The version that a ref's commit message describes."""
    message = workspace.git("show", "--no-patch", "--format=%B", ref)
    return Version(**json.loads(message.partition("\n\n")[2]))


def find(name: str) -> Version:
    """The version of this name."""
    if workspace.asked("git", "rev-parse", "--verify", "--quiet", f"{REFS}/{name}") is None:
        known = ", ".join(version.name for version in listed()[:10]) or "none yet"
        raise SystemExit(
            f"there is no version {name!r}; there are {known} (from elsewhere: git fetch origin '{REFS}/*:{REFS}/*')"
        )
    return read(f"{REFS}/{name}")


def restore(name: str, log: workspace.Log = print) -> None:
    """Put a version's params.yaml and dvc.lock here and bring its data and models back, from the cache or the remote.

    Source code stays as it is: `git checkout refs/versions/NAME` brings all of it.
    """
    version = find(name)
    for kept in KEPT:
        file = Path(kept)
        if file.is_file() and not _can_be_had_again(file):
            file.replace(aside := file.with_name(f"{kept}.before-{name}"))
            log(f"{kept} is in no version; it is kept as {aside}")
    commands.run(["git", "restore", f"--source={REFS}/{name}", "--worktree", "--", *KEPT], log)
    fetch = "pull" if workspace.has_remote() else "checkout"
    commands.run([*workspace.DVC, fetch, "--force"], log)
    log(f"{version.name} is here: made {version.made_at} from commit {version.commit}")


def _can_be_had_again(file: Path) -> bool:
    """Whether a version or the checked-out commit has this params.yaml or dvc.lock."""
    if any(digest(file) in (version.lock_md5, version.params_md5) for version in listed()):
        return True
    return workspace.asked("git", "rev-parse", "--verify", "--quiet", f"HEAD:{file}") == workspace.git("hash-object", str(file))


def changes(old: Version | None, new: Version) -> list[dict[str, Any]]:
    """Every metric of the new version with its change against the old one, where that has it."""
    rows = []
    for file, values in new.metrics.items():
        before = old.metrics.get(file, {}) if old else {}
        for name, value in values.items():
            rows.append({"file": Path(file).stem, "metric": name, "value": value, "change": change(before.get(name), value)})
    return rows


def change(before: float | None, now: float) -> float | None:
    """How far a number has moved; None where there is no number before."""
    return None if before is None else now - before


def flattened(values: Mapping[str, Any], above: str = "") -> dict[str, float]:
    """The numbers of nested blocks, by dotted names."""
    flat: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{above}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            flat[f"{above}{key}"] = value
    return flat


def digest(path: Path, kind: str = "md5") -> str:
    """The digest of a file's bytes; MD5 is what dvc.lock gives."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb")
    for verb, names in (("list", ()), ("show", ("name",)), ("compare", ("old", "new")), ("restore", ("name",))):
        one = verbs.add_parser(verb)
        for name in names:
            one.add_argument(name)
    asked = parser.parse_args()
    if asked.verb == "show":
        print(json.dumps(asdict(find(asked.name)), indent=1))
    elif asked.verb == "compare":
        print("\n".join(comparison(find(asked.old), find(asked.new))))
    elif asked.verb == "restore":
        restore(asked.name)
    else:
        print("\n".join(table(listed())))


def table(versions: list[Version]) -> list[str]:
    """One line per version."""
    if not versions:
        return ["no version yet: a successful run of the flow `reproduce` makes one"]
    width = max(len(version.name) for version in versions)
    return [
        f"{version.name:<{width}}  {version.made_at}  commit {version.commit[:10]}  lock {version.lock_md5[:10]}  "
        f"params {version.params_md5[:10]}  {len(version.outs)} stages"
        for version in versions
    ]


def comparison(old: Version, new: Version) -> list[str]:
    """What differs between two versions, line by line."""
    lines = [f"commit {old.commit[:10]} -> {new.commit[:10]}" if old.commit != new.commit else f"commit {new.commit[:10]}"]
    diff = workspace.asked("git", "diff", "--unified=0", f"{REFS}/{old.name}", f"{REFS}/{new.name}", "--", "params.yaml") or ""
    lines += [line for line in diff.splitlines() if re.match(r"[+-](?![+-])", line)]
    for stage in sorted(old.outs.keys() | new.outs.keys()):
        if old.outs.get(stage) != new.outs.get(stage):
            lines.append(f"{stage}: other results" if stage in old.outs and stage in new.outs else f"{stage}: only in one")
    moved = [row for row in changes(old, new) if row["change"]]
    return lines + [f"{row['file']}  {row['metric']}  {row['value']:.4f}  ({row['change']:+.4f})" for row in moved]


if __name__ == "__main__":
    if not Path("dvc.yaml").is_file():
        raise SystemExit(f"no dvc.yaml in {os.getcwd()}: run this in the project's root folder")
    main()
