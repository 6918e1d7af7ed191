"""Market-1501: both editions' labels and names, people rendered into the official layout, splits, protocols."""

import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import scipy.io

from people import schemas
from people.datasets import market1501
from people.datasets.market1501 import labels, pedestrians
from people.layouts import image_files
from people.records import ATTRIBUTES, Take
from people.synth.motion import parametric
from people.synth.render import render

DRAW = partial(render, size_hw=(96, 80))
PLAN = {
    "subjects": {"train": 3, "validation": 2, "test": 3},
    "cameras": 3,
    "photos_per_camera": [2, 3],
    "frames_per_sequence": 11,
    "distractors": 3,
    "junk": 10,
}
APPEARANCE = {name: classes[0] for name, classes in ATTRIBUTES.items()}


@pytest.fixture(scope="module")
def takes() -> list[Take]:
    motions = parametric.motions(8, walks=7, frames=11, frame_rate_hz=25.0, seed=3)
    return market1501.plan(motions, **PLAN, seed=3)


@pytest.fixture(scope="module")
def written(takes: list[Take], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market") / "rendered"
    market1501.write(folder, takes, DRAW, jpeg_quality=92)
    return folder


def image(extension: str = ".jpg", shape: tuple[int, ...] = (8, 4, 3), value: int = 90) -> bytes:
    return cv2.imencode(extension, np.full(shape, value, np.uint8))[1].tobytes()


def label_table(*identities: str, **changes: str) -> pd.DataFrame:
    rows = [{**APPEARANCE, **changes}] * len(identities)
    return pd.DataFrame(rows, index=list(identities), columns=list(ATTRIBUTES))


def official(
    root: Path, train: Sequence[str] = (), test: Sequence[str] = (), query: Sequence[str] = (), has_labels: bool = True
) -> Path:
    """An official archive with photos of these names, and labels of all their identities."""
    names = {"bounding_box_train": train, "bounding_box_test": test, "query": query}
    for folder, photos in names.items():
        (root / folder).mkdir(parents=True)
        for name in photos:
            (root / folder / name).write_bytes(image())
    identities = [sorted({name[:4] for name in photos if name[:4].isdigit()} - {"0000"}) for photos in (train, [*test, *query])]
    if has_labels:
        labels.write_mat(root / "market_attribute.mat", label_table(*identities[0]), label_table(*identities[1]))
    return root


# --- labels and names of real people ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def course(real_data: Path) -> Path:
    return real_data / "market-attributes"


def test_the_course_edition_has_225_validation_and_526_training_people_with_4188_and_8801_photos(course: Path):
    labels = market1501.read_labels(course)
    names = (course / "image-names.txt").read_text().split()
    photos = Counter(labels.loc[market1501.parse_name(name).identity, "split"] for name in names)
    assert labels["split"].value_counts().to_dict() == {"train": 526, "validation": 225}
    assert (labels["split"].iloc[:225] == "validation").all()
    assert photos == {"train": 8801, "validation": 4188}
    assert {market1501.parse_name(name).camera for name in names} == {1, 2, 3, 4, 5, 6}


def test_the_most_frequent_classes_of_the_validation_photos_have_the_counted_frequencies(course: Path):
    labels = market1501.read_labels(course)
    names = (course / "image-names.txt").read_text().split()
    photos = labels.loc[[market1501.parse_name(name).identity for name in names]]
    photos = photos[photos["split"] == "validation"]
    frequent = {name: round(100 * photos[name].value_counts(normalize=True).iloc[0], 2) for name in ATTRIBUTES}
    assert frequent == {
        "age": 82.86, "backpack": 73.57, "bag": 78.92, "handbag": 90.38, "clothes": 84.60, "down": 60.98, "up": 93.91,
        "hair": 62.15, "hat": 96.35, "gender": 54.75, "upper_colour": 31.64, "lower_colour": 37.42,
    }  # fmt: skip


def test_72_people_have_another_upper_and_38_another_lower_colour(course: Path):
    labels = market1501.read_labels(course)
    assert (labels["upper_colour"] == "other").sum() == 72
    assert (labels["lower_colour"] == "other").sum() == 38
    assert labels["age"].value_counts().to_dict() == {"teenager": 597, "adult": 139, "old": 8, "young": 7}


def test_the_27_columns_are_the_codes_of_the_twelve_attributes(course: Path):
    columns = pd.read_csv(course / "annotations_train.csv").drop(columns="id")
    codes = labels.codes(market1501.read_labels(course)[list(ATTRIBUTES)])
    np.testing.assert_array_equal(codes[list(columns)].to_numpy(), columns.to_numpy())


# --- labels ----------------------------------------------------------------------------------------------------------


def test_labels_are_read_by_name_in_any_order_of_the_fields(tmp_path: Path):
    table = label_table("0003", "0007", upper_colour="red", age="old")
    labels.write_mat(tmp_path / "labels.mat", table, table)
    struct = scipy.io.loadmat(tmp_path / "labels.mat", simplify_cells=True)["market_attribute"]
    struct["test"] = dict(reversed(struct["test"].items()))
    scipy.io.savemat(tmp_path / "reversed.mat", {"market_attribute": struct})
    for name in ("labels.mat", "reversed.mat"):
        for subset in labels.read_mat(tmp_path / name).values():
            pd.testing.assert_frame_equal(subset, table.astype("str"))


def test_a_subset_with_one_person_is_read_as_a_table_of_one_row(tmp_path: Path):
    labels.write_mat(tmp_path / "labels.mat", label_table("0003"), label_table("0004", hat="yes"))
    assert labels.read_mat(tmp_path / "labels.mat")["test"]["hat"].to_dict() == {"0004": "yes"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upred": 2, "upblue": 2}, "identity 0003 has upred and upblue at once, expected at most one colour"),
        ({"age": 5}, "identity 0003 has age 5, expected a code of 1 to 4"),
        ({"hat": 0}, "identity 0003 has hat 0, expected a code of 1 to 2"),
        ({"downpink": 3}, "identity 0003 has downpink 3, expected a code of 1 to 2"),
    ],
)
def test_codes_without_a_meaning_are_refused_with_the_identity(change: dict[str, int], message: str):
    codes = labels.codes(label_table("0001", "0003", upper_colour="other"))
    codes.loc["0003", list(change)] = list(change.values())
    with pytest.raises(ValueError, match=message):
        labels.attributes(codes, "labels")


