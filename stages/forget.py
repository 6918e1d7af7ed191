"""Take a person out of a gallery, out of the pages that name the person, and out of DVC's cache of all versions.

    python -m stages.forget staff "Ada Lovelace"

What cannot be reached from here is named: DVC remotes, other clones, and videos that show the person.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from stages.identification import galleries, pages
from stages.identification.galleries import Gallery, dvc
from stages.identify import SHOWN
from stages.shared.project import remove, state


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("gallery", help="the gallery's name")
    parser.add_argument("name", help="the person's name")
    arguments = parser.parse_args()
    try:
        gallery = Gallery.existing(arguments.gallery)
        person = gallery.person(arguments.name)
        with gallery.locked():
            shown = forget_results(person.number)
            purged = galleries.forget(gallery, person)
    except ValueError as error:
        sys.exit(str(error))
    print(f"{arguments.name} is forgotten: {purged.files} files of {gallery.path} deleted, and their copies in DVC's cache")
    for line in shown + elsewhere(gallery, arguments.name, purged.objects):
        print(line)


def forget_results(person: str) -> list[str]:
    """Take a person out of every folder of results that names people; what was done."""
    noted = state(SHOWN)
    folders = dict.fromkeys(map(Path, noted.read_text().splitlines())) if noted.is_file() else {}
    done = []
    for folder in folders:
        interrupted = folder.with_name(folder.name + ".partial")
        if interrupted.is_dir():
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


if __name__ == "__main__":
    main()
