"""Versions: results and inputs of successful flow runs, kept as git commits without a branch, and restored by name.

    people versions                 the versions, newest first
    people versions show NAME       one of them
    people versions compare A B     what changed: parameters, inputs, metrics
    people versions restore NAME    its params.yaml, dvc.lock, data and models into this workspace

A version is a git commit under refs/versions/: the commit that was checked out, with the run's params.yaml and dvc.lock;
its message holds the fields of `Version` as JSON. A branch and a tag can name it too.
"""

import argparse
import hashlib
import itertools
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines import commands, differences, graph, workspace

REFS = "refs/versions"
VERSIONED = ("params.yaml", "dvc.lock")
NAME = re.compile(r"\w[\w./+-]*")  # of a branch or a tag: no option and nothing that a shell would act on
MAX_NAME_BYTES = 200  # git keeps a name as that of a file
_INVALID = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Version:
    """Results of a flow run (`outs`: stage to path to hash; `metrics`: file to name to value), commit and parameters."""

    name: str
    made_at: str
    flow_run: str
    commit: str
    lock_md5: str
    params_md5: str
    outs: dict[str, dict[str, str]]
    metrics: dict[str, dict[str, float]]


def record(flow_run: str, *, branch: str = "", tag: str = "", publish: bool = False, log: workspace.Log = print) -> Version:
    """Record the workspace as a version under the flow run's name; also on a branch and under a tag if they are named.

    Characters that git refuses in a name become -, and a name that exists already gets a number. `publish` pushes the version,
    the branch and the tag to the remote `origin`.
    """
    check_names(branch, tag)
    version = describe(unused_name(flow_run), flow_run)
    parent = workspace.query("git", "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}") if branch else None
    commit = create_commit(version, parent or version.commit)
    refs = {f"{REFS}/{version.name}": commit}
    if branch:
        refs[f"refs/heads/{branch}"] = commit
    if tag:
        refs[f"refs/tags/{tag}"] = commit
    for ref in refs:
        workspace.git("update-ref", ref, commit)
    if publish:
        commands.run(["git", "push", "--quiet", "origin", *(f"{ref}:{ref}" for ref in refs)], log)
    log(f"version {version.name}: {commit}" + (f", branch {branch}" if branch else "") + (f", tag {tag}" if tag else ""))
    return version


def check_names(branch: str, tag: str) -> None:
    """Raise `Failed` for a branch or tag that git refuses, that is checked out here, or that names another commit.

    Names that are options or have characters of a shell are refused too: git takes them, and whoever types them is surprised.
    """
    for kind, name, ref in (("branch", branch, f"refs/heads/{branch}"), ("tag", tag, f"refs/tags/{tag}")):
        if name and not (NAME.fullmatch(name) and len(name.encode()) <= MAX_NAME_BYTES):
            raise commands.Failed(
                f"{name[:MAX_NAME_BYTES]!r} is no name for a {kind}: expected letters, digits and _ . / + - after a letter or "
                f"digit, at most {MAX_NAME_BYTES} bytes; choose another, such as results or v1"
            )
        if name and workspace.query("git", "check-ref-format", ref) is None:
            raise commands.Failed(f"git refuses {name!r} as the name of a {kind}; choose another, such as results or v1")
    if branch and workspace.query("git", "symbolic-ref", "--quiet", "--short", "HEAD") == branch:
        raise commands.Failed(
            f"branch {branch} is checked out in this workspace, its files would not match a new commit on it; "
            "name another branch for versions"
        )
    if tag and workspace.query("git", "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}"):
        raise commands.Failed(f"tag {tag} names another commit already; name another tag for this version")


def unused_name(flow_run: str) -> str:
    """A name for a version that no other version has."""
    plain = _INVALID.sub("-", flow_run)[:MAX_NAME_BYTES].strip("-.") or "run"
    existing = {version.name for version in list_versions()}
    numbered = (plain if number == 1 else f"{plain}-{number}" for number in itertools.count(1))
    return next(name for name in numbered if name not in existing)


def describe(name: str, flow_run: str) -> Version:
    """The version of the workspace's present state."""
    records = graph.read_lock()
    metrics = {
        path.as_posix(): differences.numbers(json.loads(path.read_text()))
        for stage in records.values()
        for path in graph.metrics(stage)
        if path.is_file()
    }
    return Version(
        name=name,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        flow_run=flow_run[:MAX_NAME_BYTES],
        commit=workspace.git("rev-parse", "HEAD"),
        lock_md5=digest(Path("dvc.lock")),
        params_md5=digest(Path("params.yaml")),
        outs={stage: {out["path"]: out["md5"] for out in record.get("outs", [])} for stage, record in records.items()},
        metrics=metrics,
    )


def create_commit(version: Version, parent: str) -> str:
    """Commit the checked-out tree with the present params.yaml and dvc.lock; index and branches do not change."""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        workspace.git("read-tree", version.commit, **index)
        workspace.git("update-index", "--add", *VERSIONED, **index)
        tree = workspace.git("write-tree", **index)
    message = f"Version {version.name}\n\n{json.dumps(asdict(version), indent=1, sort_keys=True)}\n"
    identity = {} if workspace.query("git", "config", "user.email") else _IDENTITY
    return workspace.git("commit-tree", tree, "-p", parent, "-m", message, **identity)


_IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "flow"), ("EMAIL", "flow@localhost"))
}


