"""The page of a run's results: headline figures beside baselines, and links to reports."""

import json
from pathlib import Path

import pytest

from pipelines import artifacts, links

HEADLINE = [
    {"name": "rank1", "title": "Rank-1, normal walk", "value": 0.854, "low": 0.75, "high": 0.95, "baseline": 0.5,
     "baseline_title": "nearest neighbour", "unit": "%", "better": "higher"},
    {"name": "age", "title": "Age, mean error", "value": 9.64, "low": None, "high": None, "baseline": 9.2,
     "baseline_title": None, "unit": "years", "better": "lower"},
    {"name": "gender", "title": "Gender", "value": 0.6, "low": 0.4, "high": 0.8, "baseline": 0.5, "baseline_title": None,
     "unit": "%", "better": "higher"},
    {"name": "speed", "title": "Clips a second", "value": 1200.0, "low": None, "high": None, "baseline": None,
     "baseline_title": None, "unit": "", "better": "higher"},
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a report, and no servers."""
    monkeypatch.chdir(tmp_path)
    for name in (links.REPORTS_URL, links.DASHBOARD_URL, links.MLFLOW_URL):
        monkeypatch.delenv(name, raising=False)
    Path("data/report/dmt").mkdir(parents=True)
    Path("data/report/dmt/index.html").write_text("a report")
    return tmp_path


def test_figures_stand_beside_their_baselines_with_units_and_intervals(folder: Path):
    file = folder / "headline.json"
    file.write_text(json.dumps(HEADLINE))
    assert artifacts.headline_table(file)[2:] == [
        "| Rank-1, normal walk | **85.4 %** | 75.0 % to 95.0 % | 50.0 % | yes |",
        "| Age, mean error | **9.64 years** |  | 9.2 years | no |",
        "| Gender | **60.0 %** | 40.0 % to 80.0 % | 50.0 % | within the interval |",
        "| Clips a second | **1200** |  |  |  |",
        "",
        "Baselines:",
        "",
        "- Rank-1, normal walk: nearest neighbour",
    ]


def test_a_report_is_linked_on_its_server_or_named_by_its_path(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert links.report("reid") == links.report() == ""
    assert links.report("dmt") == f"report of dmt: `{folder / 'data/report/dmt/index.html'}` on the worker's machine"
    monkeypatch.setenv(links.REPORTS_URL, "http://127.0.0.1:8090")
    assert links.report("dmt") == "[report of dmt](http://127.0.0.1:8090/dmt/index.html)"
    Path("data/report/index.html").write_text("all")
    assert links.report() == "[all reports](http://127.0.0.1:8090/index.html)"