def test_a_table_without_a_column_is_refused(tmp_path: Path):
    codes = labels.codes(label_table("0001")).drop(columns="upgray")
    codes.assign(id=1).to_csv(tmp_path / "annotations_train.csv")
    with pytest.raises(ValueError, match=r"annotations_train\.csv: expected the columns .* upgray are missing"):
        market1501.read_labels(tmp_path)


def test_a_name_has_identity_camera_session_and_frame():
    assert market1501.parse_name("0002_c1s3_000451_03.jpg") == ("0002", 1, 2, 451, "c1s3")
    assert market1501.parse_name("query.zip!query/-1_c6s1_000451_03.jpg") == ("-1", 6, 0, 451, "c6s1")
    assert market1501.parse_name("train/0002_c1_016620005.jpg") == ("0002", 1, 0, 16620005, "c1")
    with pytest.raises(ValueError, match=r"000001\.jpg: expected a name such as 0002_c1s1_000451_03\.jpg"):
        market1501.parse_name("test/000001.jpg")


# --- official archives -----------------------------------------------------------------------------------------------


def test_an_official_archive_is_read_by_folder_and_name(tmp_path: Path):
    names = ["0000_c1s1_000001_01.jpg", "-1_c2s1_000001_02.jpg", "0009_c2s2_000001_01.jpg"]
    root = official(tmp_path, ["0002_c3s1_000451_03.jpg"], names, ["0009_c1s1_000001_00.jpg"])
    (root / "bounding_box_train" / "Thumbs.db").write_bytes(b"no image")
    clips = market1501.read(root).set_index("clip_id")
    columns = ["subject_id", "split", "kind", "role", "camera", "session", "hat"]
    assert clips.loc[:, columns].replace({np.nan: None}).to_dict("split")["data"] == [
        ["0002", "train", "person", "train", 3, 0, "no"],
        ["0000", "test", "distractor", "gallery", 1, 0, None],
        ["0009", "test", "person", "gallery", 2, 1, "no"],
        ["junk-test", "test", "junk", "gallery", 2, 0, None],
        ["0009", "test", "person", "query", 1, 0, "no"],
    ]
    assert clips[["view_deg", "age_years", "frame_rate_hz"]].isna().all().all()
    assert set(clips["frame_count"]) == {1}
    assert clips["condition"].tolist() == clips["kind"].tolist()
    good, quarantine = schemas.check(clips.reset_index(), schemas.decodable(market1501.frames))
    assert (len(good), len(quarantine)) == (5, 0)


