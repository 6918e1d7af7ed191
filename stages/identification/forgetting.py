"""A person taken out of a gallery, of results that name people, and of DVC's cache; and where else there may be some."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stages.identification import pages
from stages.identification.galleries import Gallery, Person, dvc
from stages.shared.project import remove


class Purged(NamedTuple):
    """What was deleted of a person: how many files in the gallery, and the paths of objects in DVC's cache."""

    files: int
    objects: list[str]


def forget(gallery: Gallery, person: Person) -> Purged:
    """Delete a person from the gallery, record the version without, and delete the person's objects from DVC's cache.

    The listings (.dir) of all versions in the cache are searched for the person's random number, so that versions which no
    commit has are covered too. An object that somebody else's file shares stays.
    """
    files = sum(path.is_file() for path in person.path.rglob("*"))
    cache = Path(dvc("cache", "dir").strip())
    mine, others = file_md5s(cache, person.path.name)
    remove(person.path)
    objects = []
    for md5 in sorted(mine - others):
        path = cache / "files" / "md5" / md5[:2] / md5[2:]
        objects.append(f"files/md5/{md5[:2]}/{md5[2:]}")
        if path.is_file():
            path.chmod(0o600)
            path.unlink()
    gallery.save()
    return Purged(files, objects)


def file_md5s(cache: Path, number: str) -> tuple[set[str], set[str]]:
    """The digests of this person's files, and those of all other files, in every listing of DVC's cache."""
    mine: set[str] = set()
    others: set[str] = set()
    for entries in listings(cache):
        for entry in entries:
            (mine if entry["relpath"].split("/")[0] == number else others).add(entry["md5"])
    return mine, others


def listings(cache: Path) -> Iterator[list[dict[str, str]]]:
    """The listings of folders in DVC's cache."""
    for path in (cache / "files" / "md5").glob("??/*.dir"):
        yield json.loads(path.read_bytes())


def forget_results(person: str) -> list[str]:
    """Take a person out of every folder of results that names people; what was done."""
    done = []
    for folder in pages.remembered():
        interrupted = folder.with_name(folder.name + ".partial")
        candidates = interrupted / "candidates.csv"
        if candidates.is_file() and person in candidates.read_text():
            remove(interrupted)
            done.append(f"{interrupted}, left by an interrupted run, is deleted")
        if not (folder / pages.RESULTS).is_file():
            continue
        tracks = pages.forget(folder, person)
        if tracks:
            named = ", ".join(map(str, tracks))
            done.append(
                f"{folder}: name and pictures of track {named} are taken out; annotated.mp4 and the video still show the "
                "person: delete them if they must not"
            )
    return done


def elsewhere(gallery: Gallery, name: str, objects: list[str]) -> list[str]:
    """What other places may still hold, and how it is deleted there."""
    log = ["git", "log", "--all", "--format=%h", "--", str(gallery.record)]
    done = subprocess.run(log, capture_output=True, text=True, check=False)
    commits = done.stdout.split() if done.returncode == 0 else []
    lines = [f"{name} is also in the gallery {other.name}" for other in Gallery.others(gallery) if other.has(name)]
    lines.append(f"{gallery.record} has changed: commit it")
    lines.append("runs of the flow identify on a Prefect server have names in their table of tracks: delete those runs there")
    if commits:
        lines.append(
            f"{len(commits)} commits ({', '.join(commits[:5])}{', ...' if len(commits) > 5 else ''}) name earlier versions: "
            "they can no longer be checked out whole; they hold digests, no name and no embedding"
        )
    remotes = [line.split()[0] for line in dvc("remote", "list").splitlines() if line.strip()]
    if remotes and objects:
        lines.append(
            f"the DVC remotes {', '.join(remotes)} and other clones' caches may hold these objects; delete them there:"
        )
        lines += [f"  {each}" for each in objects]
    return lines
