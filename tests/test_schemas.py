"""Validation of an index: every fault is one row that names clip, column, rule, value and remedy."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from people import schemas


def index(**changes: dict[str, object]) -> pd.DataFrame:
    """Two clips each of three people, one a split; `changes` gives single clips other values."""
    rows = [
        {
            "dataset": "tumgaid",
            "clip_id": f"p00{person}/{sequence}",
            "subject_id": f"p00{person}",
            "split": split,
            "sequence": sequence,
            "condition": "n",
            "session": 0,
            "view_deg": 90.0,
            "gender": gender,
            "age_years": age,
            "frames": f"image/p00{person}/{sequence}",
            "frame_count": 40,
            "frame_rate_hz": 30.0,
            "height_px": 8,
            "width_px": 6,
            "root": "somewhere",
        }
        for person, split, gender, age in (
            (1, "train", "female", 30.0),
            (2, "validation", "male", 41.5),
            (3, "test", None, np.nan),
        )
        for sequence in ("n01", "n02")
    ]
    table = pd.DataFrame(rows).astype({"gender": "str"})
    for clip_id, values in changes.items():
        for column, value in values.items():
            table.loc[table["clip_id"] == clip_id, column] = value
    return table


def faults_of(clips: pd.DataFrame, *rules: schemas.Rule) -> list[tuple[str, str, str, str]]:
    """The faults as (clip, column, rule, value); every one has a remedy, and no faulty clip is among the good ones."""
    good, quarantine = schemas.check(clips, *rules)
    assert list(quarantine.columns) == ["clip_id", "column", "rule", "value", "remedy"]
    assert quarantine["remedy"].str.contains("ingest again").all()
    assert set(good["clip_id"]).isdisjoint(quarantine["clip_id"])
    assert set(good["clip_id"]) | set(quarantine["clip_id"]) == set(clips["clip_id"])
    return [(row["clip_id"], row["column"], row["rule"], row["value"]) for row in quarantine.to_dict("records")]


def test_an_index_with_unknown_gender_age_and_view_is_good():
    assert faults_of(index(**{"p001/n01": {"view_deg": np.nan}})) == []


def test_a_gender_of_x_an_age_below_zero_and_a_split_of_another_name_are_one_fault_each():
    faults = faults_of(index(**{"p001/n01": {"gender": "x"}, "p002/n02": {"age_years": -3.0}, "p003/n01": {"split": "probe"}}))
    rows = {(clip, column): value for clip, column, _, value in faults}
    assert rows[("p001/n01", "gender")] == "x"
    assert rows[("p002/n02", "age_years")] == "-3.0"
    assert rows[("p003/n01", "split")] == "probe"


def test_a_fault_of_two_rules_is_listed_once():
    clips = index(**{clip: {"age_years": -3.0} for clip in ("p002/n01", "p002/n02")})
    faults = faults_of(clips, schemas.ages_within(1, 110))
    assert [(clip, column, value) for clip, column, _, value in faults] == [
        ("p002/n01", "age_years", "-3.0"),
        ("p002/n02", "age_years", "-3.0"),
    ]


def test_ages_are_held_to_the_given_range_with_both_ends():
    clips = index(**{clip: {"age_years": 110.0} for clip in ("p001/n01", "p001/n02")})
    assert faults_of(clips, schemas.ages_within(1, 110)) == []
    assert faults_of(clips, schemas.ages_within(1, 109)) == [
        ("p001/n01", "age_years", "in_range(1, 109)", "110.0"),
        ("p001/n02", "age_years", "in_range(1, 109)", "110.0"),
    ]


def test_a_subject_in_two_splits_is_quarantined_with_both_named_and_others_stay():
    clips = index()
    again = clips[clips["subject_id"] == "p003"].assign(split="train")
    assert faults_of(pd.concat([clips, again])) == [
        ("p003/n01", "split", "a subject has one split", "test, train"),
        ("p003/n02", "split", "a subject has one split", "test, train"),
    ]


def test_a_subject_has_one_gender_and_one_age():
    faults = faults_of(index(**{"p001/n01": {"gender": "male"}, "p002/n02": {"age_years": 42.0}}))
    assert faults == [
        ("p001/n01", "gender", "a subject has one gender", "female, male"),
        ("p001/n02", "gender", "a subject has one gender", "female, male"),
        ("p002/n01", "age_years", "a subject has one age_years", "41.5, 42.0"),
        ("p002/n02", "age_years", "a subject has one age_years", "41.5, 42.0"),
    ]


def test_a_clip_that_is_listed_twice_is_quarantined():
    clips = index()
    assert faults_of(pd.concat([clips, clips.head(1)])) == [("p001/n01", "clip_id", "a clip is listed once", "p001/n01")]


def test_too_few_frames_and_none_at_all_are_named_with_their_number():
    faults = faults_of(index(**{"p001/n01": {"frame_count": 25}, "p001/n02": {"frame_count": 0}}), schemas.at_least_frames(26))
    assert faults == [
        ("p001/n01", "frame_count", "at least 26 frames", "25"),
        ("p001/n02", "frame_count", "greater_than_or_equal_to(1)", "0"),
    ]


def box_frames(root: Path, clip_frames: str) -> Iterator[np.ndarray]:
    """A disk on which p001/n02 is damaged, p002/n01 is short and p003/n01 changes its size."""
    for number in range(40):
        if clip_frames.endswith("p001/n02") and number == 7:
            raise ValueError(f"{root / clip_frames}/0008.jpg: expected an image")
        if clip_frames.endswith("p002/n01") and number == 30:
            return
        yield np.zeros((9 if clip_frames.endswith("p003/n01") and number == 3 else 8, 6, 3), np.uint8)


def test_every_frame_of_every_clip_is_decoded_and_compared_with_the_index():
    calls = []
    faults = faults_of(index(), schemas.decodable(box_frames, done=lambda: calls.append(1)))
    rule = "every frame is there and decodes"
    assert faults == [
        ("p001/n02", "frames", rule, "somewhere/image/p001/n02/0008.jpg: expected an image"),
        ("p002/n01", "frames", rule, "image/p002/n01 has 30 frames, expected 40"),
        ("p003/n01", "frames", rule, "frame 4 of image/p003/n01 is (9, 6) px, expected (8, 6)"),
    ]
    assert len(calls) == 6


def test_later_rules_see_only_good_clips():
    decoded = []

    def frames(root: Path, clip_frames: str) -> Iterator[np.ndarray]:
        decoded.append(clip_frames)
        return box_frames(root, "")

    faults_of(index(**{"p001/n01": {"frame_count": 25}}), schemas.at_least_frames(26), schemas.decodable(frames))
    assert "image/p001/n01" not in decoded
    assert len(decoded) == 5


def test_a_table_that_is_no_index_or_empty_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match=r"the table is not an index of clips: .*age_years"):
        schemas.check(index().drop(columns="age_years"))
    with pytest.raises(ValueError, match=r"the table is not an index of clips: .*frame_count"):
        schemas.check(index().astype({"frame_count": "str"}))
    with pytest.raises(ValueError, match="at least one clip, got an empty one"):
        schemas.check(index().head(0))
    index().head(0).to_csv(tmp_path / "clips.csv", index=False)
    with pytest.raises(ValueError, match=r"clips\.csv has no row"):
        schemas.load(tmp_path / "clips.csv")
    with pytest.raises(ValueError, match="run the stage that writes it"):
        schemas.load(tmp_path / "nowhere.csv")


def test_an_index_survives_its_csv_file_even_with_empty_columns(tmp_path: Path):
    clips = index().assign(gender=pd.Series([None] * 6, dtype="str"), view_deg=np.nan, age_years=np.nan)
    clips.to_csv(tmp_path / "clips.csv", index=False)
    pd.testing.assert_frame_equal(schemas.load(tmp_path / "clips.csv"), clips)
    assert faults_of(schemas.load(tmp_path / "clips.csv")) == []


def test_the_summary_counts_clips_subjects_and_faults():
    clips = index(**{"p001/n01": {"frame_count": 25}, "p001/n02": {"frame_count": 25}})
    good, quarantine = schemas.check(clips, schemas.at_least_frames(26))
    assert schemas.summary(clips, good, quarantine) == {
        "clips": 6,
        "valid_clips": 4,
        "bad_share": 2 / 6,
        "subjects": {"test": 1, "validation": 1},
        "faults": {"at least 26 frames": 2},
    }


def photos(**changes: dict[str, object]) -> pd.DataFrame:
    """The same six clips as photos of one frame, each of its subject's attributes."""
    clips = index().assign(kind="person", role="train", camera=1, frame_count=1, frame_rate_hz=np.nan, hat="no", age="adult")
    for clip_id, values in changes.items():
        for column, value in values.items():
            clips.loc[clips["clip_id"] == clip_id, column] = value
    return clips