def test_three_of_ten_training_people_validate_the_first_in_the_label_file_or_those_of_a_list(tmp_path: Path):
    root = official(tmp_path, [f"{number:04d}_c1s1_000001_01.jpg" for number in range(2, 12)], (), ())
    assert market1501.read(root).query("split == 'validation'")["subject_id"].tolist() == ["0002", "0003", "0004"]
    (root / "validation_ids.txt").write_text("0011\n0005\n")
    assert market1501.read(root).query("split == 'validation'")["subject_id"].tolist() == ["0005", "0011"]
    (root / "validation_ids.txt").write_text("0099\n")
    with pytest.raises(ValueError, match="0099 are no training identities"):
        market1501.read(root)


def test_a_person_in_train_and_test_is_left_to_validation(tmp_path: Path):
    train = [f"000{number}_c1s1_000001_01.jpg" for number in range(2, 6)]
    root = official(tmp_path, train, ["0005_c2s1_000001_01.jpg", "0009_c2s1_000001_01.jpg"])
    good, quarantine = schemas.check(market1501.read(root))
    assert set(quarantine["clip_id"]) == {"0005_c1s1_000001_01", "0005_c2s1_000001_01"}
    assert set(quarantine["rule"]) == {"a subject has one split"}
    assert set(good["subject_id"]) == {"0002", "0003", "0004", "0009"}


def test_each_fault_of_an_archive_is_an_error_that_names_it(tmp_path: Path):
    cases = {
        "name": (["picture.jpg", "0002_c1s1_000001_01.jpg"], [], "picture.jpg: expected a name such as"),
        "junk": (["-1_c1s1_000001_01.jpg"], [], "expected a person in bounding_box_train, got junk"),
    }
    for case, (train, test, message) in cases.items():
        with pytest.raises(ValueError, match=message):
            market1501.read(official(tmp_path / case, train, test))
    root = official(tmp_path / "labels", ["0002_c1s1_000001_01.jpg"], ["0009_c1s1_000001_01.jpg"], has_labels=False)
    with pytest.raises(ValueError, match=r"expected Market-1501 at .*: market_attribute\.mat \(official\) or"):
        market1501.read(root)
    labels.write_mat(root / "market_attribute.mat", label_table("0002"), label_table("0008"))
    with pytest.raises(ValueError, match="identity 0009 has photos and no row in the label file"):
        market1501.read(root)
    labels.write_mat(root / "market_attribute.mat", label_table("0002", "0003"), label_table("0009"))
    with pytest.raises(ValueError, match="the label file has 0003 without a photo"):
        market1501.read(root)
    labels.write_mat(root / "market_attribute.mat", label_table("0002"), label_table("0009"))
    image_files.write(root / "query", [], packed=True)
    with pytest.raises(ValueError, match=r"the folder query or query.zip in .*, query and query.zip exist; remove one"):
        market1501.read(root)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("market_attribute.mat", b"<html>not found</html>" * 20, "cannot be read"),
        ("market_attribute.mat", b"", "cannot be read"),
        ("annotations_train.csv", b"", "a table with a column id and 27 others"),
        ("annotations_train.csv", b"id,age\nseven,1\n", "whole numbers in the column id, got .'seven'"),
        ("annotations_train.csv", b"id,age\n,1\n", "whole numbers in the column id"),
    ],
)
def test_a_broken_label_file_is_named(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        market1501.read_labels(tmp_path)


def test_a_label_file_that_claims_structs_without_end_is_named(tmp_path: Path):
    labels.write_mat(tmp_path / "market_attribute.mat", label_table("0002"), label_table("0009"))
    content = (tmp_path / "market_attribute.mat").read_bytes()
    one, many = (np.array([5, 8, count, 1], "<i4").tobytes() for count in (1, 2**31 - 1))
    (tmp_path / "market_attribute.mat").write_bytes(content.replace(one, many, 1))
    with pytest.raises(ValueError, match=r"market_attribute\.mat: expected the MATLAB struct .*claims [\d,]+ cells, fields or"):
        market1501.read_labels(tmp_path)


def test_half_of_a_label_file_is_named(tmp_path: Path):
    labels.write_mat(tmp_path / "market_attribute.mat", label_table("0002"), label_table("0009"))
    content = (tmp_path / "market_attribute.mat").read_bytes()
    (tmp_path / "market_attribute.mat").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"market_attribute\.mat: expected the MATLAB struct .* fetch the file again"):
        market1501.read_labels(tmp_path)


