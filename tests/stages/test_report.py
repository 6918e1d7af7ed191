"""The figures of the report: curves, strips of photos, weights of loss terms."""

import base64
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from matplotlib.axes import Axes

from people.layouts import image_files
from stages import compare, report


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The axes of all figures that the test draws."""
    axes: list[Axes] = []
    embed_figure = report.embed_figure

    def record(figure) -> Markup:
        axes.extend(figure.axes)
        return embed_figure(figure)

    monkeypatch.setattr(report, "embed_figure", record)
    return axes


def image_of(markup: Markup) -> np.ndarray:
    png = base64.b64decode(str(markup).split("base64,")[1].split('"')[0])
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def test_a_curve_is_drawn_over_its_first_column_and_marked_columns_are_points(drawn: list[Axes]):
    table = pd.DataFrame({"place": [1, 2, 3], "distance": [0.1, 0.2, 0.4], "same person_marked": [np.nan, 0.2, np.nan]})
    assert image_of(report.curve(table)).size > 0
    line, points = drawn[0].lines
    assert (line.get_label(), line.get_linestyle(), line.get_marker()) == ("distance", "-", "None")
    assert (points.get_label(), points.get_linestyle(), points.get_marker()) == ("same person", "None", "o")
    assert np.isnan(np.asarray(points.get_ydata(), float)).tolist() == [True, False, True]
    assert drawn[0].get_xlabel() == "place"


def test_a_curve_whose_first_column_names_methods_has_a_line_for_each(drawn: list[Axes]):
    table = pd.DataFrame({"method": ["ours", "ours", "chance"], "recall": [0.0, 1.0, 1.0], "precision": [1.0, 0.5, 0.1]})
    report.curve(table)
    assert [line.get_label() for line in drawn[0].lines] == ["ours", "chance"]
    assert (drawn[0].get_xlabel(), drawn[0].get_ylabel()) == ("recall", "precision")


@pytest.mark.parametrize(("weights", "panels"), [([0.5, 0.5], 2), ([0.5, 0.7], 3)])
def test_weights_have_a_panel_of_their_own_where_they_change(
    tmp_path: Path, weights: list[float], panels: int, drawn: list[Axes]
):
    columns = {"epoch": [1, 2], "train/identity": [1.0, 0.5], "error/identity": [0.4, 0.2], "lambda/identity": weights}
    pd.DataFrame(columns).to_csv(tmp_path / "history.csv", index=False)
    report.training_curves(tmp_path / "history.csv")
    assert len(drawn) == panels
    if panels == 3:
        assert np.asarray(drawn[2].lines[0].get_ydata()).tolist() == weights


def photos(folder: Path, split: str) -> Path:
    """An index of photos: one person by three cameras, twice by the first, another by one; and a piece of junk."""
    rows = []
    for number, (subject, kind, camera) in enumerate(
        [("0002", "person", 3), ("0002", "person", 1), ("0002", "person", 1), ("0002", "person", 2), ("0007", "person", 1),
         ("junk-test", "junk", 5)]
    ):  # fmt: skip
        image = np.full((128, 64, 3), 40 * number, np.uint8)
        name = f"photo-{number}.jpg"
        (folder / name).write_bytes(image_files.encode_jpeg(image, 95))
        rows.append({
            "dataset": "market1501", "clip_id": name, "subject_id": subject, "split": split, "condition": kind, "session": 0,
            "frames": name, "frame_count": 1, "root": str(folder), "kind": kind, "camera": camera, "gender": "female",
            "age_years": np.nan,
        })  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "clips.csv", index=False)
    return folder


@pytest.mark.parametrize("split", ["test", "validation"])
def test_of_photos_one_by_each_camera_is_shown_and_a_strip_for_each_kind(tmp_path: Path, split: str):
    strips = report.frame_strips(photos(tmp_path, split))
    assert list(strips) == ["person 0002, by camera 1, 2, 3", "junk junk-test, by camera 5"]
    strip = image_of(strips["person 0002, by camera 1, 2, 3"])
    assert strip.shape == (128, 3 * 64, 3)
    levels = [int(strip[:, 64 * index + 20 : 64 * index + 40].mean().round()) for index in range(3)]
    assert np.allclose(levels, [40, 120, 0], atol=2)


def test_junk_is_not_counted_as_a_person(tmp_path: Path):
    counted = report.subjects(photos(tmp_path, "test"))
    assert counted[["split", "subjects", "female", "clips"]].to_numpy().tolist() == [["test", 2, 2, 6]]


def test_each_error_has_a_panel_with_the_variants_that_have_it_in_their_colours(tmp_path: Path, drawn: list[Axes]):
    rows = [("one", seed, epoch, 0.1 * epoch, np.nan) for seed in (1, 2) for epoch in (1, 2)]
    rows += [("all", seed, epoch, 0.2 * epoch, 0.3) for seed in (1, 2) for epoch in (1, 2)]
    curves = pd.DataFrame(rows, columns=["variant", "seed", "epoch", "error_identity", "error_age"])
    curves.to_csv(tmp_path / "curves.csv", index=False)
    compare.areas(curves).to_csv(tmp_path / "areas.csv", index=False)
    report.convergence(tmp_path)
    identity, age = drawn
    assert [line.get_label() for line in identity.lines] == ["one", "all"]
    assert [line.get_label() for line in age.lines] == ["all"]
    assert identity.lines[1].get_color() == age.lines[0].get_color()
    assert report.areas(tmp_path).to_dict("records") == [
        {"variant": "one", "identity": "0.1500 ± 0.0000", "age": "", "seeds": 2},
        {"variant": "all", "identity": "0.3000 ± 0.0000", "age": "0.3000 ± 0.0000", "seeds": 2},
    ]
