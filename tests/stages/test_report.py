"""The pages of the report without a browser: figures, tables, words, the front page, and the same bytes every time."""

import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import report_workspace
from conftest import ROOT
from report_workspace import DATASET, HEADLINE, SYSTEM

from stages import report
from stages.reporting import curves, facts, front_page, headline, images, people, results, search, svg, system_page, tables
from stages.shared.project import params


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(report_workspace.write(tmp_path))
    return tmp_path


@pytest.fixture
def page(workspace: Path) -> system_page.Page:
    return system_page.build(SYSTEM, params())


def write(page: system_page.Page, folder: Path = Path("data/report", SYSTEM)) -> Path:
    folder.mkdir(parents=True)
    system_page.write(page, folder)
    return folder


def texts(svg_markup: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg_markup)


def figure(**changes: object) -> headline.Figure:
    return headline.parse([HEADLINE[0] | changes], "a test")[0]


# --- main figures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "standing", "verdict"),
    [
        ({}, "better", "above the baseline"),
        ({"baseline": 0.97}, "worse", "below the baseline"),
        ({"baseline": 0.8}, "same", "baseline within its interval"),
        ({"baseline": 0.95}, "same", "baseline within its interval"),
        ({"baseline": None}, "none", "no baseline"),
        ({"low": None, "high": None}, "better", "above the baseline (no interval)"),
        ({"low": None, "high": None, "baseline": 0.854}, "same", "equal to the baseline"),
        ({"better": "lower"}, "worse", "above the baseline: worse"),
        ({"better": "lower", "baseline": 0.99}, "better", "below the baseline: better"),
    ],
)
def test_a_verdict_holds_the_interval_against_the_baseline(changes: dict[str, object], standing: str, verdict: str):
    assert (figure(**changes).standing, figure(**changes).verdict) == (standing, verdict)


def test_shares_are_shown_in_percent_and_years_as_they_are():
    share, years = headline.parse(HEADLINE, "a test")
    assert (share.shown, share.shown_interval, share.shown_baseline) == ("85.4\xa0%", "75.0 – 95.0", "50.0\xa0%")
    assert (years.shown, years.shown_interval, years.shown_baseline) == ("9.60\xa0years", "8.00 – 13.50", "13.20\xa0years")


@pytest.mark.parametrize(
    "broken", [[], {}, [{"name": "map"}], [HEADLINE[0] | {"value": float("nan")}], [HEADLINE[0] | {"better": 1}]]
)
def test_main_figures_of_another_form_are_refused(broken: object):
    with pytest.raises(ValueError, match="run dvc repro evaluate"):
        headline.parse(broken, "headline.json")  # type: ignore[arg-type]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_rounds_drops_empty_columns_and_heads_rows_and_columns():
    frame = pd.DataFrame(
        {
            "method": ["a<b", "c"],
            "source": ["ours", "paper"],
            "share": [0.85412345678, 1.0],
            "none": [np.nan] * 2,
            "count": [7, 12000],
        }
    )
    html = str(tables.table(frame, "Of & all"))
    assert 'role="region" tabindex="0" aria-label="Of &amp; all"' in html
    assert html.count('<th scope="col"') == 4
    assert re.findall(r'<th scope="row"[^>]*>([^<]*)<', html) == ["a&lt;b", "c"]
    assert re.findall(r'class="num"[^>]*>([^<]*)</t[dh]>', html) == ["Share", "Count", "0.85", "7", "1.00", "12,000"]
    assert html.count('class="ours"') == 1


@pytest.mark.parametrize(("rows", "folded"), [(20, False), (21, True)])
def test_a_table_of_many_rows_is_folded_away(rows: int, folded: bool):
    html = str(tables.table(pd.DataFrame({"row": range(rows)}), "Rows"))
    assert html.startswith("<details><summary>Rows (21 rows)</summary>") == folded


def test_intervals_are_one_column_in_the_unit_of_the_measures():
    frame = report_workspace.results().tables["retrieval_intervals"]
    shown, unit = results.with_intervals(frame)
    assert unit == "%"
    assert shown.columns.tolist() == ["measure", "value", "interval", "baseline", "queries"]
    assert shown.iloc[0].tolist() == ["mAP, official", "85.4", "75.0 – 95.0", "50.0", 12]
    assert shown.iloc[1].tolist() == ["rank-1, official", "50.0", "", "25.0", 12]
    _, unit = results.with_intervals(frame.assign(measure="mae_years.N", value=9.5))
    assert unit == "years"


def test_a_variant_has_the_mean_and_the_spread_over_seeds(workspace: Path):
    rows = curves.variants(workspace / "data/compare" / SYSTEM).set_index("variant")
    assert rows.loc["full system", "identity: last epoch"] == "0.182 ± 0.007"
    assert rows.columns.tolist() == ["identity: area", "identity: last epoch"]


# --- figures ----------------------------------------------------------------------------------------------------------