def list_versions() -> list[Version]:
    """All versions of this repository, newest first."""
    messages = workspace.git("for-each-ref", "--format=%(contents)%00", REFS).split("\0")  # one command, however many there are
    return sorted(map(parse, filter(str.strip, messages)), key=lambda version: version.made_at, reverse=True)


def read(ref: str) -> Version:
    """The version that a ref's commit message describes."""
    return parse(workspace.git("show", "--no-patch", "--format=%B", ref))


def parse(message: str) -> Version:
    """The version that a commit message describes."""
    return Version(**json.loads(message.partition("\n\n")[2]))


def find(name: str) -> Version:
    """The version of this name."""
    is_name = name and not _INVALID.search(name) and len(name) <= 2 * MAX_NAME_BYTES
    if not is_name or workspace.query("git", "rev-parse", "--verify", "--quiet", f"{REFS}/{name}") is None:
        existing = ", ".join(version.name for version in list_versions()[:10]) or "none yet"
        published = f"published ones: git fetch origin '{REFS}/*:{REFS}/*'"
        raise SystemExit(f"there is no version {name[:MAX_NAME_BYTES]!r}; there are {existing} ({published})")
    return read(f"{REFS}/{name}")


def restore(name: str, log: workspace.Log = print) -> None:
    """Restore a version's params.yaml and dvc.lock, and its data and models from the cache or the remote.

    Source code does not change: `git checkout refs/versions/NAME` restores it.
    """
    version = find(name)
    for path in VERSIONED:
        file = Path(path)
        if file.is_file() and not _is_recorded(file):
            file.replace(backup := file.with_name(f"{path}.before-{name}"))
            log(f"{path} is in no version; it is kept as {backup}")
    commands.run(["git", "restore", f"--source={REFS}/{name}", "--worktree", "--", *VERSIONED], log)
    fetch = "pull" if workspace.has_remote() else "checkout"
    commands.run([*workspace.DVC, fetch, "--force"], log)
    log(f"{version.name} is restored: made {version.made_at} from commit {version.commit}")


def _is_recorded(file: Path) -> bool:
    """Whether a version or the checked-out commit has this params.yaml or dvc.lock."""
    if any(digest(file) in (version.lock_md5, version.params_md5) for version in list_versions()):
        return True
    return workspace.query("git", "rev-parse", "--verify", "--quiet", f"HEAD:{file}") == workspace.git(
        "hash-object", "--", str(file)
    )


def metric_changes(old: Version | None, new: Version) -> list[dict[str, Any]]:
    """Every metric of the new version with its change since the old one; None where the old one lacks it."""
    rows = []
    for file, values in new.metrics.items():
        before = old.metrics.get(file, {}) if old else {}
        for name, value in values.items():
            change = differences.change(before.get(name), value)
            rows.append({"file": Path(file).stem, "metric": name, "value": value, "change": change})
    return rows


def digest(path: Path, kind: str = "md5") -> str:
    """The digest of a file's bytes; MD5 as in dvc.lock."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def main() -> None:
    summary, _, epilog = (__doc__ or "").partition("\n\n")
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=epilog, formatter_class=style)
    verbs = parser.add_subparsers(dest="verb")
    for verb, names in (("list", ()), ("show", ("name",)), ("compare", ("old", "new")), ("restore", ("name",))):
        subparser = verbs.add_parser(verb)
        for name in names:
            subparser.add_argument(name)
    arguments = parser.parse_args()
    if arguments.verb == "show":
        print(json.dumps(asdict(find(arguments.name)), indent=1))
    elif arguments.verb == "compare":
        print("\n".join(comparison(find(arguments.old), find(arguments.new))))
    elif arguments.verb == "restore":
        restore(arguments.name)
    else:
        print("\n".join(table(list_versions())))


def table(versions: list[Version]) -> list[str]:
    """One line per version."""
    if not versions:
        return ["no version yet: a successful run of the flow `reproduce` records one"]
    width = max(len(version.name) for version in versions)
    return [
        f"{version.name:<{width}}  {version.made_at}  commit {version.commit[:10]}  lock {version.lock_md5[:10]}  "
        f"params {version.params_md5[:10]}  {len(version.outs)} stages"
        for version in versions
    ]


def comparison(old: Version, new: Version) -> list[str]:
    """The differences between two versions, as lines of text: every parameter, stage and metric by its whole name."""
    lines = [f"commit {old.commit[:10]} -> {new.commit[:10]}" if old.commit != new.commit else f"commit {new.commit[:10]}"]
    lines += differences.parameter_changes(parameters(old), parameters(new))
    for stage in sorted(old.outs.keys() | new.outs.keys()):
        if old.outs.get(stage) != new.outs.get(stage):
            only = old.name if stage not in new.outs else new.name if stage not in old.outs else ""
            lines.append(f"{stage}: only in {only}" if only else f"{stage}: other results")
    for file in sorted(old.metrics.keys() | new.metrics.keys()):
        lines += differences.metric_changes(Path(file).stem, old.metrics.get(file, {}), new.metrics.get(file, {}))
    return lines


def parameters(version: Version) -> dict[str, Any]:
    """The values of a version's params.yaml by dotted keys; lists are values."""
    text = workspace.git("show", f"{REFS}/{version.name}:params.yaml")
    return differences.leaves(YAML(typ="safe", pure=True).load(text) or {})


if __name__ == "__main__":
    if not Path("dvc.yaml").is_file():
        raise SystemExit(f"no dvc.yaml in {os.getcwd()}: run this in the project's root folder")
    main()