def test_photos_have_no_frame_rate_and_attributes_that_are_classes_or_unknown():
    unknown = {"hat": None, "age": None}
    assert faults_of(photos(**{"p003/n01": {"kind": "distractor", **unknown}, "p003/n02": {"kind": "junk", **unknown}})) == []
    faults = faults_of(photos(**{"p001/n01": {"kind": "dog", "role": "none", "camera": 0}}))
    assert [(column, value) for _, column, _, value in faults] == [("kind", "dog"), ("role", "none"), ("camera", "0")]
    changes = {clip: {"hat": "maybe"} for clip in ("p002/n01", "p002/n02")}
    assert [fault[:2] for fault in faults_of(photos(**changes))] == [("p002/n01", "hat"), ("p002/n02", "hat")]


def test_a_person_has_one_class_of_each_attribute_in_all_photos():
    assert faults_of(photos(**{"p001/n01": {"hat": "yes"}})) == [
        ("p001/n01", "hat", "a subject has one hat", "no, yes"),
        ("p001/n02", "hat", "a subject has one hat", "no, yes"),
    ]


def test_an_index_of_photos_survives_its_csv_file_even_where_no_attribute_is_known(tmp_path: Path):
    clips = photos().assign(hat=pd.Series([None] * 6, dtype="str"), subject_id="0000", camera=3)
    clips.to_csv(tmp_path / "clips.csv", index=False)
    pd.testing.assert_frame_equal(schemas.load(tmp_path / "clips.csv"), clips)


