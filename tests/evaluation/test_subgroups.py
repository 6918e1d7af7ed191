"""Subgroups: numbers by hand, a partition whose weighted mean is the whole, and nothing where no label is known."""

import numpy as np
import pandas as pd
import pytest

from people.age_bands import AGE_BANDS, band_name
from people.evaluation import subgroups
from people.evaluation.crossview import NOT_COMPARED, NOT_IN_GALLERY, CrossViewRanks
from people.evaluation.results import Results
from people.records import ATTRIBUTES

RESAMPLING = {"resamples": 200, "confidence": 0.9, "seed": 1}
# two clips a person in the index, as many probes as below
PEOPLE = pd.DataFrame(
    {
        "subject_id": ["a", "b", "c", "d"],
        "gender": ["female", "female", "male", None],
        "age_years": [17.9, 18.0, 61.0, np.nan],
    }
)
CLIPS = pd.concat([PEOPLE, PEOPLE], ignore_index=True)
SUBJECTS = np.array(["a", "a", "a", "b", "c", "c", "d"])
IS_RIGHT = np.array([True, True, False, False, True, True, False])


def table(**changes: object) -> pd.DataFrame:
    arguments = {"measure": "rank-1", "subjects": SUBJECTS, "values": IS_RIGHT, "clips": CLIPS, "resampling": RESAMPLING}
    return subgroups.by_subgroup(**arguments | changes)


def test_people_recordings_and_values_are_those_counted_by_hand():
    counted = table()[["group", "subgroup", "people", "recordings", "value"]].to_numpy().tolist()
    assert counted == [
        ["everybody", "everybody", 4, 7, 4 / 7],
        ["gender", "female", 2, 4, 2 / 4],
        ["gender", "male", 1, 2, 1.0],
        ["gender", "unknown", 1, 1, 0.0],
        ["age band", "under 18", 1, 3, 2 / 3],
        ["age band", "18 to 29", 1, 1, 0.0],
        ["age band", "60 and over", 1, 2, 1.0],
        ["age band", "unknown", 1, 1, 0.0],
    ]


def test_the_mean_of_a_partition_weighted_by_recordings_is_everybody_s_value():
    draw = np.random.default_rng(4)
    subjects, errors_years = draw.choice(list("abcd"), 50), draw.exponential(size=50)
    rows = table(subjects=subjects, values=errors_years)
    everybody = rows["value"].iloc[0]
    assert everybody == pytest.approx(errors_years.mean())
    for group in ("gender", "age band"):
        part = rows[rows["group"] == group]
        assert part["recordings"].sum() == 50
        assert np.average(part["value"], weights=part["recordings"]) == pytest.approx(everybody)


def test_the_order_of_probes_and_of_the_index_does_not_matter():
    order = np.random.default_rng(2).permutation(len(SUBJECTS))
    shuffled = table(subjects=SUBJECTS[order], values=IS_RIGHT[order], clips=CLIPS[::-1].reset_index(drop=True))
    pd.testing.assert_frame_equal(table(), shuffled)


def test_intervals_draw_people_and_those_of_one_person_are_empty():
    rows = table().set_index(["group", "subgroup"])
    # of a (2 of 3 right) and b (0 of 1): both of one, or one of each
    low, high = rows.loc[("gender", "female"), ["low", "high"]]
    assert (low, high) == (0.0, pytest.approx(2 / 3))
    assert rows.loc[rows["people"] == 1, ["low", "high"]].isna().to_numpy().all()
    assert rows.loc[rows["people"] > 1, ["low", "high"]].notna().to_numpy().all()


def test_the_interval_narrows_with_the_number_of_people_not_of_their_recordings():
    def width(people: int, recordings: int) -> float:
        names = np.array([f"p{number:03d}" for number in range(people)])
        clips = pd.DataFrame({"subject_id": names, "gender": "male"})
        rows = table(subjects=names.repeat(recordings), values=(np.arange(people) % 2).repeat(recordings), clips=clips)
        return float(rows["high"].iloc[-1] - rows["low"].iloc[-1])

    assert width(10, 1) == pytest.approx(width(10, 50))
    assert width(160, 1) < 0.5 * width(10, 1)


def test_without_a_known_label_a_kind_is_left_out_and_without_any_there_is_no_table():
    unaged = CLIPS.assign(age_years=np.nan)
    assert table(clips=unaged)["group"].unique().tolist() == ["everybody", "gender"]
    results = Results(metrics={})
    for clips in (unaged.assign(gender=None), CLIPS[["subject_id"]]):
        subgroups.record(results, "rank-1", SUBJECTS, IS_RIGHT, clips, RESAMPLING)
        assert results.tables == {}
    assert table(subjects=SUBJECTS[:0], values=IS_RIGHT[:0]).empty


def test_measures_are_in_one_table():
    results = Results(metrics={})
    for measure, values in (("rank-1", IS_RIGHT), ("age error in years", np.arange(7.0))):
        subgroups.record(results, measure, SUBJECTS, values, CLIPS, RESAMPLING)
    written = results.tables[subgroups.TABLE]
    assert written["measure"].tolist() == ["rank-1"] * 8 + ["age error in years"] * 8
    assert written["value"].iloc[8] == pytest.approx(3.0)
    assert not results.metrics


def test_age_classes_stand_in_for_years_and_are_in_their_own_order():
    photos = pd.DataFrame({"subject_id": list("abcd"), "age": ["old", "young", "adult", None], "age_years": np.nan})
    rows = table(clips=photos)
    assert rows["subgroup"].tolist() == ["everybody", "young", "adult", "old", "unknown"]
    assert subgroups.age_bands(photos.assign(age_years=[70.0, np.nan, np.nan, 3.0])).tolist() == [
        "60 and over", "young", "adult", "under 18",
    ]  # fmt: skip


def test_every_age_belongs_to_one_band():
    ages_years = np.array([0.0, 17.99, 18.0, 29.5, 30.0, 44.0, 45.0, 60.0, 130.0])
    names = subgroups.age_bands(pd.DataFrame({"age_years": ages_years}))
    assert names.tolist() == [
        "under 18", "under 18", "18 to 29", "18 to 29", "30 to 44", "30 to 44", "45 to 59", "60 and over", "60 and over"
    ]  # fmt: skip
    assert not {band_name(band) for band in AGE_BANDS} & set(ATTRIBUTES["age"])


def test_across_views_a_probe_is_its_mean_over_galleries_and_one_that_is_compared_with_nobody_is_left_out():
    rank = np.array([[1, 3], [NOT_COMPARED, 1], [2, NOT_IN_GALLERY], [NOT_IN_GALLERY, NOT_COMPARED]])
    ranks = CrossViewRanks(
        np.array(["a", "b", "c", "d"]), np.array([0.0, 0.0, 90.0, 90.0]), np.array([0.0, 90.0]), rank, np.ones((4, 2))
    )
    results = Results(metrics={})
    subgroups.record_across_views(results, "rank-1", [ranks, ranks], CLIPS, RESAMPLING)
    rows = results.tables[subgroups.TABLE].set_index(["group", "subgroup"])
    assert rows.loc[("everybody", "everybody"), ["recordings", "value"]].tolist() == [6, pytest.approx(0.5)]
    assert rows.loc[("gender", "female"), ["recordings", "value"]].tolist() == [4, pytest.approx(0.75)]
    assert ("gender", "unknown") not in rows.index


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="the values of 'rank-1': 1 of 7 are not finite"):
        table(values=np.where(np.arange(7) == 3, np.nan, 1.0))