@pytest.mark.filterwarnings("ignore:Starting field name")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": np.array(["1", {"x": 1}], dtype=object)}, ".* each of the 2 identities in the field age, got object"),
        ({"hat": np.ones((2, 2))}, r".* in the field hat, got float64 of shape \(2, 2\)"),
        ({"hat": np.ones(3)}, r".* in the field hat, got .* of shape \(3,\)"),
        ({"image_index": np.array([{"x": 1}, "0003"], dtype=object)}, "numbers of identities in image_index, but"),
        ({"image_index": np.array([np.nan, np.inf])}, "numbers of identities in image_index, but"),
        ({"_fieldnames": 3.0}, "the MATLAB struct market_attribute with the parts train and test, but"),
    ],
)
def test_label_fields_that_are_no_numbers_of_identities_are_named(tmp_path: Path, change: dict[str, Any], message: str):
    path = tmp_path / "market_attribute.mat"
    labels.write_mat(path, label_table("0002", "0003"), label_table("0009"))
    struct = scipy.io.loadmat(path, simplify_cells=True)["market_attribute"]
    struct["train"] |= change
    scipy.io.savemat(path, {"market_attribute": struct})
    if "_fieldnames" in change:  # scipy writes no name that begins with _
        struct["train"]["xfieldnames"] = struct["train"].pop("_fieldnames")
        scipy.io.savemat(path, {"market_attribute": struct})
        path.write_bytes(path.read_bytes().replace(b"xfieldnames", b"_fieldnames"))
    with pytest.raises(ValueError, match=rf"market_attribute\.mat.*: expected {message}"):
        labels.read_mat(path)


def test_the_junk_of_each_camera_is_split_by_time(tmp_path: Path):
    junk = [f"-1_c{camera}s1_{frame:06d}_01.jpg" for camera in (1, 2) for frame in range(5)]
    clips = market1501.read(official(tmp_path, ["0002_c1s1_000001_01.jpg"], [*junk, "0009_c1s1_000001_01.jpg"]))
    clips = clips[clips["kind"] == "junk"].sort_values("clip_id")
    assert clips["split"].tolist() == ["train", "train", "validation", "test", "test"] * 2
    assert set(clips["subject_id"]) == {"junk-train", "junk-validation", "junk-test"}
    assert clips["role"].tolist() == ["train", "train", "train", "gallery", "gallery"] * 2