def read_people(root: Path, location: str) -> list[str]:
    """An image's labels, of which those of p002/n01 are faulty and those of p003/n01 are not there."""
    if location == "labels.json!p002/n01":
        raise ValueError(f"{root}/{location}: annotation 7 has no box")
    return [location]


def images() -> pd.DataFrame:
    """The same six clips as images with labels."""
    clips = photos().drop(columns=["kind", "role", "camera"])
    people = [f"labels.json!{clip}" if clip != "p003/n01" else "" for clip in clips["clip_id"]]
    return clips.assign(people=people, person_count=2, license="")


def test_an_image_whose_labels_cannot_be_read_is_a_fault():
    calls: list[int] = []
    with ThreadPoolExecutor(2) as executor:
        for rule in (schemas.labelled(read_people), schemas.labelled(read_people, executor, lambda: calls.append(1))):
            faults = faults_of(images(), rule)
            assert [(clip, column, rule) for clip, column, rule, _ in faults] == [
                ("p002/n01", "people", "every annotation can be read"),
                ("p003/n01", "people", "every annotation can be read"),
            ]
            assert faults[0][3] == "somewhere/labels.json!p002/n01: annotation 7 has no box"
            assert "no annotations" in faults[1][3]
    assert len(calls) == 6
    _, quarantine = schemas.check(images(), schemas.labelled(read_people))
    assert "correct the image's annotations" in quarantine["remedy"][0]


def test_an_index_of_images_survives_its_csv_file_without_labels_and_licences(tmp_path: Path):
    clips = images().assign(people="", person_count=0)
    clips.to_csv(tmp_path / "clips.csv", index=False)
    pd.testing.assert_frame_equal(schemas.load(tmp_path / "clips.csv"), clips)
    assert [fault[1] for fault in faults_of(images().assign(person_count=-1))] == ["person_count"] * 6
