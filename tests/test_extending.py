"""docs/extending.md does what it says: its blocks, laid into a copy of the project, train and keep the contracts."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import photo_stores
import pytest
from conftest import ROOT, run, users_environment, workspace
from ruamel.yaml import YAML

pytestmark = pytest.mark.servers  # trains in processes of its own, for minutes
BLOCK = re.compile(r"(?:^`(?P<file>[\w./]+)`:\n\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
JUDGE = (
    "import json; from pathlib import Path; from stages.evaluate import judge;"
    "from people.systems.colours.score import headline_figures;"
    "metrics = judge('colours', Path('data/models/colours/checkpoint.pt'), 1).metrics;"
    "print(json.dumps(metrics | {'headlines': [figure['value'] for figure in headline_figures(metrics)]}))"
)


def section(title: str) -> str:
    """The part of the document below one of its headings."""
    text = (ROOT / "docs/extending.md").read_text()
    return re.split(r"^## ", text.partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]


LAID: list[str] = []


def lay(project: Path, title: str) -> None:
    """Write the files, apply the changes and lay the values of a section's blocks into the project, once."""
    if title in LAID:
        return
    LAID.append(title)
    for block in BLOCK.finditer(section(title)):
        file, kind, text = block.group("file", "kind", "text")
        if kind == "diff":
            done = subprocess.run(["git", "apply", "--recount", "-"], cwd=project, input=text, text=True, capture_output=True)
            assert done.returncode == 0, f"{done.stderr}\n{text}"
        elif kind == "yaml" and file == "params.yaml":
            overlay(project / file, YAML(typ="safe").load(text))
        elif kind in ("python", "yaml"):
            (project / file).parent.mkdir(parents=True, exist_ok=True)
            (project / file).write_text(text)


def overlay(path: Path, values: Mapping[str, Any]) -> None:
    yaml = YAML()
    document = yaml.load(path)

    def laid(block: Any, changes: Mapping[str, Any]) -> None:
        for name, value in changes.items():
            if isinstance(value, Mapping) and name in block:
                laid(block[name], value)
            else:
                block[name] = value

    laid(document, values)
    yaml.dump(document, path)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a store of small photos and the document's system."""
    LAID.clear()
    folder = tmp_path_factory.mktemp("extended")
    copy = workspace(folder / "project")
    store = photo_stores.write_store(folder)["frames"]
    (copy / "data/crops").mkdir(parents=True)
    shutil.move(store, copy / "data/crops/market1501")
    lay(copy, "A system")
    return copy


def train(project: Path) -> pd.DataFrame:
    run([sys.executable, "-m", "stages.train", "colours"], project)
    return pd.read_csv(project / "data/models/colours/history.csv")


def test_a_system_a_loss_and_a_metric(project: Path):
    history = train(project)
    assert history["epoch"].tolist() == [1, 2]
    assert np.isfinite(history["train/identity"]).all()
    assert "train/distance" not in history
    lay(project, "A loss")
    assert (train(project)["train/distance"] > 0).all()
    before = json.loads(run([sys.executable, "-c", JUDGE], project).stdout.splitlines()[-1])
    lay(project, "A metric")
    after = json.loads(run([sys.executable, "-c", JUDGE], project).stdout.splitlines()[-1])
    assert 0 < before["retrieval.official.map"] <= 1
    assert before["headlines"] == [before["retrieval.official.map"], before["retrieval.paper.map"]]
    assert set(after) - set(before) == {"retrieval.official.rank_1", "retrieval.paper.rank_1"}
    assert {name: after[name] for name in before} == before


def test_a_dataset_of_ones_own_photos(project: Path):
    lay(project, "A dataset")
    draw = np.random.default_rng(1)
    for split, people in (("train", 5), ("validation", 3), ("test", 3)):
        for person in range(people):
            folder = project.parent / "portraits" / split / f"{split}-{person}"
            folder.mkdir(parents=True)
            for camera in (1, 2):
                colour = np.full((64, 32, 3), draw.uniform(0, 255, 3)) + draw.normal(0, 8, (64, 32, 3))
                for number in (1, 2):
                    cv2.imwrite(str(folder / f"c{camera}_{number:03d}.jpg"), np.clip(colour, 0, 255).astype(np.uint8))
    for stage in ("ingest", "validate", "crops"):
        run([sys.executable, "-m", f"stages.{stage}", "portraits"], project)
    clips = pd.read_csv(project / "data/valid/portraits/clips.csv")
    assert clips.groupby("split").size().to_dict() == {"train": 20, "validation": 12, "test": 12}
    commands = BLOCK.findall(section("A dataset"))[-1][2].replace("\\\n", " ").splitlines()
    configure = next(line for line in commands if "stages.configure" in line)
    run(["bash", "-c", configure], project)
    assert train(project)["epoch"].tolist() == [1, 2]


def test_what_the_document_adds_keeps_the_contracts(project: Path):
    for title in ("A loss", "A metric", "A dataset"):
        lay(project, title)
    overlay(project / "params.yaml", {"systems": {"colours": {"dataset": "market1501", "reads": reads("market1501")}}})
    without = "tests/test_contracts.py::test_a_system_has_every_part_of_the_contract_and_a_readme"
    # the ways of weighting are the same for all systems, and nothing is evaluated here
    chosen = "(colours or portraits) and not every_way_of_weighting and not headline"
    command = [sys.executable, "-m", "pytest", "-n0", "tests/test_contracts.py", "-k", chosen, "--deselect", without]
    environment = {**users_environment(), "PEOPLE_SMALL_RUN": str(project), "PYTHONPATH": os.pathsep.join(map(str, [project]))}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 15


def reads(dataset: str) -> dict[str, str]:
    return dict.fromkeys(("frames", "poses"), f"data/crops/{dataset}")