def test_grey_and_transparent_photos_are_read_as_rgb_and_a_damaged_one_is_quarantined(tmp_path: Path):
    names = [f"000{number}_c1s1_000001_01.{'jpg' if number == 4 else 'png'}" for number in range(2, 7)]
    root = official(tmp_path, names)
    folder = root / "bounding_box_train"
    (folder / names[0]).write_bytes(image(".png", (8, 4), 77))
    transparent = np.array([[[10, 20, 30, 0]]], np.uint8).repeat(8, axis=0).repeat(4, axis=1)
    (folder / names[1]).write_bytes(cv2.imencode(".png", transparent)[1].tobytes())
    (folder / names[2]).write_bytes(image(".jpg")[:-40])
    clips = market1501.read(root)
    grey, rgb = (next(market1501.frames(root, f"bounding_box_train/{name}")) for name in names[:2])
    assert np.unique(grey).tolist() == [77]
    assert rgb.reshape(-1, 3)[0].tolist() == [30, 20, 10]
    assert grey.shape == rgb.shape == (8, 4, 3)
    _, quarantine = schemas.check(clips, schemas.decodable(market1501.frames))
    assert quarantine["clip_id"].tolist() == ["0004_c1s1_000001_01"]
    assert names[2] in quarantine["value"].iloc[0]


