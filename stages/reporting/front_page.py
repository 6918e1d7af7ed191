"""The front page over all systems, data/report/index.html, from the summaries beside the systems' pages.

It is no output of a stage: it tells when it was made, of which commit, and every stage that writes a report makes it again.
"""

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from people.storage import write_atomic
from stages.reporting import headline, images, people
from stages.reporting.system_page import PICTURE, STILL, SUMMARY
from stages.reporting.templates import render
from stages.shared.project import file_lock, state

REPORT = Path("data/report")
PACKAGES = ("torch", "dvc", "optuna", "mlflow")
SHOWN_SECTIONS = ("results", "answers", "learning", "search", "registry")


def write(systems: Mapping[str, Any], folder: Path = REPORT) -> Path:
    """Make the front page of these systems from what is there, under a lock: two stages may end at the same time."""
    with file_lock(state("report-index.lock")):
        page = render("index.html.j2", **values(systems, folder))
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "index.html", page.encode())
    return folder / "index.html"


def values(systems: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values of the template: the run's facts, and a card for each system, also for those that have not run."""
    cards = [card(system, folder / system) for system in systems]
    done = [each for each in cards if each["done"]]
    sources = list(dict.fromkeys(people.source_title(each["source"]) for each in done))
    return {
        "cards": cards,
        "done": done,
        "sources": sources,
        "small": [each["system"] for each in done if each["small"]],
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    }


def card(system: str, folder: Path) -> dict[str, Any]:
    """What the front page shows of a system; of one that has no report its name."""
    file = folder / SUMMARY
    if not file.is_file() or not (folder / "index.html").is_file():
        return {"system": system, "done": False}
    summary = json.loads(file.read_text())
    figures = headline.parse(summary["headline"], str(file))
    return {
        **summary,
        "done": True,
        "headline": figures,
        "picture": picture(folder, summary["picture_text"]),
        "sections": {name: title for name, title in summary["sections"].items() if name in SHOWN_SECTIONS},
    }


def picture(folder: Path, text: str) -> Markup | None:
    """The picture of a system, None where it has none."""
    file, still = folder / PICTURE, folder / STILL
    if not file.is_file():
        return None
    content = file.read_bytes()
    first = still.read_bytes() if still.is_file() else b""
    bgr = cv2.imdecode(np.frombuffer(first or content, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"{file} is not a picture that OpenCV reads; make it again: dvc repro --force report@{folder.name}")
    image = images.Image(content, ".webp", bgr.shape[1], bgr.shape[0], first)
    return images.markup(image, text, wide_px=images.THUMBNAIL_PX, region=False)


def commit() -> str:
    """The commit that is checked out, and whether files were changed since; without git that there is none."""
    found = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False)
    if found.returncode:
        return "no git repository"
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=False
    )
    count = len(changed.stdout.splitlines())
    return found.stdout.strip() + (f", {count} {'file' if count == 1 else 'files'} changed since" if count else "")