def test_a_line_has_its_name_at_its_end_in_its_colour_and_epochs_are_whole_numbers():
    epochs = np.arange(1.0, 4.0)
    lines = [svg.Line("one", epochs, 1 / epochs, 0), svg.Line("two", epochs, 1 / epochs + 0.001, 1)]
    drawn = str(svg.panel(lines, x="epoch", y="error", alt="Two lines", epochs=True))
    assert drawn.startswith('<svg role="img" aria-label="Two lines"')
    assert texts(drawn)[:3] == ["1", "2", "3"]
    for number, name in enumerate(("one", "two")):
        (label,) = re.findall(rf"<text[^>]*>{name}</text>", drawn)
        assert f"fill: var(--series-{number})" in label
    assert not re.findall(r": #[0-9a-f]{6}|font-family", drawn)


def test_names_at_the_ends_of_lines_do_not_overlap_and_stay_inside():
    heights = svg.spread([0.1, 0.9, 0.95, 1.0, 1.0], 0.1)
    assert heights == pytest.approx([0.1, 0.7, 0.8, 0.9, 1.0])
    assert svg.spread([0.2, 0.6], 0.1) == pytest.approx([0.2, 0.6])


def test_a_logarithmic_axis_has_plain_numbers(workspace: Path):
    trials = pd.read_csv(f"data/studies/{SYSTEM}/trials.csv")
    with svg.style():
        drawn = str(search.slice_of(trials, "lambda.attributes"))
    numbers = [text for text in texts(drawn) if re.fullmatch(r"[0-9.]+", text)]
    assert {"0.1", "1", "10"} <= set(numbers)
    assert "10^" not in drawn
    assert "×" not in drawn


def test_losses_are_terms_alone_and_a_weight_that_changes_is_drawn(workspace: Path):
    history = pd.read_csv(f"data/models/{SYSTEM}/history.csv")
    groups = curves.training(history)
    assert [len(panels) for panels in groups.values()] == [1, 1, 1]
    assert "Total" not in str(groups)
    assert len(curves.training(history.assign(**{"lambda/identity": 0.5}))) == 2
    (errors, *_) = groups.values()
    assert {"validation", "training"} <= set(texts(str(errors[0])))


def test_a_variant_has_one_colour_in_every_figure(workspace: Path):
    points = pd.read_csv(f"data/compare/{SYSTEM}/curves.csv")
    styles = curves.styles({"plain_sum": {}, "eq_3": {}})
    assert styles == {"all": 0, "plain_sum": 1, "eq_3": 2}
    twice = points.assign(error_attributes=points["error_identity"])
    for drawn in map(str, curves.comparison(twice, styles)):
        assert re.findall(r"fill: var\(--series-([01])\)[^>]*>(plain sum|full system)<", drawn) == [
            ("0", "full system"),
            ("1", "plain sum"),
        ]


def test_curves_of_many_sets_have_a_panel_for_each():
    names = [f"{probes}, {method}" for probes in ("WS", "CB", "CL", "ALL") for method in ("GaitNet", "gei")]
    points = pd.DataFrame({"method": np.repeat(names, 2), "x": [0.0, 1.0] * 8, "y": [0.0, 1.0] * 8})
    assert len(curves.evaluated("roc", points)) == 4
    assert len(curves.evaluated("roc", points[points["method"] == names[0]])) == 1


def test_an_animation_has_a_still_for_those_who_want_no_motion(workspace: Path):
    image = images.read(Path(f"data/metrics/{SYSTEM}/animations/walks.webp"))
    html = str(images.markup(image, "A walk"))
    assert 'media="(prefers-reduced-motion: reduce), print"' in html
    assert 'alt="A walk"' in html
    small = images.thumbnail(image)
    assert len(images.animation_frames(small.content)) == 5
    with pytest.raises(ValueError, match="a text"):
        images.markup(image, "")


# --- people -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["test", "validation"])
def test_of_photos_one_by_each_camera_is_shown_and_a_strip_for_each_kind(tmp_path: Path, split: str):
    strips = people.strips(people.clip_table(report_workspace.photos(tmp_path, split)))
    assert list(strips) == ["One of the test people, by cameras 1, 2, 3", "False detections (junk), by camera 5"]
    widths = [int(width) for width in re.findall(r'width="([0-9]+)"', "".join(map(str, strips.values())))]
    assert widths == [3 * (3 * 64 + 2 * 3), 10 * 64]


def test_junk_is_not_counted_as_a_person(tmp_path: Path):
    counted = people.splits(people.clip_table(report_workspace.photos(tmp_path)))
    assert counted[["split", "people", "women", "recordings"]].to_numpy().tolist() == [["test", 2, 2, 6]]


# --- pages ------------------------------------------------------------------------------------------------------------