def test_the_course_edition_is_read_and_its_photos_without_identity_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name in ("train/0002_c1_016620005.jpg", "train/0007_c3_010187163.jpg", "test/000001.jpg", "test/1(1).jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(image())
    codes = labels.codes(label_table("0002", "0007"))
    codes.assign(id=[2, 7]).to_csv(tmp_path / "annotations_train.csv", index=False)
    clips = market1501.read(tmp_path)
    assert clips["clip_id"].tolist() == ["0002_c1_016620005", "0007_c3_010187163"]
    assert (set(clips["role"]), set(clips["split"]), clips["camera"].tolist()) == ({"train"}, {"train"}, [1, 3])
    assert "not in the index: 2 in test" in caplog.text
    for path in (tmp_path / "train").iterdir():
        path.rename(tmp_path / path.name)
    (tmp_path / "train").rmdir()
    pd.testing.assert_frame_equal(market1501.read(tmp_path).drop(columns="frames"), clips.drop(columns="frames"))


def test_a_photo_in_a_zip_file_that_was_written_anew_is_the_new_one(tmp_path: Path):
    for value in (10, 200):
        image_files.write(tmp_path / "query", [("query/a.png", image(".png", value=value))], packed=True)
        assert next(image_files.frames(tmp_path, "query.zip!query/a.png"))[0, 0].tolist() == [value] * 3
    with pytest.raises(ValueError, match=r"query\.zip!query/b\.png: expected a whole image"):
        next(image_files.frames(tmp_path, "query.zip!query/b.png"))


def test_a_photo_out_of_a_large_zip_file_costs_far_less_than_its_table_of_contents(tmp_path: Path):
    image_files.write(tmp_path / "query", [(f"query/{number}.png", image(".png")) for number in range(3000)], packed=True)

    def milliseconds(work: Callable[[], object]) -> float:
        start = process_time()
        work()
        return 1000 * (process_time() - start)

    opening = min(milliseconds(lambda: zipfile.ZipFile(tmp_path / "query.zip").close()) for _ in range(5))
    reading = min(milliseconds(lambda: next(image_files.frames(tmp_path, "query.zip!query/7.png"))) for _ in range(5))
    assert reading < opening / 5


# --- rendered people -------------------------------------------------------------------------------------------------


def test_a_person_has_one_appearance_and_one_pass_of_each_of_two_cameras_or_more(takes: list[Take]):
    people = {take.subject_id: [] for take in takes if take.subject_id not in ("0000", "-1")}
    for take in takes:
        people.get(take.subject_id, []).append(take)
    for passes in people.values():
        cameras = [take.sequence[:2] for take in passes]
        assert 2 <= len(set(cameras)) == len(cameras) <= 3
        assert len({(take.identity_seed, take.split, *(take.appearance or {}).items()) for take in passes}) == 1
        assert all(2 <= len(take.motion) <= 3 for take in passes)
    splits = Counter(passes[0].split for passes in people.values())
    assert splits == {"train": 3, "validation": 2, "test": 3}


def test_many_people_have_all_classes_in_their_shares():
    rng = np.random.default_rng(0)
    people = pd.DataFrame(pedestrians.draw_attributes([None] * 400, rng))
    for name, classes in ATTRIBUTES.items():
        shares = people[name].value_counts(normalize=True)
        assert set(shares.index) == set(classes)
        assert shares.min() > 0.07
    assert people["gender"].value_counts(normalize=True)["male"] == pytest.approx(0.56, abs=0.003)
    assert not ((people["gender"] == "male") & (people["clothes"] == "dress")).any()
    drawn = pedestrians.draw_attributes(["female", "male", None], rng)
    assert [person["gender"] for person in drawn[:2]] == ["female", "male"]
    assert all(list(person) == list(ATTRIBUTES) for person in drawn)


def test_what_is_written_is_read_again(takes: list[Take], written: Path):
    clips = market1501.read(written)
    by_stem = clips.set_index("clip_id")
    assert len(clips) == sum(len(take.motion) for take in takes)
    assert Counter(clips["kind"])["distractor"] == 3
    assert Counter(clips["kind"])["junk"] == 10
    for take in takes:
        if take.subject_id in ("0000", "-1"):
            continue
        camera_session, _, first = take.sequence.rpartition("_")
        photos = by_stem[(by_stem["subject_id"] == take.subject_id) & (by_stem["sequence"] == camera_session)]
        assert len(photos) == len(take.motion)
        assert photos.index.str.contains(f"_{int(first):06d}_").sum() == 1
        assert set(photos["split"]) == {take.split}
        assert photos[list(ATTRIBUTES)].drop_duplicates().to_dict("records") == [take.appearance]
    good, quarantine = schemas.check(clips, schemas.decodable(market1501.frames))
    assert (len(good), len(quarantine)) == (len(clips), 0)
    assert set(zip(clips["height_px"], clips["width_px"], strict=True)) == {(128, 64)}


def test_the_course_edition_that_is_written_is_read_again_and_hides_the_identities_of_the_test_people(
    takes: list[Take], written: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    market1501.write(tmp_path / "course", takes, DRAW, jpeg_quality=92, edition="course")
    clips, official_clips = market1501.read(tmp_path / "course"), market1501.read(written)
    training = official_clips[official_clips["role"] == "train"].query("kind == 'person'")
    columns = ["subject_id", "split", "camera", *ATTRIBUTES]
    rows = [sorted(map(tuple, table[columns].to_numpy(str))) for table in (clips, training)]
    assert rows[0] == rows[1]
    hidden = [len(zipfile.ZipFile(written / f"{name}.zip").namelist()) for name in ("bounding_box_test", "query")]
    assert f"{hidden[0]} in test, {hidden[1]} in queries" in caplog.text
    with pytest.raises(ValueError, match="an edition of official, course, got 'kurs'"):
        market1501.write(tmp_path / "other", takes, DRAW, jpeg_quality=92, edition="kurs")


def test_a_test_person_has_one_query_by_each_camera_and_the_rest_in_the_gallery(written: Path):
    clips = market1501.read(written).query("split == 'test' and kind == 'person'")
    roles_by_pass = clips.groupby(["subject_id", "camera"])["role"].agg(list)
    assert all(roles.count("query") == 1 and len(roles) >= 2 for roles in roles_by_pass)


def test_folders_and_any_number_of_workers_hold_the_same_photos(takes: list[Take], written: Path, tmp_path: Path):
    with ProcessPoolExecutor(2) as executor:
        calls = []
        options = {"jpeg_quality": 92, "executor": executor, "done": lambda: calls.append(1)}
        market1501.write(tmp_path / "again", takes, DRAW, **options)
    assert len(calls) == 8 + 2
    names = sorted(path.name for path in written.iterdir())
    assert names == [
        "bounding_box_test.zip",
        "bounding_box_train.zip",
        "market_attribute.mat",
        "query.zip",
        "validation_ids.txt",
    ]
    assert all((tmp_path / "again" / name).read_bytes() == (written / name).read_bytes() for name in names)
    market1501.write(tmp_path / "folders", takes[:6] + takes[-2:], DRAW, jpeg_quality=92, packed=False)
    unpacked = {path.name: path.read_bytes() for path in (tmp_path / "folders").rglob("*.jpg")}
    assert unpacked
    for row in market1501.read(written).itertuples():
        if f"{row.clip_id}.jpg" in unpacked:
            frame = next(market1501.frames(written, row.frames))
            np.testing.assert_array_equal(frame, image_files.decode(unpacked.pop(f"{row.clip_id}.jpg"), row.clip_id))
    assert not unpacked


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": 7}, "2 to 6 cameras, got .* and 7"),
        ({"photos_per_camera": [1, 3]}, r"photos_per_camera as \[least, most\] of 2"),
        ({"photos_per_camera": [2, 4]}, r"to 3 \(one every 5 of the 11 frames_per_sequence\)"),
        ({"junk": 99}, "expected at most 24 distractors and junk photos"),
        ({"subjects": {"train": 3}}, "the sizes of train, validation and test"),
    ],
)
def test_a_plan_that_cannot_be_kept_is_refused(change: dict[str, object], message: str):
    motions = parametric.motions(8, walks=7, frames=11, frame_rate_hz=25.0, seed=3)
    with pytest.raises(ValueError, match=message):
        market1501.plan(motions, **{**PLAN, **change}, seed=3)


