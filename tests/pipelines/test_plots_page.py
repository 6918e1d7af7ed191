"""What `dvc plots show` and `dvc plots diff` draw: pages that ask no other machine for anything."""

import re
import time
from pathlib import Path

import pandas as pd
import pytest
from browser import chromium
from conftest import ROOT, run, workspace
from ruamel.yaml import YAML

from pipelines import plots_page
from stages import compare, evaluate, train

DRAWN_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the plots of one system in a commit, and others in the workspace, as after a second training."""
    folder = workspace(tmp_path_factory.mktemp("plots") / "project")
    yaml = YAML(typ="safe")
    stages = yaml.load((ROOT / "dvc.yaml").read_text().replace("${key}", "dmt"))["stages"]
    plots = [plot for stage in ("train", "compare", "evaluate") for plot in stages[stage]["do"]["plots"]]
    assert len(plots) == 4
    yaml.dump({"plots": plots}, folder / "dvc.yaml")
    (folder / ".gitignore").write_text(".state\n.venv\n/dvc_plots/\n")
    write_plots(folder / "data/plots/dmt", shift=0.0)
    run(["git", "add", "--all"], folder)
    run(
        ["git", "-c", "user.name=someone", "-c", "user.email=someone@localhost", "commit", "--quiet", "--message", "one"],
        folder,
    )
    write_plots(folder / "data/plots/dmt", shift=0.1)
    return folder


def write_plots(folder: Path, shift: float) -> None:
    (folder / "ranking").mkdir(parents=True, exist_ok=True)
    history = pd.DataFrame({"epoch": [1, 2], "train/total": [2.0, 1 + shift], "error/identity": [0.5, 0.4 + shift]})
    train.plotted(history).to_csv(folder / "training.csv", index=False)
    curves = pd.DataFrame({"variant": ["a", "a", "all", "all"], "seed": 1, "epoch": [1, 2] * 2, "error/identity": 0.5 + shift})
    compare.plotted(curves.rename(columns={"error/identity": "error_identity"})).to_csv(folder / "convergence.csv", index=False)
    entry = {
        "name": "rank1", "title": "Rank-1", "value": 0.5 + shift, "low": 0.4, "high": 0.7, "baseline": 0.1,
        "baseline_title": "chance", "unit": "%", "better": "higher",
    }  # fmt: skip
    evaluate.bars([entry]).to_csv(folder / "headline.csv", index=False)  # pyright: ignore[reportArgumentType]
    ranks = pd.DataFrame({"rank": [1, 2], "ours": [0.5 + shift, 1.0], "chance": [0.1, 0.2]})
    for name, curve in evaluate.rank_curves({"ranks": ranks, "roc": ranks.rename(columns={"rank": "rate"})}).items():
        curve.to_csv(folder / "ranking" / f"{name}.csv", index=False)


def test_the_table_of_a_training_has_a_row_for_each_point_that_there_is():
    history = pd.DataFrame(
        {"epoch": [1, 2], "train/total": [2.0, 1.0], "error/age": [None, 0.5], "train_error/age": [0.3, 0.2]}
    )
    rows = [tuple(row) for row in train.plotted(history).itertuples(index=False)]
    assert rows == [
        ("loss", "training", 1, 2.0),
        ("loss", "training", 2, 1.0),
        ("error, age", "validation", 2, 0.5),
        ("error, age", "training", 1, 0.3),
        ("error, age", "training", 2, 0.2),
    ]


def test_a_convergence_is_the_mean_over_seeds():
    curves = pd.DataFrame({"variant": "all", "seed": [1, 2], "epoch": 1, "error_identity": [0.2, 0.4]})
    (row,) = compare.plotted(curves).to_dict("records")
    assert row == {"panel": "error, identity", "series": "all", "epoch": 1, "value": pytest.approx(0.3)}


@pytest.mark.servers
@pytest.mark.parametrize(("command", "revisions"), [("show", {"workspace"}), ("diff", {"workspace", "HEAD"})])
def test_a_page_draws_every_plot_without_a_network(project: Path, command: str, revisions: set[str], monkeypatch):
    monkeypatch.chdir(project)
    plots_page.main([])
    assert "No plots" not in run(["dvc", "plots", command], project).stderr
    page = project / "dvc_plots/index.html"
    text = page.read_text()
    assert not re.findall(r"<(?:script|link)[^>]*(?:src|href)=", text)
    assert {revision for revision in ("workspace", "HEAD") if f'"rev": "{revision}"' in text} == revisions
    with chromium() as browser:
        browser.get(page.as_uri())
        deadline = time.monotonic() + DRAWN_WITHIN_S
        while len(browser.find_elements("css selector", "svg.marks")) < 4:
            assert time.monotonic() < deadline, browser.get_log("browser")
            time.sleep(0.2)
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
        sent = [entry["message"] for entry in browser.get_log("performance") if "Network.requestWillBeSent" in entry["message"]]
        assert not [message for message in sent if re.search(r'"url":"https?://', message)]


def test_another_folder_than_the_root_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"\.dvc is missing in .*expected the project's root folder"):
        plots_page.main([])