def test_the_page_answers_first_and_has_every_section(page: system_page.Page):
    html = page.html
    assert html.index("Who is it?") < html.index("above the baseline") < html.index('id="data"')
    for name in ("data", "results", "subgroups", "answers", "learning", "variants", "search", "registry", "again", "figures"):
        assert f'<h2 id="{name}">' in html
        assert f'<li><a href="#{name}">' in html
    assert "Small sizes" not in html
    assert len(set(re.findall(r' id="([^"]+)"', html))) == len(re.findall(r' id="([^"]+)"', html))


def test_no_number_has_more_digits_than_anybody_reads(page: system_page.Page):
    seen = re.sub(r"<svg.*?</svg>|<style.*?</style>|<script.*?</script>|<[^>]*>", " ", page.html, flags=re.DOTALL)
    assert not re.findall(r"\d\.\d{6,}", seen)
    assert "0.8541" in seen  # of every metric


def test_the_same_inputs_give_the_same_bytes(workspace: Path, page: system_page.Page):
    first, second = write(page, workspace / "one"), write(system_page.build(SYSTEM, params()), workspace / "two")
    digests = [
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())] for folder in (first, second)
    ]
    assert digests[0] == digests[1]
    assert [path.name for path in sorted(first.iterdir())] == ["index.html", "picture.webp", "still.webp", "summary.json"]
    assert str(workspace) not in page.html


def test_a_run_of_small_sizes_says_so(workspace: Path):
    values = params()
    assert not facts.is_small(values, SYSTEM, DATASET)
    assert not facts.is_small(values, "another", DATASET)
    sys.argv = ["configure", "--profile", "small"]
    from stages import configure

    configure.main()
    assert facts.is_small(params(), SYSTEM, DATASET)
    assert "Small sizes." in system_page.build(SYSTEM, params()).html
    sys.argv = ["configure", "--set", f"search.{SYSTEM}.epochs=3"]
    configure.main()
    assert not facts.is_small(params(), SYSTEM, DATASET)


@pytest.mark.parametrize("missing", ["headline.json", "all.json"])
def test_what_evaluate_has_not_written_is_named(workspace: Path, missing: str):
    Path(f"data/metrics/{SYSTEM}/{missing}").unlink()
    with pytest.raises(ValueError, match=rf"{missing} is not there.*run dvc repro evaluate"):
        system_page.build(SYSTEM, params())


def test_hashes_of_outputs_are_those_of_dvc_lock(workspace: Path):
    assert facts.hashes(SYSTEM, DATASET).empty
    lock = {"stages": {f"train@{SYSTEM}": {"outs": [{"path": f"data/models/{SYSTEM}", "hash": "md5", "md5": "abc.dir"}]}}}
    Path("dvc.lock").write_text(json.dumps(lock))
    assert facts.hashes(SYSTEM, DATASET).to_numpy().tolist() == [[f"train@{SYSTEM}", f"data/models/{SYSTEM}", "md5 abc.dir"]]


def test_the_front_page_has_every_system_also_those_that_have_not_run(workspace: Path, page: system_page.Page):
    write(page)
    html = front_page.write(params("systems")).read_text()
    for system in params("systems"):
        assert html.count(f"dvc repro report@{system}") == (system != SYSTEM)
    assert html.count("not yet run") == len(params("systems")) - 1
    assert f'href="{SYSTEM}/index.html#results"' in html
    assert "85.4\xa0%" in html
    assert "no git repository" in html or re.search(r"<code>[0-9a-f]{10}", html)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', html)


def test_a_front_page_without_any_report_says_how_to_make_them(workspace: Path):
    assert "No system has a report yet" in front_page.write(params("systems")).read_text()


def test_the_command_makes_the_front_page_and_names_it_first(workspace: Path, page: system_page.Page, monkeypatch, capsys):
    write(page)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address) or True))
    index = workspace / "data/report/index.html"
    for option in ("--index", "--open", "--where"):
        monkeypatch.setattr(sys, "argv", ["report", option])
        report.main()
        assert str(index) in capsys.readouterr().out.splitlines()[0]
        assert index.is_file()
    assert opened == [index.as_uri()]


def test_a_page_that_is_too_large_is_refused(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stages.reporting.templates.MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="expected less than 1000"):
        front_page.write(params("systems"))


def test_colours_of_text_reach_the_contrast_of_wcag_aa_in_both_themes():
    style = (ROOT / "stages/templates/style.css").read_text()
    light, dark = (
        dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    readable = ["text", "muted", "accent", *(f"series-{number}" for number in range(len(svg.SERIES)))]
    for theme in (light, dark):
        assert set(light) == set(theme)
        for name in readable:
            assert min(contrast(theme[name], theme[ground]) for ground in ("page", "surface")) >= 4.5, (name, theme[name])


def contrast(first: str, second: str) -> float:
    """The ratio of WCAG 2.2 between two colours."""

    def luminance(colour: str) -> float:
        shares = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
        return float(np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)