# --- protocols -------------------------------------------------------------------------------------------------------


def test_the_protocols_by_hand(tmp_path: Path):
    train = [f"{number:04d}_c{camera}s1_000001_01.jpg" for number in range(2, 6) for camera in (1, 2)]
    test = ["0000_c1s1_000001_01.jpg", "-1_c1s1_000001_01.jpg", "0009_c2s1_000001_01.jpg", "0008_c2s1_000001_01.jpg"]
    clips = market1501.read(official(tmp_path, train, test, ["0009_c1s1_000001_00.jpg"]))
    paper, official_set = market1501.protocol(clips, "test")
    assert (paper.name, paper.same_camera_removed, official_set.name, official_set.same_camera_removed) == (
        "paper",
        False,
        "official",
        True,
    )
    assert paper.queries == paper.gallery == ("0008_c2s1_000001_01", "0009_c1s1_000001_00", "0009_c2s1_000001_01")
    assert official_set.queries == ("0009_c1s1_000001_00",)
    assert official_set.gallery == ("0000_c1s1_000001_01", "0008_c2s1_000001_01", "0009_c2s1_000001_01")
    paper, official_set = market1501.protocol(clips, "validation")
    assert paper.queries == official_set.queries == official_set.gallery == ("0002_c1s1_000001_01", "0002_c2s1_000001_01")


def test_no_protocol_has_junk_or_another_splits_photos(written: Path):
    clips = market1501.read(written)
    by_clip = clips.set_index("clip_id")
    for split in ("train", "validation", "test"):
        for photo_set in market1501.protocol(clips, split):
            photos = by_clip.loc[[*photo_set.queries, *photo_set.gallery]]
            assert set(photos["split"]) == {split}
            assert "junk" not in set(photos["kind"])
            assert set(by_clip.loc[list(photo_set.queries), "kind"]) == {"person"}


def test_a_split_without_people_is_refused_with_the_splits_that_have_people(written: Path):
    clips = market1501.read(written)
    with pytest.raises(ValueError, match=r"split 'test', the index has those of \['train', 'validation'\]"):
        market1501.protocol(clips[(clips["split"] != "test") | (clips["kind"] == "junk")], "test")
